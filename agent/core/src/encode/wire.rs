//! The protobuf wire format, as far as OTLP needs it: writing only, straight into a `Vec<u8>`.
//!
//! A nested message whose length is not known beforehand gets a length of fixed width (a varint
//! padded with continuation bits, which every decoder accepts) that is patched afterwards: one pass,
//! nothing is moved.

/// Wire type 0.
const VARINT: u32 = 0;
/// Wire type 1.
const FIXED64: u32 = 1;
/// Wire type 2.
const LENGTH: u32 = 2;
/// Wire type 5.
const FIXED32: u32 = 5;

/// Bytes of a padded length: messages up to 256 MiB.
const PADDED: usize = 4;

/// What an invalid byte sequence becomes; protobuf strings must be UTF-8.
const REPLACEMENT: &str = "\u{FFFD}";

/// Writes a nested message whose length is known only once it is written.
pub(super) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, LENGTH);
    let start = out.len() + PADDED;
    out.extend_from_slice(&[0; PADDED]);
    write(out);
    let length = out.len() - start;
    assert!(length < 1 << (7 * PADDED), "a record is bounded by what a ring record can carry");
    for (position, byte) in out[start - PADDED..start].iter_mut().enumerate() {
        let more = if position + 1 < PADDED { 0x80 } else { 0 };
        *byte = (length >> (7 * position)) as u8 & 0x7F | more;
    }
}

/// Writes tag and length of a nested message of known length; its bytes are to follow.
pub(super) fn header(out: &mut Vec<u8>, field: u32, length: usize) {
    tag(out, field, LENGTH);
    varint(out, length as u64);
}

/// Bytes that [`header`] writes for a field below 16.
pub(super) fn header_len(length: usize) -> usize {
    1 + varint_len(length as u64)
}

/// A `bytes` field.
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    header(out, field, value.len());
    out.extend_from_slice(value);
}

/// A `string` field of bytes that need not be UTF-8: invalid sequences become U+FFFD.
pub(super) fn text(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    header(out, field, text_len(value));
    text_bytes(out, value);
}

/// Length of `value` once its invalid sequences are replaced.
pub(super) fn text_len(value: &[u8]) -> usize {
    if std::str::from_utf8(value).is_ok() {
        return value.len();
    }
    let replaced = |invalid: &[u8]| if invalid.is_empty() { 0 } else { REPLACEMENT.len() };
    value.utf8_chunks().map(|chunk| chunk.valid().len() + replaced(chunk.invalid())).sum()
}

/// The [`text_len`] bytes of `value`.
pub(super) fn text_bytes(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT.as_bytes());
        }
    }
}

/// A `uint32`, `uint64`, `int64` (as two's complement), `bool` or enum field.
pub(super) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, VARINT);
    varint(out, value);
}

/// A `fixed64` or `sfixed64` field.
pub(super) fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A `fixed32` field.
pub(super) fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    tag(out, field, FIXED32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A `double` field.
pub(super) fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    fixed64(out, field, value.to_bits());
}

/// A packed repeated field of 8-byte elements (`fixed64`, or `double` by its bits).
pub(super) fn packed64(out: &mut Vec<u8>, field: u32, values: impl ExactSizeIterator<Item = u64>) {
    header(out, field, values.len() * 8);
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Bytes of a varint.
pub(super) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::encoding::decode_varint;

    use super::*;

    proptest! {
        #[test]
        fn varints_decode_to_what_was_written(value: u64) {
            let mut out = Vec::new();
            varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            prop_assert_eq!(decode_varint(&mut out.as_slice()).unwrap(), value);
        }

        #[test]
        fn text_is_what_the_standard_library_makes_of_it(value: Vec<u8>) {
            let mut out = Vec::new();
            text_bytes(&mut out, &value);
            prop_assert_eq!(out.len(), text_len(&value));
            let lossy = String::from_utf8_lossy(&value);
            prop_assert_eq!(out.as_slice(), lossy.as_bytes());
        }

        #[test]
        fn a_padded_length_is_the_length(content in proptest::collection::vec(any::<u8>(), 0..40_000)) {
            let mut out = Vec::new();
            message(&mut out, 2, |out| out.extend_from_slice(&content));
            let mut rest = out.get(1..).unwrap();
            prop_assert_eq!(decode_varint(&mut rest).unwrap(), content.len() as u64);
            prop_assert_eq!(rest, content.as_slice());
        }
    }
}
