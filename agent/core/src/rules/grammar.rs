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

    /// `val(FIELD)` or a transformer, on the right side.
    fn computed(&mut self) -> Parsed<Option<Operand>> {
        if self.accept("val(") {
            self.skip_blanks();
            let Some(field) = self.field()? else {
                return Err(self.wrong("`val` takes a field"));
            };
            self.skip_blanks();
            if !self.accept(")") {
                return Err(self.wrong("`val` takes one field: a `)` is missing"));
            }
            return Ok(Some(Operand::Field(field)));
        }
        Ok(self.transformed()?.map(Operand::Transformed))
    }

    // -- Operands.

    fn field(&mut self) -> Parsed<Option<FieldUse>> {
        let start = self.at();
        let Some(name) = self.take(field_name) else { return Ok(None) };
        let name = name.to_owned();
        let argument = self.bracketed()?;
        Ok(Some(FieldUse { name, argument, span: self.span(start..self.at()) }))
    }

    /// `[ARGUMENT]`, if it is there.
    fn bracketed(&mut self) -> Parsed<Option<String>> {
        if !self.accept("[") {
            return Ok(None);
        }
        let argument = match self.quoted()? {
            Some(literal) => literal.text,
            None => match self.take(|text| prefix(text, in_brackets)) {
                Some(bare) => bare.to_owned(),
                None => return Err(self.wrong("an argument is missing after `[`")),
            },
        };
        if !self.accept("]") {
            return Err(self.wrong("a `]` is missing after the argument"));
        }
        Ok(Some(argument))
    }

    fn transformed(&mut self) -> Parsed<Option<Transformed>> {
        let start = self.at();
        let found = Transformer::ALL.iter().copied().find(|transformer| {
            self.rest.strip_prefix(transformer.word()).is_some_and(|rest| rest.starts_with('('))
        });
        let Some(transformer) = found else { return Ok(None) };
        self.accept(transformer.word());
        self.accept("(");
        self.deeper()?;
        let mut arguments = Vec::new();
        loop {
            self.skip_blanks();
            arguments.push(self.argument(transformer)?);
            self.skip_blanks();
            if !self.accept(",") {
                break;
            }
        }
        self.depth -= 1;
        if !self.accept(")") {
            return Err(self.wrong(format!("a comma or `)` is missing in `{}(…)`", transformer.word())));
        }
        let (least, most) = transformer.arguments();
        if !(least..=most).contains(&arguments.len()) {
            let message = format!(
                "`{}` takes {least} argument{} and has {}",
                transformer.word(),
                if least == 1 { "" } else { "s" },
                arguments.len()
            );
            return Err(self.mistake(start..self.at(), message));
        }
        let index = if transformer == Transformer::Getopt { self.bracketed()? } else { None };
        Ok(Some(Transformed { transformer, arguments, index, span: self.span(start..self.at()) }))
    }

    fn argument(&mut self, of: Transformer) -> Parsed<Operand> {
        if let Some(transformed) = self.transformed()? {
            return Ok(Operand::Transformed(transformed));
        }
        if let Some(field) = self.field()? {
            return Ok(Operand::Field(field));
        }
        let takes_text = matches!(of, Transformer::Join | Transformer::Concat | Transformer::Getopt);
        match if takes_text { self.quoted()? } else { None } {
            Some(literal) => Ok(Operand::Literal(literal)),
            None => Err(self.wrong(format!("`{}` takes a field or another transformer", of.word()))),
        }
    }

    // -- Strings.

    fn string(&mut self) -> Parsed<Option<Literal>> {
        if let Some(literal) = self.quoted()? {
            return Ok(Some(literal));
        }
        let start = self.at();
        let bare = self
            .take(|text| prefix(text, |c| !matches!(c, '(' | ')' | '"' | '\'' | '=' | ',') && !is_blank(c)));
        Ok(bare.map(|text| Literal {
            text: text.to_owned(),
            is_quoted: false,
            span: self.span(start..start + text.len()),
        }))
    }

    fn quoted(&mut self) -> Parsed<Option<Literal>> {
        let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            return Ok(None);
        };
        let start = self.at();
        let inside = &self.rest[1..];
        let mut before = '\0';
        let end = inside.char_indices().find_map(|(at, c)| {
            let closes = c == quote && before != '\\';
            before = c;
            closes.then_some(at)
        });
        let Some(end) = end else {
            return Err(self.mistake(start..start + 1, "this string is never closed"));
        };
        let text = self.unescape(&inside[..end], quote, start + 1)?;
        self.rest = &inside[end + 1..];
        Ok(Some(Literal { text, is_quoted: true, span: self.span(start..self.at()) }))
    }

    /// Takes escapes out of what stood between quotes; `at` is where it begins.
    fn unescape(&self, text: &str, quote: char, at: usize) -> Parsed<String> {
        let mut out = String::with_capacity(text.len());
        let mut chars = text.char_indices();
        while let Some((place, c)) = chars.next() {
            if c == '\0' {
                return Err(self.bad_escape(at + place..at + place + 1, "a string cannot hold a NUL byte"));
            }
            if c != '\\' {
                out.push(c);
                continue;
            }
            let Some((_, escaped)) = chars.next() else { break };
            let range = at + place..at + place + 1 + escaped.len_utf8();
            out.push(match escaped {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                // Rules of old wrote a backslash before a blank.
                ' ' | '\\' => '\\',
                '/' => '/',
                '"' | '\'' if escaped == quote => escaped,
                'x' => {
                    let digits: String = chars.by_ref().take(2).map(|(_, digit)| digit).collect();
                    match u8::from_str_radix(&digits, 16) {
                        Ok(0) => return Err(self.bad_escape(range, "a string cannot hold a NUL byte")),
                        Ok(byte) if digits.len() == 2 && byte.is_ascii() => char::from(byte),
                        Ok(_) if digits.len() == 2 => {
                            return Err(self.bad_escape(range, "`\\x` stands for one byte of ASCII"));
                        }
                        _ => return Err(self.bad_escape(range, "`\\x` needs two hexadecimal digits")),
                    }
                }
                _ => return Err(self.bad_escape(range, format!("`\\{escaped}` is no escape"))),
            });
        }
        Ok(out)
    }

    fn bad_escape(&self, range: Range<usize>, message: impl Into<String>) -> Box<Problem> {
        self.mistake(range, message)
            .help(r#"escapes are \b \f \n \r \t \\ \/ \xHH and a backslash before the enclosing quote"#)
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

/// What an argument in brackets may hold without quotes.
pub(super) fn in_brackets(c: char) -> bool {
    !matches!(c, '[' | ']' | '"' | '\'') && !is_blank(c)
}

/// What the grammar calls blank.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{8}' | '\r' | '\n')
}

/// Bytes at the start of `text` of which all are as said.
fn prefix(text: &str, is: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is(c)).unwrap_or(text.len())
}

/// A letter, then letters, digits and underscores.
fn identifier(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        prefix(text, |c| c.is_ascii_alphanumeric() || c == '_')
    } else {
        0
    }
}

/// Identifiers joined by dots, two at least.
fn field_name(text: &str) -> usize {
    let mut len = identifier(text);
    let mut dotted = 0;
    while len > 0 && text[len..].starts_with('.') {
        let next = identifier(&text[len + 1..]);
        if next == 0 {
            break;
        }
        len += 1 + next;
        dotted = len;
    }
    dotted
}

/// `0x1f`, `-12`, `1.5e+3`: what looks like a number.
fn number(text: &str) -> usize {
    let digits = |text: &str| prefix(text, |c| c.is_ascii_digit());
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let len = prefix(hex, |c| c.is_ascii_alphanumeric());
        if len > 0 {
            return 2 + len;
        }
    }
    let sign = usize::from(text.starts_with(['+', '-']));
    let whole = digits(&text[sign..]);
    if whole == 0 {
        return 0;
    }
    let mut len = sign + whole;
    if text[len..].starts_with('.') {
        len += 1 + digits(&text[len + 1..]);
    }
    let exponent = text[len..].strip_prefix(['e', 'E']).and_then(|rest| rest.strip_prefix(['+', '-']));
    match exponent.map(digits) {
        Some(exponent) if exponent > 0 => len + 2 + exponent,
        _ => len,
    }
}

#[cfg(test)]
mod tests;
