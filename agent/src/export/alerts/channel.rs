//! A channel: its own queue, its own worker, its own ledger. One that is slow or away holds up no other, and never
//! whoever tells alerts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tarsier_core::event::alert::Alert;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::line::LineForm;
use crate::export::queue::Queue;
use crate::export::worker::{Destination, Patience, Worker};
use crate::export::{Batch, Counts, Signal};

/// Lines of alerts are logs.
pub(super) const SIGNAL: Signal = Signal::Logs;

/// A running channel. Dropping it stops its worker at once.
#[derive(Debug)]
pub(super) struct Channel {
    name: &'static str,
    form: LineForm,
    framing: Framing,
    queue: Arc<Queue>,
    reopen: Arc<AtomicBool>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

/// What stands around an alert's line on its way.
#[derive(Clone, Debug)]
pub(super) enum Framing {
    /// Nothing.
    None,
    /// A line break behind it.
    Newline,
    /// What syslog wants before it.
    Syslog(super::syslog::Header),
}

impl Channel {
    pub(super) fn start(
        destination: impl Destination + 'static,
        form: LineForm,
        framing: Framing,
        limits: Limits,
        runtime: &Handle,
    ) -> Self {
        let name = destination.name();
        let queue = Arc::new(Queue::new(limits.queue_bytes));
        let worker = Worker::new(Arc::clone(&queue), destination, limits.patience());
        let reopen = worker.reopen();
        let worker = Mutex::new(Some(runtime.spawn(worker.run())));
        Self { name, form, framing, queue, reopen, worker }
    }

    /// Queues an alert; one that is not taken is in the ledger.
    pub(super) fn tell(&self, alert: &Alert<'_>) {
        let mut line = Vec::with_capacity(512);
        if let Framing::Syslog(header) = &self.framing {
            header.write(&mut line, alert.priority);
        }
        self.form.write(&mut line, alert);
        if matches!(self.framing, Framing::Newline) {
            line.push(b'\n');
        }
        let _ = self.queue.push(Batch { signal: SIGNAL, body: Bytes::from(line), items: 1 }, usize::MAX);
    }

    /// The ledger now, in alerts, and the bytes held.
    pub(super) fn state(&self) -> ChannelState {
        let snapshot = self.queue.snapshot();
        ChannelState {
            name: self.name,
            counts: *snapshot.of(SIGNAL),
            queue_bytes: snapshot.queue_bytes,
            max_bytes: self.queue.max_bytes(),
        }
    }

    /// Has what is kept running started anew, before the next alert.
    pub(super) fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
    }

    /// Memory is short: as the exporters' queue. Whether anything was given up.
    pub(super) fn shed(&self) -> bool {
        self.queue.shed()
    }

    /// There is memory again.
    pub(super) fn restore(&self) {
        self.queue.restore();
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.queue.close();
    }

    /// Whether all that it took is sent or given up, and nothing more can come.
    pub(super) fn is_done(&self) -> bool {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        worker.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the worker to send what is queued until `end`, and gives up the rest.
    pub(super) async fn flush(&self, end: Instant) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut worker) = worker
            && tokio::time::timeout_at(end, &mut worker).await.is_err()
        {
            worker.abort();
            // It must not settle an alert after the ledger is closed.
            let _ = worker.await;
        }
        self.queue.abandon();
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.get_mut().unwrap_or_else(PoisonError::into_inner) {
            worker.abort();
        }
    }
}

/// What became of all alerts of a channel, and what it holds.
#[derive(Clone, Copy, Debug)]
pub struct ChannelState {
    /// The channel's name in metrics: `alerts_file`.
    pub name: &'static str,
    /// The ledger, in alerts.
    pub counts: Counts,
    /// Bytes that wait or are on their way.
    pub queue_bytes: usize,
    /// Most of them.
    pub max_bytes: usize,
}

/// What a channel may hold, and how long it may try.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) queue_bytes: usize,
    pub(super) retry_for: Duration,
}

impl Limits {
    const FIRST_DELAY: Duration = Duration::from_millis(500);
    const LONGEST_DELAY: Duration = Duration::from_secs(10);

    fn patience(self) -> Patience {
        Patience { initial: Self::FIRST_DELAY, max: Self::LONGEST_DELAY, max_elapsed: self.retry_for }
    }
}
