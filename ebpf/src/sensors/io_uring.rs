//! Sensor `io_uring`: where requests are prepared and where they complete. What is told of them: [`request`].

use aya_ebpf::{
    helpers::generated::bpf_get_current_task_btf, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use tarsier_abi::{Loss, Sensor, syscall::Call};

use super::syscall::exchange;
use crate::{
    access::Typed,
    emit, filter,
    kernel::{COMPLETE_HAS_CQE, Ptr, field, get, get_at, peek},
    maps::{CALL_TABLE, REQUEST_GATE, REQUEST_SCRATCH, REQUESTS},
    request, task,
};

/// `io_uring_submit_req(struct io_kiocb *req)`.
#[btf_tracepoint(function = "io_uring_submit_req")]
pub fn io_uring_request(ctx: BtfTracePointContext) -> i32 {
    prepared(ctx.arg(0))
}

/// `io_uring_submit_sqe(struct io_kiocb *req, bool force_nonblock)`.
#[btf_tracepoint(function = "io_uring_submit_sqe")]
pub fn io_uring_sqe(ctx: BtfTracePointContext) -> i32 {
    prepared(ctx.arg(0))
}

/// `io_uring_complete(struct io_ring_ctx *ring, void *req, struct io_uring_cqe *cqe)`, before 6.14
/// `(void *ring, void *req, u64 user_data, int res, …)`. `req` is null of what one request that goes on has completed.
#[btf_tracepoint(function = "io_uring_complete")]
pub fn io_uring_complete(ctx: BtfTracePointContext) -> i32 {
    let (ring, req): (Ptr, Ptr) = (ctx.arg(0), ctx.arg(1));
    if !req.is_null() {
        if wanted(peek(req, field::REQ_OPCODE.load())).is_some() {
            let user_data = peek(req, field::REQ_USER_DATA.load());
            completed(ring, req, user_data, peek(req, field::REQ_RES.load()));
        }
        return 0;
    }
    if COMPLETE_HAS_CQE.load() != 0 {
        let cqe: Ptr = ctx.arg(2);
        completed(ring, req, get_at(cqe, 0), get_at(cqe, 8));
    } else {
        completed(ring, req, ctx.arg(2), ctx.arg::<u64>(3) as i32);
    }
    0
}

/// `io_uring_cqe_overflow(void *ring, unsigned long long user_data, s32 res, u32 flags, void *cqe)`: which request it is of is
/// not said, and whoever submits them chooses `user_data`; so how it ended is not believed.
#[btf_tracepoint(function = "io_uring_cqe_overflow")]
pub fn io_uring_overflow(ctx: BtfTracePointContext) -> i32 {
    let ring: Ptr = ctx.arg(0);
    let key = [ring as u64, ctx.arg::<u64>(1)];
    let Some(pending) = REQUESTS.get_ptr(&key) else { return 0 };
    let Some((gate, scratch)) = enter(0) else { return 0 };
    request::resume(scratch, pending.cast());
    // It fails only if somebody else was first, and told.
    if REQUESTS.remove(&key).is_ok() {
        request::conclude(0, u64::from(plan()) | request::OPEN_ENDED);
    }
    leave(gate);
    0
}

#[inline(always)]
fn prepared(req: Ptr) -> i32 {
    let Some(call) = wanted(get(req, &field::REQ_OPCODE)) else { return 0 };
    // SAFETY: a helper without preconditions, which every kernel has that has this tracepoint.
    let task = Typed(unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const());
    if !filter::in_scope(task::default_cgroup(task)) {
        return 0;
    }
    let Some((gate, scratch)) = enter(call) else { return 0 };
    request::begin(scratch, req as u64);
    let plan = plan();
    if request::prepare(u64::from(call) | u64::from(plan) << 32) != 0 {
        request::conclude(0, u64::from(plan) | request::OPEN_ENDED);
    }
    leave(gate);
    0
}

#[inline(always)]
fn completed(ring: Ptr, req: Ptr, user_data: u64, res: i32) {
    let key = [ring as u64, user_data];
    let Some(pending) = REQUESTS.get_ptr(&key) else { return };
    let Some((gate, scratch)) = enter(0) else { return };
    let is_it = request::resume(scratch, pending.cast()) == req as u64;
    let call = request::call_of(scratch);
    // Any program can have a completion of any name put into its ring: only those that go on complete without a request.
    let goes_on = req.is_null()
        && (call == Call::accept4 as u8 || call == Call::recvfrom as u8 || call == Call::recvmsg as u8);
    if goes_on || is_it && REQUESTS.remove(&key).is_ok() {
        request::conclude(i64::from(res).cast_unsigned(), plan().into());
    }
    leave(gate);
}

/// The call that does what a request does, if somebody asks for it.
#[inline(always)]
fn wanted(operation: u8) -> Option<u8> {
    let table = CALL_TABLE.get_ptr(0)?;
    // SAFETY: the table has a place for every byte.
    let mark = unsafe { (&raw const (*table).requests).cast::<u8>().add(usize::from(operation)).read() };
    mark.checked_sub(1)
}

/// Which plan holds.
#[inline(always)]
fn plan() -> u32 {
    // SAFETY: a field of a live map value.
    CALL_TABLE.get_ptr(0).map_or(0, |table| unsafe { (&raw const (*table).plan).read() })
}

/// The scratch, for whoever is alone in it: a program at a tracepoint can be preempted (7.0), and another one can be at work here.
#[inline(always)]
fn enter(call: u8) -> Option<(*mut u64, *mut u8)> {
    let gate = REQUEST_GATE.get_ptr_mut(0)?;
    let scratch = REQUEST_SCRATCH.get_ptr_mut(0)?;
    if exchange(gate, 1) != 0 {
        if emit::header(Sensor::IoUring, call).is_some() {
            emit::lose(Sensor::IoUring, Loss::Nested);
        }
        return None;
    }
    Some((gate, scratch.cast()))
}

#[inline(always)]
fn leave(gate: *mut u64) {
    exchange(gate, 0);
}
