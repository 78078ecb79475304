//! Bytes that a process chose, made harmless.

use super::put;

/// Appends text for a line on a terminal: control and direction characters, backslashes and bytes that are
/// not UTF-8 become escapes.
pub(super) fn human(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        let special = |character| character == '\\' || is_hostile(character);
        escaped(out, chunk.valid(), special, |out, character| match character {
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\\' => out.extend_from_slice(b"\\\\"),
            _ => put!(out, "\\u{{{:x}}}", u32::from(character)),
        });
        for byte in chunk.invalid() {
            put!(out, "\\x{byte:02x}");
        }
    }
}

/// As [`human`], and in single quotes if the text is empty or has what would blur where it ends.
pub(super) fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
    let plain = !bytes.is_empty() && !bytes.iter().any(|byte| byte.is_ascii_whitespace() || *byte == b'\'');
    if plain {
        return human(out, bytes);
    }
    out.push(b'\'');
    for (position, part) in bytes.split(|&byte| byte == b'\'').enumerate() {
        if position > 0 {
            out.extend_from_slice(b"\\'");
        }
        human(out, part);
    }
    out.push(b'\'');
}

/// Appends text as a JSON string has it, but without what only JSON needs: quotes around it, backslashes before
/// quotes and backslashes in it. For lines of text, which must stay lines.
pub(super) fn line(out: &mut Vec<u8>, text: &str) {
    escaped(out, text, is_hostile, json_escape);
}

/// Appends a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD; what could act on a terminal
/// is escaped, which JSON allows for every character.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        let special = |character| matches!(character, '"' | '\\') || is_hostile(character);
        escaped(out, chunk.valid(), special, json_escape);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Appends text with its `special` characters escaped; what lies between is copied as it is.
fn escaped(out: &mut Vec<u8>, text: &str, special: impl Fn(char) -> bool, escape: fn(&mut Vec<u8>, char)) {
    let mut rest = text;
    while let Some(at) = rest.find(&special) {
        let (plain, behind) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut characters = behind.chars();
        if let Some(character) = characters.next() {
            escape(out, character);
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// The escape of a character in a JSON string.
fn json_escape(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                put!(out, "\\u{unit:04x}");
            }
        }
    }
}

/// Characters that move the cursor, begin an escape sequence, break lines, hide, or turn the direction of what
/// follows: all control characters, and the invisible format characters.
fn is_hostile(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}
