//! The queue between the pipeline (a thread) and an exporter's workers (async tasks), and the only
//! writer of the exporter's ledger.
//!
//! One bound in bytes for all signals, one FIFO per signal, so that a signal whose backend refuses
//! or stalls never holds up another. **When it is full, the oldest batch of the signal that holds most
//! makes room.** Oldest, because after an outage the present matters more than its beginning, and a
//! newer metrics point supersedes an older one; of the fullest signal, because then the backlog of
//! a dead endpoint is paid for by that endpoint alone. A batch being sent is never evicted, and its
//! bytes count until it is settled.
//!
//! Threads meet at two things, a lock around the state and one bell per signal ([`meeting`]). `model.rs`
//! puts loom's in their place and explores every order of the steps.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::Notify;

use super::{Batch, DropCause, Signal, Snapshot};
use meeting::{Bell, Lock};

mod meeting;

/// What a batch costs beside its body, so that a flood of tiny batches is bounded as well.
const BATCH_OVERHEAD: usize = 128;

/// What a queue may hold however short memory is: of each signal a request on its way, and one that waits.
const FLOOR: usize = 2 << 20;

/// What became of a batch that was taken from the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Accepted; `rejected` of its items were not.
    Sent {
        /// As the backend says; more than the batch holds counts as all of it.
        rejected: u64,
    },
    /// Given up.
    Dropped(DropCause),
}

/// A queue bounded by bytes. All methods may be called from any thread; only [`Queue::pop`] and
/// [`Queue::closed`] wait.
#[derive(Debug)]
pub(super) struct Queue<L = Mutex<State>, B = Notify> {
    state: L,
    /// By signal: a batch arrived, or the queue was closed. Each has one waiter, its worker.
    bells: [B; Signal::ALL.len()],
    /// A batch was settled, or the queue was closed: there may be room. One waiter, the replay.
    settled: B,
}

/// What the lock guards.
#[derive(Clone, Debug)]
pub(super) struct State {
    max_bytes: usize,
    /// The bound of now: lower while memory is short.
    bound: usize,
    fifos: [Fifo; Signal::ALL.len()],
    in_flight_bytes: usize,
    closed: bool,
    ledger: Snapshot,
}

#[derive(Clone, Debug, Default)]
struct Fifo {
    batches: VecDeque<Batch>,
    bytes: usize,
}

impl Queue {
    /// An empty queue of at most `max_bytes`.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self::meeting_at(max_bytes)
    }
}

impl<L: Lock<State>, B: Bell> Queue<L, B> {
    fn meeting_at(max_bytes: usize) -> Self {
        let state = State {
            max_bytes,
            bound: max_bytes,
            fifos: Default::default(),
            in_flight_bytes: 0,
            closed: false,
            ledger: Snapshot::default(),
        };
        Self { state: L::new(state), bells: Default::default(), settled: B::default() }
    }

    /// The bound it was made with.
    pub(super) fn max_bytes(&self) -> usize {
        self.state.lock().max_bytes
    }

    /// Queues a batch, evicting older ones if need be.
    ///
    /// # Errors
    /// The batch was not taken, and is in the ledger under this cause.
    pub(super) fn push(&self, batch: Batch, max_request_bytes: usize) -> Result<(), DropCause> {
        let signal = batch.signal;
        self.state.lock().push(batch, max_request_bytes)?;
        self.bells[signal.index()].ring();
        Ok(())
    }

    /// The oldest batch of `signal`, as soon as there is one; `None` once the queue is closed and has no
    /// more. Every batch returned must be settled. One task per signal waits, here or in
    /// [`Queue::closed`].
    pub(super) async fn pop(&self, signal: Signal) -> Option<Batch> {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(batch) = state.pop(signal) {
                    return Some(batch);
                }
                if state.closed {
                    return None;
                }
            }
            // If it rang since the look at the state, it is heard now.
            self.bells[signal.index()].rung().await;
        }
    }

    /// Notes what became of a batch taken by [`Queue::pop`].
    pub(super) fn settle(&self, batch: &Batch, outcome: Outcome) {
        self.state.lock().settle(batch, outcome);
        self.settled.ring();
    }

    /// Waits until a batch of `bytes` fits without an eviction, or never will: it is too large for an empty
    /// queue, or the queue is closed.
    pub(super) async fn room(&self, bytes: usize) {
        loop {
            {
                let state = self.state.lock();
                let needed = bytes + BATCH_OVERHEAD;
                let held = state.bytes();
                if held == 0 || state.closed || held + needed <= state.bound {
                    return;
                }
            }
            // If it rang since the look at the state, it is heard now.
            self.settled.rung().await;
        }
    }

    /// Memory is short: from now on holds half of what it holds now at most, and gives up its oldest batches
    /// beyond. Whether it gave up any: what is being sent stays, and [`FLOOR`] is always left.
    pub(super) fn shed(&self) -> bool {
        let mut state = self.state.lock();
        state.bound = (state.bytes() / 2).max(FLOOR).min(state.bound);
        state.evict(0)
    }

    /// The bound is again what it was made with.
    pub(super) fn restore(&self) {
        {
            let mut state = self.state.lock();
            state.bound = state.max_bytes;
        }
        self.settled.ring();
    }

    /// Notes one attempt to send.
    pub(super) fn attempted(&self, signal: Signal, again: bool) {
        let mut state = self.state.lock();
        let counts = &mut state.ledger.signals[signal.index()];
        counts.requests += 1;
        counts.retries += u64::from(again);
    }

    /// Takes nothing more; what is queued can still be popped.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        for bell in &self.bells {
            bell.ring();
        }
        self.settled.ring();
    }

    /// Waits for [`Queue::close`], as the task of `signal`.
    pub(super) async fn closed(&self, signal: Signal) {
        // It may hear of a batch instead. Nothing is lost by that: `pop` looks before it listens.
        while !self.state.lock().closed {
            self.bells[signal.index()].rung().await;
        }
    }

    /// Gives up everything that is queued or in flight. No worker may run any more: what was in
    /// flight may have been accepted, but nobody can tell, so it counts as lost.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        for fifo in &mut state.fifos {
            *fifo = Fifo::default();
        }
        state.in_flight_bytes = 0;
        for counts in &mut state.ledger.signals {
            counts.dropped[DropCause::Shutdown as usize] += counts.queued + counts.in_flight;
            counts.queued = 0;
            counts.in_flight = 0;
        }
    }

    /// The ledger now.
    pub(super) fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        Snapshot { queue_bytes: state.bytes(), ..state.ledger }
    }
}

impl State {
    fn bytes(&self) -> usize {
        self.in_flight_bytes + self.fifos.iter().map(|fifo| fifo.bytes).sum::<usize>()
    }

    fn push(&mut self, batch: Batch, max_request_bytes: usize) -> Result<(), DropCause> {
        let index = batch.signal.index();
        let items = u64::from(batch.items);
        self.ledger.signals[index].enqueued += items;
        let refusal = if self.closed {
            Some(DropCause::Shutdown)
        } else if batch.body.len() > max_request_bytes {
            Some(DropCause::TooLarge)
        } else if !self.make_room(cost(&batch)) {
            Some(self.want_of_room())
        } else {
            None
        };
        let counts = &mut self.ledger.signals[index];
        if let Some(cause) = refusal {
            counts.dropped[cause as usize] += items;
            return Err(cause);
        }
        counts.queued += items;
        let fifo = &mut self.fifos[index];
        fifo.bytes += cost(&batch);
        fifo.batches.push_back(batch);
        Ok(())
    }

    /// Evicts until `bytes` more fit; false if they cannot fit beside what is in flight.
    fn make_room(&mut self, bytes: usize) -> bool {
        if self.in_flight_bytes + bytes > self.bound {
            return false;
        }
        self.evict(bytes);
        self.bytes() + bytes <= self.bound
    }

    /// Evicts until `bytes` more fit or nothing is left; whether it evicted any.
    fn evict(&mut self, bytes: usize) -> bool {
        let cause = self.want_of_room();
        let mut any = false;
        while self.bytes() + bytes > self.bound {
            let fullest = Signal::ALL.into_iter().max_by_key(|signal| self.fifos[signal.index()].bytes);
            let Some(oldest) = fullest.and_then(|signal| self.take_oldest(signal)) else { break };
            self.ledger.signals[oldest.signal.index()].lose(cause, u64::from(oldest.items));
            any = true;
        }
        any
    }

    /// Why there is no room.
    fn want_of_room(&self) -> DropCause {
        if self.bound < self.max_bytes { DropCause::Memory } else { DropCause::QueueFull }
    }

    fn take_oldest(&mut self, signal: Signal) -> Option<Batch> {
        let fifo = &mut self.fifos[signal.index()];
        let batch = fifo.batches.pop_front()?;
        fifo.bytes -= cost(&batch);
        self.ledger.signals[signal.index()].queued -= u64::from(batch.items);
        Some(batch)
    }

    fn pop(&mut self, signal: Signal) -> Option<Batch> {
        let batch = self.take_oldest(signal)?;
        self.in_flight_bytes += cost(&batch);
        self.ledger.signals[signal.index()].in_flight += u64::from(batch.items);
        Some(batch)
    }

    fn settle(&mut self, batch: &Batch, outcome: Outcome) {
        let items = u64::from(batch.items);
        self.in_flight_bytes -= cost(batch);
        let counts = &mut self.ledger.signals[batch.signal.index()];
        counts.in_flight -= items;
        match outcome {
            Outcome::Sent { rejected } => {
                let rejected = rejected.min(items);
                counts.rejected += rejected;
                counts.sent += items - rejected;
                counts.bytes_sent += batch.body.len() as u64;
            }
            Outcome::Dropped(cause) => counts.dropped[cause as usize] += items,
        }
    }
}

fn cost(batch: &Batch) -> usize {
    batch.body.len() + BATCH_OVERHEAD
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
