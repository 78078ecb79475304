//! A condition as text again, in the language's own spelling: what parses to the same tree.

use std::fmt::{self, Display, Formatter, Write};

use super::{Check, Condition, FieldUse, Kind, Literal, Operand, Right, Transformed};
use crate::rules::grammar::in_brackets;

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::And(parts) => {
                joined(f, parts, " and ", |part| !matches!(part.kind, Kind::And(_) | Kind::Or(_)))
            }
            Kind::Or(parts) => joined(f, parts, " or ", |part| !matches!(part.kind, Kind::Or(_))),
            Kind::Not(inner) => match inner.kind {
                Kind::Check(_) | Kind::Macro(_) => write!(f, "not {inner}"),
                _ => write!(f, "not ({inner})"),
            },
            Kind::Macro(name) => f.write_str(name),
            Kind::Check(check) => check.fmt(f),
        }
    }
}

fn joined(
    f: &mut Formatter<'_>,
    parts: &[Condition],
    word: &str,
    is_plain: impl Fn(&Condition) -> bool,
) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(word)?;
        }
        if is_plain(part) { part.fmt(f)? } else { write!(f, "({part})")? }
    }
    Ok(())
}

impl Display for Check {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.left, self.operator.word())?;
        if let Some(quantifier) = self.quantifier {
            write!(f, " {}", quantifier.word())?;
        }
        match &self.right {
            Right::Nothing => Ok(()),
            Right::One(Operand::Field(field)) => write!(f, " val({field})"),
            Right::One(operand) => write!(f, " {operand}"),
            Right::Many(values) => {
                f.write_str(" (")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index > 0 { ", " } else { "" })?;
                }
                f.write_char(')')
            }
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => field.fmt(f),
            Self::Literal(literal) => literal.fmt(f),
            Self::Transformed(transformed) => transformed.fmt(f),
        }
    }
}

impl Display for Transformed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.transformer.word())?;
        for (index, argument) in self.arguments.iter().enumerate() {
            write!(f, "{}{argument}", if index > 0 { ", " } else { "" })?;
        }
        f.write_char(')')?;
        bracketed(f, self.index.as_deref())
    }
}

impl Display for FieldUse {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        bracketed(f, self.argument.as_deref())
    }
}

fn bracketed(f: &mut Formatter<'_>, argument: Option<&str>) -> fmt::Result {
    let Some(argument) = argument else { return Ok(()) };
    let is_bare = !argument.is_empty() && argument.chars().all(in_brackets);
    if is_bare { write!(f, "[{argument}]") } else { write!(f, "[{}]", Quoted(argument)) }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_quoted { Quoted(&self.text).fmt(f) } else { f.write_str(&self.text) }
    }
}

/// Text in quotes.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '\u{8}' => f.write_str(r"\b"),
                '\u{c}' => f.write_str(r"\f"),
                '\n' => f.write_str(r"\n"),
                '\r' => f.write_str(r"\r"),
                '\t' => f.write_str(r"\t"),
                // Not `\\`: before the closing quote that would escape it.
                '\\' => f.write_str(r"\x5c"),
                '"' => f.write_str(r"\x22"),
                c => f.write_char(c),
            }?;
        }
        f.write_char('"')
    }
}
