//! Sensor `exit`: the last thread of a group is gone.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Attach, Header, Hook, TaskKey};

/// `sched_process_exit(struct task_struct *p [, bool group_dead (6.18)])`.
pub const ATTACH: &[Attach] =
    &[Attach { program: "exit", hooks: &[Hook::BtfTracepoint("sched_process_exit")] }];

/// A process ended. Where the kernel has no `group_dead` argument two threads that exit at once may
/// both see `signal->live == 0`: then two records arrive and user space keeps the first.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ExitRecord {
    /// `op` is 0.
    pub header: Header,
    /// The process.
    pub task: TaskKey,
    /// Its parent at this moment (`real_parent`).
    pub parent: TaskKey,
    /// cgroup id.
    pub cgroup: u64,
    /// As `wait(2)` gives it: exit code << 8, or the signal (+ 0x80 if it dumped core).
    pub status: u32,
    /// Always 0.
    pub pad: u32,
}

const _: () = assert!(size_of::<ExitRecord>() == 64);
