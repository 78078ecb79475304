//! The consumer of a BPF ring buffer: drains in batches, stores its position once per batch.
//!
//! Layout (kernel/bpf/ringbuf.c): page 0 holds the consumer's position (ours to write), page 1 the
//! producer's, then the data, mapped twice in a row so that no record wraps. A record is an 8-byte
//! header {len: u32 with BUSY and DISCARD bits, page offset: u32} and its bytes, padded to 8.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;
const HEADER: u64 = 8;

/// A ring could not be mapped.
#[derive(Debug, thiserror::Error)]
#[error("mapping a ring buffer: {0}")]
pub struct RingError(#[from] io::Error);

/// A mapped region; unmapped on drop.
struct Region {
    start: NonNull<u8>,
    len: usize,
}

impl Region {
    fn map(fd: BorrowedFd<'_>, len: usize, protection: i32, offset: usize) -> io::Result<Self> {
        // SAFETY: a fresh shared mapping at an address the kernel chooses.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { start, len })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the region was mapped by `map` with this length and is not used after.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// What one drain did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Records handed out.
    pub records: u64,
    /// Bytes consumed, headers and padding included.
    pub bytes: u64,
}

/// The consuming end of one ring. One consumer per ring: `&mut self` says so.
pub struct Ring {
    consumer: Region,
    producer: Region,
    page: usize,
    size: u64,
    position: u64,
}

// SAFETY: the mappings belong to this value alone; moving it to another thread moves them.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps the ring behind `fd` of `size` bytes (a power of two).
    pub fn map(fd: BorrowedFd<'_>, size: u32) -> Result<Self, RingError> {
        // SAFETY: a query without preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(|_| io::Error::other("no page size"))?;
        let size = size as usize;
        let consumer = Region::map(fd, page, libc::PROT_READ | libc::PROT_WRITE, 0)?;
        let producer = Region::map(fd, page + 2 * size, libc::PROT_READ, page)?;
        let mut ring = Self { consumer, producer, page, size: size as u64, position: 0 };
        ring.position = ring.consumer_position().load(Ordering::Relaxed);
        Ok(ring)
    }

    /// The producer's position now: drain up to here and what comes later waits for the next cycle.
    pub fn snapshot(&self) -> u64 {
        self.producer_position().load(Ordering::Acquire)
    }

    /// Bytes waiting.
    pub fn waiting(&self) -> u64 {
        self.snapshot().wrapping_sub(self.position)
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Hands out the records up to `limit` (a [`Ring::snapshot`]), in order, then gives their room
    /// back in one store. Stops early at a record that is still being written.
    pub fn drain_to(&mut self, limit: u64, mut each: impl FnMut(&[u8])) -> Drained {
        let start = self.position;
        let mut drained = Drained::default();
        let mut returned = start;
        while self.position < limit {
            let word = self.header(self.position).load(Ordering::Acquire);
            if word & BUSY != 0 {
                break;
            }
            let len = u64::from(word & !(BUSY | DISCARD));
            if word & DISCARD == 0 {
                each(self.data(self.position + HEADER, len));
                drained.records += 1;
            }
            self.position += HEADER + len.next_multiple_of(8);
            // A long backlog gives room back by the quarter, so that producers need not wait for its end.
            if self.position - returned >= self.size / 4 {
                self.consumer_position().store(self.position, Ordering::Release);
                returned = self.position;
            }
        }
        drained.bytes = self.position - start;
        if returned != self.position {
            self.consumer_position().store(self.position, Ordering::Release);
        }
        drained
    }

    fn consumer_position(&self) -> &AtomicU64 {
        // SAFETY: the first word of the consumer page, mapped and aligned as long as `self` lives.
        unsafe { self.consumer.start.cast::<AtomicU64>().as_ref() }
    }

    fn producer_position(&self) -> &AtomicU64 {
        // SAFETY: the first word of the producer page, mapped and aligned as long as `self` lives.
        unsafe { self.producer.start.cast::<AtomicU64>().as_ref() }
    }

    fn at(&self, position: u64) -> NonNull<u8> {
        let offset = self.page + (position & (self.size - 1)) as usize;
        // SAFETY: below page + size, and the mapping is page + 2 * size long.
        unsafe { self.producer.start.add(offset) }
    }

    fn header(&self, position: u64) -> &AtomicU32 {
        // SAFETY: records start at multiples of 8 inside the mapping.
        unsafe { self.at(position).cast::<AtomicU32>().as_ref() }
    }

    fn data(&self, position: u64, len: u64) -> &[u8] {
        let len = len.min(self.size) as usize;
        // SAFETY: at most `size` bytes from a position below `size` into the doubled mapping; the kernel
        // does not reuse them before the consumer's position passes.
        unsafe { std::slice::from_raw_parts(self.at(position).as_ptr(), len) }
    }
}
