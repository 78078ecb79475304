//! `cargo xtask test [--quick] [--all-kernels]`: every tier that this machine can run, one table, one closing line.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::dist::Binaries;
use crate::install::{self, Consent};
use crate::results::Results;
use crate::shell::{cargo, is_root, run, say, target_dir, workspace};
use crate::{demo, dist, ebpf, fuzz, guests, kernels, peers, tidy};

/// How far a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// No guests, no built backends.
    Quick,
    /// What every change has to pass.
    Usual,
    /// Also the kernels that are not in every run.
    AllKernels,
}

/// How one tier went.
enum Outcome {
    /// It ran; failures have been printed.
    Ran { passed: usize, failed: usize, skipped: usize },
    /// Not here, or not asked for: why.
    NotRun(String),
}

impl From<&Results> for Outcome {
    fn from(results: &Results) -> Self {
        Self::Ran { passed: results.passed, failed: results.failed, skipped: results.skipped.len() }
    }
}

struct Row {
    tier: &'static str,
    outcome: Outcome,
    took: Duration,
}

/// The rows so far. A tier that fails does not keep the next ones from running.
struct Report {
    rows: Vec<Row>,
}

impl Report {
    fn tier(&mut self, tier: &'static str, work: impl FnOnce() -> Result<Outcome>) {
        say(&format!("tier: {tier}"));
        let start = Instant::now();
        let outcome = match work() {
            // A tier that finds nothing to test proves nothing.
            Ok(Outcome::Ran { passed: 0, failed: 0, .. }) => {
                eprintln!("{tier}: no test ran");
                Outcome::Ran { passed: 0, failed: 1, skipped: 0 }
            }
            Ok(outcome) => outcome,
            Err(error) => {
                eprintln!("{tier}: {error:#}");
                Outcome::Ran { passed: 0, failed: 1, skipped: 0 }
            }
        };
        self.rows.push(Row { tier, outcome, took: start.elapsed() });
    }

    fn totals(&self) -> (usize, usize) {
        self.rows.iter().fold((0, 0), |(all, bad), row| match row.outcome {
            Outcome::Ran { passed, failed, .. } => (all + passed, bad + failed),
            Outcome::NotRun(_) => (all, bad),
        })
    }

    fn table(&self) -> String {
        let mut text =
            format!("{:<34} {:>7} {:>7} {:>7} {:>7}\n", "tier", "passed", "failed", "skipped", "time");
        for Row { tier, outcome, took } in &self.rows {
            // Writing to a String cannot fail.
            let _ = match outcome {
                Outcome::Ran { passed, failed, skipped } => {
                    writeln!(text, "{tier:<34} {passed:>7} {failed:>7} {skipped:>7} {:>5} s", took.as_secs())
                }
                Outcome::NotRun(reason) => writeln!(text, "{tier:<34} not run: {reason}"),
            };
        }
        text
    }
}

/// Runs everything; true if nothing failed.
pub(crate) fn run_all(consent: Consent, reach: Reach) -> Result<bool> {
    let quick = reach == Reach::Quick;
    let mut report = Report { rows: Vec::new() };
    let toolchain = install::bpf_toolchain(consent)?.is_some();
    report.tier("tidy", || tidy::outcome().map(|broken| one_each(tidy::CHECKS, broken)));
    report.tier("format, clippy, rustdoc", lint);
    report.tier("licences", || licences(consent, quick));
    report.tier("unit, property and doc tests", unit);
    report.tier("fuzz targets, briefly", || if quick { left_out() } else { fuzz_targets() });
    report.tier("eBPF object is current, in budget", || match toolchain {
        true => ebpf::run(consent, true).map(|()| one_each(1, 0)),
        false => Ok(Outcome::NotRun("this distribution packages no BPF toolchain".into())),
    });
    let mut binaries = None;
    report.tier("static binaries", || {
        let built = if quick { dist::quick_binaries(consent)? } else { dist::release_binaries(consent)? };
        binaries = Some(built);
        Ok(one_each(1, 0))
    });
    kernel_tiers(&mut report, consent, reach, binaries.as_ref());
    println!("\n{}", report.table());
    let (passed, failed) = report.totals();
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// The tiers that need the static binaries.
fn kernel_tiers(report: &mut Report, consent: Consent, reach: Reach, binaries: Option<&Binaries>) {
    let quick = reach == Reach::Quick;
    let with = |work: &dyn Fn(&Binaries) -> Result<Outcome>| match binaries {
        Some(binaries) => work(binaries),
        None => bail!("the binaries were not built"),
    };
    report.tier("kernel: native", || {
        with(&|binaries| match native_gap() {
            Some(gap) => Ok(Outcome::NotRun(gap)),
            None => native(consent, binaries),
        })
    });
    report.tier("kernel: Falco's own rules", || {
        with(&|binaries| match native_gap() {
            Some(gap) => Ok(Outcome::NotRun(gap)),
            None => falco_rules(consent, binaries),
        })
    });
    report.tier("the demonstration", || {
        with(&|binaries| match native_gap() {
            Some(gap) => Ok(Outcome::NotRun(gap)),
            None => demo::show(binaries, None).map(|()| one_each(1, 0)),
        })
    });
    report.tier("kernel: guests", || {
        let all = reach == Reach::AllKernels;
        if quick { left_out() } else { with(&|binaries| guests(consent, binaries, all)) }
    });
    report.tier("real Collector and Jaeger", || {
        with(&|binaries| match native_gap() {
            _ if quick => left_out(),
            Some(gap) => Ok(Outcome::NotRun(gap)),
            None => backends(consent, binaries),
        })
    });
}

fn left_out() -> Result<Outcome> {
    Ok(Outcome::NotRun("left out by --quick".into()))
}

fn one_each(checks: usize, failed: usize) -> Outcome {
    Outcome::Ran { passed: checks.saturating_sub(failed), failed, skipped: 0 }
}

fn lint() -> Result<Outcome> {
    // The kernel side has no host build; `cargo xtask ebpf` compiles and checks it.
    let host = ["--workspace", "--exclude", "tarsier-ebpf"];
    let mut format = cargo();
    format.args(["fmt", "--all", "--check"]);
    let mut clippy = cargo();
    // The fuzzer is an example of a feature: without it nobody would read it.
    clippy.args(["clippy", "--locked", "--all-targets", "--features", "tarsier/fuzz"]);
    clippy.args(host).args(["--", "-D", "warnings"]);
    let mut docs = cargo();
    docs.args(["doc", "--locked", "--no-deps"]).args(host).env("RUSTDOCFLAGS", "-D warnings");
    let mut failed = 0;
    for command in [&mut format, &mut clippy, &mut docs] {
        if let Err(error) = run(command) {
            eprintln!("{error:#}");
            failed += 1;
        }
    }
    Ok(one_each(3, failed))
}

/// Licences, sources and duplicate versions. Advisories need a database from the network that not every
/// machine reaches; CI of the hosting platform checks them.
fn licences(consent: Consent, quick: bool) -> Result<Outcome> {
    if quick {
        return left_out();
    }
    let deny = install::built_tool("cargo-deny", "0.20.2", consent)?;
    let mut command = Command::new(deny);
    command.current_dir(workspace()).args(["--locked", "check"]);
    run(command.args(["licenses", "bans", "sources"]))?;
    Ok(one_each(3, 0))
}

/// `cargo test` of the default members; its own lines are shown and counted.
fn unit() -> Result<Outcome> {
    let mut command = cargo();
    command.args(["test", "--locked", "--no-fail-fast"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("starting cargo test")?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for line in BufReader::new(child.stdout.take().context("cargo test has no output")?).lines() {
        let line = line?;
        if let Some((ok, bad, ignored)) = counts(&line) {
            (passed, failed, skipped) = (passed + ok, failed + bad, skipped + ignored);
        }
        println!("{line}");
    }
    if !child.wait()?.success() && failed == 0 {
        bail!("cargo test failed before its tests ran");
    }
    Ok(Outcome::Ran { passed, failed, skipped })
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …`
fn counts(line: &str) -> Option<(usize, usize, usize)> {
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut numbers = rest.split("; ").map(|part| part.split(' ').next().unwrap_or("").parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

/// Long enough to find what a change breaks on the way from the checked-in inputs; a search takes `cargo xtask
/// fuzz`.
fn fuzz_targets() -> Result<Outcome> {
    // The same search each time: what a new one finds is found by who runs it, not by whose change lands next.
    let choice =
        fuzz::Choice { names: Vec::new(), time: Duration::from_secs(12), seed: Some(1), keep: false };
    let (targets, failed) = fuzz::outcome(&choice)?;
    Ok(one_each(targets, failed))
}

/// What keeps this machine from running the agent, if anything does.
pub(crate) fn native_gap() -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if !is_root() {
        Some("needs root (sudo)".into())
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        Some("this kernel has no BTF".into())
    } else if !mounts.contains(" - cgroup2 ") {
        Some("no cgroup2 is mounted".into())
    } else {
        None
    }
}

fn native(consent: Consent, binaries: &Binaries) -> Result<Outcome> {
    let results = native_results(consent, binaries)?;
    results.show(kernels::NATIVE);
    Ok(Outcome::from(&results))
}

/// The suite on the running kernel, held to its expected skips.
pub(crate) fn native_results(consent: Consent, binaries: &Binaries) -> Result<Results> {
    install::packages(&install::KERNEL_TESTS, consent)?;
    let mut results = itest(binaries, "selftest", &[])?;
    results.add(itest(binaries, "native", &[("--agent", &binaries.agent)])?);
    results.expect_skips(&kernels::named(kernels::NATIVE)?.skips);
    Ok(results)
}

/// The rule files that Falco's maintainers publish are not in this repository; a machine that has them names the
/// folder, or has it beside the clone.
const FALCO_RULES: (&str, &str) = ("TARSIER_FALCO_RULES", "../shared/falco-rules");

/// Every rule of those files, held to an action that it is to tell of and one that it is not.
fn falco_rules(consent: Consent, binaries: &Binaries) -> Result<Outcome> {
    let (variable, beside) = FALCO_RULES;
    let folder = std::env::var_os(variable).map_or_else(|| workspace().join(beside), Into::into);
    if !folder.is_dir() {
        let folder = folder.display();
        return Ok(Outcome::NotRun(format!(
            "Falco's rule files are not at {folder}; {variable} names their folder"
        )));
    }
    install::packages(&install::KERNEL_TESTS, consent)?;
    let mut results = itest(binaries, "upstream", &[("--agent", &binaries.agent), ("--rules", &folder)])?;
    results.expect_skips(&[]);
    results.show("upstream");
    Ok(Outcome::from(&results))
}

fn guests(consent: Consent, binaries: &Binaries, all: bool) -> Result<Outcome> {
    let guests::Ran { done, gaps } = guests::run(consent, binaries, kernels::guests(all)?)?;
    if done.is_empty() {
        return Ok(Outcome::NotRun(gaps.join("; ")));
    }
    gaps.iter().for_each(|gap| println!("not run: {gap}"));
    let mut sum = Results::default();
    for (kernel, results) in done {
        results.show(&kernel.name);
        sum.add(results);
    }
    Ok(Outcome::from(&sum))
}

fn backends(consent: Consent, binaries: &Binaries) -> Result<Outcome> {
    let peers = match peers::get(consent)? {
        Ok(peers) => peers,
        Err(gap) => return Ok(Outcome::NotRun(gap)),
    };
    let options: [(&str, &Path); 3] =
        [("--agent", &binaries.agent), ("--collector", &peers.collector), ("--jaeger", &peers.jaeger)];
    // The harness proves itself again, now that its tests of the peers can run.
    let mut results = itest(binaries, "selftest", &options)?;
    results.add(itest(binaries, "backends", &options)?);
    results.expect_skips(&[]);
    results.show("backends");
    Ok(Outcome::from(&results))
}

/// Runs one group of the test binary.
fn itest(binaries: &Binaries, group: &str, options: &[(&str, &Path)]) -> Result<Results> {
    let path = target_dir().join(format!("itest-{group}.ndjson"));
    let mut command = Command::new(&binaries.itest);
    command.arg(group).arg("--results").arg(&path);
    for (name, value) in options {
        command.arg(name).arg(value);
    }
    // Its exit code says that a test failed; which one, and whether it came to its end, the file says.
    let status = command.stdin(Stdio::null()).status().context("starting the test binary")?;
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    Results::parse(&text).with_context(|| format!("tarsier-itest {group} ({status})"))
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Report, counts};

    #[test]
    fn cargos_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.01s";
        assert_eq!(counts(line), Some((12, 1, 2)));
        assert_eq!(counts("running 12 tests"), None);
    }

    #[test]
    fn an_empty_tier_and_a_broken_one_fail_and_a_missing_one_does_not() {
        let mut report = Report { rows: Vec::new() };
        report.tier("empty", || Ok(Outcome::Ran { passed: 0, failed: 0, skipped: 4 }));
        report.tier("broken", || anyhow::bail!("no"));
        report.tier("elsewhere", || Ok(Outcome::NotRun("no root".into())));
        report.tier("good", || Ok(Outcome::Ran { passed: 3, failed: 0, skipped: 0 }));
        assert_eq!(report.totals(), (3, 2));
        assert!(report.table().contains("not run: no root"));
    }
}
