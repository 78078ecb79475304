//! Sensor `fork`: a new thread group. Threads of an existing one make no record.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Attach, Entry, Header, HookKind, TaskKey};

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`.
pub const ATTACH: &[Attach] =
    &[Attach { entries: &[Entry::new("fork", HookKind::BtfTracepoint, "sched_process_fork")] }];

/// A process was created. The child's image is its parent's until it execs.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ForkRecord {
    /// `op` is 0.
    pub header: Header,
    /// The new process.
    pub child: TaskKey,
    /// Its parent as `getppid` will say (`real_parent`).
    pub parent: TaskKey,
    /// cgroup id of the child.
    pub cgroup: u64,
    /// The child's pid in its own PID namespace.
    pub vpid: u32,
    /// Inode number of the child's PID namespace.
    pub pid_ns: u32,
}

const _: () = assert!(size_of::<ForkRecord>() == 64);
