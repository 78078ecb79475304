//! The consumer of a BPF ring buffer: drains in batches, stores its position once per batch.
//!
//! Layout (kernel/bpf/ringbuf.c): page 0 holds the consumer's position (ours to write), page 1 the
//! producer's, then the data. A record is an 8-byte header {len: u32 with BUSY and DISCARD bits, page
//! offset: u32} and its bytes, padded to 8; it may run on from the end of the data to its start. The kernel
//! offers the data a second time behind the first so that such a record can be read in one piece; every
//! page mapped counts as resident memory, so we copy the one record per turn instead.

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
    /// A record that ran over the end, in one piece.
    whole: Vec<u8>,
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
        let producer = Region::map(fd, page + size, libc::PROT_READ, page)?;
        let mut ring = Self { consumer, producer, page, size: size as u64, position: 0, whole: Vec::new() };
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
                let mut whole = std::mem::take(&mut self.whole);
                each(self.data(self.position + HEADER, len, &mut whole));
                self.whole = whole;
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
        // SAFETY: below page + size, which is the length of the mapping.
        unsafe { self.producer.start.add(offset) }
    }

    fn header(&self, position: u64) -> &AtomicU32 {
        // SAFETY: records start at multiples of 8 inside the mapping.
        unsafe { self.at(position).cast::<AtomicU32>().as_ref() }
    }

    /// `len` bytes from `position` on: in place, or put together in `whole`.
    fn data<'a>(&'a self, position: u64, len: u64, whole: &'a mut Vec<u8>) -> &'a [u8] {
        let len = len.min(self.size);
        let to_end = (self.size - (position & (self.size - 1))).min(len);
        let first = self.piece(position, to_end);
        if to_end == len {
            return first;
        }
        whole.clear();
        whole.extend_from_slice(first);
        whole.extend_from_slice(self.piece(position + to_end, len - to_end));
        whole
    }

    /// `len` bytes from `position` on that do not run over the end.
    fn piece(&self, position: u64, len: u64) -> &[u8] {
        // SAFETY: the caller keeps to the end of the mapping; the kernel does not reuse the bytes before
        // the consumer's position passes.
        unsafe { std::slice::from_raw_parts(self.at(position).as_ptr(), len as usize) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsFd, FromRawFd};
    use std::os::unix::fs::FileExt;

    use super::*;

    /// The kernel's side of a ring, as a file of the same layout.
    struct Producer {
        file: File,
        page: u64,
        size: u64,
        position: u64,
    }

    impl Producer {
        fn new(size: u32) -> Self {
            // SAFETY: a constant name that ends with NUL.
            let fd = unsafe { libc::memfd_create(c"ring".as_ptr(), 0) };
            assert!(fd >= 0, "memfd");
            // SAFETY: a fresh descriptor that nothing else owns.
            let file = unsafe { File::from_raw_fd(fd) };
            // SAFETY: a query without preconditions.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
            file.set_len(2 * page + u64::from(size)).expect("room");
            Self { file, page, size: u64::from(size), position: 0 }
        }

        fn put(&mut self, bytes: &[u8], flags: u32) {
            let mut record = (bytes.len() as u32 | flags).to_ne_bytes().to_vec();
            record.extend_from_slice(&[0; 4]);
            record.extend_from_slice(bytes);
            record.resize(record.len().next_multiple_of(8), 0);
            for (index, byte) in record.iter().enumerate() {
                let at = 2 * self.page + (self.position + index as u64) % self.size;
                self.file.write_at(&[*byte], at).expect("inside the ring");
            }
            self.position += record.len() as u64;
            self.file.write_at(&self.position.to_ne_bytes(), self.page).expect("the producer's position");
        }

        fn consumed(&self) -> u64 {
            let mut bytes = [0; 8];
            self.file.read_exact_at(&mut bytes, 0).expect("the consumer's position");
            u64::from_ne_bytes(bytes)
        }
    }

    fn drain(ring: &mut Ring) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        ring.drain_to(ring.snapshot(), |record| records.push(record.to_vec()));
        records
    }

    #[test]
    fn records_are_whole_wherever_they_start() {
        let mut producer = Producer::new(4096);
        let mut ring = Ring::map(producer.file.as_fd(), 4096).expect("a ring");
        // Lengths vary, so that records run over the end at many places, and some end exactly there.
        for turn in 0..1_000_u32 {
            let len = 1_000 + turn as usize % 900;
            let bytes: Vec<u8> = (0..len).map(|index| (index as u32 * 7 + turn) as u8).collect();
            producer.put(&bytes, 0);
            producer.put(&bytes[..9], DISCARD);
            assert_eq!(drain(&mut ring), [bytes], "turn {turn}");
            assert_eq!(producer.consumed(), producer.position);
        }
    }

    #[test]
    fn stops_at_a_record_that_is_being_written() {
        let mut producer = Producer::new(4096);
        let mut ring = Ring::map(producer.file.as_fd(), 4096).expect("a ring");
        producer.put(b"done", 0);
        producer.put(b"half", BUSY);
        producer.put(b"late", 0);
        assert_eq!(drain(&mut ring), [b"done"]);
        assert_eq!((producer.consumed(), ring.waiting()), (16, 32));
    }
}
