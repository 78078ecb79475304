//! Out: reports become lines on standard output and OTLP requests in the exporter's queue.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tarsier_core::encode::ids::{FlowIds, FlowKey};
use tarsier_core::encode::redact::{RedactConfig, Redactor};
use tarsier_core::encode::{Clock, Encoded, LogsEncoder, MetricsEncoder, TracesEncoder};
use tarsier_core::event::{FlowKind, Report, What};

use super::stages::Stages;
use super::workload_metrics;
use crate::config::Config;
use crate::export::otlp::OtlpExporter;
use crate::export::stdout::{PrintError, Printer};
use crate::export::{Batch, DropCause, Signal};
use crate::host::{clock, identity};

/// A request is sent when it has this many bytes …
const BATCH_BYTES: usize = 512 * 1024;
/// … or its first record is this old.
const BATCH_AGE: Duration = Duration::from_secs(1);

/// Encoders, exporter and printer.
pub(super) struct Outlet {
    exporter: Option<Arc<OtlpExporter>>,
    printer: Option<Printer<std::io::Stdout>>,
    redactor: Redactor,
    logs: LogsEncoder,
    traces: TracesEncoder,
    metrics: MetricsEncoder,
    ids: FlowIds,
    host_name: String,
    clock: Clock,
    started_unix_ns: u64,
    oldest: Option<Instant>,
    closed: bool,
}

impl Outlet {
    pub(super) fn new(config: &Config, exporter: Option<Arc<OtlpExporter>>) -> anyhow::Result<Self> {
        let redaction =
            RedactConfig { enabled: config.redaction.enabled, patterns: config.redaction.patterns.clone() };
        let redactor = Redactor::new(&redaction).context("redaction.patterns")?;
        let identity = identity::identity(
            &config.resource_attributes,
            FlowKey::from_secret(config.flows.connection_key.reveal()),
        );
        let limit = exporter.as_ref().map_or(BATCH_BYTES, |exporter| exporter.max_request_bytes());
        let terminal = std::io::stdout().is_terminal();
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let printer = config
            .output
            .style(terminal, colour)
            .map(|style| Printer::new(std::io::stdout(), style, &config.output));
        let offset = clock::unix_offset_ns();
        let now_unix_ns = clock::boot_ns() + offset;
        Ok(Self {
            exporter,
            printer,
            logs: LogsEncoder::new(&identity, Redactor::new(&redaction)?, limit),
            redactor,
            traces: TracesEncoder::new(&identity, limit),
            metrics: MetricsEncoder::new(&identity),
            ids: FlowIds::new(&identity.flow_key),
            host_name: identity.host_name,
            clock: Clock { boot_to_unix_ns: offset, now_unix_ns },
            started_unix_ns: now_unix_ns,
            oldest: None,
            closed: false,
        })
    }

    /// Sets what boot time means for the reports to come: the wall clock may have stepped.
    pub(super) fn set_time(&mut self, boot_to_unix_ns: u64) {
        self.clock = Clock { boot_to_unix_ns, now_unix_ns: clock::boot_ns() + boot_to_unix_ns };
    }

    /// Whether the reader of standard output is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Start of the agent, seconds since the epoch.
    pub(super) fn started_unix_s(&self) -> f64 {
        self.started_unix_ns as f64 / 1e9
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
        self.exporter.as_deref()
    }

    /// Takes one finished report.
    pub(super) fn report(&mut self, report: &Report<'_>) {
        if let Some(printer) = &mut self.printer {
            let redactor = &self.redactor;
            let redact = |argv: &[Box<[u8]>], index: usize, out: &mut Vec<u8>| {
                redactor.argument(argv, index, out);
            };
            let printed = printer.print(report, self.clock.boot_to_unix_ns, &redact);
            self.check(printed);
        }
        let Some(exporter) = &self.exporter else { return };
        let (signal, full) = match report.what {
            What::Flow { flow, .. } if flow.kind == FlowKind::Closed && exporter.takes(Signal::Traces) => {
                (Signal::Traces, self.traces.push(report, self.clock))
            }
            What::Flow { .. } => return,
            _ if exporter.takes(Signal::Logs) => (Signal::Logs, self.logs.push(report, self.clock)),
            _ => return,
        };
        if let Some(encoded) = full {
            self.send(signal, encoded);
        }
        let len = if signal == Signal::Logs { self.logs.len() } else { self.traces.len() };
        if len >= BATCH_BYTES {
            self.flush_signal(signal);
        }
        if self.oldest.is_none() {
            self.oldest = Some(Instant::now());
        }
    }

    /// Encodes and queues the metrics of all workloads.
    pub(super) fn send_metrics(&mut self, stages: &Stages) {
        if !self.exporter.as_ref().is_some_and(|exporter| exporter.takes(Signal::Metrics)) {
            return;
        }
        self.metrics.begin(self.started_unix_ns, self.clock.now_unix_ns);
        workload_metrics::encode(stages, &self.ids, self.clock, &mut self.metrics);
        if let Some(encoded) = self.metrics.finish() {
            self.send(Signal::Metrics, encoded);
        }
    }

    /// Ends a drain cycle: lines are written, and requests that are old enough are queued.
    pub(super) fn finish_cycle(&mut self) {
        if let Some(printer) = &mut self.printer {
            let printed = printer.flush();
            self.check(printed);
        }
        if self.oldest.is_some_and(|oldest| oldest.elapsed() >= BATCH_AGE) {
            self.flush();
        }
    }

    /// Queues whatever is encoded.
    pub(super) fn flush(&mut self) {
        self.flush_signal(Signal::Logs);
        self.flush_signal(Signal::Traces);
        self.oldest = None;
        if let Some(printer) = &mut self.printer {
            let printed = printer.flush();
            self.check(printed);
        }
    }

    /// Says what did not reach the backend, if anything.
    pub(super) fn log_account(&self) {
        let Some(exporter) = &self.exporter else { return };
        let stats = exporter.stats();
        for signal in Signal::ALL {
            let counts = stats.of(signal);
            let lost = counts.dropped_total() + counts.rejected;
            let (name, sent) = (signal.name(), counts.sent);
            if lost == 0 {
                tracing::info!(signal = name, sent, "exported");
            } else {
                let causes: Vec<String> = DropCause::ALL
                    .into_iter()
                    .filter(|cause| counts.dropped(*cause) > 0)
                    .map(|cause| format!("{} {}", counts.dropped(cause), cause.name()))
                    .collect();
                tracing::warn!(
                    signal = name,
                    sent,
                    rejected = counts.rejected,
                    dropped = causes.join(", "),
                    "exported, with losses"
                );
            }
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

    fn send(&self, signal: Signal, Encoded { body, items }: Encoded) {
        if let Some(exporter) = &self.exporter {
            // A batch that is not taken is in the exporter's ledger by its cause.
            let _ = exporter.push(Batch { signal, body, items });
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
