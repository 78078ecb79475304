//! Metrics: one request per export interval, under the agent's own resource.
//!
//! The aggregation lives elsewhere; this is the form. Points are written as they are handed in:
//! ```
//! # use tarsier_core::encode::*;
//! # let identity = Identity::default();
//! let mut labels = Attributes::new();
//! labels.text("source.workload.name", "checkout");
//! let mut metrics = MetricsEncoder::new(&identity);
//! metrics.begin(1, 2);
//! let bytes = Instrument { name: "tarsier.flow.bytes", unit: "By", description: "Payload bytes." };
//! metrics.sum(&bytes, Temporality::Cumulative, true, |points| {
//!     points.add(&labels, Number::Int(42), None);
//! });
//! assert_eq!(metrics.finish().map(|request| request.items), Some(1));
//! ```

use bytes::Bytes;

use super::attributes::Attributes;
use super::batch::Encoded;
use super::resource::{self, Identity};
use super::wire;

/// Name, UCUM unit and description of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are OpenTelemetry's own words")]
pub struct Instrument<'a> {
    pub name: &'a str,
    pub unit: &'a str,
    pub description: &'a str,
}

/// What a sum or a histogram counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporality {
    /// From the last export.
    Delta = 1,
    /// From the start.
    Cumulative = 2,
}

/// The value of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Counters.
    Int(i64),
    /// Measures.
    Double(f64),
}

/// One measurement behind a point, and the span that made it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// Measured.
    pub value: Number,
    /// When, ns since the epoch.
    pub time_unix_ns: u64,
    /// See [`super::ids::SpanIds::trace`].
    pub trace: [u8; 16],
    /// See [`super::ids::SpanIds::span`].
    pub span: [u8; 8],
}

/// A histogram with explicit bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistogramPoint<'a> {
    /// Upper bounds (inclusive), ascending.
    pub bounds: &'a [f64],
    /// Counts: one more than there are bounds.
    pub buckets: &'a [u64],
    /// Of all measurements.
    pub sum: f64,
}

/// Builds `ExportMetricsServiceRequest`s.
#[derive(Debug)]
pub struct MetricsEncoder {
    /// Resource, ready to copy.
    resource: Vec<u8>,
    /// Scope, then the metrics so far.
    scope: Vec<u8>,
    scope_len: usize,
    span: Interval,
    items: u32,
}

/// The time that points cover, ns since the epoch.
#[derive(Clone, Copy, Debug, Default)]
struct Interval {
    start: u64,
    now: u64,
}

impl MetricsEncoder {
    /// Metrics of the agent that `identity` describes.
    pub fn new(identity: &Identity) -> Self {
        let scope = resource::scope(identity);
        Self {
            resource: resource::of_agent(identity),
            scope_len: scope.len(),
            scope,
            span: Interval::default(),
            items: 0,
        }
    }

    /// Sets what the points to come cover, ns since the epoch: `start` is when the series began
    /// (cumulative) or the last export (delta).
    pub fn begin(&mut self, start_unix_ns: u64, now_unix_ns: u64) {
        self.span = Interval { start: start_unix_ns, now: now_unix_ns };
    }

    /// A sum, and its points. Without a point nothing is written.
    pub fn sum(
        &mut self,
        instrument: &Instrument<'_>,
        temporality: Temporality,
        monotonic: bool,
        write: impl FnOnce(&mut NumberPoints<'_>),
    ) {
        self.metric(instrument, 7, |out, span| {
            let mut points = NumberPoints { out, span, count: 0 };
            write(&mut points);
            let count = points.count;
            wire::uint(out, 2, temporality as u64);
            if monotonic {
                wire::uint(out, 3, 1);
            }
            count
        });
    }

    /// A gauge, and its points. Without a point nothing is written.
    pub fn gauge(&mut self, instrument: &Instrument<'_>, write: impl FnOnce(&mut NumberPoints<'_>)) {
        self.metric(instrument, 5, |out, span| {
            let mut points = NumberPoints { out, span, count: 0 };
            write(&mut points);
            points.count
        });
    }

    /// A histogram, and its points. Without a point nothing is written.
    pub fn histogram(
        &mut self,
        instrument: &Instrument<'_>,
        temporality: Temporality,
        write: impl FnOnce(&mut HistogramPoints<'_>),
    ) {
        self.metric(instrument, 9, |out, span| {
            let mut points = HistogramPoints { out, span, count: 0 };
            write(&mut points);
            let count = points.count;
            wire::uint(out, 2, temporality as u64);
            count
        });
    }

    /// Bytes of the request so far, at most a few more.
    pub fn len(&self) -> usize {
        self.resource.len() + self.scope.len() + 12
    }

    /// Data points in the request so far.
    pub fn items(&self) -> u32 {
        self.items
    }

    /// Whether the request has no point yet.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// The request, if it has any point; begins a new one that covers the same time.
    pub fn finish(&mut self) -> Option<Encoded> {
        if self.items == 0 {
            return None;
        }
        let mut body = Vec::with_capacity(self.len());
        let scopes = wire::header_len(self.scope.len()) + self.scope.len();
        wire::header(&mut body, 1, self.resource.len() + scopes);
        body.extend_from_slice(&self.resource);
        wire::header(&mut body, 2, self.scope.len());
        body.extend_from_slice(&self.scope);
        self.scope.truncate(self.scope_len);
        Some(Encoded { body: Bytes::from(body), items: std::mem::take(&mut self.items) })
    }

    /// A metric whose data (field `kind`) `write` encodes; `write` tells how many points it has.
    fn metric(
        &mut self,
        instrument: &Instrument<'_>,
        kind: u32,
        write: impl FnOnce(&mut Vec<u8>, Interval) -> u32,
    ) {
        let start = self.scope.len();
        let span = self.span;
        let mut count = 0;
        wire::message(&mut self.scope, 2, |out| {
            wire::bytes(out, 1, instrument.name.as_bytes());
            wire::bytes(out, 2, instrument.description.as_bytes());
            wire::bytes(out, 3, instrument.unit.as_bytes());
            wire::message(out, kind, |out| count = write(out, span));
        });
        if count == 0 {
            self.scope.truncate(start);
        }
        self.items += count;
    }
}

/// Takes the points of a sum or a gauge.
#[derive(Debug)]
pub struct NumberPoints<'a> {
    out: &'a mut Vec<u8>,
    span: Interval,
    count: u32,
}

impl NumberPoints<'_> {
    /// One series.
    pub fn add(&mut self, attributes: &Attributes, value: Number, exemplar: Option<&Exemplar>) {
        self.count += 1;
        let span = self.span;
        wire::message(self.out, 1, |out| {
            wire::fixed64(out, 2, span.start);
            wire::fixed64(out, 3, span.now);
            number(out, value, 4);
            attributes.append_to(out, 7);
            write_exemplar(out, 5, exemplar);
        });
    }
}

/// Takes the points of a histogram.
#[derive(Debug)]
pub struct HistogramPoints<'a> {
    out: &'a mut Vec<u8>,
    span: Interval,
    count: u32,
}

impl HistogramPoints<'_> {
    /// One series.
    pub fn add(&mut self, attributes: &Attributes, point: &HistogramPoint<'_>, exemplar: Option<&Exemplar>) {
        debug_assert_eq!(point.buckets.len(), point.bounds.len() + 1, "one bucket above the last bound");
        self.count += 1;
        let span = self.span;
        wire::message(self.out, 1, |out| {
            wire::fixed64(out, 2, span.start);
            wire::fixed64(out, 3, span.now);
            // The protocol wants the count to be the buckets' sum; so it is made from them.
            wire::fixed64(out, 4, point.buckets.iter().fold(0, |sum, count| u64::wrapping_add(sum, *count)));
            wire::double(out, 5, point.sum);
            wire::packed64(out, 6, point.buckets.iter().copied());
            wire::packed64(out, 7, point.bounds.iter().map(|bound| bound.to_bits()));
            write_exemplar(out, 8, exemplar);
            attributes.append_to(out, 9);
        });
    }
}

/// A value as `double` field `double_field`, or as `sfixed64` field 6 (so in points and exemplars).
fn number(out: &mut Vec<u8>, value: Number, double_field: u32) {
    match value {
        Number::Int(value) => wire::fixed64(out, 6, value as u64),
        Number::Double(value) => wire::double(out, double_field, value),
    }
}

fn write_exemplar(out: &mut Vec<u8>, field: u32, exemplar: Option<&Exemplar>) {
    let Some(exemplar) = exemplar else { return };
    wire::message(out, field, |out| {
        wire::fixed64(out, 2, exemplar.time_unix_ns);
        number(out, exemplar.value, 3);
        wire::bytes(out, 4, &exemplar.span);
        wire::bytes(out, 5, &exemplar.trace);
    });
}
