//! The agent under test: the real binary, as a child process.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::ledger::Ledger;
use super::{exit, tool};
use crate::runner::Context;

/// The agent's line that says: every program is attached, everything older is known.
const READY: &str = "tarsier is ready";
/// Programs are verified and the node is scanned before it; slow in an emulated guest.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// SIGTERM flushes within this (the promise under test; see `pipeline::shutdown`).
pub const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// Most lines kept.
const LOG_LINES: usize = 10_000;

/// What agents wrote on stderr, a ring of lines. Shared by the agents of one test and its runner.
#[derive(Debug, Default)]
pub struct Log {
    lines: Mutex<VecDeque<String>>,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn push(&self, line: String) {
        let mut lines = self.lock();
        if lines.len() == LOG_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The last `count` lines.
    pub fn tail(&self, count: usize) -> Vec<String> {
        let lines = self.lock();
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }
}

/// What is known of an agent's start: read on a thread, waited for by the test.
#[derive(Debug, Default)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Starting,
    Ready,
    /// stderr was closed: the process is going or gone.
    Ended,
}

impl Progress {
    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = state;
        self.changed.notify_all();
    }
}

/// A running agent; dropping it kills it.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    progress: Arc<Progress>,
    metrics: SocketAddr,
    /// Holds the configuration file for as long as the agent may read it.
    _files: tempfile::TempDir,
}

/// How an agent ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// From the signal to the end.
    pub took: Duration,
}

impl Agent {
    /// Starts `tarsier run` on the cgroup at `scope`, sending to `endpoint`, and waits until it is
    /// ready. `config` is YAML of further sections, after `ops`.
    pub fn start(context: &Context, scope: &Path, endpoint: &str, config: &str) -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let metrics = tool::free_address()?;
        let file = files.path().join("tarsier.yaml");
        fs::write(&file, format!("ops:\n  listen: \"{metrics}\"\n  admin_socket: \"\"\n{config}"))?;
        let mut command = Command::new(&context.agent);
        command.arg("run").arg("--config").arg(&file).arg("--scope-cgroup").arg(scope);
        command.args(["--output", "none", "--otlp-endpoint", endpoint]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        die_with_parent(&mut command);
        let mut child =
            command.spawn().with_context(|| format!("cannot start the agent {}", context.agent.display()))?;
        let progress = Arc::new(Progress::default());
        if let Some(stderr) = child.stderr.take() {
            let (progress, log) = (Arc::clone(&progress), Arc::clone(&context.log));
            std::thread::spawn(move || read(stderr, &progress, &log));
        }
        let mut agent = Self { child, progress, metrics, _files: files };
        agent.wait_ready()?;
        Ok(agent)
    }

    fn wait_ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + READY_DEADLINE;
        let mut state = self.progress.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while *state == State::Starting {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("the agent did not say `{READY}` within {READY_DEADLINE:?}");
            }
            let waited = self.progress.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if *state == State::Ready {
            return Ok(());
        }
        let status = exit::wait(&mut self.child, FLUSH_DEADLINE)?;
        bail!("the agent ended before it was ready: {status}")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error if it has ended.
    pub fn assert_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the agent ended by itself: {status}"),
        }
    }

    /// Its loss ledger and health, now.
    pub fn ledger(&self) -> anyhow::Result<Ledger> {
        Ledger::fetch(self.metrics)
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
        self.end(Signal::TERM, deadline)
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(mut self) -> anyhow::Result<Ended> {
        self.end(Signal::KILL, FLUSH_DEADLINE)
    }

    fn end(&mut self, signal: Signal, deadline: Duration) -> anyhow::Result<Ended> {
        let start = Instant::now();
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("a child has a pid")?;
        kill_process(pid, signal)?;
        let status = exit::wait(&mut self.child, deadline).context("the agent after its signal")?;
        Ok(Ended { status, took: start.elapsed() })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Fails only if it has been reaped already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn read(stderr: ChildStderr, progress: &Progress, log: &Log) {
    // Lines need not be UTF-8: an agent that prints a path may print any bytes.
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        let ready = line.contains(READY);
        log.push(line);
        if ready {
            progress.set(State::Ready);
        }
    }
    progress.set(State::Ended);
}

/// Has the kernel kill `command` when the thread that starts it ends: a test that is killed leaves no
/// agent behind.
pub fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    let set = || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: between fork and exec the closure makes one prctl system call and nothing else.
    unsafe { command.pre_exec(set) };
}
