//! OTLP over gRPC: requests that are encoded already, sent with retry, and accounted for.
//!
//! [`OtlpExporter::push`] (any thread) → `queue` → one `worker` per signal → `client`.
//! `config` is what the user writes, `env` what the environment adds, `settings` both checked.
//!
//! Delivery is at least once: a request whose answer was lost is sent again. Memory is bounded by the queue
//! plus, per signal being sent, the request's compressed form and what `gather` holds (128 KiB).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

mod client;
mod codec;
mod config;
mod env;
mod gather;
mod headers;
mod message;
mod retry;
mod settings;
mod tls;

pub use client::{Health, LastError};
pub use config::{
    Compression, ConfigError, Headers, OtlpConfig, QueueConfig, RetryConfig, SignalConfig, TlsConfig,
};

use self::client::{Client, SharedHealth};
use super::queue::Queue;
use super::worker::{Patience, Worker};
use super::{Batch, DropCause, Signal, Snapshot};

/// Why the exporter cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The configuration has mistakes: all of them.
    #[error("the OTLP configuration has {} mistake(s)", .0.len())]
    Config(Vec<ConfigError>),
    /// A file it names cannot be used.
    #[error(transparent)]
    File(#[from] ConnectError),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A PEM file without what it is named for.
    #[error("{path} holds no PEM section {kind}", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        kind: &'static str,
    },
    /// A file of headers with a mistake. The text shows no values.
    #[error("{path}: {problem}", path = path.display())]
    Headers {
        /// The file.
        path: PathBuf,
        /// The mistake.
        problem: String,
    },
    /// Certificates or keys that TLS cannot use.
    #[error("TLS: {0}")]
    Tls(String),
    /// Name resolution, TCP or the TLS handshake failed.
    #[error("cannot connect")]
    Connect(#[source] tonic::transport::Error),
}

/// A running exporter. Dropping it stops its workers at once; [`OtlpExporter::shutdown`] flushes first.
#[derive(Debug)]
pub struct OtlpExporter {
    queue: Arc<Queue>,
    runtime: Handle,
    max_request_bytes: usize,
    /// By signal; `None` for a signal that is not sent.
    health: [Option<SharedHealth>; Signal::ALL.len()],
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl OtlpExporter {
    /// Starts a worker per configured signal on `runtime`. It does not wait for the backend: one that is
    /// away is retried. Signals without an endpoint are not sent.
    ///
    /// # Errors
    /// The configuration is mistaken, or a file it names cannot be used.
    pub fn start(config: &OtlpConfig, runtime: &Handle) -> Result<Self, ExportError> {
        let targets = config.resolve().map_err(ExportError::Config)?;
        targets.iter().try_for_each(client::check)?;
        let queue = Arc::new(Queue::new(config.queue.max_bytes));
        let mut health = [const { None }; Signal::ALL.len()];
        let RetryConfig { initial, max, max_elapsed } = config.retry;
        let patience = Patience { initial, max, max_elapsed };
        let mut workers = Vec::new();
        for target in targets {
            let shared = SharedHealth::default();
            health[target.signal.index()] = Some(Arc::clone(&shared));
            let client = Client::new(target, shared);
            workers.push(runtime.spawn(Worker::new(Arc::clone(&queue), client, patience).run()));
        }
        let workers = Mutex::new(workers);
        Ok(Self {
            queue,
            runtime: runtime.clone(),
            max_request_bytes: config.max_request_bytes,
            health,
            workers,
        })
    }

    /// Whether this signal is sent. Nothing need be encoded for one that is not.
    pub fn takes(&self, signal: Signal) -> bool {
        self.health[signal.index()].is_some()
    }

    /// Queues a batch; never blocks. A batch of a signal that is not sent is ignored and not counted: nothing
    /// is lost that nobody asked for.
    ///
    /// # Errors
    /// The batch was not taken and is in the ledger under this cause: too large, no room beside what
    /// is in flight, or shutting down.
    pub fn push(&self, batch: Batch) -> Result<(), DropCause> {
        if self.takes(batch.signal) { self.queue.push(batch, self.max_request_bytes) } else { Ok(()) }
    }

    /// Blocks until the queue has room for a body of `bytes`, for who would rather wait than lose. Not to be
    /// called from the exporter's own runtime.
    pub fn wait_for_room(&self, bytes: usize) {
        self.runtime.block_on(self.queue.room(bytes));
    }

    /// Largest body that [`OtlpExporter::push`] takes, bytes.
    pub fn max_request_bytes(&self) -> usize {
        self.max_request_bytes
    }

    /// Memory is short: halves the queue, see `DropCause::Memory`. Whether anything was given up.
    pub fn shed(&self) -> bool {
        self.queue.shed()
    }

    /// There is memory again: the queue may hold what it is configured to.
    pub fn restore(&self) {
        self.queue.restore();
    }

    /// Most bytes that wait at once.
    pub fn queue_limit_bytes(&self) -> usize {
        self.queue.max_bytes()
    }

    /// The ledger now.
    pub fn stats(&self) -> Snapshot {
        self.queue.snapshot()
    }

    /// State of one signal's connection; `None` if it is not sent.
    pub fn health(&self, signal: Signal) -> Option<Health> {
        let health = self.health[signal.index()].as_ref()?;
        Some(health.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Takes nothing more, sends what is queued for at most `deadline`, counts the rest as
    /// [`DropCause::Shutdown`] and returns the final ledger. What was unanswered at the deadline counts as
    /// lost although the backend may have it.
    pub async fn shutdown(&self, deadline: Duration) -> Snapshot {
        self.queue.close();
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        let end = tokio::time::Instant::now() + deadline;
        for mut worker in workers {
            if tokio::time::timeout_at(end, &mut worker).await.is_err() {
                worker.abort();
                // Wait until it is gone: it must not settle a batch after the ledger is closed.
                let _ = worker.await;
            }
        }
        self.queue.abandon();
        self.queue.snapshot()
    }
}

impl Drop for OtlpExporter {
    fn drop(&mut self) {
        for worker in self.workers.get_mut().unwrap_or_else(PoisonError::into_inner) {
            worker.abort();
        }
    }
}
