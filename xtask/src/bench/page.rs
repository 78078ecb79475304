//! `docs/benchmarks.md`: the machine, the command, the method, the tables.

use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{capture, say, workspace};

const PAGE: &str = "docs/benchmarks.md";
const PICTURE: &str = "docs/benchmarks.svg";

const TITLE: &str = "\
# Benchmarks

<!-- Written by `cargo xtask bench --write`. -->

";

const METHOD: &str = "\
## How to read this

Each workload does a fixed amount of work in a cgroup of its own, pinned to one CPU, and times itself. A pair is
one run without the agent and one with it (release build, all sensors, scoped to that cgroup, `--output none`, no
OTLP endpoint), in ABBA order. A change is the ratio within a pair: the median of all pairs, then the least and the
greatest, then how many pairs were slower. Of 11 pairs, 9 must agree before a difference is one. *CPU time* is that of
the workload and its children (BPF programs run inside it, and so does the softirq side of loopback); it suffers
less than *wall time* when others use the machine. Records and agent CPU are per operation; a lost record fails the bench.
Programs are timed by `kernel.bpf_stats_enabled` in a run of their own; two clock reads are part of each figure.
";

/// The machine and how this was made.
pub(super) fn header(pairs: usize) -> Result<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpus = std::thread::available_parallelism()?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("reading osrelease")?;
    let load = std::fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    let git = |arguments: &[&str]| capture(Command::new("git").args(arguments).current_dir(workspace()));
    // An exported tree has no revision.
    let revision = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|_| "unknown".into());
    let changed = git(&["status", "--porcelain", "-uno"]).is_ok_and(|status| !status.is_empty());
    let hypervisor = if cpuinfo.contains(" hypervisor") { ", virtual" } else { "" };
    Ok(format!(
        "| | |\n|---|---|\n\
         | machine | {cpus} × {}{hypervisor} |\n\
         | kernel | {} |\n\
         | revision | {}{} |\n\
         | load when it began | {} |\n\
         | command | `cargo xtask bench --pairs {pairs} --write` |\n\n",
        model.map_or("unknown", |(_, model)| model.trim()),
        kernel.trim(),
        revision.trim(),
        if changed { " with changes" } else { "" },
        load.split(' ').next().unwrap_or_default(),
    ))
}

/// Writes the page and its picture.
pub(super) fn write(report: &str, picture: &str) -> Result<()> {
    let path = workspace().join(PICTURE);
    std::fs::write(&path, picture).with_context(|| format!("writing {}", path.display()))?;
    let path = workspace().join(PAGE);
    std::fs::write(&path, format!("{TITLE}{report}{METHOD}"))
        .with_context(|| format!("writing {}", path.display()))?;
    say(&format!("wrote {PAGE}"));
    Ok(())
}
