//! The stage of the rules: happenings in, alerts out.

use std::time::UNIX_EPOCH;

use tarsier_abi::syscall::CALLS;
use tarsier_abi::{Header, Sensor, syscall::Call};
use tarsier_core::enrich::CgroupTable;
use tarsier_core::event::alert::Priority;
use tarsier_core::event::{Process, syscall};
use tarsier_core::process::ProcessTable;
use tarsier_core::rules::event_types;
use tarsier_core::rules::facts::{Cache, Facts, Lineage, Lookups, NoLookups, Reading, What};
use tarsier_core::rules::fields::Feed;
use tarsier_core::rules::stated::Stated;

use super::alerts::{Alerts, Counts, Match};
use super::held::{HeldEvent, Waiting};
use super::known::{Known, Notes};
use super::outlet::Outlet;
use crate::config::Config;
use crate::export::alerts::Addition;
use crate::ops::falco::FalcoSnapshot;
use crate::ops::metrics::{Metric, Snapshot};
use crate::rules::{Active, Paths};

mod answers;
mod finder;

use finder::Finder;
pub(super) use finder::Observer;

/// The rules that run, and what they need while they do.
pub(super) struct Rules {
    active: Active,
    alerts: Alerts,
    finder: Finder,
    /// The types that each call is, by its number.
    types: [Vec<usize>; CALLS],
    exec: Vec<usize>,
    exit: Vec<usize>,
    cache: Cache,
    host_name: String,
    /// What containers, users and groups are called.
    pub(super) known: Known,
    waiting: Waiting,
    /// A rule asks for what runtimes say of containers.
    pub(super) asks_runtimes: bool,
    /// When the present drain cycle began, boot ns.
    now_ns: u64,
    /// Events evaluated so far.
    pub(super) events: u64,
    /// When the first one was, ns since 1970.
    first_unix_ns: u64,
    /// Events whose process no record had told of.
    pub(super) unattributed: u64,
    /// Sets that took the place of the one before.
    reloads: u64,
    /// Sets that could not.
    refused: u64,
}

/// An event that rules are tried on.
struct Seen<'a> {
    /// When it happened, boot ns.
    at_ns: u64,
    cpu: u16,
    what: What<'a>,
    process: Option<&'a Process>,
    turn: Turn,
}

/// How often an event was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Never: it may wait for what has to be looked up.
    First,
    /// It has waited, and may wait for something else.
    Again,
    /// It has waited long enough.
    Last,
}

/// What came of trying rules on an event.
enum Verdict {
    /// Alerts are told, if there are any.
    Decided,
    /// It has to wait for what is known of the workload with this index.
    Waits(u32),
}

/// The tables that say whose doing an event is.
#[derive(Clone, Copy)]
pub(super) struct Tables<'a> {
    pub(super) processes: &'a ProcessTable,
    pub(super) cgroups: &'a CgroupTable,
}

impl Lineage for Tables<'_> {
    fn parent(&self, process: &Process) -> Option<&Process> {
        self.processes.resolve(&process.parent)
    }
}

impl Rules {
    /// `answers`: questions about containers and users are answered.
    ///
    /// # Errors
    /// What is to be added to outputs is no output.
    pub(super) fn new(
        config: &Config,
        active: Active,
        host_name: &str,
        answers: bool,
    ) -> anyhow::Result<Self> {
        let alerts = Alerts::new(&config.alerts, &active.set, active.digest.clone())
            .map_err(|errors| anyhow::anyhow!("alerts: {errors:?}"))?;
        let of = |name: &str| event_types::find(name).into_iter().collect();
        Ok(Self {
            known: Known::new(!answers),
            waiting: Waiting::default(),
            asks_runtimes: answers::asks_runtimes(&active, &alerts),
            now_ns: 0,
            types: types_of(&active),
            active,
            alerts,
            finder: Finder::new(config.rules.matching, config.rules.cost),
            exec: of(What::Exec.name()),
            exit: of(What::Exit { status: 0 }.name()),
            cache: Cache::default(),
            host_name: host_name.to_owned(),
            events: 0,
            first_unix_ns: 0,
            unattributed: 0,
            reloads: 0,
            refused: 0,
        })
    }

    /// The same, with somebody who is shown what happens.
    pub(super) fn with_observer(mut self, observer: Observer) -> Self {
        self.finder.observer = Some(observer);
        self
    }

    /// Another set in place of this one, as another configuration has it, from the next event on.
    pub(super) fn replace(&mut self, config: &Config, additions: &[Addition], active: Active) {
        self.alerts.replace(&config.alerts, additions, &active.set, active.digest.clone());
        (self.finder.matching, self.finder.cost) = (config.rules.matching, config.rules.cost);
        self.types = types_of(&active);
        self.active = active;
        self.reloads += 1;
    }

    /// A set could not be loaded; this one runs on.
    pub(super) fn refuse(&mut self) {
        self.refused += 1;
    }

    /// What became of every rule's matches: [`Alerts::counts`].
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, Option<Priority>, Counts)> {
        self.alerts.counts()
    }

    /// The set that runs.
    pub(super) fn active(&self) -> &Active {
        &self.active
    }

    /// What each of them matched, under Falco's name.
    pub(super) fn falco_metrics(&self, out: &mut FalcoSnapshot) {
        self.alerts.falco_metrics(out);
    }

    /// Which rules run, and what they did, as metrics of the agent.
    pub(super) fn metrics(&self, out: &mut Snapshot) {
        out.push(Metric::RecordsUnattributed, &[Sensor::Syscall.name()], self.unattributed);
        out.push(Metric::RuleEvents, &[], self.events);
        out.push(Metric::RulesRunning, &[&self.active.digest], self.active.running() as u64);
        let loaded = self.active.loaded_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        out.push(Metric::RulesLoaded, &[], loaded.as_secs_f64());
        out.push(Metric::RuleReloads, &["loaded"], self.reloads);
        out.push(Metric::RuleReloads, &["failed"], self.refused);
        self.alerts.metrics(self.finder.cost, out);
        self.waiting.metrics(out);
        let (containers, users) = self.known.entries();
        out.push(Metric::LookupEntries, &["container"], containers as u64);
        out.push(Metric::LookupEntries, &["users"], users as u64);
        out.push(Metric::Lookups, &["users", "no_memory"], self.known.no_room);
    }

    /// A system call returned, as `record` tells.
    pub(super) fn syscall(
        &mut self,
        header: &Header,
        event: &syscall::Event<'_>,
        record: &[u8],
        tables: Tables<'_>,
        outlet: &mut Outlet,
    ) {
        let process = tables.processes.resolve(&event.task);
        self.unattributed += u64::from(process.is_none());
        let (what, turn) = (What::Syscall(event), Turn::First);
        let seen = Seen { at_ns: header.boot_ns, cpu: header.cpu, what, process, turn };
        if let Verdict::Waits(workload) = self.evaluate(&seen, tables, outlet) {
            self.waiting.push(workload, self.now_ns, HeldEvent::Syscall(record.into()));
        }
    }

    /// A process started its program.
    pub(super) fn exec(&mut self, at_ns: u64, process: &Process, tables: Tables<'_>, outlet: &mut Outlet) {
        let seen = Seen { at_ns, cpu: 0, what: What::Exec, process: Some(process), turn: Turn::First };
        if let Verdict::Waits(workload) = self.evaluate(&seen, tables, outlet) {
            self.waiting.push(workload, self.now_ns, HeldEvent::Exec { at_ns, process: process.key });
        }
    }

    /// A process ended.
    pub(super) fn exit(
        &mut self,
        at_ns: u64,
        process: &Process,
        status: u32,
        tables: Tables<'_>,
        outlet: &mut Outlet,
    ) {
        let what = What::Exit { status };
        let seen = Seen { at_ns, cpu: 0, what, process: Some(process), turn: Turn::First };
        if let Verdict::Waits(workload) = self.evaluate(&seen, tables, outlet) {
            self.waiting.push(workload, self.now_ns, HeldEvent::Exit { at_ns, process: process.key, status });
        }
    }

    /// An event that was stated, of which there is no record.
    pub(super) fn stated(&mut self, event: &Stated, tables: Tables<'_>, outlet: &mut Outlet) {
        self.events += 1;
        let (number, workload) = (self.events, tables.cgroups.lookup(0));
        let found = Match { event, at_ns: 0, number, workload, process: None, connection: None };
        self.finder.find(&self.active, &mut self.alerts, event.kinds(), event, Reading::Written);
        for place in self.finder.show(event.kinds(), event, Reading::Written) {
            self.alerts.matched(*place, &found, outlet);
        }
    }

    fn evaluate(&mut self, seen: &Seen<'_>, tables: Tables<'_>, outlet: &mut Outlet) -> Verdict {
        let Seen { at_ns: boot_ns, cpu, what, process, turn } = *seen;
        let types: &[usize] = match &what {
            What::Syscall(event) => &self.types[event.call as usize],
            What::Exec => &self.exec,
            What::Exit { .. } => &self.exit,
        };
        if !types.iter().any(|kind| self.active.compiled.asks_for(*kind)) {
            return Verdict::Decided;
        }
        let number = self.events + 1;
        let unix_ns = outlet.unix_ns(boot_ns);
        let first_unix_ns = if number == 1 { unix_ns } else { self.first_unix_ns };
        let workload = tables.cgroups.lookup(process.map_or(0, |process| process.cgroup));
        self.cache.clear();
        let facts = Facts {
            number,
            boot_ns,
            unix_ns,
            first_unix_ns,
            cpu,
            what,
            process,
            lineage: &tables,
            workload,
            lookups: &NoLookups,
            reading: Reading::Written,
            host_name: &self.host_name,
            cache: &self.cache,
        };
        let has_two = self.active.paths == Paths::Either && facts.has_own_path();
        let readings: &[Reading] =
            if has_two { &[Reading::Written, Reading::Own] } else { &[Reading::Written] };
        let here = self.known.at(workload, turn == Turn::First && matches!(what, What::Exec));
        for reading in readings {
            let asking = Facts { lookups: &here, reading: *reading, ..facts };
            for place in self.finder.find(&self.active, &mut self.alerts, types, &asking, *reading) {
                let feeds = self.alerts.feeds(*place);
                if feeds.has_runtime() {
                    here.container();
                }
                if feeds.has(Feed::Users) {
                    here.user(0);
                }
            }
        }
        let notes = here.notes();
        if notes != Notes::default() && turn != Turn::Last {
            let waits = self.known.ask(notes, workload, process, tables, self.now_ns);
            if waits && self.waiting.has_room() {
                return Verdict::Waits(workload.index);
            }
        }
        let here = self.known.at(workload, false);
        (self.events, self.first_unix_ns) = (number, first_unix_ns);
        let connection = facts.connection();
        for reading in readings {
            let facts = Facts { lookups: &here, reading: *reading, ..facts };
            let found = Match { event: &facts, at_ns: boot_ns, number, workload, process, connection };
            for place in self.finder.show(types, &facts, *reading) {
                self.alerts.matched(*place, &found, outlet);
            }
        }
        Verdict::Decided
    }
}

/// The types of events that each call is, by its number.
fn types_of(active: &Active) -> [Vec<usize>; CALLS] {
    Call::ALL.map(|call| active.compat.kinds(call).collect())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use super::*;
    use crate::capture::{Frame, Reader};
    use crate::ops::metrics::Value;
    use crate::pipeline::Offline;

    /// What two rules of this configuration counted over a capture.
    fn metrics(cost: bool) -> Snapshot {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.yaml");
        let rule = |name: &str, condition: &str| {
            format!("- rule: {name}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n")
        };
        let rules = rule("first", "evt.type = execve and proc.name = sh")
            + &rule("second", "evt.type = execve and proc.args contains nowhere");
        std::fs::write(&path, rules).unwrap();
        let mut config = Config::default();
        config.rules.files = vec![path];
        config.rules.cost = cost;
        let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/6.12.tarsier");
        let mut reader = Reader::new(File::open(capture).unwrap()).unwrap();
        let about = reader.about().clone();
        let mut offline = Offline::new(&about, &config, None, None).unwrap();
        while let Some(frame) = reader.next_frame().unwrap() {
            offline.feed(&frame);
        }
        offline.feed(&Frame::End);
        let mut out = Snapshot::default();
        offline.rules().unwrap().metrics(&mut out);
        out
    }

    #[test]
    fn what_rules_cost_is_measured_if_asked_for() {
        let out = metrics(true);
        let Some(Value::Int(events)) = out.get(Metric::RuleEvents, &[]) else { panic!("{out:?}") };
        assert!(events > 10, "{events}");
        for rule in ["first", "second"] {
            assert_eq!(
                out.get(Metric::RuleEvaluations, &[rule]),
                Some(events.into()),
                "each is tried on each, once: none matches and waits for an answer"
            );
            let Some(Value::Int(ns)) = out.get(Metric::RuleEvaluationTime, &[rule]) else {
                panic!("{out:?}")
            };
            assert!(ns > 0, "{rule}");
        }
        assert_eq!(metrics(false).get(Metric::RuleEvaluations, &["first"]), None);
    }
}
