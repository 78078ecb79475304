//! The agent's own metrics: every name in one table, and the Prometheus text format.
//!
//! Workload metrics (bytes, connections, latencies) are not here: they go out over OTLP.

use std::fmt::Write;

use super::falco::{self, FalcoSnapshot};

/// The content type of [`Snapshot::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How a value may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the agent's start.
    Counter,
    /// Goes up and down.
    Gauge,
}

macro_rules! metrics {
    ($($variant:ident $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        /// A metric of the agent itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Metric { $(#[doc = $help] $variant,)+ }

        impl Metric {
            /// Every metric, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in Prometheus.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name,)+ } }
            /// One line for people.
            pub const fn help(self) -> &'static str { match self { $(Self::$variant => $help,)+ } }
            /// How the value changes.
            pub const fn kind(self) -> Kind { match self { $(Self::$variant => Kind::$kind,)+ } }
            /// Label names, in the order in which [`Snapshot::push`] takes their values.
            pub const fn labels(self) -> &'static [&'static str] { match self { $(Self::$variant => &[$($label),*],)+ } }
        }
    };
}

metrics! {
    BuildInfo Gauge "tarsier_build_info" ["version", "git_revision", "ebpf_object"] "Always 1; the labels say what this binary was built from.";
    StartTime Gauge "tarsier_start_time_seconds" [] "When the agent started, by the present wall clock, seconds since the epoch.";
    SensorAttached Gauge "tarsier_sensor_attached" ["sensor", "reason"] "1 if every program of the sensor is attached; otherwise 0, and the reason.";
    SensorHook Gauge "tarsier_sensor_hook" ["sensor", "hook"] "Always 1; the labels say by which hooks of those it can use a sensor is attached.";
    RecordsProduced Counter "tarsier_records_produced_total" ["sensor"] "Records that a program set out to write.";
    RecordsReceived Counter "tarsier_records_received_total" ["sensor"] "Records read from a ring.";
    RecordsLost Counter "tarsier_records_lost_total" ["sensor", "reason"] "Records that did not reach their ring, by reason (ring_full, unreadable).";
    SequenceGaps Counter "tarsier_sequence_gaps_total" ["sensor"] "Records missing between two sequence numbers of a CPU, as seen when reading.";
    RecordsMalformed Counter "tarsier_records_malformed_total" ["kind"] "Records refused by the decoder, by kind.";
    RecordsPanicked Counter "tarsier_records_panicked_total" ["stage"] "Records lost because a stage panicked on them, by stage (apply, flows, rules, report, metrics).";
    RecordsUnattributed Counter "tarsier_records_unattributed_total" ["sensor"] "Events whose process or container is not known.";
    Reports Counter "tarsier_reports_total" ["kind"] "Events reported, by kind: exec, fork and exit become logs, flow (a closed connection) a span, live (an open one, at a sweep) metrics.";
    RuleMatches Counter "tarsier_rule_matches_total" ["rule", "priority", "source"] "Events that a rule matched, whether or not an alert was told of them. Of rules that no longer run the last 1,024 are here; those before are one row without name and priority.";
    RuleWithheld Counter "tarsier_rule_withheld_total" ["rule", "cause"] "Matches of a rule of which no alert was told, by cause: throttled (alerts.throttle), grouped (alerts.group).";
    RuleEvaluations Counter "tarsier_rule_evaluations_total" ["rule"] "Events for which a comparison of a rule was made; absent unless rules.cost is on.";
    RuleEvaluationTime Counter "tarsier_rule_evaluation_nanoseconds_total" ["rule"] "Time that the comparisons of a rule took, with the reading of the clock; absent unless rules.cost is on.";
    RuleEvents Counter "tarsier_rule_events_total" [] "Events that rules were tried on.";
    RulesRunning Gauge "tarsier_rules_running" ["digest"] "Rules that run; the label names the set: SHA-256 of its files.";
    RulesLoaded Gauge "tarsier_rules_loaded_time_seconds" [] "When the rules that run were loaded, seconds since the epoch.";
    RuleReloads Counter "tarsier_rule_reloads_total" ["outcome"] "Times that rules and configuration were loaded anew, by outcome: loaded, or failed (those before go on).";
    Lookups Counter "tarsier_lookups_total" ["about", "outcome"] "Looks at what rules ask about containers (container) and users (users) and no record says, by outcome: found, unchanged, cut (labels and mounts were too long), or why not: absent, unreadable, malformed, too_large, no_room (too many questions), no_memory, no_thread.";
    LookupEntries Gauge "tarsier_lookup_entries" ["about"] "Containers, and places with users, of which an answer is held.";
    LookupEvents Counter "tarsier_lookup_events_total" ["outcome"] "Events that waited for such an answer, by outcome: answered; late or no_room: rules were tried on them without it; also lost: their process had been evicted from the table meanwhile, and no rule was tried.";
    LookupWaiting Gauge "tarsier_lookup_events_waiting" [] "Events that wait for such an answer.";
    ProcessEntries Gauge "tarsier_process_entries" [] "Processes in the process table.";
    ProcessEvictions Counter "tarsier_process_evictions_total" ["cause"] "Processes removed before their time, by cause: the table was full, or memory was short.";
    ProcessAnomalies Counter "tarsier_process_anomalies_total" ["kind"] "What the process table had to put up with: records repeated, missing or cut.";
    ProcessArguments Counter "tarsier_process_argument_records_total" [] "Further records of long command lines, joined to their exec.";
    ProcessWaiting Gauge "tarsier_process_waiting" [] "Execs that wait for the rest of their command line.";
    FlowAnomalies Counter "tarsier_flow_anomalies_total" ["kind"] "What the flow table had to put up with: records late, missing or contradictory.";
    CgroupsUnattributed Counter "tarsier_cgroups_unattributed_total" [] "Look-ups of cgroups that no record and no walk told of: answered with the host.";
    RecordsReordered Counter "tarsier_records_reordered_total" ["sensor", "kind"] "Records that came late or twice; none is lost by it.";
    ProcessOrphans Counter "tarsier_process_orphans_total" [] "Records that name a process that the table does not hold.";
    FlowsLive Gauge "tarsier_flows_live" [] "Live connections in the flow table.";
    FlowsBegun Counter "tarsier_flows_begun_total" [] "Connections taken into the flow table. Each ends as a report, a half-open handshake or an orphan owner.";
    FlowsLost Counter "tarsier_flows_lost_total" [] "Connections whose close record was lost, found by the sweep.";
    FlowsEvicted Counter "tarsier_flows_evicted_total" ["cause"] "Connections no longer held, by cause: the table was full, or memory was short.";
    ExporterItems Counter "tarsier_exporter_items_total" ["exporter", "signal", "outcome", "cause"] "Items handed to an exporter: outcome sent, rejected or dropped, with the cause of the last two.";
    ExporterRequests Counter "tarsier_exporter_requests_total" ["exporter", "signal", "status"] "Requests of an exporter, by status.";
    ExporterWaiting Gauge "tarsier_exporter_waiting_items" ["exporter", "signal", "place"] "Items on their way out: in the request under construction (encoding), queued, or in flight.";
    ExporterQueueBytes Gauge "tarsier_exporter_queue_bytes" ["exporter"] "Bytes that wait in an exporter's queue.";
    ExporterQueueLimit Gauge "tarsier_exporter_queue_limit_bytes" ["exporter"] "Most bytes that an exporter's queue holds.";
    DrainWakeups Counter "tarsier_drain_wakeups_total" ["cause"] "Times the drain ran, by cause (timer, threshold).";
    RingUsed Gauge "tarsier_ring_used_bytes" ["ring"] "Bytes that wait in a ring.";
    RingSize Gauge "tarsier_ring_size_bytes" ["ring"] "Size of a ring.";
    ProgramRuns Counter "tarsier_program_runs_total" ["program"] "Runs of a program (needs kernel.bpf_stats_enabled).";
    ProgramRunTime Counter "tarsier_program_run_nanoseconds_total" ["program"] "Time spent in a program (needs kernel.bpf_stats_enabled).";
    ProgramVerified Gauge "tarsier_program_verified_instructions" ["program"] "Instructions that this kernel's verifier looked at to accept the program (0 before 5.16).";
    ProgramMisses Counter "tarsier_program_recursion_misses_total" ["program"] "Runs that the kernel skipped because the program was already running on that CPU.";
    CpuSeconds Counter "tarsier_process_cpu_seconds_total" [] "CPU time that the agent used, user and system.";
    MemoryUsed Gauge "tarsier_memory_used_bytes" [] "Memory that counts against the limit; absent without one.";
    MemoryLimit Gauge "tarsier_memory_limit_bytes" [] "Most memory that the agent may use (memory.limit, or its cgroup's limit, whichever is the closest); absent without one.";
    MemoryShort Gauge "tarsier_memory_short" [] "1 while data is dropped because memory is short, otherwise 0.";
    ResidentBytes Gauge "tarsier_process_resident_memory_bytes" [] "Resident memory of the agent.";
}

/// A value: whole numbers stay exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A count.
    Int(u64),
    /// A fraction.
    Float(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

/// The values of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    samples: Vec<(Metric, Vec<String>, Value)>,
    /// The same under Falco's names, if it is asked for.
    pub falco: Option<FalcoSnapshot>,
}

impl Snapshot {
    /// With the metrics that do not depend on the pipeline: build facts.
    pub fn new() -> Self {
        let facts = super::build::FACTS;
        let mut snapshot = Self::default();
        snapshot.push(Metric::BuildInfo, &[facts.version, facts.git_revision, facts.ebpf_object], 1);
        snapshot
    }

    /// Adds one sample. `labels` are values in the order of [`Metric::labels`]; one that is left out
    /// is empty.
    pub fn push(&mut self, metric: Metric, labels: &[&str], value: impl Into<Value>) {
        debug_assert_eq!(labels.len(), metric.labels().len(), "{}: {labels:?}", metric.name());
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.samples.push((metric, labels, value.into()));
    }

    /// The value of one sample, if it is there.
    pub fn get(&self, metric: Metric, labels: &[&str]) -> Option<Value> {
        self.samples.iter().find(|(m, l, _)| *m == metric && l == labels).map(|(_, _, value)| *value)
    }

    /// In the Prometheus text format 0.0.4: samples of one metric together, each group with its help.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for metric in Metric::ALL {
            let mut samples = self.samples.iter().filter(|(m, ..)| m == metric).peekable();
            if samples.peek().is_some() {
                header(&mut text, metric.name(), metric.help(), metric.kind());
            }
            for (_, values, value) in samples {
                let labels = metric.labels().iter().copied().zip(values.iter().map(String::as_str));
                sample(&mut text, metric.name(), labels, *value);
            }
        }
        if let Some(falco) = &self.falco {
            falco.render(&mut text);
        }
        text
    }
}

/// What stands before the samples of a metric.
pub(super) fn header(text: &mut String, name: &str, help: &str, kind: Kind) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string takes all that is written");
}

/// One sample: its line.
pub(super) fn sample<'a>(
    text: &mut String,
    name: &str,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    value: Value,
) {
    text.push_str(name);
    let mut open = '{';
    for (label, value) in labels {
        text.push(std::mem::replace(&mut open, ','));
        text.push_str(label);
        text.push_str("=\"");
        for letter in value.chars() {
            match letter {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    if open == ',' {
        text.push('}');
    }
    match value {
        Value::Int(value) => writeln!(text, " {value}"),
        Value::Float(value) if value.is_nan() => writeln!(text, " NaN"),
        Value::Float(value) if value.is_infinite() => {
            writeln!(text, " {}Inf", if value > 0.0 { '+' } else { '-' })
        }
        Value::Float(value) => writeln!(text, " {value}"),
    }
    .expect("a string takes all that is written");
}

/// `docs/reference/metrics.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# The agent's own metrics

<!-- Generated from the code: `TARSIER_BLESS=1 cargo test -p tarsier fresh` rewrites this file. -->

Served at `/metrics` (`ops.listen`) in the Prometheus text format. What is lost, dropped, malformed
or unattributed is counted here by cause; `produced = received + lost` holds for every sensor once
the rings are drained.

| metric | type | labels | meaning |
|---|---|---|---|
",
    );
    for metric in Metric::ALL {
        let labels: Vec<String> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{:?}", metric.kind()).to_lowercase();
        writeln!(page, "| `{}` | {kind} | {} | {} |", metric.name(), labels.join(", "), metric.help())
            .expect("a string takes all that is written");
    }
    falco::reference(&mut page);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_format() {
        let mut snapshot = Snapshot::default();
        snapshot.push(Metric::RecordsLost, &["exec", "ring_full"], u64::MAX);
        snapshot.push(Metric::FlowsLive, &[], 3);
        snapshot.push(Metric::RecordsLost, &["tcp", "a\"b\\c\nd"], 0.5);
        snapshot.push(Metric::CpuSeconds, &[], f64::INFINITY);
        assert_eq!(
            snapshot.render(),
            "\
# HELP tarsier_records_lost_total Records that did not reach their ring, by reason (ring_full, unreadable).
# TYPE tarsier_records_lost_total counter
tarsier_records_lost_total{sensor=\"exec\",reason=\"ring_full\"} 18446744073709551615
tarsier_records_lost_total{sensor=\"tcp\",reason=\"a\\\"b\\\\c\\nd\"} 0.5
# HELP tarsier_flows_live Live connections in the flow table.
# TYPE tarsier_flows_live gauge
tarsier_flows_live 3
# HELP tarsier_process_cpu_seconds_total CPU time that the agent used, user and system.
# TYPE tarsier_process_cpu_seconds_total counter
tarsier_process_cpu_seconds_total +Inf
"
        );
        assert_eq!(snapshot.get(Metric::FlowsLive, &[]), Some(Value::Int(3)));
        assert_eq!(snapshot.get(Metric::FlowsLost, &[]), None);
    }

    #[test]
    fn names_follow_the_conventions() {
        let mut names: Vec<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        for metric in Metric::ALL {
            let name = metric.name();
            assert!(name.starts_with("tarsier_") && metric.help().ends_with('.'), "{name}");
            assert_eq!(metric.kind() == Kind::Counter, name.ends_with("_total"), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::ALL.len());
    }

    #[test]
    fn the_metrics_page_is_fresh() {
        crate::fresh::assert_fresh("docs/reference/metrics.md", &reference());
    }
}
