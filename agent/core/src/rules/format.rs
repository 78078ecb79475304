//! Output formats: text with fields in it.
//!
//! `%proc.name`, `%proc.aname[2]`, `%20user.name` (cut or filled to 20 characters), `%tolower(proc.name)`. A `*` in front
//! used to ask for the line even where fields have no value; it is always printed.

use super::check;
use super::fields::Place;
use super::grammar;
use super::problem::{Code, Problem};
use super::text::Traced;
use super::typed::Operand;

/// A format.
#[derive(Clone, Debug)]
pub struct Format {
    /// Its parts in order.
    pub parts: Vec<Part>,
}

/// A part of a format.
#[derive(Clone, Debug)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// What an event gives.
    Value {
        /// The field or transformer.
        operand: Operand,
        /// As it is written: the key of the value in JSON.
        key: String,
        /// Characters that it is cut or filled to.
        width: Option<usize>,
    },
}

/// What used to be written for the container's fields, which are appended today.
const CONTAINER_INFO: &str = "%container.info";
/// Widest that a value may be made.
const MAX_WIDTH: usize = 1_024;

/// Parses a format. With warnings of what is out of date.
pub fn parse(text: &Traced) -> Result<(Format, Vec<Problem>), Vec<Problem>> {
    let source = text.as_str();
    let (mut parts, mut errors, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    let mut plain = String::new();
    let start = source.len() - source.trim_start().len();
    let mut at = if source[start..].starts_with('*') { start + 1 } else { 0 };
    while let Some(found) = source[at..].find('%') {
        plain.push_str(&source[at..at + found]);
        at += found;
        if source[at..].starts_with(CONTAINER_INFO) {
            if let Some(span) = text.span(at..at + CONTAINER_INFO.len()) {
                let message = "`%container.info` is out of date and says nothing";
                warnings
                    .push(*Box::new(Problem::new(Code::DeprecatedItem, span, message)).help("take it out"));
            }
            at += CONTAINER_INFO.len();
            continue;
        }
        let digits = source[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let from = at + 1 + digits;
        match value(text, at, from) {
            Ok((operand, end)) => {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                let width = source[at + 1..from].parse().ok().map(|width: usize| width.min(MAX_WIDTH));
                parts.push(Part::Value { operand, key: source[from..end].to_owned(), width });
                at = end;
            }
            Err(problem) => {
                errors.push(*problem);
                at += 1;
            }
        }
    }
    plain.push_str(&source[at..]);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    if errors.is_empty() { Ok((Format { parts }, warnings)) } else { Err(errors) }
}

/// The field or transformer at `from`, whose `%` is at `at`, and where it ends.
fn value(text: &Traced, at: usize, from: usize) -> Result<(Operand, usize), Box<Problem>> {
    let output = |mut problem: Box<Problem>| {
        problem.code = Code::CompileOutput;
        problem
    };
    let Some((written, end)) = grammar::operand_at(text, from).map_err(output)? else {
        let span = text.span(at..from.min(text.as_str().len())).unwrap_or_default();
        let problem = Box::new(Problem::new(Code::CompileOutput, span, "a field is missing after this `%`"));
        return Err(problem.help("there is no way to write `%` itself"));
    };
    let operand = check::operand(&written).map_err(output)?;
    if let Operand::Field(reference) = &operand
        && reference.field.place == Place::Left
    {
        let message = format!("`{}` can only be compared, and not printed", reference.field.name);
        return Err(Box::new(Problem::new(Code::CompileOutput, written.span(), message)));
    }
    Ok((operand, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> String {
        let traced = Traced::whole(text);
        let shown = |problem: &Problem| {
            format!("{} {:?}", problem.message, &text[problem.span.start as usize..problem.span.end as usize])
        };
        match parse(&traced) {
            Ok((format, warnings)) => {
                let part = |part: &Part| match part {
                    Part::Text(text) => format!("{text:?}"),
                    Part::Value { key, width: None, .. } => format!("<{key}>"),
                    Part::Value { key, width: Some(width), .. } => format!("<{key}:{width}>"),
                };
                format.parts.iter().map(part).chain(warnings.iter().map(shown)).collect::<Vec<_>>().join(" ")
            }
            Err(problems) => problems.iter().map(shown).collect::<Vec<_>>().join(" "),
        }
    }

    #[test]
    fn formats() {
        let table = [
            ("plain", r#""plain""#),
            ("a=%proc.name.", r#""a=" <proc.name> ".""#),
            ("%proc.name%proc.aname[2])", r#"<proc.name> <proc.aname[2]> ")""#),
            ("*%20user.name|", r#"<user.name:20> "|""#),
            ("%tolower(proc.name) x", r#"<tolower(proc.name)> " x""#),
            ("%evt.arg.flags,", r#"<evt.arg.flags> ",""#),
            (
                "a %container.info",
                r#""a " `%container.info` is out of date and says nothing "%container.info""#,
            ),
            ("100%", r#"a field is missing after this `%` "%""#),
            ("100% of", r#"a field is missing after this `%` "%""#),
            (
                "%% %5",
                r#"a field is missing after this `%` "%" a field is missing after this `%` "%" a field is missing after this `%` "%5""#,
            ),
            ("x %proc.nam", r#"there is no field `proc.nam` "proc.nam""#),
            ("%proc.name[2]", r#"`proc.name` takes no argument "proc.name[2]""#),
            ("%fd.ip", r#"`fd.ip` can only be compared, and not printed "fd.ip""#),
            ("%proc.aname[2", r#"a `]` is missing after the argument "2""#),
        ];
        for (text, expected) in table {
            assert_eq!(outcome(text), expected, "{text}");
        }
    }
}
