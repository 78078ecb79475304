//! Images: what a process runs.

use std::fmt;

use tarsier_abi::Namespaces;
use tarsier_abi::exec::Creds;

use super::exec::split_args;

/// What a process runs: everything an exec fixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Path, working directory, `comm` and arguments.
    pub strings: Strings,
    /// Bytes of all arguments, also those not carried.
    pub args_bytes: u32,
    /// Fewer argument bytes are carried than there were.
    pub args_truncated: bool,
    /// Bits of [`tarsier_abi::exec::flag`].
    pub flags: u32,
    /// Credentials.
    pub creds: Creds,
    /// Namespaces.
    pub ns: Namespaces,
    /// Controlling terminal, major << 20 | minor; 0 = none.
    pub tty: u32,
    /// Inode of the executable.
    pub exe_inode: u64,
    /// Device of the executable, major << 20 | minor.
    pub exe_dev: u32,
    /// ctime of the executable, ns since the epoch.
    pub exe_ctime_ns: u64,
}

impl Image {
    /// Last component of the executable's path; `comm` for what has none.
    pub fn name(&self) -> &[u8] {
        match self.strings.part(self.strings.name_start, self.strings.exe_end) {
            [] => self.comm(),
            name => name,
        }
    }

    /// Whether all strings are ASCII.
    pub fn is_ascii(&self) -> bool {
        !self.strings.beyond_ascii
    }

    /// Executable path as seen from the task's root; empty for kernel threads.
    pub fn exe(&self) -> &[u8] {
        self.strings.part(0, self.strings.exe_end)
    }

    /// Working directory at exec.
    pub fn cwd(&self) -> &[u8] {
        self.strings.part(self.strings.exe_end, self.strings.cwd_end)
    }

    /// `comm`, without padding.
    pub fn comm(&self) -> &[u8] {
        self.strings.part(self.strings.cwd_end, self.strings.comm_end)
    }

    /// Arguments as the program got them (not redacted: see `encode`).
    pub fn args(&self) -> Argv<'_> {
        Argv::new(self.strings.part(self.strings.comm_end, self.strings.text.len()))
    }
}

/// The strings of an image, in one buffer, so that an image whose last process is forgotten can be filled
/// anew without asking the allocator.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Strings {
    /// Path, working directory, `comm`, arguments, one after the other.
    text: Vec<u8>,
    /// Where the last component of the path begins.
    name_start: usize,
    exe_end: usize,
    cwd_end: usize,
    comm_end: usize,
    /// Looked at once, when they are written, and not each time they are encoded.
    beyond_ascii: bool,
}

impl Strings {
    /// These; `args` are each ended by NUL.
    pub fn of(exe: &[u8], cwd: &[u8], comm: &[u8], args: &[u8]) -> Self {
        let mut strings = Self::default();
        strings.write(|text| text.extend_from_slice(exe), |text| text.extend_from_slice(cwd), comm, args);
        strings
    }

    /// Replaces all, in the memory that is there. `exe` and `cwd` append theirs.
    pub fn write(
        &mut self,
        exe: impl FnOnce(&mut Vec<u8>),
        cwd: impl FnOnce(&mut Vec<u8>),
        comm: &[u8],
        args: &[u8],
    ) {
        self.text.clear();
        exe(&mut self.text);
        self.exe_end = self.text.len();
        self.name_start = memchr::memrchr(b'/', &self.text).map_or(0, |slash| slash + 1);
        cwd(&mut self.text);
        self.cwd_end = self.text.len();
        self.text.extend_from_slice(comm);
        self.comm_end = self.text.len();
        self.text.extend_from_slice(args);
        self.beyond_ascii = !self.text.is_ascii();
    }

    /// Appends a further part of the arguments, which may begin and end anywhere.
    pub fn push_args(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        self.beyond_ascii |= !bytes.is_ascii();
    }

    /// Replaces the arguments.
    pub fn set_args(&mut self, args: &[u8]) {
        self.text.truncate(self.comm_end);
        self.text.extend_from_slice(args);
        self.beyond_ascii = !self.text.is_ascii();
    }

    /// Bytes on the heap, room for more included.
    pub fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Makes room for `bytes` in all.
    pub fn reserve(&mut self, bytes: usize) {
        self.text.reserve_exact(bytes.saturating_sub(self.text.len()));
    }

    fn part(&self, start: usize, end: usize) -> &[u8] {
        self.text.get(start..end).unwrap_or_default()
    }
}

/// The arguments of a program as the kernel has them: one after the other, each ended by NUL; the last one may
/// be cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Argv<'a> {
    bytes: &'a [u8],
}

impl<'a> Argv<'a> {
    /// The arguments in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// As they are, NULs included.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// One by one.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        split_args(self.bytes)
    }

    /// What the program is called by.
    pub fn first(self) -> Option<&'a [u8]> {
        self.iter().next()
    }
}

impl fmt::Debug for Strings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |start, end| String::from_utf8_lossy(self.part(start, end));
        formatter
            .debug_struct("Strings")
            .field("exe", &text(0, self.exe_end))
            .field("cwd", &text(self.exe_end, self.cwd_end))
            .field("comm", &text(self.cwd_end, self.comm_end))
            .field("args", &Argv::new(self.part(self.comm_end, self.text.len())))
            .finish()
    }
}

impl fmt::Debug for Argv<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}
