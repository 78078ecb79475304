//! The protobuf wire format, as far as OTLP needs it: writing only, straight into a `Vec<u8>`.
//!
//! A nested message whose length is not known beforehand is written behind room for a length of two bytes,
//! and moved if its length takes less or more: all is as short as a canonical encoder makes it. Variable
//! parts of a few bytes are written at full width and cut to their length: a copy of constant size is a few
//! instructions, one of variable size is a call.

/// Wire type 0.
pub(super) const VARINT: u8 = 0;
/// Wire type 1.
pub(super) const FIXED64: u8 = 1;
/// Wire type 2.
pub(super) const LENGTH: u8 = 2;
/// Wire type 5.
pub(super) const FIXED32: u8 = 5;

/// What an invalid byte sequence becomes; protobuf strings must be UTF-8.
pub(super) const REPLACEMENT: &str = "\u{FFFD}";

/// Writes a nested message whose length is known only once it is written.
pub(super) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    const USUAL: usize = 2;
    tag(out, field, LENGTH);
    let start = out.len();
    out.extend_from_slice(&[0; USUAL]);
    write(out);
    let length = out.len() - start - USUAL;
    let width = varint_len(length as u64);
    if width < USUAL {
        out.remove(start);
    }
    for _ in USUAL..width {
        out.insert(start, 0);
    }
    for (position, byte) in out[start..start + width].iter_mut().enumerate() {
        let more = if position + 1 < width { 0x80 } else { 0 };
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

/// Whether `value` is UTF-8 as it is.
#[inline]
pub(super) fn is_text(value: &[u8]) -> bool {
    // Nearly all are ASCII, which is found out several bytes at a time.
    value.is_ascii() || std::str::from_utf8(value).is_ok()
}

/// Length of `value` once its invalid sequences are replaced.
pub(super) fn text_len(value: &[u8]) -> usize {
    if is_text(value) {
        return value.len();
    }
    let replaced = |invalid: &[u8]| if invalid.is_empty() { 0 } else { REPLACEMENT.len() };
    value.utf8_chunks().map(|chunk| chunk.valid().len() + replaced(chunk.invalid())).sum()
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

/// Bytes of the longest varint of [`short_varint`].
pub(super) const SHORT_VARINT: usize = 9;

/// A varint at full width, and how many of its bytes count. Values of 63 bits and more have none.
#[inline]
pub(super) const fn short_varint(value: u64) -> Option<([u8; SHORT_VARINT], usize)> {
    if value >> 63 != 0 {
        return None;
    }
    // Groups of 7 bits move apart, the upper half of each part first.
    let halves = (value & 0x00FF_FFFF_F000_0000) << 4 | value & 0x0FFF_FFFF;
    let quarters = (halves & 0x0FFF_C000_0FFF_C000) << 2 | halves & 0x0000_3FFF_0000_3FFF;
    let groups = (quarters & 0x3F80_3F80_3F80_3F80) << 1 | quarters & 0x007F_007F_007F_007F;
    let width = varint_len(value);
    // All bytes but the last say that more follow.
    let before_last = if width > 8 { u64::MAX } else { u64::MAX >> 8 >> (64 - 8 * width) };
    let [b0, b1, b2, b3, b4, b5, b6, b7] = (groups | 0x8080_8080_8080_8080 & before_last).to_le_bytes();
    Some(([b0, b1, b2, b3, b4, b5, b6, b7, (value >> 56) as u8], width))
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
        out.extend_from_slice(&bytes);
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
        fn a_length_is_as_short_as_prost_writes_it(
            length in prop_oneof![0_usize..300, 16_300_usize..16_500, 2_097_100_usize..2_097_200], byte: u8,
        ) {
            let content = vec![byte; length];
            let mut want = Vec::new();
            prost::encoding::bytes::encode(2, &content, &mut want);
            let mut out = Vec::new();
            message(&mut out, 2, |out| out.extend_from_slice(&content));
            prop_assert_eq!(&out, &want);
        }
    }
}
