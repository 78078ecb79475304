//! Traces: one span per closed connection, under the local workload's resource.
//!
//! Counters are the local socket's own view: of a loopback connection both ends report, each what it
//! sent and received. Forward is always source → destination, that is from who connected to who
//! accepted; with the role unknown, the local end stands as the source.

use std::net::IpAddr;

use tarsier_abi::tcp::state;

use crate::event::{CloseReason, Flow, FlowKind, Process, Report, Role, What};

use super::batch::{Batch, Encoded};
use super::ids::FlowIds;
use super::prefix::{constant, double, formatted, int, text, when};
use super::process::Identities;
use super::record::Record;
use super::resource::Identity;
use super::{Clock, wire};

/// Field number of a `Span`'s attributes.
const ATTRIBUTES: u8 = 9;
/// `SPAN_KIND_INTERNAL`, `SERVER`, `CLIENT`.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;
/// Tag of `Span.flags`: field 16 as `fixed32`, a varint of two bytes.
const FLAGS_TAG: [u8; 2] = [0x80 | wire::FIXED32, 16 >> 4];
/// `Span.flags`: sampled, and "it is known whether the parent is remote".
const FLAGS: u32 = 0x101;
/// `Span.flags`: the parent is remote.
const REMOTE_PARENT: u32 = 0x200;

/// The event between start and end.
const ESTABLISHED: &[u8; 11] = b"established";

/// Builds `ExportTraceServiceRequest`s.
#[derive(Debug)]
pub struct TracesEncoder {
    batch: Batch,
    ids: FlowIds,
    words: Words,
    identities: Identities<ATTRIBUTES>,
}

impl TracesEncoder {
    /// Requests of at most `max_bytes` (a single larger span goes alone).
    pub fn new(identity: &Identity, max_bytes: usize) -> Self {
        Self {
            batch: Batch::new(identity, max_bytes),
            ids: FlowIds::new(&identity.flow_key),
            words: Words { by_code: vec![Vec::new(); Words::CODES] },
            identities: Identities::new(),
        }
    }

    /// Adds the span of a closed connection; every other report is ignored. If the request is full,
    /// it comes back without this span, which begins the next one.
    pub fn push(&mut self, report: &Report<'_>, clock: Clock) -> Option<Encoded> {
        let What::Flow { flow, process } = report.what else { return None };
        if flow.kind != FlowKind::Closed {
            return None;
        }
        let Self { batch, ids, words, identities } = self;
        batch.push(report.workload, |record| {
            head(record, flow, ids, clock);
            ends(record, flow);
            counters(record, flow);
            words.append_to(record, flow);
            when!(record, "tarsier.flow.start_observed", flow.start_observed);
            if flow.net_ns != 0 {
                int!(record, "tarsier.flow.net_ns", flow.net_ns.into());
            }
            owner(record, flow, process, identities);
            if flow.established_ns != 0 {
                record.put([11 << 3 | wire::LENGTH, 9 + 2 + ESTABLISHED.len() as u8]);
                record.fixed64(1, clock.unix_ns(flow.established_ns));
                record.bytes(2, ESTABLISHED);
            }
            error(record, flow);
        })
    }

    /// The request so far, if it has any span.
    pub fn finish(&mut self) -> Option<Encoded> {
        self.batch.finish()
    }

    /// Bytes of the request so far, rounded up by a few per workload.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Spans in the request so far.
    pub fn items(&self) -> u32 {
        self.batch.items()
    }

    /// Whether the request has no span yet.
    pub fn is_empty(&self) -> bool {
        self.items() == 0
    }
}

/// Ids, name, kind and times.
fn head(record: &mut Record<'_, ATTRIBUTES>, flow: &Flow, ids: &FlowIds, clock: Clock) {
    let ids = ids.of(flow);
    record.bytes(1, &ids.trace);
    record.bytes(2, &ids.span);
    let mut flags = FLAGS;
    if let Some(parent) = &ids.parent {
        record.bytes(4, parent);
        flags |= REMOTE_PARENT;
    }
    record.put(FLAGS_TAG);
    record.put(flags.to_le_bytes());
    // The client's port is a number out of a hat and would make every name different.
    let (kind, port) = match flow.role {
        Role::Client => (CLIENT, flow.peer.1),
        Role::Server => (SERVER, flow.local.1),
        Role::Unknown => (INTERNAL, 0),
    };
    record.format(5, |text| {
        text.put(*b"TCP ", if kind == INTERNAL { 3 } else { 4 });
        if kind != INTERNAL {
            text.decimal(port.into());
        }
    });
    record.put([6 << 3 | wire::VARINT, kind]);
    record.fixed64(7, clock.unix_ns(flow.start_ns));
    record.fixed64(8, clock.unix_ns(flow.end_ns.max(flow.start_ns)));
}

fn ends(record: &mut Record<'_, ATTRIBUTES>, flow: &Flow) {
    let (source, destination) = match flow.role {
        Role::Server => (flow.peer, flow.local),
        Role::Client | Role::Unknown => (flow.local, flow.peer),
    };
    formatted!(record, "source.address", |text| text.address(source.0));
    int!(record, "source.port", source.1.into());
    formatted!(record, "destination.address", |text| text.address(destination.0));
    int!(record, "destination.port", destination.1.into());
}

fn counters(record: &mut Record<'_, ATTRIBUTES>, flow: &Flow) {
    let counters = &flow.counters;
    let sent = (counters.bytes_sent, counters.segments_sent);
    let received = (counters.bytes_received, counters.segments_received);
    let (forward, reverse) = if flow.role == Role::Server { (received, sent) } else { (sent, received) };
    int!(record, "flow.bytes.total", forward.0);
    int!(record, "flow.packets.total", forward.1.into());
    int!(record, "flow.reverse.bytes.total", reverse.0);
    int!(record, "flow.reverse.packets.total", reverse.1.into());
    if counters.retransmits != 0 {
        int!(record, "tarsier.flow.retransmits", counters.retransmits.into());
    }
    let measured = |micros: u32| micros != 0 && micros != u32::MAX;
    let seconds = |micros: u32| f64::from(micros) / 1e6;
    if measured(counters.srtt_us) {
        double!(record, "tarsier.tcp.rtt.smoothed", seconds(counters.srtt_us));
    }
    if measured(counters.min_rtt_us) {
        double!(record, "tarsier.tcp.rtt.min", seconds(counters.min_rtt_us));
    }
    if measured(flow.handshake_rtt_us) {
        double!(record, "tarsier.tcp.handshake.duration", seconds(flow.handshake_rtt_us));
    }
}

/// What of a span is one of a few words: all attributes of that kind together, encoded at their first use.
#[derive(Debug)]
struct Words {
    by_code: Vec<Vec<u8>>,
}

impl Words {
    /// A bit for the family, one for the role, three for the reason and four for the state.
    const CODES: usize = 1 << 9;

    fn append_to(&mut self, record: &mut Record<'_, ATTRIBUTES>, flow: &Flow) {
        let unknown = flow.role == Role::Unknown;
        let small =
            usize::from(flow.local.0.is_ipv6()) | usize::from(unknown) << 1 | (flow.reason as usize) << 2;
        let code = small | usize::from(flow.state) << 5;
        match self.by_code.get_mut(code) {
            Some(known) if !known.is_empty() => record.append(known),
            Some(empty) => record.keep(|record| words(record, flow), |written| empty.extend(written)),
            None => words(record, flow),
        }
    }
}

fn words(record: &mut Record<'_, ATTRIBUTES>, flow: &Flow) {
    constant!(record, "network.transport", "tcp");
    match flow.local.0 {
        IpAddr::V4(_) => constant!(record, "network.type", "ipv4"),
        IpAddr::V6(_) => constant!(record, "network.type", "ipv6"),
    }
    if flow.role == Role::Unknown {
        constant!(record, "flow.role.source", "unknown");
    }
    // IPFIX element 136: seen ending, or known to be gone only because its record had no room.
    match flow.reason {
        CloseReason::Lost => constant!(record, "flow.end_reason", "lack_of_resources"),
        _ => constant!(record, "flow.end_reason", "end_of_flow_detected"),
    }
    match flow.reason {
        CloseReason::Closed => {}
        CloseReason::Reset => constant!(record, "tarsier.flow.close_reason", "reset"),
        CloseReason::Refused => constant!(record, "tarsier.flow.close_reason", "refused"),
        CloseReason::Timeout => constant!(record, "tarsier.flow.close_reason", "timeout"),
        CloseReason::Error => constant!(record, "tarsier.flow.close_reason", "error"),
        CloseReason::Lost => constant!(record, "tarsier.flow.close_reason", "lost"),
    }
    if let Some(name) = state_name(flow.state) {
        text!(record, "flow.connection.state", name);
    }
}

fn owner(
    record: &mut Record<'_, ATTRIBUTES>,
    flow: &Flow,
    process: Option<&Process>,
    identities: &mut Identities<ATTRIBUTES>,
) {
    if let Some(process) = process {
        identities.append_to(record, process);
    } else if !flow.owner.is_none() {
        int!(record, "process.pid", flow.owner.tgid.into());
        formatted!(record, "tarsier.exec_id", |text| text.exec_id(flow.owner));
    }
    when!(record, "tarsier.flow.owner_from_listener", flow.owner_from_listener);
}

/// `error.type` and the status of a connection that failed; a lost close record is no failure.
fn error(record: &mut Record<'_, ATTRIBUTES>, flow: &Flow) {
    let name = match flow.reason {
        CloseReason::Closed | CloseReason::Lost => return,
        CloseReason::Refused => "refused",
        CloseReason::Reset => "reset",
        CloseReason::Timeout => "timeout",
        CloseReason::Error => errno_name(flow.errno).unwrap_or_default(),
    };
    match name {
        // The value that OpenTelemetry reserves for an error without a name.
        "" if flow.errno == 0 => constant!(record, "error.type", "_OTHER"),
        "" => formatted!(record, "error.type", |text| {
            text.put(*b"errno_", 6);
            text.decimal(flow.errno.into());
        }),
        name => text!(record, "error.type", name),
    }
    record.put([15 << 3 | wire::LENGTH, 2, 3 << 3 | wire::VARINT, ERROR]);
}

/// Linux's numbers (asm-generic/errno.h) of what a TCP socket can end with.
fn errno_name(errno: u16) -> Option<&'static str> {
    Some(match errno {
        1 => "eperm",
        4 => "eintr",
        5 => "eio",
        12 => "enomem",
        13 => "eacces",
        22 => "einval",
        32 => "epipe",
        71 => "eproto",
        90 => "emsgsize",
        92 => "enoprotoopt",
        95 => "eopnotsupp",
        99 => "eaddrnotavail",
        100 => "enetdown",
        101 => "enetunreach",
        102 => "enetreset",
        103 => "econnaborted",
        104 => "econnreset",
        105 => "enobufs",
        110 => "etimedout",
        111 => "econnrefused",
        112 => "ehostdown",
        113 => "ehostunreach",
        125 => "ecanceled",
        _ => return None,
    })
}

/// Of a TCP state, in lower case.
fn state_name(number: u8) -> Option<&'static str> {
    Some(match number {
        state::ESTABLISHED => "established",
        state::SYN_SENT => "syn_sent",
        state::SYN_RECV | state::NEW_SYN_RECV => "syn_recv",
        state::FIN_WAIT1 => "fin_wait1",
        state::FIN_WAIT2 => "fin_wait2",
        state::TIME_WAIT => "time_wait",
        state::CLOSE => "close",
        state::CLOSE_WAIT => "close_wait",
        state::LAST_ACK => "last_ack",
        state::LISTEN => "listen",
        state::CLOSING => "closing",
        _ => return None,
    })
}
