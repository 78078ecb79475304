//! Sensor `cgroup`.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel_str, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use tarsier_abi::{
    Loss, Sensor, Tail,
    cgroup::{CgroupRecord, Op, PATH_MAX},
};

use crate::{
    access::Typed,
    cgroup, emit, filter,
    kernel::{CGROUP_HIERARCHY, Ptr},
    maps::CGROUP_SCRATCH,
};

/// `cgroup_mkdir(struct cgroup *cgrp, const char *path)`.
#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    record(Typed(ctx.arg(0)), ctx.arg(1), Op::Mkdir)
}

/// `cgroup_rmdir(struct cgroup *cgrp, const char *path)`.
#[btf_tracepoint(function = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: BtfTracePointContext) -> i32 {
    record(Typed(ctx.arg(0)), ctx.arg(1), Op::Rmdir)
}

#[inline(always)]
fn record(group: Typed, path: Ptr, op: Op) -> i32 {
    const FIXED: usize = size_of::<CgroupRecord>();
    let hierarchy = cgroup::hierarchy(group);
    if hierarchy != CGROUP_HIERARCHY.load() || (hierarchy == 0 && !filter::in_scope(group)) {
        return 0;
    }
    let Some(header) = emit::header(Sensor::Cgroup, op as u8) else { return 0 };
    let Some(scratch) = CGROUP_SCRATCH.get_ptr_mut(0) else { return 0 };
    let out = scratch.cast::<u8>();
    let at = out.wrapping_add(FIXED);
    // SAFETY: the scratch has PATH_MAX bytes after the fixed part; the helper bounds the copy.
    let written = unsafe { bpf_probe_read_kernel_str(at.cast(), PATH_MAX as u32, path.cast()) };
    if written <= 0 {
        emit::lose(Sensor::Cgroup, Loss::Unreadable);
        return 0;
    }
    let len = (written as u32 - 1) & (PATH_MAX as u32 - 1);
    let fixed = CgroupRecord {
        header,
        cgroup: cgroup::id(group),
        parent: cgroup::parent_id(group),
        hierarchy,
        path: Tail { offset: FIXED as u16, len: len as u16 },
    };
    // SAFETY: the scratch is larger than the fixed part and 8-aligned.
    unsafe { out.cast::<CgroupRecord>().write(fixed) };
    // SAFETY: both parts were written.
    let bytes = unsafe { core::slice::from_raw_parts(out, FIXED + len as usize) };
    emit::output(Sensor::Cgroup, bytes);
    0
}
