//! Rules: how long a set takes to load, and what an event costs that no rule matches.
//!
//! `cargo bench -p tarsier-core --bench rules -- FILE…`, files of rules as Falco has them. Events are opened files of
//! programs on a usual node; both sides say of every event which rules match, and are compared before anything is
//! timed.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

#[path = "../measure/mod.rs"]
mod measure;
mod opened;

use std::hint::black_box;

use measure::{allocations, interleave, median, time};
use opened::{OPENED, Opened};
use tarsier_core::event::syscall;
use tarsier_core::rules::compile::{Compiled, Scratch};
use tarsier_core::rules::evaluate::evaluate;
use tarsier_core::rules::event_types;
use tarsier_core::rules::facts::{Cache, Facts};
use tarsier_core::rules::load::Source;
use tarsier_core::rules::ruleset::Ruleset;

const ROUNDS: usize = 11;
const PASSES: usize = 4_000;

fn main() {
    let files: Vec<(String, String)> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .map(|path| (path.clone(), std::fs::read_to_string(&path).expect("a file that can be read")))
        .collect();
    let sources: Vec<Source<'_>> = files.iter().map(|(name, text)| Source { name, text }).collect();
    assert!(!sources.is_empty(), "name rule files: cargo bench -p tarsier-core --bench rules -- FILE…");
    let set = Ruleset::load(&sources);
    assert!(!set.has_errors(), "{:?}", set.problems);
    let loads: Vec<u64> = (0..ROUNDS).map(|_| time(|| drop(black_box(Ruleset::load(&sources))))).collect();
    let compiles: Vec<u64> = (0..ROUNDS).map(|_| time(|| drop(black_box(Compiled::new(&set))))).collect();
    println!("{}; {ROUNDS} rounds", measure::processor());
    println!(
        "{} rules: load {:.1} ms, compile {:.1} ms",
        set.rules.len(),
        middle(&loads) / 1e6,
        middle(&compiles) / 1e6
    );

    let node: Vec<Opened> = OPENED.iter().map(Opened::new).collect();
    let cache = Cache::default();
    let events: Vec<syscall::Event<'_>> = node.iter().map(Opened::event).collect();
    let opened: Vec<Facts<'_>> =
        node.iter().zip(&events).map(|(opened, event)| opened.facts(event, &cache)).collect();
    let kind = event_types::find("openat").expect("a system call");
    let compiled = Compiled::new(&set);
    let mut scratch = Scratch::default();
    for (event, (name, .., file)) in opened.iter().zip(OPENED) {
        cache.clear();
        let mut found = Vec::new();
        compiled.matches(kind, event, &mut scratch, |place| {
            found.push(place as usize);
            true
        });
        let plain: Vec<usize> =
            (0..set.rules.len()).filter(|place| evaluate(&set.rules[*place].expr, event)).collect();
        assert_eq!(found, plain, "{file}");
        assert!(found.is_empty(), "{name} {file} matches {:?}", set.rules[found[0]].rule.name);
    }
    let mut by_program = || {
        time(|| {
            for event in (0..PASSES).flat_map(|_| &opened) {
                cache.clear();
                compiled.matches(kind, black_box(event), &mut scratch, |_| true);
            }
        })
    };
    let mut by_the_book = || {
        time(|| {
            for event in &opened {
                cache.clear();
                for ready in set.rules.iter().filter(|ready| ready.events.iter().any(|name| name == "openat"))
                {
                    black_box(evaluate(&ready.expr, black_box(event)));
                }
            }
        }) * PASSES as u64
    };
    let times = interleave(&mut [&mut by_program, &mut by_the_book], ROUNDS);
    let events = (PASSES * opened.len()) as f64;
    let counted = {
        let mut scratch = Scratch::default();
        let mut each = || {
            for event in &opened {
                cache.clear();
                compiled.matches(kind, event, &mut scratch, |_| true);
            }
        };
        each();
        allocations(each)
    };
    let names = ["compiled", "plain evaluation"];
    for (name, times) in names.iter().zip(&times) {
        println!("{name:18} {:9.1} ns per opened file that no rule matches", middle(times) / events);
    }
    println!("{counted} allocations by compiled rules");
}

/// The median, ns.
fn middle(times: &[u64]) -> f64 {
    median(&times.iter().map(|time| *time as f64).collect::<Vec<_>>())
}
