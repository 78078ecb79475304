//! The pipeline as others see it: Prometheus metrics and the state behind `tarsier top`.

use std::net::IpAddr;
use std::time::Instant;

use rustc_hash::FxHashMap;
use tarsier_abi::{Loss, Sensor};
use tarsier_core::encode::redact;
use tarsier_core::event::{Flow, Malformed, Process, Role};

use super::guard::Stage;
use super::stages::Totals;
use super::{Pipeline, falco};
use crate::export::otlp::OtlpExporter;
use crate::export::{Counts, DropCause, Signal};
use crate::host::memory::Reading;
use crate::host::usage;
use crate::ops::admin::{self, TopState};
use crate::ops::metrics::{Metric, Snapshot};

/// Most rows of a pane.
const ROWS: usize = 200;

/// What tells connections apart between two looks.
type Key = (u32, (IpAddr, u16), (IpAddr, u16));

/// The last look, for rates.
#[derive(Default)]
pub(super) struct Rates {
    at: Option<Instant>,
    totals: [u64; 5],
    cpu_s: f64,
    connections: FxHashMap<Key, u64>,
}

/// The agent's own metrics of now.
pub(super) fn metrics(pipeline: &Pipeline) -> Snapshot {
    let mut out = Snapshot::new();
    records(pipeline, &mut out);
    tables(pipeline, &mut out);
    for (name, ring) in std::iter::once(("priority".to_owned(), &pipeline.priority))
        .chain(pipeline.bulk.iter().enumerate().map(|(index, ring)| (format!("bulk_{index}"), ring)))
    {
        out.push(Metric::RingUsed, &[&name], ring.waiting());
        out.push(Metric::RingSize, &[&name], ring.size());
    }
    for (program, stats) in pipeline.kernel.programs() {
        out.push(Metric::ProgramRuns, &[&program], stats.run_count);
        out.push(Metric::ProgramRunTime, &[&program], stats.run_time_ns);
        let verified = u64::from(stats.verified_instructions);
        out.push(Metric::ProgramVerified, &[&program], verified);
        out.push(Metric::ProgramMisses, &[&program], stats.recursion_misses);
    }
    if let Some(exporter) = pipeline.feed.engine.outlet.exporter() {
        exported(exporter, &mut out);
        for signal in Signal::ALL {
            let encoding = u64::from(pipeline.feed.engine.outlet.encoding(signal));
            out.push(Metric::ExporterWaiting, &["otlp", signal.name(), "encoding"], encoding);
        }
    }
    if let Some(lines) = &pipeline.lines {
        let (counts, bytes) = lines.counts();
        items("stdout", "lines", &counts, &mut out);
        out.push(Metric::ExporterQueueBytes, &["stdout"], bytes as u64);
        out.push(Metric::ExporterQueueLimit, &["stdout"], lines.max_bytes() as u64);
    }
    if let Some(log) = &pipeline.log {
        items("stderr", "log", &log.counts().0, &mut out);
    }
    for channel in pipeline.feed.engine.outlet.channels().states() {
        items(channel.name, "alerts", &channel.counts, &mut out);
        attempts(channel.name, "alerts", &channel.counts, &mut out);
        out.push(Metric::ExporterQueueBytes, &[channel.name], channel.queue_bytes as u64);
        out.push(Metric::ExporterQueueLimit, &[channel.name], channel.max_bytes as u64);
    }
    pipeline.inquiries.metrics(&mut out);
    out.push(Metric::DrainWakeups, &["timer"], pipeline.wakeups.timer);
    out.push(Metric::DrainWakeups, &["threshold"], pipeline.wakeups.threshold);
    let usage = usage::own();
    out.push(Metric::StartTime, &[], pipeline.feed.engine.outlet.started_unix_ns() as f64 / 1e9);
    out.push(Metric::CpuSeconds, &[], usage.cpu_s);
    out.push(Metric::ResidentBytes, &[], usage.resident_bytes);
    if let Some(Reading { used, limit }) = pipeline.memory.reading {
        out.push(Metric::MemoryUsed, &[], used);
        out.push(Metric::MemoryLimit, &[], limit);
    }
    out.push(Metric::MemoryShort, &[], u64::from(pipeline.memory.shedding));
    out.falco = pipeline.falco_metrics.then(|| falco::metrics(pipeline));
    out
}

fn records(pipeline: &Pipeline, out: &mut Snapshot) {
    let counters = pipeline.feed.engine.stages.decoder.counters();
    let ledger = pipeline.kernel.ledger().unwrap_or_default();
    for entry in &pipeline.kernel.sensors {
        let name = entry.sensor.name();
        let reason = entry.state.as_ref().err().map_or("", |reason| reason.as_str());
        out.push(Metric::SensorAttached, &[name, reason], u64::from(entry.state.is_ok()));
        for hook in entry.hooks() {
            out.push(Metric::SensorHook, &[name, &hook.to_string()], 1);
        }
        let seen = counters.sensor(entry.sensor);
        out.push(Metric::RecordsReceived, &[name], seen.received);
        out.push(Metric::SequenceGaps, &[name], seen.lost);
        out.push(Metric::RecordsReordered, &[name, "late"], seen.late);
        out.push(Metric::RecordsReordered, &[name, "repeated"], seen.repeated);
        if let Some(row) = ledger.sensors.get(entry.sensor as usize) {
            out.push(Metric::RecordsProduced, &[name], row.produced);
            for loss in Loss::ALL {
                let lost = row.lost.get(loss as usize).copied().unwrap_or_default();
                out.push(Metric::RecordsLost, &[name, loss.name()], lost);
            }
        }
    }
    for stage in Stage::ALL {
        let lost = pipeline.feed.engine.stages.guard.lost(stage);
        out.push(Metric::RecordsPanicked, &[stage.name()], lost);
    }
    for kind in Malformed::ALL {
        out.push(Metric::RecordsMalformed, &[kind.name()], counters.malformed(kind));
    }
}

fn tables(pipeline: &Pipeline, out: &mut Snapshot) {
    let stages = &pipeline.feed.engine.stages;
    let processes = stages.processes.counters();
    out.push(Metric::ProcessEntries, &[], stages.processes.len() as u64);
    out.push(Metric::ProcessEvictions, &["full"], processes.evicted_ended + processes.evicted_live);
    out.push(Metric::ProcessEvictions, &["memory"], processes.shed);
    out.push(Metric::ProcessOrphans, &[], processes.orphans);
    for (kind, count) in [
        ("repeated_fork", processes.repeated_forks),
        ("repeated_exec", processes.repeated_execs),
        ("repeated_exit", processes.repeated_exits),
        ("unknown_exit", processes.unknown_exits),
        ("missed_exit", processes.missed_exits),
        ("stray_args", processes.stray_args),
        ("cut_args", processes.cut_args),
        ("unreported", processes.unreported + stages.totals.unreported),
    ] {
        out.push(Metric::ProcessAnomalies, &[kind], count);
    }
    out.push(Metric::ProcessArguments, &[], processes.joined_args);
    out.push(Metric::ProcessWaiting, &[], stages.processes.waiting() as u64);
    let Totals { execs, forks, exits, connections, live, .. } = stages.totals;
    for (kind, count) in
        [("exec", execs), ("fork", forks), ("exit", exits), ("flow", connections), ("live", live)]
    {
        out.push(Metric::Reports, &[kind], count);
    }
    out.push(Metric::CgroupsUnattributed, &[], stages.cgroups.counters().unattributed);
    out.push(Metric::RecordsUnattributed, &[Sensor::Tcp.name()], stages.totals.unattributed);
    if let Some(rules) = &stages.rules {
        rules.metrics(&mut *out);
    }
    let flows = stages.flows.counts();
    out.push(Metric::FlowsLive, &[], stages.flows.len() as u64);
    out.push(Metric::FlowsBegun, &[], flows.begun);
    out.push(Metric::FlowsLost, &[], flows.lost_close);
    out.push(Metric::FlowsEvicted, &["full"], flows.evicted);
    out.push(Metric::FlowsEvicted, &["memory"], flows.shed);
    for (kind, count) in [
        ("unknown_start", flows.unknown_start),
        ("contradiction", flows.contradictions),
        ("half_open", flows.half_open),
        ("late", flows.late),
        ("orphan_owner", flows.orphan_owners),
        ("listener_dropped", flows.listeners_dropped),
        ("sweep_failed", pipeline.sweep.failed),
    ] {
        out.push(Metric::FlowAnomalies, &[kind], count);
    }
}

/// The ledger of one kind of items.
fn items(exporter: &str, signal: &str, counts: &Counts, out: &mut Snapshot) {
    let mut push = |outcome, cause, count| {
        out.push(Metric::ExporterItems, &[exporter, signal, outcome, cause], count);
    };
    push("enqueued", "", counts.enqueued);
    push("sent", "", counts.sent);
    push("rejected", "partial_success", counts.rejected);
    for cause in DropCause::ALL {
        push("dropped", cause.name(), counts.dropped(cause));
    }
    out.push(Metric::ExporterWaiting, &[exporter, signal, "queued"], counts.queued);
    out.push(Metric::ExporterWaiting, &[exporter, signal, "in_flight"], counts.in_flight);
}

/// The attempts to send items of one kind.
fn attempts(exporter: &str, signal: &str, counts: &Counts, out: &mut Snapshot) {
    out.push(Metric::ExporterRequests, &[exporter, signal, "first"], counts.requests - counts.retries);
    out.push(Metric::ExporterRequests, &[exporter, signal, "retry"], counts.retries);
}

fn exported(exporter: &OtlpExporter, out: &mut Snapshot) {
    let stats = exporter.stats();
    for signal in Signal::ALL {
        let (counts, name) = (stats.of(signal), signal.name());
        items("otlp", name, counts, out);
        attempts("otlp", name, counts, &mut *out);
    }
    out.push(Metric::ExporterQueueBytes, &["otlp"], stats.queue_bytes as u64);
    out.push(Metric::ExporterQueueLimit, &["otlp"], exporter.queue_limit_bytes() as u64);
}

/// What `tarsier top` shows, as of `now_ns` (boot time).
pub(super) fn top(pipeline: &mut Pipeline, now_ns: u64) -> TopState {
    let usage = usage::own();
    let stages = &pipeline.feed.engine.stages;
    let sent: u64 = pipeline.feed.engine.outlet.exporter().map_or(0, |exporter| {
        let stats = exporter.stats();
        Signal::ALL.into_iter().map(|signal| stats.of(signal).sent).sum()
    });
    let received = |sensor: &Sensor| stages.decoder.counters().sensor(*sensor).received;
    let records: u64 = Sensor::ALL.iter().map(received).sum();
    let totals = [records, stages.totals.execs, stages.totals.connections, stages.totals.bytes, sent];
    let last = std::mem::take(&mut pipeline.rates);
    let seconds = last.at.map_or(f64::INFINITY, |at| at.elapsed().as_secs_f64()).max(1e-3);
    let rate = |index: usize| totals[index].saturating_sub(last.totals[index]) as f64 / seconds;
    let mut rates = Rates { at: Some(Instant::now()), totals, cpu_s: usage.cpu_s, ..Rates::default() };
    let mut connections: Vec<admin::Connection> = stages
        .flows
        .live(now_ns)
        .map(|flow| {
            let key = (flow.net_ns, flow.local, flow.peer);
            let bytes = flow.counters.bytes_sent + flow.counters.bytes_received;
            let before = last.connections.get(&key).copied().unwrap_or(bytes);
            rates.connections.insert(key, bytes);
            connection(pipeline, &flow, bytes.saturating_sub(before) as f64 / seconds)
        })
        .collect();
    connections.sort_by(|a, b| {
        b.bytes_per_s
            .total_cmp(&a.bytes_per_s)
            .then_with(|| (b.sent + b.received).cmp(&(a.sent + a.received)))
    });
    connections.truncate(ROWS);
    let state = TopState {
        node: pipeline.feed.engine.outlet.host_name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: pipeline.started.elapsed().as_secs(),
        rates: admin::Rates {
            records: rate(0),
            execs: rate(1),
            connections: rate(2),
            bytes: rate(3),
            exported: rate(4),
            cpu: (usage.cpu_s - last.cpu_s).max(0.0) / seconds,
            resident_bytes: usage.resident_bytes,
        },
        connections,
        processes: newest(pipeline, now_ns),
        losses: losses(pipeline),
        sensors: pipeline
            .kernel
            .sensors
            .iter()
            .map(|entry| admin::SensorState {
                name: entry.sensor.name().to_owned(),
                on: entry.state.is_ok(),
                reason: entry.state.as_ref().err().cloned().unwrap_or_default(),
            })
            .collect(),
    };
    pipeline.rates = rates;
    state
}

fn connection(pipeline: &Pipeline, flow: &Flow, bytes_per_s: f64) -> admin::Connection {
    let stages = &pipeline.feed.engine.stages;
    let process = stages.processes.resolve(&flow.owner);
    let end = |(address, port): (IpAddr, u16)| std::net::SocketAddr::new(address, port).to_string();
    admin::Connection {
        role: match flow.role {
            Role::Client => "client",
            Role::Server => "server",
            Role::Unknown => "unknown",
        }
        .to_owned(),
        local: end(flow.local),
        peer: end(flow.peer),
        process: process.map(|process| lossy(process.image.comm())).unwrap_or_default(),
        pid: process.map_or(0, |process| process.key.tgid),
        workload: stages.workload_of(flow, process).name.to_string(),
        sent: flow.counters.bytes_sent,
        received: flow.counters.bytes_received,
        bytes_per_s,
        rtt_us: flow.counters.srtt_us,
        retransmits: u64::from(flow.counters.retransmits),
        age_ms: flow.end_ns.saturating_sub(flow.start_ns) / 1_000_000,
        state: state_name(flow.state).to_owned(),
    }
}

fn newest(pipeline: &Pipeline, now_ns: u64) -> Vec<admin::Process> {
    let stages = &pipeline.feed.engine.stages;
    let mut found: Vec<&Process> = stages.processes.live().collect();
    found.sort_unstable_by_key(|process| std::cmp::Reverse(process.started_ns));
    found.truncate(ROWS);
    let redactor = pipeline.feed.engine.outlet.redactor();
    let mut scratch = redact::Scratch::default();
    found
        .into_iter()
        .map(|process| {
            let image = &process.image;
            let arguments = redactor.redact(image.args(), &mut scratch).iter();
            let command = arguments.collect::<Vec<_>>().join(&b' ');
            let name = if command.is_empty() { image.comm() } else { &command };
            admin::Process {
                pid: process.key.tgid,
                parent: process.parent.tgid,
                uid: process.image.creds.uid,
                command: lossy(name),
                workload: stages.cgroups.lookup(process.cgroup).name.to_string(),
                age_ms: now_ns.saturating_sub(process.started_ns) / 1_000_000,
                exit: None,
            }
        })
        .collect()
}

fn losses(pipeline: &Pipeline) -> Vec<admin::Loss> {
    let mut found = Vec::new();
    let mut add = |place: &str, cause: &str, count: u64| {
        if count > 0 {
            found.push(admin::Loss { place: place.to_owned(), cause: cause.to_owned(), count });
        }
    };
    let ledger = pipeline.kernel.ledger().unwrap_or_default();
    for sensor in Sensor::ALL {
        for loss in Loss::ALL {
            let row = ledger.sensors.get(sensor as usize);
            let lost = row.and_then(|row| row.lost.get(loss as usize)).copied().unwrap_or_default();
            add(sensor.name(), loss.name(), lost);
        }
    }
    for kind in Malformed::ALL {
        add("decoder", kind.name(), pipeline.feed.engine.stages.decoder.counters().malformed(kind));
    }
    for stage in Stage::ALL {
        add("panic", stage.name(), pipeline.feed.engine.stages.guard.lost(stage));
    }
    let counts = pipeline.feed.engine.stages.flows.counts();
    add("flows", "close_lost", counts.lost_close);
    add("flows", "evicted", counts.evicted);
    add("flows", "memory", counts.shed);
    add("processes", "memory", pipeline.feed.engine.stages.processes.counters().shed);
    if let Some(exporter) = pipeline.feed.engine.outlet.exporter() {
        let stats = exporter.stats();
        for signal in Signal::ALL {
            let counts = stats.of(signal);
            let place = format!("otlp {}", signal.name());
            add(&place, "rejected", counts.rejected);
            for cause in DropCause::ALL {
                add(&place, cause.name(), counts.dropped(cause));
            }
        }
    }
    if let Some(lines) = &pipeline.lines {
        let (counts, _) = lines.counts();
        for cause in DropCause::ALL {
            add("stdout", cause.name(), counts.dropped(cause));
        }
    }
    for channel in pipeline.feed.engine.outlet.channels().states() {
        add(channel.name, "rejected", channel.counts.rejected);
        for cause in DropCause::ALL {
            add(channel.name, cause.name(), channel.counts.dropped(cause));
        }
    }
    found
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// As `ss` spells it.
fn state_name(state: u8) -> &'static str {
    const NAMES: [&str; 13] = [
        "?",
        "ESTAB",
        "SYN-SENT",
        "SYN-RECV",
        "FIN-WAIT-1",
        "FIN-WAIT-2",
        "TIME-WAIT",
        "CLOSE",
        "CLOSE-WAIT",
        "LAST-ACK",
        "LISTEN",
        "CLOSING",
        "SYN-RECV",
    ];
    NAMES.get(usize::from(state)).copied().unwrap_or("?")
}
