//! From the text of a condition to its tree.
//!
//! ```text
//! or       = and { "or" ( BLANK and | "(" or ")" ) }
//! and      = not { "and" ( BLANK not | "(" or ")" ) }
//! not      = { "not" BLANK } ( "not(" or ")" | check )
//! check    = "(" or ")" | operand operator right | MACRO
//! operand  = FIELD [ "[" argument "]" ] | TRANSFORMER "(" argument { "," argument } ")" [ "[" index "]" ]
//! right    = STRING | NUMBER | "val(" FIELD ")" | TRANSFORMER "(" … ")" | "(" [ STRING { "," STRING } ] ")" | NAME
//! ```
//!
//! A field has a dot in its name, a macro has none. A string stands in quotes of either kind, or is anything
//! without blanks, parentheses, quotes, `=` and commas. An escaped quote is any that a backslash stands
//! before, so that no string ends in a backslash: rule files rely on it.

use std::ops::Range;

use super::condition::{
    Check, Condition, FieldUse, Kind, Literal, Operand, Operator, Quantifier, Right, Transformed, Transformer,
};
use super::problem::{Code, Problem};
use super::text::{Span, Traced};
pub(super) use words::in_brackets;
use words::{identifier, is_blank, number};

mod operands;
mod strings;
mod words;

/// Deepest nesting of parentheses, negations and transformers.
pub const MAX_DEPTH: u32 = 100;

/// Parses a condition. Lists are written into it already; macros are names in the tree.
pub fn parse(text: &Traced) -> Result<Condition, Box<Problem>> {
    let mut parser = Parser { text, rest: text.as_str(), depth: 0 };
    if let Some(at) = text.as_str().find('\0') {
        return Err(parser.mistake(at..at + 1, "a condition cannot hold a NUL byte"));
    }
    parser.skip_blanks();
    if parser.rest.is_empty() {
        return Err(parser.wrong("the condition is empty"));
    }
    let condition = parser.or()?;
    if parser.rest.is_empty() { Ok(condition) } else { Err(parser.after_condition()) }
}

/// A field or transformer at byte `at` of a text, as output formats have them, and where it ends; none if nothing of that
/// kind begins there.
pub fn operand_at(text: &Traced, at: usize) -> Result<Option<(Operand, usize)>, Box<Problem>> {
    let Some(rest) = text.as_str().get(at..) else { return Ok(None) };
    let mut parser = Parser { text, rest, depth: 0 };
    let operand = match parser.field()? {
        Some(field) => Some(Operand::Field(field)),
        None => parser.transformed()?.map(Operand::Transformed),
    };
    Ok(operand.map(|operand| (operand, parser.at())))
}

struct Parser<'a> {
    text: &'a Traced,
    rest: &'a str,
    depth: u32,
}

/// The mistake is boxed: every level of a condition holds one of these on the stack.
type Parsed<T> = Result<T, Box<Problem>>;

impl<'a> Parser<'a> {
    // -- Conditions.

    fn or(&mut self) -> Parsed<Condition> {
        self.joined("or", Kind::Or, |parser| parser.joined("and", Kind::And, Self::not))
    }

    /// Parts joined by `word`; one alone is what it is.
    fn joined(
        &mut self,
        word: &str,
        make: fn(Vec<Condition>) -> Kind,
        mut part: impl FnMut(&mut Self) -> Parsed<Condition>,
    ) -> Parsed<Condition> {
        self.skip_blanks();
        let first = part(self)?;
        let mut parts = vec![first];
        self.skip_blanks();
        while self.accept(word) {
            if self.skip_blanks() {
                parts.push(part(self)?);
            } else if self.accept("(") {
                parts.push(self.until_closed()?);
            } else {
                return Err(self.wrong(format!("a blank or `(` is missing after `{word}`")));
            }
            self.skip_blanks();
        }
        match (parts.len(), parts.pop()) {
            (1, Some(only)) => Ok(only),
            (_, last) => {
                parts.extend(last);
                let span = match (parts.first(), parts.last()) {
                    (Some(first), Some(last)) => first.span.to(last.span),
                    _ => self.span(0..0),
                };
                Ok(Condition { kind: make(parts), span })
            }
        }
    }

    fn not(&mut self) -> Parsed<Condition> {
        self.skip_blanks();
        let start = self.at();
        let mut negated = false;
        while self.rest.strip_prefix("not").is_some_and(|rest| rest.starts_with(is_blank)) {
            self.accept("not");
            self.skip_blanks();
            negated = !negated;
        }
        let condition = if self.accept("not(") {
            negated = !negated;
            self.until_closed()?
        } else {
            self.check()?
        };
        if !negated {
            return Ok(condition);
        }
        let span = self.span(start..start + "not".len()).to(condition.span);
        Ok(Condition { kind: Kind::Not(Box::new(condition)), span })
    }

    /// The rest of what stands in parentheses.
    fn until_closed(&mut self) -> Parsed<Condition> {
        let opened = self.at() - 1;
        self.deeper()?;
        let condition = self.or()?;
        self.depth -= 1;
        if self.accept(")") {
            return Ok(condition);
        }
        if self.rest.is_empty() {
            return Err(self.mistake(opened..opened + 1, "this `(` is never closed"));
        }
        Err(self.after_condition())
    }

    fn check(&mut self) -> Parsed<Condition> {
        let start = self.at();
        if self.accept("(") {
            return self.until_closed();
        }
        let left = if let Some(field) = self.field()? {
            Operand::Field(field)
        } else if let Some(transformed) = self.transformed()? {
            Operand::Transformed(transformed)
        } else if let Some(name) = self.take(identifier) {
            let span = self.span(start..self.at());
            return Ok(Condition { kind: Kind::Macro(name.to_owned()), span });
        } else {
            return Err(self.no_condition());
        };
        let check = self.comparison(left)?;
        Ok(Condition { kind: Kind::Check(check), span: self.span(start..self.at()) })
    }

    // -- Comparisons.

    fn comparison(&mut self, left: Operand) -> Parsed<Check> {
        self.skip_blanks();
        let start = self.at();
        let operator = self.operator()?;
        let operator_span = self.span(start..self.at());
        self.skip_blanks();
        let quantifier = if operator.takes_quantifier() { self.quantifier() } else { None };
        let right = match operator {
            Operator::Exists => {
                return Ok(Check { left, operator, operator_span, quantifier, right: Right::Nothing });
            }
            _ if operator.takes_list() || quantifier.is_some() => self.list(operator)?,
            _ => Right::One(self.value(operator)?),
        };
        Ok(Check { left, operator, operator_span, quantifier, right })
    }

    fn operator(&mut self) -> Parsed<Operator> {
        // The longer of two that begin alike is the one that is meant. `==` is `=`.
        if self.accept("==") {
            return Ok(Operator::Equal);
        }
        let found = Operator::ALL.iter().copied().filter(|operator| {
            let Some(rest) = self.rest.strip_prefix(operator.word()) else { return false };
            let is_word = operator.word().starts_with(|c: char| c.is_ascii_alphabetic());
            !is_word || !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        });
        if let Some(operator) = found.max_by_key(|operator| operator.word().len()) {
            self.accept(operator.word());
            return Ok(operator);
        }
        let word = self.rest.split(is_blank).next().unwrap_or_default();
        let known: Vec<&str> = Operator::ALL.iter().map(|operator| operator.word()).collect();
        if word.is_empty() || word.starts_with(')') {
            return Err(self.wrong("an operator is missing").help(format!("one of {}", known.join(" "))));
        }
        let end = self.at() + word.len();
        let problem = self.mistake(self.at()..end, format!("`{word}` is no operator"));
        Err(problem.help(format!("one of {}", known.join(" "))))
    }

    fn quantifier(&mut self) -> Option<Quantifier> {
        let found = Quantifier::ALL.iter().copied().find(|quantifier| {
            self.rest
                .strip_prefix(quantifier.word())
                .is_some_and(|rest| rest.trim_start_matches(is_blank).starts_with('('))
        })?;
        self.accept(found.word());
        self.skip_blanks();
        Some(found)
    }

    /// The right side of an operator that takes one value.
    fn value(&mut self, operator: Operator) -> Parsed<Operand> {
        if let Some(operand) = self.computed()? {
            return Ok(operand);
        }
        let start = self.at();
        if operator.takes_number() {
            let Some(number) = self.take(number) else {
                return Err(self.wrong(format!("a number is missing after `{}`", operator.word())));
            };
            let (text, span) = (number.to_owned(), self.span(start..self.at()));
            return Ok(Operand::Literal(Literal { text, is_quoted: false, span }));
        }
        match self.string()? {
            Some(literal) => Ok(Operand::Literal(literal)),
            None if self.rest.starts_with('(') => {
                let problem = self.wrong(format!("`{}` takes one value and no list", operator.word()));
                Err(problem
                    .help(format!("`in (…)`, or `{} anyof (…)` to compare with several", operator.word())))
            }
            None => Err(self.wrong(format!("a value is missing after `{}`", operator.word()))),
        }
    }

    /// The right side of an operator that takes a list.
    fn list(&mut self, operator: Operator) -> Parsed<Right> {
        let opened = self.at();
        if self.accept("(") {
            let mut values = Vec::new();
            self.skip_blanks();
            if let Some(first) = self.string()? {
                values.push(first);
                self.skip_blanks();
                while self.accept(",") {
                    self.skip_blanks();
                    let Some(value) = self.string()? else {
                        return Err(self.wrong("a value is missing after the comma"));
                    };
                    values.push(value);
                    self.skip_blanks();
                }
            }
            if self.accept(")") {
                return Ok(Right::Many(values));
            }
            if self.rest.is_empty() {
                return Err(self.mistake(opened..opened + 1, "this list is never closed"));
            }
            return Err(self.wrong("a comma or `)` is missing in the list"));
        }
        if let Some(operand) = self.computed()? {
            return Ok(Right::One(operand));
        }
        let start = self.at();
        if let Some(name) = self.take(identifier) {
            let span = self.span(start..self.at());
            return Ok(Right::Many(vec![Literal { text: name.to_owned(), is_quoted: false, span }]));
        }
        Err(self
            .wrong(format!("a list is missing after `{}`", operator.word()))
            .help(format!("write `{} (a, b)`", operator.word())))
    }

    // -- The text.

    fn at(&self) -> usize {
        self.text.as_str().len() - self.rest.len()
    }

    fn span(&self, range: Range<usize>) -> Span {
        self.text.span(range).unwrap_or(Span { source: 0, start: 0, end: 0 })
    }

    fn accept(&mut self, word: &str) -> bool {
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes as many bytes as `measure` says; none = it is not there.
    fn take(&mut self, measure: impl Fn(&str) -> usize) -> Option<&'a str> {
        let (taken, rest) =
            self.rest.split_at_checked(measure(self.rest)).filter(|(taken, _)| !taken.is_empty())?;
        self.rest = rest;
        Some(taken)
    }

    fn skip_blanks(&mut self) -> bool {
        let rest = self.rest.trim_start_matches(is_blank);
        let skipped = rest.len() < self.rest.len();
        self.rest = rest;
        skipped
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong(format!("more than {MAX_DEPTH} parentheses inside each other")));
        }
        Ok(())
    }

    // -- Mistakes.

    fn wrong(&self, message: impl Into<String>) -> Box<Problem> {
        let at = self.at();
        let len = self.rest.chars().next().map_or(0, char::len_utf8);
        let range = if len == 0 { at.saturating_sub(1)..at } else { at..at + len };
        self.mistake(range, message)
    }

    fn mistake(&self, range: Range<usize>, message: impl Into<String>) -> Box<Problem> {
        Box::new(Problem::new(Code::CompileCondition, self.span(range), message))
    }

    /// Something else stands where a condition should begin.
    fn no_condition(&self) -> Box<Problem> {
        let problem = self.wrong(match self.rest.is_empty() {
            true => "a condition is missing at the end",
            false => "a field, a macro or `(` is missing here",
        });
        if self.rest.starts_with('!') { problem.help("write `not`") } else { problem }
    }

    /// Something else stands behind a condition.
    fn after_condition(&self) -> Box<Problem> {
        let problem = self.wrong("`and` or `or` is missing here");
        match self.rest.as_bytes() {
            [b'&', ..] => problem.help("write `and`"),
            [b'|', ..] => problem.help("write `or`"),
            [b')', ..] => self.wrong("this `)` closes nothing"),
            _ => problem,
        }
    }
}

#[cfg(test)]
mod tests;
