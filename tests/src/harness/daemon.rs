//! Long-running child processes (the agent, a Collector, a Jaeger) that say on stderr when they are ready.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::exit;

/// Most lines kept.
const LOG_LINES: usize = 10_000;
/// A process that has closed its stderr is about to end.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// What daemons wrote on stderr, a ring of lines. Shared by the daemons of one test and its runner.
#[derive(Debug, Default)]
pub struct Log {
    lines: Mutex<VecDeque<String>>,
    more: Condvar,
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
        drop(lines);
        self.more.notify_all();
    }

    /// Waits until a line has `text` in it.
    pub fn wait(&self, text: &str, deadline: Duration) -> anyhow::Result<()> {
        let is_missing = |lines: &mut VecDeque<String>| !lines.iter().any(|line| line.contains(text));
        let waited = self.more.wait_timeout_while(self.lock(), deadline, is_missing);
        let (lines, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        let has_come = lines.iter().any(|line| line.contains(text));
        drop(lines);
        anyhow::ensure!(has_come, "nobody wrote `{text}` within {deadline:?}:\n{}", self.tail(60).join("\n"));
        Ok(())
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

/// What is known of a start: read on a thread, waited for by the test.
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

/// A running daemon; dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    progress: Arc<Progress>,
}

/// How a daemon ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// From the signal to the end.
    pub took: Duration,
}

impl Daemon {
    /// Starts `command` and waits until a line of its stderr holds `ready`. Nobody reads its stdout.
    pub fn start(
        command: Command,
        ready: &'static str,
        deadline: Duration,
        log: &Arc<Log>,
    ) -> anyhow::Result<Self> {
        Self::start_writing(command, Stdio::null(), ready, deadline, log)
    }

    /// As [`Daemon::start`], with a place for its stdout.
    pub fn start_writing(
        command: Command,
        stdout: Stdio,
        ready: &'static str,
        deadline: Duration,
        log: &Arc<Log>,
    ) -> anyhow::Result<Self> {
        let mut daemon = Self::spawn(command, stdout, ready, log)?;
        daemon.wait_ready(ready, deadline)?;
        Ok(daemon)
    }

    /// As [`Daemon::start_writing`], without waiting.
    pub fn spawn(
        mut command: Command,
        stdout: Stdio,
        ready: &'static str,
        log: &Arc<Log>,
    ) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        die_with_parent(&mut command);
        let program = command.get_program().to_owned();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let progress = Arc::new(Progress::default());
        if let Some(stderr) = child.stderr.take() {
            let (progress, log) = (Arc::clone(&progress), Arc::clone(log));
            std::thread::spawn(move || read(stderr, ready, &progress, &log));
        }
        Ok(Self { child, progress })
    }

    /// As [`Daemon::spawn`], with a place for its stderr too: nobody hears when it is ready.
    pub fn spawn_silent(mut command: Command, stdout: Stdio, stderr: Stdio) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        die_with_parent(&mut command);
        let program = command.get_program().to_owned();
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, progress: Arc::new(Progress::default()) })
    }

    fn wait_ready(&mut self, ready: &str, deadline: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + deadline;
        let mut state = self.progress.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while *state == State::Starting {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("it did not say `{ready}` within {deadline:?}");
            }
            let waited = self.progress.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if *state == State::Ready {
            return Ok(());
        }
        let status = exit::wait(&mut self.child, LAST_BREATH)?;
        bail!("it ended before it was ready: {status}")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error if it has ended.
    pub fn assert_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended by itself: {status}"),
        }
    }

    /// How it ended, if it has.
    pub fn try_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it has ended by itself.
    pub fn wait_ended(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        exit::wait(&mut self.child, deadline)
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("a child has a pid")?;
        kill_process(pid, signal).with_context(|| format!("{signal:?}"))
    }

    /// Sends `signal` and waits for the end.
    pub fn end(&mut self, signal: Signal, deadline: Duration) -> anyhow::Result<Ended> {
        let start = Instant::now();
        self.signal(signal)?;
        let status = exit::wait(&mut self.child, deadline)?;
        Ok(Ended { status, took: start.elapsed() })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails only if it has been reaped already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn read(stderr: ChildStderr, ready: &str, progress: &Progress, log: &Log) {
    // Lines need not be UTF-8: a daemon that prints a path may print any bytes.
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        let is_ready = line.contains(ready);
        log.push(line);
        if is_ready {
            progress.set(State::Ready);
        }
    }
    progress.set(State::Ended);
}

/// Has the kernel kill `command` when the thread that starts it ends: a test that is killed leaves
/// nothing running.
fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    let set = || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: between fork and exec the closure makes one prctl system call and nothing else.
    unsafe { command.pre_exec(set) };
}
