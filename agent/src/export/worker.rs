//! One task per signal or channel: takes the oldest batch, sends it until it is accepted or given up, takes the
//! next. One at a time keeps the order.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::queue::{Outcome, Queue};
use super::{Batch, DropCause, Signal};

/// Where batches go: a backend or a channel.
pub(super) trait Destination: Send {
    /// For messages.
    fn name(&self) -> &'static str;

    /// Whose batches it takes from the queue.
    fn signal(&self) -> Signal;

    /// One attempt. It ends by itself, however long the other side takes.
    fn send(&mut self, body: Bytes) -> impl Future<Output = Result<Accepted, Failure>> + Send;

    /// Lets go of what it keeps: the next attempt begins anew.
    fn reopen(&mut self) {}

    /// Nothing more comes: what was sent is to arrive.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What the other side says to a batch that it accepted.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    /// Items turned down.
    pub(super) rejected: u64,
    /// Why, or a warning; often empty.
    pub(super) message: String,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) verdict: Verdict,
    /// For people: the status or the error with its causes.
    pub(super) text: String,
}

impl Failure {
    /// What may be otherwise the next time.
    pub(super) fn again(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Retry(None), text: text.into() }
    }
}

/// What a failed attempt means for its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Never again: the same bytes would be refused again.
    Permanent,
    /// Again, after the delay the server asked for or else after a backoff.
    Retry(Option<Duration>),
}

/// How long and how often a batch is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Upper bound of the first delay; it doubles with every failure.
    pub(super) initial: Duration,
    /// Largest upper bound of a delay.
    pub(super) max: Duration,
    /// How long one batch is tried, from its first attempt; 0 is for ever.
    pub(super) max_elapsed: Duration,
}

/// State of one task.
pub(super) struct Worker<D> {
    queue: Arc<Queue>,
    /// Somebody asks to begin anew.
    reopen: Arc<AtomicBool>,
    destination: D,
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

impl<D: Destination> Worker<D> {
    pub(super) fn new(queue: Arc<Queue>, destination: D, patience: Patience) -> Self {
        Self {
            queue,
            reopen: Arc::default(),
            destination,
            max_elapsed: patience.max_elapsed,
            backoff: Backoff::new(patience.initial, patience.max),
            pause: None,
            hurried: false,
            failing: Complaints::default(),
            losing: Complaints::default(),
            partial: Complaints::default(),
        }
    }

    /// What to set so that [`Destination::reopen`] comes before the next attempt.
    pub(super) fn reopen(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.reopen)
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        loop {
            // Wait before taking: a batch can be evicted while it is queued, not while it is in flight.
            self.sit_out().await;
            let Some(batch) = self.queue.pop(self.destination.signal()).await else { break };
            let outcome = self.deliver(&batch).await;
            self.queue.settle(&batch, outcome);
        }
        self.destination.close().await;
    }

    async fn deliver(&mut self, batch: &Batch) -> Outcome {
        let first = Instant::now();
        let mut again = false;
        loop {
            self.sit_out().await;
            self.queue.attempted(batch.signal, again);
            again = true;
            if self.reopen.swap(false, Ordering::Relaxed) {
                self.destination.reopen();
            }
            match self.destination.send(batch.body.clone()).await {
                Ok(accepted) => return self.accepted(batch, &accepted),
                Err(Failure { verdict: Verdict::Permanent, text }) => {
                    self.backoff.reset();
                    self.losing.warn(self.destination.name(), batch, "refused, dropped", &text);
                    return Outcome::Dropped(DropCause::Refused);
                }
                Err(Failure { verdict: Verdict::Retry(asked), text }) => {
                    let delay = asked.unwrap_or_else(|| self.backoff.next());
                    let until = Instant::now() + delay;
                    self.pause = Some(Pause { until, asked: asked.is_some() });
                    self.failing.warn(self.destination.name(), batch, "failed, will be retried", &text);
                    if !self.max_elapsed.is_zero() && until.duration_since(first) > self.max_elapsed {
                        self.losing.warn(self.destination.name(), batch, "given up, dropped", &text);
                        return Outcome::Dropped(DropCause::RetryExhausted);
                    }
                }
            }
        }
    }

    fn accepted(&mut self, batch: &Batch, accepted: &Accepted) -> Outcome {
        if self.backoff.has_failed() {
            let exporter = self.destination.name();
            tracing::info!(exporter, signal = batch.signal.name(), "accepts requests again");
        }
        self.backoff.reset();
        if accepted.rejected > 0 || !accepted.message.is_empty() {
            self.partial.warn(
                self.destination.name(),
                batch,
                "accepted in part, or with a warning",
                &accepted.message,
            );
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
            () = self.queue.closed(self.destination.signal()) => {
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

    fn warn(&mut self, exporter: &str, batch: &Batch, what: &str, detail: &str) {
        if self.last.is_some_and(|last| last.elapsed() < Self::EVERY) {
            self.suppressed += 1;
            return;
        }
        self.last = Some(Instant::now());
        let suppressed = std::mem::take(&mut self.suppressed);
        // The detail is the server's text: Debug escapes what could act on a terminal.
        tracing::warn!(
            exporter,
            signal = batch.signal.name(),
            items = batch.items,
            suppressed,
            detail = ?detail.chars().take(300).collect::<String>(),
            "request {what}"
        );
    }
}

/// An error and its causes on one line; a cause that only repeats what was said is left out.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}
