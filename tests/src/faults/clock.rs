//! A wall clock that somebody sets, while processes run and connections are made and held. Guests only: it is
//! the machine's clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use super::{connections, processes};
use crate::harness::accounts::{Account, Done};
use crate::harness::agent::FLUSH_DEADLINE;
use crate::harness::scene::{ARRIVAL, Dialogue, Scene};
use crate::harness::seen::Seen;
use crate::harness::{names, pair};
use crate::runner::{Context, Need, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "clock/steps_forwards", needs: MACHINE, run: |context| steps(context, HOUR_S) },
    Test { name: "clock/steps_backwards", needs: MACHINE, run: |context| steps(context, -HOUR_S) },
];

const MACHINE: &[Need] = &[Need::Cgroup2, Need::Guest];
const HOUR_S: i64 = 3_600;
/// Processes, and connections, before the step and after it.
const COUNT: usize = 20;
/// Start of the agent by the present wall clock, seconds.
const START: &str = "tarsier_start_time_seconds";

/// A wall clock that is set by so many seconds; set back when dropped.
struct Stepped(i64);

impl Stepped {
    fn by(seconds: i64) -> anyhow::Result<Self> {
        step(seconds).context("clock_settime")?;
        Ok(Self(seconds))
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        // Who could set it can set it back.
        let _ = step(-self.0);
    }
}

fn step(seconds: i64) -> rustix::io::Result<()> {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
    clock_settime(ClockId::Realtime, Timespec { tv_sec: tv_sec + seconds, tv_nsec })
}

fn wall_ns() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos())?)
}

/// Something of everything.
fn cause(context: &Context, scene: &Scene) -> anyhow::Result<Done> {
    Ok(processes(context, &scene.cgroup, COUNT)? + connections(context, &scene.cgroup, COUNT)?)
}

fn steps(context: &Context, seconds: i64) -> anyhow::Result<()> {
    let scene = Scene::configured(context, "clock", "metrics: {interval: 1s}\n")?;
    let before = wall_ns()?;
    let opened = Instant::now();
    let mut held = Dialogue::start(scene.itest(&["workload", "hold"])?)?;
    held.hear()?;
    held.say("send 1000")?;
    let mut done = cause(context, &scene)? + Done { sockets: 2, ..Done::COMMAND };
    let told = |seen: &Seen| (seen.spans.len() >= 2 * COUNT && !seen.metrics.is_empty()).then_some(());
    scene.receiver.wait("spans and metrics of before", ARRIVAL, told)?;
    let start = scene.agent.ledger()?.sum(START, &[])?;

    let _stepped = Stepped::by(seconds)?;
    // The answer comes from the drain cycle after the question: what is told from here on is by the new clock.
    let moved = scene.agent.ledger()?.sum(START, &[])? - start;
    ensure!((moved - seconds as f64).abs() < 1.0, "the agent's start moved by {moved} s, not {seconds}");
    let after = wall_ns()?;
    done += cause(context, &scene)?;
    let line = held.say("close")?;
    held.wait()?;
    let lasted = opened.elapsed();
    let (client, server) = scene.receiver.wait("held connection", ARRIVAL, |seen| pair::find(seen, &line))?;
    pair::prove(&line, &client, &server)?;
    Account::state(&scene.agent, &scene.receiver, done)?;
    let end = wall_ns()?;
    scene.agent.terminate(FLUSH_DEADLINE)?;

    scene.receiver.look(|seen| {
        // By one clock or by the other, and nothing in between.
        let clocks = [before..after.wrapping_sub_signed(seconds * 1_000_000_000), after..end];
        times(seen, &clocks, lasted)?;
        let bytes = bytes(seen, lasted)?;
        // Each connection has two ends, and each end counts both directions.
        let spans = seen.spans.iter().map(|span| {
            let of = |name| span.attributes().int(name).unwrap_or_default();
            of(names::BYTES) + of(names::REVERSE_BYTES)
        });
        let expected = spans.sum::<i64>();
        ensure!(bytes == expected, "the metrics count {bytes} bytes, the spans {expected}");
        Ok(())
    })
}

/// Every log and span lies within one of `clocks`, and lasts no longer than the test.
fn times(seen: &Seen, clocks: &[std::ops::Range<u64>; 2], lasted: Duration) -> anyhow::Result<()> {
    let lasted_ns = u64::try_from(lasted.as_nanos())?;
    let mut by_clock = [0; 2];
    for log in &seen.logs {
        let (at, attributes) = (log.item.time_unix_nano, log.attributes());
        let clock = clocks.iter().position(|clock| clock.contains(&at));
        let clock = clock.with_context(|| format!("{} at {at}, not in {clocks:?}", log.item.event_name))?;
        by_clock[clock] += 1;
        let observed = log.item.observed_time_unix_nano;
        ensure!(
            observed.abs_diff(at) < lasted_ns,
            "{} at {at} was observed at {observed}",
            log.item.event_name
        );
        let created = attributes.text(names::CREATED);
        ensure!(
            created.is_some() == (log.item.event_name == names::EXEC),
            "the time of creation is told at exec"
        );
        let Some(created) = created else { continue };
        let created = unix_ns(created).with_context(|| format!("created {created}"))?;
        ensure!(
            created <= at && at - created < lasted_ns,
            "{} at {at} of a process created at {created}",
            log.item.event_name
        );
    }
    ensure!(by_clock.iter().all(|count| *count > COUNT), "{by_clock:?} logs by the old and the new clock");
    for span in &seen.spans {
        let (start, end) = (span.item.start_time_unix_nano, span.item.end_time_unix_nano);
        ensure!(start <= end && end - start < lasted_ns, "a span from {start} to {end}");
    }
    Ok(())
}

/// What all series of the byte counter come to: of each the last value since each of its starts. No point of
/// any metric ends before it starts, or covers more time than passed.
fn bytes(seen: &Seen, lasted: Duration) -> anyhow::Result<i64> {
    let mut series = BTreeMap::new();
    let mut starts = std::collections::BTreeSet::new();
    for metric in &seen.metrics {
        let name = &metric.item.name;
        let mut check = |start: u64, time: u64| {
            starts.insert(start);
            // The agent is a little older than the first event.
            let most = lasted + ARRIVAL + ARRIVAL;
            ensure!(
                start != 0 && start <= time && u128::from(time - start) < most.as_nanos(),
                "{name} from {start} to {time}"
            );
            Ok(())
        };
        match metric.item.data.as_ref().context("a metric without data")? {
            Data::Sum(sum) => {
                for point in &sum.data_points {
                    check(point.start_time_unix_nano, point.time_unix_nano)?;
                    if name == names::BYTES_METRIC {
                        let Some(Value::AsInt(value)) = point.value else { continue };
                        let key = (format!("{:?}", point.attributes), point.start_time_unix_nano);
                        series.insert(key, value);
                    }
                }
            }
            Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    check(point.start_time_unix_nano, point.time_unix_nano)?;
                }
            }
            _ => {}
        }
    }
    ensure!(starts.len() == 2, "the series began {} times, not at the start and at the step", starts.len());
    Ok(series.values().sum())
}

/// Of `2023-11-14T22:13:23.500000000Z`.
fn unix_ns(text: &str) -> anyhow::Result<u64> {
    let time: jiff::Timestamp = text.parse()?;
    Ok(u64::try_from(time.as_nanosecond())?)
}
