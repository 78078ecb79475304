//! Rules: how long a set takes to load, and what an event costs that no rule matches.
//!
//! `cargo bench -p tarsier-core --bench rules -- FILE…`, files of rules as Falco has them. Events are opened files of
//! programs on a usual node; both sides say of every event which rules match, and are compared before anything is
//! timed. They come in no order, so that no branch is foreseen because it was the same the last time round.
//!
//! `-- --copies N FILE…` times loading, compiling and planning alone, of all rules N times, each time under other names.
//!
//! `-- --fixed PASSES FILE…` runs so many passes and prints nothing, for `valgrind --tool=callgrind
//! --toggle-collect='*measured_pass*'`.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

#[path = "../measure/mod.rs"]
mod measure;
mod opened;
mod way;

use std::hint::black_box;

use self::way::Way;
use measure::{allocations, interleave, median, time};
use opened::{OPENED, Opened};
use tarsier_core::event::syscall;
use tarsier_core::rules::compile::{Compiled, Scratch};
use tarsier_core::rules::evaluate::evaluate;
use tarsier_core::rules::event_types;
use tarsier_core::rules::facts::{Cache, Facts};
use tarsier_core::rules::load::Source;
use tarsier_core::rules::need;
use tarsier_core::rules::ruleset::Ruleset;

const ROUNDS: usize = 11;
const PASSES: usize = 8;

/// Events of one pass.
const MEASURED: usize = 4_096;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (passes, copies, paths) = match &arguments[..] {
        [option, passes, paths @ ..] if option == "--fixed" => (passes.parse().ok(), None, paths),
        [option, copies, paths @ ..] if option == "--copies" => (None, copies.parse().ok(), paths),
        paths => (None, None, paths),
    };
    let read = |path: &String| std::fs::read_to_string(path).expect("a file that can be read");
    let texts: Vec<String> = paths.iter().map(read).collect();
    let sources: Vec<Source<'_>> =
        paths.iter().zip(&texts).map(|(name, text)| Source { name, text }).collect();
    assert!(!sources.is_empty(), "name rule files: cargo bench -p tarsier-core --bench rules -- FILE…");
    if let Some(copies) = copies {
        let texts: Vec<String> =
            (0..copies).flat_map(|copy| texts.iter().map(move |text| renamed(text, copy))).collect();
        let sources: Vec<Source<'_>> = texts.iter().map(|text| Source { name: "copy", text }).collect();
        println!("{}; {ROUNDS} rounds", measure::processor());
        load(&sources);
        return;
    }
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
    load(&sources);
    // Memory for the columns is taken by the first event.
    measured_pass(&compiled, &events, &mut scratch);
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
    let mut way = Way::new(&order);
    let bytes = way.bytes_per_record();
    let mut scratch_of_way = Scratch::default();
    assert_eq!(
        way.pass(&compiled, kind(), &mut scratch_of_way),
        (0, MEASURED as u64),
        "all known, none matches"
    );
    let allocated_on_way = allocations(|| {
        way.pass(&compiled, kind(), &mut scratch_of_way);
    });
    let mut by_record = || {
        time(|| {
            for _ in 0..PASSES {
                black_box(way.pass(&compiled, kind(), &mut scratch_of_way));
            }
        })
    };
    let times = interleave(&mut [&mut by_program, &mut by_the_book, &mut by_record], ROUNDS);
    let names = ["compiled", "plain evaluation", "record to verdict"];
    for (name, times) in names.iter().zip(&times) {
        let (median, least) = measure::per_item(times, PASSES * events.len());
        println!("{name:18} {median:9.1} ns per opened file that no rule matches, least {least:.1}");
    }
    println!("{allocated} allocations by compiled rules, {allocated_on_way} from record to verdict");
    println!(
        "a record is {bytes} bytes; {:.2} M of them per second and core",
        1e3 / measure::per_item(&times[2], PASSES * MEASURED).0
    );
}

/// Prints what it takes until rules run.
fn load(sources: &[Source<'_>]) {
    let set = Ruleset::load(sources);
    assert!(!set.has_errors(), "{:?}", set.problems);
    let mut loads = || time(|| drop(black_box(Ruleset::load(sources))));
    let mut compiles = || time(|| drop(black_box(Compiled::new(&set))));
    let mut plans = || time(|| drop(black_box(Box::new(need::plan(&set)))));
    let times = interleave(&mut [&mut loads, &mut compiles, &mut plans], ROUNDS);
    let [load, compile, plan] = [0, 1, 2].map(|side: usize| middle(&times[side]) / 1e6);
    println!("{} rules: load {load:.1} ms, compile {compile:.1} ms, plan {plan:.1} ms", set.rules.len());
}

/// A file whose rules, macros and lists have other names: a copy of it that changes nothing of the others.
fn renamed(text: &str, copy: usize) -> String {
    let names: Vec<&str> = ["- macro: ", "- list: "]
        .iter()
        .flat_map(|item| text.lines().filter_map(move |line| line.strip_prefix(item)))
        .map(str::trim)
        // Some macros are called like types of events, which keep their names.
        .filter(|name| event_types::find(name).is_none())
        .collect();
    let is_name = |byte: char| byte.is_ascii_alphanumeric() || "_-.".contains(byte);
    let line = |line: &str| match line.strip_prefix("- rule: ") {
        // A plugin is nobody's list, though it may be called like one.
        None if line.trim_start().starts_with("- name: ") => format!("{line}\n"),
        Some(name) => format!("- rule: {name} {copy}\n"),
        None => {
            let mut out = String::new();
            // Names and what stands between them in turn.
            let mut rest = line;
            while let Some(start) = rest.find(is_name) {
                let (between, word) = rest.split_at(start);
                let (word, behind) = word.split_at(word.find(|byte| !is_name(byte)).unwrap_or(word.len()));
                out.push_str(between);
                out.push_str(word);
                if names.contains(&word) {
                    out.push_str(&format!("_{copy}"));
                }
                rest = behind;
            }
            out + rest + "\n"
        }
    };
    text.lines().map(line).collect()
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
