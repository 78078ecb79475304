//! Sensor `tcp`: what a socket says of itself when it is opened, established and closed. No state is
//! kept in the kernel: user space joins the records by socket address, and sweeps live ones with a
//! program run by test run (`tcp_sweep`).
//!
//! The arithmetic (payload bytes, initial sequence numbers, role) is at `ebpf/src/sequence.rs`; what
//! was measured of it is docs/adr/0004-socket-level-flows.md.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Attach, Entry, Header, HookKind, TaskKey};

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`.
pub const ATTACH: &[Attach] =
    &[Attach { entries: &[Entry::new("tcp", HookKind::BtfTracepoint, "inet_sock_set_state")] }];

/// The records of this sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// [`OpenRecord`]: `connect` begins (→ SYN_SENT); `task` is the one that connects. Its sequence
    /// number is not chosen yet.
    Open = 0,
    /// [`EstablishedRecord`]: the handshake is done, either side.
    Established = 1,
    /// [`CloseRecord`]: → CLOSE, with the final counters.
    Close = 2,
    /// [`OwnerRecord`]: → FIN_WAIT1 or LAST_ACK of a socket that did not connect; `task` closes it.
    Owner = 3,
    /// [`OpenRecord`]: → LISTEN; `task` listens.
    Listen = 4,
    /// [`OwnerRecord`]: LISTEN → CLOSE.
    Unlisten = 5,
    /// [`SeedRecord`]: from the tcp iterator; the socket was there before the agent.
    Seed = 6,
}

impl TryFrom<u8> for Op {
    type Error = u8;
    fn try_from(op: u8) -> Result<Self, u8> {
        Ok(match op {
            0 => Self::Open,
            1 => Self::Established,
            2 => Self::Close,
            3 => Self::Owner,
            4 => Self::Listen,
            5 => Self::Unlisten,
            6 => Self::Seed,
            other => return Err(other),
        })
    }
}

/// TCP states (include/net/tcp_states.h); part of the kernel's stable interface.
#[expect(missing_docs, reason = "the names are the kernel's own")]
pub mod state {
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const SYN_RECV: u8 = 3;
    pub const FIN_WAIT1: u8 = 4;
    pub const FIN_WAIT2: u8 = 5;
    pub const TIME_WAIT: u8 = 6;
    pub const CLOSE: u8 = 7;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LAST_ACK: u8 = 9;
    pub const LISTEN: u8 = 10;
    pub const CLOSING: u8 = 11;
    pub const NEW_SYN_RECV: u8 = 12;
}

/// Values of [`Tuple::role`]: who connected, as the sequence arithmetic proves it.
pub mod role {
    /// The kernel's numbers prove neither: never guessed.
    pub const UNKNOWN: u8 = 0;
    /// This socket connected.
    pub const CLIENT: u8 = 1;
    /// This socket was accepted.
    pub const SERVER: u8 = 2;
}

/// Bits of [`Tuple::flags`].
pub mod flag {
    /// `task` of the record is the socket's owner: the socket was locked by its system call.
    pub const OWNED: u8 = 1 << 0;
    /// The peer's FIN was received (`SOCK_DONE`).
    pub const PEER_FIN: u8 = 1 << 1;
    /// An `AF_INET6` socket that speaks IPv4 (v4-mapped addresses, normalised here).
    pub const MAPPED: u8 = 1 << 2;
    /// Both ends connected, their SYNs crossed: neither is the client.
    pub const CROSSED: u8 = 1 << 3;
    /// It had no handshake: put back as it was elsewhere (`TCP_REPAIR`). Its numbers are not initial ones.
    pub const RESTORED: u8 = 1 << 4;
    /// Seed records: the socket's port was chosen by `bind`, so that a peer can have known it and connected to it.
    pub const BOUND: u8 = 1 << 5;
}

/// Who is talking: identity of one socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Tuple {
    /// Kernel address of the socket. It never leaves the process.
    pub sock: u64,
    /// cgroup id of the socket (`sk_cgrp_data`); 0 = not known.
    pub cgroup: u64,
    /// Inode number of its network namespace.
    pub net_ns: u32,
    /// `snd_una − bytes_acked`, which never changes in a connection's life: its own initial sequence number
    /// if it connected, the number after that if it was accepted. 0 in open records.
    pub base: u32,
    /// The peer's initial sequence number; 0 = not known yet.
    pub isn_peer: u32,
    /// Own port, host order.
    pub local_port: u16,
    /// The peer's port, host order.
    pub peer_port: u16,
    /// 4 or 6: the family really spoken.
    pub family: u8,
    /// See [`role`].
    pub role: u8,
    /// The state left (close, owner) or entered (the others): see [`state`].
    pub state: u8,
    /// See [`flag`].
    pub flags: u8,
    /// `sk_err`: errno of a failed or reset connection, 0 = none.
    pub error: u16,
    /// Always 0.
    pub pad: u16,
}

/// Both addresses in network order. IPv4 uses the first word of each and the record ends after
/// [`Addresses::V4_BYTES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Addresses {
    /// IPv4: [local, peer, 0, …]. IPv6: [local × 4, peer × 4].
    pub words: [u32; 8],
}

impl Addresses {
    /// Bytes present when [`Tuple::family`] is 4.
    pub const V4_BYTES: usize = 8;
    /// Bytes present when [`Tuple::family`] is 6.
    pub const V6_BYTES: usize = 32;
}

/// The kernel's own counters, from this socket's view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Counters {
    /// Payload bytes counted as sent (`bytes_sent − bytes_retrans`): each once, and once more for every
    /// time that the device refused it. With `extra` they are exact.
    pub bytes_sent: u64,
    /// Payload bytes received in order (`bytes_received`, less the peer's FIN).
    pub bytes_received: u64,
    /// Segments sent, retransmissions included.
    pub segments_sent: u32,
    /// Segments received.
    pub segments_received: u32,
    /// Segments sent again (`total_retrans`).
    pub retransmits: u32,
    /// Smoothed round-trip time, µs; 0 = not measured.
    pub srtt_us: u32,
    /// Least round-trip time of the kernel's window, µs; `u32::MAX` = not measured.
    pub min_rtt_us: u32,
    /// Sequence numbers sent (a FIN aside) less `bytes_sent`: 1 for the SYN of the side that connected, 0 on
    /// the other, less what was counted more than once.
    pub extra: i32,
}

/// `connect` begins, or `listen`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct OpenRecord {
    /// `op` is [`Op::Open`] or [`Op::Listen`].
    pub header: Header,
    /// `local_port` is 0 before the kernel has chosen one.
    pub tuple: Tuple,
    /// The process that connects or listens.
    pub task: TaskKey,
    /// IPv4 records end after 8 bytes of it.
    pub addresses: Addresses,
}

/// The handshake is done.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EstablishedRecord {
    /// `op` is [`Op::Established`].
    pub header: Header,
    /// Identity.
    pub tuple: Tuple,
    /// The handshake's round-trip time, µs; 0 = not measured.
    pub srtt_us: u32,
    /// Always 0.
    pub pad: u32,
    /// IPv4 records end after 8 bytes of it.
    pub addresses: Addresses,
}

/// The connection is over.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CloseRecord {
    /// `op` is [`Op::Close`].
    pub header: Header,
    /// Identity; `state` is the one left, `error` the reason.
    pub tuple: Tuple,
    /// The process that closed it, if [`flag::OWNED`].
    pub task: TaskKey,
    /// Final.
    pub counters: Counters,
    /// IPv4 records end after 8 bytes of it.
    pub addresses: Addresses,
}

/// Who closes an accepted socket, or stops listening.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct OwnerRecord {
    /// `op` is [`Op::Owner`] or [`Op::Unlisten`].
    pub header: Header,
    /// Kernel address of the socket.
    pub sock: u64,
    /// The process.
    pub task: TaskKey,
}

/// A socket found by the tcp iterator; written to its file, not to a ring. Always whole
/// ([`Addresses::V6_BYTES`]).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SeedRecord {
    /// `op` is [`Op::Seed`].
    pub header: Header,
    /// Identity; `state` is the present one.
    pub tuple: Tuple,
    /// The baseline: bytes before the agent.
    pub counters: Counters,
    /// Inode number of the socket's file, as in `/proc/PID/fd`; 0 = not in any descriptor table.
    pub inode: u64,
    /// Both families whole.
    pub addresses: Addresses,
}

/// Sockets per call of the sweep program.
pub const SWEEP_BATCH: usize = 128;

/// One socket of a sweep: user space writes `sock`, `base`, `isn_peer` and the ports into `tuple`, the
/// program fills in the rest.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SweepSlot {
    /// In: address and expected identity. Out: the state found.
    pub tuple: Tuple,
    /// Out: see [`sweep`].
    pub status: u32,
    /// Always 0.
    pub pad: u32,
    /// Out: counters now, valid for [`sweep::LIVE`].
    pub counters: Counters,
}

/// Values of [`SweepSlot::status`].
pub mod sweep {
    /// Not looked at yet (as user space wrote it).
    pub const PENDING: u32 = 0;
    /// The same socket before and after the counters were read.
    pub const LIVE: u32 = 1;
    /// Another socket, or none, lives at this address; or it is closed. Its close record is on its way,
    /// or was lost.
    pub const GONE: u32 = 2;
    /// It changed while it was read, which proves nothing: skip it until the next sweep.
    pub const TORN: u32 = 3;
}

/// One call's worth of slots: the single value of the map `SWEEP`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SweepBatch {
    /// How many slots are filled.
    pub len: u64,
    /// The sockets.
    pub slots: [SweepSlot; SWEEP_BATCH],
}

const _: () = {
    assert!(size_of::<Tuple>() == 40 && size_of::<Counters>() == 40 && size_of::<Addresses>() == 32);
    assert!(size_of::<OpenRecord>() == 104 && size_of::<EstablishedRecord>() == 96);
    assert!(size_of::<CloseRecord>() == 144 && size_of::<OwnerRecord>() == 40);
    assert!(size_of::<SeedRecord>() == 136 && size_of::<SweepSlot>() == 88);
};
