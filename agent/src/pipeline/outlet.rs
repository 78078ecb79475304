//! Out: reports become lines on standard output and OTLP requests in the exporter's queue.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::Context;
use jiff::tz::TimeZone;
use tarsier_core::encode::ids::FlowIds;
use tarsier_core::encode::redact::{RedactConfig, Redactor};
use tarsier_core::encode::{Attributes, Clock, Encoded, LogsEncoder, MetricsEncoder, TracesEncoder};
use tarsier_core::event::alert::{Alert, TraceContext};
use tarsier_core::event::syscall::Connection;
use tarsier_core::event::{FlowKind, Report, What};

use super::engine::Surroundings;
use super::guard::{Stage, catch};
use super::offline::{Lines, Requests};
use super::stages::Stages;
use super::workload_metrics;
use crate::capture::Time;
use crate::config::Config;
use crate::export::alerts::line::LineForm;
use crate::export::alerts::{Change, Channels};
use crate::export::otlp::OtlpExporter;
use crate::export::stdout::{Outbox, PrintError, Printer, Style};
use crate::export::{Batch, Counts, DropCause, Signal};

/// A request is sent when it has this many bytes …
const BATCH_BYTES: usize = 1024 * 1024;
/// … or its first record is this old.
const BATCH_AGE_NS: u64 = 1_000_000_000;

/// Where requests go.
pub(super) enum Sink {
    /// Nowhere: nothing is encoded.
    None,
    /// To an exporter's queue, which drops when it is full.
    Live(Arc<OtlpExporter>),
    /// To an exporter's queue when it has room: a capture can wait.
    Patient(Arc<OtlpExporter>),
    /// To a function.
    Call(Requests),
}

impl Sink {
    fn exporter(&self) -> Option<&OtlpExporter> {
        match self {
            Self::Live(exporter) | Self::Patient(exporter) => Some(exporter),
            Self::None | Self::Call(_) => None,
        }
    }

    fn takes(&self, signal: Signal) -> bool {
        match self {
            Self::None => false,
            Self::Call(_) => true,
            Self::Live(exporter) | Self::Patient(exporter) => exporter.takes(signal),
        }
    }
}

/// How lines look: of events and of alerts, one of them at least.
pub(super) struct Forms {
    pub(super) events: Option<Style>,
    pub(super) alerts: Option<LineForm>,
}

impl Forms {
    /// Those of standard output, if the configuration wants any there. `rules`: there may be alerts.
    pub(super) fn of_stdout(config: &Config, rules: bool, host_name: &str) -> Option<Self> {
        let terminal = std::io::stdout().is_terminal();
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let events = config.output.style(terminal, colour, rules);
        let output = &config.alerts.stdout_output;
        // Among JSON lines a line of text would be a mistake.
        let json = output.json_output.or((events == Some(Style::Json)).then_some(true));
        let form = || LineForm::new(&config.alerts, json, host_name, TimeZone::system());
        let alerts = (rules && output.enabled).then(form);
        (events.is_some() || alerts.is_some()).then_some(Self { events, alerts })
    }

    /// A printer of such lines.
    pub(super) fn printer(self, lines: Lines, config: &Config) -> Printer<Lines> {
        Printer::new(lines, self.events, self.alerts, &config.output)
    }
}

/// Standard output as the pipeline needs it: nothing waits for whoever reads it.
pub(super) fn stdout_outbox(config: &Config) -> std::io::Result<Outbox> {
    // Past the standard library's own buffer and lock: `main` writes nothing while the pipeline runs.
    let stdout = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let max_bytes = usize::try_from(config.output.buffer_bytes.get()).unwrap_or(usize::MAX);
    Outbox::start(stdout, max_bytes)
}

/// Encoders, exporter and printer.
pub(super) struct Outlet {
    sink: Sink,
    printer: Option<Printer<Lines>>,
    channels: Arc<Channels>,
    redactor: Redactor,
    logs: LogsEncoder,
    traces: TracesEncoder,
    metrics: MetricsEncoder,
    /// Memory for the labels of metrics.
    labels: Vec<Attributes>,
    ids: FlowIds,
    host_name: String,
    clock: Clock,
    /// Boot time when the agent began.
    began_ns: u64,
    /// When the metric series began, by the present wall clock.
    series_since_unix_ns: u64,
    /// Boot time when the oldest item of the present requests was encoded.
    oldest_ns: Option<u64>,
    now_ns: u64,
    closed: bool,
}

impl Outlet {
    pub(super) fn new(
        config: &Config,
        surroundings: &Surroundings,
        sink: Sink,
        printer: Option<Printer<Lines>>,
    ) -> anyhow::Result<Self> {
        let Redactors { lines, logs } = Redactors::new(config)?;
        let identity = &surroundings.identity;
        let limit = sink.exporter().map_or(BATCH_BYTES, OtlpExporter::max_request_bytes);
        let Time { boot_ns, unix_offset_ns } = surroundings.began;
        let now_unix_ns = boot_ns.wrapping_add(unix_offset_ns);
        Ok(Self {
            sink,
            printer,
            channels: Arc::default(),
            logs: LogsEncoder::new(identity, logs, limit),
            redactor: lines,
            traces: TracesEncoder::new(identity, limit),
            metrics: MetricsEncoder::new(identity),
            labels: Vec::new(),
            ids: FlowIds::new(&identity.flow_key),
            host_name: identity.host_name.clone(),
            clock: Clock { boot_to_unix_ns: unix_offset_ns, now_unix_ns },
            began_ns: boot_ns,
            series_since_unix_ns: now_unix_ns,
            oldest_ns: None,
            now_ns: boot_ns,
            closed: false,
        })
    }

    /// The same, with these channels for alerts.
    pub(super) fn with_channels(self, channels: Arc<Channels>) -> Self {
        Self { channels, ..self }
    }

    /// The channels of alerts, for their accounts.
    pub(super) fn channels(&self) -> &Channels {
        &self.channels
    }

    /// Another configuration from here on: what is hidden, the channels of alerts, and how alerts look on standard output.
    /// `lines` are those if nothing was printed so far.
    pub(super) fn change(
        &mut self,
        config: &Config,
        redactors: Redactors,
        channels: Change,
        alerts: Option<LineForm>,
        lines: Option<Outbox>,
    ) {
        self.redactor = redactors.lines;
        self.logs.set_redactor(redactors.logs);
        self.channels.install(channels);
        match (&mut self.printer, lines) {
            (Some(printer), _) => printer.set_alerts(alerts),
            (None, Some(lines)) => {
                self.printer = Some(Printer::new(Box::new(lines), None, alerts, &config.output));
            }
            (None, None) => {}
        }
    }

    /// Whether anything is printed.
    pub(super) fn prints(&self) -> bool {
        self.printer.is_some()
    }

    /// Sets what boot time means for the reports to come: the wall clock may have stepped.
    pub(super) fn set_time(&mut self, time: Time) {
        let Time { boot_ns, unix_offset_ns } = time;
        self.now_ns = boot_ns;
        self.clock =
            Clock { boot_to_unix_ns: unix_offset_ns, now_unix_ns: boot_ns.wrapping_add(unix_offset_ns) };
    }

    /// Whether the reader of standard output is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// From `time` on the metric series begin anew.
    pub(super) fn restart_metrics(&mut self, time: Time) {
        self.series_since_unix_ns = time.boot_ns.wrapping_add(time.unix_offset_ns);
    }

    /// Start of the agent by the present wall clock, ns since 1970.
    pub(super) fn started_unix_ns(&self) -> u64 {
        self.clock.unix_ns(self.began_ns)
    }

    /// `host.name`.
    pub(super) fn host_name(&self) -> &str {
        &self.host_name
    }

    /// The redactor, for command lines that are shown elsewhere.
    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// The exporter, for its account.
    pub(super) fn exporter(&self) -> Option<&OtlpExporter> {
        self.sink.exporter()
    }

    /// Items in the request under construction.
    pub(super) fn encoding(&self, signal: Signal) -> u32 {
        match signal {
            Signal::Logs => self.logs.items(),
            Signal::Traces => self.traces.items(),
            Signal::Metrics => self.metrics.items(),
        }
    }

    /// Takes one finished report.
    pub(super) fn report(&mut self, report: &Report<'_>) {
        if let Some(printer) = &mut self.printer {
            let redactor = &self.redactor;
            let printed = printer.print(report, self.clock.boot_to_unix_ns, redactor);
            self.check(printed);
        }
        let (signal, full) = match report.what {
            What::Flow { flow, .. } if flow.kind == FlowKind::Closed && self.sink.takes(Signal::Traces) => {
                (Signal::Traces, self.traces.push(report, self.clock))
            }
            What::Flow { .. } => return,
            _ if self.sink.takes(Signal::Logs) => (Signal::Logs, self.logs.push(report, self.clock)),
            _ => return,
        };
        self.encoded(signal, full);
    }

    /// An item was encoded; `full` is the request before it, if it is in the next one.
    fn encoded(&mut self, signal: Signal, full: Option<Encoded>) {
        if let Some(encoded) = full {
            self.send(signal, encoded);
        }
        let len = if signal == Signal::Logs { self.logs.len() } else { self.traces.len() };
        if len >= BATCH_BYTES {
            self.flush_signal(signal);
        }
        self.oldest_ns.get_or_insert(self.now_ns);
    }

    /// Takes one alert.
    pub(super) fn alert(&mut self, alert: &Alert<'_>) {
        if let Some(printer) = &mut self.printer {
            let printed = printer.alert(alert);
            self.check(printed);
        }
        self.channels.tell(alert);
        if self.sink.takes(Signal::Logs) {
            let full = self.logs.push_alert(alert, self.clock);
            self.encoded(Signal::Logs, full);
        }
    }

    /// The ids that the span of a connection has, or will have once it is closed: they follow from the connection.
    pub(super) fn span_of(&self, connection: &Connection) -> Option<TraceContext> {
        let ids = self.ids.of_pair(connection.isn, connection.role)?;
        Some(TraceContext { trace_id: ids.trace, span_id: ids.span })
    }

    /// A time on the boot clock as ns since 1970.
    pub(super) fn unix_ns(&self, boot_ns: u64) -> u64 {
        self.clock.unix_ns(boot_ns)
    }

    /// Encodes and queues the metrics of all workloads.
    pub(super) fn encode_metrics(&mut self, stages: &mut Stages) {
        if !self.sink.takes(Signal::Metrics) {
            return;
        }
        let caught = catch(|| {
            self.metrics.begin(self.series_since_unix_ns, self.clock.now_unix_ns);
            workload_metrics::encode(stages, &self.ids, self.clock, &mut self.labels, &mut self.metrics);
            if let Some(encoded) = self.metrics.finish() {
                self.send(Signal::Metrics, encoded);
            }
        });
        stages.guard.note(Stage::Metrics, 1, caught);
    }

    /// Ends a drain cycle: lines are written, and requests that are old enough are queued.
    pub(super) fn finish_cycle(&mut self) {
        if let Some(printer) = &mut self.printer {
            let printed = printer.flush();
            self.check(printed);
        }
        if self.oldest_ns.is_some_and(|oldest| self.now_ns.saturating_sub(oldest) >= BATCH_AGE_NS) {
            self.flush();
        }
    }

    /// Queues whatever is encoded.
    pub(super) fn flush(&mut self) {
        self.flush_signal(Signal::Logs);
        self.flush_signal(Signal::Traces);
        self.oldest_ns = None;
        if let Some(printer) = &mut self.printer {
            let printed = printer.flush();
            self.check(printed);
        }
    }

    /// Says what did not reach the backend or a channel, if anything.
    pub(super) fn log_account(&self) {
        for channel in self.channels.states() {
            log_counts(channel.name, &channel.counts);
        }
        let Some(exporter) = self.sink.exporter() else { return };
        let stats = exporter.stats();
        for signal in Signal::ALL {
            log_counts(signal.name(), stats.of(signal));
        }
    }

    fn flush_signal(&mut self, signal: Signal) {
        let encoded = match signal {
            Signal::Logs => self.logs.finish(),
            Signal::Traces => self.traces.finish(),
            Signal::Metrics => None,
        };
        if let Some(encoded) = encoded {
            self.send(signal, encoded);
        }
    }

    fn send(&mut self, signal: Signal, Encoded { body, items }: Encoded) {
        let batch = Batch { signal, body, items };
        match &mut self.sink {
            Sink::None => {}
            Sink::Call(take) => take(batch),
            // A batch that is not taken is in the exporter's ledger by its cause.
            Sink::Live(exporter) => {
                let _ = exporter.push(batch);
            }
            Sink::Patient(exporter) => {
                exporter.wait_for_room(batch.body.len());
                let _ = exporter.push(batch);
            }
        }
    }

    fn check(&mut self, printed: Result<(), PrintError>) {
        if let Err(error) = printed {
            if !matches!(error, PrintError::Closed) {
                tracing::error!(%error, "standard output: no more lines");
            }
            self.closed = true;
            self.printer = None;
        }
    }
}

/// Says what became of everything of one kind.
pub(super) fn log_counts(signal: &str, counts: &Counts) {
    let sent = counts.sent;
    if counts.dropped_total() + counts.rejected == 0 {
        tracing::info!(signal, sent, "exported");
        return;
    }
    let causes = DropCause::ALL.into_iter().filter(|cause| counts.dropped(*cause) > 0);
    let causes: Vec<_> = causes.map(|cause| format!("{} {}", counts.dropped(cause), cause.name())).collect();
    let (rejected, dropped) = (counts.rejected, causes.join(", "));
    tracing::warn!(signal, sent, rejected, dropped, "exported, with losses");
}

/// What hides secrets: in lines and alerts, and in logs.
pub(super) struct Redactors {
    lines: Redactor,
    logs: Redactor,
}

impl Redactors {
    /// # Errors
    /// A pattern cannot be used.
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        let redaction = redaction(config);
        let redactor = || Redactor::new(&redaction).context("redaction.patterns");
        Ok(Self { lines: redactor()?, logs: redactor()? })
    }
}

/// What the configuration hides.
pub(super) fn redaction(config: &Config) -> RedactConfig {
    RedactConfig { enabled: config.redaction.enabled, patterns: config.redaction.patterns.clone() }
}
