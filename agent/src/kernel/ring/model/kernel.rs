//! The kernel's side of a ring, in loom's memory: what `__bpf_ringbuf_reserve` and `bpf_ringbuf_commit`
//! do (kernel/bpf/ringbuf.c), step by step, with the same orders of memory.

use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicU32, AtomicU64};

use crate::kernel::ring::consumer::{BUSY, DISCARD, HEADER};

/// Eight bytes of the ring: a header at one time, bytes of a record at another.
#[derive(Default)]
pub(super) struct Cell {
    /// The header's first word, which both sides touch atomically once the record is announced.
    pub(super) header: AtomicU32,
    /// The bytes. Overlapping accesses, one of them a write, end the model; a header's first write, which is
    /// as plain as that of any other byte, counts as one of them.
    pub(super) bytes: UnsafeCell<[u8; 8]>,
}

/// What the producers know under the ring's spin lock.
struct Locked {
    /// The producer's position, as its only writers know it. Read here and not from the shared word: a
    /// load of its own would hide from loom that the consumer's loads before it race with its store.
    position: u64,
    /// Everything before has been committed, as far as a producer has looked.
    pending: u64,
    /// Every record that found room, in order.
    reserved: Vec<Put>,
}

/// One record to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Put {
    /// Fills the payload; unlike in every record of a scene.
    fill: u8,
    /// Of the payload, in bytes.
    len: u64,
    pub(super) discard: bool,
}

pub(super) const fn put(fill: u8, len: u64) -> Put {
    Put { fill, len, discard: false }
}

pub(super) const fn discarded(fill: u8, len: u64) -> Put {
    Put { fill, len, discard: true }
}

impl Put {
    /// Unlike at every place, so that bytes from elsewhere are noticed.
    pub(super) fn payload(self) -> Vec<u8> {
        (0..self.len).map(|at| self.fill ^ (at as u8).wrapping_mul(29)).collect()
    }
}

/// The ring's memory, and the kernel's side of it.
pub(super) struct Kernel {
    pub(super) consumer: AtomicU64,
    pub(super) producer: AtomicU64,
    lock: Mutex<Locked>,
    cells: Vec<Cell>,
}

impl Kernel {
    pub(super) fn new(size: u64, start: u64) -> Self {
        let locked = Locked { position: start, pending: start, reserved: Vec::new() };
        Self {
            consumer: AtomicU64::new(start),
            producer: AtomicU64::new(start),
            lock: Mutex::new(locked),
            cells: (0..size / 8).map(|_| Cell::default()).collect(),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.cells.len() as u64 * 8
    }

    pub(super) fn cell(&self, position: u64) -> &Cell {
        &self.cells[((position / 8) % self.cells.len() as u64) as usize]
    }

    /// `__bpf_ringbuf_reserve`: the position of the record, if there is room.
    fn reserve(&self, put: Put) -> Option<u64> {
        let room = (HEADER + put.len).next_multiple_of(8);
        let consumed = self.consumer.load(Ordering::Acquire);
        let mut locked = self.lock.lock().expect("nobody panics under the lock");
        let position = locked.position;
        while locked.pending < position {
            let len = self.cell(locked.pending).header.load(Ordering::Relaxed);
            if len & BUSY != 0 {
                break;
            }
            locked.pending += (HEADER + u64::from(len & !DISCARD)).next_multiple_of(8);
        }
        let end = position + room;
        if end - consumed >= self.size() || end - locked.pending >= self.size() {
            return None;
        }
        let cell = self.cell(position);
        cell.bytes.with_mut(|_| cell.header.store(put.len as u32 | BUSY, Ordering::Relaxed));
        self.producer.store(end, Ordering::Release);
        locked.position = end;
        locked.reserved.push(put);
        Some(position)
    }

    /// What a program does with its room.
    fn fill(&self, position: u64, put: Put) {
        for (index, piece) in put.payload().chunks(8).enumerate() {
            let mut bytes = [0; 8];
            bytes[..piece.len()].copy_from_slice(piece);
            let cell = self.cell(position + HEADER + index as u64 * 8);
            // SAFETY: loom has checked that nobody else has access now.
            cell.bytes.with_mut(|to| unsafe { *to = bytes });
        }
    }

    /// `bpf_ringbuf_commit`. The consumer must not have passed what it could not have read.
    fn commit(&self, position: u64, put: Put) {
        let consumed = self.consumer.load(Ordering::Acquire);
        assert!(consumed <= position, "the consumer passed a record that was not committed");
        let discard = if put.discard { DISCARD } else { 0 };
        self.cell(position).header.swap(put.len as u32 | discard, Ordering::AcqRel);
    }

    /// Every record that found room, in order, and the position behind the last.
    pub(super) fn reserved(&self) -> (Vec<Put>, u64) {
        let locked = self.lock.lock().expect("nobody panics under the lock");
        (locked.reserved.clone(), locked.position)
    }

    /// False if there was no room: the record is lost, and the caller's to count.
    pub(super) fn put(&self, put: Put) -> bool {
        let Some(position) = self.reserve(put) else { return false };
        self.fill(position, put);
        self.commit(position, put);
        true
    }
}
