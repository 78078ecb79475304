//! `cargo xtask bench [NAME]… [--pairs N] [--against REV] [--write]`: what the agent costs the node, measured so that
//! others can repeat it.
//!
//! Method: fixed work, timed by the workload itself, in pairs of one run without and one run with the
//! agent, in ABBA order (the agent starts and stops once per pair, and which side comes first
//! alternates). Reported is the median of the ratios within the pairs with the least and the greatest, and
//! how many pairs were slower. A run whose records were lost, or are not as many as the work makes,
//! compares nothing: the bench fails. The programs' own time is taken in a run of its own, because
//! `kernel.bpf_stats_enabled` costs time itself.

mod against;
mod chart;
mod daemon;
mod figures;
mod load;
mod page;
mod quiet;

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::demo::Cgroup;
use crate::install::{self, Consent};
use crate::shell::{capture, cargo, is_root, run, say, target_dir};

use daemon::Agent;
use figures::{Pair, Run};

/// What `--pairs` does not say. A claim needs 9 pairs of 11 on one side.
const PAIRS: usize = 11;

/// One workload and its fixed amount of work: around half a second.
pub(crate) struct Workload {
    /// As on the command line.
    name: &'static str,
    /// What one operation is.
    what: &'static str,
    /// Operations per run.
    count: usize,
    /// Records per operation that the sensors must produce.
    records: Range,
    /// Longest ratio that the issue allows, percent; `None` = within noise of zero.
    budget: Option<f64>,
}

/// Least and most records per operation.
type Range = (f64, f64);

const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "getppid",
        what: "W0: one getppid",
        count: 3_000_000,
        records: (0.0, 0.0),
        budget: None,
    },
    Workload {
        name: "open-close",
        what: "W1: open and close a file",
        count: 300_000,
        records: (0.0, 0.0),
        budget: None,
    },
    Workload {
        name: "connect",
        what: "W2: TCP connect, accept, one byte, close",
        count: 10_000,
        records: (5.0, 8.0),
        budget: Some(3.0),
    },
    Workload {
        name: "exec",
        what: "W3: fork, exec of /bin/true, wait",
        count: 800,
        records: (3.0, 3.0),
        budget: Some(2.0),
    },
    Workload {
        name: "bulk",
        what: "W5: 256 KiB over loopback TCP",
        count: 10_000,
        records: (0.0, 0.0),
        budget: Some(1.0),
    },
];

/// What the caller chose.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Names of workloads, or `idle`, or `programs`; empty = everything.
    pub(crate) names: Vec<String>,
    /// Pairs per workload.
    pub(crate) pairs: Option<usize>,
    /// Compares with the agent of this revision in place of none.
    pub(crate) against: Option<String>,
    /// Also writes `docs/benchmarks.md` and its picture.
    pub(crate) write: bool,
}

/// A benchmark that is no pair of runs: its name, and what makes its section.
type Section = (&'static str, fn(&Cgroup) -> Result<String>);

const SECTIONS: [Section; 7] = [
    ("idle", quiet::idle),
    ("programs", quiet::programs),
    ("burst", load::burst),
    ("sustained", load::sustained),
    ("sweeps", load::sweeps),
    ("replay", |_| cargo_bench("R1, user-space path", "tarsier", &["--bench", "replay"])),
    ("encoder", |_| cargo_bench("R3, encoder", "tarsier-core", &["--bench", "encode", "--bench", "stages"])),
];

/// Runs the benchmarks and shows the tables.
pub(crate) fn command(consent: Consent, choice: &Choice) -> Result<()> {
    let wanted = |name: &str| choice.names.is_empty() || choice.names.iter().any(|known| known == name);
    let known =
        WORKLOADS.iter().map(|workload| workload.name).chain(SECTIONS.iter().map(|section| section.0));
    let known: Vec<&str> = known.collect();
    if let Some(name) = choice.names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("no benchmark `{name}`: there are {}", known.join(", "));
    }
    if choice.write && (!choice.names.is_empty() || choice.against.is_some()) {
        bail!("--write takes all benchmarks of this revision: name none, and compare with none");
    }
    install::bpf_toolchain(consent)?;
    if !is_root() {
        bail!("loading programs into the kernel needs root: sudo -E env PATH=\"$PATH\" cargo xtask bench");
    }
    say("building the agent and the workloads (release)");
    run(cargo().args(["build", "--locked", "--release", "--bins", "-p", "tarsier", "-p", "tarsier-tests"]))?;
    let other = choice.against.as_deref().map(against::build).transpose()?;
    let cgroup = Cgroup::new("bench")?;
    let mut report = page::header(choice.pairs.unwrap_or(PAIRS))?;
    let mut picture = String::new();
    let chosen: Vec<&Workload> = WORKLOADS.iter().filter(|workload| wanted(workload.name)).collect();
    if !chosen.is_empty() {
        let pairs = measure(&cgroup, &chosen, choice.pairs.unwrap_or(PAIRS), other.as_deref())?;
        let (title, base) = match &choice.against {
            Some(revision) => (format!("This agent against that of {revision}"), revision.as_str()),
            None => ("With the agent against without".to_owned(), "without"),
        };
        picture = chart::svg(&format!("{title}: CPU time of the work"), &figures::bars(&chosen, &pairs));
        report.push_str(&figures::table(&title, base, &chosen, &pairs)?);
        if choice.write {
            report.push_str("![the changes as bars](benchmarks.svg)\n\n");
        }
    }
    // Against another revision only the pairs are compared.
    let sections = SECTIONS.iter().filter(|(name, _)| wanted(name) && other.is_none());
    for (_, section) in sections {
        report.push_str(&section(&cgroup)?);
    }
    println!("\n{report}");
    if choice.write {
        page::write(&report, &picture)?;
    }
    Ok(())
}

/// A benchmark of one of our packages, which prints a table.
fn cargo_bench(title: &str, package: &str, words: &[&str]) -> Result<String> {
    say(&format!("{title}: cargo bench -p {package} {}", words.join(" ")));
    let text = capture(cargo().args(["bench", "--locked", "--quiet", "-p", package]).args(words))?;
    Ok(format!(
        "## {title}\n\n`cargo bench -p {package} {}`\n\n```text\n{}\n```\n\n",
        words.join(" "),
        text.trim_end()
    ))
}

/// `pairs` pairs of every workload: per workload, its pairs in order. The first side has the agent `other`, or
/// none; the second has ours.
fn measure(
    cgroup: &Cgroup,
    chosen: &[&Workload],
    pairs: usize,
    other: Option<&Path>,
) -> Result<Vec<Vec<Pair>>> {
    let first = || match other {
        Some(binary) => with_agent(cgroup, chosen, Some(binary)),
        None => one_side(cgroup, chosen, None),
    };
    let mut all: Vec<Vec<Pair>> = chosen.iter().map(|_| Vec::new()).collect();
    for index in 0..pairs {
        say(&format!("pair {} of {pairs}", index + 1));
        // A B, then B A: a drift of the machine favours neither side.
        let (off, on) = if index % 2 == 0 {
            let off = first()?;
            (off, with_agent(cgroup, chosen, None)?)
        } else {
            let on = with_agent(cgroup, chosen, None)?;
            (first()?, on)
        };
        for ((pairs, off), on) in all.iter_mut().zip(off).zip(on) {
            pairs.push(Pair { off, on });
        }
    }
    Ok(all)
}

fn with_agent(cgroup: &Cgroup, chosen: &[&Workload], binary: Option<&Path>) -> Result<Vec<Run>> {
    let agent = Agent::start(cgroup.path(), binary)?;
    let runs = one_side(cgroup, chosen, Some(&agent))?;
    agent.stop()?;
    Ok(runs)
}

/// Every workload once, with the agent or without.
fn one_side(cgroup: &Cgroup, chosen: &[&Workload], agent: Option<&Agent>) -> Result<Vec<Run>> {
    chosen.iter().map(|workload| one_run(cgroup, workload, agent)).collect()
}

fn one_run(cgroup: &Cgroup, workload: &Workload, agent: Option<&Agent>) -> Result<Run> {
    let before = agent.map(Agent::look).transpose()?;
    let mut measured = workload.run(cgroup, workload.count)?;
    if let (Some(agent), Some(before)) = (agent, before) {
        let after = agent.drained()?;
        measured.agent_ns = after.cpu_ns - before.cpu_ns;
        measured.records = after.records() - before.records();
        measured.lost = after.lost() - before.lost();
        workload.check(&measured)?;
    }
    Ok(measured)
}

/// The workload `words` of the test binary, inside the cgroup.
pub(super) fn workload_command(cgroup: &Cgroup, words: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo 0 > \"$1/cgroup.procs\" && shift && exec \"$@\"", "bench"]);
    command.arg(cgroup.path()).arg(target_dir().join("release/tarsier-itest")).arg("workload").args(words);
    command
}

impl Workload {
    /// Runs it inside the cgroup.
    fn run(&self, cgroup: &Cgroup, count: usize) -> Result<Run> {
        let (name, count) = (format!("fixed-{}", self.name), count.to_string());
        Run::parse(&capture(&mut workload_command(cgroup, &[&name, "--count", &count]))?)
    }

    /// The equal-work gate. The warm-up, a tenth of the work, is recorded too; so are the workload's own
    /// exec and exit.
    fn check(&self, run: &Run) -> Result<()> {
        let done = run.operations + run.operations / 10;
        let (least, most) = self.records;
        let (least, most) = (least * done as f64, most * done as f64 + 16.0);
        let records = run.records as f64;
        if run.lost != 0 || records < least || records > most {
            bail!(
                "{}: {done} operations made {} records, {} of them lost; {least} to {most} and no loss were expected",
                self.name,
                run.records,
                run.lost
            );
        }
        Ok(())
    }
}
