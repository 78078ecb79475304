//! What became of every item handed to an exporter: nothing disappears without a cause.

use super::Signal;

/// Why items were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropCause {
    /// The queue's byte bound was reached; the oldest batch of the fullest signal made room.
    QueueFull,
    /// The backend refused the request for good (a status that the OTLP specification does not retry).
    Refused,
    /// Retried for longer than the configured time.
    RetryExhausted,
    /// Larger than the largest request allowed; it was never queued.
    TooLarge,
    /// Still queued or unanswered when the deadline of the shutdown came.
    Shutdown,
    /// The agent came close to its memory limit; the oldest went.
    Memory,
}

impl DropCause {
    /// Every cause, in the order of [`Counts::dropped`].
    pub const ALL: [Self; 6] =
        [Self::QueueFull, Self::Refused, Self::RetryExhausted, Self::TooLarge, Self::Shutdown, Self::Memory];

    /// Label value in the agent's own metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::RetryExhausted => "retry_exhausted",
            Self::TooLarge => "too_large",
            Self::Shutdown => "shutdown",
            Self::Memory => "memory",
        }
    }
}

/// The ledger of one signal. Everything is counted in items unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to the exporter.
    pub enqueued: u64,
    /// Accepted by the backend.
    pub sent: u64,
    /// Turned down one by one in an otherwise accepted request (partial success).
    pub rejected: u64,
    /// Lost, by [`DropCause`] as index.
    pub dropped: [u64; DropCause::ALL.len()],
    /// Waiting now.
    pub queued: u64,
    /// Taken from the queue and not answered yet, now.
    pub in_flight: u64,
    /// Bytes of accepted requests, before compression.
    pub bytes_sent: u64,
    /// Attempts, first ones and repeated ones, whether or not they reached the backend.
    pub requests: u64,
    /// Attempts after the first of a batch.
    pub retries: u64,
}

impl Counts {
    /// Items lost for one cause.
    pub const fn dropped(&self, cause: DropCause) -> u64 {
        self.dropped[cause as usize]
    }

    /// Notes items lost for `cause`.
    pub(super) fn lose(&mut self, cause: DropCause, items: u64) {
        self.dropped[cause as usize] += items;
    }

    /// Items lost for any cause.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Adds another ledger's items to these.
    pub(super) fn add(&mut self, other: &Self) {
        let Self { enqueued, sent, rejected, dropped, queued, in_flight, bytes_sent, requests, retries } =
            other;
        self.enqueued += enqueued;
        self.sent += sent;
        self.rejected += rejected;
        self.dropped.iter_mut().zip(dropped).for_each(|(own, other)| *own += other);
        self.queued += queued;
        self.in_flight += in_flight;
        self.bytes_sent += bytes_sent;
        self.requests += requests;
        self.retries += retries;
    }

    /// The ledger's equation: what came in went out, was lost for a known cause, or is still here.
    pub fn balanced(&self) -> bool {
        self.enqueued == self.sent + self.rejected + self.dropped_total() + self.queued + self.in_flight
    }
}

/// All ledgers of an exporter, taken at one instant: [`Counts::balanced`] holds in every snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By [`Signal::index`].
    pub signals: [Counts; Signal::ALL.len()],
    /// Bytes held now: queued and in flight, with a fixed charge per batch.
    pub queue_bytes: usize,
}

impl Snapshot {
    /// The ledger of one signal.
    pub const fn of(&self, signal: Signal) -> &Counts {
        &self.signals[signal.index()]
    }
}
