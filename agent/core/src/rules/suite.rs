//! Files of tests for rules: cases with events, and the alerts that are to come of them.

use super::load::yaml::{self, Node, Value};
use super::nearest;
use super::problem::{Code, Problem};
use super::stated::Stated;
use super::text::Span;

#[cfg(test)]
mod tests;

/// What a file of tests holds.
#[derive(Clone, Debug, Default)]
pub struct Suite {
    /// Rule files and folders, as they are written; empty: those beside the file.
    pub rules: Vec<Spelled>,
    /// Rules to switch on, by name or with `*` for any text.
    pub enable: Vec<Spelled>,
    /// The cases in their order.
    pub cases: Vec<Case>,
}

/// A text and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelled {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, unlike any other's in the file.
    pub name: Spelled,
    /// What happens, in order.
    pub happenings: Vec<Happening>,
    /// What is to come of it, and nothing else.
    pub expected: Vec<Expected>,
}

/// What happens in a case.
#[derive(Clone, Debug)]
pub enum Happening {
    /// An event of stated fields.
    Stated(Box<Stated>),
    /// All that a capture holds: its path, relative to the file of tests.
    Capture(Spelled),
}

/// Alerts that are to come.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The rule's name.
    pub rule: Spelled,
    /// The whole message.
    pub output: Option<Spelled>,
    /// Fields of the output with their values as text; [`None`]: the field is to have none.
    pub fields: Vec<(Spelled, Option<Spelled>)>,
    /// How many; [`None`]: one at least.
    pub count: Option<u64>,
}

const KEYS: [&str; 3] = ["rules", "enable", "cases"];
const CASE_KEYS: [&str; 3] = ["name", "events", "alerts"];
const EXPECTED_KEYS: [&str; 4] = ["rule", "output", "fields", "count"];

/// Reads the file that is source number `source`.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn read(source: u32, text: &str) -> Result<Suite, Vec<Problem>> {
    let documents = yaml::parse(source, text).map_err(|problem| vec![*problem])?;
    let mut reader = Reader { problems: Vec::new() };
    let mut suite = Suite::default();
    if documents.is_empty() {
        reader.wrong(Span { source, start: 0, end: 0 }, "this file holds no tests: it has no `cases`");
    }
    for document in &documents {
        let Some(entries) = reader.map(document, "a file of tests", &KEYS) else { continue };
        for (key, node) in entries {
            match key.text().map_or("", |key| key.as_str()) {
                "rules" => suite.rules.extend(reader.texts(node, "`rules`")),
                "enable" => suite.enable.extend(reader.texts(node, "`enable`")),
                "cases" => {
                    for node in reader.list(node, "`cases`") {
                        let case = reader.case(node);
                        suite.cases.extend(case);
                    }
                }
                _ => {}
            }
        }
        if suite.cases.is_empty() && reader.problems.is_empty() {
            reader.wrong(document.span, "this file holds no tests: it has no `cases`");
        }
    }
    for (place, case) in suite.cases.iter().enumerate() {
        let before = suite.cases.iter().take(place).find(|known| known.name.text == case.name.text);
        if let Some(before) = before {
            let message = format!("two cases are called `{}`", case.name.text);
            let mut problem = Problem::new(Code::Validate, case.name.span, message);
            problem.also.push((before.name.span, "the other one".to_owned()));
            reader.problems.push(problem);
        }
    }
    if reader.problems.is_empty() { Ok(suite) } else { Err(reader.problems) }
}

struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    fn wrong(&mut self, span: Span, message: impl Into<String>) {
        self.problems.push(Problem::new(Code::YamlValidate, span, message));
    }

    /// The entries of a map that has these keys and no others.
    fn map<'a>(&mut self, node: &'a Node, what: &str, keys: &[&str]) -> Option<&'a [(Node, Node)]> {
        let Value::Map(entries) = &node.value else {
            self.wrong(
                node.span,
                format!("{what} is a map with {}, and this is {}", keys.join(", "), node.kind()),
            );
            return None;
        };
        for (key, _) in entries {
            let name = key.text().map_or("", |key| key.as_str());
            if !keys.contains(&name) {
                self.wrong(key.span, format!("`{name}` is no key of {what}"));
                let near = nearest(name, keys.iter().copied());
                let help = near
                    .map_or(format!("it has {}", keys.join(", ")), |near| format!("did you mean `{near}`?"));
                self.problems.last_mut().into_iter().for_each(|problem| problem.help = Some(help.clone()));
            }
        }
        Some(entries)
    }

    /// The items of a list; nothing is an empty one.
    fn list<'a>(&mut self, node: &'a Node, what: &str) -> &'a [Node] {
        match &node.value {
            Value::List(items) => items,
            Value::Null => &[],
            _ => {
                self.wrong(node.span, format!("{what} is a list, and this is {}", node.kind()));
                &[]
            }
        }
    }

    fn text(&mut self, node: &Node, what: &str) -> Option<Spelled> {
        match node.text() {
            Some(text) => Some(Spelled { text: text.as_str().to_owned(), span: node.span }),
            None => {
                self.wrong(node.span, format!("{what} is text, and this is {}", node.kind()));
                None
            }
        }
    }

    fn texts(&mut self, node: &Node, what: &str) -> Vec<Spelled> {
        let what_each = format!("each of {what}");
        self.list(node, what).iter().filter_map(|item| self.text(item, &what_each)).collect()
    }

    fn case(&mut self, node: &Node) -> Option<Case> {
        let entries = self.map(node, "a case", &CASE_KEYS)?;
        let start = entries.first().map_or(node.span, |(key, _)| key.span);
        let name = match node.get("name") {
            Some(name) => self.text(name, "`name`"),
            None => {
                self.wrong(start, "this case has no `name`");
                None
            }
        };
        let mut happenings = Vec::new();
        match node.get("events") {
            Some(events) => {
                for event in self.list(events, "`events`") {
                    happenings.extend(self.happening(event));
                }
                if happenings.is_empty() && self.problems.is_empty() {
                    self.wrong(start, "in this case nothing happens: it has no `events`");
                }
            }
            None => self.wrong(start, "in this case nothing happens: it has no `events`"),
        }
        let mut expected = Vec::new();
        match node.get("alerts") {
            Some(alerts) => {
                for alert in self.list(alerts, "`alerts`") {
                    expected.extend(self.expected(alert));
                }
            }
            None => {
                self.wrong(start, "this case does not say which alerts come");
                self.help("add `alerts: [NAME OF A RULE]`, or `alerts: []` if there is to be none");
            }
        }
        Some(Case { name: name?, happenings, expected })
    }

    fn help(&mut self, help: &str) {
        self.problems.last_mut().into_iter().for_each(|problem| problem.help = Some(help.to_owned()));
    }

    fn happening(&mut self, node: &Node) -> Option<Happening> {
        let Value::Map(entries) = &node.value else {
            self.wrong(node.span, format!("an event is a map of fields, and this is {}", node.kind()));
            self.help("write `evt.type: openat`, and other fields below it, or `capture: FILE`");
            return None;
        };
        if let Some(capture) = node.get("capture") {
            if entries.len() > 1 {
                self.wrong(node.span, "a capture has its own events: no fields are stated beside it");
            }
            return self.text(capture, "`capture`").map(Happening::Capture);
        }
        match Stated::read(entries, node.span) {
            Ok(stated) => Some(Happening::Stated(Box::new(stated))),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

    fn expected(&mut self, node: &Node) -> Option<Expected> {
        if node.text().is_some() {
            let rule = self.text(node, "an alert")?;
            return Some(Expected { rule, output: None, fields: Vec::new(), count: None });
        }
        self.map(node, "an alert", &EXPECTED_KEYS)?;
        let rule = match node.get("rule") {
            Some(rule) => self.text(rule, "`rule`"),
            None => {
                self.wrong(node.span, "this alert has no `rule`");
                None
            }
        };
        let output = node.get("output").and_then(|output| self.text(output, "`output`"));
        let fields = node.get("fields").map(|fields| self.fields(fields)).unwrap_or_default();
        let count = node.get("count").and_then(|count| {
            let number =
                count.text().and_then(|text| text.as_str().parse().ok()).filter(|number| *number > 0);
            if number.is_none() {
                self.wrong(count.span, "`count` is a number above 0");
            }
            number
        });
        Some(Expected { rule: rule?, output, fields, count })
    }

    fn fields(&mut self, node: &Node) -> Vec<(Spelled, Option<Spelled>)> {
        let Value::Map(entries) = &node.value else {
            self.wrong(node.span, format!("`fields` is a map, and this is {}", node.kind()));
            return Vec::new();
        };
        let mut fields = Vec::new();
        for (key, value) in entries {
            let Some(key) = self.text(key, "the name of a field") else { continue };
            let value = match &value.value {
                Value::Null => None,
                _ => match self.text(value, "the value of a field") {
                    Some(value) => Some(value),
                    None => continue,
                },
            };
            fields.push((key, value));
        }
        fields
    }
}
