//! Shows what is wrong with rule files: to people with the line and a caret, to programs as JSON.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};
use serde_json::{Value, json};
use tarsier_core::rules::load::Source;
use tarsier_core::rules::problem::Problem;
use tarsier_core::rules::text::Span;

/// Shows problems of these files.
pub struct Report<'a> {
    sources: &'a [Source<'a>],
    renderer: Renderer,
}

impl<'a> Report<'a> {
    /// With or without colour.
    pub fn new(sources: &'a [Source<'a>], colour: bool) -> Self {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        Self { sources, renderer: renderer.decor_style(DecorStyle::Ascii) }
    }

    /// The problem, its line with a caret, other places that have to do with it, and what to do: several lines.
    pub fn show<'p>(&self, problem: &'p Problem) -> String
    where
        'a: 'p,
    {
        let level = if problem.is_error() { Level::ERROR } else { Level::WARNING };
        let title = level.primary_title(problem.message.as_str()).id(problem.code.name());
        let main = AnnotationKind::Primary.span(self.range(problem.span));
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            problem.also.iter().partition(|(span, _)| span.source == problem.span.source);
        let also =
            |(span, label): &'p (Span, String)| AnnotationKind::Context.span(self.range(*span)).label(label);
        let mut group = title.elements(
            self.snippet(problem.span)
                .map(|snippet| snippet.annotation(main).annotations(here.iter().map(|place| also(place)))),
        );
        for place in elsewhere {
            group = group.elements(self.snippet(place.0).map(|snippet| snippet.annotation(also(place))));
        }
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        self.renderer.render(&[group])
    }

    fn snippet<'p>(&self, span: Span) -> Option<Snippet<'p, Annotation<'p>>>
    where
        'a: 'p,
    {
        let source = self.sources.get(span.source as usize)?;
        Some(Snippet::source(source.text).path(source.name).fold(true))
    }

    /// The bytes of a place, at boundaries of characters.
    fn range(&self, span: Span) -> std::ops::Range<usize> {
        let text = self.sources.get(span.source as usize).map_or("", |source| source.text);
        let start = text.floor_char_boundary(span.start as usize);
        start..text.ceil_char_boundary(span.end as usize).max(start)
    }
}

/// A place for programs. Lines and columns count from 1, columns in characters.
pub fn place(sources: &[Source<'_>], span: Span) -> Value {
    let source = sources.get(span.source as usize);
    let text = source.map_or("", |source| source.text);
    let (line, column) = line_and_column(text, span.start as usize);
    let (end_line, end_column) = line_and_column(text, span.end as usize);
    json!({
        "file": source.map(|source| source.name),
        "line": line, "column": column, "end_line": end_line, "end_column": end_column,
    })
}

/// What is written at a place, on one line.
pub fn written(sources: &[Source<'_>], span: Span) -> String {
    let text = sources.get(span.source as usize).map_or("", |source| source.text);
    let written = text.get(span.start as usize..span.end as usize).unwrap_or_default();
    written.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A problem for programs, with its [`place`].
pub fn to_json(sources: &[Source<'_>], problem: &Problem) -> Value {
    let place = |span: Span| place(sources, span);
    let also: Vec<Value> =
        problem.also.iter().map(|(span, label)| json!({"place": place(*span), "message": label})).collect();
    json!({
        "severity": if problem.is_error() { "error" } else { "warning" },
        "code": problem.code.name(),
        "message": problem.message,
        "help": problem.help,
        "place": place(problem.span),
        "also": also,
    })
}

/// Line and column of a byte, from 1; columns count characters.
pub fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    (line, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarsier_core::rules::ruleset::Ruleset;

    const FILE: &str = "- rule: r
  desc: d
  output: \"é %proc.name\"
  priority: INFO
  condition: >
    evt.type = open and
    proc.nmae = cat
";

    #[test]
    fn a_mistake_is_shown_with_its_line_a_caret_and_the_way_out() {
        let sources = [Source { name: "rules.yaml", text: FILE }];
        let problems = Ruleset::load(&sources).problems;
        let shown = Report::new(&sources, false).show(&problems[0]);
        assert_eq!(
            shown,
            "error[LOAD_ERR_COMPILE_CONDITION]: there is no field `proc.nmae`
 --> rules.yaml:7:5
  |
7 |     proc.nmae = cat
  |     ^^^^^^^^^
  |
  = help: did you mean `proc.name`? `tarsier fields` lists all"
        );
        let value = to_json(&sources, &problems[0]);
        assert_eq!(
            value["place"],
            json!({"file": "rules.yaml", "line": 7, "column": 5, "end_line": 7, "end_column": 14})
        );
        assert_eq!(
            (&value["severity"], &value["code"]),
            (&json!("error"), &json!("LOAD_ERR_COMPILE_CONDITION"))
        );
    }
}
