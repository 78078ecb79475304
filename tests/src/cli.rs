//! The command line: which tests, where the binaries are, where the results go.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "this is the program's own output")]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::runner::{self, Context, Test};
use crate::{
    backends, containers, corpus, faults, flows, guest, pipeline, selftest, sensors, upstream, workload,
};

const USAGE: &str =
    "tarsier-itest GROUP [--filter TEXT] [--results FILE] [--agent FILE] [--collector FILE] [--jaeger FILE]
                     [--rules FOLDER]
  native     the agent on this kernel (root)
  guest      the same as init of a virtual machine, or as its child
  backends   the agent with a real Collector and Jaeger (root)
  upstream   the agent with Falco's own rule files, and what they are to tell of (root)
  selftest   harness and workloads, without an agent (root)
  corpus     no tests: a capture of known work, hexadecimal in one JSON line of the results; --filter large:
             much of it
  list       every test's group and name
tarsier-itest workload NAME …    what the tests make the machine do";

/// Runs the program; 0 = nothing failed, 1 = something did, 64 = wrong usage.
pub fn main(arguments: &[OsString]) -> ExitCode {
    if std::process::id() == 1 {
        return guest::init();
    }
    match dispatch(arguments.get(1..).unwrap_or_default()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tarsier-itest: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 64 } else { 1 })
        }
    }
}

/// The command line makes no sense.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}\n{USAGE}", self.0)
    }
}

impl std::error::Error for Usage {}

fn dispatch(arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let (group, rest) = arguments.split_first().ok_or_else(|| Usage("which group?".to_owned()))?;
    match group.to_str().unwrap_or_default() {
        "child" => workload::processes::child(rest),
        "workload" => workload::main(rest).map(|()| ExitCode::SUCCESS),
        "list" => {
            for (group, tests) in [
                ("native", native()),
                ("upstream", upstream::tests()),
                ("backends", backends::tests()),
                ("selftest", selftest::tests()),
            ] {
                tests.iter().for_each(|test| println!("{group} {}", test.name));
            }
            Ok(ExitCode::SUCCESS)
        }
        "native" => run(&native(), parse(rest)?, true),
        "guest" => {
            let mut options = parse(rest)?;
            options.context.emulated = true;
            run(&native(), options, true)
        }
        "upstream" => run(&upstream::tests(), parse(rest)?, true),
        "backends" => run(&backends::tests(), parse(rest)?, true),
        "selftest" => run(&selftest::tests(), parse(rest)?, false),
        "corpus" => record_corpus(parse(rest)?),
        other => Err(Usage(format!("no group {other}")).into()),
    }
}

/// The tests that need a kernel and the agent, natively and in a guest.
pub fn native() -> Vec<Test> {
    // The pipeline's come last: one of them changes the kernel for good.
    let ours = upstream::OURS.to_vec();
    [sensors::tests(), flows::tests(), containers::tests(), ours, faults::tests(), pipeline::tests()].concat()
}

#[derive(Default)]
struct Options {
    filter: String,
    results: Option<PathBuf>,
    context: Context,
}

/// Runs `tests` as `options` say.
fn run(tests: &[Test], options: Options, with_agent: bool) -> anyhow::Result<ExitCode> {
    let Options { filter, results, context } = options;
    if with_agent && !context.agent.is_file() {
        bail!("no agent at {} (--agent FILE)", context.agent.display());
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the tests need root: they make cgroups and namespaces and load BPF programs");
    }
    let chosen: Vec<_> = tests.iter().filter(|test| test.name.contains(&filter)).copied().collect();
    if chosen.is_empty() {
        bail!("no test has {filter:?} in its name");
    }
    let results = match &results {
        Some(path) => Some(open(path)?),
        None => None,
    };
    let good = runner::run(&chosen, &context, results)?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Records the corpus's capture of this kernel into the results.
fn record_corpus(options: Options) -> anyhow::Result<ExitCode> {
    let size = if options.filter == "large" { corpus::Size::Large } else { corpus::Size::Small };
    let path = options.results.context("--results FILE is where the capture goes")?;
    let capture = corpus::record(&options.context, size)?;
    let mut hex = String::with_capacity(2 * capture.len());
    for byte in capture {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    let mut results = open(&path)?;
    writeln!(results, "{}", serde_json::json!({ "capture": hex }))?;
    results.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A file is begun anew; a serial port is only written to.
fn open(path: &Path) -> anyhow::Result<File> {
    let device = path.starts_with("/dev");
    let file = File::options().write(true).create(!device).truncate(!device).open(path);
    file.with_context(|| format!("cannot write results to {}", path.display()))
}

fn parse(arguments: &[OsString]) -> anyhow::Result<Options> {
    let itest = std::env::current_exe()?;
    let agent = itest.with_file_name("tarsier");
    let mut options =
        Options { context: Context { agent, itest, ..Context::default() }, ..Options::default() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| Usage(format!("{} needs a value", word.display())))?;
        match word.to_str().unwrap_or_default() {
            "--filter" => value.to_str().context("--filter is text")?.clone_into(&mut options.filter),
            "--results" => options.results = Some(value.into()),
            "--agent" => options.context.agent = absolute(value)?,
            "--collector" => options.context.collector = Some(absolute(value)?),
            "--rules" => options.context.rules = Some(absolute(value)?),
            "--jaeger" => options.context.jaeger = Some(absolute(value)?),
            other => return Err(Usage(format!("no option {other}")).into()),
        }
    }
    Ok(options)
}

/// Tests change directories and roots, so every binary is known by its full path.
fn absolute(path: &OsString) -> anyhow::Result<PathBuf> {
    std::fs::canonicalize(path).with_context(|| format!("no file {}", path.display()))
}
