//! Traces: one span per closed connection, under the local workload's resource.
//!
//! Counters are the local socket's own view: of a loopback connection both ends report, each what it
//! sent and received. Forward is always source → destination, that is from who connected to who
//! accepted; with the role unknown, the local end stands as the source.

use std::net::IpAddr;

use tarsier_abi::tcp::state;

use crate::event::{CloseReason, Flow, FlowKind, Process, Report, Role, What, Workload};

use super::attributes::Writer;
use super::batch::{Batch, Encoded};
use super::ids::FlowIds;
use super::prefix::{constant, double, formatted, int, text, when};
use super::process::Identities;
use super::resource::Identity;
use super::text::{ROOM, Text};
use super::{Clock, wire};

/// Field number of a `Span`'s attributes.
const ATTRIBUTES: u8 = 9;
/// `SPAN_KIND_INTERNAL`, `SERVER`, `CLIENT`.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;
/// `Span.flags`: sampled, and "it is known whether the parent is remote".
const FLAGS: u32 = 0x101;
/// `Span.flags`: the parent is remote.
const REMOTE_PARENT: u32 = 0x200;

/// Builds `ExportTraceServiceRequest`s.
#[derive(Debug)]
pub struct TracesEncoder {
    batch: Batch,
    ids: FlowIds,
    identities: Identities,
}

impl TracesEncoder {
    /// Requests of at most `max_bytes` (a single larger span goes alone).
    pub fn new(identity: &Identity, max_bytes: usize) -> Self {
        Self {
            batch: Batch::new(identity, max_bytes),
            ids: FlowIds::new(&identity.flow_key),
            identities: Identities::new(ATTRIBUTES),
        }
    }

    /// Adds the span of a closed connection; every other report is ignored. If the request is full,
    /// it comes back without this span, which begins the next one.
    pub fn push(&mut self, report: &Report<'_>, clock: Clock) -> Option<Encoded> {
        let What::Flow { flow, process } = report.what else { return None };
        if flow.kind != FlowKind::Closed {
            return None;
        }
        let Self { batch, ids, identities } = self;
        batch.push(report.workload, |out| {
            head(out, flow, ids, clock);
            let attributes = &mut Writer::new(out, ATTRIBUTES);
            ends(attributes, flow);
            counters(attributes, flow);
            state_and_role(attributes, flow);
            owner(attributes, flow, process, report.workload, identities, clock);
            if flow.established_ns != 0 {
                wire::message(out, 11, |out| {
                    wire::fixed64(out, 1, clock.unix_ns(flow.established_ns));
                    wire::bytes(out, 2, b"established");
                });
            }
            error(out, flow);
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
fn head(out: &mut Vec<u8>, flow: &Flow, ids: &FlowIds, clock: Clock) {
    let ids = ids.of(flow);
    wire::bytes(out, 1, &ids.trace);
    wire::bytes(out, 2, &ids.span);
    let mut flags = FLAGS;
    if let Some(parent) = &ids.parent {
        wire::bytes(out, 4, parent);
        flags |= REMOTE_PARENT;
    }
    wire::fixed32(out, 16, flags);
    let kind = match flow.role {
        Role::Client => CLIENT,
        Role::Server => SERVER,
        Role::Unknown => INTERNAL,
    };
    name(out, flow);
    wire::uint(out, 6, kind);
    wire::fixed64(out, 7, clock.unix_ns(flow.start_ns));
    wire::fixed64(out, 8, clock.unix_ns(flow.end_ns.max(flow.start_ns)));
}

/// `TCP` and the port of the server, if it is known which end that is: the client's is a number out
/// of a hat and would make every name different.
fn name(out: &mut Vec<u8>, flow: &Flow) {
    let start = out.len();
    out.extend_from_slice(&[5 << 3 | wire::LENGTH, 0]);
    out.extend_from_slice(&[0; ROOM]);
    let Some(room) = out.last_chunk_mut() else { return };
    let mut text = Text::new(room);
    text.str("TCP");
    if flow.role != Role::Unknown {
        text.byte(b' ');
        text.decimal(if flow.role == Role::Client { flow.peer.1 } else { flow.local.1 }.into());
    }
    let len = text.len();
    out[start + 1] = len as u8;
    out.truncate(start + 2 + len);
}

fn ends(attributes: &mut Writer<'_>, flow: &Flow) {
    let (source, destination) = match flow.role {
        Role::Server => (flow.peer, flow.local),
        Role::Client | Role::Unknown => (flow.local, flow.peer),
    };
    formatted!(attributes, "source.address", |text| text.address(source.0));
    int!(attributes, "source.port", source.1.into());
    formatted!(attributes, "destination.address", |text| text.address(destination.0));
    int!(attributes, "destination.port", destination.1.into());
    constant!(attributes, "network.transport", "tcp");
    match flow.local.0 {
        IpAddr::V4(_) => constant!(attributes, "network.type", "ipv4"),
        IpAddr::V6(_) => constant!(attributes, "network.type", "ipv6"),
    }
}

fn counters(attributes: &mut Writer<'_>, flow: &Flow) {
    let counters = &flow.counters;
    let sent = (counters.bytes_sent, counters.segments_sent);
    let received = (counters.bytes_received, counters.segments_received);
    let (forward, reverse) = if flow.role == Role::Server { (received, sent) } else { (sent, received) };
    int!(attributes, "flow.bytes.total", forward.0);
    int!(attributes, "flow.packets.total", forward.1.into());
    int!(attributes, "flow.reverse.bytes.total", reverse.0);
    int!(attributes, "flow.reverse.packets.total", reverse.1.into());
    int!(attributes, "tarsier.flow.retransmits", counters.retransmits.into());
    let measured = |micros: u32| micros != 0 && micros != u32::MAX;
    let seconds = |micros: u32| f64::from(micros) / 1e6;
    if measured(counters.srtt_us) {
        double!(attributes, "tarsier.tcp.rtt.smoothed", seconds(counters.srtt_us));
    }
    if measured(counters.min_rtt_us) {
        double!(attributes, "tarsier.tcp.rtt.min", seconds(counters.min_rtt_us));
    }
    if measured(flow.handshake_rtt_us) {
        double!(attributes, "tarsier.tcp.handshake.duration", seconds(flow.handshake_rtt_us));
    }
}

fn state_and_role(attributes: &mut Writer<'_>, flow: &Flow) {
    match flow.role {
        Role::Unknown => constant!(attributes, "flow.role.source", "unknown"),
        Role::Client | Role::Server => constant!(attributes, "flow.role.source", "kernel"),
    }
    // IPFIX element 136: seen ending, or known to be gone only because its record had no room.
    match flow.reason {
        CloseReason::Lost => constant!(attributes, "flow.end_reason", "lack_of_resources"),
        _ => constant!(attributes, "flow.end_reason", "end_of_flow_detected"),
    }
    text!(
        attributes,
        "tarsier.flow.close_reason",
        match flow.reason {
            CloseReason::Closed => "closed",
            CloseReason::Reset => "reset",
            CloseReason::Refused => "refused",
            CloseReason::Timeout => "timeout",
            CloseReason::Error => "error",
            CloseReason::Lost => "lost",
        }
    );
    if let Some(name) = state_name(flow.state) {
        text!(attributes, "flow.connection.state", name);
    }
    when!(attributes, "tarsier.flow.start_observed", flow.start_observed);
    if flow.net_ns != 0 {
        int!(attributes, "tarsier.flow.net_ns", flow.net_ns.into());
    }
}

fn owner(
    attributes: &mut Writer<'_>,
    flow: &Flow,
    process: Option<&Process>,
    workload: &Workload,
    identities: &mut Identities,
    clock: Clock,
) {
    if let Some(process) = process {
        identities.append_to(attributes.out(), process, clock);
    } else if !flow.owner.is_none() {
        int!(attributes, "process.pid", flow.owner.tgid.into());
        formatted!(attributes, "tarsier.exec_id", |text| text.exec_id(flow.owner));
    }
    when!(attributes, "tarsier.flow.owner_from_listener", flow.owner_from_listener);
    // Also on the span, for backends that keep resource attributes apart.
    if !workload.container_id.is_empty() {
        text!(attributes, "container.id", &workload.container_id);
    }
}

/// `error.type` and the status of a connection that failed; a lost close record is no failure.
fn error(out: &mut Vec<u8>, flow: &Flow) {
    let name = match flow.reason {
        CloseReason::Closed | CloseReason::Lost => return,
        CloseReason::Refused => "refused",
        CloseReason::Reset => "reset",
        CloseReason::Timeout => "timeout",
        CloseReason::Error => errno_name(flow.errno).unwrap_or_default(),
    };
    let mut attributes = Writer::new(out, ATTRIBUTES);
    match name {
        // The value that OpenTelemetry reserves for an error without a name.
        "" if flow.errno == 0 => constant!(attributes, "error.type", "_OTHER"),
        "" => formatted!(attributes, "error.type", |text| {
            text.str("errno_");
            text.decimal(flow.errno.into());
        }),
        name => text!(attributes, "error.type", name),
    }
    wire::header(out, 15, 2);
    wire::uint(out, 3, ERROR);
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
