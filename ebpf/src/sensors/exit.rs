//! Sensor `exit`.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tarsier_abi::{Sensor, exit::ExitRecord};
use zerocopy::IntoBytes;

use crate::{
    emit, filter,
    kernel::{EXIT_HAS_GROUP_DEAD, Ptr, field, get},
    task,
};

/// `SIGNAL_GROUP_EXIT` (include/linux/sched/signal.h).
const SIGNAL_GROUP_EXIT: u32 = 4;

/// `sched_process_exit(struct task_struct *p [, bool group_dead])`: the exit code is set, the memory
/// may be gone.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn exit(ctx: BtfTracePointContext) -> i32 {
    let task: Ptr = ctx.arg(0);
    let signal: Ptr = get(task, &field::TASK_SIGNAL);
    let last = if EXIT_HAS_GROUP_DEAD.load() != 0 {
        ctx.arg::<u64>(1) & 0xff != 0
    } else {
        get::<u32>(signal, &field::SIGNAL_LIVE) == 0
    };
    if !last || !filter::in_scope(task::default_cgroup(task)) {
        return 0;
    }
    let Some(header) = emit::header(Sensor::Exit, 0) else { return 0 };
    // As wait_task_zombie (kernel/exit.c) decides what `wait` returns.
    let status = if get::<u32>(signal, &field::SIGNAL_FLAGS) & SIGNAL_GROUP_EXIT != 0 {
        get::<u32>(signal, &field::SIGNAL_GROUP_EXIT_CODE)
    } else {
        let leader: Ptr = get(task, &field::TASK_LEADER);
        get::<u32>(leader, &field::TASK_EXIT_CODE)
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
