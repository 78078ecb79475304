//! Trace and span ids of connections: derived, so that two agents that never talk to each other draw
//! one trace.
//!
//! Both ends of a TCP connection know both initial sequence numbers, and no address translation
//! changes them. A keyed hash of the pair is the trace id on both nodes; the CLIENT's span id and the
//! SERVER's come from the same pair, so the SERVER span can name its parent without having seen it.
//! Ports and addresses stay out of it: NAT changes them.

use std::fmt;
use std::net::IpAddr;

use siphasher::sip128::SipHasher24;
use tarsier_abi::tcp::state;

use crate::event::{Flow, Role};

use super::pair_hash::PairHash;

/// Key of the ids: 16 random bytes that the agents of a cluster share. It is not printed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct FlowKey(pub [u8; 16]);

impl FlowKey {
    /// The key that a secret of any length stands for; the empty one stands for the built-in key,
    /// with which ids are derived alike but are no secret.
    pub fn from_secret(secret: &str) -> Self {
        Self(SipHasher24::new().hash(secret.as_bytes()).as_bytes())
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FlowKey")
    }
}

/// Derives ids under one key. Agents that share the key agree; without it ids tell nothing.
#[derive(Clone)]
pub struct FlowIds {
    hasher: SipHasher24,
    /// The same hash, for connections that can be paired: nearly all.
    pairs: PairHash,
}

/// The ids of one connection's span. None is ever all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanIds {
    /// Of the connection.
    pub trace: [u8; 16],
    /// Of this end's span.
    pub span: [u8; 8],
    /// The other end's span, if this is the SERVER's.
    pub parent: Option<[u8; 8]>,
}

impl FlowIds {
    /// Ids under `key`.
    pub fn new(key: &FlowKey) -> Self {
        Self { hasher: SipHasher24::new_with_key(&key.0), pairs: PairHash::new(&key.0) }
    }

    /// The ids of a connection, live or closed. Without a proven role, or without both sequence
    /// numbers (a failed connect), they depend on this end only and the span has no parent.
    pub fn of(&self, flow: &Flow) -> SpanIds {
        if flow.state != state::SYN_SENT
            && let Some(ids) = self.of_pair(flow.isn, flow.role)
        {
            return ids;
        }
        let mut seed = Seed::new(flow.isn);
        seed.alone(flow);
        let trace = trace(self.hash(&mut seed, TRACE));
        let mut half = [0; 8];
        half.copy_from_slice(&self.hash(&mut seed, SINGLE)[..8]);
        SpanIds { trace, span: span(half), parent: None }
    }

    /// The ids of an established connection by its sequence numbers (client's, server's); `None`
    /// without a proven role or without both numbers.
    pub fn of_pair(&self, isn: (u32, u32), role: Role) -> Option<SpanIds> {
        if isn.0 == 0 || isn.1 == 0 || role == Role::Unknown {
            return None;
        }
        let trace = trace(self.pairs.whole(TRACE, isn));
        let client = span(self.pairs.half(CLIENT, isn));
        if role == Role::Client {
            return Some(SpanIds { trace, span: client, parent: None });
        }
        Some(SpanIds { trace, span: span(self.pairs.half(SERVER, isn)), parent: Some(client) })
    }

    fn hash(&self, seed: &mut Seed, domain: u8) -> [u8; 16] {
        seed.bytes[0] = domain;
        self.hasher.hash(&seed.bytes[..seed.len]).as_bytes()
    }
}

/// All zero is no id.
fn trace(mut id: [u8; 16]) -> [u8; 16] {
    id[15] |= u8::from(id == [0; 16]);
    id
}

fn span(mut id: [u8; 8]) -> [u8; 8] {
    id[7] |= u8::from(id == [0; 8]);
    id
}

impl fmt::Debug for FlowIds {
    /// Leaves out the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FlowIds").finish_non_exhaustive()
    }
}

/// First byte of what is hashed: ids of different use differ.
const TRACE: u8 = 1;
const CLIENT: u8 = 2;
const SERVER: u8 = 3;
const SINGLE: u8 = 4;

/// What is hashed: the use, both sequence numbers, and for a connection that cannot be paired
/// everything that tells it from others.
struct Seed {
    bytes: [u8; 64],
    len: usize,
}

impl Seed {
    fn new((first, second): (u32, u32)) -> Self {
        let mut seed = Self { bytes: [0; 64], len: 1 };
        seed.add(&first.to_le_bytes());
        seed.add(&second.to_le_bytes());
        seed
    }

    fn alone(&mut self, flow: &Flow) {
        for (address, port) in [flow.local, flow.peer] {
            match address {
                IpAddr::V4(address) => self.add(&address.octets()),
                IpAddr::V6(address) => self.add(&address.octets()),
            }
            self.add(&port.to_le_bytes());
        }
        self.add(&flow.net_ns.to_le_bytes());
        self.add(&flow.start_ns.to_le_bytes());
    }

    fn add(&mut self, bytes: &[u8]) {
        // 1 + 8 + 2 × (16 + 2) + 4 + 8 = 57 bytes at most.
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}
