//! The stages between ring and outlet, and the calls from one to the next.

use tarsier_abi::cgroup::Op;
use tarsier_abi::tcp::{SWEEP_BATCH, SweepSlot};
use tarsier_core::decode::Decoder;
use tarsier_core::enrich::{self, CgroupTable};
use tarsier_core::event::tcp::{self, TcpEvent};
use tarsier_core::event::{
    Accounts, Body, Event, Flow, FlowKind, Process, Report, Sensor, TaskKey, What, Workload, cgroup,
};
use tarsier_core::flows::{self, Aggregate, Table};
use tarsier_core::process::{self, Change, ProcessTable};
use tarsier_core::rules::stated::Stated;

use super::guard::{Guard, Stage, catch};
use super::outlet::Outlet;
use super::rules::{Rules, Tables};
use crate::config::Config;

/// Decoder, tables, and the vectors that carry one cycle's results between them.
pub(super) struct Stages {
    pub(super) decoder: Decoder,
    pub(super) processes: ProcessTable,
    pub(super) cgroups: CgroupTable,
    pub(super) flows: Table,
    pub(super) aggregate: Aggregate,
    /// None: there are no rules.
    pub(super) rules: Option<Rules>,
    pub(super) totals: Totals,
    pub(super) guard: Guard,
    /// A socket's cgroup names its container; not so where containers live in v1 hierarchies.
    socket_cgroups: bool,
    /// Fork records that were missing when the process table was last told.
    lost_forks: u64,
    tcp: Vec<(u64, TcpEvent)>,
    changes: Vec<Change>,
    finished: Vec<Flow>,
    /// When memory is looked at that nothing needs any more, boot ns.
    tidy_ns: u64,
}

/// How often. What a burst took is given back after one to two of it.
const TIDY_NS: u64 = 10_000_000_000;
/// Entries that the vectors between stages keep room for.
const CARRIED: usize = 4_096;

/// What was reported since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) execs: u64,
    pub(super) forks: u64,
    pub(super) exits: u64,
    /// Changes of processes that were evicted before they could be reported.
    pub(super) unreported: u64,
    /// Connections that are over.
    pub(super) connections: u64,
    /// Looks at connections that live on.
    pub(super) live: u64,
    /// Payload bytes, both ways.
    pub(super) bytes: u64,
    /// Flows whose process is not known.
    pub(super) unattributed: u64,
}

impl Stages {
    /// For records of CPUs `0..cpus`; `socket_cgroups`: a socket's cgroup names its container.
    pub(super) fn new(config: &Config, cpus: usize, socket_cgroups: bool, rules: Option<Rules>) -> Self {
        let linger: std::time::Duration = config.process.linger.into();
        let processes = process::Limits {
            processes: config.process.max_entries as usize,
            linger_ns: u64::try_from(linger.as_nanos()).unwrap_or(u64::MAX),
            ..process::Limits::default()
        };
        let connections = config.flows.max_connections as usize;
        Self {
            decoder: Decoder::new(cpus),
            processes: ProcessTable::new(processes),
            cgroups: CgroupTable::new(enrich::Limits::default()),
            flows: Table::new(flows::Limits { connections, ..flows::Limits::default() }),
            aggregate: Aggregate::new(config.metrics.series_limit as usize),
            rules,
            totals: Totals::default(),
            guard: Guard::default(),
            socket_cgroups,
            lost_forks: 0,
            tcp: Vec::new(),
            changes: Vec::new(),
            finished: Vec::new(),
            tidy_ns: 0,
        }
    }

    /// One record of a ring. Malformed ones are counted by the decoder and skipped.
    pub(super) fn take(&mut self, record: &[u8], outlet: &mut Outlet) {
        let mut stage = Stage::Apply;
        // By reference: an event is some 500 bytes, and only its sensor's part of it is looked at.
        let caught = catch(|| match &self.decoder.decode(record) {
            Ok(Event { header, body: Body::Syscall(call) | Body::IoUring(call), .. }) => {
                stage = Stage::Rules;
                let tables = Tables { processes: &self.processes, cgroups: &self.cgroups };
                if let Some(rules) = &mut self.rules {
                    rules.syscall(header, call, record, tables, outlet);
                }
            }
            Ok(event) => self.apply(event),
            Err(_) => {}
        });
        self.guard.note(stage, 1, caught);
        self.report_changes(outlet);
    }

    /// An event that somebody stated, for the rules alone.
    pub(super) fn take_stated(&mut self, event: &Stated, outlet: &mut Outlet) {
        let tables = Tables { processes: &self.processes, cgroups: &self.cgroups };
        if let Some(rules) = &mut self.rules {
            let caught = catch(|| rules.stated(event, tables, outlet));
            self.guard.note(Stage::Rules, 1, caught);
        }
    }

    /// One process that was there before the agent.
    pub(super) fn take_seed(&mut self, record: &[u8], outlet: &mut Outlet) {
        let caught = catch(|| {
            if let Ok(event) = self.decoder.decode_seed(record) {
                self.apply(&event);
            }
        });
        self.guard.note(Stage::Apply, 1, caught);
        self.report_changes(outlet);
    }

    /// The arguments of such a process, each ended by NUL.
    pub(super) fn set_arguments(&mut self, task: &TaskKey, bytes: &[u8]) {
        self.processes.set_args(task, bytes);
    }

    /// A socket that was there before the agent, and who has it open.
    pub(super) fn seed_socket(&mut self, owner: TaskKey, record: &[u8]) {
        let caught = catch(|| {
            let Ok(Event { header, body: Body::Tcp(mut event), .. }) = self.decoder.decode_seed(record)
            else {
                return;
            };
            if let TcpEvent::Socket { what: tcp::What::Seed { task, .. }, .. } = &mut event
                && !owner.is_none()
            {
                *task = owner;
            }
            self.flows.apply(&event, header.boot_ns, &mut self.finished);
        });
        self.guard.note(Stage::Flows, 1, caught);
    }

    fn apply(&mut self, event: &Event<'_>) {
        let at_ns = event.header.boot_ns;
        match &event.body {
            Body::Tcp(tcp) => self.tcp.push((at_ns, *tcp)),
            Body::Cgroup(group) => self.apply_cgroup(group, at_ns),
            // What is of no table is done with by now: see `take`.
            Body::Syscall(_) | Body::IoUring(_) => {}
            Body::Exec(_) | Body::Fork(_) | Body::Exit(_) => {
                self.note_lost_forks(at_ns);
                self.processes.apply(event, &mut self.changes);
            }
        }
    }

    /// Tells the process table when forks are missing that it would have had to know of.
    fn note_lost_forks(&mut self, at_ns: u64) {
        let lost = self.decoder.counters().sensor(Sensor::Fork).lost;
        if std::mem::replace(&mut self.lost_forks, lost) != lost {
            self.processes.lost(at_ns);
        }
    }

    fn apply_cgroup(&mut self, group: &cgroup::Event<'_>, at_ns: u64) {
        match group.op {
            Op::Mkdir => {
                self.cgroups.insert(group.cgroup, group.parent, group.path);
                if let Some(rules) = &mut self.rules {
                    rules.container(self.cgroups.lookup(group.cgroup), group.path, at_ns);
                }
            }
            Op::Rmdir => self.cgroups.remove(group.cgroup, at_ns),
        }
    }

    /// Ends a drain cycle that began at `now_ns`: everything older is in.
    pub(super) fn finish_cycle(&mut self, now_ns: u64, outlet: &mut Outlet) {
        self.processes.flush_pending(&mut self.changes);
        self.report_changes(outlet);
        let waiting = self.tcp.len();
        let caught = catch(|| {
            self.flows.apply_cycle(&mut self.tcp, &mut self.finished);
            self.flows.advance(now_ns, &mut self.finished);
        });
        // After a panic the rest of the cycle's records are not applied: which were is not known.
        self.guard.note(Stage::Flows, waiting.max(1), caught);
        self.tcp.clear();
        self.report_flows(outlet);
        self.with_rules(outlet, |rules, tables, outlet| rules.decide_late(now_ns, tables, outlet));
        self.processes.expire(now_ns);
        if now_ns >= self.tidy_ns {
            self.tidy_ns = now_ns.saturating_add(TIDY_NS);
            self.tidy();
        }
    }

    /// What the runtime of a container says of it.
    pub(super) fn take_container(&mut self, id: &[u8], facts: &[u8], outlet: &mut Outlet) {
        self.with_rules(outlet, |rules, tables, outlet| rules.take_container(id, facts, tables, outlet));
    }

    /// Users and groups of a container or of the host; none: they could not be read.
    pub(super) fn take_accounts(&mut self, id: &[u8], accounts: Option<Accounts>, outlet: &mut Outlet) {
        self.with_rules(outlet, |rules, tables, outlet| rules.take_accounts(id, accounts, tables, outlet));
    }

    fn with_rules(&mut self, outlet: &mut Outlet, act: impl FnOnce(&mut Rules, Tables<'_>, &mut Outlet)) {
        let Some(rules) = &mut self.rules else { return };
        let tables = Tables { processes: &self.processes, cgroups: &self.cgroups };
        self.guard.note(Stage::Rules, 1, catch(|| act(rules, tables, outlet)));
    }

    /// Gives back the memory that a burst took and nothing has needed since.
    fn tidy(&mut self) {
        let Self { processes, cgroups, flows, rules, tcp, changes, finished, .. } = self;
        if let Some(rules) = rules {
            rules.tidy(cgroups);
        }
        processes.tidy();
        flows.tidy();
        tcp.shrink_to(CARRIED);
        changes.shrink_to(CARRIED);
        finished.shrink_to(CARRIED);
    }

    /// Memory is short: forgets processes that have ended, and gives up connections.
    pub(super) fn shed(&mut self, now_ns: u64, outlet: &mut Outlet) {
        self.processes.shed(now_ns);
        self.flows.shed(&mut self.finished);
        self.report_flows(outlet);
        self.tidy();
    }

    /// Reports what is on hold: nothing more will come.
    pub(super) fn finish(&mut self, now_ns: u64, outlet: &mut Outlet) {
        self.processes.flush_all(&mut self.changes);
        self.report_changes(outlet);
        self.with_rules(outlet, |rules, tables, outlet| rules.decide_late(u64::MAX, tables, outlet));
        let hold = flows::Limits::default().hold_ns;
        self.flows.advance(now_ns.saturating_add(hold), &mut self.finished);
        self.report_flows(outlet);
    }

    /// Has the flow table choose the batch of a sweep that was made when the capture was recorded.
    pub(super) fn pick_sweep_again(&mut self) {
        self.flows.sweep_batch(&mut [SweepSlot::default(); SWEEP_BATCH]);
    }

    /// Takes in what the kernel said of a batch of live connections.
    pub(super) fn apply_sweep(&mut self, slots: &[SweepSlot], now_ns: u64, outlet: &mut Outlet) {
        let caught = catch(|| self.flows.apply_sweep(slots, now_ns, &mut self.finished));
        self.guard.note(Stage::Flows, slots.len(), caught);
        self.report_flows(outlet);
    }

    /// Whose connection it is.
    pub(super) fn workload_of(&self, flow: &Flow, process: Option<&Process>) -> &Workload {
        self.cgroups.lookup(owning_group(self.socket_cgroups, flow, process))
    }

    fn report_changes(&mut self, outlet: &mut Outlet) {
        for change in self.changes.drain(..) {
            let Some(what) = self.processes.what(&change) else {
                self.totals.unreported += 1;
                continue;
            };
            let (process, total) = match what {
                What::Exec { process } => (process, &mut self.totals.execs),
                What::Fork { process } => (process, &mut self.totals.forks),
                What::Exit { process, .. } => (process, &mut self.totals.exits),
                What::Flow { .. } => continue,
            };
            *total += 1;
            let workload = self.cgroups.lookup(process.cgroup);
            let report = Report { at_ns: change.at_ns, workload, what };
            self.guard.note(Stage::Report, 1, catch(|| outlet.report(&report)));
            if let Some(rules) = &mut self.rules {
                let tables = Tables { processes: &self.processes, cgroups: &self.cgroups };
                let caught = catch(|| match what {
                    What::Exec { process } => rules.exec(change.at_ns, process, tables, outlet),
                    What::Exit { process, status } => {
                        rules.exit(change.at_ns, process, status, tables, outlet);
                    }
                    What::Fork { .. } | What::Flow { .. } => {}
                });
                self.guard.note(Stage::Rules, 1, caught);
            }
        }
    }

    fn report_flows(&mut self, outlet: &mut Outlet) {
        for flow in &self.finished {
            let process = self.processes.resolve(&flow.owner);
            self.totals.unattributed += u64::from(process.is_none());
            match flow.kind {
                FlowKind::Closed => self.totals.connections += 1,
                FlowKind::Live => self.totals.live += 1,
            }
            // A record may claim anything; a sum that stands still is better than none.
            let bytes = flow.delta.bytes_sent.saturating_add(flow.delta.bytes_received);
            self.totals.bytes = self.totals.bytes.saturating_add(bytes);
            let workload = self.cgroups.lookup(owning_group(self.socket_cgroups, flow, process));
            self.aggregate.record(flow, workload.index);
            let report = Report { at_ns: flow.end_ns, workload, what: What::Flow { flow, process } };
            self.guard.note(Stage::Report, 1, catch(|| outlet.report(&report)));
        }
        self.finished.clear();
    }
}

/// The socket's own cgroup, where that names containers; else its process's.
fn owning_group(socket_cgroups: bool, flow: &Flow, process: Option<&Process>) -> u64 {
    if socket_cgroups && flow.cgroup != 0 { flow.cgroup } else { process.map_or(0, |process| process.cgroup) }
}
