//! Sensor `syscall`: where system calls end, and which of them are told.

use aya_ebpf::{
    Global,
    helpers::{bpf_get_current_task, generated::bpf_get_current_task_btf},
    macros::{btf_tracepoint, fexit},
    programs::{BtfTracePointContext, FExitContext},
};
use tarsier_abi::{
    ABSENT, Loss, Sensor,
    syscall::{CALL_NUMBERS, CALLS, Call, SOCKET_CALLS, SOCKETCALL, X32_BIT},
};

use crate::{
    access::{Access, Typed, Untyped},
    call::{peek_user, tell},
    capture::Capture,
    emit, filter,
    kernel::{CURRENT_IS_TYPED, Ptr, field, get, maybe},
    maps::{CALL_TABLE, ON_RETURN, SYSCALL_GATE, SYSCALL_SCRATCH},
    task,
};

/// `TS_COMPAT` (arch/x86/include/asm/thread_info.h): the present call is a 32-bit one.
const TS_COMPAT: u32 = 2;

/// `sys_exit(struct pt_regs *regs, long ret)`.
#[btf_tracepoint(function = "sys_exit")]
pub fn syscall(ctx: BtfTracePointContext) -> i32 {
    ended(ctx.arg(0), ctx.arg(1), None)
}

/// `long __x64_sys_openat(const struct pt_regs *regs)` and the like, all of one type: the agent loads this program anew for every
/// function, and what it goes on to once.
#[fexit(function = "__x64_sys_openat")]
pub fn syscall_fexit(ctx: FExitContext) -> i32 {
    // SAFETY: the map lives as long as the program.
    unsafe { ON_RETURN.tail_call(&ctx, 0) };
    0
}

/// What [`syscall_fexit`] goes on to. The kernel runs no program inside itself on one CPU, but it does run one that was loaded for
/// another function there: where a task is preempted in it. What goes on here goes through a gate for that reason.
#[fexit(function = "__x64_sys_openat")]
pub fn syscall_returned(ctx: FExitContext) -> i32 {
    let Some(gate) = SYSCALL_GATE.get_ptr_mut(0) else { return 0 };
    ended(ctx.arg(0), ctx.arg(1), Some(gate))
}

/// A system call that ended. `gate`: 1 while a record is being made.
#[inline(always)]
fn ended(regs: Ptr, ret: i64, gate: Option<*mut u64>) -> i32 {
    let number = get::<u32>(regs, &field::REGS_CALL) & !X32_BIT;
    let Some(table) = CALL_TABLE.get_ptr(0) else { return 0 };
    if number >= CALL_NUMBERS as u32 {
        return 0;
    }
    // SAFETY: the number is below the table's length.
    let calls = unsafe { (&raw const (*table).calls).cast::<u16>().add(number as usize).read() };
    // What nobody asks for ends here: this program runs after every system call of the machine.
    if calls != 0 {
        // SAFETY: a field of a live map value.
        let plan = unsafe { (&raw const (*table).plan).read() };
        wanted(regs, ret, calls, plan, gate);
    }
    0
}

/// A call of a number that somebody asks for, natively or as a 32-bit call.
#[inline(always)]
fn wanted(regs: Ptr, ret: i64, calls: u16, plan: u32, gate: Option<*mut u64>) {
    // The present task by type where that can be had, for what is asked of most calls; what is asked of few
    // goes by address, or all of it would be there twice.
    let (is_compat, in_scope) = if CURRENT_IS_TYPED.load() != 0 {
        // SAFETY: a helper without preconditions.
        let task = Typed(unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const());
        (is_compat(task), filter::in_scope(task::default_cgroup(task)))
    } else {
        // SAFETY: a helper without preconditions.
        let task = Untyped(unsafe { bpf_get_current_task() } as Ptr);
        (is_compat(task), filter::in_scope(task::default_cgroup(task)))
    };
    let mark = if is_compat { calls >> 8 } else { calls & 0xff };
    let by_number = mark == u16::from(SOCKETCALL);
    let call = u32::from(if by_number { mark_of_socketcall(regs) } else { mark }).wrapping_sub(1);
    // A program that has started tells of itself; only what did not start is told here. A process that was made returns
    // from the call too, but only to a hook on all calls.
    let is_start = call == Call::execve as u32 || call == Call::execveat as u32;
    let is_making = call >= Call::fork as u32 && call <= Call::clone3 as u32;
    let is_told_elsewhere = ret >= 0 && is_start || ret == 0 && is_making;
    if !in_scope || call >= CALLS as u32 || is_told_elsewhere {
        return;
    }
    let Some(scratch) = SYSCALL_SCRATCH.get_ptr_mut(0) else { return };
    if gate.is_some_and(|gate| exchange(gate, 1) != 0) {
        if emit::header(Sensor::Syscall, call as u8).is_some() {
            emit::lose(Sensor::Syscall, Loss::Nested);
        }
        return;
    }
    // Here, where the registers are known by type.
    let capture = Capture::resumed(scratch.cast());
    if by_number {
        socketcall_arguments(capture, regs);
    } else if is_compat {
        compat_arguments(capture, regs);
    } else {
        arguments(capture, regs);
    }
    let what = u64::from(call) | u64::from(is_compat) << 8 | u64::from(plan) << 32;
    tell(ret.cast_unsigned(), what);
    if let Some(gate) = gate {
        exchange(gate, 0);
    }
}

/// Writes a value and returns what was there (5.12; a kernel that has it not refuses the program).
#[inline(always)]
pub(super) fn exchange(at: *mut u64, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: the caller's live map value, aligned.
    unsafe { core::arch::asm!("{0} = xchg_64({1} + 0, {0})", inout(reg) value, in(reg) at) };
    value
}

/// Whether the present call is a 32-bit one.
#[inline(always)]
fn is_compat(task: impl Access) -> bool {
    field::TASK_STATUS.load() != ABSENT && task.read::<u32>(&field::TASK_STATUS) & TS_COMPAT != 0
}

#[inline(always)]
fn arguments(capture: Capture, regs: Ptr) {
    capture.set_argument(0, get(regs, &field::REGS_ARG1));
    capture.set_argument(1, get(regs, &field::REGS_ARG2));
    capture.set_argument(2, get(regs, &field::REGS_ARG3));
    capture.set_argument(3, get(regs, &field::REGS_ARG4));
    capture.set_argument(4, get(regs, &field::REGS_ARG5));
    capture.set_argument(5, get(regs, &field::REGS_ARG6));
}

/// What of `socketcall(int call, unsigned long *args)` somebody asks for.
#[inline(always)]
fn mark_of_socketcall(regs: Ptr) -> u16 {
    let Some(table) = CALL_TABLE.get_ptr(0) else { return 0 };
    let number = maybe::<u64>(regs, &field::REGS_COMPAT1).unwrap_or(0) as usize;
    if number as u32 as usize >= SOCKET_CALLS {
        return 0;
    }
    // SAFETY: a mask keeps it within the table.
    let mark =
        unsafe { (&raw const (*table).socket_calls).cast::<u8>().add(number & (SOCKET_CALLS - 1)).read() };
    mark.into()
}

/// As [`arguments`], of the call that `socketcall` makes.
#[inline(always)]
fn socketcall_arguments(capture: Capture, regs: Ptr) {
    /// `SYS_SEND` and `SYS_RECV`, which have four.
    const WITHOUT_ADDRESS: [u32; 2] = [9, 10];
    let number = maybe::<u64>(regs, &field::REGS_COMPAT1).unwrap_or(0) as u32;
    let from = u64::from(maybe::<u64>(regs, &field::REGS_COMPAT2).unwrap_or(0) as u32);
    // One by one: what is behind the last one may be no memory.
    for index in 0..6 {
        let argument: u32 = peek_user(from + 4 * index as u64);
        let is_there = index < 4 || !WITHOUT_ADDRESS.contains(&number);
        capture.set_argument(index, if is_there { argument.into() } else { 0 });
    }
}

/// As [`arguments`], of a 32-bit call.
#[inline(always)]
fn compat_arguments(capture: Capture, regs: Ptr) {
    let low = |field: &Global<u32>| u64::from(maybe::<u64>(regs, field).unwrap_or(0) as u32);
    capture.set_argument(0, low(&field::REGS_COMPAT1));
    capture.set_argument(1, low(&field::REGS_COMPAT2));
    capture.set_argument(2, low(&field::REGS_COMPAT3));
    capture.set_argument(3, low(&field::REGS_COMPAT4));
    capture.set_argument(4, low(&field::REGS_COMPAT5));
    capture.set_argument(5, low(&field::REGS_COMPAT6));
}
