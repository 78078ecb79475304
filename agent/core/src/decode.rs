//! Decoding: a ring's bytes become typed events, and what is missing or broken is counted.
//!
//! Every (sensor, CPU) has a sequence that starts at 0 with the agent's own maps and is counted
//! before the ring is asked for room. So for every such sequence, once the rings are empty,
//! `produced = received + malformed + lost`, and the kernel's ledger names the reasons of `lost`.

use tarsier_abi::{Header, SENSORS, Sensor};
use zerocopy::FromBytes;

use crate::event::{Event, Malformed};

/// How many kinds of [`Malformed`] there are.
const MALFORMED: usize = Malformed::ALL.len();

/// Decodes records and keeps the account of what came, what was broken and what is missing.
#[derive(Debug)]
pub struct Decoder {
    /// One row of sequences per CPU, indexed by sensor number.
    cpus: Box<[[Sequence; SENSORS]]>,
    counters: Counters,
}

/// The decoder's account since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    sensors: [SensorCounters; SENSORS],
    malformed: [u64; MALFORMED],
}

/// One sensor's account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SensorCounters {
    /// Records decoded.
    pub received: u64,
    /// Records whose sequence number never came. It falls again when one comes late.
    pub lost: u64,
    /// Records that came after a later one: a program was interrupted between taking its number
    /// and its room in the ring.
    pub late: u64,
    /// Records whose number had come before, or is too old to tell.
    pub repeated: u64,
}

impl Counters {
    /// The account of one sensor.
    pub fn sensor(&self, sensor: Sensor) -> &SensorCounters {
        &self.sensors[sensor as usize]
    }

    /// Records of this kind of damage.
    pub fn malformed(&self, kind: Malformed) -> u64 {
        self.malformed[kind as usize]
    }
}

impl Decoder {
    /// A decoder for records of CPUs `0..cpus` (the possible ones, not only those on line); a record
    /// of any other is malformed. All memory is taken here.
    pub fn new(cpus: usize) -> Self {
        Self {
            cpus: vec![[Sequence::default(); SENSORS]; cpus].into_boxed_slice(),
            counters: Counters::default(),
        }
    }

    /// Decodes one record of a ring; total on arbitrary bytes.
    ///
    /// # Errors
    /// If the bytes are no record: counted here, and the caller only skips it.
    pub fn decode<'a>(&mut self, record: &'a [u8]) -> Result<Event<'a>, Malformed> {
        self.account(record, true)
    }

    /// Decodes one record of an iterator's file, whose records have no place in a sequence.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_seed<'a>(&mut self, record: &'a [u8]) -> Result<Event<'a>, Malformed> {
        self.account(record, false)
    }

    /// What has been counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn account<'a>(&mut self, record: &'a [u8], sequenced: bool) -> Result<Event<'a>, Malformed> {
        let result = self.parse(record, sequenced);
        match &result {
            Ok(event) if sequenced => self.counters.sensors[event.sensor as usize].received += 1,
            // Seeds are not in the ledger: no ring carried them.
            Ok(_) => {}
            Err(kind) => self.counters.malformed[*kind as usize] += 1,
        }
        result
    }

    #[inline]
    fn parse<'a>(&mut self, record: &'a [u8], sequenced: bool) -> Result<Event<'a>, Malformed> {
        let (header, _) = Header::read_from_prefix(record).map_err(|_| Malformed::Short)?;
        let sensor = Sensor::try_from(header.sensor).map_err(|_| Malformed::Sensor)?;
        if sequenced {
            let row = self.cpus.get_mut(usize::from(header.cpu)).ok_or(Malformed::Value)?;
            // Before the body is looked at: a record that is broken further on is malformed, not lost.
            let arrival = row[sensor as usize].arrive(header.seq);
            self.counters.sensors[sensor as usize].count(arrival);
        }
        Event::decode(sensor, header, record)
    }
}

impl SensorCounters {
    fn count(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::InOrder { missing } => self.lost += u64::from(missing),
            Arrival::Late => {
                self.late += 1;
                self.lost -= 1;
            }
            Arrival::Repeated => self.repeated += 1,
        }
    }
}

/// What a sequence number says about those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// The newest so far; `missing` numbers before it have not come.
    InOrder { missing: u32 },
    /// One of the missing.
    Late,
    /// Not new, or older than the window.
    Repeated,
}

/// The sequence of one sensor on one CPU.
#[derive(Clone, Copy, Debug)]
struct Sequence {
    /// The number expected next.
    next: u32,
    /// Bit `n`: number `next − 1 − n` has come. Nothing is missing before the first, so all ones.
    seen: u64,
}

impl Default for Sequence {
    fn default() -> Self {
        Self { next: 0, seen: u64::MAX }
    }
}

impl Sequence {
    fn arrive(&mut self, seq: u32) -> Arrival {
        // Numbers wrap: less than half the circle ahead is newer, the other half is older.
        let ahead = seq.wrapping_sub(self.next);
        if ahead < 1 << 31 {
            self.seen = self.seen.checked_shl(ahead).and_then(|seen| seen.checked_shl(1)).unwrap_or(0) | 1;
            self.next = seq.wrapping_add(1);
            return Arrival::InOrder { missing: ahead };
        }
        let age = self.next.wrapping_sub(seq) - 1;
        match 1_u64.checked_shl(age) {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                Arrival::Late
            }
            _ => Arrival::Repeated,
        }
    }
}

#[cfg(test)]
mod tests;
