//! The protobuf wire format, as far as OTLP needs it: writing only, straight into a `Vec<u8>`.
//!
//! A nested message whose length is not known beforehand gets a length of fixed width (a varint
//! padded with continuation bits, which every decoder accepts) that is patched afterwards: one pass,
//! nothing is moved. Variable parts of a few bytes are written at full width and cut to their length:
//! a copy of constant size is a few instructions, one of variable size is a call.

/// Wire type 0.
pub(super) const VARINT: u8 = 0;
/// Wire type 1.
pub(super) const FIXED64: u8 = 1;
/// Wire type 2.
pub(super) const LENGTH: u8 = 2;
/// Wire type 5.
const FIXED32: u8 = 5;

/// Bytes of a padded length of anything: messages up to 256 MiB.
const WIDE: usize = 4;
/// Bytes of a padded length of a log record or a span, up to 2 MiB: what 32 KiB of arguments and two
/// paths of 4 KiB become is far below, even if no byte of them is text.
const RECORD: usize = 3;

/// What an invalid byte sequence becomes; protobuf strings must be UTF-8.
const REPLACEMENT: &str = "\u{FFFD}";

/// Writes a nested message whose length is known only once it is written.
pub(super) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    padded::<WIDE>(out, field, write);
}

/// As [`message`], for what one event becomes.
#[inline]
pub(super) fn record(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    padded::<RECORD>(out, field, write);
}

#[inline]
fn padded<const WIDTH: usize>(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, LENGTH);
    let start = out.len() + WIDTH;
    out.extend_from_slice(&[0; WIDTH]);
    write(out);
    let length = out.len() - start;
    assert!(length < 1 << (7 * WIDTH), "a record is bounded by what a ring record can carry");
    for (position, byte) in out[start - WIDTH..start].iter_mut().enumerate() {
        let more = if position + 1 < WIDTH { 0x80 } else { 0 };
        *byte = (length >> (7 * position)) as u8 & 0x7F | more;
    }
}

/// Writes tag and length of a nested message of known length; its bytes are to follow.
#[inline]
pub(super) fn header(out: &mut Vec<u8>, field: u32, length: usize) {
    tag(out, field, LENGTH);
    varint(out, length as u64);
}

/// Bytes that [`header`] writes for a field below 16.
#[inline]
pub(super) fn header_len(length: usize) -> usize {
    1 + varint_len(length as u64)
}

/// A `bytes` field.
#[inline]
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    header(out, field, value.len());
    out.extend_from_slice(value);
}

/// A `string` field of bytes that need not be UTF-8: invalid sequences become U+FFFD.
pub(super) fn text(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    header(out, field, text_len(value));
    text_bytes(out, value);
}

/// Whether `value` is UTF-8 as it is.
#[inline]
pub(super) fn is_text(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok()
}

/// Length of `value` once its invalid sequences are replaced.
pub(super) fn text_len(value: &[u8]) -> usize {
    if is_text(value) {
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
#[inline]
pub(super) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, VARINT);
    varint(out, value);
}

/// A `fixed64` or `sfixed64` field.
#[inline]
pub(super) fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A `fixed32` field.
#[inline]
pub(super) fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    tag(out, field, FIXED32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A `double` field.
#[inline]
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
#[inline]
pub(super) const fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// A varint of at most 8 bytes, in a word (the first byte is the lowest) with its width. Values of 56
/// bits and more have none.
#[inline]
pub(super) const fn short_varint(value: u64) -> Option<(u64, usize)> {
    if value >> 56 != 0 {
        return None;
    }
    // Groups of 7 bits move apart, the upper half of each part first.
    let halves = (value & 0x00FF_FFFF_F000_0000) << 4 | value & 0x0FFF_FFFF;
    let quarters = (halves & 0x0FFF_C000_0FFF_C000) << 2 | halves & 0x0000_3FFF_0000_3FFF;
    let groups = (quarters & 0x3F80_3F80_3F80_3F80) << 1 | quarters & 0x007F_007F_007F_007F;
    let width = varint_len(value);
    let before_last = (1 << (8 * (width - 1))) - 1;
    Some((groups | 0x8080_8080_8080_8080 & before_last, width))
}

#[inline]
fn tag(out: &mut Vec<u8>, field: u32, wire_type: u8) {
    varint(out, u64::from(field << 3 | u32::from(wire_type)));
}

#[inline]
fn varint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
    } else if let Some((bytes, width)) = short_varint(value) {
        let end = out.len() + width;
        out.extend_from_slice(&bytes.to_le_bytes());
        out.truncate(end);
    } else {
        long_varint(out, value);
    }
}

#[cold]
fn long_varint(out: &mut Vec<u8>, mut value: u64) {
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
        fn varints_decode_to_what_was_written(value: u64, shift in 0_u32..64) {
            for value in [value >> shift, (1 << shift) - 1, 1 << shift] {
                let mut out = Vec::new();
                varint(&mut out, value);
                prop_assert_eq!(out.len(), varint_len(value));
                prop_assert_eq!(decode_varint(&mut out.as_slice()).unwrap(), value);
            }
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
            let (mut wide, mut narrow) = (Vec::new(), Vec::new());
            message(&mut wide, 2, |out| out.extend_from_slice(&content));
            record(&mut narrow, 2, |out| out.extend_from_slice(&content));
            for out in [wide, narrow] {
                let mut rest = out.get(1..).unwrap();
                prop_assert_eq!(decode_varint(&mut rest).unwrap(), content.len() as u64);
                prop_assert_eq!(rest, content.as_slice());
            }
        }
    }
}
