//! A ring's memory as the kernel maps it into this process.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::consumer::Shared;

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

/// The pages of one ring: the consumer's, writable, and the producer's with the data once, read-only.
pub(super) struct Mapping {
    consumer: Region,
    producer: Region,
    page: usize,
    size: u64,
}

// SAFETY: the mappings belong to this value alone; moving it to another thread moves them.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the ring behind `fd` of `size` bytes (a power of two).
    pub(super) fn new(fd: BorrowedFd<'_>, size: u32) -> io::Result<Self> {
        // SAFETY: a query without preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(|_| io::Error::other("no page size"))?;
        let size = size as usize;
        let consumer = Region::map(fd, page, libc::PROT_READ | libc::PROT_WRITE, 0)?;
        let producer = Region::map(fd, page + size, libc::PROT_READ, page)?;
        Ok(Self { consumer, producer, page, size: size as u64 })
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
}

impl Shared for Mapping {
    type Bytes<'a> = &'a [u8];

    #[inline]
    fn size(&self) -> u64 {
        self.size
    }

    #[inline]
    fn load_producer(&self, order: Ordering) -> u64 {
        self.producer_position().load(order)
    }

    #[inline]
    fn load_consumer(&self, order: Ordering) -> u64 {
        self.consumer_position().load(order)
    }

    #[inline]
    fn store_consumer(&self, position: u64, order: Ordering) {
        self.consumer_position().store(position, order);
    }

    #[inline]
    fn load_header(&self, position: u64, order: Ordering) -> u32 {
        // SAFETY: records start at multiples of 8 inside the mapping.
        let header = unsafe { self.at(position).cast::<AtomicU32>().as_ref() };
        header.load(order)
    }

    #[inline]
    fn bytes(&self, position: u64, len: u64) -> &[u8] {
        debug_assert!((position & (self.size - 1)) + len <= self.size, "runs over the end");
        // SAFETY: the caller keeps to the end of the mapping; the kernel does not reuse the bytes before
        // the consumer's position passes.
        unsafe { std::slice::from_raw_parts(self.at(position).as_ptr(), len as usize) }
    }
}
