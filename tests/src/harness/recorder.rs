//! `tarsier record` as a child process, and `tarsier replay` of what it wrote.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::Context as _;
use rustix::process::Signal;

use super::agent::{FLUSH_DEADLINE, READY, READY_DEADLINE};
use super::cgroup::Cgroup;
use super::daemon::{Daemon, Ended};
use crate::runner::Context;

/// Whom replays run as: nobody, who has no privilege.
const NOBODY: u32 = 65_534;

/// A running recorder; dropping it kills it.
pub struct Recorder {
    daemon: Daemon,
    /// The capture.
    pub capture: PathBuf,
    /// What it printed live.
    pub lines: PathBuf,
}

impl Recorder {
    /// Records the cgroup at `scope` into `directory`, also printing JSON lines to a file there; ready
    /// when it returns.
    pub fn start(context: &Context, scope: &Path, directory: &Path, more: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(context, scope, &directory.join("test.tarsier"), directory, more)
    }

    /// As [`Recorder::start`], with the capture somewhere else.
    pub fn start_at(
        context: &Context,
        scope: &Path,
        capture: &Path,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        Self::start_with(context, scope, capture, directory, &[])
    }

    fn start_with(
        context: &Context,
        scope: &Path,
        capture: &Path,
        directory: &Path,
        more: &[&str],
    ) -> anyhow::Result<Self> {
        let (capture, lines) = (capture.to_owned(), directory.join("live.jsonl"));
        let mut command = command(context, scope, &capture);
        command.args(more);
        let stdout = Stdio::from(File::create(&lines)?);
        let daemon = Daemon::start_writing(command, stdout, READY, READY_DEADLINE, &context.log)
            .context("the recorder")?;
        Ok(Self { daemon, capture, lines })
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub fn terminate(mut self) -> anyhow::Result<Ended> {
        self.daemon.end(Signal::TERM, FLUSH_DEADLINE).context("the recorder after SIGTERM")
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<Ended> {
        self.daemon.end(Signal::KILL, FLUSH_DEADLINE).context("the recorder after SIGKILL")
    }

    /// Its exit code, if it has ended by itself.
    pub fn try_exit_code(&mut self) -> anyhow::Result<Option<i32>> {
        Ok(self.daemon.try_ended()?.and_then(|status| status.code()))
    }
}

/// `tarsier record CAPTURE` of one cgroup, printing JSON lines.
pub fn command(context: &Context, scope: &Path, capture: &Path) -> Command {
    let mut command = Command::new(&context.agent);
    command.arg("record").arg(capture).arg("--scope-cgroup").arg(scope);
    command.args(["--output", "json"]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// `tarsier replay CAPTURE`, as a user without any privilege, to its end.
pub fn replay(context: &Context, capture: &Path, more: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(&context.agent);
    // The capture is for its owner only: the replay gets it on standard input.
    command.args(["replay", "-"]).args(more).stdin(File::open(capture)?);
    command.env_clear().uid(NOBODY).gid(NOBODY).current_dir("/");
    command.output().context("running the replay")
}

/// A scope and a directory for what is recorded of it.
pub struct Studio {
    /// What is recorded.
    pub cgroup: Cgroup,
    /// Where to.
    pub directory: tempfile::TempDir,
}

impl Studio {
    /// An empty one.
    pub fn new(stem: &str) -> anyhow::Result<Self> {
        Ok(Self { cgroup: Cgroup::new(stem)?, directory: tempfile::tempdir()? })
    }

    /// Starts a recorder on it.
    pub fn record(&self, context: &Context, more: &[&str]) -> anyhow::Result<Recorder> {
        Recorder::start(context, self.cgroup.path(), self.directory.path(), more)
    }

    /// Runs a workload of the test binary in the scope, to its end.
    pub fn workload(&self, context: &Context, arguments: &[&str]) -> anyhow::Result<()> {
        let arguments: Vec<&str> = std::iter::once("workload").chain(arguments.iter().copied()).collect();
        super::scene::lines(super::scene::itest(&context.itest, self.cgroup.path(), &arguments)?).map(drop)
    }
}

/// The bytes of a file, with its name if it cannot be read.
pub fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}
