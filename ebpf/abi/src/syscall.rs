//! Sensor `syscall`: system calls that rules are about, when they return.
//!
//! A record is a [`SyscallRecord`], its numbers (`u64` each), then parts: a [`Part`], `len` bytes, and the next one. Which
//! numbers and parts a call has is its [`Recipe`], a row of [`for_each_call`](crate::for_each_call); the kernel side follows it, and user
//! space names by it what came.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Attach, Entry, Header, HookKind, TaskKey};

/// `sys_exit(struct pt_regs *regs, long ret)`: the only hook that tells of every call and how it ended without
/// a program at the entry too.
pub const ATTACH: &[Attach] =
    &[Attach { entries: &[Entry::new("syscall", HookKind::BtfTracepoint, "sys_exit")] }];

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
}

/// Bits of [`SyscallRecord::flags`].
pub mod flag {
    /// A 32-bit call of a 64-bit kernel.
    pub const COMPAT: u16 = 1 << 0;
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
#[repr(C, packed(4))]
pub struct SocketFacts {
    /// `struct sock`, as in tcp records.
    pub sock: u64,
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
/// Numbers of system calls are smaller: those of x86-64 itself up to 470 (6.17), those of x32 alone from 512 to 547.
pub const CALL_NUMBERS: usize = 576;
/// Set in the number of an x32 call (`__X32_SYSCALL_BIT`), which is else that of x86-64.
pub const X32_BIT: u32 = 0x4000_0000;

/// Which system calls are wanted: by number, the [`Call`] that it is plus one, 0 = not wanted. The low byte is that of
/// native calls, the high byte that of 32-bit ones.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CallTable {
    /// By number.
    pub calls: [u16; CALL_NUMBERS],
    /// Which of the [`PLANS`] holds.
    pub plan: u32,
}

/// Plans are written in turns: one holds while the other is made.
pub const PLANS: u32 = 2;
/// Most filters of a plan.
pub const FILTERS: usize = 16;
/// Most alternatives of a filter.
pub const ALTERNATIVES: usize = 16;

/// What rules can be about, by call: what it lets pass is never less than what a rule can match.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Plan {
    /// By [`Call`]: the filter's position plus one, 0 = everything passes.
    pub of_call: [u8; 128],
    /// The filters.
    pub filters: [Filter; FILTERS],
}

impl Plan {
    /// A plan by which everything passes.
    pub const EVERYTHING: Self = Self { of_call: [0; 128], filters: [Filter::NOTHING; FILTERS] };
}

impl Filter {
    /// A filter that nothing passes.
    pub const NOTHING: Self =
        Self { by_class: [0; CLASSES], alternatives: [Alternative::ANYTHING; ALTERNATIVES] };
}

impl Alternative {
    /// It always holds.
    pub const ANYTHING: Self = Self { head: 0, head_mask: 0, tail: 0, tail_mask: 0 };
}

/// What of a call passes: one of its alternatives has to hold.
///
/// An alternative is about a head and a tail, of eight bytes each. Of a call with one path: the path's first and last
/// ones, of the path as it was passed and of the file's own. Of a call with a descriptor and no path:
/// its socket's [`socket_word`], and what was returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Filter {
    /// By [`class`]: the alternatives that are for it, one bit each.
    pub by_class: [u32; CLASSES],
    /// The alternatives.
    pub alternatives: [Alternative; ALTERNATIVES],
}

/// Bits that have to be, where the masks are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Alternative {
    /// Of the head.
    pub head: u64,
    /// Which bits of it count.
    pub head_mask: u64,
    /// Of the tail.
    pub tail: u64,
    /// Which bits of it count.
    pub tail_mask: u64,
}

impl Alternative {
    /// Whether it holds of what is known of a head and a tail: bits that are not known agree with anything.
    #[inline(always)]
    pub const fn holds(&self, head: Known, tail: Known) -> bool {
        (head.bits ^ self.head) & self.head_mask & head.known == 0
            && (tail.bits ^ self.tail) & self.tail_mask & tail.known == 0
    }
}

/// Eight bytes, the first one lowest, and which of their bits are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The bytes.
    pub bits: u64,
    /// Which bits count.
    pub known: u64,
}

/// What the filter of a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Its path.
    Path,
    /// Its socket, and what it returned.
    Descriptor,
    /// Only its class.
    Outcome,
}

/// How many classes there are.
pub const CLASSES: usize = 8;

/// The class of a call: the access mode that a file is opened with (`O_ACCMODE`; 0 of other calls), and whether
/// the call failed.
#[inline(always)]
pub const fn class(access: u32, failed: bool) -> usize {
    ((access & 3) * 2 + failed as u32) as usize
}

/// A socket in eight bytes: family, protocol. 0 of what is no socket.
#[inline(always)]
pub const fn socket_word(family: u16, protocol: u16) -> u64 {
    family as u64 | (protocol as u64) << 16
}

/// What of a call is captured. Arguments are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Recipe {
    /// How many of the arguments are carried as numbers, from the first.
    pub numbers: u8,
    /// The first path or name.
    pub path: Name,
    /// The second one.
    pub path2: Name,
    /// The descriptor.
    pub fd: Fd,
    /// The address.
    pub address: Address,
    /// The data: the argument that points to it, else [`NO_ARGUMENT`]. As long as the call returned.
    pub data: u8,
    /// The argument with the flags that a file is opened with; [`WRITES`]; else [`NO_ARGUMENT`].
    pub flags: u8,
}

/// In place of flags: the file is opened to be written.
pub const WRITES: u8 = 0xfe;

/// Stands for an argument that a call does not have.
pub const NO_ARGUMENT: u8 = u8::MAX;

/// A path or name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Name {
    /// The argument that points to it, else [`NO_ARGUMENT`].
    pub at: u8,
    /// The argument with the descriptor of the directory it is relative to; [`CWD`] or [`NOT_A_PATH`].
    pub from: u8,
}

/// Relative to the working directory.
pub const CWD: u8 = 0xfe;
/// A name, not a path.
pub const NOT_A_PATH: u8 = 0xff;

impl Name {
    /// There is none.
    pub const NONE: Self = Self { at: NO_ARGUMENT, from: NOT_A_PATH };

    /// A path relative to the working directory.
    pub const fn path(at: u8) -> Self {
        Self { at, from: CWD }
    }
    /// A path relative to a descriptor.
    pub const fn path_at(from: u8, at: u8) -> Self {
        Self { at, from }
    }
    /// Text that is no path.
    pub const fn text(at: u8) -> Self {
        Self { at, from: NOT_A_PATH }
    }
}

/// Which descriptor a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fd {
    /// None.
    None = 0,
    /// The first argument.
    First = 1,
    /// What it returned.
    Returned = 2,
}

/// Where a call has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Address {
    /// Nowhere.
    None = 0,
    /// The second argument, its length in the third.
    Second = 1,
    /// The fifth argument, its length in the sixth.
    Fifth = 2,
    /// The fifth argument, a pointer to its length in the sixth.
    FifthIn = 3,
    /// In the `struct msghdr` that the second argument points to.
    Message = 4,
}

impl Recipe {
    /// A call with so many numbers.
    pub const fn numbers(numbers: u8) -> Self {
        Self {
            numbers,
            path: Name::NONE,
            path2: Name::NONE,
            fd: Fd::None,
            address: Address::None,
            data: NO_ARGUMENT,
            flags: NO_ARGUMENT,
        }
    }
    /// And a path or name.
    pub const fn name(self, path: Name) -> Self {
        Self { path, ..self }
    }
    /// And a second one.
    pub const fn name2(self, path2: Name) -> Self {
        Self { path2, ..self }
    }
    /// And a descriptor.
    pub const fn of(self, fd: Fd) -> Self {
        Self { fd, ..self }
    }
    /// And an address.
    pub const fn address(self, address: Address) -> Self {
        Self { address, ..self }
    }
    /// And data.
    pub const fn data(self, data: u8) -> Self {
        Self { data, ..self }
    }
    /// And flags of opening.
    pub const fn opens(self, flags: u8) -> Self {
        Self { flags, ..self }
    }
    /// What its filter is about.
    pub const fn subject(&self) -> Subject {
        match (self.path.at, self.flags, self.fd) {
            // A path that nothing was opened by is text in the task's memory and nothing else.
            (NO_ARGUMENT, NO_ARGUMENT, Fd::First | Fd::Returned) => Subject::Descriptor,
            (NO_ARGUMENT, ..) | (_, NO_ARGUMENT, _) => Subject::Outcome,
            _ => Subject::Path,
        }
    }
}

/// The calls: name (that of the type of event too), number as [`Call`], recipe.
#[macro_export]
macro_rules! for_each_call {
    ($callback:ident) => {
        $callback! {
            // Files.
            (open, 0, Recipe::numbers(3).name(Name::path(0)).of(Fd::Returned).opens(1));
            (openat, 1, Recipe::numbers(4).name(Name::path_at(0, 1)).of(Fd::Returned).opens(2));
            (openat2, 2, Recipe::numbers(5).name(Name::path_at(0, 1)).of(Fd::Returned).opens(2));
            (creat, 3, Recipe::numbers(2).name(Name::path(0)).of(Fd::Returned).opens(WRITES));
            (open_by_handle_at, 4, Recipe::numbers(3).of(Fd::Returned).opens(2));
            (mkdir, 5, Recipe::numbers(2).name(Name::path(0)));
            (mkdirat, 6, Recipe::numbers(3).name(Name::path_at(0, 1)));
            (rmdir, 7, Recipe::numbers(1).name(Name::path(0)));
            (unlink, 8, Recipe::numbers(1).name(Name::path(0)));
            (unlinkat, 9, Recipe::numbers(3).name(Name::path_at(0, 1)));
            (rename, 10, Recipe::numbers(2).name(Name::path(0)).name2(Name::path(1)));
            (renameat, 11, Recipe::numbers(4).name(Name::path_at(0, 1)).name2(Name::path_at(2, 3)));
            (renameat2, 12, Recipe::numbers(5).name(Name::path_at(0, 1)).name2(Name::path_at(2, 3)));
            (link, 13, Recipe::numbers(2).name(Name::path(0)).name2(Name::path(1)));
            (linkat, 14, Recipe::numbers(5).name(Name::path_at(0, 1)).name2(Name::path_at(2, 3)));
            (symlink, 15, Recipe::numbers(2).name(Name::text(0)).name2(Name::path(1)));
            (symlinkat, 16, Recipe::numbers(3).name(Name::text(0)).name2(Name::path_at(1, 2)));
            (chmod, 17, Recipe::numbers(2).name(Name::path(0)));
            (fchmod, 18, Recipe::numbers(2).of(Fd::First));
            (fchmodat, 19, Recipe::numbers(3).name(Name::path_at(0, 1)));
            (fchmodat2, 20, Recipe::numbers(4).name(Name::path_at(0, 1)));
            (mount, 21, Recipe::numbers(4).name(Name::text(0)).name2(Name::path(1)));
            (umount2, 22, Recipe::numbers(2).name(Name::path(0)));
            (chroot, 23, Recipe::numbers(1).name(Name::path(0)));
            // Descriptors.
            (dup, 24, Recipe::numbers(1).of(Fd::Returned));
            (dup2, 25, Recipe::numbers(2).of(Fd::Returned));
            (dup3, 26, Recipe::numbers(3).of(Fd::Returned));
            (memfd_create, 27, Recipe::numbers(2).name(Name::text(0)).of(Fd::Returned));
            (userfaultfd, 28, Recipe::numbers(1).of(Fd::Returned));
            // Sockets.
            (socket, 29, Recipe::numbers(3).of(Fd::Returned));
            (bind, 30, Recipe::numbers(3).of(Fd::First).address(Address::Second));
            (connect, 31, Recipe::numbers(3).of(Fd::First).address(Address::Second));
            (listen, 32, Recipe::numbers(2).of(Fd::First));
            (accept, 33, Recipe::numbers(3).of(Fd::Returned));
            (accept4, 34, Recipe::numbers(4).of(Fd::Returned));
            (sendto, 35, Recipe::numbers(6).of(Fd::First).address(Address::Fifth).data(1));
            (sendmsg, 36, Recipe::numbers(3).of(Fd::First).address(Address::Message));
            (recvfrom, 37, Recipe::numbers(6).of(Fd::First).address(Address::FifthIn).data(1));
            (recvmsg, 38, Recipe::numbers(3).of(Fd::First).address(Address::Message));
            // Processes and what they may do.
            (execve, 39, Recipe::numbers(0).name(Name::path(0)));
            (execveat, 40, Recipe::numbers(1).name(Name::path_at(0, 1)));
            (ptrace, 41, Recipe::numbers(4));
            (kill, 42, Recipe::numbers(2));
            (tkill, 43, Recipe::numbers(2));
            (tgkill, 44, Recipe::numbers(3));
            (prctl, 45, Recipe::numbers(5));
            (setuid, 46, Recipe::numbers(1));
            (setgid, 47, Recipe::numbers(1));
            (setreuid, 48, Recipe::numbers(2));
            (setregid, 49, Recipe::numbers(2));
            (setresuid, 50, Recipe::numbers(3));
            (setresgid, 51, Recipe::numbers(3));
            (setns, 52, Recipe::numbers(2).of(Fd::First));
            (unshare, 53, Recipe::numbers(1));
            // The kernel itself.
            (init_module, 54, Recipe::numbers(2));
            (finit_module, 55, Recipe::numbers(3).of(Fd::First));
            (delete_module, 56, Recipe::numbers(2).name(Name::text(0)));
            (bpf, 57, Recipe::numbers(3));
        }
    };
}

macro_rules! define_calls {
    ($(($name:ident, $number:literal, $recipe:expr);)+) => {
        /// A system call that can be told of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[expect(non_camel_case_types, missing_docs, reason = "the kernel's own names")]
        pub enum Call { $($name = $number,)+ }

        /// How many there are.
        pub const CALLS: usize = [$($number),+].len();

        impl Call {
            /// Every call; `ALL[n] as usize == n`.
            pub const ALL: [Self; CALLS] = [$(Self::$name),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }

        /// What of each call is captured, by [`Call`].
        pub const RECIPES: [Recipe; CALLS] = [$($recipe),+];

        impl TryFrom<u8> for Call {
            type Error = u8;
            fn try_from(number: u8) -> Result<Self, u8> {
                match number { $($number => Ok(Self::$name),)+ other => Err(other) }
            }
        }
    };
}
for_each_call!(define_calls);

const _: () = {
    assert!(size_of::<SyscallRecord>() == 48 && size_of::<Part>() == 4);
    assert!(size_of::<FileFacts>() == 32 && size_of::<SocketFacts>() == 56);
    let mut index = 0;
    while index < CALLS {
        assert!(Call::ALL[index] as usize == index, "numbers of calls are dense and in order");
        index += 1;
    }
};
