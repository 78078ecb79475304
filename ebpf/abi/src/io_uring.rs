//! Sensor `io_uring`: what rules are about and programs have the kernel do by requests in a ring, without the system call.
//!
//! A record is that of the call which does the same ([`SyscallRecord`](crate::syscall::SyscallRecord)), with
//! [`flag::REQUEST`](crate::syscall::flag::REQUEST): what is known of a call is known of the request.

use crate::{Attach, Entry, HookKind, syscall::Call};

/// A request is looked at when it has been prepared, which is when the kernel has its own copy of the paths, and told
/// when its completion is put into the ring. `io_uring_submit_sqe(struct io_kiocb *, bool)` until 6.3, then
/// `io_uring_submit_req(struct io_kiocb *)`; `io_uring_complete(struct io_ring_ctx *, void *req, …)`;
/// `io_uring_cqe_overflow(void *ring, u64 user_data, …)` in place of that where the ring is full.
pub const ATTACH: &[Attach] = &[
    Attach {
        entries: &[
            Entry::new("io_uring_request", HookKind::BtfTracepoint, "io_uring_submit_req"),
            Entry::new("io_uring_sqe", HookKind::BtfTracepoint, "io_uring_submit_sqe"),
        ],
    },
    Attach { entries: &[Entry::new("io_uring_complete", HookKind::BtfTracepoint, "io_uring_complete")] },
    Attach { entries: &[Entry::new("io_uring_overflow", HookKind::BtfTracepoint, "io_uring_cqe_overflow")] },
];

/// As many operations as there can be: they are a byte (`enum io_uring_op`, include/uapi/linux/io_uring.h).
pub const OPERATIONS: usize = 256;

/// Operations, and the calls that do the same.
pub const REQUESTS: &[(u8, Call)] = &[
    (9, Call::sendmsg),
    (10, Call::recvmsg),
    (13, Call::accept4),
    (16, Call::connect),
    (18, Call::openat),
    (26, Call::sendto),
    (27, Call::recvfrom),
    (28, Call::openat2),
    (35, Call::renameat2),
    (36, Call::unlinkat),
    (37, Call::mkdirat),
    (38, Call::symlinkat),
    (39, Call::linkat),
    (45, Call::socket),
    // Those that do not copy what they send.
    (47, Call::sendto),
    (48, Call::sendmsg),
    (56, Call::bind),
    (57, Call::listen),
];

/// Most requests of which something is remembered while they run. What finds no room is told at once.
pub const PENDING: usize = 256;
/// Most bytes that are remembered of one. What is longer is told at once.
pub const PENDING_BYTES: usize = 2048;
