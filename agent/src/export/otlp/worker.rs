//! One task per signal: takes the oldest batch, sends it until it is accepted or given up, takes the
//! next. One request at a time keeps the order.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::client::{Accepted, Client, Failure};
use super::config::RetryConfig;
use super::retry::{Backoff, Verdict};
use crate::export::queue::{Outcome, Queue};
use crate::export::{Batch, DropCause};

/// State of one signal's task.
pub(super) struct Worker {
    queue: Arc<Queue>,
    client: Client,
    max_elapsed: Duration,
    backoff: Backoff,
    pause: Option<Pause>,
    /// The shutdown has already cut a backoff short; it does so once.
    hurried: bool,
    /// Each limited on its own, so that a lost batch is not hidden by the failures before it.
    failing: Complaints,
    losing: Complaints,
    partial: Complaints,
}

/// Nothing is sent before this.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    /// The server asked for it: a shutdown does not cut it short.
    asked: bool,
}

impl Worker {
    pub(super) fn new(queue: Arc<Queue>, client: Client, retry: &RetryConfig) -> Self {
        Self {
            queue,
            client,
            max_elapsed: retry.max_elapsed,
            backoff: Backoff::new(retry),
            pause: None,
            hurried: false,
            failing: Complaints::default(),
            losing: Complaints::default(),
            partial: Complaints::default(),
        }
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        loop {
            // Wait before taking: a batch can be evicted while it is queued, not while it is in flight.
            self.sit_out().await;
            let Some(batch) = self.queue.pop(self.client.signal()).await else { return };
            let outcome = self.deliver(&batch).await;
            self.queue.settle(&batch, outcome);
        }
    }

    async fn deliver(&mut self, batch: &Batch) -> Outcome {
        let first = Instant::now();
        let mut again = false;
        loop {
            self.sit_out().await;
            self.queue.attempted(batch.signal, again);
            again = true;
            match self.client.send(batch.body.clone()).await {
                Ok(accepted) => return self.accepted(batch, &accepted),
                Err(Failure { verdict: Verdict::Permanent, text }) => {
                    self.backoff.reset();
                    self.losing.warn(batch, "refused, dropped", &text);
                    return Outcome::Dropped(DropCause::Refused);
                }
                Err(Failure { verdict: Verdict::Retry(asked), text }) => {
                    let delay = asked.unwrap_or_else(|| self.backoff.next());
                    let until = Instant::now() + delay;
                    self.pause = Some(Pause { until, asked: asked.is_some() });
                    self.failing.warn(batch, "failed, will be retried", &text);
                    if !self.max_elapsed.is_zero() && until.duration_since(first) > self.max_elapsed {
                        self.losing.warn(batch, "given up, dropped", &text);
                        return Outcome::Dropped(DropCause::RetryExhausted);
                    }
                }
            }
        }
    }

    fn accepted(&mut self, batch: &Batch, accepted: &Accepted) -> Outcome {
        if self.backoff.has_failed() {
            tracing::info!(signal = batch.signal.name(), "the OTLP endpoint accepts requests again");
        }
        self.backoff.reset();
        if accepted.rejected > 0 || !accepted.message.is_empty() {
            self.partial.warn(batch, "accepted in part, or with a warning", &accepted.message);
        }
        Outcome::Sent { rejected: accepted.rejected }
    }

    /// Waits for the end of the pause. The shutdown cuts one backoff short, so that every signal gets one
    /// more attempt at once, however far its backoff had grown.
    async fn sit_out(&mut self) {
        let Some(pause) = self.pause.take() else { return };
        let wait = tokio::time::sleep_until(pause.until);
        if pause.asked || self.hurried {
            return wait.await;
        }
        tokio::select! {
            () = wait => {}
            () = self.queue.closed(self.client.signal()) => {
                self.hurried = true;
                self.backoff.reset();
            }
        }
    }
}

/// Warnings, at most one per [`Complaints::EVERY`]: a backend that is away is one line, not thousands.
#[derive(Debug, Default)]
struct Complaints {
    last: Option<Instant>,
    suppressed: u64,
}

impl Complaints {
    const EVERY: Duration = Duration::from_secs(30);

    fn warn(&mut self, batch: &Batch, what: &str, detail: &str) {
        if self.last.is_some_and(|last| last.elapsed() < Self::EVERY) {
            self.suppressed += 1;
            return;
        }
        self.last = Some(Instant::now());
        let suppressed = std::mem::take(&mut self.suppressed);
        // The detail is the server's text: Debug escapes what could act on a terminal.
        tracing::warn!(
            signal = batch.signal.name(),
            items = batch.items,
            suppressed,
            detail = ?detail.chars().take(300).collect::<String>(),
            "OTLP request {what}"
        );
    }
}
