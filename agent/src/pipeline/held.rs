//! Events that wait for what has to be looked up before rules can be tried on them.

use std::collections::VecDeque;

use tarsier_abi::TaskKey;

use crate::ops::metrics::{Metric, Snapshot};

/// How long an event waits, ns of boot time. Answers take milliseconds; whoever stands still must not keep an alert.
const PATIENCE_NS: u64 = 1_000_000_000;
/// Most events that wait, and most bytes of their records.
const EVENTS: usize = 4096;
const BYTES: usize = 4 << 20;

/// An event that waits.
pub(super) struct Held {
    /// Index of the workload that the question is about.
    pub(super) workload: u32,
    /// When it came, boot ns.
    since_ns: u64,
    pub(super) what: HeldEvent,
}

/// What is needed to look at it again.
pub(super) enum HeldEvent {
    /// The record of a system call.
    Syscall(Box<[u8]>),
    /// A program started.
    Exec { at_ns: u64, process: TaskKey },
    /// A process ended.
    Exit { at_ns: u64, process: TaskKey, status: u32 },
}

/// Those that wait, the oldest in front.
#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<Held>,
    bytes: usize,
    counts: Counts,
}

/// What became of events that had to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// The answer came.
    answered: u64,
    /// It did not come in time: the event was decided without it.
    late: u64,
    /// There was no room: the event was decided at once, without it.
    no_room: u64,
    /// Meanwhile its process had been evicted from the table: nothing can be decided.
    lost: u64,
}

impl HeldEvent {
    fn bytes(&self) -> usize {
        match self {
            Self::Syscall(record) => record.len(),
            Self::Exec { .. } | Self::Exit { .. } => 0,
        }
    }
}

impl Waiting {
    /// Whether one more may wait; if not, that is counted.
    pub(super) fn has_room(&mut self) -> bool {
        let has = self.queue.len() < EVENTS && self.bytes < BYTES;
        self.counts.no_room += u64::from(!has);
        has
    }

    /// Takes an event in.
    pub(super) fn push(&mut self, workload: u32, now_ns: u64, what: HeldEvent) {
        self.bytes += what.bytes();
        self.queue.push_back(Held { workload, since_ns: now_ns, what });
    }

    /// Gives an event that had been taken out back its place at the end.
    pub(super) fn put_back(&mut self, held: Held) {
        self.counts.answered -= 1;
        self.bytes += held.what.bytes();
        self.queue.push_back(held);
    }

    /// Takes out those that an answer about `workload` is for, in their order.
    pub(super) fn answered(&mut self, workload: u32) -> Vec<Held> {
        let (ready, rest) = self.queue.drain(..).partition::<Vec<_>, _>(|held| held.workload == workload);
        self.queue.extend(rest);
        self.counts.answered += ready.len() as u64;
        self.leave(&ready);
        ready
    }

    /// Takes out those that have waited long enough.
    pub(super) fn late(&mut self, now_ns: u64) -> Vec<Held> {
        let is_late = |held: &Held| held.since_ns.saturating_add(PATIENCE_NS) <= now_ns;
        if !self.queue.front().is_some_and(is_late) {
            return Vec::new();
        }
        let (late, rest) = self.queue.drain(..).partition::<Vec<_>, _>(is_late);
        self.queue.extend(rest);
        self.counts.late += late.len() as u64;
        self.leave(&late);
        late
    }

    /// Of one that was taken out nothing is known any more.
    pub(super) fn lose(&mut self) {
        self.counts.lost += 1;
    }

    fn leave(&mut self, gone: &[Held]) {
        self.bytes -= gone.iter().map(|held| held.what.bytes()).sum::<usize>();
    }

    /// Gives back memory that a burst took.
    pub(super) fn tidy(&mut self) {
        self.queue.shrink_to(2 * self.queue.len());
    }

    pub(super) fn metrics(&self, out: &mut Snapshot) {
        let Counts { answered, late, no_room, lost } = self.counts;
        let counts = [("answered", answered), ("late", late), ("no_room", no_room), ("lost", lost)];
        for (outcome, count) in counts {
            out.push(Metric::LookupEvents, &[outcome], count);
        }
        out.push(Metric::LookupWaiting, &[], self.queue.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(waiting: &mut Waiting, workload: u32, now_ns: u64) {
        waiting.push(workload, now_ns, HeldEvent::Exec { at_ns: now_ns, process: TaskKey::NONE });
    }

    #[test]
    fn an_answer_frees_those_it_is_for_and_time_frees_all() {
        let mut waiting = Waiting::default();
        for (workload, now_ns) in [(1, 5), (2, 6), (1, 7)] {
            exec(&mut waiting, workload, now_ns);
        }
        waiting.push(2, 8, HeldEvent::Syscall([0; 40].into()));
        let since = |held: Vec<Held>| held.iter().map(|held| held.since_ns).collect::<Vec<_>>();
        assert_eq!(since(waiting.answered(1)), [5, 7]);
        assert_eq!((since(waiting.late(PATIENCE_NS + 5)), waiting.bytes), (vec![], 40));
        assert_eq!((since(waiting.late(PATIENCE_NS + 7)), waiting.bytes), (vec![6], 40));
        assert_eq!((since(waiting.late(u64::MAX)), waiting.bytes), (vec![8], 0));
        assert_eq!(waiting.counts, Counts { answered: 2, late: 2, ..Counts::default() });
    }

    #[test]
    fn as_many_wait_as_there_is_room_for() {
        let mut waiting = Waiting::default();
        for _ in 0..EVENTS {
            assert!(waiting.has_room());
            exec(&mut waiting, 1, 0);
        }
        assert!(!waiting.has_room());
        waiting.answered(1);
        waiting.push(1, 0, HeldEvent::Syscall(vec![0; BYTES].into()));
        assert!(!waiting.has_room());
        assert_eq!(waiting.counts.no_room, 2);
    }
}
