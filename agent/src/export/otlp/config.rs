//! The OTLP exporter's section of the configuration file.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::headers::Headers;
use crate::export::Signal;

/// OTLP over gRPC: logs, traces and metrics to a Collector or any backend that speaks OTLP.
///
/// The standard `OTEL_EXPORTER_OTLP_*` variables fill what is not set here (the file wins over
/// the environment, the environment over the defaults). Without an endpoint from either, nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// Where to send: `http://host:port` (plain text) or `https://host:port` (TLS). The usual port of OTLP over
    /// gRPC is 4317. Not set: nothing is sent, unless a signal has its own endpoint.
    pub endpoint: Option<String>,
    /// Headers of every request, such as an API key or a tenant. Better in `headers_file` if secret.
    pub headers: Headers,
    /// File with more headers, one `name: value` a line; they win over `headers`. Read again when it changes.
    pub headers_file: Option<PathBuf>,
    /// How long one attempt may take, connection included. Default: 10s.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Duration>,
    /// How requests are compressed. Default: `auto`.
    pub compression: Option<Compression>,
    /// Certificates, for `https://` endpoints.
    pub tls: TlsConfig,
    /// What is tried again, how often and how long.
    pub retry: RetryConfig,
    /// What waits while the endpoint is slow or away.
    pub queue: QueueConfig,
    /// Largest request, bytes before compression: the batches are cut to it. 4 MiB is what gRPC servers accept
    /// by default; some backends accept less (New Relic: 1000000).
    pub max_request_bytes: usize,
    /// Logs: process events.
    pub logs: SignalConfig,
    /// Traces: one span per connection.
    pub traces: SignalConfig,
    /// Metrics: aggregates by workload.
    pub metrics: SignalConfig,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: Headers::default(),
            headers_file: None,
            timeout: None,
            compression: None,
            tls: TlsConfig::default(),
            retry: RetryConfig::default(),
            queue: QueueConfig::default(),
            max_request_bytes: 4 << 20,
            logs: SignalConfig::default(),
            traces: SignalConfig::default(),
            metrics: SignalConfig::default(),
        }
    }
}

impl OtlpConfig {
    /// The default of [`OtlpConfig::timeout`].
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
    /// Where a Collector on this machine listens: the value to suggest.
    pub const LOCAL_ENDPOINT: &str = "http://localhost:4317";

    /// Whether any enabled signal has an endpoint. Ask after [`OtlpConfig::apply_env`].
    pub fn is_configured(&self) -> bool {
        Signal::ALL.into_iter().any(|signal| self.endpoint_of(signal).is_some())
    }

    /// The section of one signal.
    pub const fn signal(&self, signal: Signal) -> &SignalConfig {
        match signal {
            Signal::Logs => &self.logs,
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        }
    }

    pub(super) const fn signal_mut(&mut self, signal: Signal) -> &mut SignalConfig {
        match signal {
            Signal::Logs => &mut self.logs,
            Signal::Traces => &mut self.traces,
            Signal::Metrics => &mut self.metrics,
        }
    }

    /// The endpoint of a signal; `None` if it is not sent.
    pub(super) fn endpoint_of(&self, signal: Signal) -> Option<&str> {
        let own = self.signal(signal);
        if own.enabled { own.endpoint.as_deref().or(self.endpoint.as_deref()) } else { None }
    }
}

/// What one signal does differently.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SignalConfig {
    /// Whether this signal is sent.
    pub enabled: bool,
    /// Its own endpoint, in place of the common one.
    pub endpoint: Option<String>,
    /// Its own headers, added to the common ones and winning over them.
    pub headers: Headers,
    /// Its own timeout, in place of the common one.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Duration>,
    /// Its own compression, in place of the common one.
    pub compression: Option<Compression>,
}

impl Default for SignalConfig {
    fn default() -> Self {
        Self { enabled: true, endpoint: None, headers: Headers::default(), timeout: None, compression: None }
    }
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// None to an endpoint on this machine, gzip to any other: every OTLP receiver reads gzip.
    #[default]
    Auto,
    /// None: least CPU.
    None,
    /// gzip, at level 1.
    Gzip,
    /// zstd, at level 1: less CPU than gzip for about as few bytes; the backend must support it.
    Zstd,
}

/// Certificates. All files are PEM; they are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificate authorities that the server's certificate must come from, in place of the system's and the
    /// built-in ones.
    pub ca_file: Option<PathBuf>,
    /// Own certificate, with its chain, if the server asks for one (mTLS). Needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// Private key of `cert_file`.
    pub key_file: Option<PathBuf>,
    /// Name that the server's certificate must bear, if it is not the endpoint's host.
    pub server_name: Option<String>,
}

/// When to try again. Only what the OTLP specification calls retryable is; a delay that the server asks for
/// (`RetryInfo`) wins over the backoff.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Upper bound of the first delay; it doubles with every failure. The delay itself is random below its bound.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub initial: Duration,
    /// Largest upper bound of a delay.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub max: Duration,
    /// How long one batch is tried, from its first attempt; then it is dropped (`retry_exhausted`). `0s`: for ever.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub max_elapsed: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            max: Duration::from_secs(30),
            max_elapsed: Duration::from_secs(300),
        }
    }
}

/// What waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Bytes of encoded requests kept for all signals together, those being sent included. When it is full, the
    /// oldest batch of the signal that holds most is dropped (`queue_full`).
    pub max_bytes: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { max_bytes: 32 << 20 }
    }
}

/// One mistake in the configuration or the environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// Where: a dotted path within this section (`logs.endpoint`), or the name of an environment variable.
    pub key: String,
    /// What is wrong and what to write instead.
    pub problem: String,
}

impl ConfigError {
    pub(super) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}
