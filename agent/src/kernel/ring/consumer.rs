//! Positions, headers, records: the algorithm, over whatever memory it shares with the producer.

use std::ops::Deref;
use std::sync::atomic::Ordering;

/// In a header: the record is still being written.
pub(super) const BUSY: u32 = 1 << 31;
/// In a header: the record was given up; its room is to be skipped.
pub(super) const DISCARD: u32 = 1 << 30;
/// Bytes of a header.
pub(super) const HEADER: u64 = 8;

/// The memory that producer and consumer share, one operation for each way in which it is touched.
/// Positions count bytes since the ring was made; the place in the data is the position modulo the size.
pub(super) trait Shared {
    /// Bytes of a record, readable as long as their room has not been given back.
    type Bytes<'a>: Deref<Target = [u8]>
    where
        Self: 'a;

    /// Bytes of data, a power of two.
    fn size(&self) -> u64;

    /// Where the producer will write next.
    fn load_producer(&self, order: Ordering) -> u64;

    /// Up to where room has been given back.
    fn load_consumer(&self, order: Ordering) -> u64;

    /// Gives room back up to `position`.
    fn store_consumer(&self, position: u64, order: Ordering);

    /// The first word of the header at `position`, a multiple of 8.
    fn load_header(&self, position: u64, order: Ordering) -> u32;

    /// `len` bytes from `position` on, which must not run over the end of the data.
    fn bytes(&self, position: u64, len: u64) -> Self::Bytes<'_>;
}

/// What one drain did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Records handed out.
    pub records: u64,
    /// Bytes consumed, headers and padding included.
    pub bytes: u64,
    /// It came to its limit; else a record that is still being written was in the way.
    pub whole: bool,
}

/// The consumer of one ring.
pub(super) struct Consumer<S> {
    shared: S,
    position: u64,
    /// A record that ran over the end, in one piece.
    whole: Vec<u8>,
}

impl<S: Shared> Consumer<S> {
    /// Goes on where the last consumer of this memory stopped.
    pub(super) fn new(shared: S) -> Self {
        let position = shared.load_consumer(Ordering::Relaxed);
        Self { shared, position, whole: Vec::new() }
    }

    pub(super) fn snapshot(&self) -> u64 {
        // Pairs with the producer's release, so that every header before this position is visible.
        self.shared.load_producer(Ordering::Acquire)
    }

    pub(super) fn waiting(&self) -> u64 {
        self.snapshot().wrapping_sub(self.position)
    }

    pub(super) fn size(&self) -> u64 {
        self.shared.size()
    }

    pub(super) fn drain_to(&mut self, limit: u64, mut each: impl FnMut(&[u8])) -> Drained {
        let start = self.position;
        let mut drained = Drained::default();
        let mut returned = start;
        while self.position < limit {
            // Pairs with the exchange that commits a record, so that its bytes are visible.
            let word = self.shared.load_header(self.position, Ordering::Acquire);
            if word & BUSY != 0 {
                break;
            }
            let len = u64::from(word & !(BUSY | DISCARD));
            if word & DISCARD == 0 {
                self.hand_out(len, &mut each);
                drained.records += 1;
            }
            self.position += HEADER + len.next_multiple_of(8);
            // A long backlog gives room back by the quarter, so that producers need not wait for its end.
            if self.position - returned >= self.size() / 4 {
                self.give_back();
                returned = self.position;
            }
        }
        drained.bytes = self.position - start;
        drained.whole = self.position >= limit;
        if returned != self.position {
            self.give_back();
        }
        drained
    }

    /// The producer may overwrite what lies before the position: our reads of it are done.
    fn give_back(&self) {
        self.shared.store_consumer(self.position, Ordering::Release);
    }

    /// The `len` bytes of the record at the position: in place, or put together in `whole`.
    fn hand_out(&mut self, len: u64, each: &mut impl FnMut(&[u8])) {
        let (position, size) = (self.position + HEADER, self.size());
        let len = len.min(size);
        let to_end = (size - (position & (size - 1))).min(len);
        let first = self.shared.bytes(position, to_end);
        if to_end == len {
            return each(&first);
        }
        self.whole.clear();
        self.whole.extend_from_slice(&first);
        self.whole.extend_from_slice(&self.shared.bytes(position + to_end, len - to_end));
        each(&self.whole);
    }
}
