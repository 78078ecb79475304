//! A record under construction that is a sequence of parts (see [`tarsier_abi::syscall`]), in a CPU's scratch.
//!
//! How long it is lies in the scratch too: what the verifier reads from there it knows nothing of, so that it looks at
//! each part once, however long those before it were.

use aya_ebpf::{
    Global,
    helpers::generated::{
        bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user, bpf_probe_read_user_str,
    },
};
use tarsier_abi::syscall::{ARGUMENTS, PATH_BYTES, Part, PartKind, part_flag};

use crate::{
    kernel::{Ptr, field},
    path::{self, End, Place},
};

/// Where the arguments of the call lie in the scratch; then the length of the record, and a walk's.
const ARGS: usize = 0;
const LEN: usize = ARGUMENTS * 8;
const WALKED: usize = LEN + 8;
/// Where a program keeps what it has found out.
const KEPT: usize = WALKED + 8;
/// Where a copy of the task's `fs_struct` lies.
const PLACES: usize = KEPT + 8 * KEPT_WORDS;
const KEPT_WORDS: usize = 8;
/// Where the record begins.
const RECORD: usize = PLACES + PLACES_WORDS * 8;
/// How much of `fs_struct` is copied.
const PLACES_WORDS: usize = 8;
const HEAD: usize = size_of::<Part>();
/// Longest record: five paths, and what has no strings.
const MAX: usize = 5 * (HEAD + PATH_BYTES) + 512;
/// Bytes of the scratch: any part has its room wherever the record ends.
pub const BYTES: usize = RECORD + MAX + HEAD + path::ROOM;
const _: () = assert!(path::ROOM > PATH_BYTES && BYTES <= 32 * 1024);

/// The record.
#[derive(Clone, Copy)]
pub struct Capture(*mut u8);

/// A number that was compared with its bound: from here on the compiler takes it for another, so that nothing is reckoned
/// with it before the comparison. Verifiers before 6.2 or so would not know the bound of what was.
#[inline(always)]
fn settled(number: usize) -> usize {
    let mut number = number;
    // SAFETY: a move of a register to itself: of no instruction at all there would be debug information.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack)) };
    number
}

impl Capture {
    /// In a scratch of [`BYTES`]; it begins with `len` bytes that are written elsewhere.
    #[inline(always)]
    pub fn new(scratch: *mut u8, len: usize) -> Self {
        let capture = Self(scratch);
        capture.set_len(len);
        capture
    }

    /// One that was begun in this scratch.
    #[inline(always)]
    pub fn resumed(scratch: *mut u8) -> Self {
        Self(scratch)
    }

    /// The record's first byte.
    #[inline(always)]
    pub fn record(self) -> *mut u8 {
        self.0.wrapping_add(RECORD)
    }

    /// Keeps an argument of the call.
    #[inline(always)]
    pub fn set_argument(self, index: usize, value: u64) {
        // SAFETY: the arguments' place in the scratch.
        unsafe { self.0.wrapping_add(ARGS).cast::<u64>().add(index).write_volatile(value) };
    }

    /// Reads arguments anew from the task's memory: `COUNT` of them, from `index` on; zeros if it cannot be read.
    #[inline(always)]
    pub fn read_arguments<const COUNT: usize>(self, index: usize, from: u64) {
        let at = self.0.wrapping_add(ARGS + index * 8);
        // SAFETY: the arguments' place in the scratch; the helper checks the source.
        unsafe { bpf_probe_read_user(at.cast(), COUNT as u32 * 8, from as *const _) };
    }

    /// An argument of the call; any `index` is read as one of eight places.
    #[inline(always)]
    pub fn argument(self, index: u8) -> u64 {
        let at = self.0.wrapping_add(ARGS + usize::from(index & 7) * 8);
        // SAFETY: within the scratch, aligned.
        unsafe { at.cast::<u64>().read_volatile() }
    }

    /// Keeps a word for later. The verifier knows nothing of what [`Capture::kept`] gives back, so that branches which led
    /// to different values are one from there on.
    #[inline(always)]
    pub fn keep(self, index: usize, value: u64) {
        // SAFETY: their place in the scratch.
        unsafe { self.0.wrapping_add(KEPT).cast::<u64>().add(index).write_volatile(value) };
    }

    /// A word that was kept.
    #[inline(always)]
    pub fn kept(self, index: usize) -> u64 {
        // SAFETY: their place in the scratch.
        unsafe { self.0.wrapping_add(KEPT).cast::<u64>().add(index).read_volatile() }
    }

    /// Copies the beginning of a `struct fs_struct`.
    #[inline(always)]
    pub fn set_places(self, fs: Ptr) {
        // SAFETY: their place in the scratch; the helper checks the source.
        unsafe {
            bpf_probe_read_kernel(self.0.wrapping_add(PLACES).cast(), PLACES_WORDS as u32 * 8, fs.cast())
        };
    }

    /// The task's root directory.
    #[inline(always)]
    pub fn root(self) -> Place {
        Place { dentry: self.place(&field::FS_ROOT_DENTRY), mnt: self.place(&field::FS_ROOT_MNT) }
    }

    /// The task's working directory.
    #[inline(always)]
    pub fn cwd(self) -> Place {
        Place { dentry: self.place(&field::FS_PWD_DENTRY), mnt: self.place(&field::FS_PWD_MNT) }
    }

    #[inline(always)]
    fn place(self, field: &Global<u32>) -> Ptr {
        let at = self.0.wrapping_add(PLACES + field.load() as usize);
        // SAFETY: a known offset, which the verifier checks against the scratch.
        unsafe { at.cast::<u64>().read_volatile() as Ptr }
    }

    /// Length so far. None: there is no room for another part, which cannot be.
    #[inline(always)]
    pub fn len(self) -> Option<usize> {
        // SAFETY: the length's place in the scratch.
        let len = unsafe { self.0.wrapping_add(LEN).cast::<usize>().read_volatile() };
        // Not cut down to it: that would be a second state for the verifier, in which the length is known.
        if len > MAX { None } else { Some(settled(len)) }
    }

    #[inline(always)]
    fn set_len(self, len: usize) {
        // SAFETY: the length's place in the scratch.
        unsafe { self.0.wrapping_add(LEN).cast::<usize>().write_volatile(len) };
    }

    /// Appends a number. Numbers come before any part.
    #[inline(always)]
    pub fn number(self, value: u64) {
        let Some(len) = self.len() else { return };
        // SAFETY: there is room behind any length; bytes need no alignment.
        unsafe { self.record().wrapping_add(len).cast::<u64>().write_unaligned(value) };
        self.set_len(len + 8);
    }

    /// Appends a part of fixed size and returns where to write it: no value of it is made on the stack. Such parts
    /// come before any other, so that what they hold is aligned to four bytes.
    #[inline(always)]
    pub fn fixed<T>(self, kind: PartKind) -> Option<*mut T> {
        let len = self.len()?;
        self.finish(kind, 0, len, size_of::<T>() as u32);
        Some(self.record().wrapping_add(len + HEAD).cast())
    }

    /// Whether all of it lies in the first `bytes` of its scratch.
    #[inline(always)]
    pub fn lies_within(self, bytes: usize) -> bool {
        self.len().is_some_and(|len| RECORD + len <= bytes)
    }

    /// Heads the part of fixed size that begins `at` bytes behind the record's beginning: of room that was left for one. Returns where
    /// to write it.
    #[inline(always)]
    pub fn at<T>(self, kind: PartKind, at: usize) -> *mut T {
        let head = self.record().wrapping_add(at);
        // SAFETY: the caller's room.
        unsafe {
            head.cast::<Part>().write_unaligned(Part {
                kind: kind as u8,
                flags: 0,
                len: size_of::<T>() as u16,
            })
        };
        head.wrapping_add(HEAD).cast()
    }

    /// Appends a string of the task's memory; returns whether it is known not to begin with a slash.
    #[inline(always)]
    pub fn string(self, kind: PartKind, from: u64) -> bool {
        self.text(kind, |at| {
            // SAFETY: there are PATH_BYTES of room; the helper bounds and ends the copy.
            unsafe { bpf_probe_read_user_str(at.cast(), PATH_BYTES as u32, from as *const _) }
        })
    }

    /// As [`Capture::string`], of the kernel's memory.
    #[inline(always)]
    pub fn kernel_string(self, kind: PartKind, from: Ptr) -> bool {
        self.text(kind, |at| {
            // SAFETY: as above.
            unsafe { bpf_probe_read_kernel_str(at.cast(), PATH_BYTES as u32, from.cast()) }
        })
    }

    #[inline(always)]
    fn text(self, kind: PartKind, read: impl FnOnce(*mut u8) -> i64) -> bool {
        let Some(len) = self.len() else { return false };
        let at = self.record().wrapping_add(len + HEAD);
        let read = read(at);
        let (flags, bytes) = match read {
            ..=0 => (part_flag::UNREADABLE, 0),
            // It may have ended just there.
            read if read >= PATH_BYTES as i64 => (part_flag::TRUNCATED, PATH_BYTES as u32 - 1),
            read => (0, read as u32 - 1),
        };
        self.finish(kind, flags, len, bytes);
        // SAFETY: within the scratch.
        read > 0 && unsafe { at.read() } != b'/'
    }

    /// Appends `bytes` of the task's memory, at most `LIMIT`.
    #[inline(always)]
    pub fn user_bytes<const LIMIT: u32>(self, kind: PartKind, from: u64, bytes: u64) {
        self.bytes::<LIMIT>(kind, bytes, |at, bytes| {
            // SAFETY: the caller's place has room; the helper checks the source.
            unsafe { bpf_probe_read_user(at.cast(), bytes, from as *const _) }
        });
    }

    /// As [`Capture::user_bytes`], from the kernel's memory.
    #[inline(always)]
    pub fn kernel_bytes<const LIMIT: u32>(self, kind: PartKind, from: Ptr, bytes: u64) {
        self.bytes::<LIMIT>(kind, bytes, |at, bytes| {
            // SAFETY: the caller's place has room; the helper checks the source.
            unsafe { bpf_probe_read_kernel(at.cast(), bytes, from.cast()) }
        });
    }

    #[inline(always)]
    fn bytes<const LIMIT: u32>(self, kind: PartKind, bytes: u64, read: impl FnOnce(*mut u8, u32) -> i64) {
        let cut = bytes > u64::from(LIMIT);
        let mut count = bytes;
        // SAFETY: arithmetic on one register, so that its bound is known of this very register.
        unsafe {
            core::arch::asm!("if {0} <= {1} goto +1", "{0} = {1}", inout(reg) count, const LIMIT);
        }
        let Some(len) = self.len() else { return };
        let at = self.record().wrapping_add(len + HEAD);
        if read(at, count as u32) != 0 {
            self.finish(kind, part_flag::UNREADABLE, len, 0);
        } else {
            self.finish(kind, if cut { part_flag::TRUNCATED } else { 0 }, len, count as u32);
        }
    }

    /// Appends the components of a place as seen from `root`.
    #[inline(always)]
    pub fn path(self, kind: PartKind, place: Place, root: Place) {
        let Some(len) = self.len() else { return };
        let at = self.record().wrapping_add(len + HEAD);
        let walked = self.0.wrapping_add(WALKED).cast::<u16>();
        let flags = match path::walk(place, root, at, walked) {
            End::Root => 0,
            End::Truncated => part_flag::TRUNCATED,
            End::Detached => part_flag::DETACHED,
        };
        // SAFETY: the walk's place in the scratch.
        let bytes = u32::from(unsafe { walked.read_volatile() });
        self.finish(kind, flags, len, bytes);
    }

    /// Heads the part whose bytes were written behind `len`.
    #[inline(always)]
    fn finish(self, kind: PartKind, flags: u8, len: usize, bytes: u32) {
        let at = self.record().wrapping_add(len);
        let part = Part { kind: kind as u8, flags, len: bytes as u16 };
        // SAFETY: there is room behind any length; bytes need no alignment.
        unsafe { at.cast::<Part>().write_unaligned(part) };
        self.set_len(len + HEAD + bytes as usize);
    }
}
