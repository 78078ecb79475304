//! A wall clock that steps, forwards and backwards, while the frames of a capture come in: no metric point
//! ends before it starts, no span before it begins, and nothing is counted twice.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value};
use prost::Message as _;
use tarsier::capture::{Frame, Reader, Time};
use tarsier::config::Config;
use tarsier::export::{Batch, Signal};
use tarsier::pipeline::Offline;

const HOUR_NS: u64 = 3_600_000_000_000;

/// By metric and attributes, then by start: the latest value. A histogram's is its count.
type Series = BTreeMap<(String, String), BTreeMap<u64, i64>>;

/// What is sent of the capture if the clock is moved before every `every`th cycle, an hour forwards and an
/// hour back in turn.
fn sent(every: usize) -> Vec<Batch> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/6.12.tarsier");
    let mut reader = Reader::new(std::fs::File::open(path).unwrap()).unwrap();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&taken);
    let take = move |batch| sink.lock().unwrap().push(batch);
    let about = reader.about().clone();
    let mut offline = Offline::new(&about, &Config::default(), None, Some(Box::new(take))).unwrap();
    let (mut cycles, mut moved) = (0, 0);
    while let Some(frame) = reader.next_frame().unwrap() {
        let at = |moved, time: Time| Time { unix_offset_ns: time.unix_offset_ns + moved, ..time };
        match frame {
            Frame::Begin(time) => {
                cycles += 1;
                if cycles % every == 0 {
                    moved = HOUR_NS - moved;
                }
                offline.feed(&Frame::Begin(at(moved, time)));
            }
            Frame::Finish(time) => offline.feed(&Frame::Finish(at(moved, time))),
            other => offline.feed(&other),
        }
    }
    drop(offline);
    Arc::into_inner(taken).unwrap().into_inner().unwrap()
}

/// The monotonic series among `batches`, each point of which covers a time that passed.
fn series(batches: &[Batch]) -> Series {
    let mut series = Series::new();
    for batch in batches.iter().filter(|batch| batch.signal == Signal::Metrics) {
        let request = ExportMetricsServiceRequest::decode(batch.body.clone()).unwrap();
        let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            let points: Vec<_> = match metric.data.unwrap() {
                Data::Sum(sum) if sum.is_monotonic => {
                    let value = |value| match value {
                        Some(Value::AsInt(value)) => value,
                        other => panic!("{other:?}"),
                    };
                    let points = sum.data_points.into_iter();
                    points
                        .map(|p| (p.attributes, p.start_time_unix_nano, p.time_unix_nano, value(p.value)))
                        .collect()
                }
                Data::Histogram(histogram) => {
                    let points = histogram.data_points.into_iter();
                    points
                        .map(|p| (p.attributes, p.start_time_unix_nano, p.time_unix_nano, p.count as i64))
                        .collect()
                }
                _ => continue,
            };
            for (attributes, start, time, value) in points {
                assert!(start <= time, "{}: {start} to {time}", metric.name);
                assert!(time - start < HOUR_NS / 2, "{}: a point of {} ns", metric.name, time - start);
                let of = (metric.name.clone(), format!("{attributes:?}"));
                series.entry(of).or_default().insert(start, value);
            }
        }
    }
    series
}

fn totals(series: &Series) -> BTreeMap<&(String, String), i64> {
    series.iter().map(|(of, starts)| (of, starts.values().sum())).collect()
}

#[test]
fn a_clock_that_steps_counts_nothing_twice() {
    let (still, stepped) = (sent(usize::MAX), sent(5));
    let (still, stepped) = (series(&still), series(&stepped));
    assert!(still.len() > 5, "the capture has {} series", still.len());
    assert_eq!(totals(&stepped), totals(&still));
    let starts: BTreeSet<_> = stepped.values().flat_map(BTreeMap::keys).collect();
    assert!(starts.len() > 2, "the series began {} times", starts.len());
}

#[test]
fn spans_last_as_long_whatever_the_wall_clock_does() {
    let durations = |batches: &[Batch]| {
        let mut durations = BTreeMap::new();
        for batch in batches.iter().filter(|batch| batch.signal == Signal::Traces) {
            let request = ExportTraceServiceRequest::decode(batch.body.clone()).unwrap();
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            for span in scopes.flat_map(|scope| scope.spans) {
                let duration = span.end_time_unix_nano.checked_sub(span.start_time_unix_nano);
                durations.insert(span.span_id, duration.unwrap());
            }
        }
        durations
    };
    let still = durations(&sent(usize::MAX));
    assert!(!still.is_empty());
    assert_eq!(durations(&sent(5)), still);
}
