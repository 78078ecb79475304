//! A YAML stream as trees in which every node knows its place.
//!
//! Rule files are read as Falco reads them: every scalar is text, whatever it looks like, until somebody
//! asks for more.

use granit_parser::{Event, Parser, ScalarStyle};
use rustc_hash::FxHashMap;

use crate::rules::problem::{Code, Problem};
use crate::rules::text::{Span, Traced};

/// Largest rule file, in bytes; upstream's largest has a hundred thousand.
pub const MAX_BYTES: usize = 8 << 20;
/// Most nodes of one file, those that aliases stand for counted each time.
const MAX_NODES: usize = 1_000_000;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands; of a list or map from its first entry to its last.
    pub span: Span,
}

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing, or `~` or `null` without quotes.
    Null,
    /// Text.
    Text(Traced),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping. Keys are told apart by no more than their text, and may repeat.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The text of a scalar.
    pub fn text(&self) -> Option<&Traced> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What belongs to `key` in a mapping: the last, if it is there more than once.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().rev().find(|(known, _)| known.is(key)).map(|(_, node)| node)
    }

    /// Whether it is this text.
    pub fn is(&self, text: &str) -> bool {
        self.text().is_some_and(|own| own.as_str() == text)
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Parses source number `source`: one node per document, those without content left out.
pub fn parse(source: u32, text: &str) -> Result<Vec<Node>, Box<Problem>> {
    let mut tree = Tree {
        source,
        text,
        nodes: 0,
        anchors: FxHashMap::default(),
        open: Vec::new(),
        documents: Vec::new(),
    };
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; a rule file has {MAX_BYTES} at most", text.len());
        let problem = Box::new(Problem::new(Code::FileRead, Span { source, start: 0, end: 0 }, message));
        return Err(problem.help("split it, or take what is no rule out of it"));
    }
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len()) as u32;
            Box::new(Problem::new(Code::YamlParse, Span { source, start: at, end: at }, error.info()))
        })?;
        tree.event(event, span)?;
    }
    Ok(tree.documents)
}

struct Tree<'a> {
    source: u32,
    text: &'a str,
    nodes: usize,
    /// What an anchor stands for, and how many nodes that is.
    anchors: FxHashMap<usize, (Node, usize)>,
    open: Vec<Open>,
    documents: Vec<Node>,
}

/// A list or map that is not closed yet.
struct Open {
    start: u32,
    anchor: usize,
    /// Nodes before it.
    nodes: usize,
    is_map: bool,
    children: Vec<Node>,
}

impl Tree<'_> {
    fn event(&mut self, event: Event<'_>, at: granit_parser::Span) -> Result<(), Box<Problem>> {
        let range = at.byte_range().unwrap_or(0..0);
        let span = Span { source: self.source, start: range.start as u32, end: range.end as u32 };
        match event {
            Event::Scalar(value, style, anchor, _) => {
                self.count(1, span)?;
                let node = self.scalar(&value, style, span);
                self.add(node, anchor, 1);
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some((node, nodes)) => {
                    self.count(nodes, span)?;
                    self.add(Node { span, ..node }, 0, nodes);
                }
                None => return Err(self.refused(span, "this alias stands for what it is a part of")),
            },
            Event::SequenceStart(_, anchor, _) => self.begin(span, anchor, false)?,
            Event::MappingStart(_, anchor, _) => self.begin(span, anchor, true)?,
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, at: Span) -> Result<(), Box<Problem>> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(self.refused(at, format!("more than {MAX_NODES} values, aliases written out")));
        }
        Ok(())
    }

    fn scalar(&self, value: &str, style: ScalarStyle, span: Span) -> Node {
        if style == ScalarStyle::Plain && matches!(value, "" | "~" | "null" | "Null" | "NULL") {
            return Node { value: Value::Null, span };
        }
        // Of a block scalar without its indicator.
        let raw = self.text.get(span.start as usize..span.end as usize).unwrap_or_default();
        let shown = raw.trim_end();
        let shown = Span { end: span.start + shown.len() as u32, ..span };
        Node { value: Value::Text(Traced::scalar(value, raw, shown)), span: shown }
    }

    fn begin(&mut self, span: Span, anchor: usize, is_map: bool) -> Result<(), Box<Problem>> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.refused(span, format!("more than {MAX_DEPTH} lists and maps inside each other")));
        }
        self.open.push(Open { start: span.start, anchor, nodes: self.nodes, is_map, children: Vec::new() });
        self.count(1, span)
    }

    fn end(&mut self, span: Span) {
        let Some(open) = self.open.pop() else { return };
        // The bracket, where there is one; a block ends with its last entry.
        let last = open.children.last().map_or(span.end, |last| last.span.end);
        let end = if span.end > span.start { span.end } else { last.max(open.start) };
        let value = if open.is_map {
            let mut children = open.children.into_iter();
            let mut entries = Vec::new();
            while let (Some(key), Some(value)) = (children.next(), children.next()) {
                entries.push((key, value));
            }
            Value::Map(entries)
        } else {
            Value::List(open.children)
        };
        let nodes = self.nodes - open.nodes;
        self.add(
            Node { value, span: Span { source: self.source, start: open.start, end } },
            open.anchor,
            nodes,
        );
    }

    /// Puts a node where it belongs. It is `nodes` nodes.
    fn add(&mut self, node: Node, anchor: usize, nodes: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), nodes));
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None if matches!(node.value, Value::Null) => {}
            None => self.documents.push(node),
        }
    }

    fn refused(&self, span: Span, message: impl Into<String>) -> Box<Problem> {
        Box::new(Problem::new(Code::YamlValidate, span, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, span: Span) -> &str {
        &text[span.start as usize..span.end as usize]
    }

    #[test]
    fn every_scalar_is_text_with_its_place() {
        let text = "- a: yes\n  'b': [1, \"x\\ty\", ~]\n  c: >-\n    one\n    two\n\n  d:\n- e\n---\nf\n";
        let documents = parse(0, text).unwrap();
        assert_eq!(documents.len(), 2);
        let Value::List(items) = &documents[0].value else { panic!("{documents:?}") };
        assert!(items[0].get("a").unwrap().is("yes"));
        let Value::List(inner) = &items[0].get("b").unwrap().value else { panic!("{items:?}") };
        assert!(inner[0].is("1") && inner[1].is("x\ty") && matches!(inner[2].value, Value::Null));
        assert_eq!(shown(text, inner[1].span), r#""x\ty""#);
        let folded = items[0].get("c").unwrap();
        assert!(folded.is("one two"));
        assert_eq!(shown(text, folded.span), "one\n    two");
        assert_eq!(shown(text, folded.text().unwrap().span(4..7).unwrap()), "two");
        assert!(matches!(items[0].get("d").unwrap().value, Value::Null));
        assert_eq!(shown(text, items[1].span), "e");
        assert!(documents[1].is("f"));
    }

    #[test]
    fn aliases_are_written_out() {
        let text = "- &x [a, b]\n- *x\n- c: *x\n";
        let documents = parse(0, text).unwrap();
        let Value::List(items) = &documents[0].value else { panic!("{documents:?}") };
        assert_eq!(shown(text, items[1].span), "*x");
        let Value::List(inner) = &items[2].get("c").unwrap().value else { panic!("{items:?}") };
        assert!(inner[1].is("b"));
    }

    #[test]
    fn what_is_no_rule_file_is_refused_with_its_place() {
        let bomb = {
            let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
            for level in 1..9 {
                let alias = format!("*a{}", level - 1);
                text += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(", "));
            }
            text
        };
        let deep = "[".repeat(100) + &"]".repeat(100);
        let table = [
            ("a: [1, 2\nb: 3\n", Code::YamlParse, ""),
            ("a: *b\n", Code::YamlParse, ""),
            ("&a [*a]\n", Code::YamlValidate, "this alias stands for"),
            (bomb.as_str(), Code::YamlValidate, "more than 1000000 values, aliases written out"),
            (deep.as_str(), Code::YamlValidate, "more than 64 lists and maps inside each other"),
        ];
        for (text, code, message) in table {
            let problem = parse(0, text).expect_err(text);
            assert_eq!(problem.code, code, "{problem:?}");
            assert!(problem.message.starts_with(message), "{problem:?}");
            assert!(problem.span.end as usize <= text.len());
        }
        let large = " ".repeat(MAX_BYTES + 1);
        assert_eq!(parse(0, &large).expect_err("too large").code, Code::FileRead);
    }
}
