//! Answers to what rules asked about containers and users, and the events that waited for them.

use tarsier_abi::Header;
use tarsier_core::enrich::CgroupTable;
use tarsier_core::event::{Accounts, ContainerFacts, Workload, WorkloadKind, syscall};
use tarsier_core::rules::facts::What;
use tarsier_core::rules::feeds::Feeds;
use zerocopy::FromBytes;

use super::{Rules, Seen, Tables, Turn, Verdict};
use crate::pipeline::alerts::Alerts;
use crate::pipeline::held::HeldEvent;
use crate::pipeline::outlet::Outlet;
use crate::rules::Active;

impl Rules {
    /// The cgroup at `path` was made, which belongs to this workload.
    pub(in crate::pipeline) fn container(&mut self, workload: &Workload, path: &[u8], at_ns: u64) {
        // Its own one: a container may make others below.
        let is_own = workload.kind == WorkloadKind::Container && workload.cgroup_path.as_bytes() == path;
        if self.asks_runtimes && is_own {
            self.known.ask_ahead(workload, at_ns);
        }
    }

    /// What the runtime of the container `id` says of it, as JSON; empty: nothing.
    pub(in crate::pipeline) fn take_container(
        &mut self,
        id: &[u8],
        facts: &[u8],
        tables: Tables<'_>,
        outlet: &mut Outlet,
    ) {
        // It may have gone meanwhile, and all that waited with it is decided when its time is up.
        let Some(workload) = workload(id, tables) else { return };
        let mut facts: Option<ContainerFacts> = serde_json::from_slice(facts).ok();
        // Runtimes say when it started only after it has, and they are asked before.
        if let (Some(facts), Some(born_ns)) = (&mut facts, self.known.born_ns(workload.index)) {
            facts.started_unix_ns = Some(outlet.unix_ns(born_ns));
        }
        self.known.take_container(workload.index, facts);
        self.answered(workload.index, tables, outlet);
    }

    /// Users and groups of the container `id`, or of the host; none: they could not be read.
    pub(in crate::pipeline) fn take_accounts(
        &mut self,
        id: &[u8],
        accounts: Option<Accounts>,
        tables: Tables<'_>,
        outlet: &mut Outlet,
    ) {
        let Some(workload) = workload(id, tables) else { return };
        self.known.take_accounts(workload.index, accounts);
        self.answered(workload.index, tables, outlet);
    }

    /// Looks again at what waited for an answer.
    fn answered(&mut self, workload: u32, tables: Tables<'_>, outlet: &mut Outlet) {
        for held in self.waiting.answered(workload) {
            if let Verdict::Waits(_) = self.look_again(&held.what, Turn::Again, tables, outlet) {
                self.waiting.put_back(held);
            }
        }
    }

    /// A drain cycle begins at `now_ns`.
    pub(in crate::pipeline) fn set_time(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// Decides what has waited long enough; of `u64::MAX` all.
    pub(in crate::pipeline) fn decide_late(&mut self, now_ns: u64, tables: Tables<'_>, outlet: &mut Outlet) {
        for held in self.waiting.late(now_ns) {
            self.known.give_up(held.workload);
            self.look_again(&held.what, Turn::Last, tables, outlet);
        }
    }

    /// Forgets what is known of workloads that are no more.
    pub(in crate::pipeline) fn tidy(&mut self, cgroups: &CgroupTable) {
        self.known.retain(&cgroups.workloads().map(|workload| workload.index).collect());
        self.waiting.tidy();
    }

    fn look_again(
        &mut self,
        held: &HeldEvent,
        turn: Turn,
        tables: Tables<'_>,
        outlet: &mut Outlet,
    ) -> Verdict {
        match held {
            HeldEvent::Syscall(record) => {
                let Ok((header, _)) = Header::read_from_prefix(record) else { return Verdict::Decided };
                let Ok(event) = syscall::decode(header.op, record) else { return Verdict::Decided };
                let process = tables.processes.resolve(&event.task);
                let what = What::Syscall(&event);
                let seen = Seen { at_ns: header.boot_ns, cpu: header.cpu, what, process, turn };
                self.evaluate(&seen, tables, outlet)
            }
            HeldEvent::Exec { at_ns, process } => {
                let Some(process) = tables.processes.resolve(process).map(Some) else {
                    self.waiting.lose();
                    return Verdict::Decided;
                };
                let seen = Seen { at_ns: *at_ns, cpu: 0, what: What::Exec, process, turn };
                self.evaluate(&seen, tables, outlet)
            }
            HeldEvent::Exit { at_ns, process, status } => {
                let Some(process) = tables.processes.resolve(process).map(Some) else {
                    self.waiting.lose();
                    return Verdict::Decided;
                };
                let what = What::Exit { status: *status };
                self.evaluate(&Seen { at_ns: *at_ns, cpu: 0, what, process, turn }, tables, outlet)
            }
        }
    }
}

/// The workload of the container with this id; of an empty one the host's.
fn workload<'a>(id: &[u8], tables: Tables<'a>) -> Option<&'a Workload> {
    if id.is_empty() {
        return Some(tables.cgroups.host());
    }
    tables.cgroups.container(str::from_utf8(id).ok()?).map(|workload| &**workload)
}

/// Whether a rule that is on has a condition or an output for which a runtime must be asked.
pub(super) fn asks_runtimes(active: &Active, alerts: &Alerts) -> bool {
    let on = (0..).zip(&active.set.rules).filter(|(_, ready)| ready.rule.is_enabled && ready.can_match());
    let mut outputs = on.map(|(place, _)| alerts.feeds(place));
    Feeds::of_conditions(&active.set).has_runtime() || outputs.any(Feeds::has_runtime)
}

#[cfg(test)]
mod tests;
