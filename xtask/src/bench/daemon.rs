//! The agent under measurement: started on a cgroup, looked at from outside, stopped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::demo::{READY, Running, STOP, http_get, wait};
use crate::shell::{run, target_dir};

/// Longest that the drain may take to read what a finished workload left: it sleeps 250 ms at most.
const DRAIN: Duration = Duration::from_secs(10);

/// A running agent.
pub(super) struct Agent {
    child: Running,
    address: String,
    /// From its start to its line that it is ready.
    pub(super) start: Duration,
}

/// The agent at one moment.
#[derive(Debug)]
pub(super) struct Look {
    /// CPU time of all its threads, ns.
    pub(super) cpu_ns: u64,
    metrics: String,
}

/// One thread of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Thread {
    /// Its name.
    pub(super) name: String,
    /// How often it went to sleep by itself: once per wake-up.
    pub(super) wakeups: u64,
    /// CPU time, ns.
    pub(super) cpu_ns: u64,
}

impl Agent {
    /// Starts `binary`, or the release build, on the cgroup: no output, no OTLP endpoint. Returns when it is
    /// ready.
    pub(super) fn start(scope: &Path, binary: Option<&Path>) -> Result<Self> {
        Self::launch(scope, binary, None)
    }

    /// As [`Agent::start`], the release build, which exports to an OTLP endpoint.
    pub(super) fn exporting(scope: &Path, endpoint: &str) -> Result<Self> {
        Self::launch(scope, None, Some(endpoint))
    }

    fn launch(scope: &Path, binary: Option<&Path>, endpoint: Option<&str>) -> Result<Self> {
        // Free now; nobody else on this machine looks for a port in the next moment.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command =
            Command::new(binary.map_or_else(|| target_dir().join("release/tarsier"), Path::to_owned));
        command.args(["run", "--output", "none", "--admin-socket", "", "--listen", &address]);
        command.arg("--scope-cgroup").arg(scope).env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
        command.args(endpoint.iter().flat_map(|endpoint| ["--otlp-endpoint", endpoint]));
        let begin = Instant::now();
        let mut child = Running(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .context("starting the agent")?,
        );
        let stderr = child.0.stderr.take().context("the agent has no standard error")?;
        let mut lines = BufReader::new(stderr).lines();
        if !lines.by_ref().map_while(|line| line.ok()).any(|line| line.contains(READY)) {
            bail!("the agent did not become ready: `target/release/tarsier doctor` says why");
        }
        let start = begin.elapsed();
        // Its later lines must go somewhere, or a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, address, start })
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.0.id());
        std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    }

    /// Everything that is known of it now.
    pub(super) fn look(&self) -> Result<Look> {
        let metrics = http_get(&self.address, "/metrics")?;
        let cpu_ns = self.threads()?.iter().map(|thread| thread.cpu_ns).sum();
        Ok(Look { cpu_ns, metrics })
    }

    /// As [`Agent::look`], once every record of the kernel side has been read and every item been sent: the
    /// agent serves its counters and does not announce changes, so this asks again.
    pub(super) fn drained(&self) -> Result<Look> {
        let end = Instant::now() + DRAIN;
        loop {
            let look = self.look()?;
            let read = look.sum("tarsier_records_received_total") + look.lost() >= look.records();
            if read && look.sum("tarsier_exporter_waiting_items") == 0 {
                return Ok(look);
            }
            if Instant::now() > end {
                bail!("records are missing from the ledger, or items wait:\n{}", look.metrics);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its threads, as the scheduler counts them.
    pub(super) fn threads(&self) -> Result<Vec<Thread>> {
        let folder = format!("/proc/{}/task", self.child.0.id());
        let mut threads = Vec::new();
        for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {folder}"))? {
            let task = format!("task/{}", entry?.file_name().display());
            let status = self.proc(&format!("{task}/status"))?;
            let schedstat = self.proc(&format!("{task}/schedstat"))?;
            let ran = schedstat.split_whitespace().next().and_then(|ns| ns.parse().ok());
            threads.push(Thread {
                name: field(&status, "Name")?.to_owned(),
                wakeups: field(&status, "voluntary_ctxt_switches")?.parse()?,
                cpu_ns: ran.context("schedstat is empty: the kernel lacks CONFIG_SCHED_INFO")?,
            });
        }
        Ok(threads)
    }

    /// A line of `/proc/PID/status` that counts memory, KiB.
    pub(super) fn memory_kib(&self, name: &str) -> Result<u64> {
        let status = self.proc("status")?;
        let value = field(&status, name)?.trim_end_matches(" kB");
        value.parse().with_context(|| format!("{name}: {value}"))
    }

    /// SIGTERM, and its end.
    pub(super) fn stop(mut self) -> Result<()> {
        let child = &mut self.child.0;
        run(Command::new("kill").args(["-TERM", &child.id().to_string()]))?;
        let status = wait(child, STOP)?.context("the agent did not end after SIGTERM")?;
        if status.success() { Ok(()) } else { bail!("the agent failed: {status}") }
    }
}

impl Look {
    /// The sum of a metric's series.
    pub(super) fn sum(&self, metric: &str) -> u64 {
        self.series(metric).map(|(_, value)| value).sum()
    }

    /// Records that the programs set out to write.
    pub(super) fn records(&self) -> u64 {
        self.sum("tarsier_records_produced_total")
    }

    /// Records that did not arrive.
    pub(super) fn lost(&self) -> u64 {
        self.sum("tarsier_records_lost_total")
    }

    /// A metric with one label, by the label's value.
    pub(super) fn by_label(&self, metric: &str) -> BTreeMap<String, u64> {
        let value_of = |labels: &str| labels.split('"').nth(1).unwrap_or_default().to_owned();
        self.series(metric).map(|(labels, value)| (value_of(labels), value)).collect()
    }

    /// A metric with a label `outcome`, by that.
    pub(super) fn by_outcome(&self, metric: &str) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.series(metric) {
            let outcome = labels.split_once("outcome=\"").and_then(|(_, rest)| rest.split('"').next());
            *sums.entry(outcome.unwrap_or_default().to_owned()).or_default() += value;
        }
        sums
    }

    fn series<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        self.metrics.lines().filter_map(move |line| {
            let (series, value) = line.rsplit_once(' ')?;
            let labels = series.strip_prefix(metric)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, value.parse().ok()?))
        })
    }
}

/// The value of a line `NAME:\tVALUE`.
fn field<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(line.with_context(|| format!("no {name} in /proc/PID/status"))?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_series_by_their_whole_name() {
        let metrics = "HTTP/1.0 200 OK\r\n\r\n# HELP a x\na{sensor=\"tcp\"} 3\na{sensor=\"exec\"} 4\na_b 9\n";
        let look = Look { cpu_ns: 0, metrics: metrics.into() };
        assert_eq!(look.sum("a"), 7);
        assert_eq!(look.sum("a_b"), 9);
        assert_eq!(look.by_label("a"), BTreeMap::from([("tcp".into(), 3), ("exec".into(), 4)]));
    }

    #[test]
    fn fields_of_status_are_found_by_their_whole_name() {
        let status = "Name:\ttarsier\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(field(status, "voluntary_ctxt_switches").ok(), Some("12"));
        assert!(field(status, "VmRSS").is_err());
    }
}
