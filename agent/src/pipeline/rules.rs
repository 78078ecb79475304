//! The stage of the rules: happenings in, alerts out.

use std::time::{Instant, UNIX_EPOCH};

use tarsier_abi::syscall::CALLS;
use tarsier_abi::{Header, Sensor, syscall::Call};
use tarsier_core::enrich::CgroupTable;
use tarsier_core::event::alert::Priority;
use tarsier_core::event::{Process, syscall};
use tarsier_core::process::ProcessTable;
use tarsier_core::rules::compile::{Meter, Scratch};
use tarsier_core::rules::evaluate::Event;
use tarsier_core::rules::event_types;
use tarsier_core::rules::facts::{Cache, Facts, Lineage, NoUsers, What, kinds};
use tarsier_core::rules::stated::Stated;

use super::alerts::{Alerts, Counts, Match};
use super::outlet::Outlet;
use crate::config::Config;
use crate::ops::metrics::{Metric, Snapshot};
use crate::rules::{Active, Matching};

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

/// Finds the rules that match an event.
#[derive(Default)]
struct Finder {
    matching: Matching,
    /// Measures what rules cost.
    cost: bool,
    scratch: Scratch,
    /// Positions of those that match the present one.
    found: Vec<u32>,
    observer: Option<Observer>,
}

/// Is shown every event that was evaluated: the types that it is, it, and the positions of the rules that matched.
pub(super) type Observer = Box<dyn FnMut(&[usize], &dyn Event, &[u32]) + Send>;

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
    /// # Errors
    /// What is to be added to outputs is no output.
    pub(super) fn new(config: &Config, active: Active, host_name: &str) -> anyhow::Result<Self> {
        let alerts = Alerts::new(&config.alerts, &active.set, active.digest.clone())
            .map_err(|errors| anyhow::anyhow!("alerts: {errors:?}"))?;
        let of = |name: &str| event_types::find(name).into_iter().collect();
        Ok(Self {
            active,
            alerts,
            finder: Finder { matching: config.rules.matching, cost: config.rules.cost, ..Finder::default() },
            types: Call::ALL.map(|call| kinds(call).collect()),
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

    /// Another set in place of this one, from the next event on.
    pub(super) fn replace(&mut self, active: Active) {
        self.alerts.replace(&active.set, active.digest.clone());
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
    }

    /// A system call returned.
    pub(super) fn syscall(
        &mut self,
        header: &Header,
        event: &syscall::Event<'_>,
        tables: Tables<'_>,
        outlet: &mut Outlet,
    ) {
        let process = tables.processes.resolve(&event.task);
        self.unattributed += u64::from(process.is_none());
        self.evaluate(header.boot_ns, header.cpu, What::Syscall(event), process, tables, outlet);
    }

    /// A process started its program.
    pub(super) fn exec(&mut self, at_ns: u64, process: &Process, tables: Tables<'_>, outlet: &mut Outlet) {
        self.evaluate(at_ns, 0, What::Exec, Some(process), tables, outlet);
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
        self.evaluate(at_ns, 0, What::Exit { status }, Some(process), tables, outlet);
    }

    /// An event that was stated, of which there is no record.
    pub(super) fn stated(&mut self, event: &Stated, tables: Tables<'_>, outlet: &mut Outlet) {
        self.events += 1;
        let (number, workload) = (self.events, tables.cgroups.lookup(0));
        let found = Match { event, at_ns: 0, number, workload, process: None, trace: None };
        for place in self.finder.find(&self.active, &mut self.alerts, event.kinds(), event) {
            self.alerts.matched(*place, &found, outlet);
        }
    }

    fn evaluate(
        &mut self,
        boot_ns: u64,
        cpu: u16,
        what: What<'_>,
        process: Option<&Process>,
        tables: Tables<'_>,
        outlet: &mut Outlet,
    ) {
        let types: &[usize] = match &what {
            What::Syscall(event) => &self.types[event.call as usize],
            What::Exec => &self.exec,
            What::Exit { .. } => &self.exit,
        };
        if !types.iter().any(|kind| self.active.compiled.asks_for(*kind)) {
            return;
        }
        self.events += 1;
        let unix_ns = outlet.unix_ns(boot_ns);
        if self.events == 1 {
            self.first_unix_ns = unix_ns;
        }
        let workload = tables.cgroups.lookup(process.map_or(0, |process| process.cgroup));
        self.cache.clear();
        let facts = Facts {
            number: self.events,
            boot_ns,
            unix_ns,
            first_unix_ns: self.first_unix_ns,
            cpu,
            what,
            process,
            lineage: &tables,
            workload,
            container: None,
            users: &NoUsers,
            host_name: &self.host_name,
            cache: &self.cache,
        };
        let found =
            Match { event: &facts, at_ns: boot_ns, number: self.events, workload, process, trace: None };
        for place in self.finder.find(&self.active, &mut self.alerts, types, &facts) {
            self.alerts.matched(*place, &found, outlet);
        }
    }
}

impl Finder {
    /// The positions of the rules that match an event of these types. What each costs is charged to `alerts`.
    fn find<'a>(
        &'a mut self,
        active: &Active,
        alerts: &mut Alerts,
        types: &[usize],
        event: &impl Event,
    ) -> &'a [u32] {
        let Self { matching, cost, scratch, found, observer } = self;
        found.clear();
        let only_first = *matching == Matching::First;
        let mut stopwatch = Stopwatch { alerts, running: None };
        for kind in types {
            let found = |place| {
                // A rule that names both types of a call matches it once.
                if !found.contains(&place) {
                    found.push(place);
                }
                !only_first
            };
            if *cost {
                active.compiled.metered(*kind, event, scratch, &mut stopwatch, found);
                stopwatch.stop();
            } else {
                active.compiled.matches(*kind, event, scratch, found);
            }
        }
        if only_first && let Some(first) = found.iter().min().copied() {
            found.clear();
            found.push(first);
        }
        if let Some(observer) = observer {
            observer(types, event, found);
        }
        found
    }
}

/// Charges rules with the time that their comparisons take.
struct Stopwatch<'a> {
    alerts: &'a mut Alerts,
    /// Whose comparisons are made, and since when.
    running: Option<(u32, Instant)>,
}

impl Stopwatch<'_> {
    fn stop(&mut self) {
        if let Some((place, since)) = self.running.take() {
            self.alerts.charge(place, u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

impl Meter for Stopwatch<'_> {
    const IS_ON: bool = true;

    fn enter(&mut self, place: u32) {
        self.stop();
        self.running = Some((place, Instant::now()));
    }
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
            + &rule("second", "evt.type = execve and proc.args contains x");
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
                "each is tried on each"
            );
            let Some(Value::Int(ns)) = out.get(Metric::RuleEvaluationTime, &[rule]) else {
                panic!("{out:?}")
            };
            assert!(ns > 0, "{rule}");
        }
        assert_eq!(metrics(false).get(Metric::RuleEvaluations, &["first"]), None);
    }
}
