//! The setting of most tests: a cgroup, an OTLP server, and an agent that looks at the one and talks
//! to the other.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::agent::Agent;
use super::cgroup::{self, Cgroup};
use super::exit;
use super::receiver::Receiver;
use crate::runner::Context;

/// How long an event may take from the kernel to the server: batch timers, a busy machine, an
/// emulated guest.
pub const ARRIVAL: Duration = Duration::from_secs(20);
/// How long a workload may take.
pub const WORKLOAD: Duration = Duration::from_secs(120);

/// Cgroup, server, agent; dropped in the order agent, server, cgroup.
pub struct Scene {
    /// The agent.
    pub agent: Agent,
    /// The server it talks to.
    pub receiver: Receiver,
    /// What it looks at.
    pub cgroup: Cgroup,
    itest: PathBuf,
}

impl Scene {
    /// Sets it up; returns when the agent is ready.
    pub fn new(context: &Context, stem: &str) -> anyhow::Result<Self> {
        Self::configured(context, stem, "")
    }

    /// As [`Scene::new`], with YAML of further sections for the agent.
    pub fn configured(context: &Context, stem: &str, config: &str) -> anyhow::Result<Self> {
        let cgroup = Cgroup::new(stem)?;
        let receiver = Receiver::start()?;
        let agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), config)?;
        Ok(Self { agent, receiver, cgroup, itest: context.itest.clone() })
    }

    /// A command of the test binary that will run in the scene's cgroup.
    pub fn itest(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        itest(&self.itest, self.cgroup.path(), arguments)
    }

    /// Runs a workload to its end; its lines.
    pub fn workload(&self, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let arguments: Vec<_> = std::iter::once("workload").chain(arguments.iter().copied()).collect();
        lines(self.itest(&arguments)?)
    }

    /// As [`Scene::workload`], in a group below the scene's that is spelled as container `id`'s.
    pub fn workload_in_container(&self, id: &str, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let group = self.cgroup.below(&format!("docker/{id}"))?;
        let arguments: Vec<_> = std::iter::once("workload").chain(arguments.iter().copied()).collect();
        lines(itest(&self.itest, &group, &arguments)?)
    }

    /// Runs `command` in the cgroup to its end: its pid and status.
    pub fn run(&self, mut command: Command) -> anyhow::Result<(u32, ExitStatus)> {
        cgroup::enter(&mut command, self.cgroup.path())?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().context("cannot start a process of the test")?;
        let pid = child.id();
        Ok((pid, exit::wait(&mut child, WORKLOAD)?))
    }
}

/// A command of the test binary that will run in the cgroup at `group`.
pub fn itest(itest: &Path, group: &Path, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(itest);
    command.args(arguments);
    cgroup::enter(&mut command, group)?;
    Ok(command)
}

/// Runs `command` to its end; the JSON lines that it printed.
pub fn lines(mut command: Command) -> anyhow::Result<Vec<Value>> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start a workload")?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let lines: anyhow::Result<Vec<_>> =
        BufReader::new(stdout).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect();
    let status = exit::wait(&mut child, WORKLOAD)?;
    if !status.success() {
        bail!("the workload failed: {status}");
    }
    lines.context("the workload's output")
}

/// A workload that is talked to: one line in, one JSON line out. Dropping it kills it.
#[derive(Debug)]
pub struct Dialogue {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Dialogue {
    /// Starts `command`.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("stdin is piped")?;
        let output = child.stdout.take().context("stdout is piped")?;
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints.
    pub fn hear(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the workload ended: {}", exit::wait(&mut self.child, WORKLOAD)?);
        }
        serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))
    }

    /// Waits until it has ended by itself.
    pub fn wait(mut self) -> anyhow::Result<()> {
        let status = exit::wait(&mut self.child, WORKLOAD)?;
        if !status.success() {
            bail!("the workload failed: {status}");
        }
        Ok(())
    }

    /// Kills it and waits until it is gone.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        exit::wait(&mut self.child, WORKLOAD).map(drop)
    }

    /// Sends a line.
    pub fn send(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.input, "{line}")?)
    }

    /// Sends a line and returns the answer.
    pub fn say(&mut self, line: &str) -> anyhow::Result<Value> {
        self.send(line)?;
        self.hear()
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        // Fails only if it has been reaped already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
