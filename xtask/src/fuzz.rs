//! `cargo xtask fuzz`: libFuzzer with AddressSanitizer on the targets of `agent/src/fuzz/`.
//!
//! Each folder of `tests/fuzz/` is a target and holds its inputs. What a run finds stays in
//! `target/fuzz/TARGET/corpus/` for the next; `--keep` adds those that reach new code to the folder. An input
//! on which a target fails is `target/fuzz/TARGET/crash-…` (or `timeout-…`, `oom-…`).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, run, say, target_dir, workspace};

/// How long each target runs if nobody says.
pub(crate) const DEFAULT_TIME: Duration = Duration::from_secs(60);

/// What to fuzz.
pub(crate) struct Choice {
    /// Targets; empty = all.
    pub(crate) names: Vec<String>,
    /// How long each.
    pub(crate) time: Duration,
    /// Where the search begins; `None`: elsewhere each time.
    pub(crate) seed: Option<u32>,
    /// Add inputs that reach new code to the repository.
    pub(crate) keep: bool,
}

/// How the run of one target went.
struct Run {
    name: String,
    /// Inputs tried, and how many of them a second.
    tried: u64,
    rate: u64,
    /// Edges of the program reached.
    edges: u64,
    /// The last lines of its log, if it failed.
    fault: Option<String>,
}

/// `20s` or `10m`.
pub(crate) fn time(text: &str) -> Result<Duration> {
    let (digits, seconds) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(digits), _) => (digits, 1),
        (_, Some(digits)) => (digits, 60),
        _ => bail!("--for takes a time such as `20s` or `10m`, not `{text}`"),
    };
    Ok(Duration::from_secs(digits.parse::<u64>().context("--for")? * seconds))
}

/// The command: every chosen target, a table, an error if one failed.
pub(crate) fn command(choice: &Choice) -> Result<()> {
    match outcome(choice)? {
        (_, 0) => Ok(()),
        (all, failed) => bail!("{failed} of {all} targets failed"),
    }
}

/// Builds and runs; returns how many targets ran and how many of them failed.
pub(crate) fn outcome(choice: &Choice) -> Result<(usize, usize)> {
    let names = chosen(&choice.names)?;
    let fuzzer = build()?;
    say(&format!("{} targets, {} s each", names.len(), choice.time.as_secs()));
    let mut runs = at_once(&names, |name| fuzz(&fuzzer, name, choice.time, choice.seed))?;
    runs.sort_by(|a, b| a.name.cmp(&b.name));
    println!("\n{:<16} {:>12} {:>9} {:>8}", "target", "inputs", "a second", "edges");
    for Run { name, tried, rate, edges, fault } in &runs {
        let failed = if fault.is_some() { "  FAILED" } else { "" };
        println!("{name:<16} {tried:>12} {rate:>9} {edges:>8}{failed}");
    }
    for run in &runs {
        if let Some(fault) = &run.fault {
            eprintln!("\n{}:\n{fault}", run.name);
        }
    }
    let failed = runs.iter().filter(|run| run.fault.is_some()).count();
    if choice.keep && failed == 0 {
        for name in &names {
            keep(&fuzzer, name)?;
        }
    }
    Ok((runs.len(), failed))
}

/// The checked-in inputs of all targets, a folder each.
fn corpus() -> PathBuf {
    workspace().join("tests/fuzz")
}

fn chosen(names: &[String]) -> Result<Vec<String>> {
    let mut known = Vec::new();
    for entry in fs::read_dir(corpus()).context("tests/fuzz")? {
        known.push(entry?.file_name().to_string_lossy().into_owned());
    }
    known.sort();
    match names.iter().find(|name| !known.contains(name)) {
        Some(name) => bail!("no fuzz target `{name}`; there are: {}", known.join(", ")),
        None if names.is_empty() => Ok(known),
        None => Ok(names.to_vec()),
    }
}

/// Builds the fuzzer. Dependencies are those of `cargo test`, so that CI compiles only our own crates again.
fn build() -> Result<PathBuf> {
    let mut command = cargo();
    command.env("RUSTC_WORKSPACE_WRAPPER", workspace().join("xtask/instrument.sh"));
    command.args(["build", "--locked", "--example", "fuzz", "--features", "tarsier/fuzz"]);
    // The agent unoptimised: compiling it takes a quarter of the time, and the hot half is in core.
    for setting in
        ["profile.dev.package.tarsier-core.opt-level=1", "profile.dev.package.libfuzzer-sys.opt-level=2"]
    {
        command.args(["--config", setting]);
    }
    run(&mut command)?;
    Ok(target_dir().join("debug/examples/fuzz"))
}

/// Runs `work` on each name, as many at once as there are processors.
fn at_once(names: &[String], work: impl Fn(&str) -> Result<Run> + Sync) -> Result<Vec<Run>> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(names.len());
    let queue = Mutex::new(names.iter());
    let take = || queue.lock().ok().and_then(|mut left| left.next());
    std::thread::scope(|scope| {
        let spawn = |_| scope.spawn(|| std::iter::from_fn(take).map(|name| work(name)).collect::<Vec<_>>());
        let workers: Vec<_> = (0..workers).map(spawn).collect();
        let done = workers.into_iter().flat_map(|worker| match worker.join() {
            Ok(runs) => runs,
            Err(_) => vec![Err(anyhow::anyhow!("a thread panicked"))],
        });
        done.collect()
    })
}

fn folder(name: &str) -> PathBuf {
    target_dir().join("fuzz").join(name)
}

/// The fuzzer on one target, with what is common to all calls.
fn fuzzer(binary: &Path, name: &str) -> Command {
    let mut command = Command::new(binary);
    command.env("TARSIER_FUZZ_TARGET", name).stdin(Stdio::null()).stdout(Stdio::null());
    // Leaks are not what we look for, and looking for them takes ptrace.
    command.env("ASAN_OPTIONS", "detect_leaks=0");
    // No input may take long or much: what it claims to hold is not there.
    command.args(["-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=256", "-print_final_stats=1"]);
    command
}

fn fuzz(binary: &Path, name: &str, time: Duration, seed: Option<u32>) -> Result<Run> {
    let folder = folder(name);
    let found = folder.join("corpus");
    fs::create_dir_all(&found)?;
    let log = folder.join("log");
    let mut command = fuzzer(binary, name);
    command.arg(format!("-max_total_time={}", time.as_secs()));
    command.args(seed.map(|seed| format!("-seed={seed}")));
    command.arg(format!("-artifact_prefix={}/", folder.display()));
    command.arg(&found).arg(corpus().join(name)).stderr(File::create(&log)?);
    let status = command.status().with_context(|| format!("starting {}", binary.display()))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let fault = (!status.success()).then(|| {
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n");
        format!(
            "{last}\n\nagain: TARSIER_FUZZ_TARGET={name} {} FILE\n\
             mended: the file belongs in tests/fuzz/{name}/, with a test of its own beside the mended code",
            binary.display()
        )
    });
    Ok(Run {
        name: name.to_owned(),
        tried: after(&text, "stat::number_of_executed_units:"),
        rate: after(&text, "stat::average_exec_per_sec:"),
        edges: after(&text, " cov:"),
        fault,
    })
}

/// The number behind the last `label`.
fn after(text: &str, label: &str) -> u64 {
    let rest = text.rsplit_once(label).map_or("", |(_, rest)| rest.trim_start());
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse().unwrap_or(0)
}

/// Adds to the checked-in inputs what reaches edges that they do not; how often an edge is passed does not
/// count, or there would be thousands.
fn keep(binary: &Path, name: &str) -> Result<()> {
    let mut command = fuzzer(binary, name);
    command.args(["-merge=1", "-use_counters=0"]).arg(corpus().join(name)).arg(folder(name).join("corpus"));
    let log = folder(name).join("merge.log");
    let status = command.stderr(File::create(&log)?).status()?;
    if !status.success() {
        bail!("merging the inputs of {name} failed: {}", log.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{after, chosen, time};

    #[test]
    fn numbers_are_read_from_a_log() {
        let log =
            "#2 INITED cov: 23 ft: 23\n#9 DONE   cov: 335 ft: 553\nstat::average_exec_per_sec:     36376\n";
        assert_eq!((after(log, " cov:"), after(log, "stat::average_exec_per_sec:")), (335, 36_376));
        assert_eq!(after(log, "stat::absent:"), 0);
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(time("10m").ok().map(|time| time.as_secs()), Some(600));
        assert_eq!(time("20s").ok().map(|time| time.as_secs()), Some(20));
        assert!(time("20").is_err() && time("xs").is_err());
    }

    #[test]
    fn targets_are_the_folders_of_the_corpus() {
        assert!(chosen(&[]).is_ok_and(|all| all.contains(&"decode".to_owned())));
        assert!(chosen(&["no".to_owned()]).is_err());
    }
}
