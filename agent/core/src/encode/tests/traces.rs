//! Trace requests.

use std::net::IpAddr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use prost::Message as _;

use super::entities::{Happening, happenings, workloads};
use super::*;
use crate::encode::ids::FlowIds;
use crate::event::{CloseReason, Flow, FlowKind, Image, Process, Report, Role, TaskKey};

pub(super) fn unix(boot_ns: u64) -> u64 {
    CLOCK.boot_to_unix_ns.saturating_add(boot_ns)
}

/// The executable's name: of its path, else `comm`.
pub(super) fn name(image: &Image) -> &[u8] {
    let after_slash = image.exe().iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    if after_slash == image.exe().len() { image.comm() } else { &image.exe()[after_slash..] }
}

fn exec_id(key: TaskKey) -> KeyValue {
    text("tarsier.exec_id", format!("{:x}-{}-{}", key.start_boottime, key.tgid, key.exec))
}

/// What is told of a process on every record.
pub(super) fn identity(process: &Process) -> Vec<KeyValue> {
    let mut attributes = vec![int("process.pid", process.key.tgid)];
    if !process.image.exe().is_empty() {
        attributes.push(lossy("process.executable.path", process.image.exe()));
    }
    let name = name(&process.image);
    if !name.is_empty() {
        attributes.push(lossy("process.executable.name", name));
    }
    attributes.push(exec_id(process.key));
    attributes
}

fn span(flow: &Flow, process: Option<&Process>) -> Span {
    let ids = FlowIds::new(&agent().flow_key).of(flow);
    let error = error(flow);
    let server_port = if flow.role == Role::Server { flow.local.1 } else { flow.peer.1 };
    Span {
        trace_id: ids.trace.to_vec(),
        span_id: ids.span.to_vec(),
        parent_span_id: ids.parent.map(Vec::from).unwrap_or_default(),
        flags: if ids.parent.is_some() { 0x301 } else { 0x101 },
        name: if flow.role == Role::Unknown { "TCP".to_owned() } else { format!("TCP {server_port}") },
        kind: match flow.role {
            Role::Client => SpanKind::Client,
            Role::Server => SpanKind::Server,
            Role::Unknown => SpanKind::Internal,
        } as i32,
        start_time_unix_nano: unix(flow.start_ns),
        end_time_unix_nano: unix(flow.end_ns).max(unix(flow.start_ns)),
        attributes: attributes(flow, process, error.as_deref()),
        events: (flow.established_ns > 0)
            .then(|| Event {
                time_unix_nano: unix(flow.established_ns),
                name: "established".to_owned(),
                ..Default::default()
            })
            .into_iter()
            .collect(),
        status: error.map(|_| Status { message: String::new(), code: StatusCode::Error as i32 }),
        ..Default::default()
    }
}

fn error(flow: &Flow) -> Option<String> {
    let named = match flow.reason {
        CloseReason::Closed | CloseReason::Lost => return None,
        CloseReason::Refused => "refused",
        CloseReason::Reset => "reset",
        CloseReason::Timeout => "timeout",
        CloseReason::Error if flow.errno == 0 => "_OTHER",
        CloseReason::Error => {
            // The standard library's own table has other words; the numbers decide.
            let names = [
                (1, "eperm"),
                (4, "eintr"),
                (5, "eio"),
                (12, "enomem"),
                (13, "eacces"),
                (22, "einval"),
                (32, "epipe"),
                (71, "eproto"),
                (90, "emsgsize"),
                (92, "enoprotoopt"),
                (95, "eopnotsupp"),
                (99, "eaddrnotavail"),
                (100, "enetdown"),
                (101, "enetunreach"),
                (102, "enetreset"),
                (103, "econnaborted"),
                (104, "econnreset"),
                (105, "enobufs"),
                (110, "etimedout"),
                (111, "econnrefused"),
                (112, "ehostdown"),
                (113, "ehostunreach"),
                (125, "ecanceled"),
            ];
            let known = names.into_iter().find(|(errno, _)| *errno == flow.errno);
            return Some(known.map_or_else(|| format!("errno_{}", flow.errno), |(_, name)| name.to_owned()));
        }
    };
    Some(named.to_owned())
}

fn attributes(flow: &Flow, process: Option<&Process>, error: Option<&str>) -> Vec<KeyValue> {
    let counters = &flow.counters;
    let mut ends = [flow.local, flow.peer];
    let mut bytes = [counters.bytes_sent, counters.bytes_received];
    let mut packets = [counters.segments_sent, counters.segments_received];
    if flow.role == Role::Server {
        ends.reverse();
        bytes.reverse();
        packets.reverse();
    }
    let mut all = vec![
        text("source.address", ends[0].0.to_string()),
        int("source.port", ends[0].1),
        text("destination.address", ends[1].0.to_string()),
        int("destination.port", ends[1].1),
        count("flow.bytes.total", bytes[0]),
        int("flow.packets.total", packets[0]),
        count("flow.reverse.bytes.total", bytes[1]),
        int("flow.reverse.packets.total", packets[1]),
    ];
    all.extend((counters.retransmits > 0).then(|| int("tarsier.flow.retransmits", counters.retransmits)));
    let seconds = |key, micros: u32| {
        (micros > 0 && micros < u32::MAX).then(|| double(key, f64::from(micros) / 1_000_000.0))
    };
    all.extend(seconds("tarsier.tcp.rtt.smoothed", counters.srtt_us));
    all.extend(seconds("tarsier.tcp.rtt.min", counters.min_rtt_us));
    all.extend(seconds("tarsier.tcp.handshake.duration", flow.handshake_rtt_us));
    all.push(text("network.transport", "tcp"));
    all.push(text("network.type", if matches!(flow.local.0, IpAddr::V4(_)) { "ipv4" } else { "ipv6" }));
    all.extend((flow.role == Role::Unknown).then(|| text("flow.role.source", "unknown")));
    let lost = flow.reason == CloseReason::Lost;
    all.push(text("flow.end_reason", if lost { "lack_of_resources" } else { "end_of_flow_detected" }));
    if flow.reason != CloseReason::Closed {
        all.push(text("tarsier.flow.close_reason", format!("{:?}", flow.reason).to_lowercase()));
    }
    let states = [
        "",
        "established",
        "syn_sent",
        "syn_recv",
        "fin_wait1",
        "fin_wait2",
        "time_wait",
        "close",
        "close_wait",
        "last_ack",
        "listen",
        "closing",
        "syn_recv",
    ];
    let state = states.get(usize::from(flow.state)).filter(|state| !state.is_empty());
    all.extend(state.map(|state| text("flow.connection.state", *state)));
    all.extend(flow.start_observed.then(|| truth("tarsier.flow.start_observed")));
    all.extend((flow.net_ns != 0).then(|| int("tarsier.flow.net_ns", flow.net_ns)));
    match process {
        Some(process) => all.extend(identity(process)),
        None if flow.owner.tgid != 0 => {
            all.extend([int("process.pid", flow.owner.tgid), exec_id(flow.owner)]);
        }
        None => {}
    }
    all.extend(flow.owner_from_listener.then(|| truth("tarsier.flow.owner_from_listener")));
    all.extend(error.map(|error| text("error.type", error)));
    all
}

fn expected(happenings: &[(usize, u64, Happening)]) -> ExportTraceServiceRequest {
    let workloads = workloads();
    let mut groups: Vec<(usize, Vec<Span>)> = Vec::new();
    for (workload, _, happening) in happenings {
        let Happening::Flow(flow, process) = happening else { continue };
        if flow.kind == FlowKind::Live {
            continue;
        }
        let span = span(flow, process.as_ref());
        match groups.iter_mut().find(|(known, _)| known == workload) {
            Some((_, spans)) => spans.push(span),
            None => groups.push((*workload, vec![span])),
        }
    }
    let resource_spans = groups.into_iter().map(|(workload, spans)| ResourceSpans {
        resource: Some(resource(&workloads[workload])),
        scope_spans: vec![ScopeSpans { scope: Some(scope()), spans, ..Default::default() }],
        ..Default::default()
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn requests_decode_to_the_closed_connections(happenings in happenings(), repeat in 1_usize..3) {
        let workloads = workloads();
        let mut encoder = TracesEncoder::new(&agent(), usize::MAX);
        let want = expected(&happenings);
        // Again with the same encoder: nothing of a request leaks into the next.
        for _ in 0..repeat {
            for (workload, at_ns, happening) in &happenings {
                let report = Report { at_ns: *at_ns, workload: &workloads[*workload], what: happening.what() };
                prop_assert_eq!(encoder.push(&report, CLOCK), None);
            }
            let spans: usize = want.resource_spans.iter().map(|group| group.scope_spans[0].spans.len()).sum();
            prop_assert_eq!(encoder.items() as usize, spans);
            let Some(request) = encoder.finish() else {
                prop_assert_eq!(spans, 0);
                continue;
            };
            prop_assert_eq!(request.body.len(), want.encoded_len());
            prop_assert_eq!(&ExportTraceServiceRequest::decode(request.body).unwrap(), &want);
        }
    }
}
