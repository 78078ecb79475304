//! The agent without a workload, and its programs' own time.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};

use super::daemon::{Agent, Thread};
use super::figures::{median, time};
use super::{WORKLOADS, Workload};
use crate::demo::Cgroup;
use crate::shell::say;

/// How long the idle agent is watched.
const IDLE: Duration = Duration::from_secs(30);
/// Its first moments still belong to the start.
const SETTLE: Duration = Duration::from_secs(2);
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// Starts measured.
const STARTS: usize = 5;

/// The agent on an empty cgroup.
pub(super) fn idle(cgroup: &Cgroup) -> Result<String> {
    let mut starts = Vec::new();
    for _ in 1..STARTS {
        let agent = Agent::start(cgroup.path(), None)?;
        starts.push(agent.start.as_nanos() as f64);
        agent.stop()?;
    }
    let agent = Agent::start(cgroup.path(), None)?;
    starts.push(agent.start.as_nanos() as f64);
    say(&format!("idle: {} s on a cgroup where nothing happens", IDLE.as_secs()));
    std::thread::sleep(SETTLE);
    let (before, look) = (agent.threads()?, agent.look()?);
    std::thread::sleep(IDLE);
    // The thread counters first: asking for metrics is work itself.
    let after = agent.threads()?;
    let later = agent.look()?;
    let seconds = IDLE.as_secs_f64();
    let wakeups = |cause: &str| -> Option<u64> {
        let count =
            |look: &super::daemon::Look| look.by_label("tarsier_drain_wakeups_total").get(cause).copied();
        Some(count(&later)? - count(&look)?)
    };
    let mut out = format!("## Idle, {seconds} s\n\n| what | value | budget |\n|---|---|---|\n");
    let used: u64 = after.iter().map(|thread| thread.cpu_ns).sum::<u64>()
        - before.iter().map(|thread| thread.cpu_ns).sum::<u64>();
    writeln!(
        out,
        "| CPU | {:.3} ms = {:.4} % of a core | 0.1 % |",
        used as f64 / 1e6,
        used as f64 / seconds / 1e7
    )?;
    for Thread { name, wakeups, cpu_ns } in &after {
        // Threads of one name are told apart by their order, which does not change.
        let earlier = before.iter().find(|thread| thread.name == *name).cloned().unwrap_or_default();
        writeln!(
            out,
            "| thread `{name}` | {:.2} wake-ups/s, {:.3} ms | |",
            (wakeups - earlier.wakeups) as f64 / seconds,
            (cpu_ns - earlier.cpu_ns) as f64 / 1e6
        )?;
    }
    writeln!(
        out,
        "| drain timer / ring threshold | {} / {} wake-ups | |",
        wakeups("timer").context("no timer wake-ups in /metrics")?,
        wakeups("threshold").context("no threshold wake-ups in /metrics")?
    )?;
    let mib = |name: &str| -> Result<f64> { Ok(agent.memory_kib(name)? as f64 / 1024.0) };
    writeln!(
        out,
        "| resident memory | {:.1} MiB ({:.1} anonymous, {:.1} of files, {:.1} shared), peak {:.1} | 60 MB |",
        mib("VmRSS")?,
        mib("RssAnon")?,
        mib("RssFile")?,
        mib("RssShmem")?,
        mib("VmHWM")?
    )?;
    writeln!(out, "| start to ready, median of {STARTS} | {} | |\n", time(median(&starts)))?;
    agent.stop()?;
    Ok(out)
}

/// Time per run of each program, as the kernel counts it, under the workloads that run them. The counting
/// itself costs some 20 to 40 ns of what it counts, so this run is not compared with anything.
pub(super) fn programs(cgroup: &Cgroup) -> Result<String> {
    let _stats = Stats::on()?;
    let agent = Agent::start(cgroup.path(), None)?;
    let before = agent.look()?;
    for workload in WORKLOADS.iter().filter(|workload| workload.records.0 > 0.0) {
        say(&format!("the programs' own time: {}", workload.name));
        Workload::run(workload, cgroup, workload.count)?;
    }
    let after = agent.drained()?;
    agent.stop()?;
    let mut out = String::from("## Programs\n\n| program | runs | mean per run |\n|---|---|---|\n");
    let of = |look: &super::daemon::Look, metric: &str| look.by_label(metric);
    let (runs, ns) = ("tarsier_program_runs_total", "tarsier_program_run_nanoseconds_total");
    let (runs_before, ns_before) = (of(&before, runs), of(&before, ns));
    let ns_after = of(&after, ns);
    for (program, count) in of(&after, runs) {
        let count = count - runs_before.get(&program).copied().unwrap_or_default();
        let spent = ns_after.get(&program).copied().unwrap_or_default()
            - ns_before.get(&program).copied().unwrap_or_default();
        if count > 0 {
            writeln!(out, "| `{program}` | {count} | {} |", time(spent as f64 / count as f64))?;
        }
    }
    out.push('\n');
    Ok(out)
}

/// `kernel.bpf_stats_enabled`, back to what it was on drop.
struct Stats(String);

impl Stats {
    fn on() -> Result<Self> {
        let old = std::fs::read_to_string(STATS).with_context(|| format!("reading {STATS}"))?;
        std::fs::write(STATS, "1").with_context(|| format!("writing {STATS}"))?;
        Ok(Self(old))
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(STATS, self.0.trim()) {
            eprintln!("{STATS} stays on: {error}");
        }
    }
}
