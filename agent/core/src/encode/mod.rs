//! OTLP, written by hand: reports in, the bytes of export requests out.
//!
//! One pass, no message structs, no allocation per record: `wire` writes fields, `batch` groups
//! records by workload, and one encoder per signal ([`LogsEncoder`], [`TracesEncoder`],
//! [`MetricsEncoder`]) knows the names. The property tests decode every request with
//! `opentelemetry-proto` and compare it with one built the plain way (docs/adr/0003).
//!
//! Resources: logs are about the subject workload, traces about the local workload, metrics about the
//! agent itself.

mod alert;
mod arguments;
mod attributes;
mod batch;
mod bodies;
pub mod ids;
mod image;
mod logs;
mod metrics;
mod pair_hash;
mod prefix;
mod process;
mod record;
pub mod redact;
mod resource;
mod text;
mod traces;
mod wire;

pub use attributes::Attributes;
pub use batch::Encoded;
pub use logs::LogsEncoder;
pub use metrics::{
    Exemplar, HistogramPoint, HistogramPoints, Instrument, MetricsEncoder, Number, NumberPoints, Temporality,
};
pub use resource::Identity;
pub use traces::TracesEncoder;

/// What turns the kernel's boot clock into the world's, as of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Unix time less boot time, ns.
    pub boot_to_unix_ns: u64,
    /// Now, ns since the epoch: when a record is observed.
    pub now_unix_ns: u64,
}

impl Clock {
    /// A time on the boot clock as ns since the epoch.
    pub fn unix_ns(self, boot_ns: u64) -> u64 {
        self.boot_to_unix_ns.saturating_add(boot_ns)
    }
}

#[cfg(test)]
mod tests;
