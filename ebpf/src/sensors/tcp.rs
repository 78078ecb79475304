//! Sensor `tcp`, the sweep of live sockets by address, and the iterator that finds older ones.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_seq_write, bpf_skc_to_tcp_sock},
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tarsier_abi::{
    Header, Sensor, TaskKey,
    tcp::{
        Addresses, CloseRecord, EstablishedRecord, Op, OpenRecord, OwnerRecord, SWEEP_BATCH, SeedRecord,
        SweepSlot, flag, role, state, sweep,
    },
};
use zerocopy::IntoBytes;

use crate::{
    access::{Access, Typed, Untyped},
    emit,
    kernel::{Ptr, SELF_PORT, field, get, get_at},
    maps,
    sock::{self, Identity},
    task,
};

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`: traced before
/// the new state is stored, after the counters are final.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn tcp(ctx: BtfTracePointContext) -> i32 {
    let old = ctx.arg::<u64>(1) as u8;
    let new = ctx.arg::<u64>(2) as u8;
    let wanted = match new {
        state::SYN_SENT | state::ESTABLISHED | state::LISTEN | state::FIN_WAIT1 | state::LAST_ACK => true,
        state::CLOSE => old != state::CLOSE,
        _ => false,
    };
    if !wanted {
        return 0;
    }
    let sk: Ptr = ctx.arg(0);
    // SAFETY: `sk` is the tracepoint's socket; NULL comes back unless it is a full TCP socket.
    let sock = unsafe { bpf_skc_to_tcp_sock(sk.cast_mut().cast()) }.cast::<u8>().cast_const();
    if sock.is_null() {
        return 0;
    }
    let (cgroup, in_scope) = sock::cgroup(sock);
    if !in_scope {
        return 0;
    }
    match new {
        state::SYN_SENT => open(sock, cgroup, Op::Open, state::SYN_SENT),
        state::LISTEN => open(sock, cgroup, Op::Listen, state::LISTEN),
        state::ESTABLISHED => established(sock, cgroup),
        state::CLOSE if old == state::LISTEN => owner(sock, Op::Unlisten),
        state::CLOSE => close(sock, cgroup, old),
        _ => {
            // The one that connected named its owner when it opened.
            if sock::sequence(Typed(sock), old).role != role::CLIENT && sock::is_owned(sock) {
                owner(sock, Op::Owner);
            }
        }
    }
    0
}

/// Sends a record that ends with addresses; IPv4 leaves out what it does not use.
macro_rules! output {
    ($record:expr) => {{
        let record = $record;
        let bytes = record.as_bytes();
        if record.tuple.family == 4 {
            let len = bytes.len() - (Addresses::V6_BYTES - Addresses::V4_BYTES);
            // SAFETY: shorter than the record.
            emit::output(Sensor::Tcp, unsafe { bytes.get_unchecked(..len) });
        } else {
            emit::output(Sensor::Tcp, bytes);
        }
    }};
}

#[inline(always)]
fn open(sock: Ptr, cgroup: u64, op: Op, state: u8) {
    let Some(header) = emit::header(Sensor::Tcp, op as u8) else { return };
    let (mut tuple, addresses) = sock::tuple(sock, cgroup, state);
    tuple.flags |= flag::OWNED;
    // The sequence number is chosen after the state: nothing is proven yet.
    (tuple.isn_local, tuple.role) = (0, role::UNKNOWN);
    output!(OpenRecord { header, tuple, task: task::current_key(), addresses });
}

#[inline(always)]
fn established(sock: Ptr, cgroup: u64) {
    let Some(header) = emit::header(Sensor::Tcp, Op::Established as u8) else { return };
    let (tuple, addresses) = sock::tuple(sock, cgroup, state::ESTABLISHED);
    let srtt_us = get::<u32>(sock, &field::TCP_SRTT) >> 3;
    output!(EstablishedRecord { header, tuple, srtt_us, pad: 0, addresses });
}

#[inline(always)]
fn close(sock: Ptr, cgroup: u64, old: u8) {
    let Some(header) = emit::header(Sensor::Tcp, Op::Close as u8) else { return };
    let (mut tuple, addresses) = sock::tuple(sock, cgroup, old);
    let mut task = TaskKey::NONE;
    if sock::is_owned(sock) {
        tuple.flags |= flag::OWNED;
        task = task::current_key();
    }
    output!(CloseRecord { header, tuple, task, counters: sock::counters(Typed(sock)), addresses });
}

#[inline(always)]
fn owner(sock: Ptr, op: Op) {
    let Some(header) = emit::header(Sensor::Tcp, op as u8) else { return };
    let record = OwnerRecord { header, sock: sock as u64, task: task::current_key() };
    emit::output(Sensor::Tcp, record.as_bytes());
}

/// The tcp iterator of one network namespace: one record per full socket, into the iterator's file.
///
/// Context: `struct bpf_iter__tcp { struct bpf_iter_meta *meta; struct sock_common *sk_common; uid_t uid; }`.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub extern "C" fn seed_sockets(ctx: *mut c_void) -> i32 {
    let ctx = ctx.cast::<u8>().cast_const();
    let meta: Ptr = get_at(ctx, 0);
    let common: Ptr = get_at(ctx, 8);
    if common.is_null() {
        return 0;
    }
    // SAFETY: a socket or one of its small kinds; those come back as NULL.
    let sock = unsafe { bpf_skc_to_tcp_sock(common.cast_mut().cast()) }.cast::<u8>().cast_const();
    if sock.is_null() {
        return 0;
    }
    let (cgroup, in_scope) = sock::cgroup(sock);
    let (local_port, peer_port) = sock::ports(Typed(sock));
    let own = SELF_PORT.load();
    let is_own = own != 0 && (u32::from(local_port) == own || u32::from(peer_port) == own);
    if !in_scope && !is_own {
        return 0;
    }
    let state: u8 = get(sock, &field::SOCK_STATE);
    let header =
        Header { sensor: Sensor::Tcp as u8, op: Op::Seed as u8, cpu: 0, seq: 0, boot_ns: emit::now() };
    let (tuple, addresses) = sock::tuple(sock, cgroup, state);
    let inode = sock::inode_number(sock);
    let record = SeedRecord { header, tuple, counters: sock::counters(Typed(sock)), inode, addresses };
    let seq: Ptr = get_at(meta, 0);
    let bytes = record.as_bytes();
    // SAFETY: `seq` is the iterator's file; the record is initialised.
    unsafe { bpf_seq_write(seq.cast_mut().cast(), bytes.as_ptr().cast_mut().cast(), bytes.len() as u32) };
    0
}

/// The sweep: run by test run, attached to nothing. TCP sockets are type-stable memory, so an address
/// stays readable; identity read before and after the counters proves that it is the same socket.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn tcp_sweep(_ctx: RawTracePointContext) -> i32 {
    let Some(batch) = maps::SWEEP.get_ptr_mut(0) else { return 0 };
    // SAFETY: a field of a live map value.
    let (len, slots) = unsafe { ((*batch).len, (&raw mut (*batch).slots).cast::<SweepSlot>()) };
    for index in 0..SWEEP_BATCH {
        if index as u64 >= len {
            break;
        }
        // SAFETY: `index` is below the array's length.
        look_at(unsafe { &mut *slots.add(index) });
    }
    0
}

/// Reads one socket without its lock. What it finds to be another socket than the expected one may be
/// the same in the middle of a change, so that only a second look that finds the same, with nobody at
/// work on the socket in between, proves it gone.
#[inline(always)]
fn look_at(slot: &mut SweepSlot) {
    let sock = Untyped(slot.tuple.sock as Ptr);
    let wanted = Identity {
        base: slot.tuple.isn_local.wrapping_add(u32::from(slot.tuple.role == role::SERVER)),
        peer: slot.tuple.isn_peer,
        ports: (slot.tuple.local_port, slot.tuple.peer_port),
    };
    let before = sock::identity(sock);
    let busy = sock::is_locked(sock);
    let counters = sock::counters(sock);
    let after = sock::identity(sock);
    slot.tuple.state = sock.read(&field::SOCK_STATE);
    // What is there instead: user space may know too little of the one that it looks for to tell.
    (slot.tuple.local_port, slot.tuple.peer_port) = before.ports;
    let same = before.is(&wanted) & after.is(&wanted);
    let settled = before.is(&after) & !busy;
    slot.status = if same & (slot.tuple.state != state::CLOSE) {
        slot.counters = counters;
        sweep::LIVE
    } else if same | settled {
        sweep::GONE
    } else {
        sweep::TORN
    };
}
