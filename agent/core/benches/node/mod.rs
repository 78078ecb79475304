//! A node that never was: processes that fork, exec and exit, connections that open and close, as the
//! records that the kernel side would write. The same numbers every time.

#![allow(dead_code, reason = "each bench uses a part of it")]

mod lives;
mod record;

use std::collections::BinaryHeap;

pub(crate) use lives::Node;

/// A record, and the ring it would have come in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    start: u32,
    len: u32,
    pub(crate) bulk: bool,
}

/// Records one after the other, as in a ring.
#[derive(Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    places: Vec<Place>,
    execs: usize,
}

impl Records {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn bytes_per_record(&self) -> f64 {
        self.bytes.len() as f64 / self.len() as f64
    }

    pub(crate) fn execs(&self) -> usize {
        self.execs
    }

    /// As drain cycles take them: so many at a time.
    pub(crate) fn cycles(&self, records: usize) -> impl Iterator<Item = &[Place]> {
        self.places.chunks(records)
    }

    pub(crate) fn bytes_of(&self, place: Place) -> &[u8] {
        &self.bytes[place.start as usize..][..place.len as usize]
    }

    fn push(&mut self, parts: &[&[u8]], bulk: bool) {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        let (start, end) = (start as u32, self.bytes.len() as u32);
        self.places.push(Place { start, len: end - start, bulk });
        // As a ring does: the next record is aligned.
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }
}

/// What is to happen, the earliest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due<T> {
    at_ns: std::cmp::Reverse<u64>,
    what: T,
}

type Agenda<T> = BinaryHeap<Due<T>>;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}
