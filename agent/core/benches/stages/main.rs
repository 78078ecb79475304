//! R1: the way of a record from the ring's bytes to the exporter's bytes, stage by stage.
//!
//! `cargo bench -p tarsier-core --bench stages [-- --rounds N]` prints ns, allocations and bytes by stage. Each
//! side runs one stage more than the one before over the same records, in turn; a stage's cost is the
//! difference. `-- --fixed STAGE` runs the warm-up and one pass of the stages up to that one and prints
//! nothing else, for `valgrind --tool=callgrind --toggle-collect='*measured_pass*'`.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

#[path = "../measure/mod.rs"]
mod measure;
#[path = "../node/mod.rs"]
mod node;
mod pass;

use measure::{allocations, interleave, median, per_item, time};
use node::{Node, Records};
use pass::{Pass, Stage};
use tarsier_core::encode::redact::{RedactConfig, Redactor};

/// Records before those that are measured: longer than an ended process lingers.
const WARM_UP: usize = 200_000;
const MEASURED: usize = 100_000;
const ROUNDS: usize = 11;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let mut node = Node::new(7);
    let (before, records) = (node.records(WARM_UP), node.records(MEASURED));
    let redactor = Redactor::new(&RedactConfig::default()).expect("our own patterns");
    if let Some(name) = value("--fixed") {
        let stage = Stage::ALL.into_iter().find(|stage| stage.name() == name).expect("a stage's name");
        Pass::new(&before, &redactor).measured_pass(&records, stage);
        return;
    }
    let rounds = value("--rounds").map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    report(&before, &records, &redactor, rounds);
}

fn report(before: &Records, records: &Records, redactor: &Redactor, rounds: usize) {
    let mut counted = Vec::new();
    let mut exported = (0, 0);
    for stage in Stage::ALL {
        let mut pass = Pass::new(before, redactor);
        counted.push(allocations(|| pass.measured_pass(records, stage)) as f64);
        exported = pass.exported();
    }
    let mut sides = Stage::ALL.map(|stage| {
        move || {
            // Every run starts with tables that are full of the records before.
            let mut pass = Pass::new(before, redactor);
            time(|| pass.measured_pass(records, stage))
        }
    });
    let mut sides: Vec<_> = sides.iter_mut().map(|side| side as &mut dyn FnMut() -> u64).collect();
    let times = interleave(&mut sides, rounds);

    let (count, (items, bytes)) = (records.len() as f64, exported);
    println!("{}; {rounds} rounds", measure::processor());
    println!("{count} records of {:.0} bytes, {} execs", records.bytes_per_record(), records.execs());
    println!("{items} log records and spans of {:.0} bytes", bytes as f64 / items as f64);
    println!("stage       ns/record   so far   ns/item   allocations/record");
    for (at, stage) in Stage::ALL.into_iter().enumerate() {
        let less = at.checked_sub(1);
        let own: Vec<f64> = (0..rounds)
            .map(|round| times[at][round] as f64 - less.map_or(0.0, |less| times[less][round] as f64))
            .collect();
        let own = median(&own);
        let (so_far, _) = per_item(&times[at], records.len());
        let allocations = (counted[at] - less.map_or(0.0, |less| counted[less])) / count;
        let (name, per_record, per_item) = (stage.name(), own / count, own / items as f64);
        println!("{name:<10} {per_record:>10.1} {so_far:>8.1} {per_item:>9.1} {allocations:>20.4}");
    }
}
