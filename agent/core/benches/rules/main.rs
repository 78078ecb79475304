//! Rules: how long a set takes to load, and what an event costs that no rule matches.
//!
//! `cargo bench -p tarsier-core --bench rules -- FILE…`, files of rules as Falco has them. Events are opened files of
//! programs on a usual node; both sides say of every event which rules match, and are compared before anything is
//! timed.
#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

#[path = "../measure/mod.rs"]
mod measure;

use std::hint::black_box;

use measure::{allocations, interleave, median, time};
use tarsier_core::rules::compare::Value;
use tarsier_core::rules::compile::{Compiled, Scratch};
use tarsier_core::rules::evaluate::{Event, evaluate};
use tarsier_core::rules::load::Source;
use tarsier_core::rules::ruleset::Ruleset;
use tarsier_core::rules::typed::{Argument, FieldRef};
use tarsier_core::rules::{event_types, fields};

const ROUNDS: usize = 11;
const PASSES: usize = 200;

/// Program, its path, its parents' names, whether it opens to write, and what.
const OPENED: &[(&str, &str, [&str; 3], bool, &str)] = &[
    (
        "nginx",
        "/usr/sbin/nginx",
        ["nginx", "containerd-shim", "systemd"],
        false,
        "/usr/share/nginx/html/index.html",
    ),
    ("nginx", "/usr/sbin/nginx", ["nginx", "containerd-shim", "systemd"], true, "/var/log/nginx/access.log"),
    (
        "postgres",
        "/usr/lib/postgresql/16/bin/postgres",
        ["postgres", "containerd-shim", "systemd"],
        true,
        "/var/lib/postgresql/data/base/16384/2619",
    ),
    (
        "python3",
        "/usr/local/bin/python3.12",
        ["gunicorn", "containerd-shim", "systemd"],
        false,
        "/usr/local/lib/python3.12/site-packages/requests/__init__.py",
    ),
    (
        "java",
        "/opt/java/openjdk/bin/java",
        ["sh", "containerd-shim", "systemd"],
        false,
        "/app/lib/spring-core-6.1.jar",
    ),
    (
        "kubelet",
        "/usr/bin/kubelet",
        ["systemd", "", ""],
        false,
        "/sys/fs/cgroup/kubepods.slice/memory.current",
    ),
    (
        "node",
        "/usr/local/bin/node",
        ["npm", "containerd-shim", "systemd"],
        false,
        "/app/node_modules/express/lib/router/index.js",
    ),
    (
        "containerd",
        "/usr/bin/containerd",
        ["systemd", "", ""],
        true,
        "/run/containerd/io.containerd.runtime.v2.task/k8s.io/x/init.pid",
    ),
];

/// An opened file, as the sensors will give it.
struct Opened<'a> {
    name: &'a str,
    path: &'a str,
    parents: [&'a str; 3],
    writes: bool,
    file: &'a str,
    know: &'a [Known],
}

/// What a field is to this event, by its place in the table: as a getter in the table will be.
#[derive(Clone, Copy)]
enum Known {
    Nothing,
    Type,
    Name,
    Path,
    Parent,
    Ancestors,
    File,
    TypeChar,
    Reads,
    Writes,
    Number,
    Host,
}

fn known() -> Vec<Known> {
    let of = |name: &str| match name {
        "evt.type" => Known::Type,
        "proc.name" | "proc.exe" => Known::Name,
        "proc.exepath" | "proc.cmdline" => Known::Path,
        "proc.pname" => Known::Parent,
        "proc.aname" => Known::Ancestors,
        "fd.name" | "fd.nameraw" => Known::File,
        "fd.typechar" => Known::TypeChar,
        "evt.is_open_read" => Known::Reads,
        "evt.is_open_write" => Known::Writes,
        "fd.num" | "evt.rawres" => Known::Number,
        "container.id" => Known::Host,
        _ => Known::Nothing,
    };
    fields::all().map(|field| of(field.name)).collect()
}

impl Event for Opened<'_> {
    fn visit(&self, field: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        match self.know[usize::from(field.place)] {
            Known::Nothing => {}
            Known::Type => with(Value::Text(b"openat")),
            Known::Name => with(Value::Text(self.name.as_bytes())),
            Known::Path => with(Value::Text(self.path.as_bytes())),
            Known::Parent => with(Value::Text(self.parents[0].as_bytes())),
            Known::Ancestors => match field.argument {
                Some(Argument::Index(index)) => {
                    let parent =
                        self.parents.get(index.saturating_sub(1) as usize).filter(|name| !name.is_empty());
                    parent.into_iter().for_each(|name| with(Value::Text(name.as_bytes())));
                }
                _ => self
                    .parents
                    .iter()
                    .filter(|name| !name.is_empty())
                    .for_each(|name| with(Value::Text(name.as_bytes()))),
            },
            Known::File => with(Value::Text(self.file.as_bytes())),
            Known::TypeChar => with(Value::Text(b"f")),
            Known::Reads => with(Value::Bool(!self.writes)),
            Known::Writes => with(Value::Bool(self.writes)),
            Known::Number => with(Value::Number(7)),
            Known::Host => with(Value::Text(b"3f1c9a62d7b0")),
        }
    }
}

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

    let know = known();
    let opened: Vec<Opened<'_>> = OPENED
        .iter()
        .map(|&(name, path, parents, writes, file)| Opened { name, path, parents, writes, file, know: &know })
        .collect();
    let kind = event_types::find("openat").expect("a system call");
    let compiled = Compiled::new(&set);
    let mut scratch = Scratch::default();
    for event in &opened {
        let mut found = Vec::new();
        compiled.matches(kind, event, &mut scratch, |place| {
            found.push(place as usize);
            true
        });
        let plain: Vec<usize> =
            (0..set.rules.len()).filter(|place| evaluate(&set.rules[*place].expr, event)).collect();
        assert_eq!(found, plain, "{}", event.file);
        assert!(
            found.is_empty(),
            "{} {} matches {:?}",
            event.name,
            event.file,
            set.rules[found[0]].rule.name
        );
    }
    let mut by_program = || {
        time(|| {
            for event in (0..PASSES).flat_map(|_| &opened) {
                compiled.matches(kind, black_box(event), &mut scratch, |_| true);
            }
        })
    };
    let mut by_the_book = || {
        time(|| {
            for event in &opened {
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
        compiled.matches(kind, &opened[0], &mut scratch, |_| true);
        allocations(|| opened.iter().for_each(|event| compiled.matches(kind, event, &mut scratch, |_| true)))
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
