//! From a match to an alert: whether it is told, and what it says.
//!
//! Whoever finds that a rule matched calls [`Alerts::matched`]. Conditions are evaluated on what processes say;
//! what alerts tell of command lines is redacted, as everywhere else ([`redacted`]).

use std::collections::{BTreeMap, VecDeque};

use tarsier_core::event::alert::{Alert, Priority};
use tarsier_core::event::syscall::Connection;
use tarsier_core::event::{Process, Workload};
use tarsier_core::rules::evaluate::Event;
use tarsier_core::rules::feeds::Feeds;
use tarsier_core::rules::groups::Groups;
use tarsier_core::rules::render::Output;
use tarsier_core::rules::ruleset::Ruleset;
use tarsier_core::rules::throttle::Throttle;

use super::outlet::Outlet;
use crate::export::alerts::{Addition, AlertsConfig, ConfigError, GroupConfig, ThrottleConfig};
use crate::ops::falco::FalcoSnapshot;
use crate::ops::metrics::{Metric, Snapshot};

mod redacted;
#[cfg(test)]
mod tests;

use redacted::Redacted;

/// Where events of rules come from.
const SOURCE: &str = "syscall";
/// Groups whose windows are known at once: a few megabytes.
const GROUPS: usize = 16_384;

/// Whose alerts say the same: number of the rule, index of the workload, path of the program.
type GroupKey = (u32, u32, Box<[u8]>);

/// What every rule of a set tells, and what became of its matches.
pub(super) struct Alerts {
    /// By the rule's position in the set.
    rules: Vec<Rule>,
    /// Of rules that ran before, those that went first in front: they may come back, and counters do not run back.
    retired: VecDeque<Retired>,
    /// Of those that went before these, all together.
    forgotten: Counts,
    limits: Limits,
    /// [`None`]: every alert is told.
    groups: Option<Groups<GroupKey>>,
    digest: String,
    /// Rules that had a number so far.
    numbered: u32,
}

/// How many alerts there may be.
#[derive(Debug, Default)]
struct Limits {
    throttle: ThrottleConfig,
    group: GroupConfig,
}

/// A rule as far as its alerts go.
struct Rule {
    name: String,
    description: String,
    priority: Priority,
    tags: Vec<String>,
    is_enabled: bool,
    output: Output,
    account: Account,
}

/// Of a rule that no longer runs: its name, its last priority, its account.
type Retired = (String, Priority, Account);
/// Most of them: a file that is made anew with other names again and again must not make the agent grow.
const RETIRED: usize = 1024;

/// What of a rule outlives its set.
struct Account {
    /// Which rule it is of, of all that ever ran.
    number: u32,
    /// [`None`]: it may tell as many as it will.
    throttle: Option<Throttle>,
    counts: Counts,
    cost: Cost,
}

/// What the comparisons of a rule took, if that is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    evaluations: u64,
    ns: u64,
}

/// What became of a rule's matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// All of them.
    pub(super) matches: u64,
    /// Not told: the rule had told enough.
    pub(super) throttled: u64,
    /// Not told: its group had told one.
    pub(super) grouped: u64,
}

impl Counts {
    /// Alerts that were told.
    pub(super) fn told(self) -> u64 {
        self.matches - self.throttled - self.grouped
    }

    fn add(&mut self, other: Self) {
        self.matches += other.matches;
        self.throttled += other.throttled;
        self.grouped += other.grouped;
    }
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
    /// The TCP connection that it is about, whose span the alert is told with.
    pub(super) connection: Option<Connection>,
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
        let mut alerts = Self {
            rules: Vec::new(),
            retired: VecDeque::new(),
            forgotten: Counts::default(),
            limits: Limits::default(),
            groups: None,
            digest: String::new(),
            numbered: 0,
        };
        alerts.replace(config, &config.additions()?, set, digest);
        Ok(alerts)
    }

    /// The rules of another set in place of those so far, as another configuration has it; `additions` are what it adds to
    /// outputs. A rule that was there before, by name, goes on with its counts, and with its throttle and its groups unless they
    /// are others now.
    pub(super) fn replace(
        &mut self,
        config: &AlertsConfig,
        additions: &[Addition],
        set: &Ruleset,
        digest: String,
    ) {
        let limits = Limits { throttle: config.throttle.clone(), group: config.group.clone() };
        let has_other_throttle = limits.throttle != self.limits.throttle;
        let throttle = limits.throttle.bucket();
        if limits.group != self.limits.group {
            let window_ns = u64::try_from(limits.group.window.get().as_nanos()).unwrap_or(u64::MAX);
            self.groups = (window_ns > 0).then(|| Groups::new(window_ns, GROUPS));
        }
        self.limits = limits;
        let before = self.retired.drain(..);
        let before = before.chain(self.rules.drain(..).map(|rule| (rule.name, rule.priority, rule.account)));
        let mut before: BTreeMap<String, (usize, Priority, Account)> = before
            .enumerate()
            .map(|(order, (name, priority, account))| (name, (order, priority, account)))
            .collect();
        for ready in &set.rules {
            let mut output = Output::new(&ready.output);
            additions.iter().for_each(|addition| addition.add_to(&mut output, SOURCE, &ready.rule));
            let known = before.remove(&ready.rule.name);
            let mut account = known.map(|(.., account)| account).unwrap_or_else(|| {
                self.numbered += 1;
                Account { number: self.numbered, throttle, counts: Counts::default(), cost: Cost::default() }
            });
            if has_other_throttle {
                account.throttle = throttle;
            }
            self.rules.push(Rule {
                name: ready.rule.name.clone(),
                description: ready.rule.description.clone(),
                priority: ready.rule.priority,
                tags: ready.rule.tags.clone(),
                is_enabled: ready.rule.is_enabled,
                output,
                account,
            });
        }
        self.digest = digest;
        self.retire(before);
    }

    /// Keeps what rules without a place in the set counted, in the order in which they went.
    fn retire(&mut self, gone: BTreeMap<String, (usize, Priority, Account)>) {
        let mut gone: Vec<_> = gone.into_iter().collect();
        gone.sort_by_key(|(_, (order, ..))| *order);
        self.retired =
            gone.into_iter().map(|(name, (_, priority, account))| (name, priority, account)).collect();
        while self.retired.len() > RETIRED {
            if let Some((.., account)) = self.retired.pop_front() {
                self.forgotten.add(account.counts);
            }
        }
    }

    /// The comparisons of the rule at position `place` were made for an event, in `ns`.
    pub(super) fn charge(&mut self, place: u32, ns: u64) {
        if let Some(rule) = self.rules.get_mut(place as usize) {
            rule.account.cost.evaluations += 1;
            rule.account.cost.ns += ns;
        }
    }

    /// Where what the rule at position `place` of the set tells comes from.
    pub(super) fn feeds(&self, place: u32) -> Feeds {
        self.rules.get(place as usize).map_or(Feeds::default(), |rule| rule.output.feeds())
    }

    /// The rule at position `place` of the set matched.
    pub(super) fn matched<E: Event>(&mut self, place: u32, found: &Match<'_, E>, outlet: &mut Outlet) {
        let Some(rule) = self.rules.get_mut(place as usize) else { return };
        let account = &mut rule.account;
        account.counts.matches += 1;
        let program = found.process.map_or(&b""[..], |process| process.image.exe());
        let key = || (account.number, found.workload.index, program.into());
        let mut group = self.groups.as_mut().map(|groups| (groups, key()));
        if group.as_mut().is_some_and(|(groups, key)| groups.holds(key, found.at_ns)) {
            account.counts.grouped += 1;
            return;
        }
        if account.throttle.as_mut().is_some_and(|throttle| !throttle.take(found.at_ns)) {
            account.counts.throttled += 1;
            return;
        }
        let suppressed = group.map_or(0, |(groups, key)| groups.tell(key, found.at_ns));
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
            suppressed,
            workload: found.workload,
            process: found.process,
            trace: found.connection.and_then(|connection| outlet.span_of(&connection)),
        });
    }

    /// What became of every rule's matches, with its name and priority, in the order of the set; behind them those of rules
    /// that ran before, the last of them without a name for those that went long ago.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, Option<Priority>, Counts)> {
        let running = self.rules.iter();
        let running = running.map(|rule| (rule.name.as_str(), Some(rule.priority), rule.account.counts));
        let retired = self.retired.iter();
        let retired =
            retired.map(|(name, priority, account)| (name.as_str(), Some(*priority), account.counts));
        let forgotten = (self.forgotten != Counts::default()).then_some(("", None, self.forgotten));
        running.chain(retired).chain(forgotten)
    }

    /// What the rules that run matched, under Falco's name.
    pub(super) fn falco_metrics(&self, out: &mut FalcoSnapshot) {
        for Rule { name, priority, tags, account, .. } in self.rules.iter().filter(|rule| rule.is_enabled) {
            out.push_rule(name, *priority as u64, SOURCE, tags, account.counts.matches);
        }
    }

    /// The same as metrics of the agent; with `cost`, what each rule cost too.
    pub(super) fn metrics(&self, cost: bool, out: &mut Snapshot) {
        for (name, priority, counts) in self.counts() {
            let priority = priority.map_or("", Priority::name);
            out.push(Metric::RuleMatches, &[name, priority, SOURCE], counts.matches);
            out.push(Metric::RuleWithheld, &[name, "throttled"], counts.throttled);
            out.push(Metric::RuleWithheld, &[name, "grouped"], counts.grouped);
        }
        for rule in self.rules.iter().filter(|_| cost) {
            let Cost { evaluations, ns } = rule.account.cost;
            out.push(Metric::RuleEvaluations, &[&rule.name], evaluations);
            out.push(Metric::RuleEvaluationTime, &[&rule.name], ns);
        }
    }
}
