//! Attributes whose key is known at compile time: tag, lengths and key are one constant, of which
//! only the lengths are patched.
//!
//! A `KeyValue` of key `k` as it is written, with one byte for each length; the macros build it:
//!
//! ```text
//! field·LEN  len  1·LEN  |k|  k…  2·LEN  len  value tag  value…
//! ```
//! What does not fit such lengths (a path beyond a hundred bytes) takes the way of any other key.

use super::wire;

/// Bytes before the key.
pub(super) const BEFORE_KEY: usize = 4;
/// Bytes of a head beside its key: up to the value's own tag.
pub(super) const AROUND_KEY: usize = BEFORE_KEY + 3;
/// Bytes beside the key of a head with room for a varint.
pub(super) const INT: usize = AROUND_KEY + wire::SHORT_VARINT;
/// Bytes beside the key of a head with a string's length.
pub(super) const TEXT: usize = AROUND_KEY + 1;

/// Tags in an `AnyValue`.
pub(super) const STRING_VALUE: u8 = 1 << 3 | wire::LENGTH;
pub(super) const BOOL_VALUE: u8 = 2 << 3 | wire::VARINT;
pub(super) const INT_VALUE: u8 = 3 << 3 | wire::VARINT;
pub(super) const DOUBLE_VALUE: u8 = 4 << 3 | wire::FIXED64;

/// Longest key: what follows it, formatted text included, still has one byte for each length.
const KEY_MAX: usize = 0x7F - TEXT - super::text::ROOM;

/// Everything before the value, with lengths for a value of `value_len` bytes (its tag included), and
/// zeros after it.
pub(super) const fn head<const N: usize>(key: &str, value_tag: u8, value_len: usize) -> [u8; N] {
    let key = key.as_bytes();
    assert!(key.len() <= KEY_MAX && N >= AROUND_KEY + key.len(), "a key is short");
    let mut head = [0; N];
    let length = key_value_len(key.len(), value_len);
    assert!(length < 0x80, "lengths have one byte");
    head[1] = length as u8;
    head[2] = 1 << 3 | wire::LENGTH;
    head[3] = key.len() as u8;
    let mut at = 0;
    while at < key.len() {
        head[BEFORE_KEY + at] = key[at];
        at += 1;
    }
    head[BEFORE_KEY + at] = 2 << 3 | wire::LENGTH;
    head[BEFORE_KEY + at + 1] = value_len as u8;
    head[BEFORE_KEY + at + 2] = value_tag;
    head
}

/// Length of a `KeyValue` whose `AnyValue` has `value_len` bytes.
pub(super) const fn key_value_len(key_len: usize, value_len: usize) -> usize {
    2 + key_len + 2 + value_len
}

/// A whole attribute: a string that is known too.
pub(super) const fn known<const N: usize>(key: &str, value: &str) -> [u8; N] {
    let mut whole: [u8; N] = head(key, STRING_VALUE, 2 + value.len());
    let start = key.len() + TEXT;
    assert!(N == start + value.len(), "the size is what it is for");
    whole[start - 1] = value.len() as u8;
    let mut at = 0;
    while at < value.len() {
        whole[start + at] = value.as_bytes()[at];
        at += 1;
    }
    whole
}

/// A whole attribute: a flag that is set.
pub(super) const fn truth<const N: usize>(key: &str) -> [u8; N] {
    let mut whole: [u8; N] = head(key, BOOL_VALUE, 2);
    whole[N - 1] = 1;
    whole
}

/// Writes an unsigned integer (at most `i64::MAX`, where it stops).
macro_rules! int {
    ($attributes:expr, $key:expr, $value:expr) => {{
        use $crate::encode::prefix;
        const HEAD: [u8; $key.len() + prefix::INT] = prefix::head($key, prefix::INT_VALUE, 0);
        $attributes.put_int(&HEAD, $value)
    }};
}

/// Writes a string, known to be one.
macro_rules! text {
    ($attributes:expr, $key:expr, $value:expr) => {{
        use $crate::encode::prefix;
        const HEAD: [u8; $key.len() + prefix::TEXT] = prefix::head($key, prefix::STRING_VALUE, 0);
        $attributes.put_text(&HEAD, $value)
    }};
}

/// Writes a string whose bytes need not be UTF-8, unless they are known to be.
macro_rules! bytes {
    ($attributes:expr, $key:expr, $value:expr, $is_text:expr) => {{
        use $crate::encode::prefix;
        const HEAD: [u8; $key.len() + prefix::TEXT] = prefix::head($key, prefix::STRING_VALUE, 0);
        $attributes.put_bytes(&HEAD, $value, $is_text)
    }};
}

/// As [`bytes`], unless it is empty.
macro_rules! some_bytes {
    ($attributes:expr, $key:expr, $value:expr, $is_text:expr) => {{
        let value: &[u8] = $value;
        if !value.is_empty() {
            $crate::encode::prefix::bytes!($attributes, $key, value, $is_text);
        }
    }};
}

/// Writes a string that a closure over [`Text`](super::text::Text) formats.
macro_rules! formatted {
    ($attributes:expr, $key:expr, $write:expr) => {{
        use $crate::encode::prefix;
        const HEAD: [u8; $key.len() + prefix::TEXT] = prefix::head($key, prefix::STRING_VALUE, 0);
        $attributes.put_format(&HEAD, $write)
    }};
}

/// Writes a string that is known as the key is.
macro_rules! constant {
    ($attributes:expr, $key:expr, $value:expr) => {{
        use $crate::encode::prefix;
        const WHOLE: [u8; $key.len() + $value.len() + prefix::TEXT] = prefix::known($key, $value);
        $attributes.put_whole(&WHOLE)
    }};
}

/// Writes a double.
macro_rules! double {
    ($attributes:expr, $key:expr, $value:expr) => {{
        use $crate::encode::prefix;
        const HEAD: [u8; $key.len() + prefix::AROUND_KEY] = prefix::head($key, prefix::DOUBLE_VALUE, 9);
        $attributes.put_double(&HEAD, $value)
    }};
}

/// Writes a flag, if it is set.
macro_rules! when {
    ($attributes:expr, $key:expr, $value:expr) => {{
        use $crate::encode::prefix;
        const WHOLE: [u8; $key.len() + prefix::AROUND_KEY + 1] = prefix::truth($key);
        if $value {
            $attributes.put_whole(&WHOLE);
        }
    }};
}

pub(super) use {bytes, constant, double, formatted, int, some_bytes, text, when};
