//! Strings of a condition: bare, or in quotes with escapes.

use std::ops::Range;

use super::words::{is_blank, prefix};
use super::{Literal, Parsed, Parser};
use crate::rules::problem::Problem;

impl Parser<'_> {
    pub(super) fn string(&mut self) -> Parsed<Option<Literal>> {
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

    pub(super) fn quoted(&mut self) -> Parsed<Option<Literal>> {
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
}
