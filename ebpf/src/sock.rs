//! `struct sock`: addresses, namespace, cgroup, owner; and the identity that a record carries.

use tarsier_abi::{
    ABSENT,
    tcp::{Tuple, flag, role, state},
};

use crate::{
    access::{Access, Typed, Untyped},
    cgroup, emit, filter,
    kernel::{Ptr, SOCK_BOUND_BIT, SOCK_CGROUP_IS_POINTER, field, get, get_at, maybe, peek},
    maps,
    sequence::{self, Identity, Sent},
};

pub const AF_INET6: u16 = 10;
/// The third word of a v4-mapped address, `::ffff:0:0`, as it lies in memory.
const MAPPED_WORD: u32 = 0x0000_ffff_u32.to_be();

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

/// When the socket's last segment came or went, ns since boot: `tcp_mstamp_refresh` took the time then, and what the
/// kernel has read need not be read again. It is the time of now only while a segment is being processed.
#[inline(always)]
pub fn segment_time(sock: Ptr) -> u64 {
    match (maybe::<u64>(sock, &field::TCP_CLOCK_CACHE), maps::ASLEEP.get(0)) {
        (Some(monotonic_ns), Some(asleep_ns)) => monotonic_ns.wrapping_add(*asleep_ns),
        _ => emit::now(),
    }
}

/// Whether a segment that is being processed ends the socket's life, which leaves `old`.
///
/// All in `tcp_rcv_state_process` (net/ipv4/tcp_input.c), which refreshes the time at its beginning: in LAST_ACK and CLOSING
/// only the ACK of its FIN makes `snd_una` equal `write_seq`, and the socket does not stay so. What ends FIN_WAIT2 while
/// no system call holds the socket is a segment, or a timer, and that refreshes the time too (`tcp_keepalive_timer`). Not
/// so in the other states: children that nobody accepted end with their listener, without a lock of their own.
#[inline(always)]
pub fn is_closed_by_segment(sock: Ptr, old: u8) -> bool {
    match old {
        state::LAST_ACK | state::CLOSING => {
            get::<u32>(sock, &field::TCP_SND_UNA) == get::<u32>(sock, &field::TCP_WRITE_SEQ)
        }
        state::FIN_WAIT2 => !is_owned(sock),
        _ => false,
    }
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

/// Which addresses a socket speaks with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv4 on a socket of `AF_INET6`.
    Mapped,
    /// IPv6.
    V6,
}

/// The family really spoken.
#[inline(always)]
pub fn family(sock: Ptr) -> Family {
    if get::<u16>(sock, &field::SOCK_FAMILY) != AF_INET6 {
        return Family::V4;
    }
    let peer_at = field::SOCK_V6_DADDR.load();
    let mapped = get_at::<u32>(sock, peer_at) == 0
        && get_at::<u32>(sock, peer_at + 4) == 0
        && get_at::<u32>(sock, peer_at + 8) == MAPPED_WORD;
    if mapped { Family::Mapped } else { Family::V6 }
}

/// Both IPv4 addresses, own first, in network order.
#[inline(always)]
pub fn addresses_v4(sock: Ptr) -> [u32; 2] {
    [get(sock, &field::SOCK_RCV_SADDR), get(sock, &field::SOCK_DADDR)]
}

/// Both IPv6 addresses, own first, in network order.
#[inline(always)]
pub fn addresses_v6(sock: Ptr) -> [u32; 8] {
    let (own, peer) = (field::SOCK_V6_RCV_SADDR.load(), field::SOCK_V6_DADDR.load());
    let word = |at: u32| get_at::<u32>(sock, at);
    [
        word(own),
        word(own + 4),
        word(own + 8),
        word(own + 12),
        word(peer),
        word(peer + 4),
        word(peer + 8),
        word(peer + 12),
    ]
}

/// What the numbers of a socket (typed `struct tcp_sock`) prove in `state`.
pub struct Proof {
    /// Where its sequence numbers start.
    pub identity: Identity,
    /// What it sent.
    pub sent: Sent,
    /// See [`role`].
    pub role: u8,
    /// See [`flag`].
    pub flags: u8,
}

/// A socket that is leaving `state`, or is in it. Of one that never got an answer only the SYN is known.
#[inline(always)]
pub fn proof(sock: Ptr, state: u8) -> Proof {
    let mut identity = Identity::read(Typed(sock));
    let sent = Sent::read(Typed(sock), identity.base, || state);
    let mut flags = if sequence::peer_fin(Typed(sock)) { flag::PEER_FIN } else { 0 };
    let role = match (state, sent.extra) {
        (state::SYN_SENT, _) => {
            identity.peer = 0;
            role::CLIENT
        }
        // It has sent a SYN and got one that is no answer.
        (state::SYN_RECV, 1) => {
            flags |= flag::CROSSED;
            role::UNKNOWN
        }
        _ => sent.role(Typed(sock)),
    };
    Proof { identity, sent, role, flags }
}

/// [`flag::BOUND`] if the port was chosen by `bind` (`SOCK_BINDPORT_LOCK`), or if this kernel does not tell.
#[inline(always)]
pub fn bound(sock: Ptr) -> u8 {
    let bit = SOCK_BOUND_BIT.load();
    if bit == ABSENT || get_at::<u8>(sock, bit / 8) >> (bit % 8) & 1 != 0 { flag::BOUND } else { 0 }
}

/// A socket that is becoming established and was in state `old`: how it came there tells its role.
#[inline(always)]
pub fn handshake(sock: Ptr, old: u8) -> Proof {
    let identity = Identity::read(Typed(sock));
    let sent = Sent::read(Typed(sock), identity.base, || state::ESTABLISHED);
    let (role, flags) = if old == state::SYN_SENT {
        // The answer to the SYN has been counted, unless there was none: `TCP_REPAIR`.
        let answered = get::<u32>(sock, &field::TCP_SEGS_IN) != 0;
        if answered { (role::CLIENT, 0) } else { (role::UNKNOWN, flag::RESTORED) }
    } else {
        // A byte counted twice would look as a missing SYN, so with fast open the backlog is asked too.
        let listener = sequence::was_listener(Typed(sock));
        match sent.extra {
            0 if sent.counted == 0 || listener => (role::SERVER, 0),
            1 if sent.counted == 0 || !listener => (role::UNKNOWN, flag::CROSSED),
            _ => (role::UNKNOWN, 0),
        }
    };
    Proof { identity, sent, role, flags }
}

/// Identity as a record carries it.
#[inline(always)]
pub fn tuple(sock: Ptr, cgroup: u64, family: Family, state: u8, proof: &Proof) -> Tuple {
    let (local_port, peer_port) = proof.identity.ports;
    Tuple {
        sock: sock as u64,
        cgroup,
        net_ns: net_ns(sock),
        base: proof.identity.base,
        isn_peer: proof.identity.peer,
        local_port,
        peer_port,
        family: if family == Family::V6 { 6 } else { 4 },
        role: proof.role,
        state,
        flags: proof.flags | if family == Family::Mapped { flag::MAPPED } else { 0 },
        error: get::<u32>(sock, &field::SOCK_ERR) as u16,
        pad: 0,
    }
}

/// Identity of a socket that has no connection yet: it listens, or is about to connect. Its own port is
/// the one it is bound to, if it is: `inet_sport` still has that of an earlier connection.
#[inline(always)]
pub fn bare_tuple(sock: Ptr, cgroup: u64, family: Family, state: u8) -> Tuple {
    Tuple {
        sock: sock as u64,
        cgroup,
        net_ns: net_ns(sock),
        base: 0,
        isn_peer: 0,
        local_port: get(sock, &field::SOCK_NUM),
        peer_port: u16::from_be(get(sock, &field::SOCK_DPORT)),
        family: if family == Family::V6 { 6 } else { 4 },
        role: role::UNKNOWN,
        state,
        flags: flag::OWNED | if family == Family::Mapped { flag::MAPPED } else { 0 },
        error: 0,
        pad: 0,
    }
}
