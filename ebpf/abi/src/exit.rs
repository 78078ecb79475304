//! Sensor `exit`: the last thread of a group is gone.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Attach, Entry, Header, HookKind, TaskKey};

/// `taskstats_exit(struct task_struct *tsk, int group_dead)` and, some lines of `do_exit` later (kernel/exit.c),
/// `sched_process_exit(struct task_struct *p [, bool group_dead (6.18)])`. The function is told which
/// thread is the last one on every kernel, so it comes first; docs/adr/0008-hook-alternatives.md.
pub const ATTACH: &[Attach] = &[Attach {
    entries: &[
        Entry::new("exit_fentry", HookKind::Fentry, "taskstats_exit"),
        Entry::new("exit", HookKind::BtfTracepoint, "sched_process_exit"),
        Entry::new("exit_raw", HookKind::RawTracepoint, "sched_process_exit"),
        Entry::new("exit_kprobe", HookKind::Kprobe, "taskstats_exit"),
    ],
}];

/// A process ended. Where the hook has no `group_dead` argument two threads that exit at once may
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
