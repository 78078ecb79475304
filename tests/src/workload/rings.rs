//! A ring of io_uring by hand (io_uring(7)): what a request does depends on each of its fields, which libraries fill in as they
//! please.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, bail};

/// `IORING_SETUP_SQPOLL`: a thread of the kernel takes requests out of the ring.
const POLLED: u32 = 1 << 1;
/// `IOSQE_CQE_SKIP_SUCCESS`.
const SKIPS_COMPLETION: u8 = 1 << 6;
/// `IORING_OP_NOP`.
const NOTHING: u8 = 0;
const ENTRIES: u32 = 8;
/// `IORING_OFF_SQ_RING`, `_CQ_RING` and `_SQES`.
const SUBMISSIONS_AT: i64 = 0;
const COMPLETIONS_AT: i64 = 0x0800_0000;
const REQUESTS_AT: i64 = 0x1000_0000;
/// More than a ring of eight takes.
const BYTES: usize = 4096;

/// A ring with room for eight requests.
pub(super) struct Ring {
    fd: i32,
    flags: u32,
    submissions: Mapping,
    completions: Mapping,
    requests: Mapping,
    /// `struct io_uring_params`, in words: where things are.
    params: [u32; 30],
    /// What the last request was called. What fails of those that complete silently completes at any later time.
    name: Cell<u64>,
}

/// A request (`struct io_uring_sqe`), as far as any operation here uses it.
#[derive(Clone, Copy, Default)]
pub(super) struct Request {
    pub(super) operation: u8,
    pub(super) flags: u8,
    pub(super) fd: i32,
    pub(super) address: u64,
    pub(super) len: u32,
    pub(super) offset: u64,
    pub(super) operation_flags: u32,
}

impl Ring {
    /// Makes one with these `IORING_SETUP_*`.
    pub(super) fn new(flags: u32) -> anyhow::Result<Self> {
        let mut params = [0_u32; 30];
        params[2] = flags;
        // SAFETY: the kernel reads and fills in `params` during the call.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, params.as_mut_ptr()) };
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("io_uring_setup");
        }
        let fd = fd as i32;
        Ok(Self {
            fd,
            flags,
            submissions: Mapping::new(fd, SUBMISSIONS_AT)?,
            completions: Mapping::new(fd, COMPLETIONS_AT)?,
            requests: Mapping::new(fd, REQUESTS_AT)?,
            params,
            name: Cell::new(0),
        })
    }

    /// Has a request done; what it came to. One that completes silently is followed by one that does nothing.
    pub(super) fn run(&self, request: Request) -> anyhow::Result<i64> {
        let name = self.name.get() + 1;
        self.name.set(name);
        self.push(request, name);
        let is_silent = request.flags & SKIPS_COMPLETION != 0;
        if is_silent {
            self.push(Request { operation: NOTHING, ..Request::default() }, 0);
        }
        let count = 1 + u32::from(is_silent);
        // IORING_ENTER_GETEVENTS, and IORING_ENTER_SQ_WAKEUP for who polls.
        let how: u32 = if self.flags & POLLED != 0 { 3 } else { 1 };
        let nothing = std::ptr::null_mut::<libc::sigset_t>();
        // SAFETY: the kernel looks at the ring, and at what its requests point to.
        let entered = unsafe { libc::syscall(libc::SYS_io_uring_enter, self.fd, count, 1, how, nothing, 0) };
        if entered < 0 {
            return Err(io::Error::last_os_error()).context("io_uring_enter");
        }
        let results = self.completed();
        match results.iter().find(|(of, _)| *of == name) {
            Some((_, result)) => Ok(i64::from(*result)),
            None if is_silent => Ok(0),
            None => bail!("no completion of the request"),
        }
    }

    fn push(&self, request: Request, name: u64) {
        let [tail, mask, array] = [11, 12, 16].map(|word| self.params[word] as usize);
        let tail = self.submissions.word(tail);
        let at = tail.load(Ordering::Relaxed) & self.submissions.word(mask).load(Ordering::Relaxed);
        let mut entry = [0_u8; 64];
        (entry[0], entry[1]) = (request.operation, request.flags);
        entry[4..8].copy_from_slice(&request.fd.to_ne_bytes());
        entry[8..16].copy_from_slice(&request.offset.to_ne_bytes());
        entry[16..24].copy_from_slice(&request.address.to_ne_bytes());
        entry[24..28].copy_from_slice(&request.len.to_ne_bytes());
        entry[28..32].copy_from_slice(&request.operation_flags.to_ne_bytes());
        entry[32..40].copy_from_slice(&name.to_ne_bytes());
        // SAFETY: the mask keeps it within the mapping; the kernel does not look before the tail says so.
        unsafe { self.requests.0.wrapping_add(at as usize * entry.len()).cast::<[u8; 64]>().write(entry) };
        self.submissions.word(array + at as usize * 4).store(at, Ordering::Relaxed);
        tail.fetch_add(1, Ordering::Release);
    }

    /// What has completed, by name.
    fn completed(&self) -> Vec<(u64, i32)> {
        let [head, tail, mask, entries] = [20, 21, 22, 25].map(|word| self.params[word] as usize);
        let (head, mask) = (self.completions.word(head), self.completions.word(mask).load(Ordering::Relaxed));
        let end = self.completions.word(tail).load(Ordering::Acquire);
        let mut results = Vec::new();
        let mut at = head.load(Ordering::Relaxed);
        while at != end {
            // SAFETY: `struct io_uring_cqe`, 16 bytes, which the kernel has written before the tail; the mask keeps it within.
            let entry = unsafe {
                self.completions
                    .0
                    .wrapping_add(entries + (at & mask) as usize * 16)
                    .cast::<(u64, i32)>()
                    .read()
            };
            results.push(entry);
            at = at.wrapping_add(1);
        }
        head.store(at, Ordering::Release);
        results
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, and nobody else's.
        unsafe { libc::close(self.fd) };
    }
}

/// Memory that is shared with the kernel.
struct Mapping(*mut u8);

impl Mapping {
    fn new(fd: i32, at: i64) -> anyhow::Result<Self> {
        // SAFETY: a new mapping.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                fd,
                at,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("mapping a ring");
        }
        Ok(Self(page.cast()))
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        assert!(at < BYTES - 4, "the kernel says where, in a ring of eight");
        // SAFETY: within the mapping, aligned, and shared with the kernel by atomic reads and writes.
        unsafe { AtomicU32::from_ptr(self.0.wrapping_add(at).cast()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, with this length.
        unsafe { libc::munmap(self.0.cast(), BYTES) };
    }
}
