//! A log record or a span under construction: what one event becomes, written into room that is there.
//!
//! No call here can grow memory, so the place to write at stays in registers and a write is a
//! comparison and a few stores. What finds no room is left out and marks the record as full; then
//! [`Batch::push`](super::batch::Batch::push) makes more room and has it written again.

use super::prefix;
use super::text::{ROOM, Text};
use super::wire;

/// Bytes of tag and length of a nested message between 128 bytes and 16 KiB: nearly all whose length is
/// known only once they are written.
const HEADER: usize = 3;

/// See the module's text. Attributes are field `FIELD` (below 16) of the record.
pub(super) struct Record<'a, const FIELD: u8> {
    rest: &'a mut [u8],
    full: bool,
}

impl<'a, const FIELD: u8> Record<'a, FIELD> {
    const TAG: u8 = FIELD << 3 | wire::LENGTH;

    /// An empty record at the start of `room`.
    pub(super) fn new(room: &'a mut [u8]) -> Self {
        Self { rest: room, full: false }
    }

    /// Bytes of the room that are not used, unless it was too small.
    pub(super) fn room_left(&self) -> Option<usize> {
        (!self.full).then_some(self.rest.len())
    }

    /// Writes `bytes` and has them patched where they are (a copy on the stack would have to be read
    /// back); `patch` returns how many of them stay. The next write overwrites the others.
    #[inline]
    pub(super) fn place<const N: usize>(
        &mut self,
        bytes: &[u8; N],
        patch: impl FnOnce(&mut [u8; N]) -> usize,
    ) {
        let rest = std::mem::take(&mut self.rest);
        let Some(place) = rest.first_chunk_mut() else {
            self.full = true;
            return;
        };
        *place = *bytes;
        let len = patch(place);
        self.rest = rest.get_mut(len..).unwrap_or_default();
    }

    /// Appends bytes of a number that is known at compile time.
    #[inline]
    pub(super) fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.place(&bytes, |_| N);
    }

    /// Appends the first `len` of `bytes`, which are not many.
    #[inline]
    pub(super) fn put_part<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        self.place(bytes, |_| len);
    }

    /// Appends bytes.
    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8]) {
        match std::mem::take(&mut self.rest).split_at_mut_checked(bytes.len()) {
            Some((room, rest)) => {
                room.copy_from_slice(bytes);
                self.rest = rest;
            }
            None => self.full = true,
        }
    }

    #[inline]
    fn varint(&mut self, value: u64) {
        match wire::short_varint(value) {
            Some((bytes, width)) => self.place(&bytes, |_| width),
            None => self.long_varint(value),
        }
    }

    #[cold]
    fn long_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put([value as u8 | 0x80]);
            value >>= 7;
        }
        self.put([value as u8]);
    }

    /// A `fixed64` field below 16.
    #[inline]
    pub(super) fn fixed64(&mut self, field: u8, value: u64) {
        let mut bytes = [0; 9];
        bytes[0] = field << 3 | wire::FIXED64;
        bytes[1..].copy_from_slice(&value.to_le_bytes());
        self.put(bytes);
    }

    /// A number of any size, in field `field` (below 16).
    pub(super) fn number(&mut self, field: u8, value: u64) {
        self.put([field << 3 | wire::VARINT]);
        self.varint(value);
    }

    /// A string that is UTF-8, in field `field` (below 16).
    pub(super) fn string(&mut self, field: u8, text: &[u8]) {
        self.header(field, text.len());
        self.append(text);
    }

    /// An attribute whose key is known only now; `write` writes its value.
    #[inline]
    pub(super) fn pair(&mut self, key: &str, write: impl FnOnce(&mut Record<'_, FIELD>)) {
        self.message(FIELD, |record| {
            record.string(1, key.as_bytes());
            record.message(2, write);
        });
    }

    /// Tag (below 16) and length of bytes that are to follow.
    #[inline]
    pub(super) fn header(&mut self, field: u8, length: usize) {
        self.put([field << 3 | wire::LENGTH]);
        self.varint(length as u64);
    }

    /// A `bytes` field of a number of bytes that is known at compile time, below 128.
    #[inline]
    pub(super) fn bytes<const N: usize>(&mut self, field: u8, value: &[u8; N]) {
        self.put([field << 3 | wire::LENGTH, N as u8]);
        self.put(*value);
    }

    /// The bytes of a string; invalid UTF-8 is replaced.
    pub(super) fn text(&mut self, value: &[u8]) {
        if wire::is_text(value) {
            self.append(value);
            return;
        }
        for chunk in value.utf8_chunks() {
            self.append(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                self.append(wire::REPLACEMENT.as_bytes());
            }
        }
    }

    /// A nested message in field `field` (below 16) whose length is known only once it is written.
    #[inline]
    pub(super) fn message(&mut self, field: u8, write: impl FnOnce(&mut Record<'_, FIELD>)) {
        let all = std::mem::take(&mut self.rest);
        let Some(room) = all.get_mut(HEADER..) else {
            self.full = true;
            return;
        };
        let room_len = room.len();
        let mut content = Record { rest: room, full: false };
        write(&mut content);
        let length = room_len - content.rest.len();
        if content.full {
            self.full = true;
            return;
        }
        let end = if length.wrapping_sub(0x80) < 0x4000 - 0x80 {
            if let Some(head) = all.first_chunk_mut() {
                *head = [field << 3 | wire::LENGTH, length as u8 | 0x80, (length >> 7) as u8];
            }
            HEADER + length
        } else {
            let Some(end) = move_behind_header(all, field, length) else {
                self.full = true;
                return;
            };
            end
        };
        self.rest = all.get_mut(end..).unwrap_or_default();
    }

    /// What `write` appends is handed to `keep` too, unless it found no room.
    #[inline]
    pub(super) fn keep(&mut self, write: impl FnOnce(&mut Record<'_, FIELD>), keep: impl FnOnce(&[u8])) {
        let all = std::mem::take(&mut self.rest);
        let room = all.len();
        let mut part = Record { rest: all, full: false };
        write(&mut part);
        let (left, full) = (part.rest.len(), part.full);
        if full {
            self.full = true;
        } else if let Some((written, rest)) = all.split_at_mut_checked(room - left) {
            keep(written);
            self.rest = rest;
        }
    }

    /// A string that a closure over [`Text`] formats, in field `field` (below 16).
    #[inline]
    pub(super) fn format(&mut self, field: u8, write: impl FnOnce(&mut Text<'_>)) {
        self.format_behind(&[field << 3 | wire::LENGTH, 0], write, |head, len| head[1] = len as u8);
    }

    /// Formats a text behind `head`, and then has its length entered there.
    #[inline]
    fn format_behind<const N: usize>(
        &mut self,
        head: &[u8; N],
        write: impl FnOnce(&mut Text<'_>),
        set_length: impl FnOnce(&mut [u8; N], usize),
    ) {
        let room = std::mem::take(&mut self.rest).split_first_chunk_mut::<N>();
        let Some((slot, rest)) = room.filter(|(_, rest)| rest.len() >= ROOM) else {
            self.full = true;
            return;
        };
        *slot = *head;
        let mut len = 0;
        if let Some(room) = rest.first_chunk_mut() {
            let mut text = Text::new(room);
            write(&mut text);
            len = text.len();
        }
        set_length(slot, len);
        self.rest = rest.get_mut(len..).unwrap_or_default();
    }

    /// See [`prefix::constant`] and [`prefix::when`]: a whole attribute, but for its tag.
    #[inline]
    pub(super) fn put_whole<const N: usize>(&mut self, whole: &[u8; N]) {
        self.place(whole, |whole| {
            whole[0] = Self::TAG;
            N
        });
    }

    /// See [`prefix::int`]. OTLP integers are signed: a counter stops at `i64::MAX`.
    #[inline]
    pub(super) fn put_int<const N: usize>(&mut self, head: &[u8; N], value: u64) {
        let key_len = const { N - prefix::INT };
        const LARGEST: u64 = i64::MAX as u64;
        let Some((varint, width)) = wire::short_varint(value.min(LARGEST)) else { return };
        self.place(head, |slot| {
            slot[0] = Self::TAG;
            slot[1] = prefix::key_value_len(key_len, 1 + width) as u8;
            slot[prefix::BEFORE_KEY + key_len + 1] = 1 + width as u8;
            if let Some(room) = slot.last_chunk_mut() {
                *room = varint;
            }
            key_len + prefix::AROUND_KEY + width
        });
    }

    /// See [`prefix::double`].
    #[inline]
    pub(super) fn put_double<const N: usize>(&mut self, head: &[u8; N], value: f64) {
        self.put_whole(head);
        self.put(value.to_le_bytes());
    }

    /// See [`prefix::text`].
    #[inline]
    pub(super) fn put_text<const N: usize>(&mut self, head: &[u8; N], value: &str) {
        self.put_string(head, value.as_bytes());
    }

    /// See [`prefix::bytes`].
    #[inline]
    pub(super) fn put_bytes<const N: usize>(&mut self, head: &[u8; N], value: &[u8], is_text: bool) {
        if is_text || wire::is_text(value) {
            self.put_string(head, value);
        } else {
            self.long_text(key_of(head, const { N - prefix::TEXT }), value);
        }
    }

    /// See [`prefix::formatted`].
    #[inline]
    pub(super) fn put_format<const N: usize>(&mut self, head: &[u8; N], write: impl FnOnce(&mut Text<'_>)) {
        self.format_behind(head, write, |slot, len| {
            slot[0] = Self::TAG;
            set_lengths(slot, len);
        });
    }

    /// See [`prefix::texts`]: an array of strings, which a closure writes by [`Self::element`].
    #[inline]
    pub(super) fn put_texts(&mut self, key: &str, write: impl FnOnce(&mut Record<'_, FIELD>)) {
        self.pair(key, |record| record.message(5, write));
    }

    /// One string of an array; invalid UTF-8 is replaced, unless it is known to be text.
    #[inline]
    pub(super) fn element(&mut self, value: &[u8], is_text: bool) {
        // An `ArrayValue`'s values are `AnyValue`s.
        if value.len() < 0x7E && (is_text || wire::is_text(value)) {
            let len = value.len() as u8;
            self.put([1 << 3 | wire::LENGTH, 2 + len, 1 << 3 | wire::LENGTH, len]);
            self.append(value);
        } else {
            self.long_element(value);
        }
    }

    #[cold]
    fn long_element(&mut self, value: &[u8]) {
        let length = wire::text_len(value);
        self.header(1, wire::header_len(length) + length);
        self.header(1, length);
        self.text(value);
    }

    /// UTF-8 of any length.
    #[inline]
    fn put_string<const N: usize>(&mut self, head: &[u8; N], value: &[u8]) {
        let key_len = const { N - prefix::TEXT };
        if prefix::key_value_len(key_len, 2 + value.len()) >= 0x80 {
            self.long_text(key_of(head, key_len), value);
            return;
        }
        self.place(head, |slot| {
            slot[0] = Self::TAG;
            set_lengths(slot, value.len());
            N
        });
        self.append(value);
    }

    /// A string without the short lengths that heads have.
    #[cold]
    fn long_text(&mut self, key: &[u8], value: &[u8]) {
        let length = wire::text_len(value);
        self.any_head(key, wire::header_len(length) + length);
        self.header(1, length);
        self.text(value);
    }

    /// Everything before the `AnyValue`'s own `value_len` bytes.
    fn any_head(&mut self, key: &[u8], value_len: usize) {
        let length = wire::header_len(key.len()) + key.len() + wire::header_len(value_len) + value_len;
        self.header(FIELD, length);
        self.header(1, key.len());
        self.append(key);
        self.header(2, value_len);
    }
}

/// Moves the `length` bytes behind [`HEADER`] to where they belong after a header of another width, which is
/// written before them. Returns where they end; [`None`] if there is no room.
#[cold]
fn move_behind_header(all: &mut [u8], field: u8, length: usize) -> Option<usize> {
    let (varint, width) = wire::short_varint(length as u64)?;
    let start = 1 + width;
    if start + length > all.len() {
        return None;
    }
    all.copy_within(HEADER..HEADER + length, start);
    *all.first_mut()? = field << 3 | wire::LENGTH;
    all.get_mut(1..start)?.copy_from_slice(varint.get(..width)?);
    Some(start + length)
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
