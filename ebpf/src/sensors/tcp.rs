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
        Addresses, CloseRecord, Counters, EstablishedRecord, Op, OpenRecord, OwnerRecord, SWEEP_BATCH,
        SeedRecord, SweepSlot, flag, state, sweep,
    },
};
use zerocopy::IntoBytes;

use crate::{
    access::{Typed, Untyped},
    emit::{self, Room},
    kernel::{Ptr, SELF_PORT, field, get, get_at},
    maps,
    sequence::{self, Identity},
    sock::{self, Family},
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
        state::ESTABLISHED => established(sock, cgroup, old),
        state::CLOSE if old == state::LISTEN => owner(sock, Op::Unlisten),
        state::CLOSE => close(sock, cgroup, old),
        _ => {
            // The one that connected named its owner when it opened.
            if sock::is_owned(sock) && was_accepted(sock, old) {
                owner(sock, Op::Owner);
            }
        }
    }
    0
}

/// Whether the socket was accepted, or may have been.
#[inline(always)]
fn was_accepted(sock: Ptr, old: u8) -> bool {
    sequence::was_listener(Typed(sock)) || sock::proof(sock, old).sent.extra == 0
}

/// Room for a record that ends with addresses; they are written. IPv4 leaves out what it does not use.
#[inline(always)]
fn room<T>(sock: Ptr, family: Family, op: Op, time: impl FnOnce() -> u64) -> Option<Room> {
    let at = size_of::<T>() - Addresses::V6_BYTES;
    if family == Family::V6 {
        let room = emit::reserve(Sensor::Tcp, op as u8, at + Addresses::V6_BYTES, time)?;
        // SAFETY: the addresses are the last 32 bytes of the record.
        unsafe { room.record.add(at).cast::<[u32; 8]>().write(sock::addresses_v6(sock)) };
        return Some(room);
    }
    let room = emit::reserve(Sensor::Tcp, op as u8, at + Addresses::V4_BYTES, time)?;
    // SAFETY: the addresses are the last 8 bytes of the record.
    unsafe { room.record.add(at).cast::<[u32; 2]>().write(sock::addresses_v4(sock)) };
    Some(room)
}

#[inline(always)]
fn open(sock: Ptr, cgroup: u64, op: Op, state: u8) {
    let family = sock::family(sock);
    let Some(room) = room::<OpenRecord>(sock, family, op, emit::now) else { return };
    let record = room.record.cast::<OpenRecord>();
    // SAFETY: fields of the room.
    unsafe {
        (&raw mut (*record).tuple).write(sock::bare_tuple(sock, cgroup, family, state));
        (&raw mut (*record).task).write(task::current_key());
    }
    room.submit();
}

#[inline(always)]
fn established(sock: Ptr, cgroup: u64, old: u8) {
    let family = sock::family(sock);
    let proof = sock::handshake(sock, old);
    let time = || if proof.flags & flag::RESTORED == 0 { sock::segment_time(sock) } else { emit::now() };
    let Some(room) = room::<EstablishedRecord>(sock, family, Op::Established, time) else { return };
    let record = room.record.cast::<EstablishedRecord>();
    // SAFETY: fields of the room.
    unsafe {
        (&raw mut (*record).tuple).write(sock::tuple(sock, cgroup, family, state::ESTABLISHED, &proof));
        (&raw mut (*record).srtt_us).write(get::<u32>(sock, &field::TCP_SRTT) >> 3);
        (&raw mut (*record).pad).write(0);
    }
    room.submit();
}

#[inline(always)]
fn close(sock: Ptr, cgroup: u64, old: u8) {
    let family = sock::family(sock);
    let time = || if sock::is_closed_by_segment(sock, old) { sock::segment_time(sock) } else { emit::now() };
    let Some(room) = room::<CloseRecord>(sock, family, Op::Close, time) else { return };
    let record = room.record.cast::<CloseRecord>();
    let mut proof = sock::proof(sock, old);
    let mut task = TaskKey::NONE;
    if sock::is_owned(sock) {
        proof.flags |= flag::OWNED;
        task = task::current_key();
    }
    let counters = sequence::counters(Typed(sock), proof.sent, proof.flags & flag::PEER_FIN != 0);
    // SAFETY: fields of the room.
    unsafe {
        (&raw mut (*record).tuple).write(sock::tuple(sock, cgroup, family, old, &proof));
        (&raw mut (*record).task).write(task);
        (&raw mut (*record).counters).write(counters);
    }
    room.submit();
}

#[inline(always)]
fn owner(sock: Ptr, op: Op) {
    let Some(room) = emit::reserve(Sensor::Tcp, op as u8, size_of::<OwnerRecord>(), emit::now) else {
        return;
    };
    let record = room.record.cast::<OwnerRecord>();
    // SAFETY: fields of the room.
    unsafe {
        (&raw mut (*record).sock).write(sock as u64);
        (&raw mut (*record).task).write(task::current_key());
    }
    room.submit();
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
    let (local_port, peer_port) = sequence::ports(Typed(sock));
    let own = SELF_PORT.load();
    let is_own = own != 0 && (u32::from(local_port) == own || u32::from(peer_port) == own);
    if !in_scope && !is_own {
        return 0;
    }
    let state: u8 = get(sock, &field::SOCK_STATE);
    let header =
        Header { sensor: Sensor::Tcp as u8, op: Op::Seed as u8, cpu: 0, seq: 0, boot_ns: emit::now() };
    let family = sock::family(sock);
    let (tuple, counters) = match state {
        state::LISTEN => (sock::bare_tuple(sock, cgroup, family, state), Counters::default()),
        _ => {
            let mut proof = sock::proof(sock, state);
            proof.flags |= sock::bound(sock);
            let counters = sequence::counters(Typed(sock), proof.sent, proof.flags & flag::PEER_FIN != 0);
            (sock::tuple(sock, cgroup, family, state, &proof), counters)
        }
    };
    let words = if family == Family::V6 {
        sock::addresses_v6(sock)
    } else {
        let [own, peer] = sock::addresses_v4(sock);
        [own, peer, 0, 0, 0, 0, 0, 0]
    };
    let inode = sock::inode_number(sock);
    let record = SeedRecord { header, tuple, counters, inode, addresses: Addresses { words } };
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
        base: slot.tuple.base,
        peer: slot.tuple.isn_peer,
        ports: (slot.tuple.local_port, slot.tuple.peer_port),
    };
    let before = Identity::read(sock);
    let (counters, state, busy) = sequence::live_counters(sock, wanted.base);
    let after = Identity::read(sock);
    slot.tuple.state = state;
    // What is there instead: user space may know too little of the one that it looks for to tell.
    (slot.tuple.local_port, slot.tuple.peer_port) = before.ports;
    let same = before.is(&wanted) & after.is(&wanted);
    let settled = before.is(&after) & !busy;
    slot.status = if same & (state != state::CLOSE) {
        slot.counters = counters;
        sweep::LIVE
    } else if same | settled {
        sweep::GONE
    } else {
        sweep::TORN
    };
}
