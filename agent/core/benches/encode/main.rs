//! R3: OTLP encoders on the same reports: ours, message structures of prost, and the way of
//! `opentelemetry-otlp` (records of the SDK, turned into those structures, encoded).
//!
//! `cargo bench -p tarsier-core --bench encode [-- --rounds N]` prints ns, allocations and bytes per log record or
//! span. `-- --fixed SIDE` runs one side twice, the second time under `measured_pass`, and prints nothing,
//! for `valgrind --tool=callgrind --toggle-collect='*measured_pass*'`; `-- --dissect SIDE` says where its bytes go.
//!
//! Arguments are not redacted: that would cost all sides the same. The SDK's side is spared its queue, its
//! thread and gRPC. An SDK provider has one resource; so there the workload is told on every record.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

mod dissect;
#[path = "../measure/mod.rs"]
mod measure;
#[path = "../node/mod.rs"]
mod node;
mod ours;
mod plain;
mod proof;
mod reports;
mod sdk;
mod structs;

use measure::{allocations, interleave, per_item, ratio, time};
use reports::Reports;
use tarsier_core::encode::{Clock, Identity};

const ROUNDS: usize = 11;
/// How often all reports are told before the last request is finished: requests are full, as under load.
const REPEATS: usize = 8;

const CLOCK: Clock =
    Clock { boot_to_unix_ns: 1_790_000_000_000_000_000, now_unix_ns: 1_791_000_000_000_000_000 };

/// What became of all reports.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    items: usize,
    bytes: usize,
}

/// An encoder under measurement: takes all reports, hands each full request's bytes out, and the last ones at
/// the end.
trait Side {
    fn name(&self) -> &'static str;
    fn pass(&mut self, reports: &Reports, request: &mut dyn FnMut(Request<'_>));
    fn finish(&mut self, request: &mut dyn FnMut(Request<'_>));
}

/// A finished request.
struct Request<'a> {
    logs: bool,
    items: usize,
    body: &'a [u8],
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let reports = Reports::new();
    let identity = identity();
    let mut sides: [Box<dyn Side>; 4] = [
        Box::new(ours::Ours::new(&identity)),
        Box::new(structs::Structs::new(&identity, true)),
        Box::new(structs::Structs::new(&identity, false)),
        Box::new(sdk::Sdk::new(&identity)),
    ];
    let side_named = |name: &str| sides.iter().position(|side| side.name() == name).expect("a side's name");
    if let Some(side) = value("--fixed").map(|name| side_named(name)) {
        let side = &mut *sides[side];
        // Until all memory is there that full requests take.
        for _ in 0..REPEATS {
            side.pass(&reports, &mut |_| {});
        }
        side.finish(&mut |_| {});
        measured_pass(side, &reports, &mut |_| {});
        return;
    }
    if let Some(side) = value("--dissect").map(|name| side_named(name)) {
        let mut dissection = dissect::Dissection::default();
        measured_pass(&mut *sides[side], &reports, &mut |request| dissection.add(request));
        print!("{}", dissection.report());
        return;
    }
    proof::check(&reports, &mut sides);
    let rounds = value("--rounds").map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    report(&reports, &mut sides, rounds);
}

/// All passes, under a name of its own for callgrind.
#[inline(never)]
fn measured_pass(side: &mut dyn Side, reports: &Reports, look: &mut dyn FnMut(&Request<'_>)) -> Sent {
    let mut sent = Sent::default();
    let mut take = |request: Request<'_>| {
        sent.items += request.items;
        sent.bytes += std::hint::black_box(request.body).len();
        look(&request);
    };
    for _ in 0..REPEATS {
        side.pass(reports, &mut take);
    }
    side.finish(&mut take);
    sent
}

fn report(reports: &Reports, sides: &mut [Box<dyn Side>], rounds: usize) {
    let names: Vec<_> = sides.iter().map(|side| side.name()).collect();
    let mut counted = Vec::new();
    for side in sides.iter_mut() {
        // The first pass takes the memory that the second one uses again.
        let mut sent = measured_pass(&mut **side, reports, &mut |_| {});
        let allocations = allocations(|| sent = measured_pass(&mut **side, reports, &mut |_| {}));
        assert_eq!(sent.items, REPEATS * reports.len(), "{} loses nothing", side.name());
        counted.push((allocations, sent.bytes));
    }
    let mut runs: Vec<_> = sides
        .iter_mut()
        .map(|side| {
            move || {
                time(|| {
                    measured_pass(&mut **side, reports, &mut |_| {});
                })
            }
        })
        .collect();
    let mut runs: Vec<_> = runs.iter_mut().map(|run| run as &mut dyn FnMut() -> u64).collect();
    let times = interleave(&mut runs, rounds);

    println!("{}; {rounds} rounds", measure::processor());
    println!("{} reports, {REPEATS} times: {}", reports.len(), reports.mix());
    let items = REPEATS * reports.len();
    println!("side            ns/item    least   times ours (least to most)   allocations/item   bytes/item");
    for (at, name) in names.into_iter().enumerate() {
        let (median, least) = per_item(&times[at], items);
        let (times, low, high) = ratio(&times[0], &times[at]);
        let (allocations, bytes) = counted[at];
        let (allocations, bytes) = (allocations as f64 / items as f64, bytes as f64 / items as f64);
        println!(
            "{name:<14} {median:>8.1} {least:>8.1} {times:>10.1} ({low:.1} to {high:.1}) {allocations:>20.3} {bytes:>14.1}"
        );
    }
}

fn identity() -> Identity {
    Identity {
        host_name: "node-17.eu-1.example".to_owned(),
        host_id: Some("8f1d5b7c2a9e4d3f8f1d5b7c2a9e4d3f".to_owned()),
        boot_id: Some("0b9c2c0e-7d56-4b0a-9a9e-2f6c1d7f4e11".to_owned()),
        node_name: Some("node-17".to_owned()),
        version: "0.1.0".to_owned(),
        instance_id: "1f0c".to_owned(),
        ..Identity::default()
    }
}
