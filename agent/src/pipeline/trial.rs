//! Rules on trial: events that were stated or recorded pass the stages of the agent, and what the rules tell of them is
//! read from its lines.

use std::io::{BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Map, Value};
use tarsier_abi::syscall::Plan;
use tarsier_core::rules::coverage::Coverage;
use tarsier_core::rules::evaluate::Event;
use tarsier_core::rules::stated::Stated;

use super::offline::{KeptLines, Offline};
use crate::capture::{About, Reader};
use crate::config::Config;
use crate::rules::Active;

/// A set of rules that events are tried on.
pub struct Trial {
    config: Config,
    rules: Active,
    coverage: Coverage,
    plan: Box<Plan>,
    /// For what is stated: it has no memory of the events before. Captures have an agent of their own.
    agent: Agent,
}

/// An agent and what comes out of it.
struct Agent {
    offline: Offline,
    lines: KeptLines,
    seen: Arc<Mutex<Coverage>>,
}

/// What came of some events.
#[derive(Debug)]
pub struct Seen {
    /// The alerts, in order.
    pub alerts: Vec<Told>,
    /// What was seen of the rules.
    pub coverage: Coverage,
}

/// An alert, as its line tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct Told {
    /// The rule's name.
    pub rule: String,
    /// The output of the rule, without time and priority in front.
    pub message: String,
    /// Fields of the output.
    #[serde(rename = "output_fields")]
    pub fields: Map<String, Value>,
}

impl Trial {
    /// Of these rules, in an agent whose configuration adds nothing to their output.
    ///
    /// # Errors
    /// The agent cannot be put together.
    pub fn new(rules: Active) -> anyhow::Result<Self> {
        let mut config = Config::default();
        config.alerts.json_include_message_property = true;
        config.alerts.append_output.clear();
        let coverage = Coverage::new(&rules.set);
        let about = About { cpus: 1, ..About::default() };
        let agent = Agent::new(&about, &config, &rules, &coverage)?;
        Ok(Self { config, plan: rules.plan(), rules, coverage, agent })
    }

    /// The rules.
    pub fn rules(&self) -> &Active {
        &self.rules
    }

    /// What the kernel would let pass for them.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Nothing seen of them yet.
    pub fn unseen(&self) -> &Coverage {
        &self.coverage
    }

    /// Tries events that were stated.
    ///
    /// # Errors
    /// A stage of the agent failed.
    pub fn stated<'a>(&mut self, events: impl Iterator<Item = &'a Stated>) -> anyhow::Result<Seen> {
        events.for_each(|event| self.agent.offline.feed_stated(event));
        self.agent.take(&self.coverage)
    }

    /// Tries what was recorded.
    ///
    /// # Errors
    /// It is no capture, or damaged; a stage of the agent failed.
    pub fn capture(&self, input: impl Read) -> anyhow::Result<Seen> {
        let mut reader = Reader::new(BufReader::new(input))?;
        let about = reader.about().clone();
        let mut agent = Agent::new(&about, &self.config, &self.rules, &self.coverage)?;
        agent.offline.feed_all(&mut reader)?;
        agent.take(&self.coverage)
    }
}

impl Agent {
    fn new(about: &About, config: &Config, rules: &Active, unseen: &Coverage) -> anyhow::Result<Self> {
        let lines = KeptLines::default();
        let seen = Arc::new(Mutex::new(unseen.clone()));
        let observer = {
            let seen = Arc::clone(&seen);
            Box::new(move |kinds: &[usize], event: &dyn Event, found: &[u32]| {
                locked(&seen).saw(kinds, event, found);
            })
        };
        let offline = Offline::of_rules(about, config, rules.clone(), observer, Box::new(lines.clone()))?;
        Ok(Self { offline, lines, seen })
    }

    /// What came of all since it was asked before.
    fn take(&mut self, unseen: &Coverage) -> anyhow::Result<Seen> {
        self.offline.flush();
        if self.offline.panicked() > 0 {
            bail!("the agent failed on an event: this is a mistake of ours");
        }
        let lines = self.lines.take();
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let alerts = lines.map(|line| serde_json::from_slice(line).context("reading an alert's line"));
        let coverage = std::mem::replace(&mut *locked(&self.seen), unseen.clone());
        Ok(Seen { alerts: alerts.collect::<anyhow::Result<_>>()?, coverage })
    }
}

/// What is in it, also after a panic: that is counted elsewhere.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
