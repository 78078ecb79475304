//! Patterns as `fnmatch` without flags reads them: `*` any bytes and `?` any byte, slashes too, `[…]` one of a set, a backslash
//! takes the meaning from what follows.
//!
//! The bytes are those of the C locale, in which Falco runs.

/// Whether all of `text` matches `pattern`; `folds`: in capitals or not.
pub fn matches(pattern: &[u8], text: &[u8], folds: bool) -> bool {
    let (mut at, mut seen) = (0, 0);
    // Behind the last `*`, and the first byte that it does not take yet.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = pattern.get(at..).and_then(|rest| one(rest, text.get(seen).copied(), folds));
        match step {
            Some(Step::Star) => {
                at += 1;
                star = Some((at, seen));
                continue;
            }
            Some(Step::Byte(len)) => {
                at += len;
                seen += 1;
                continue;
            }
            Some(Step::End) if seen == text.len() => return true,
            _ => {}
        }
        // The last `*` takes one byte more.
        let Some((behind, taken)) = star.filter(|(_, taken)| *taken < text.len()) else { return false };
        at = behind;
        seen = taken + 1;
        star = Some((behind, seen));
    }
}

enum Step {
    /// The pattern is at its end.
    End,
    /// It goes on with `*`.
    Star,
    /// This much of it matches the byte.
    Byte(usize),
}

/// What the pattern begins with, against one byte. None: no match.
fn one(pattern: &[u8], byte: Option<u8>, folds: bool) -> Option<Step> {
    let fold = |byte: u8| if folds { byte.to_ascii_lowercase() } else { byte };
    let Some(&first) = pattern.first() else { return Some(Step::End) };
    if first == b'*' {
        return Some(Step::Star);
    }
    let byte = byte?;
    match first {
        b'?' => Some(Step::Byte(1)),
        b'[' => match set(&pattern[1..], byte, folds) {
            Some((true, len)) => Some(Step::Byte(1 + len)),
            Some((false, _)) => None,
            // Never closed: the bracket itself.
            None => (byte == b'[').then_some(Step::Byte(1)),
        },
        b'\\' => match pattern.get(1) {
            Some(&escaped) => (fold(escaped) == fold(byte)).then_some(Step::Byte(2)),
            // Nothing to take the meaning from: no text matches.
            None => None,
        },
        _ => (fold(first) == fold(byte)).then_some(Step::Byte(1)),
    }
}

/// Whether a byte is in the set behind `[`, and how long the set is with its `]`. None: it is never closed.
fn set(pattern: &[u8], byte: u8, folds: bool) -> Option<(bool, usize)> {
    let fold = |byte: u8| if folds { byte.to_ascii_lowercase() } else { byte };
    let negated = matches!(pattern.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let mut is_in = false;
    let mut is_first = true;
    loop {
        let (low, next) = match *pattern.get(at)? {
            b']' if !is_first => return Some((is_in != negated, at + 1)),
            b'[' if pattern.get(at + 1) == Some(&b':') => match class(&pattern[at + 2..], byte, folds) {
                Some((found, len)) => {
                    is_in |= found;
                    at += 2 + len;
                    is_first = false;
                    continue;
                }
                None => (b'[', at + 1),
            },
            b'\\' => (*pattern.get(at + 1)?, at + 2),
            low => (low, at + 1),
        };
        is_first = false;
        at = next;
        let is_range = pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|end| *end != b']');
        if !is_range {
            is_in |= fold(low) == fold(byte);
            continue;
        }
        let (high, next) = match pattern[at + 1] {
            b'\\' => (*pattern.get(at + 2)?, at + 3),
            high => (high, at + 2),
        };
        at = next;
        is_in |= (fold(low)..=fold(high)).contains(&fold(byte));
    }
}

/// Whether a byte is of the class whose name is behind `[:`, and how long it is with its `:]`.
fn class(pattern: &[u8], byte: u8, folds: bool) -> Option<(bool, usize)> {
    let end = pattern.windows(2).position(|two| two == b":]")?;
    let is = match &pattern[..end] {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase() || folds && byte.is_ascii_uppercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte.is_ascii_whitespace() || byte == 0xb,
        b"upper" => byte.is_ascii_uppercase() || folds && byte.is_ascii_lowercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    };
    Some((is, end + 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("/etc/*", "/etc/a/b", true),
            ("/etc/*.conf", "/etc/a/b.conf", true),
            ("/etc/*.conf", "/etc/a.confx", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "/", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("[abc]", "b", true),
            ("[!abc]", "b", false),
            ("[^abc]", "d", true),
            ("[a-c]x", "bx", true),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[[:digit:]]", "7", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", false),
            (".*", ".a", true),
            ("*", ".a", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), expected, "{pattern} {text}");
        }
        assert!(matches(b"/ETC/[a-c]*", b"/etc/Bx", true) && !matches(b"/ETC/*", b"/etc/x", false));
    }

    /// A pattern that a matcher which tries everything would never be done with.
    #[test]
    fn many_stars_cost_little() {
        let (pattern, text) = ("*a".repeat(200), "a".repeat(5_000) + "b");
        assert!(!matches(pattern.as_bytes(), text.as_bytes(), false));
    }

    proptest! {
        /// The naive matcher, over what both know: no sets.
        #[test]
        fn the_same_as_by_the_book(pattern in "[ab*?\\\\]{0,8}", text in "[ab*?\\\\]{0,8}") {
            fn book(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern, text) {
                    ([], text) => text.is_empty(),
                    ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| book(rest, &text[taken..])),
                    ([b'?', rest @ ..], [_, text @ ..]) => book(rest, text),
                    ([b'\\', escaped, rest @ ..], [byte, text @ ..]) => escaped == byte && book(rest, text),
                    ([b'\\'], _) => false,
                    ([first, rest @ ..], [byte, text @ ..]) => first == byte && book(rest, text),
                    _ => false,
                }
            }
            prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), book(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
