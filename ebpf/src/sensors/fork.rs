//! Sensor `fork`.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tarsier_abi::{Sensor, fork::ForkRecord};
use zerocopy::IntoBytes;

use crate::{
    access::{Access, Typed},
    emit, filter,
    kernel::field,
    task,
};

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`: after the child is
/// complete, before it runs. Threads pass here too and are left out.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn fork(ctx: BtfTracePointContext) -> i32 {
    let child = Typed(ctx.arg(1));
    if child.read::<u32>(&field::TASK_PID) != child.read::<u32>(&field::TASK_TGID)
        || !filter::in_scope(task::default_cgroup(child))
    {
        return 0;
    }
    let Some(header) = emit::header(Sensor::Fork, 0) else { return 0 };
    let (vpid, pid_ns) = task::own_pid(child);
    let record = ForkRecord {
        header,
        child: task::key(child),
        parent: task::parent_key(child),
        cgroup: task::cgroup_id(child),
        vpid,
        pid_ns,
    };
    emit::output(Sensor::Fork, record.as_bytes());
    0
}
