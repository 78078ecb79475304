//! Memory: the agent stays within its limit by giving up the least valuable first, counted like every other
//! loss, and is itself again when the need is over.
//!
//! Above [`SHED`] percent of the limit, at every look: the queues of exporter and channels and the lines for standard
//! output shrink to half of what they hold, the oldest go (cause `memory`); once they hold next to nothing, the process
//! table forgets what has ended and the flow table gives up an eighth of its connections (cause `memory`).
//! Below [`RECOVERED`] percent the bounds are as configured.

use std::time::{Duration, Instant};

use super::{Desk, Pipeline};
use crate::capture::Frame;
use crate::export::otlp::OtlpExporter;
use crate::export::stdout::Outbox;
use crate::host::clock;
use crate::host::memory::{Meter, Reading, give_back, kept};

/// Percent of the limit above which memory is given up: what a drain cycle and the requests under
/// construction can take until the next look fits above it.
const SHED: u64 = 80;
/// Percent below which it is enough again.
const RECOVERED: u64 = 70;
/// From one look to the next: what was given up shows by then.
const LOOK: Duration = Duration::from_millis(250);

/// From one look at what the allocator keeps to the next, and how much it may keep: as much as a queue that was
/// full for a moment.
const LEISURE: Duration = Duration::from_secs(10);
const KEPT: usize = 8 << 20;

/// The limit, and whether it is kept with difficulty.
pub(super) struct Memory {
    meter: Meter,
    due: Instant,
    leisure: Instant,
    /// As of the last look; `None`: there is no limit.
    pub(super) reading: Option<Reading>,
    pub(super) shedding: bool,
}

impl Memory {
    pub(super) fn new(meter: Meter) -> Self {
        let reading = meter.look();
        if let Some(Reading { used, limit }) = reading {
            tracing::debug!(used, limit, "memory");
        }
        let now = Instant::now();
        Self { meter, due: now + LOOK, leisure: now + LEISURE, reading, shedding: false }
    }
}

impl Pipeline {
    /// Looks at the memory used, if it is time to, and gives up what the limit asks for.
    pub(super) fn keep_within_memory(&mut self, desk: &Desk) {
        let now = Instant::now();
        if now < self.memory.due {
            return;
        }
        self.memory.due = now + LOOK;
        if now >= self.memory.leisure {
            self.memory.leisure = now + LEISURE;
            if kept() > KEPT {
                give_back();
            }
        }
        self.memory.reading = self.memory.meter.look();
        let Some(reading) = self.memory.reading else { return };
        if reading.exceeds(SHED) {
            self.shed(reading, desk);
        } else if self.memory.shedding && !reading.exceeds(RECOVERED) {
            self.memory.shedding = false;
            if let Some(exporter) = self.feed.engine.outlet.exporter() {
                exporter.restore();
            }
            if let Some(lines) = &self.lines {
                lines.restore();
            }
            self.feed.engine.outlet.channels().restore();
            desk.set_memory(None);
            tracing::info!(used = reading.used, limit = reading.limit, "memory: enough again");
        }
    }

    fn shed(&mut self, Reading { used, limit }: Reading, desk: &Desk) {
        if !self.memory.shedding {
            self.memory.shedding = true;
            tracing::warn!(used, limit, "memory is short: the oldest of what waits is dropped");
        }
        let mib = |bytes: u64| bytes >> 20;
        desk.set_memory(Some(format!(
            "short, {} of {} MiB are used: data is dropped",
            mib(used),
            mib(limit)
        )));
        let queued = self.feed.engine.outlet.exporter().is_some_and(OtlpExporter::shed);
        let printed = self.lines.as_ref().is_some_and(Outbox::shed);
        let told = self.feed.engine.outlet.channels().shed();
        if !queued && !printed && !told {
            // A frame: a capture of this run is replayed with the same tables.
            self.feed.frame(&Frame::Shed { now_ns: clock::boot_ns() });
        }
        give_back();
    }
}
