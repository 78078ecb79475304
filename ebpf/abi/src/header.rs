//! What every record starts with, and the small types that several records share.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first 16 bytes of every record. The record's length is the ring's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Header {
    /// [`crate::Sensor`] number; anything else is malformed.
    pub sensor: u8,
    /// Which record of that sensor (`tcp::Op`, …); anything unknown is malformed.
    pub op: u8,
    /// The CPU that wrote it.
    pub cpu: u16,
    /// Sequence number of (sensor, CPU), counted before the ring was asked for room: a gap is a loss.
    pub seq: u32,
    /// `CLOCK_BOOTTIME`, ns.
    pub boot_ns: u64,
}

/// Identity of one execution within a boot: (thread group, its leader's start, exec counter).
///
/// Read from the task itself at any hook (`task_struct.tgid`, `group_leader->start_boottime`,
/// `self_exec_id`), so it is the same before and after a restart of the agent. `self_exec_id`
/// grows at every exec and is copied at fork; a thread that execs takes over its leader's start
/// time (`de_thread`, fs/exec.c).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
)]
#[repr(C)]
pub struct TaskKey {
    /// `start_boottime` of the thread group leader, ns since boot. 0 = no task.
    pub start_boottime: u64,
    /// Thread group id in the initial PID namespace: what users call the pid.
    pub tgid: u32,
    /// Low half of `self_exec_id`.
    pub exec: u32,
}

impl TaskKey {
    /// No task: the owner or parent is not known.
    pub const NONE: Self = Self { start_boottime: 0, tgid: 0, exec: 0 };

    /// Whether this is the absence of a task. The idle task (tgid 0) counts as none.
    pub const fn is_none(self) -> bool {
        self.tgid == 0
    }

    /// Whether it runs a program: not so of none, and of a thread of the kernel. `self_exec_id` is inherited
    /// at fork and counted up at exec; threads of the kernel descend from kthreadd, which never had one.
    pub const fn runs_a_program(self) -> bool {
        self.tgid != 0 && self.exec != 0
    }
}

/// A variable part of a record: `len` bytes at `offset` from the record's start. len 0 = absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Tail {
    /// From the record's first byte.
    pub offset: u16,
    /// In bytes.
    pub len: u16,
}

/// Inode numbers of a task's namespaces (`ns_common.inum`, what `/proc/PID/ns` shows). 0 = not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are the kernel's own")]
pub struct Namespaces {
    pub mnt: u32,
    pub pid: u32,
    pub net: u32,
    pub user: u32,
    pub uts: u32,
    pub ipc: u32,
    pub cgroup: u32,
    pub time: u32,
}

const _: () =
    assert!(size_of::<Header>() == 16 && size_of::<TaskKey>() == 16 && size_of::<Namespaces>() == 32);
