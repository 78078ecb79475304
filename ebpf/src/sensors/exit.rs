//! Sensor `exit`: one body, and an entry for each hook that tells of an ending task.

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, fentry, kprobe, raw_tracepoint},
    programs::{BtfTracePointContext, FEntryContext, ProbeContext, RawTracePointContext},
};
use tarsier_abi::{Sensor, exit::ExitRecord};
use zerocopy::IntoBytes;

use crate::{
    access::{Access, Typed, Untyped},
    emit, filter,
    kernel::{EXIT_HAS_GROUP_DEAD, Ptr, field},
    task,
};

/// `SIGNAL_GROUP_EXIT` (include/linux/sched/signal.h).
const SIGNAL_GROUP_EXIT: u32 = 4;

/// `taskstats_exit(struct task_struct *tsk, int group_dead)`.
#[fentry(function = "taskstats_exit")]
pub fn exit_fentry(ctx: FEntryContext) -> i32 {
    ended(Typed(ctx.arg(0)), ctx.arg::<u64>(1) as u32 != 0)
}

/// `sched_process_exit(struct task_struct *p [, bool group_dead])`.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn exit(ctx: BtfTracePointContext) -> i32 {
    let task = Typed(ctx.arg(0));
    let last = if EXIT_HAS_GROUP_DEAD.load() != 0 { ctx.arg::<u64>(1) & 0xff != 0 } else { seems_last(task) };
    ended(task, last)
}

/// As [`exit`].
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn exit_raw(ctx: RawTracePointContext) -> i32 {
    let task = Untyped(ctx.arg::<u64>(0) as Ptr);
    let last = if EXIT_HAS_GROUP_DEAD.load() != 0 { ctx.arg::<u64>(1) & 0xff != 0 } else { seems_last(task) };
    ended(task, last)
}

/// As [`exit_fentry`]. The registers are read by address, like any other structure: where they are
/// differs from one architecture to the next, and the verifier allows no such offset into a context.
#[kprobe(function = "taskstats_exit")]
pub fn exit_kprobe(ctx: ProbeContext) -> u32 {
    let registers = Untyped(ctx.as_ptr().cast::<u8>().cast_const());
    let last = registers.read::<u64>(&field::REGS_SECOND) as u32 != 0;
    ended(registers.follow(&field::REGS_FIRST), last);
    0
}

/// Whether no thread of the task's process is left, as far as it shows: of two that end at once, both
/// may seem to be the last.
#[inline(always)]
fn seems_last(task: impl Access) -> bool {
    task.follow(&field::TASK_SIGNAL).read::<u32>(&field::SIGNAL_LIVE) == 0
}

/// A task ends: its exit code is set, its memory may be gone. `last`: it is its process's last thread.
#[inline(always)]
fn ended(task: impl Access, last: bool) -> i32 {
    if !last || !filter::in_scope(task::default_cgroup(task)) {
        return 0;
    }
    let Some(header) = emit::header(Sensor::Exit, 0) else { return 0 };
    // As wait_task_zombie (kernel/exit.c) decides what `wait` returns.
    let signal = task.follow(&field::TASK_SIGNAL);
    let status = if signal.read::<u32>(&field::SIGNAL_FLAGS) & SIGNAL_GROUP_EXIT != 0 {
        signal.read::<u32>(&field::SIGNAL_GROUP_EXIT_CODE)
    } else {
        task.follow(&field::TASK_LEADER).read::<u32>(&field::TASK_EXIT_CODE)
    };
    let record = ExitRecord {
        header,
        task: task::key(task),
        parent: task::parent_key(task),
        cgroup: task::cgroup_id(task),
        status,
        pad: 0,
    };
    emit::output(Sensor::Exit, record.as_bytes());
    0
}
