//! From a match to an alert: whether it is told, and what it says.
//!
//! Whoever finds that a rule matched calls [`Alerts::matched`]. Conditions are evaluated on what processes say;
//! what alerts tell of command lines is redacted, as everywhere else ([`redacted`]).

use tarsier_core::event::alert::{Alert, Priority, TraceContext};
use tarsier_core::event::{Process, Workload};
use tarsier_core::rules::evaluate::Event;
use tarsier_core::rules::render::Output;
use tarsier_core::rules::ruleset::Ruleset;

use super::outlet::Outlet;
use crate::export::alerts::{AlertsConfig, ConfigError};

mod redacted;
#[cfg(test)]
mod tests;

use redacted::Redacted;

/// Where events of rules come from.
const SOURCE: &str = "syscall";

/// What every rule of a set tells, and what became of its matches.
pub(super) struct Alerts {
    /// By the rule's position in the set.
    rules: Vec<Rule>,
    floor: Priority,
    digest: String,
}

/// A rule as far as its alerts go.
struct Rule {
    name: String,
    description: String,
    priority: Priority,
    tags: Vec<String>,
    output: Output,
    counts: Counts,
}

/// What became of a rule's matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// All of them.
    pub(super) matches: u64,
}

/// What matched, and what is known of it.
pub(super) struct Match<'a, E> {
    /// The event, as the rule saw it.
    pub(super) event: &'a E,
    /// When it happened, boot ns.
    pub(super) at_ns: u64,
    /// Its running number.
    pub(super) number: u64,
    /// Whose it is.
    pub(super) workload: &'a Workload,
    /// The process that did it, if known.
    pub(super) process: Option<&'a Process>,
    /// The trace and span that the process was in, if known.
    pub(super) trace: Option<TraceContext>,
}

impl Alerts {
    /// For the rules of `set`; `digest` tells them from others, in hexadecimal.
    ///
    /// # Errors
    /// What is to be added to outputs is no output.
    pub(super) fn new(
        config: &AlertsConfig,
        set: &Ruleset,
        digest: String,
    ) -> Result<Self, Vec<ConfigError>> {
        let additions = config.additions()?;
        let rules = set.rules.iter().map(|ready| {
            let mut output = Output::new(&ready.output);
            additions.iter().for_each(|addition| addition.add_to(&mut output, SOURCE, &ready.rule));
            Rule {
                name: ready.rule.name.clone(),
                description: ready.rule.description.clone(),
                priority: ready.rule.priority,
                tags: ready.rule.tags.clone(),
                output,
                counts: Counts::default(),
            }
        });
        Ok(Self { rules: rules.collect(), floor: config.priority.into(), digest })
    }

    /// The rule at position `place` of the set matched.
    pub(super) fn matched<E: Event>(&mut self, place: u32, found: &Match<'_, E>, outlet: &mut Outlet) {
        let Some(rule) = self.rules.get_mut(place as usize).filter(|rule| rule.priority <= self.floor) else {
            return;
        };
        rule.counts.matches += 1;
        let time_unix_ns = outlet.unix_ns(found.at_ns);
        let event = Redacted::new(found.event, found.process, outlet.redactor());
        let rendered = rule.output.render(&event, time_unix_ns);
        outlet.alert(&Alert {
            time_unix_ns,
            number: found.number,
            rule: &rule.name,
            description: &rule.description,
            priority: rule.priority,
            source: SOURCE,
            tags: &rule.tags,
            ruleset: &self.digest,
            message: &rendered.message,
            fields: &rendered.fields,
            suppressed: 0,
            workload: found.workload,
            process: found.process,
            trace: found.trace,
        });
    }

    /// What became of every rule's matches, with its name and priority, in the order of the set.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, Priority, Counts)> {
        self.rules.iter().map(|rule| (rule.name.as_str(), rule.priority, rule.counts))
    }
}
