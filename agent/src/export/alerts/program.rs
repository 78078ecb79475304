//! Alerts to a program's standard input: one that stays, or one for each alert.
//!
//! It runs by `sh -c`, with our standard output and standard error, in a process group of its own: an interrupt from the
//! terminal ends us first, and a program that hangs is ended with all that it started.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal as Kill, kill_process_group};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

use super::channel::SIGNAL;
use crate::export::Signal;
use crate::export::worker::{Accepted, Destination, Failure};

/// Alerts to a program's standard input, one a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProgramOutput {
    /// Whether a program gets alerts.
    pub enabled: bool,
    /// The program, a command line of `/bin/sh`.
    pub program: String,
    /// One program for all alerts, started again if it ends. Otherwise one for each alert, one after the other.
    pub keep_alive: bool,
    /// JSON or text here, whatever `alerts.json_output` says.
    pub json_output: Option<bool>,
}

/// The channel's end.
pub(super) struct ProgramChannel {
    program: String,
    keep: bool,
    timeout: Duration,
    running: Option<Running>,
}

/// A program that was started. Dropping it kills its group.
struct Running {
    child: Child,
    /// [`None`]: it was told the end.
    input: Option<ChildStdin>,
    group: Option<Pid>,
}

impl ProgramChannel {
    pub(super) fn new(config: &ProgramOutput, timeout: Duration) -> Self {
        Self { program: config.program.clone(), keep: config.keep_alive, timeout, running: None }
    }

    async fn attempt(&mut self, line: &[u8]) -> Result<Accepted, Failure> {
        let failed = |what: &str, error: std::io::Error| Failure::again(format!("{what}: {error}"));
        // One that has ended reads nothing more.
        let kept = self.running.take().and_then(Running::still);
        let mut running = match kept {
            Some(running) => running,
            None => {
                Running::start(&self.program).map_err(|error| failed("cannot start the program", error))?
            }
        };
        if let Some(input) = &mut running.input {
            // What it does not read is its own affair, once it has ended: `head -1` is a program.
            match input.write_all(line).await {
                Err(error) if self.keep => return Err(failed("the program reads no more", error)),
                _ => {}
            }
        }
        if self.keep {
            self.running = Some(running);
            return Ok(Accepted::default());
        }
        match running.end().await {
            Ok(status) if status.success() => Ok(Accepted::default()),
            Ok(status) => Ok(Accepted { rejected: 1, message: format!("the program ended with {status}") }),
            Err(error) => Err(failed("cannot wait for the program", error)),
        }
    }
}

impl Destination for ProgramChannel {
    fn name(&self) -> &'static str {
        "alerts_program"
    }

    fn signal(&self) -> Signal {
        SIGNAL
    }

    async fn send(&mut self, line: Bytes) -> Result<Accepted, Failure> {
        let timeout = self.timeout;
        match tokio::time::timeout(timeout, self.attempt(&line)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::again(format!("the program was killed: not done within {timeout:?}"))),
        }
    }

    /// The program reads what it has, and ends by itself.
    fn reopen(&mut self) {
        if let Some(mut running) = self.running.take() {
            tokio::spawn(async move { running.end().await });
        }
    }

    async fn close(mut self) {
        if let Some(mut running) = self.running.take() {
            // Whoever closes the channel has a deadline: what is dropped then is killed.
            let _ = running.end().await;
        }
    }
}

impl Running {
    fn start(program: &str) -> std::io::Result<Self> {
        let mut child =
            Command::new("/bin/sh").arg("-c").arg(program).stdin(Stdio::piped()).process_group(0).spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { input: child.stdin.take(), child, group })
    }

    /// Itself, unless it has ended.
    fn still(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// Says that nothing more comes, and waits for its end.
    async fn end(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.input = None;
        let status = self.child.wait().await?;
        // The number may be another's from now on.
        self.group = None;
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not yet waited for, so the group is still its own.
        if let (Some(group), Some(_)) = (self.group, self.child.id()) {
            let _ = kill_process_group(group, Kill::KILL);
        }
    }
}
