//! The agent under test: the real binary, as a child process.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::Signal;

use super::daemon::{Daemon, Ended};
use super::ledger::Ledger;
use super::tool;
use crate::runner::Context;

/// The agent's line that says: every program is attached, everything older is known.
pub const READY: &str = "tarsier is ready";
/// Programs are verified and the node is scanned before it; slow in an emulated guest.
pub const READY_DEADLINE: Duration = Duration::from_secs(60);
/// SIGTERM flushes within this (the promise under test; see `pipeline::shutdown`).
pub const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// A running agent; dropping it kills it.
#[derive(Debug)]
pub struct Agent {
    daemon: Daemon,
    metrics: SocketAddr,
    /// Holds the configuration file for as long as the agent may read it.
    files: tempfile::TempDir,
}

/// The name of the configuration file.
const CONFIG: &str = "tarsier.yaml";

impl Agent {
    /// Starts `tarsier run` on the cgroup at `scope`, sending to `endpoint`, and waits until it is
    /// ready. `config` is YAML of further sections, after `ops`.
    pub fn start(context: &Context, scope: &Path, endpoint: &str, config: &str) -> anyhow::Result<Self> {
        Self::start_with(context, Some(scope), endpoint, config, |_| {})
    }

    /// As [`Agent::start`], but of the whole machine, which must be the test's own.
    pub fn start_unscoped(context: &Context, endpoint: &str) -> anyhow::Result<Self> {
        Self::start_with(context, None, endpoint, "", |_| {})
    }

    /// As [`Agent::start`], after `change` had its way with the command.
    pub fn start_as(
        context: &Context,
        scope: &Path,
        endpoint: &str,
        change: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        Self::start_with(context, Some(scope), endpoint, "", change)
    }

    /// As [`Agent::start`], also printing lines of the given form to `stdout`.
    pub fn start_printing(
        context: &Context,
        scope: &Path,
        endpoint: &str,
        config: &str,
        form: &str,
        stdout: Stdio,
    ) -> anyhow::Result<Self> {
        Self::launch(context, Some(scope), endpoint, config, |_| {}, form, stdout)
    }

    /// The general form of the others: no `scope` = the whole machine.
    pub fn start_with(
        context: &Context,
        scope: Option<&Path>,
        endpoint: &str,
        config: &str,
        change: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        Self::launch(context, scope, endpoint, config, change, "none", Stdio::null())
    }

    /// As [`Agent::start`], without waiting until it is ready.
    pub fn spawn(context: &Context, scope: &Path, endpoint: &str) -> anyhow::Result<Self> {
        let (command, metrics, files) = command(context, Some(scope), endpoint, "", "none")?;
        let daemon = Daemon::spawn(command, Stdio::null(), READY, &context.log).context("the agent")?;
        Ok(Self { daemon, metrics, files })
    }

    /// As [`Agent::start_printing`], with the same pipe for its log, so that it cannot say when it is ready: waits
    /// until it answers for its health.
    pub fn start_into_one_pipe(
        context: &Context,
        scope: &Path,
        endpoint: &str,
        config: &str,
        pipe: std::io::PipeWriter,
    ) -> anyhow::Result<Self> {
        let (command, metrics, files) = command(context, Some(scope), endpoint, config, "json")?;
        let log = pipe.try_clone()?;
        let daemon = Daemon::spawn_silent(command, pipe.into(), log.into()).context("the agent")?;
        let agent = Self { daemon, metrics, files };
        let end = Instant::now() + READY_DEADLINE;
        while let Err(error) = agent.health() {
            if Instant::now() >= end {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(agent)
    }

    fn launch(
        context: &Context,
        scope: Option<&Path>,
        endpoint: &str,
        config: &str,
        change: impl FnOnce(&mut Command),
        form: &str,
        stdout: Stdio,
    ) -> anyhow::Result<Self> {
        let (mut command, metrics, files) = command(context, scope, endpoint, config, form)?;
        change(&mut command);
        let daemon = Daemon::start_writing(command, stdout, READY, READY_DEADLINE, &context.log)
            .context("the agent")?;
        Ok(Self { daemon, metrics, files })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Puts another configuration in the place of the present one, as editors do; `config` as for [`Agent::start`].
    pub fn configure(&self, config: &str) -> anyhow::Result<()> {
        let file = self.files.path().join(CONFIG);
        let before = fs::read_to_string(&file)?;
        // Where it serves its metrics stays in front.
        let ops = before.lines().next().unwrap_or_default();
        let new = file.with_extension("new");
        fs::write(&new, format!("{ops}\n{config}"))?;
        Ok(fs::rename(&new, &file)?)
    }

    /// An error if it has ended.
    pub fn assert_running(&mut self) -> anyhow::Result<()> {
        self.daemon.assert_running().context("the agent")
    }

    /// Stops it in its tracks (SIGSTOP) until [`Agent::resume`].
    pub fn pause(&self) -> anyhow::Result<()> {
        self.daemon.signal(Signal::STOP)
    }

    /// Lets a paused one go on (SIGCONT).
    pub fn resume(&self) -> anyhow::Result<()> {
        self.daemon.signal(Signal::CONT)
    }

    /// Has the scheduler give all of its threads only the time that nobody else wants (`SCHED_IDLE`), or a
    /// share like everybody's.
    pub fn set_idle(&self, idle: bool) -> anyhow::Result<()> {
        let policy = if idle { libc::SCHED_IDLE } else { libc::SCHED_OTHER };
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid()))?.flatten() {
            let thread: i32 = thread.file_name().to_str().unwrap_or_default().parse()?;
            let parameters = libc::sched_param { sched_priority: 0 };
            // SAFETY: the kernel reads the parameters during the call only.
            if unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) } != 0 {
                let error = std::io::Error::last_os_error();
                // A thread that has ended since needs no policy.
                if error.raw_os_error() != Some(libc::ESRCH) {
                    return Err(error).context("sched_setscheduler");
                }
            }
        }
        Ok(())
    }

    /// Its resident memory, bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS in kB")?;
        Ok(kib * 1024)
    }

    /// Its loss ledger and health, now.
    pub fn ledger(&self) -> anyhow::Result<Ledger> {
        Ledger::fetch(self.metrics)
    }

    /// What it says of its own health.
    pub fn health(&self) -> anyhow::Result<String> {
        super::http::get(self.metrics, "/healthz", Duration::from_secs(5)).context("the agent's /healthz")
    }

    /// Waits until its ledger satisfies `is`. The agent serves its ledger and does not announce changes,
    /// so this is one of the few places that must look again and again.
    pub fn wait_ledger(
        &self,
        what: &str,
        deadline: Duration,
        is: impl Fn(&Ledger) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Ledger> {
        let end = Instant::now() + deadline;
        loop {
            let ledger = self.ledger()?;
            // A series may appear only with its first count, so an error is final at the deadline only.
            match is(&ledger) {
                Ok(true) => return Ok(ledger),
                Ok(false) if Instant::now() >= end => {
                    bail!("no {what} in /metrics within {deadline:?}:\n{ledger}")
                }
                Err(error) if Instant::now() >= end => {
                    return Err(error.context(format!("waiting for {what}")));
                }
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Asks it to flush and end (SIGTERM), and waits until it has.
    pub fn terminate(mut self, deadline: Duration) -> anyhow::Result<Ended> {
        self.daemon.end(Signal::TERM, deadline).context("the agent after SIGTERM")
    }

    /// Waits until it has ended by itself.
    pub fn wait_ended(mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.daemon.wait_ended(deadline).context("the agent, which should end by itself")
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(mut self) -> anyhow::Result<Ended> {
        self.daemon.end(Signal::KILL, FLUSH_DEADLINE).context("the agent after SIGKILL")
    }
}

/// `tarsier run` with a configuration of its own: the command, where it serves its metrics, its files.
fn command(
    context: &Context,
    scope: Option<&Path>,
    endpoint: &str,
    config: &str,
    form: &str,
) -> anyhow::Result<(Command, SocketAddr, tempfile::TempDir)> {
    let files = tempfile::tempdir()?;
    let metrics = tool::free_address()?;
    let file = files.path().join(CONFIG);
    let ops = format!("ops: {{ listen: \"{metrics}\", admin_socket: \"\", falco_metrics: true }}\n");
    fs::write(&file, ops + config)?;
    let mut command = Command::new(&context.agent);
    command.arg("run").arg("--config").arg(&file);
    if let Some(scope) = scope {
        command.arg("--scope-cgroup").arg(scope);
    }
    command.args(["--output", form, "--otlp-endpoint", endpoint]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("RUST_BACKTRACE", "1");
    Ok((command, metrics, files))
}
