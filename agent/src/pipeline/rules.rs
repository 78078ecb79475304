//! The stage of the rules: happenings in, alerts out.

use std::time::UNIX_EPOCH;

use tarsier_abi::syscall::CALLS;
use tarsier_abi::{Header, Sensor, syscall::Call};
use tarsier_core::enrich::CgroupTable;
use tarsier_core::event::{Process, syscall};
use tarsier_core::process::ProcessTable;
use tarsier_core::rules::compile::Scratch;
use tarsier_core::rules::event_types;
use tarsier_core::rules::facts::{Cache, Facts, Lineage, NoUsers, What, kinds};

use super::alerts::{Alerts, Match};
use super::outlet::Outlet;
use crate::config::Config;
use crate::ops::metrics::{Metric, Snapshot};
use crate::rules::{Active, Matching};

/// The rules that run, and what they need while they do.
pub(super) struct Rules {
    active: Active,
    alerts: Alerts,
    matching: Matching,
    /// The types that each call is, by its number.
    types: [Vec<usize>; CALLS],
    exec: Vec<usize>,
    exit: Vec<usize>,
    scratch: Scratch,
    cache: Cache,
    /// Positions of the rules that match the present event.
    found: Vec<u32>,
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
            matching: config.rules.matching,
            types: Call::ALL.map(|call| kinds(call).collect()),
            exec: of(What::Exec.name()),
            exit: of(What::Exit { status: 0 }.name()),
            scratch: Scratch::default(),
            cache: Cache::default(),
            found: Vec::new(),
            host_name: host_name.to_owned(),
            events: 0,
            first_unix_ns: 0,
            unattributed: 0,
            reloads: 0,
            refused: 0,
        })
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

    /// Which rules run, and what they did, as metrics of the agent.
    pub(super) fn metrics(&self, out: &mut Snapshot) {
        out.push(Metric::RecordsUnattributed, &[Sensor::Syscall.name()], self.unattributed);
        out.push(Metric::RuleEvents, &[], self.events);
        out.push(Metric::RulesRunning, &[&self.active.digest], self.active.running() as u64);
        let loaded = self.active.loaded_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        out.push(Metric::RulesLoaded, &[], loaded.as_secs_f64());
        out.push(Metric::RuleReloads, &["loaded"], self.reloads);
        out.push(Metric::RuleReloads, &["failed"], self.refused);
        self.alerts.metrics(out);
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
        self.found.clear();
        let only_first = self.matching == Matching::First;
        for kind in types {
            self.active.compiled.matches(*kind, &facts, &mut self.scratch, |place| {
                // A rule that names both types of a call matches it once.
                if !self.found.contains(&place) {
                    self.found.push(place);
                }
                !only_first
            });
        }
        if only_first && let Some(first) = self.found.iter().min().copied() {
            self.found.clear();
            self.found.push(first);
        }
        let found =
            Match { event: &facts, at_ns: boot_ns, number: self.events, workload, process, trace: None };
        for place in &self.found {
            self.alerts.matched(*place, &found, outlet);
        }
    }
}
