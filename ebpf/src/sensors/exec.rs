//! Sensor `exec`, and the task iterator that finds what was there before the agent.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_probe_read_user, bpf_seq_write},
    },
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use tarsier_abi::{
    Header, Sensor,
    exec::{ARGS_CHUNK, ARGS_CHUNKS, ARGS_INLINE, ArgsRecord, ExecRecord, Op, flag},
};

use crate::{
    access::Typed,
    emit::{self, now},
    filter,
    kernel::{Ptr, field, get, get_at},
    maps::{EXEC_SCRATCH, SEED_SCRATCH},
    path::Scratch,
    process, task,
};

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`: the new
/// image is in place, in the context of the task.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn exec(ctx: BtfTracePointContext) -> i32 {
    let task: Ptr = ctx.arg(0);
    if !filter::in_scope(task::default_cgroup(Typed(task))) {
        return 0;
    }
    let Some(header) = emit::header(Sensor::Exec, Op::Exec as u8) else { return 0 };
    let Some(scratch) = EXEC_SCRATCH.get_ptr_mut(0) else { return 0 };
    let out = scratch.cast::<u8>();
    let fixed_and_paths = process::capture(task, header, out, Scratch::Exec);
    let record = out.cast::<ExecRecord>();

    let (start, total) = process::arguments(task);
    let inline = bounded::<{ ARGS_INLINE as u32 }>(total);
    let at = out.wrapping_add(fixed_and_paths as usize);
    // SAFETY: `process::capture` leaves ARGS_INLINE bytes of room; the helper checks the source.
    let failed = inline != 0 && unsafe { bpf_probe_read_user(at.cast(), inline, start.cast()) } != 0;
    // SAFETY: the scratch holds a whole ExecRecord.
    unsafe {
        (*record).args_bytes = total;
        if failed {
            (*record).flags |= flag::ARGS_UNREADABLE;
        } else {
            (*record).args.offset = fixed_and_paths as u16;
            (*record).args.len = inline as u16;
        }
    }
    let len = if failed { fixed_and_paths } else { fixed_and_paths + inline };
    // SAFETY: all of it was written.
    emit::output(Sensor::Exec, unsafe { core::slice::from_raw_parts(out, len as usize) });
    if !failed && total > ARGS_INLINE as u32 {
        rest_of_arguments(task, out, start, total);
    }
    0
}

/// At most `LIMIT`. Compared and replaced in one register: compiled freely, the comparison may be made
/// on a copy, and verifiers before 6.2 or so do not carry its outcome over to the original.
#[inline(always)]
fn bounded<const LIMIT: u32>(value: u32) -> u32 {
    let mut wide = u64::from(value);
    // SAFETY: arithmetic on one register.
    unsafe {
        core::arch::asm!("if {0} <= {1} goto +1", "{0} = {1}", inout(reg) wide, const LIMIT);
    }
    wide as u32
}

/// Side records for what did not fit inline.
#[inline(always)]
fn rest_of_arguments(task: Ptr, out: *mut u8, start: Ptr, total: u32) {
    const FIXED: usize = size_of::<ArgsRecord>();
    for chunk in 0..ARGS_CHUNKS {
        let position = (ARGS_INLINE + chunk * ARGS_CHUNK) as u32;
        if position >= total {
            return;
        }
        let len = bounded::<{ ARGS_CHUNK as u32 }>(total - position);
        let at = out.wrapping_add(FIXED);
        let from = start.wrapping_add(position as usize);
        // SAFETY: the scratch has ARGS_CHUNK bytes after the fixed part; the helper checks the source.
        if unsafe { bpf_probe_read_user(at.cast(), len, from.cast()) } != 0 {
            return;
        }
        let Some(header) = emit::header(Sensor::Exec, Op::Args as u8) else { return };
        let fixed = ArgsRecord { header, task: task::key(Typed(task)), position, len };
        // SAFETY: the scratch is larger than the fixed part and 8-aligned.
        unsafe { out.cast::<ArgsRecord>().write(fixed) };
        // SAFETY: both parts were written.
        emit::output(Sensor::Exec, unsafe { core::slice::from_raw_parts(out, FIXED + len as usize) });
    }
}

/// The task iterator: one record per thread group, into the iterator's file. Arguments are left out,
/// as another task's memory cannot be read here.
///
/// Context: `struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; }`.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn seed_tasks(ctx: *mut c_void) -> i32 {
    let ctx = ctx.cast::<u8>().cast_const();
    let meta: Ptr = get_at(ctx, 0);
    let task: Ptr = get_at(ctx, 8);
    if task.is_null() || get::<u32>(task, &field::TASK_PID) != get::<u32>(task, &field::TASK_TGID) {
        return 0;
    }
    // The reader itself passes any scope: it is what the agent proves its offsets on.
    let own = bpf_get_current_pid_tgid() >> 32 == u64::from(get::<u32>(task, &field::TASK_TGID));
    if !own && !filter::in_scope(task::default_cgroup(Typed(task))) {
        return 0;
    }
    let Some(scratch) = SEED_SCRATCH.get_ptr_mut(0) else { return 0 };
    let out = scratch.cast::<u8>();
    let header = Header {
        sensor: Sensor::Exec as u8,
        op: Op::Seed as u8,
        cpu: 0,
        seq: u32::from(own),
        boot_ns: now(),
    };
    let len = process::capture(task, header, out, Scratch::Seed);
    let (_, total) = process::arguments(task);
    // SAFETY: the scratch holds a whole ExecRecord.
    unsafe { (*out.cast::<ExecRecord>()).args_bytes = total };
    let seq: Ptr = get_at(meta, 0);
    // The length goes first: the iterator's file has no record boundaries.
    let len_field = u64::from(len);
    // SAFETY: `seq` is the iterator's file; both buffers are initialised for their length.
    unsafe {
        bpf_seq_write(seq.cast_mut().cast(), (&raw const len_field).cast_mut().cast(), 8);
        bpf_seq_write(seq.cast_mut().cast(), out.cast(), len);
    }
    0
}
