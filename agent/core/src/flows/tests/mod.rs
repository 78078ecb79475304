//! The table against hand-made lives, and against a naive model.

mod aggregate;
mod claims;
mod lives;
mod model;
mod numbers;
mod orders;

use std::net::{IpAddr, Ipv4Addr};

use tarsier_abi::TaskKey;
use tarsier_abi::tcp::{Counters, Tuple, flag, role, state};

use super::table::{Limits, Table};
use crate::event::Flow;
use crate::event::tcp::{Ends, TcpEvent, What};

/// A millisecond.
pub(super) const MS: u64 = 1_000_000;

/// The two ends of a socket and what its records say of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket {
    pub(super) sock: u64,
    pub(super) local: (IpAddr, u16),
    pub(super) peer: (IpAddr, u16),
    pub(super) role: u8,
    pub(super) isn: (u32, u32),
}

pub(super) fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

pub(super) fn task(tgid: u32) -> TaskKey {
    TaskKey { start_boottime: u64::from(tgid) * 1_000, tgid, exec: 1 }
}

pub(super) fn client() -> Socket {
    Socket {
        sock: 0xffff_8880_0000_1000,
        local: (address(1), 40_000),
        peer: (address(2), 80),
        role: role::CLIENT,
        isn: (111, 222),
    }
}

pub(super) fn server() -> Socket {
    Socket {
        sock: 0xffff_8880_0000_2000,
        local: (address(2), 80),
        peer: (address(1), 40_000),
        role: role::SERVER,
        isn: (222, 111),
    }
}

pub(super) fn counters(sent: u64, received: u64) -> Counters {
    Counters {
        bytes_sent: sent,
        bytes_received: received,
        segments_sent: 4 + sent as u32 / 100,
        segments_received: 4 + received as u32 / 100,
        retransmits: 1,
        srtt_us: 300,
        min_rtt_us: 200,
        extra: 0,
    }
}

impl Socket {
    pub(super) fn tuple(&self, state: u8) -> Tuple {
        Tuple {
            sock: self.sock,
            cgroup: 77,
            net_ns: 5,
            base: self.isn.0.wrapping_add(u32::from(self.role == role::SERVER)),
            isn_peer: self.isn.1,
            local_port: self.local.1,
            peer_port: self.peer.1,
            family: 4,
            role: self.role,
            state,
            ..Tuple::default()
        }
    }

    fn event(&self, tuple: Tuple, what: What) -> TcpEvent {
        let ends = Ends { local: (self.local.0, tuple.local_port), peer: self.peer };
        TcpEvent::Socket { tuple, ends, what }
    }

    /// As the kernel makes it: no local port, no sequence numbers, no role yet.
    pub(super) fn open(&self, owner: TaskKey) -> TcpEvent {
        let bare =
            Tuple { base: 0, isn_peer: 0, role: role::UNKNOWN, local_port: 0, ..self.tuple(state::SYN_SENT) };
        self.event(bare, What::Open { task: owner })
    }

    pub(super) fn established(&self) -> TcpEvent {
        self.event(self.tuple(state::ESTABLISHED), What::Established { srtt_us: 250 })
    }

    /// As the kernel counts: the SYN of the side that connected is extra.
    pub(super) fn counted(&self, counters: Counters) -> Counters {
        Counters { extra: i32::from(self.role == role::CLIENT), ..counters }
    }

    pub(super) fn close(&self, left: u8, error: u16, counters: Counters) -> TcpEvent {
        let tuple = Tuple { error, ..self.tuple(left) };
        self.event(tuple, What::Close { task: None, counters: self.counted(counters) })
    }

    pub(super) fn close_by(&self, owner: TaskKey, left: u8, counters: Counters) -> TcpEvent {
        let tuple = Tuple { flags: flag::OWNED, ..self.tuple(left) };
        self.event(tuple, What::Close { task: Some(owner), counters: self.counted(counters) })
    }

    /// Never established: no sequence number of the peer, and none that is proven.
    pub(super) fn fail(&self, error: u16) -> TcpEvent {
        let tuple = Tuple { error, base: 0, isn_peer: 0, role: role::UNKNOWN, ..self.tuple(state::SYN_SENT) };
        self.event(tuple, What::Close { task: None, counters: Counters::default() })
    }

    pub(super) fn seed(&self, state: u8, counters: Counters) -> TcpEvent {
        self.event(
            self.tuple(state),
            What::Seed { counters: self.counted(counters), inode: 0, task: TaskKey::NONE },
        )
    }

    pub(super) fn owner(&self, owner: TaskKey) -> TcpEvent {
        TcpEvent::Owner { sock: self.sock, task: owner }
    }

    /// The listener that accepts this socket, at `sock`.
    pub(super) fn listener(&self, sock: u64, address: IpAddr, owner: TaskKey) -> TcpEvent {
        let tuple = Tuple {
            sock,
            local_port: self.local.1,
            net_ns: 5,
            state: state::LISTEN,
            family: 4,
            ..Tuple::default()
        };
        let ends = Ends { local: (address, self.local.1), peer: (Ipv4Addr::UNSPECIFIED.into(), 0) };
        TcpEvent::Socket { tuple, ends, what: What::Listen { task: owner } }
    }
}

/// A table and what came out of it.
pub(super) struct Bench {
    pub(super) table: Table,
    pub(super) flows: Vec<Flow>,
}

impl Bench {
    pub(super) fn new(limits: Limits) -> Self {
        Self { table: Table::new(limits), flows: Vec::new() }
    }

    pub(super) fn of(events: &[(u64, TcpEvent)]) -> Self {
        let mut bench = Self::new(Limits::default());
        for (at_ms, event) in events {
            bench.apply(*at_ms, event);
        }
        bench
    }

    pub(super) fn apply(&mut self, at_ms: u64, event: &TcpEvent) {
        self.table.apply(event, at_ms * MS, &mut self.flows);
    }

    /// All records until then are in.
    pub(super) fn advance(&mut self, at_ms: u64) {
        self.table.advance(at_ms * MS, &mut self.flows);
    }

    /// The one flow that came out.
    pub(super) fn only(&self) -> &Flow {
        assert_eq!(self.flows.len(), 1, "{:#?}", self.flows);
        &self.flows[0]
    }
}
