//! What words of a condition are made of: each function says how many bytes at the start of a text are one.

/// What an argument in brackets may hold without quotes.
pub(in crate::rules) fn in_brackets(c: char) -> bool {
    !matches!(c, '[' | ']' | '"' | '\'') && !is_blank(c)
}

/// What the grammar calls blank.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{8}' | '\r' | '\n')
}

/// Bytes at the start of `text` of which all are as said.
pub(super) fn prefix(text: &str, is: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is(c)).unwrap_or(text.len())
}

/// A letter, then letters, digits and underscores.
pub(super) fn identifier(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        prefix(text, |c| c.is_ascii_alphanumeric() || c == '_')
    } else {
        0
    }
}

/// Identifiers joined by dots, two at least.
pub(super) fn field_name(text: &str) -> usize {
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
pub(super) fn number(text: &str) -> usize {
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
