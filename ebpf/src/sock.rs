//! `struct tcp_sock`: identity, role and counters, from the kernel's own numbers.
//!
//! The arithmetic, modulo 2³² (docs/adr/0004-socket-level-flows.md says how it was proven):
//! ```text
//! payload sent  = bytes_sent − bytes_retrans
//! fin           = 1 if state is FIN_WAIT1, FIN_WAIT2, CLOSING or LAST_ACK and snd_nxt == write_seq
//! own ISN       = snd_nxt − 1 − payload sent − fin
//! peer's ISN    = rcv_nxt − 1 − bytes_received
//! role          : snd_una − own ISN − bytes_acked is 0 on the side that connected, 1 on the other
//! payload rcvd  = bytes_received − 1 if SOCK_DONE (the peer's FIN was counted), else bytes_received
//! ```

use tarsier_abi::tcp::{Addresses, Counters, Tuple, flag, role, state};

use crate::{
    access::{Access, Typed, Untyped},
    cgroup, filter,
    kernel::{Ptr, SOCK_CGROUP_IS_POINTER, SOCK_DONE_BIT, field, get, get_at, peek},
};
use tarsier_abi::ABSENT;

const AF_INET6: u16 = 10;
/// The third word of a v4-mapped address, `::ffff:0:0`, as it lies in memory.
const MAPPED_WORD: u32 = 0x0000_ffff_u32.to_be();

/// Sequence numbers of a socket in `state`: own ISN, the peer's, and who connected.
pub struct Sequence {
    /// Own initial sequence number.
    pub local: u32,
    /// The peer's.
    pub peer: u32,
    /// See [`role`].
    pub role: u8,
}

/// Computes [`Sequence`]; valid once established. Written without branches: the sweep does this twice
/// for each of many sockets, and the verifier looks at every way through.
#[inline(always)]
pub fn sequence(sock: impl Access, state: u8) -> Sequence {
    const CLOSING: u32 =
        1 << state::FIN_WAIT1 | 1 << state::FIN_WAIT2 | 1 << state::CLOSING | 1 << state::LAST_ACK;
    let sent: u64 = sock.read(&field::TCP_BYTES_SENT);
    let again: u64 = sock.read(&field::TCP_BYTES_RETRANS);
    let next: u32 = sock.read(&field::TCP_SND_NXT);
    let all_sent = is_zero(next ^ sock.read::<u32>(&field::TCP_WRITE_SEQ));
    let fin = CLOSING >> (state & 31) & all_sent;
    let payload = sent.wrapping_sub(again) as u32;
    let local = next.wrapping_sub(1).wrapping_sub(payload).wrapping_sub(fin);
    let received = sock.read::<u64>(&field::TCP_BYTES_RECEIVED) as u32;
    let peer = sock.read::<u32>(&field::TCP_RCV_NXT).wrapping_sub(1).wrapping_sub(received);
    let acked = sock.read::<u64>(&field::TCP_BYTES_ACKED) as u32;
    let proof = sock.read::<u32>(&field::TCP_SND_UNA).wrapping_sub(local).wrapping_sub(acked);
    let role = is_zero(proof) * u32::from(role::CLIENT) | is_zero(proof ^ 1) * u32::from(role::SERVER);
    Sequence { local, peer, role: role as u8 }
}

/// 1 if `value` is 0, else 0, in a form that the compiler does not turn back into a branch.
#[inline(always)]
fn is_zero(value: u32) -> u32 {
    let mut wide = u64::from(value);
    // SAFETY: a move to itself; it only hides where the value came from.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) wide) };
    (wide.wrapping_sub(1) >> 63) as u32
}

/// What tells a socket from any other at its address: it changes only while the socket is being changed.
pub struct Identity {
    /// `snd_una − bytes_acked`: own ISN on the side that connected, the number after it on the other.
    pub base: u32,
    /// The peer's ISN.
    pub peer: u32,
    /// As [`ports`] gives them.
    pub ports: (u16, u16),
}

impl Identity {
    /// Equality without branches.
    #[inline(always)]
    pub fn is(&self, other: &Self) -> bool {
        let ports = u32::from(self.ports.0 ^ other.ports.0) | u32::from(self.ports.1 ^ other.ports.1);
        is_zero((self.base ^ other.base) | (self.peer ^ other.peer) | ports) != 0
    }
}

/// Reads [`Identity`].
#[inline(always)]
pub fn identity(sock: impl Access) -> Identity {
    let acked = sock.read::<u64>(&field::TCP_BYTES_ACKED) as u32;
    let received = sock.read::<u64>(&field::TCP_BYTES_RECEIVED) as u32;
    Identity {
        base: sock.read::<u32>(&field::TCP_SND_UNA).wrapping_sub(acked),
        peer: sock.read::<u32>(&field::TCP_RCV_NXT).wrapping_sub(1).wrapping_sub(received),
        ports: ports(sock),
    }
}

/// Whether a system call or an interrupt holds the socket. Where the lock has no such word, only the
/// former can be told.
#[inline(always)]
pub fn is_locked(sock: Untyped) -> bool {
    let owned = sock.read::<u32>(&field::SOCK_OWNED);
    let lock = field::SOCK_LOCK.load();
    let held = if lock == ABSENT { 0 } else { peek::<u32>(sock.0, lock) };
    owned | held != 0
}

/// Whether the peer's FIN was received.
#[inline(always)]
pub fn peer_fin(sock: impl Access) -> bool {
    sock.read::<u64>(&field::SOCK_FLAGS) >> (SOCK_DONE_BIT.load() & 63) & 1 != 0
}

/// The counters now.
#[inline(always)]
pub fn counters(sock: impl Access) -> Counters {
    let sent: u64 = sock.read(&field::TCP_BYTES_SENT);
    let again: u64 = sock.read(&field::TCP_BYTES_RETRANS);
    let received: u64 = sock.read(&field::TCP_BYTES_RECEIVED);
    Counters {
        bytes_sent: sent.wrapping_sub(again),
        bytes_received: received.wrapping_sub(u64::from(peer_fin(sock))),
        segments_sent: sock.read(&field::TCP_SEGS_OUT),
        segments_received: sock.read(&field::TCP_SEGS_IN),
        retransmits: sock.read(&field::TCP_TOTAL_RETRANS),
        srtt_us: sock.read::<u32>(&field::TCP_SRTT) >> 3,
        min_rtt_us: sock.read(&field::TCP_RTT_MIN),
        pad: 0,
    }
}

/// Own port and the peer's, host order. `inet_sport`, not `skc_num`: the latter is 0 already when an
/// automatically bound socket closes.
#[inline(always)]
pub fn ports(sock: impl Access) -> (u16, u16) {
    let local = u16::from_be(sock.read(&field::INET_SPORT));
    (local, u16::from_be(sock.read(&field::SOCK_DPORT)))
}

/// Inode number of the socket's network namespace.
#[inline(always)]
pub fn net_ns(sock: Ptr) -> u32 {
    let net: Ptr = get(sock, &field::SOCK_NET);
    get(net, &field::NET_INUM)
}

/// Whether a system call holds the socket now: then the current task is one of its users.
#[inline(always)]
pub fn is_owned(sock: Ptr) -> bool {
    get::<u32>(sock, &field::SOCK_OWNED) != 0
}

/// Inode number of the socket's file; 0 if it has none (not accepted yet, closed already).
#[inline(always)]
pub fn inode_number(sock: Ptr) -> u64 {
    let socket: Ptr = get(sock, &field::SOCK_SOCKET);
    let inode = field::SOCKET_ALLOC_INODE.load();
    if socket.is_null() || inode == ABSENT {
        return 0;
    }
    // `struct socket` is the first member of `struct socket_alloc`, the inode the second (net/sock.h).
    peek(socket, inode + field::INODE_INO.load())
}

/// The socket's cgroup id, and whether it is in scope. A socket without one belongs to the root.
#[inline(always)]
pub fn cgroup(sock: Ptr) -> (u64, bool) {
    if field::SOCK_CGROUP.load() == ABSENT {
        return (0, crate::kernel::SCOPE_CGROUP.load() == 0);
    }
    if SOCK_CGROUP_IS_POINTER.load() != 0 {
        let group = Typed(sock).follow(&field::SOCK_CGROUP);
        return (cgroup::id(group), filter::in_scope(group));
    }
    // Before 5.15 the word is a pointer only if its lowest bit is clear (include/linux/cgroup-defs.h).
    let word: u64 = get(sock, &field::SOCK_CGROUP);
    if word & 1 != 0 || word == 0 {
        return (0, crate::kernel::SCOPE_CGROUP.load() == 0);
    }
    let group = Untyped(word as Ptr);
    (cgroup::id(group), filter::in_scope(group))
}

/// Both addresses in network order and the family really spoken; v4-mapped ones are made IPv4.
#[inline(always)]
pub fn addresses(sock: Ptr) -> (Addresses, u8, bool) {
    let v6 = get::<u16>(sock, &field::SOCK_FAMILY) == AF_INET6;
    let peer_at = field::SOCK_V6_DADDR.load();
    let mapped = v6
        && get_at::<u32>(sock, peer_at) == 0
        && get_at::<u32>(sock, peer_at + 4) == 0
        && get_at::<u32>(sock, peer_at + 8) == MAPPED_WORD;
    if !v6 || mapped {
        let local = get(sock, &field::SOCK_RCV_SADDR);
        let peer = get(sock, &field::SOCK_DADDR);
        return (Addresses { words: [local, peer, 0, 0, 0, 0, 0, 0] }, 4, mapped);
    }
    let local_at = field::SOCK_V6_RCV_SADDR.load();
    let word = |at: u32| get_at::<u32>(sock, at);
    let words = [
        word(local_at),
        word(local_at + 4),
        word(local_at + 8),
        word(local_at + 12),
        word(peer_at),
        word(peer_at + 4),
        word(peer_at + 8),
        word(peer_at + 12),
    ];
    (Addresses { words }, 6, false)
}

/// Identity of a socket (typed `struct tcp_sock`) in `state`; sequence numbers and role are filled in
/// only for states in which the arithmetic holds.
#[inline(always)]
pub fn tuple(sock: Ptr, cgroup: u64, state: u8) -> (Tuple, Addresses) {
    let (addresses, family, mapped) = addresses(sock);
    let (local_port, peer_port) = ports(Typed(sock));
    let mut tuple = Tuple {
        sock: sock as u64,
        cgroup,
        net_ns: net_ns(sock),
        isn_local: 0,
        isn_peer: 0,
        local_port,
        peer_port,
        family,
        role: role::UNKNOWN,
        state,
        flags: if mapped { flag::MAPPED } else { 0 },
        error: get::<u32>(sock, &field::SOCK_ERR) as u16,
        pad: 0,
    };
    match state {
        state::SYN_SENT => {
            // Nothing is acknowledged yet: the first unacknowledged byte is the SYN.
            tuple.isn_local = get(sock, &field::TCP_SND_UNA);
            tuple.role = role::CLIENT;
        }
        state::LISTEN => tuple.local_port = get(sock, &field::SOCK_NUM),
        _ => {
            let sequence = sequence(Typed(sock), state);
            (tuple.isn_local, tuple.isn_peer) = (sequence.local, sequence.peer);
            tuple.role = sequence.role;
        }
    }
    if peer_fin(Typed(sock)) {
        tuple.flags |= flag::PEER_FIN;
    }
    (tuple, addresses)
}
