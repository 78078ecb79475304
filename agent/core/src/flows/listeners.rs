//! Who listens where: gives an accepted socket an owner until a definite one shows up.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustc_hash::FxHashMap;
use tarsier_abi::TaskKey;

/// Listeners kept at most; a node has hundreds.
const MAX_LISTENERS: usize = 65_536;
/// Ends of listeners not (yet) known: their beginning may still be in another ring.
const MAX_EARLY_ENDS: usize = 64;
/// Lists of listeners kept for places to come.
const SPARES: usize = 64;

/// A place to listen: network namespace, port, local address (may be a wildcard).
type Place = (u32, u16, IpAddr);

#[derive(Clone, Copy, Debug)]
struct Listener {
    sock: u64,
    owner: TaskKey,
    /// Since when, boot ns; 0 = before the agent.
    since_ns: u64,
}

/// Listening sockets by place and by address.
pub(super) struct Listeners {
    places: FxHashMap<Place, Vec<Listener>>,
    by_sock: FxHashMap<u64, Place>,
    early_ends: VecDeque<(u64, u64)>,
    /// Empty lists: programs that come and go listen at other places each time.
    spares: Vec<Vec<Listener>>,
}

impl Listeners {
    pub(super) fn new() -> Self {
        Self {
            places: FxHashMap::default(),
            by_sock: FxHashMap::default(),
            early_ends: VecDeque::new(),
            spares: Vec::new(),
        }
    }

    /// A socket listens. `owner` is [`TaskKey::NONE`] and `since_ns` 0 for one found at start.
    /// False: the table is full, the listener is not kept.
    pub(super) fn listen(&mut self, sock: u64, place: Place, owner: TaskKey, since_ns: u64) -> bool {
        if self.early_ends.iter().any(|&(ended, at_ns)| ended == sock && at_ns >= since_ns) {
            return true;
        }
        if owner.is_none() && self.by_sock.contains_key(&sock) {
            return true;
        }
        self.remove(sock);
        if self.by_sock.len() >= MAX_LISTENERS {
            return false;
        }
        self.by_sock.insert(sock, place);
        let there = self.places.entry(place).or_insert_with(|| self.spares.pop().unwrap_or_default());
        there.push(Listener { sock, owner, since_ns });
        true
    }

    /// A listener is gone.
    pub(super) fn unlisten(&mut self, sock: u64, at_ns: u64) {
        if self.by_sock.contains_key(&sock) {
            self.forget(sock, at_ns);
            return;
        }
        if self.early_ends.len() >= MAX_EARLY_ENDS {
            self.early_ends.pop_front();
        }
        self.early_ends.push_back((sock, at_ns));
    }

    /// The address is in other use at `at_ns`: a listener that was there before is gone.
    pub(super) fn forget(&mut self, sock: u64, at_ns: u64) {
        let Some(place) = self.by_sock.get(&sock) else { return };
        let began_ns = self
            .places
            .get(place)
            .and_then(|there| there.iter().find(|listener| listener.sock == sock))
            .map_or(0, |listener| listener.since_ns);
        if began_ns <= at_ns {
            self.remove(sock);
        }
    }

    /// The owner of the listener that accepted a connection at `at_ns`, [`TaskKey::NONE`] if none
    /// is known or several processes share the place (`SO_REUSEPORT`). An exact address goes
    /// before a wildcard, as in the kernel; `mapped` tells an `AF_INET6` socket that speaks IPv4.
    pub(super) fn owner(&self, net_ns: u32, local: (IpAddr, u16), mapped: bool, at_ns: u64) -> TaskKey {
        let mut those = self.at(net_ns, local, mapped, at_ns);
        let Some(first) = those.next() else { return TaskKey::NONE };
        let newest = those.try_fold(first.owner, |owner, next| {
            (next.owner.tgid == owner.tgid).then_some(owner.max(next.owner))
        });
        newest.unwrap_or(TaskKey::NONE)
    }

    /// Whether anybody listens where a connection at `at_ns` has its own end.
    pub(super) fn is_any(&self, net_ns: u32, local: (IpAddr, u16), mapped: bool, at_ns: u64) -> bool {
        self.at(net_ns, local, mapped, at_ns).next().is_some()
    }

    /// The listeners of the first place that has any.
    fn at(
        &self,
        net_ns: u32,
        local: (IpAddr, u16),
        mapped: bool,
        at_ns: u64,
    ) -> impl Iterator<Item = &Listener> {
        let any4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let any6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let candidates = match (local.0, mapped) {
            (IpAddr::V4(_), true) => [local.0, any6, any4],
            (IpAddr::V4(_), false) => [local.0, any4, any4],
            (IpAddr::V6(_), _) => [local.0, any6, any6],
        };
        let began = move |listener: &&Listener| listener.since_ns <= at_ns;
        let those = candidates.into_iter().filter_map(move |address| {
            let there = self.places.get(&(net_ns, local.1, address))?;
            there.iter().any(|listener| began(&listener)).then_some(there)
        });
        those.take(1).flatten().filter(began)
    }

    /// Listeners known.
    pub(super) fn len(&self) -> usize {
        self.by_sock.len()
    }

    fn remove(&mut self, sock: u64) {
        let Some(place) = self.by_sock.remove(&sock) else { return };
        if let Some(there) = self.places.get_mut(&place) {
            there.retain(|listener| listener.sock != sock);
            if there.is_empty()
                && let Some(there) = self.places.remove(&place)
                && self.spares.len() < SPARES
            {
                self.spares.push(there);
            }
        }
    }
}
