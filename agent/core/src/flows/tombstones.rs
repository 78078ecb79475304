//! Connections that were reported as over before all their records were in: a record that comes
//! after all must not make a second connection of it.

use std::collections::VecDeque;
use std::net::IpAddr;

use rustc_hash::FxHashMap;
use tarsier_abi::tcp::Tuple;

use super::connection::{Connection, numbers};

/// What is remembered of a reported connection.
#[derive(Clone, Copy, Debug)]
struct Tombstone {
    end_ns: u64,
    peer: (IpAddr, u16),
    /// Its sequence numbers, if they were told.
    numbers: Option<(u32, u32)>,
}

/// The latest reported connection of each socket address; the oldest memories go first.
pub(super) struct Tombstones {
    by_sock: FxHashMap<u64, Tombstone>,
    order: VecDeque<(u64, u64)>,
    capacity: usize,
}

impl Tombstones {
    pub(super) fn new(capacity: usize) -> Self {
        Self { by_sock: FxHashMap::default(), order: VecDeque::new(), capacity }
    }

    /// Remembers a connection reported as ended at `end_ns`.
    pub(super) fn bury(&mut self, connection: &Connection, end_ns: u64) {
        let (Some(ends), true) = (connection.ends, self.capacity > 0) else { return };
        let sock = connection.tuple.sock;
        if self.by_sock.get(&sock).is_some_and(|known| known.end_ns > end_ns) {
            return;
        }
        while self.order.len() >= self.capacity {
            let Some((old, old_end_ns)) = self.order.pop_front() else { break };
            if self.by_sock.get(&old).is_some_and(|known| known.end_ns == old_end_ns) {
                self.by_sock.remove(&old);
            }
        }
        self.by_sock.insert(sock, Tombstone { end_ns, peer: ends.peer, numbers: connection.numbers });
        self.order.push_back((sock, end_ns));
    }

    /// Whether a record of `at_ns` comes from before the end of a reported connection.
    pub(super) fn outdates(&self, sock: u64, at_ns: u64) -> bool {
        self.by_sock.get(&sock).is_some_and(|known| at_ns <= known.end_ns)
    }

    /// Whether an established or close record tells of a reported connection, however late: an
    /// evicted one lives on in the kernel.
    pub(super) fn covers(&self, tuple: &Tuple, peer: (IpAddr, u16), at_ns: u64) -> bool {
        self.by_sock.get(&tuple.sock).is_some_and(|known| {
            let same_numbers = known.numbers.zip(numbers(tuple)).is_none_or(|(known, told)| known == told);
            at_ns <= known.end_ns || (known.peer == peer && same_numbers)
        })
    }
}
