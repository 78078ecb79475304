//! Rules: how long a set takes to load, and what an event costs that no rule matches.
//!
//! `cargo bench -p tarsier-core --bench rules -- FILE…`, files of rules as Falco has them. Events are opened files of
//! programs on a usual node; both sides say of every event which rules match, and are compared before anything is
//! timed. They come in no order, so that no branch is foreseen because it was the same the last time round.
//!
//! `-- --fixed PASSES FILE…` runs so many passes and prints nothing, for `valgrind --tool=callgrind
//! --toggle-collect='*measured_pass*'`.
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
const PASSES: usize = 8;

/// Events of one pass.
const MEASURED: usize = 4_096;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (passes, paths) = match &arguments[..] {
        [option, passes, paths @ ..] if option == "--fixed" => (passes.parse().ok(), paths),
        paths => (None, paths),
    };
    let read = |path: &String| std::fs::read_to_string(path).expect("a file that can be read");
    let texts: Vec<String> = paths.iter().map(read).collect();
    let sources: Vec<Source<'_>> =
        paths.iter().zip(&texts).map(|(name, text)| Source { name, text }).collect();
    assert!(!sources.is_empty(), "name rule files: cargo bench -p tarsier-core --bench rules -- FILE…");
    let set = Ruleset::load(&sources);
    assert!(!set.has_errors(), "{:?}", set.problems);
    let compiled = Compiled::new(&set);

    let node: Vec<Opened> = OPENED.iter().map(Opened::new).collect();
    let cache = Cache::default();
    let decoded: Vec<syscall::Event<'_>> = node.iter().map(Opened::event).collect();
    let opened: Vec<Facts<'_>> =
        node.iter().zip(&decoded).map(|(opened, event)| opened.facts(event, &cache)).collect();
    compare(&set, &compiled, &opened);
    let order = in_no_order(opened.len());
    let events: Vec<Facts<'_>> = order.iter().map(|place| opened[*place]).collect();
    let mut scratch = Scratch::default();
    if let Some(passes) = passes {
        (0..passes).for_each(|_: usize| measured_pass(&compiled, &events, &mut scratch));
        return;
    }

    println!("{}; {ROUNDS} rounds", measure::processor());
    let loads: Vec<u64> = (0..ROUNDS).map(|_| time(|| drop(black_box(Ruleset::load(&sources))))).collect();
    let compiles: Vec<u64> = (0..ROUNDS).map(|_| time(|| drop(black_box(Compiled::new(&set))))).collect();
    let (load, compile) = (middle(&loads) / 1e6, middle(&compiles) / 1e6);
    println!("{} rules: load {load:.1} ms, compile {compile:.1} ms", set.rules.len());
    let allocated = allocations(|| measured_pass(&compiled, &events, &mut scratch));
    let mut by_program =
        || time(|| (0..PASSES).for_each(|_| measured_pass(&compiled, &events, &mut scratch)));
    let about: Vec<_> =
        set.rules.iter().filter(|ready| ready.events.iter().any(|name| name == "openat")).collect();
    let mut by_the_book = || {
        time(|| {
            for event in &events {
                event.cache.clear();
                for ready in &about {
                    black_box(evaluate(&ready.expr, black_box(event)));
                }
            }
        }) * PASSES as u64
    };
    let times = interleave(&mut [&mut by_program, &mut by_the_book], ROUNDS);
    for (name, times) in ["compiled", "plain evaluation"].iter().zip(&times) {
        let (median, least) = measure::per_item(times, PASSES * events.len());
        println!("{name:18} {median:9.1} ns per opened file that no rule matches, least {least:.1}");
    }
    println!("{allocated} allocations by compiled rules");
}

/// Both ways say of each event which rules match, and agree: none.
fn compare(set: &Ruleset, compiled: &Compiled, opened: &[Facts<'_>]) {
    let mut scratch = Scratch::default();
    for (event, (name, .., file)) in opened.iter().zip(OPENED) {
        event.cache.clear();
        let mut found = Vec::new();
        compiled.matches(kind(), event, &mut scratch, |place| {
            found.push(place as usize);
            true
        });
        let plain: Vec<usize> =
            (0..set.rules.len()).filter(|place| evaluate(&set.rules[*place].expr, event)).collect();
        assert_eq!(found, plain, "{file}");
        assert!(found.is_empty(), "{name} {file} matches {:?}", set.rules[found[0]].rule.name);
    }
}

/// Under a name of its own for callgrind.
#[inline(never)]
fn measured_pass(compiled: &Compiled, events: &[Facts<'_>], scratch: &mut Scratch) {
    let kind = kind();
    for event in events {
        event.cache.clear();
        compiled.matches(kind, black_box(event), scratch, |_| true);
    }
}

fn kind() -> usize {
    event_types::find("openat").expect("a system call")
}

/// Places below `count`, in no order and always the same.
fn in_no_order(count: usize) -> Vec<usize> {
    // The constants of Knuth's MMIX generator.
    let next = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    std::iter::successors(Some(1), next).take(MEASURED).map(|state| (state >> 33) as usize % count).collect()
}

/// The median, ns.
fn middle(times: &[u64]) -> f64 {
    median(&times.iter().map(|time| *time as f64).collect::<Vec<_>>())
}
