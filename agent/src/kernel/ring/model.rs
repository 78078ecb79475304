//! The consumer against the kernel's producer, in every order of their steps and with every value that the
//! memory model lets a load return: model-checked by loom.
//!
//! [`Kernel`] is the producer. At the end of each execution every committed record has been handed out
//! exactly once, whole and in the order of reservation; that none is read before its commit or overwritten
//! before it is read, loom's race detector sees to. The last tests break one thing each ([`Fault`]) and
//! demand that the checker notices.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::cell::ConstPtr;
use loom::sync::Arc;

use super::consumer::{BUSY, Consumer, DISCARD, HEADER, Shared};
use kernel::{Kernel, Put, discarded, put};

mod kernel;

/// How the consumer's side of the memory is broken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The producer's position is read without acquiring what was written before it.
    RelaxedSnapshot,
    /// A header is read without acquiring the record's bytes.
    RelaxedHeader,
    /// Room is given back without releasing the reads of it.
    RelaxedGiveBack,
    /// Room is given back when a record's header has been read, before its bytes are.
    EarlyGiveBack,
    /// A record counts as complete as soon as its room is reserved.
    BlindToBusy,
}

/// The consumer's view of the ring.
#[derive(Clone)]
struct Mapped {
    ring: Arc<Kernel>,
    fault: Fault,
}

/// Bytes of the ring; whoever writes them plainly while this lives has a race.
struct Held {
    bytes: Vec<u8>,
    _reading: Vec<ConstPtr<[u8; 8]>>,
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Mapped {
    /// The order asked for, unless `fault` weakens it.
    fn order(&self, fault: Fault, order: Ordering) -> Ordering {
        if self.fault == fault { Ordering::Relaxed } else { order }
    }
}

impl Shared for Mapped {
    type Bytes<'a> = Held;

    fn size(&self) -> u64 {
        self.ring.size()
    }

    fn load_producer(&self, order: Ordering) -> u64 {
        self.ring.producer.load(self.order(Fault::RelaxedSnapshot, order))
    }

    fn load_consumer(&self, order: Ordering) -> u64 {
        self.ring.consumer.load(order)
    }

    fn store_consumer(&self, position: u64, order: Ordering) {
        self.ring.consumer.store(position, self.order(Fault::RelaxedGiveBack, order));
    }

    fn load_header(&self, position: u64, order: Ordering) -> u32 {
        let cell = self.ring.cell(position);
        // The room may be the producer's no longer: its plain write of this header must be over.
        cell.bytes.with(|_| ());
        let word = cell.header.load(self.order(Fault::RelaxedHeader, order));
        if self.fault == Fault::EarlyGiveBack && word & BUSY == 0 {
            let end = position + (HEADER + u64::from(word & !DISCARD)).next_multiple_of(8);
            self.store_consumer(end, Ordering::Release);
        }
        if self.fault == Fault::BlindToBusy { word & !BUSY } else { word }
    }

    fn bytes(&self, position: u64, len: u64) -> Held {
        assert!(position % self.size() + len <= self.size(), "runs over the end");
        let cells = (0..len.div_ceil(8)).map(|index| self.ring.cell(position + index * 8));
        let reading: Vec<_> = cells.map(|cell| cell.bytes.get()).collect();
        // SAFETY: loom has checked that nobody writes while `reading` lives.
        let mut bytes: Vec<u8> = reading.iter().flat_map(|cell| unsafe { *cell.deref() }).collect();
        bytes.truncate(len as usize);
        Held { bytes, _reading: reading }
    }
}

/// Who does what. The consumer runs against all producers at once, and once more when they are done.
#[derive(Clone, Copy)]
struct Scene {
    /// Bytes of the ring.
    size: u64,
    /// Both positions at the beginning.
    start: u64,
    /// Already there when the consumer and the producers begin.
    before: &'static [Put],
    producers: &'static [&'static [Put]],
    /// How often the consumer drains meanwhile.
    drains: usize,
    fault: Fault,
}

/// What happened in how many executions: a model in which nothing can go wrong proves nothing.
#[derive(Default)]
struct Seen {
    executions: AtomicUsize,
    by_name: std::sync::Mutex<BTreeMap<&'static str, usize>>,
}

impl Seen {
    fn note(&self, name: &'static str, happened: bool) {
        if happened {
            *self.by_name.lock().expect("no panic while it is held").entry(name).or_default() += 1;
        }
    }

    fn assert_all(&self, names: &[&str]) {
        let by_name = self.by_name.lock().expect("no panic while it is held");
        let missing: Vec<_> = names.iter().filter(|name| !by_name.contains_key(*name)).collect();
        assert!(missing.is_empty(), "in no execution: {missing:?}; seen: {by_name:?}");
    }
}

impl Scene {
    /// Explores every execution.
    fn check(self) -> StdArc<Seen> {
        let seen = StdArc::new(Seen::default());
        let inner = StdArc::clone(&seen);
        let mut model = loom::model::Builder::new();
        // Faults of two parties show within few switches; this bound keeps each test within seconds.
        model.preemption_bound = Some(3);
        model.check(move || self.run(&inner));
        println!("{} executions, {:?}", seen.executions.load(Ordering::Relaxed), seen.by_name.lock());
        seen
    }

    fn run(self, seen: &Seen) {
        seen.executions.fetch_add(1, Ordering::Relaxed);
        let ring = Arc::new(Kernel::new(self.size, self.start));
        assert!(self.before.iter().all(|put| ring.put(*put)), "what was there before fits");
        let mut consumer = Consumer::new(Mapped { ring: Arc::clone(&ring), fault: self.fault });
        let threads: Vec<_> = self
            .producers
            .iter()
            .map(|puts| {
                let ring = Arc::clone(&ring);
                loom::thread::spawn(move || puts.iter().filter(|put| !ring.put(**put)).count())
            })
            .collect();
        let mut records: Vec<Vec<u8>> = Vec::new();
        let mut handed = 0;
        let mut consumed = self.start;
        for _ in 0..self.drains {
            let limit = consumer.snapshot();
            let drained = consumer.drain_to(limit, |record| {
                records.push(record.to_vec());
                let produced = ring.producer.load(Ordering::Relaxed);
                seen.note("wrote into room of a drain that went on", produced > self.start + self.size);
            });
            handed += drained.records;
            consumed += drained.bytes;
            assert!(consumed <= limit, "drained beyond the limit");
            seen.note("stopped at a record that was being written", consumed < limit);
        }
        let meanwhile = records.len() - self.before.len().min(records.len());
        seen.note("handed out a record of a running producer", meanwhile > 0);
        let lost: usize = threads.into_iter().map(|thread| thread.join().expect("a producer")).sum();
        seen.note("lost a record to a full ring", lost > 0);
        handed += consumer.drain_to(consumer.snapshot(), |record| records.push(record.to_vec())).records;
        assert_eq!((consumer.waiting(), handed), (0, records.len() as u64));
        let (reserved, end) = ring.reserved();
        let produced = self.before.len() + self.producers.iter().map(|puts| puts.len()).sum::<usize>();
        assert_eq!(reserved.len() + lost, produced, "what was produced found room or was lost");
        let kept = reserved.iter().filter(|put| !put.discard);
        assert_eq!(records, kept.map(|put| put.payload()).collect::<Vec<_>>());
        seen.note("came round to room that was given back", end >= self.start + self.size);
    }
}

/// Room for three records of 16 bytes; four come, and the third runs over the end.
const ROUND: Scene = Scene {
    size: 64,
    start: 24,
    before: &[],
    producers: &[&[put(1, 8), put(2, 8), put(3, 5), put(4, 8)]],
    drains: 2,
    fault: Fault::None,
};

/// Nothing fits until the consumer gives back its first quarter.
const FULL: Scene = Scene {
    size: 64,
    start: 0,
    before: &[put(1, 16), put(2, 0), put(3, 8), put(4, 0)],
    producers: &[&[put(5, 16)]],
    drains: 1,
    fault: Fault::None,
};

/// Two programs fill their rooms at the same time; the last record runs over the end.
const TWO_CPUS: Scene = Scene {
    size: 64,
    start: 40,
    before: &[],
    producers: &[&[put(1, 8), discarded(2, 12)], &[put(3, 3)]],
    drains: 1,
    fault: Fault::None,
};

#[test]
fn every_record_once_and_whole_while_the_ring_goes_round() {
    ROUND.check().assert_all(&[
        "stopped at a record that was being written",
        "handed out a record of a running producer",
        "lost a record to a full ring",
        "came round to room that was given back",
    ]);
}

#[test]
fn records_of_two_cpus_keep_the_order_of_their_rooms() {
    TWO_CPUS.check().assert_all(&[
        "stopped at a record that was being written",
        "handed out a record of a running producer",
    ]);
}

#[test]
fn room_comes_back_by_the_quarter_while_a_drain_goes_on() {
    FULL.check().assert_all(&["wrote into room of a drain that went on", "lost a record to a full ring"]);
}

/// Each fault is found in a scene that is fine without it.
mod faults {
    use super::{FULL, Fault, ROUND, Scene};

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_snapshot_that_acquires_nothing() {
        Scene { fault: Fault::RelaxedSnapshot, ..ROUND }.check();
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_header_that_acquires_nothing() {
        Scene { fault: Fault::RelaxedHeader, ..ROUND }.check();
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn room_given_back_that_releases_nothing() {
        Scene { fault: Fault::RelaxedGiveBack, ..FULL }.check();
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn room_given_back_before_the_record_is_read() {
        Scene { fault: Fault::EarlyGiveBack, ..FULL }.check();
    }

    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_record_read_before_it_is_committed() {
        Scene { fault: Fault::BlindToBusy, ..ROUND }.check();
    }
}
