//! The agent's own account of what it saw, sent and lost: its Prometheus page, read and added up.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tarsier_abi::Sensor;

/// Records that kernel programs set out to write, by `sensor`.
pub const PRODUCED: &str = "tarsier_records_produced_total";
/// Records read from a ring, by `sensor`.
pub const RECEIVED: &str = "tarsier_records_received_total";
/// Records lost in the kernel, by `sensor` and `reason`.
pub const LOST: &str = "tarsier_records_lost_total";
/// Runs of a program that the kernel skipped, by `program`.
pub const SKIPPED: &str = "tarsier_program_recursion_misses_total";
/// Connections without a record of their close.
const LOST_FLOWS: &str = "tarsier_flows_lost_total";
/// Events reported, by `kind`.
pub const REPORTS: &str = "tarsier_reports_total";
/// Items handed to an exporter, by `exporter`, `signal`, `outcome` (enqueued, sent, rejected, dropped) and `cause`.
pub const ITEMS: &str = "tarsier_exporter_items_total";
/// Bytes that wait in an exporter's queue, by `exporter`.
pub const QUEUE_BYTES: &str = "tarsier_exporter_queue_bytes";
/// What else must stay 0 when nothing is lost.
const LOSSES: &[&str] = &[
    LOST,
    "tarsier_records_malformed_total",
    "tarsier_sequence_gaps_total",
    "tarsier_process_evictions_total",
    "tarsier_flows_evicted_total",
];

/// A page of samples.
#[derive(Debug)]
pub struct Ledger {
    samples: Vec<(String, f64)>,
}

impl Ledger {
    /// Fetches `/metrics` at `address`.
    pub fn fetch(address: SocketAddr) -> anyhow::Result<Self> {
        let body =
            super::http::get(address, "/metrics", Duration::from_secs(5)).context("the agent's /metrics")?;
        Ok(Self::parse(&body))
    }

    pub(super) fn parse(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        // The value follows the last space: label values may hold spaces, values may not.
        let samples = lines.filter_map(|line| {
            let (series, value) = line.trim_end().rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self { samples: samples.collect() }
    }

    /// The sum of all series of `name` whose labels hold every `key="value"` of `labels`. An unknown
    /// name is an error, never a zero: a renamed metric must not pass for "nothing lost".
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<f64> {
        let of_name = |series: &str| {
            let rest = series.strip_prefix(name)?;
            (rest.is_empty() || rest.starts_with('{')).then(|| rest.to_owned())
        };
        let mut known = false;
        let mut sum = 0.0;
        for (series, value) in &self.samples {
            let Some(rest) = of_name(series) else { continue };
            known = true;
            if labels.iter().all(|(key, value)| has_label(&rest, key, value)) {
                sum += value;
            }
        }
        if !known {
            let mut names: Vec<_> =
                self.samples.iter().filter_map(|(series, _)| series.split('{').next()).collect();
            names.dedup();
            bail!("/metrics has no metric {name}; it has: {}", names.join(" "));
        }
        Ok(sum)
    }

    /// As [`Ledger::sum`], of whole numbers.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<u64> {
        let sum = self.sum(name, labels)?;
        // Whole numbers are exact up to 2^53.
        ensure!(sum >= 0.0 && sum.fract() == 0.0 && sum < 9e15, "{name} is no count: {sum}");
        Ok(sum as u64)
    }

    /// Every value that `label` has in the series of `name`, in order, but the empty one.
    pub fn values(&self, name: &str, label: &str) -> BTreeSet<String> {
        let of = |series: &str| {
            let labels = series.strip_prefix(name)?.strip_prefix('{')?;
            let start = format!("{label}=\"");
            let at = labels.find(&start).filter(|at| *at == 0 || labels[..*at].ends_with(','))?;
            let value = labels[at + start.len()..].split('"').next()?;
            (!value.is_empty()).then(|| value.to_owned())
        };
        self.samples.iter().filter_map(|(series, _)| of(series)).collect()
    }

    /// Items of `signal` (logs, traces, metrics) that the endpoint took.
    pub fn sent(&self, signal: &str) -> anyhow::Result<f64> {
        self.sum(ITEMS, &[("signal", signal), ("outcome", "sent")])
    }

    /// Items of `signal` that were given up, each counted under a cause.
    pub fn given_up(&self, signal: &str) -> anyhow::Result<f64> {
        let of = |outcome| self.sum(ITEMS, &[("signal", signal), ("outcome", outcome)]);
        Ok(of("rejected")? + of("dropped")?)
    }

    /// An error unless nothing was lost anywhere between a kernel program and the endpoint. From 6.2 on the kernel does not
    /// run a program that it has interrupted on the same CPU, and counts that: so many connections may lack the
    /// record of their close.
    pub fn nothing_lost(&self) -> anyhow::Result<()> {
        let mut lost = Vec::new();
        for name in LOSSES {
            let sum = self.sum(name, &[])?;
            if sum != 0.0 {
                lost.push(format!("{name} is {sum}"));
            }
        }
        let (flows, skipped) = (self.sum(LOST_FLOWS, &[])?, self.sum(SKIPPED, &[])?);
        if flows > skipped {
            lost.push(format!(
                "{LOST_FLOWS} is {flows}, of which the kernel's skipped runs explain {skipped}"
            ));
        }
        if !lost.is_empty() {
            bail!("{}, and nothing should be lost", lost.join(", "));
        }
        for signal in ["logs", "traces"] {
            let given_up = self.given_up(signal)?;
            if given_up != 0.0 {
                bail!("{given_up} {signal} were given up, and nothing should be lost");
            }
        }
        for sensor in Sensor::ALL {
            let of = |metric| self.sum(metric, &[("sensor", sensor.name())]);
            let (produced, received) = (of(PRODUCED)?, of(RECEIVED)?);
            if produced != received {
                bail!("sensor {}: {produced} records produced, {received} received", sensor.name());
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.samples
            .iter()
            .filter(|(_, value)| *value != 0.0)
            .try_for_each(|(series, value)| writeln!(formatter, "{series} {value}"))
    }
}

fn has_label(labels: &str, key: &str, value: &str) -> bool {
    let pair = format!("{key}=\"{value}\"");
    labels.find(&pair).is_some_and(|at| labels[..at].ends_with(['{', ',']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP a_total x\n# TYPE a_total counter\na_total{k=\"v\",sensor=\"exec\"} 3\n\
                        a_total{k=\"w\",sensor=\"exec\"} 4\na_total_more 9\nb 1.5\n";

    #[test]
    fn adds_up_what_matches_and_refuses_what_is_not_there() {
        let ledger = Ledger::parse(PAGE);
        assert_eq!(ledger.sum("a_total", &[]).unwrap(), 7.0);
        assert_eq!(ledger.sum("a_total", &[("k", "w"), ("sensor", "exec")]).unwrap(), 4.0);
        assert_eq!(ledger.sum("a_total", &[("nsor", "exec")]).unwrap(), 0.0);
        assert_eq!(ledger.sum("b", &[]).unwrap(), 1.5);
        assert_eq!(ledger.count("a_total", &[]).unwrap(), 7);
        assert!(ledger.count("b", &[]).is_err(), "1.5 is no count");
        let values: Vec<_> = ledger.values("a_total", "k").into_iter().collect();
        assert_eq!(values, ["v", "w"]);
        let error = ledger.sum("c", &[]).unwrap_err().to_string();
        assert!(error.contains("no metric c") && error.contains("a_total_more"), "{error}");
    }
}
