//! An agent with rules, and what it alerts of.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver as Lines, RecvTimeoutError};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::agent::Agent;
use super::cgroup::Cgroup;
use super::receiver::Receiver;
use super::scene::{ARRIVAL, Dialogue, itest};
use crate::runner::Context;

/// A rule that [`Alerts::settle`] needs.
pub const BARRIER: &str = "
- rule: barrier
  desc: the last call of a test
  condition: evt.type = umount2 and evt.arg.name = /nowhere/barrier
  output: barrier
  priority: DEBUG
";

/// A cgroup, and an agent that runs rules on what happens in it.
pub struct Alerts {
    /// The agent.
    pub agent: Agent,
    /// What it looks at.
    pub cgroup: Cgroup,
    /// Where it sends the events themselves.
    pub receiver: Receiver,
    lines: Lines<Value>,
    /// All that has come.
    pub seen: Vec<Value>,
    /// Events that had waited for something to be looked up when all was settled last.
    waited: u64,
    itest: std::path::PathBuf,
    /// Where its rules are.
    pub files: tempfile::TempDir,
}

impl Alerts {
    /// Sets it up with a rule file of this text; returns when the agent is ready.
    pub fn new(context: &Context, stem: &str, rules: &str) -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let path = files.path().join("rules.yaml");
        std::fs::write(&path, rules)?;
        let cgroup = Cgroup::new(stem)?;
        Self::of_files(context, cgroup, &path, files)
    }

    /// The same, with rules at `rules`, a file or folder in `files`.
    pub fn of_files(
        context: &Context,
        cgroup: Cgroup,
        rules: &Path,
        files: tempfile::TempDir,
    ) -> anyhow::Result<Self> {
        Self::adding(context, cgroup, rules, files, &[])
    }

    /// The same, with further fields in every alert.
    pub fn adding(
        context: &Context,
        cgroup: Cgroup,
        rules: &Path,
        files: tempfile::TempDir,
        fields: &[&str],
    ) -> anyhow::Result<Self> {
        Self::configured(context, cgroup, rules, files, fields, "")
    }

    /// The same, with further sections in the agent's configuration.
    pub fn configured(
        context: &Context,
        cgroup: Cgroup,
        rules: &Path,
        files: tempfile::TempDir,
        fields: &[&str],
        sections: &str,
    ) -> anyhow::Result<Self> {
        let receiver = Receiver::start()?;
        let (reader, writer) = std::io::pipe()?;
        let config = format!(
            "rules: {{ files: [{}] }}\nalerts: {{ json_output: true, append_output: [{{ extra_fields: {fields:?} }}] }}\n{sections}",
            rules.display()
        );
        let agent = Agent::start_printing(
            context,
            cgroup.path(),
            &receiver.endpoint(),
            &config,
            "none",
            writer.into(),
        )?;
        let (sender, lines) = mpsc::channel();
        // It ends with the pipe, which ends with the agent.
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let itest = context.itest.clone();
        Ok(Self { agent, cgroup, receiver, lines, seen: Vec::new(), waited: 0, itest, files })
    }

    /// A process in the scope that makes the system calls it is told: see `workload::calls`.
    pub fn caller(&self) -> anyhow::Result<Caller> {
        self.caller_in(self.cgroup.path())
    }

    /// The same in the cgroup at `group`.
    pub fn caller_in(&self, group: &Path) -> anyhow::Result<Caller> {
        Caller::start(itest(&self.itest, group, &["workload", "calls"])?)
    }

    /// The first alert for which `is` holds, of those that have come or will.
    pub fn wait(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        if let Some(found) = self.seen.iter().find(|alert| is(alert)) {
            return Ok(found.clone());
        }
        loop {
            let alert = self.next().with_context(|| format!("waiting for {what}; seen: {:#?}", self.seen))?;
            if is(&alert) {
                return Ok(alert);
            }
        }
    }

    /// The next one.
    fn next(&mut self) -> anyhow::Result<Value> {
        match self.lines.recv_timeout(ARRIVAL) {
            Ok(alert) => {
                self.seen.push(alert.clone());
                Ok(alert)
            }
            Err(RecvTimeoutError::Timeout) => bail!("no further alert within {ARRIVAL:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the agent has closed its standard output"),
        }
    }

    /// Waits for the alerts of all that `caller` has done so far: its calls are told in the order in which they return, so
    /// what has not come before the last one will not. The rules must have [`BARRIER`].
    pub fn settle(&mut self, caller: &mut Caller) -> anyhow::Result<()> {
        self.barrier(caller)?;
        // What waits for something to be looked up is told behind what came after it.
        let ledger = self.agent.wait_ledger("event that waits no more", ARRIVAL, |ledger| {
            Ok(ledger.count("tarsier_lookup_events_waiting", &[])? == 0)
        })?;
        let waited = ledger.count("tarsier_lookup_events_total", &[])?;
        if std::mem::replace(&mut self.waited, waited) != waited {
            self.barrier(caller)?;
        }
        Ok(())
    }

    /// Makes a call that there is a rule for, and waits for its alert.
    fn barrier(&mut self, caller: &mut Caller) -> anyhow::Result<()> {
        let is_barrier = |alert: &Value| alert["rule"] == "barrier";
        caller.call("umount2 \"/nowhere/barrier\" 0")?;
        let mut has_come = false;
        while !has_come {
            let known = self.seen.len();
            self.next().with_context(|| format!("{known} alerts had come"))?;
            has_come = self.seen.last().is_some_and(is_barrier);
        }
        Ok(())
    }

    /// The alerts of a rule.
    pub fn of(&self, rule: &str) -> Vec<&Value> {
        self.seen.iter().filter(|alert| alert["rule"] == rule).collect()
    }
}

/// A process that makes system calls.
pub struct Caller(Dialogue);

impl Caller {
    /// Starts `command`, which is `workload calls`.
    pub fn start(command: Command) -> anyhow::Result<Self> {
        Ok(Self(Dialogue::start(command)?))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Makes a call; what it returned.
    pub fn call(&mut self, line: &str) -> anyhow::Result<i64> {
        self.0.send(line)?;
        self.0.hear()?["ret"].as_i64().context("no number")
    }
}
