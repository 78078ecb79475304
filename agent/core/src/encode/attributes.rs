//! `KeyValue` messages: attributes of resources, records, spans and points.

use super::wire;

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

    /// Becomes what `others` are, in the memory that is there.
    pub fn copy(&mut self, others: &Self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&others.bytes);
    }

    /// Adds a string. Keys must differ: OTLP wants them unique.
    pub fn text(&mut self, key: &str, value: &str) {
        Writer::new(&mut self.bytes, 1).text(key, value);
    }

    /// Adds an integer.
    pub fn int(&mut self, key: &str, value: i64) {
        Writer::new(&mut self.bytes, 1).int(key, value);
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

/// Writes attributes as field `field` (below 16) of the message being written to `out`: those of
/// resources and series, whose keys are known only now. Those of records are written by the macros of
/// [`prefix`](super::prefix).
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    field: u32,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, field: u32) -> Self {
        Self { out, field }
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.head(key, wire::header_len(value.len()) + value.len());
        wire::bytes(self.out, 1, value.as_bytes());
    }

    fn bool(&mut self, key: &str, value: bool) {
        self.head(key, 2);
        wire::uint(self.out, 2, u64::from(value));
    }

    fn int(&mut self, key: &str, value: i64) {
        let value = value as u64;
        self.head(key, 1 + wire::varint_len(value));
        wire::uint(self.out, 3, value);
    }

    /// Everything before the `AnyValue`'s own `value_len` bytes.
    fn head(&mut self, key: &str, value_len: usize) {
        let length = wire::header_len(key.len()) + key.len() + wire::header_len(value_len) + value_len;
        wire::header(self.out, self.field, length);
        wire::bytes(self.out, 1, key.as_bytes());
        wire::header(self.out, 2, value_len);
    }
}
