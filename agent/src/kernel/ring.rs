//! The consuming end of a BPF ring buffer: drains in batches, stores its position once per batch.
//!
//! Layout (kernel/bpf/ringbuf.c): page 0 holds the consumer's position (ours to write), page 1 the
//! producer's, then the data. A record is an 8-byte header {len: u32 with BUSY and DISCARD bits, page
//! offset: u32} and its bytes, padded to 8; it may run on from the end of the data to its start. The kernel
//! offers the data a second time behind the first so that such a record can be read in one piece; every
//! page mapped counts as resident memory, so we copy the one record per turn instead.
//!
//! The algorithm (`consumer.rs`) touches shared memory only through the trait `Shared`. In the
//! agent that is a mapping (`mapping.rs`); in `model.rs` it is loom's memory with the kernel's producer at the
//! other end.

mod consumer;
mod mapping;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;
use std::{fmt, io};

use consumer::Consumer;
pub use consumer::Drained;
use mapping::Mapping;

/// A ring could not be mapped.
#[derive(Debug, thiserror::Error)]
#[error("mapping a ring buffer: {0}")]
pub struct RingError(#[from] io::Error);

/// The consuming end of one ring. One consumer per ring: `&mut self` says so.
pub struct Ring(Consumer<Mapping>);

impl Ring {
    /// Maps the ring behind `fd` of `size` bytes (a power of two).
    pub fn map(fd: BorrowedFd<'_>, size: u32) -> Result<Self, RingError> {
        Ok(Self(Consumer::new(Mapping::new(fd, size)?)))
    }

    /// The producer's position now: drain up to here and what comes later waits for the next cycle.
    pub fn snapshot(&self) -> u64 {
        self.0.snapshot()
    }

    /// Bytes waiting.
    pub fn waiting(&self) -> u64 {
        self.0.waiting()
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// Hands out the records up to `limit` (a [`Ring::snapshot`]), in order, then gives their room
    /// back in one store. Stops early at a record that is still being written.
    pub fn drain_to(&mut self, limit: u64, each: impl FnMut(&[u8])) -> Drained {
        self.0.drain_to(limit, each)
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("size", &self.size()).field("waiting", &self.waiting()).finish()
    }
}
