//! `KeyValue` messages: attributes of resources, records, spans and points.

use super::text::{ROOM, Text};
use super::{prefix, wire};

/// Attributes encoded once and appended to many messages: the labels of a metric series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// `KeyValue` messages, each as if it were field 1.
    bytes: Vec<u8>,
}

impl Attributes {
    /// No attributes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the attributes and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Adds a string. Keys must differ: OTLP wants them unique.
    pub fn text(&mut self, key: &str, value: &str) {
        Writer::new(&mut self.bytes, 1).text(key, value.as_bytes());
    }

    /// Adds an integer.
    pub fn int(&mut self, key: &str, value: i64) {
        Writer::new(&mut self.bytes, 1).int(key.as_bytes(), value as u64);
    }

    /// Adds a boolean.
    pub fn bool(&mut self, key: &str, value: bool) {
        Writer::new(&mut self.bytes, 1).bool(key, value);
    }

    /// Appends them as field `field` (below 16) of the message being written.
    pub(super) fn append_to(&self, out: &mut Vec<u8>, field: u32) {
        let mut rest = self.bytes.as_slice();
        while let Some((_, after_tag)) = rest.split_first() {
            let (length, prefix) = read_length(after_tag);
            let (pair, next) = after_tag.split_at(prefix + length);
            wire::header(out, field, length);
            out.extend_from_slice(&pair[prefix..]);
            rest = next;
        }
    }
}

/// Length and its width, of a varint that [`wire::header`] wrote.
fn read_length(bytes: &[u8]) -> (usize, usize) {
    let mut length = 0;
    for (position, byte) in bytes.iter().enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * position);
        if byte & 0x80 == 0 {
            return (length, position + 1);
        }
    }
    (0, bytes.len())
}

/// Writes attributes as field `field` of the message being written to `out`. Those with a key that is
/// known at compile time are written by the macros of [`prefix`], through the `put_…` methods.
pub(super) struct Writer<'a> {
    /// The message.
    out: &'a mut Vec<u8>,
    tag: u8,
}

impl<'a> Writer<'a> {
    /// `field` is below 16.
    pub(super) fn new(out: &'a mut Vec<u8>, field: u8) -> Self {
        Self { out, tag: field << 3 | wire::LENGTH }
    }

    /// The message.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// A string whose key is known only now, or that is long; invalid UTF-8 is replaced.
    pub(super) fn text(&mut self, key: &str, value: &[u8]) {
        self.long(key.as_bytes(), value);
    }

    fn bool(&mut self, key: &str, value: bool) {
        self.head(key.as_bytes(), 2);
        wire::uint(self.out, 2, u64::from(value));
    }

    fn int(&mut self, key: &[u8], value: u64) {
        self.head(key, 1 + wire::varint_len(value));
        wire::uint(self.out, 3, value);
    }

    /// An array of strings; `element(index, out)` appends the bytes of one.
    pub(super) fn texts(
        &mut self,
        key: &str,
        count: usize,
        scratch: &mut Vec<u8>,
        mut element: impl FnMut(usize, &mut Vec<u8>),
    ) {
        let field = u32::from(self.tag >> 3);
        wire::record(self.out, field, |out| {
            wire::bytes(out, 1, key.as_bytes());
            wire::record(out, 2, |out| {
                wire::record(out, 5, |out| {
                    for index in 0..count {
                        scratch.clear();
                        element(index, scratch);
                        let length = wire::text_len(scratch);
                        wire::header(out, 1, wire::header_len(length) + length);
                        wire::text(out, 1, scratch);
                    }
                });
            });
        });
    }

    /// A whole attribute, but for its tag.
    #[inline]
    pub(super) fn put<const N: usize>(&mut self, whole: &[u8; N]) {
        self.put_head(whole);
    }

    /// See [`prefix::int`]. OTLP integers are signed: a counter stops at `i64::MAX`.
    #[inline]
    pub(super) fn put_int<const N: usize>(&mut self, head: &[u8; N], value: u64) {
        let key_len = const { N - prefix::INT };
        let Some((varint, width)) = wire::short_varint(value) else {
            self.int(key_of(head, key_len), value.min(i64::MAX as u64));
            return;
        };
        let start = self.out.len();
        let slot = self.put_head(head);
        slot[1] = (prefix::key_value_len(key_len, 1 + width)) as u8;
        slot[prefix::BEFORE_KEY + key_len + 1] = 1 + width as u8;
        if let Some(room) = slot.last_chunk_mut() {
            *room = varint.to_le_bytes();
        }
        self.out.truncate(start + key_len + prefix::AROUND_KEY + width);
    }

    /// See [`prefix::double`].
    #[inline]
    pub(super) fn put_double<const N: usize>(&mut self, head: &[u8; N], value: f64) {
        self.put_head(head);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// See [`prefix::text`].
    #[inline]
    pub(super) fn put_text<const N: usize>(&mut self, head: &[u8; N], value: &str) {
        self.put_string(head, value.as_bytes());
    }

    /// See [`prefix::bytes`].
    #[inline]
    pub(super) fn put_bytes<const N: usize>(&mut self, head: &[u8; N], value: &[u8]) {
        if value.is_empty() {
            return;
        }
        if wire::is_text(value) {
            self.put_string(head, value);
        } else {
            self.long(key_of(head, const { N - prefix::TEXT }), value);
        }
    }

    /// See [`prefix::formatted`].
    #[inline]
    pub(super) fn put_format<const N: usize>(&mut self, head: &[u8; N], write: impl FnOnce(&mut Text<'_>)) {
        let start = self.out.len();
        self.put_head(head);
        self.out.extend_from_slice(&[0; ROOM]);
        let Some(room) = self.out.last_chunk_mut() else { return };
        let mut text = Text::new(room);
        write(&mut text);
        let len = text.len();
        if let Some(slot) = self.out.get_mut(start..).and_then(|slot| slot.first_chunk_mut()) {
            set_lengths::<N>(slot, len);
        }
        self.out.truncate(start + N + len);
    }

    /// UTF-8 of any length.
    #[inline]
    fn put_string<const N: usize>(&mut self, head: &[u8; N], value: &[u8]) {
        let key_len = const { N - prefix::TEXT };
        if prefix::key_value_len(key_len, 2 + value.len()) >= 0x80 {
            self.long(key_of(head, key_len), value);
            return;
        }
        set_lengths(self.put_head(head), value.len());
        self.out.extend_from_slice(value);
    }

    /// A string without the short lengths that heads have.
    #[cold]
    fn long(&mut self, key: &[u8], value: &[u8]) {
        let length = wire::text_len(value);
        self.head(key, wire::header_len(length) + length);
        wire::header(self.out, 1, length);
        wire::text_bytes(self.out, value);
    }

    /// Appends a head and sets its tag.
    #[inline]
    fn put_head<const N: usize>(&mut self, head: &[u8; N]) -> &mut [u8; N] {
        self.out.extend_from_slice(head);
        let slot = self.out.last_chunk_mut().expect("just appended");
        slot[0] = self.tag;
        slot
    }

    /// Everything before the `AnyValue`'s own `value_len` bytes.
    fn head(&mut self, key: &[u8], value_len: usize) {
        let length = wire::header_len(key.len()) + key.len() + wire::header_len(value_len) + value_len;
        wire::header(self.out, u32::from(self.tag >> 3), length);
        wire::bytes(self.out, 1, key);
        wire::header(self.out, 2, value_len);
    }
}

/// The key in a head.
fn key_of(head: &[u8], key_len: usize) -> &[u8] {
    head.get(prefix::BEFORE_KEY..prefix::BEFORE_KEY + key_len).unwrap_or_default()
}

/// The lengths in the head of a string of `len` bytes.
#[inline]
fn set_lengths<const N: usize>(head: &mut [u8; N], len: usize) {
    let key_len = const { N - prefix::TEXT };
    head[1] = prefix::key_value_len(key_len, 2 + len) as u8;
    head[prefix::BEFORE_KEY + key_len + 1] = 2 + len as u8;
    head[N - 1] = len as u8;
}
