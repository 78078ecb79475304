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

/// Derives ids under one key. Agents that share the key agree; without it ids tell nothing.
#[derive(Clone)]
pub struct FlowIds {
    hasher: SipHasher24,
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
    pub fn new(key: &[u8; 16]) -> Self {
        Self { hasher: SipHasher24::new_with_key(key) }
    }

    /// The ids of a connection, live or closed. Without a proven role, or without both sequence
    /// numbers (a failed connect), they depend on this end only and the span has no parent.
    pub fn of(&self, flow: &Flow) -> SpanIds {
        let (first, second) = flow.isn;
        let shaken = first != 0 && second != 0 && flow.state != state::SYN_SENT;
        let mut seed = Seed::new(flow.isn);
        if flow.role == Role::Unknown || !shaken {
            seed.alone(flow);
            return SpanIds {
                trace: self.trace(&mut seed),
                span: self.span(&mut seed, SINGLE),
                parent: None,
            };
        }
        let trace = self.trace(&mut seed);
        let client = self.span(&mut seed, CLIENT);
        if flow.role == Role::Client {
            return SpanIds { trace, span: client, parent: None };
        }
        SpanIds { trace, span: self.span(&mut seed, SERVER), parent: Some(client) }
    }

    fn trace(&self, seed: &mut Seed) -> [u8; 16] {
        let mut id = self.hash(seed, TRACE);
        id[15] |= u8::from(id == [0; 16]);
        id
    }

    fn span(&self, seed: &mut Seed, domain: u8) -> [u8; 8] {
        let hash = self.hash(seed, domain);
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        id[7] |= u8::from(id == [0; 8]);
        id
    }

    fn hash(&self, seed: &mut Seed, domain: u8) -> [u8; 16] {
        seed.bytes[0] = domain;
        self.hasher.hash(&seed.bytes[..seed.len]).as_bytes()
    }
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
