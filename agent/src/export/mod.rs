//! Exporters: the way out. One file or folder per exporter, each with its own Config; every one of
//! them passes the contract suite in `agent/tests/exporters/`, and channels of alerts that in `agent/tests/alerts/`.
//!
//! [`otlp`] sends pre-encoded batches over gRPC, [`stdout`] prints reports as lines, [`alerts`] has the channels that
//! Falco's users know. What an exporter
//! could not send is in its [`Counts`], by [`DropCause`].

use bytes::Bytes;

pub mod alerts;
mod backoff;
mod escape;
mod ledger;
pub mod otlp;
mod queue;
mod stamps;
pub mod stdout;
mod worker;

pub use ledger::{Counts, DropCause, Snapshot};

/// `write!` into a vector, which cannot fail.
macro_rules! put {
    ($out:expr, $($format:tt)+) => {{
        let out: &mut Vec<u8> = $out;
        let _ = std::io::Write::write_fmt(out, format_args!($($format)+));
    }};
}
use put;

/// The three kinds of telemetry that OTLP knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Process events.
    Logs,
    /// One span per closed connection.
    Traces,
    /// Aggregates by workload.
    Metrics,
}

impl Signal {
    /// Every signal, in the order of [`Signal::index`].
    pub const ALL: [Self; 3] = [Self::Logs, Self::Traces, Self::Metrics];

    /// Dense number: 0, 1, 2.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// `logs`, `traces` or `metrics`: as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

/// One request, encoded and ready to be sent: it is not touched again, however often it is retried.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which service receives it.
    pub signal: Signal,
    /// A whole `Export…ServiceRequest` in protobuf encoding.
    pub body: Bytes,
    /// Log records, spans or data points in it: the unit of the ledger.
    pub items: u32,
}
