//! What the sequence numbers and counters of `struct tcp_sock` say together: identity, role, payload.
//!
//! The arithmetic, modulo 2³² (docs/adr/0004-socket-level-flows.md says why, and how it was proven):
//! ```text
//! base         = snd_una − bytes_acked       own ISN on the side that connected, the next on the other
//! peer's ISN   = rcv_nxt − 1 − bytes_received
//! counted      = bytes_sent − bytes_retrans
//! fin          = 1 if state is FIN_WAIT1, FIN_WAIT2, CLOSING or LAST_ACK and snd_nxt == write_seq
//! extra        = snd_nxt − fin − base − counted
//! role         : extra is 1 on the side that connected (its SYN), 0 on the other
//! payload sent = counted + extra − (1 on the side that connected)
//! payload rcvd = bytes_received − 1 if SOCK_DONE (the peer's FIN was counted), else bytes_received
//! ```
//! `counted` alone is not the payload: a segment that the device or its queue refuses is counted at every
//! try. Then `extra` is short of the same number, and the payload right again; user space adds it up,
//! because the role is known best from the handshake.

use tarsier_abi::{
    ABSENT,
    tcp::{Counters, role, state},
};

use crate::{
    access::{Access, Typed, Untyped},
    kernel::{SOCK_DONE_BIT, field},
};

/// What tells a socket from any other at its address: it changes only while the socket is being changed.
#[derive(Clone, Copy)]
pub struct Identity {
    /// `snd_una − bytes_acked`.
    pub base: u32,
    /// The peer's ISN.
    pub peer: u32,
    /// Own port and the peer's.
    pub ports: (u16, u16),
}

impl Identity {
    /// Reads it.
    #[inline(always)]
    pub fn read(sock: impl Access) -> Self {
        let acked = sock.read::<u64>(&field::TCP_BYTES_ACKED) as u32;
        let received = sock.read::<u64>(&field::TCP_BYTES_RECEIVED) as u32;
        Self {
            base: sock.read::<u32>(&field::TCP_SND_UNA).wrapping_sub(acked),
            peer: sock.read::<u32>(&field::TCP_RCV_NXT).wrapping_sub(1).wrapping_sub(received),
            ports: ports(sock),
        }
    }

    /// Equality without branches: the sweep tests this for many sockets, and the verifier looks at every
    /// way through.
    #[inline(always)]
    pub fn is(&self, other: &Self) -> bool {
        let ports = u32::from(self.ports.0 ^ other.ports.0) | u32::from(self.ports.1 ^ other.ports.1);
        is_zero((self.base ^ other.base) | (self.peer ^ other.peer) | ports) != 0
    }
}

/// Own port and the peer's, host order. `inet_sport`, not `skc_num`: the latter is 0 already when an
/// automatically bound socket closes.
#[inline(always)]
pub fn ports(sock: impl Access) -> (u16, u16) {
    (u16::from_be(sock.read(&field::INET_SPORT)), peer_port(sock))
}

/// The peer's port, host order; 0: there is no peer, or none that has a port.
#[inline(always)]
pub fn peer_port(sock: impl Access) -> u16 {
    u16::from_be(sock.read(&field::SOCK_DPORT))
}

/// What was sent, as the counters and as the sequence numbers have it.
#[derive(Clone, Copy)]
pub struct Sent {
    /// See the module's text.
    pub counted: u64,
    /// See the module's text.
    pub extra: i32,
}

impl Sent {
    /// Reads it, from a socket that is in `state` when that is asked for: last of all, so that of a socket
    /// read without its lock the FIN is never taken for payload.
    #[inline(always)]
    pub fn read(sock: impl Access, base: u32, state: impl FnOnce() -> u8) -> Self {
        const CLOSING: u32 =
            1 << state::FIN_WAIT1 | 1 << state::FIN_WAIT2 | 1 << state::CLOSING | 1 << state::LAST_ACK;
        let sent: u64 = sock.read(&field::TCP_BYTES_SENT);
        let counted = sent.wrapping_sub(sock.read(&field::TCP_BYTES_RETRANS));
        let next: u32 = sock.read(&field::TCP_SND_NXT);
        let all_sent = is_zero(next ^ sock.read::<u32>(&field::TCP_WRITE_SEQ));
        let fin = CLOSING >> (state() & 31) & all_sent;
        let extra = next.wrapping_sub(fin).wrapping_sub(base).wrapping_sub(counted as u32);
        Self { counted, extra: extra as i32 }
    }

    /// Who connected, as these numbers prove it. A byte counted twice looks as a missing SYN, so there is
    /// a second witness: an accepted socket is a copy of its listener, and still has its backlog.
    #[inline(always)]
    pub fn role(self, sock: impl Access) -> u8 {
        match (self.extra, was_listener(sock)) {
            (1, false) => role::CLIENT,
            (0, true) => role::SERVER,
            _ => role::UNKNOWN,
        }
    }
}

/// Whether the socket is a copy of a listener with a backlog (`sk_clone_lock` copies it), or was one.
#[inline(always)]
pub fn was_listener(sock: impl Access) -> bool {
    sock.read::<u32>(&field::SOCK_MAX_BACKLOG) != 0
}

/// Whether the peer's FIN was received.
#[inline(always)]
pub fn peer_fin(sock: impl Access) -> bool {
    sock.read::<u64>(&field::SOCK_FLAGS) >> (SOCK_DONE_BIT.load() & 63) & 1 != 0
}

/// The counters of a socket that nobody else changes; `peer_fin`: its FIN was received.
#[inline(always)]
pub fn counters(sock: Typed, sent: Sent, peer_fin: bool) -> Counters {
    let received: u64 = sock.read(&field::TCP_BYTES_RECEIVED);
    with(sock, sent, received.wrapping_sub(u64::from(peer_fin)))
}

/// The counters of a socket that may be changing, the state found, and whether its lock was taken
/// meanwhile. They are never ahead of the truth: a FIN is counted first and marked later, so that one byte
/// is left out as long as somebody may be in between.
#[inline(always)]
pub fn live_counters(sock: Untyped, base: u32) -> (Counters, u8, bool) {
    let mut state = 0;
    let sent = Sent::read(sock, base, || {
        state = sock.read(&field::SOCK_STATE);
        state
    });
    let received: u64 = sock.read(&field::TCP_BYTES_RECEIVED);
    let locked = is_locked(sock);
    let fin = peer_fin(sock) | locked;
    let some = u64::from(is_zero(received as u32 | (received >> 32) as u32) ^ 1);
    (with(sock, sent, received.wrapping_sub(u64::from(fin) & some)), state, locked)
}

#[inline(always)]
fn with(sock: impl Access, sent: Sent, bytes_received: u64) -> Counters {
    Counters {
        bytes_sent: sent.counted,
        bytes_received,
        segments_sent: sock.read(&field::TCP_SEGS_OUT),
        segments_received: sock.read(&field::TCP_SEGS_IN),
        retransmits: sock.read(&field::TCP_TOTAL_RETRANS),
        srtt_us: sock.read::<u32>(&field::TCP_SRTT) >> 3,
        min_rtt_us: sock.read(&field::TCP_RTT_MIN),
        extra: sent.extra,
    }
}

/// Whether a system call or an interrupt holds the socket. Where the lock has no such word, only the
/// former can be told.
#[inline(always)]
fn is_locked(sock: Untyped) -> bool {
    let owned = sock.read::<u32>(&field::SOCK_OWNED);
    let lock = field::SOCK_LOCK.load();
    let held = if lock == ABSENT { 0 } else { sock.read_at::<u32>(lock) };
    is_zero(owned | held) == 0
}

/// 1 if `value` is 0, else 0, in a form that the compiler does not turn back into a branch.
#[inline(always)]
fn is_zero(value: u32) -> u32 {
    let mut wide = u64::from(value);
    // SAFETY: a move to itself; it only hides where the value came from.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) wide) };
    (wide.wrapping_sub(1) >> 63) as u32
}
