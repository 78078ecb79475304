//! From pairs of runs to a row of a table.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::Workload;
use super::chart::Bar;

/// One run of a workload.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    /// Operations timed.
    pub(super) operations: u64,
    /// Elapsed time, ns.
    pub(super) wall_ns: u64,
    /// CPU time of the workload and its children, BPF programs and interrupts they took included, ns.
    pub(super) cpu_ns: u64,
    /// CPU time of the agent while it ran and until its rings were empty, ns.
    pub(super) agent_ns: u64,
    /// Records produced in the kernel.
    pub(super) records: u64,
    /// Records lost, for any reason.
    pub(super) lost: u64,
}

impl Run {
    /// What a workload says of itself: `{operations, wall_ns, cpu_ns}`.
    pub(super) fn parse(line: &str) -> Result<Self> {
        let number = |key: &str| -> Result<u64> {
            let rest = line.split_once(&format!("\"{key}\":")).map(|(_, rest)| rest);
            let digits = rest.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(""));
            digits.and_then(|digits| digits.parse().ok()).with_context(|| format!("no {key} in {line}"))
        };
        Ok(Self {
            operations: number("operations")?,
            wall_ns: number("wall_ns")?,
            cpu_ns: number("cpu_ns")?,
            ..Self::default()
        })
    }

    fn per_operation(&self, ns: u64) -> f64 {
        ns as f64 / self.operations.max(1) as f64
    }
}

/// One run without the agent and one with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// Without.
    pub(super) off: Run,
    /// With.
    pub(super) on: Run,
}

/// Ratios of pairs, as percent above one, and what they say.
#[derive(Debug, PartialEq)]
struct Ratios {
    median: f64,
    least: f64,
    greatest: f64,
    slower: usize,
}

impl Ratios {
    fn of(pairs: &[Pair], ns: impl Fn(&Run) -> u64) -> Self {
        let percents: Vec<f64> = pairs
            .iter()
            .map(|pair| (ns(&pair.on) as f64 / ns(&pair.off).max(1) as f64 - 1.0) * 100.0)
            .collect();
        Self {
            median: median(&percents),
            least: percents.iter().copied().fold(f64::INFINITY, f64::min),
            greatest: percents.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            slower: percents.iter().filter(|percent| **percent > 0.0).count(),
        }
    }

    fn cell(&self, pairs: usize) -> String {
        let Self { median, least, greatest, slower } = self;
        format!("{median:+.2} % ({least:+.1} to {greatest:+.1}), {slower}/{pairs} slower")
    }
}

/// The middle value; of an even number, the mean of the middle two. 0 of none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (Some(value), 1) => *value,
        (Some(value), _) => f64::midpoint(*value, sorted[middle - 1]),
        (None, _) => 0.0,
    }
}

/// The bars of the workloads: change of CPU time.
pub(super) fn bars(workloads: &[&Workload], measured: &[Vec<Pair>]) -> Vec<Bar> {
    let bar = |(workload, pairs): (&&Workload, &Vec<Pair>)| {
        let Ratios { median, least, greatest, .. } = Ratios::of(pairs, |run| run.cpu_ns);
        Bar { name: workload.what.to_owned(), median, least, greatest, budget: workload.budget }
    };
    workloads.iter().zip(measured).map(bar).collect()
}

/// The table of the workloads, in Markdown; `title` says what is compared, `base` names the first side.
pub(super) fn table(
    title: &str,
    base: &str,
    workloads: &[&Workload],
    measured: &[Vec<Pair>],
) -> Result<String> {
    let mut out = format!(
        "## {title}\n\n\
         | operation | {base}, wall | CPU time, change | wall time, change | budget | records/op | lost | agent CPU/op |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for (workload, pairs) in workloads.iter().zip(measured) {
        let of = |ns: fn(&Pair) -> f64| median(&pairs.iter().map(ns).collect::<Vec<_>>());
        let wall = of(|pair| pair.off.per_operation(pair.off.wall_ns));
        // The warm-up's records and the agent's work for them count as well.
        let records = of(|pair| pair.on.per_operation(pair.on.records) / 1.1);
        let agent = of(|pair| pair.on.per_operation(pair.on.agent_ns) / 1.1);
        let lost: u64 = pairs.iter().map(|pair| pair.on.lost).sum();
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {records:.2} | {lost} | {} |",
            workload.what,
            time(wall),
            Ratios::of(pairs, |run| run.cpu_ns).cell(pairs.len()),
            Ratios::of(pairs, |run| run.wall_ns).cell(pairs.len()),
            workload.budget.map_or("+0 % (noise)".to_owned(), |budget| format!("+{budget} %")),
            time(agent),
        )?;
    }
    out.push('\n');
    Ok(out)
}

/// A duration in ns as people write it.
pub(super) fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(off: u64, on: u64) -> Pair {
        let run = |wall_ns| Run { operations: 1, wall_ns, ..Run::default() };
        Pair { off: run(off), on: run(on) }
    }

    #[test]
    fn ratios_are_taken_within_pairs() {
        // The machine got ten times slower half way: a ratio of medians would not survive that.
        let pairs = [pair(100, 103), pair(1000, 1010), pair(100, 99)];
        let ratios = Ratios::of(&pairs, |run| run.wall_ns);
        assert!((ratios.median - 1.0).abs() < 1e-9, "{ratios:?}");
        assert!((ratios.least + 1.0).abs() < 1e-9 && (ratios.greatest - 3.0).abs() < 1e-9, "{ratios:?}");
        assert_eq!(ratios.slower, 2);
    }

    #[test]
    fn median_of_odd_even_and_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&[4.0, 1.0]).to_bits(), 2.5_f64.to_bits());
        assert_eq!(median(&[]).to_bits(), 0.0_f64.to_bits());
    }
}
