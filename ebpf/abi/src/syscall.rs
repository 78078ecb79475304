//! Sensor `syscall`: system calls that rules are about, when they return.
//!
//! A record is a [`SyscallRecord`], its numbers (`u64` each), then parts: a [`Part`], `len` bytes, and the next one. Which
//! numbers and parts a call has is its [`Recipe`], a row of [`for_each_call`](crate::for_each_call); the kernel side follows it, and user
//! space names by it what came.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Attach, Entry, Header, HookKind, TaskKey};

mod calls;
mod filter;

pub use calls::{Address, CALLS, CWD, Call, Fd, NO_ARGUMENT, NOT_A_PATH, Name, RECIPES, Recipe, WRITES};
pub use filter::{
    ALTERNATIVES, Alternative, CALL_NUMBERS, CLASSES, CallTable, FAMILY, FILTERS, Filter, Known, PEER_PORT,
    PLANS, Plan, SOCKET_CALLS, SOCKETCALL, Subject, X32_BIT, class, socket_head,
};

/// The return of each wanted call's own function costs other calls nothing. Else
/// `sys_exit(struct pt_regs *regs, long ret)`: the only tracepoint that tells of every call and how it ended without
/// a program at the entry too.
pub const ATTACH: &[Attach] = &[Attach {
    entries: &[
        Entry::new("syscall_fexit", HookKind::Fexit, "sys_*"),
        Entry::new("syscall", HookKind::BtfTracepoint, "sys_exit"),
    ],
}];

/// The program that the one at each function's return goes on to: it is loaded once, they are loaded for every function.
pub const RETURNED: &str = "syscall_returned";

/// A system call that returned.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SyscallRecord {
    /// `op` is a [`Call`].
    pub header: Header,
    /// The process.
    pub task: TaskKey,
    /// What it returned: a negative error number if it failed.
    pub ret: i64,
    /// Thread id in the initial PID namespace.
    pub tid: u32,
    /// Bits of [`flag`].
    pub flags: u16,
    /// How many numbers follow.
    pub numbers: u16,
    /// Whose call it was.
    pub creds: CallerCreds,
}

/// Credentials of the task as the call returned (`struct cred`), ids in the initial user namespace: a daemon that gives up
/// root does so without an exec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are the kernel's own")]
pub struct CallerCreds {
    pub cap_inheritable: u64,
    pub cap_permitted: u64,
    pub cap_effective: u64,
    pub euid: u32,
    pub egid: u32,
}

/// Bits of [`SyscallRecord::flags`].
pub mod flag {
    /// A 32-bit call of a 64-bit kernel.
    pub const COMPAT: u16 = 1 << 0;
    /// No call, but a request of io_uring that does what the call does.
    pub const REQUEST: u16 = 1 << 1;
    /// Of a request: how it ended is not known, and it is told as if it had worked.
    pub const OPEN_ENDED: u16 = 1 << 2;
}

/// Heads a part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Part {
    /// A [`PartKind`]; anything else is malformed.
    pub kind: u8,
    /// Bits of [`part_flag`].
    pub flags: u8,
    /// Bytes that follow.
    pub len: u16,
}

/// Bits of [`Part::flags`].
pub mod part_flag {
    /// There was more.
    pub const TRUNCATED: u8 = 1 << 0;
    /// Of components: not reachable from the task's root.
    pub const DETACHED: u8 = 1 << 1;
    /// The task's memory could not be read.
    pub const UNREADABLE: u8 = 1 << 2;
}

/// What a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PartKind {
    /// The first path or name as the task passed it, without the NUL.
    Path = 1,
    /// The second one.
    Path2 = 2,
    /// Components of the directory that the first path is relative to, the last first, each ended by NUL.
    Dir = 3,
    /// Those of the second one.
    Dir2 = 4,
    /// [`FileFacts`] of the descriptor that the call is about.
    File = 5,
    /// Components of that file's path as the kernel has it, as in `Dir`.
    FilePath = 6,
    /// [`SocketFacts`] of that descriptor.
    Socket = 7,
    /// The path that a unix socket is bound to (or the peer's, of one that is not), as in `sockaddr_un`.
    UnixPath = 8,
    /// The `struct sockaddr` that the task passed or got.
    Address = 9,
    /// First bytes of what was sent or received.
    Data = 10,
    /// Room that nothing was put into.
    Nothing = 11,
    /// [`ConnectionFacts`] of that socket, if it is one of TCP that is connected.
    Connection = 12,
}

impl PartKind {
    /// The number of the last one.
    pub const LAST: u8 = Self::Connection as u8;
}

impl TryFrom<u8> for PartKind {
    type Error = u8;
    fn try_from(kind: u8) -> Result<Self, u8> {
        Ok(match kind {
            1 => Self::Path,
            2 => Self::Path2,
            3 => Self::Dir,
            4 => Self::Dir2,
            5 => Self::File,
            6 => Self::FilePath,
            7 => Self::Socket,
            8 => Self::UnixPath,
            9 => Self::Address,
            10 => Self::Data,
            11 => Self::Nothing,
            12 => Self::Connection,
            other => return Err(other),
        })
    }
}

/// A descriptor's file: `struct file` and its inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, packed(4))]
pub struct FileFacts {
    /// `i_ino`.
    pub inode: u64,
    /// `s_dev`: major << 20 | minor.
    pub dev: u32,
    /// `i_mode`: type and permissions.
    pub mode: u32,
    /// `f_flags`: the flags it was opened with.
    pub open_flags: u32,
    /// `f_mode`.
    pub file_mode: u32,
    /// Bits of [`file_flag`].
    pub flags: u32,
    /// Number of the descriptor.
    pub fd: i32,
}

/// Bits of [`FileFacts::flags`].
pub mod file_flag {
    /// On an overlay file system.
    pub const OVERLAY: u32 = 1 << 0;
    /// In the overlay's upper layer: made or changed in the container.
    pub const UPPER_LAYER: u32 = 1 << 1;
    /// It has no name left.
    pub const UNLINKED: u32 = 1 << 2;
}

/// `FMODE_CREATED` (include/linux/fs.h): opening made the file.
pub const FMODE_CREATED: u32 = 0x10_0000;

/// A descriptor's socket: `struct sock`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SocketFacts {
    /// Own address; the first four bytes of an IPv4 one.
    pub local: [u8; 16],
    /// The peer's address.
    pub peer: [u8; 16],
    /// Own port, host order.
    pub local_port: u16,
    /// The peer's port, host order.
    pub peer_port: u16,
    /// `AF_*`.
    pub family: u16,
    /// `SOCK_*`.
    pub kind: u16,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// `skc_state`, as of TCP.
    pub state: u8,
    /// Bits of [`socket_flag`].
    pub flags: u8,
    /// Number of the descriptor.
    pub fd: i32,
}

/// What names a TCP connection at both of its ends, as [`Tuple`](crate::tcp::Tuple) has it: its sequence numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ConnectionFacts {
    /// `snd_una − bytes_acked`.
    pub base: u32,
    /// The peer's initial sequence number.
    pub isn_peer: u32,
    /// See [`role`](crate::tcp::role); unknown too if the socket changed while it was read.
    pub role: u32,
}

/// Bits of [`SocketFacts::flags`].
pub mod socket_flag {
    /// It was accepted: a copy of its listener.
    pub const ACCEPTED: u8 = 1 << 0;
    /// Its port was chosen by bind.
    pub const BOUND: u8 = 1 << 1;
}

/// Longest path or name carried, bytes, with the NUL.
pub const PATH_BYTES: usize = 4096;
/// Longest address carried: `struct sockaddr_un`.
pub const ADDRESS_BYTES: usize = 110;
/// Most bytes of data carried: Falco's default `snaplen`.
pub const DATA_BYTES: usize = 80;
/// Most arguments of a system call.
pub const ARGUMENTS: usize = 6;

const _: () = {
    assert!(size_of::<SyscallRecord>() == 80 && size_of::<Part>() == 4);
    assert!(size_of::<FileFacts>() == 32 && size_of::<SocketFacts>() == 48);
    assert!(size_of::<ConnectionFacts>() == 12);
};
