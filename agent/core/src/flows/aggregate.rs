//! Metric series of flows at the level of workloads: cumulative since the start of the agent, or since the
//! wall clock last stepped ([`Aggregate::restart`]).
//!
//! A series' key is small on purpose (workload, role, server port), and the number of series is
//! capped: what does not fit goes to one series of workload [`OTHER`], so sums stay right.

use rustc_hash::FxHashMap;

use crate::event::{CloseReason, Flow, FlowKind, Role};

/// Workload number of the series that takes what exceeds the cap.
pub const OTHER: u32 = u32::MAX;

/// Upper bounds of the histograms' buckets, µs (100 µs … 10 s); one more bucket takes the rest.
pub const BOUNDS_US: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// What tells series apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// [`Workload::index`](crate::event::Workload::index), or [`OTHER`].
    pub workload: u32,
    /// The local socket's role.
    pub role: Role,
    /// The port that was connected to: the peer's for a client, the own for a server; 0 = not known.
    pub server_port: u16,
}

/// One connection that stands for a value: its sequence numbers give its trace id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// What it added, in the value's unit.
    pub value: u64,
    /// When, boot ns.
    pub boot_ns: u64,
    /// [`Flow::isn`]: (client's, server's).
    pub isn: (u32, u32),
}

/// A monotonic sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Since the series began.
    pub total: u64,
    /// The latest connection that added to it.
    pub exemplar: Option<Exemplar>,
}

/// Durations, µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Observations in each bucket of [`BOUNDS_US`] (upper bound included), then those above.
    pub buckets: [u64; BOUNDS_US.len() + 1],
    /// Sum of all observations, µs.
    pub sum_us: u64,
    /// The latest connection observed.
    pub exemplar: Option<Exemplar>,
}

/// Why a connection failed: `error.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Failure {
    /// The peer refused.
    Refused,
    /// A reset, either way.
    Reset,
    /// No answer.
    Timeout,
    /// The process gave up before the peer answered: as a rule, a timeout of its own.
    Aborted,
    /// Another error.
    Other,
}

/// The values of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// Payload bytes sent, each once.
    pub bytes_sent: Counter,
    /// Payload bytes received.
    pub bytes_received: Counter,
    /// Segments sent, retransmissions included.
    pub segments_sent: Counter,
    /// Segments received.
    pub segments_received: Counter,
    /// Segments sent again.
    pub retransmits: Counter,
    /// Connections that are over, failed ones included.
    pub connections: Counter,
    /// Failed connections by [`Failure`].
    pub failures: [Counter; Failure::ALL.len()],
    /// Connections that a sweep saw at work and that are not over.
    pub active: i64,
    /// Smoothed round-trip time, one observation per report of a connection.
    pub rtt: Histogram,
    /// From connect to established, clients only, one observation per connection.
    pub connect: Histogram,
}

/// A key and its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// What tells it apart.
    pub key: Key,
    /// Since the series began.
    pub values: Values,
}

/// Folds flows into series.
pub struct Aggregate {
    index: FxHashMap<Key, usize>,
    series: Vec<Series>,
    capacity: usize,
    folded: u64,
}

impl Aggregate {
    /// Series kept unless configured otherwise.
    pub const DEFAULT_SERIES: usize = 2_000;

    /// No series yet; at most `capacity`, and one more for the rest.
    pub fn new(capacity: usize) -> Self {
        Self { index: FxHashMap::default(), series: Vec::new(), capacity, folded: 0 }
    }

    /// Adds what is new in a flow since the last report of its connection.
    pub fn record(&mut self, flow: &Flow, workload: u32) {
        let server_port = match flow.role {
            Role::Client => flow.peer.1,
            Role::Server => flow.local.1,
            Role::Unknown => 0,
        };
        let key = Key { workload, role: flow.role, server_port };
        let at = self.series_of(key);
        if let Some(series) = self.series.get_mut(at) {
            series.values.add(flow);
        }
    }

    /// All series, in order of first use.
    pub fn series(&self) -> impl ExactSizeIterator<Item = &Series> {
        self.series.iter()
    }

    /// Begins every series anew, at 0. Connections at work stay at work.
    pub fn restart(&mut self) {
        for Series { values, .. } in &mut self.series {
            *values = Values { active: values.active, ..Values::default() };
        }
    }

    /// Flows that went to the series of [`OTHER`] because the cap was reached.
    pub fn folded(&self) -> u64 {
        self.folded
    }

    fn series_of(&mut self, key: Key) -> usize {
        if let Some(&at) = self.index.get(&key) {
            return at;
        }
        let other = Key { workload: OTHER, role: Role::Unknown, server_port: 0 };
        let key = if self.index.len() < self.capacity {
            key
        } else {
            self.folded += 1;
            other
        };
        let series = &mut self.series;
        *self.index.entry(key).or_insert_with(|| {
            series.push(Series { key, values: Values::default() });
            series.len() - 1
        })
    }
}

impl Values {
    fn add(&mut self, flow: &Flow) {
        let new = &flow.delta;
        self.bytes_sent.add(new.bytes_sent, flow);
        self.bytes_received.add(new.bytes_received, flow);
        self.segments_sent.add(u64::from(new.segments_sent), flow);
        self.segments_received.add(u64::from(new.segments_received), flow);
        self.retransmits.add(u64::from(new.retransmits), flow);
        self.rtt.add(u64::from(new.srtt_us), flow);
        // All of it is new: nothing of this connection was reported before.
        let first = (flow.counters.segments_sent, flow.counters.segments_received)
            == (new.segments_sent, new.segments_received)
            && (flow.counters.bytes_sent, flow.counters.bytes_received)
                == (new.bytes_sent, new.bytes_received);
        if first && flow.role == Role::Client && flow.established_ns != 0 && !flow.start_observed {
            self.connect.add(flow.established_ns.saturating_sub(flow.start_ns).div_ceil(1_000), flow);
        }
        match flow.kind {
            FlowKind::Live => self.active += i64::from(first),
            FlowKind::Closed => {
                self.active -= i64::from(!first);
                self.connections.add(1, flow);
                if let Some(counter) =
                    Failure::of(flow).and_then(|failure| self.failures.get_mut(failure as usize))
                {
                    counter.add(1, flow);
                }
            }
        }
    }
}

impl Failure {
    /// All, in the order of [`Values::failures`].
    pub const ALL: [Self; 5] = [Self::Refused, Self::Reset, Self::Timeout, Self::Aborted, Self::Other];

    /// Value of `error.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Aborted => "aborted",
            Self::Other => "other",
        }
    }

    /// How a closed connection failed, if it did. A lost close record is not a failure.
    pub fn of(flow: &Flow) -> Option<Self> {
        match flow.reason {
            CloseReason::Refused => Some(Self::Refused),
            CloseReason::Reset => Some(Self::Reset),
            CloseReason::Timeout => Some(Self::Timeout),
            CloseReason::Error => Some(Self::Other),
            CloseReason::Closed if flow.state == tarsier_abi::tcp::state::SYN_SENT => Some(Self::Aborted),
            CloseReason::Closed | CloseReason::Lost => None,
        }
    }
}

impl Counter {
    fn add(&mut self, value: u64, flow: &Flow) {
        if value != 0 {
            // What the kernel said is a claim: sums of any claims are numbers.
            self.total = self.total.saturating_add(value);
            self.exemplar = Exemplar::of(value, flow).or(self.exemplar);
        }
    }
}

impl Histogram {
    /// Observations in all.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// 0 = not measured.
    fn add(&mut self, value_us: u64, flow: &Flow) {
        if value_us == 0 {
            return;
        }
        if let Some(bucket) = self.buckets.get_mut(BOUNDS_US.partition_point(|&bound| bound < value_us)) {
            *bucket += 1;
        }
        self.sum_us = self.sum_us.saturating_add(value_us);
        self.exemplar = Exemplar::of(value_us, flow).or(self.exemplar);
    }
}

impl Exemplar {
    /// Only a connection whose role is known has the trace id that its other end derives too.
    fn of(value: u64, flow: &Flow) -> Option<Self> {
        let known = flow.role != Role::Unknown && flow.isn != (0, 0);
        known.then_some(Self { value, boot_ns: flow.end_ns, isn: flow.isn })
    }
}
