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
use super::process::Identities;
use super::resource::Identity;
use super::text::{ExecId, Text};
use super::{Clock, wire};

/// Field number of a `Span`'s attributes.
const ATTRIBUTES: u32 = 9;
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
            let mut attributes = Writer::new(out, ATTRIBUTES);
            ends(&mut attributes, flow);
            counters(&mut attributes, flow);
            state_and_role(&mut attributes, flow);
            owner(&mut attributes, flow, process, report.workload, identities, clock);
            if flow.established_ns != 0 {
                wire::message(out, 11, |out| {
                    wire::fixed64(out, 1, clock.unix_ns(flow.established_ns));
                    wire::bytes(out, 2, b"established");
                });
            }
            if let Some(error) = error_type(flow) {
                Writer::new(out, ATTRIBUTES).text("error.type", error.as_str());
                wire::header(out, 15, 2);
                wire::uint(out, 3, ERROR);
            }
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
    // The client's port is a number out of a hat and would make every name different.
    let (kind, name) = match flow.role {
        Role::Client => (CLIENT, Text::new(format_args!("TCP {}", flow.peer.1))),
        Role::Server => (SERVER, Text::new(format_args!("TCP {}", flow.local.1))),
        Role::Unknown => (INTERNAL, Text::new(format_args!("TCP"))),
    };
    wire::bytes(out, 5, name.as_str().as_bytes());
    wire::uint(out, 6, kind);
    wire::fixed64(out, 7, clock.unix_ns(flow.start_ns));
    wire::fixed64(out, 8, clock.unix_ns(flow.end_ns.max(flow.start_ns)));
}

fn ends(attributes: &mut Writer<'_>, flow: &Flow) {
    let (source, destination) = match flow.role {
        Role::Server => (flow.peer, flow.local),
        Role::Client | Role::Unknown => (flow.local, flow.peer),
    };
    attributes.format("source.address", format_args!("{}", source.0));
    attributes.int("source.port", i64::from(source.1));
    attributes.format("destination.address", format_args!("{}", destination.0));
    attributes.int("destination.port", i64::from(destination.1));
    attributes.text("network.transport", "tcp");
    let network = match flow.local.0 {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    };
    attributes.text("network.type", network);
}

fn counters(attributes: &mut Writer<'_>, flow: &Flow) {
    let counters = &flow.counters;
    let sent = (counters.bytes_sent, counters.segments_sent);
    let received = (counters.bytes_received, counters.segments_received);
    let (forward, reverse) = if flow.role == Role::Server { (received, sent) } else { (sent, received) };
    attributes.count("flow.bytes.total", forward.0);
    attributes.count("flow.packets.total", u64::from(forward.1));
    attributes.count("flow.reverse.bytes.total", reverse.0);
    attributes.count("flow.reverse.packets.total", u64::from(reverse.1));
    attributes.int("tarsier.flow.retransmits", i64::from(counters.retransmits));
    for (key, micros) in [
        ("tarsier.tcp.rtt.smoothed", counters.srtt_us),
        ("tarsier.tcp.rtt.min", counters.min_rtt_us),
        ("tarsier.tcp.handshake.duration", flow.handshake_rtt_us),
    ] {
        if micros != 0 && micros != u32::MAX {
            attributes.double(key, f64::from(micros) / 1e6);
        }
    }
}

fn state_and_role(attributes: &mut Writer<'_>, flow: &Flow) {
    attributes.text("flow.role.source", if flow.role == Role::Unknown { "unknown" } else { "kernel" });
    // IPFIX element 136: seen ending, or known to be gone only because its record had no room.
    let (end_reason, close) = match flow.reason {
        CloseReason::Closed => ("end_of_flow_detected", "closed"),
        CloseReason::Reset => ("end_of_flow_detected", "reset"),
        CloseReason::Refused => ("end_of_flow_detected", "refused"),
        CloseReason::Timeout => ("end_of_flow_detected", "timeout"),
        CloseReason::Error => ("end_of_flow_detected", "error"),
        CloseReason::Lost => ("lack_of_resources", "lost"),
    };
    attributes.text("flow.end_reason", end_reason);
    attributes.text("tarsier.flow.close_reason", close);
    if let Some(name) = state_name(flow.state) {
        attributes.text("flow.connection.state", name);
    }
    attributes.when("tarsier.flow.start_observed", flow.start_observed);
    if flow.net_ns != 0 {
        attributes.int("tarsier.flow.net_ns", i64::from(flow.net_ns));
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
        identities.append_to(attributes.out, process, clock);
    } else if !flow.owner.is_none() {
        attributes.int("process.pid", i64::from(flow.owner.tgid));
        attributes.format("tarsier.exec_id", format_args!("{}", ExecId(flow.owner)));
    }
    attributes.when("tarsier.flow.owner_from_listener", flow.owner_from_listener);
    // Also on the span, for backends that keep resource attributes apart.
    attributes.some_bytes("container.id", workload.container_id.as_bytes());
}

/// `error.type` of a connection that failed; a lost close record is no failure.
fn error_type(flow: &Flow) -> Option<Text> {
    let name = match flow.reason {
        CloseReason::Closed | CloseReason::Lost => return None,
        CloseReason::Refused => "refused",
        CloseReason::Reset => "reset",
        CloseReason::Timeout => "timeout",
        CloseReason::Error => match errno_name(flow.errno) {
            Some(name) => name,
            None if flow.errno != 0 => return Some(Text::new(format_args!("errno_{}", flow.errno))),
            // The value that OpenTelemetry reserves for an error without a name.
            None => "_OTHER",
        },
    };
    Some(Text::new(format_args!("{name}")))
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
