//! The sweep: connections that live on are looked at, a batch at a time.

use std::time::{Duration, Instant};

use tarsier_abi::tcp::{SWEEP_BATCH, SweepBatch, SweepSlot};

use super::Pipeline;
use crate::capture::Frame;
use crate::host::clock;

/// When the next batch of live connections is looked at.
pub(super) struct Sweep {
    interval: Duration,
    due: Instant,
    batch: Box<SweepBatch>,
    /// Batches that the kernel did not run.
    pub(super) failed: u64,
}

impl Sweep {
    /// A round in each `interval`, the first batch after the first one.
    pub(super) fn new(interval: Duration, started: Instant) -> Self {
        let batch = SweepBatch { len: 0, slots: [SweepSlot::default(); SWEEP_BATCH] };
        Self { interval, due: started + interval, batch: Box::new(batch), failed: 0 }
    }
}

impl Pipeline {
    /// Looks at one batch of live connections, as often as spreads a round over the interval.
    pub(super) fn sweep_if_due(&mut self) {
        let held = self.feed.engine.stages.flows.len();
        if held == 0 || Instant::now() < self.sweep.due {
            return;
        }
        let rounds = held.div_ceil(SWEEP_BATCH) as u32;
        let step = self.sweep.interval / rounds;
        // A slow cycle makes up for the batches it missed, but never for more than one round.
        let missed = self.sweep.due.elapsed().as_nanos() / step.as_nanos().max(1);
        for _ in 0..(1 + missed).min(u128::from(rounds)) {
            self.sweep();
        }
        self.sweep.due = Instant::now() + step;
    }

    /// Looks at one batch of live connections; false if that ended a round.
    fn sweep(&mut self) -> bool {
        let batch = &mut self.sweep.batch;
        let len = self.feed.engine.pick_sweep(&mut batch.slots);
        batch.len = len as u64;
        if len > 0
            && let Err(error) = self.kernel.sweep(batch)
        {
            // The slots stay as they were, pending: nothing is learned of these connections.
            self.sweep.failed += 1;
            tracing::warn!(%error, "sweep of live connections");
        }
        let slots = batch.slots.get(..len).unwrap_or_default();
        self.feed.frame(&Frame::Sweep { now_ns: clock::boot_ns(), slots });
        len == SWEEP_BATCH
    }

    /// Looks at every live connection, whatever the present round has covered.
    pub(super) fn sweep_all(&mut self) {
        for _ in 0..2 {
            while self.sweep() {}
        }
    }
}
