//! The stages between ring and outlet, and the calls from one to the next.

use tarsier_abi::cgroup::Op;
use tarsier_abi::tcp::{SWEEP_BATCH, SweepBatch, SweepSlot};
use tarsier_core::decode::Decoder;
use tarsier_core::enrich::{self, CgroupTable};
use tarsier_core::event::tcp::TcpEvent;
use tarsier_core::event::{Body, Event, Flow, FlowKind, Process, Report, What, Workload, cgroup};
use tarsier_core::flows::{self, Aggregate, Table};
use tarsier_core::process::{self, Change, ProcessTable};

use super::outlet::Outlet;
use crate::config::Config;
use crate::host::cgroups::Hierarchy;
use crate::kernel::Kernel;

/// Most sockets that fit into one sweep call.
type Batch = Box<SweepBatch>;

/// Decoder, tables, and the vectors that carry one cycle's results between them.
pub(super) struct Stages {
    pub(super) decoder: Decoder,
    pub(super) processes: ProcessTable,
    pub(super) cgroups: CgroupTable,
    pub(super) flows: Table,
    pub(super) aggregate: Aggregate,
    pub(super) totals: Totals,
    /// A socket's cgroup names its container; not so where containers live in v1 hierarchies.
    socket_cgroups: bool,
    tcp: Vec<(u64, TcpEvent)>,
    changes: Vec<Change>,
    finished: Vec<Flow>,
    batch: Batch,
}

/// What was reported since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) execs: u64,
    /// Connections that are over.
    pub(super) connections: u64,
    /// Payload bytes, both ways.
    pub(super) bytes: u64,
    /// Flows whose process is not known.
    pub(super) unattributed: u64,
    /// Batches of the sweep that the kernel did not run.
    pub(super) sweeps_failed: u64,
}

impl Stages {
    pub(super) fn new(config: &Config, hierarchy: &Hierarchy) -> Self {
        let linger: std::time::Duration = config.process.linger.into();
        let processes = process::Limits {
            processes: config.process.max_entries as usize,
            linger_ns: u64::try_from(linger.as_nanos()).unwrap_or(u64::MAX),
            ..process::Limits::default()
        };
        let connections = config.flows.max_connections as usize;
        let batch = SweepBatch { len: 0, slots: [SweepSlot::default(); SWEEP_BATCH] };
        Self {
            decoder: Decoder::new(crate::host::possible_cpus()),
            processes: ProcessTable::new(processes),
            cgroups: CgroupTable::new(enrich::Limits::default()),
            flows: Table::new(flows::Limits { connections, ..flows::Limits::default() }),
            aggregate: Aggregate::new(config.metrics.series_limit as usize),
            totals: Totals::default(),
            socket_cgroups: hierarchy.controller.is_none(),
            tcp: Vec::new(),
            changes: Vec::new(),
            finished: Vec::new(),
            batch: Box::new(batch),
        }
    }

    /// One record of a ring. Malformed ones are counted by the decoder and skipped.
    pub(super) fn take(&mut self, record: &[u8], outlet: &mut Outlet) {
        if let Ok(event) = self.decoder.decode(record) {
            self.apply(&event, outlet);
        }
    }

    /// One decoded event, of a ring or an iterator.
    pub(super) fn apply(&mut self, event: &Event<'_>, outlet: &mut Outlet) {
        let at_ns = event.header.boot_ns;
        match &event.body {
            Body::Tcp(tcp) => self.tcp.push((at_ns, *tcp)),
            Body::Cgroup(group) => self.apply_cgroup(group, at_ns),
            Body::Exec(_) | Body::Fork(_) | Body::Exit(_) => {
                self.processes.apply(event, &mut self.changes);
                self.report_changes(outlet);
            }
        }
    }

    /// Sockets that were there before the agent, with the time each was looked at. At once: the flow
    /// table waits only so long for them.
    pub(super) fn seed_sockets(&mut self, sockets: &[(u64, TcpEvent)]) {
        for (at_ns, event) in sockets {
            self.flows.apply(event, *at_ns, &mut self.finished);
        }
    }

    fn apply_cgroup(&mut self, group: &cgroup::Event<'_>, at_ns: u64) {
        match group.op {
            Op::Mkdir => self.cgroups.insert(group.cgroup, group.parent, group.path),
            Op::Rmdir => self.cgroups.remove(group.cgroup, at_ns),
        }
    }

    /// Ends a drain cycle that began at `now_ns`: everything older is in.
    pub(super) fn finish_cycle(&mut self, now_ns: u64, outlet: &mut Outlet) {
        self.processes.flush_pending(&mut self.changes);
        self.report_changes(outlet);
        self.flows.apply_cycle(&mut self.tcp, &mut self.finished);
        self.flows.advance(now_ns, &mut self.finished);
        self.report_flows(outlet);
        self.processes.expire(now_ns);
    }

    /// Reports what is on hold: nothing more will come.
    pub(super) fn finish(&mut self, now_ns: u64, outlet: &mut Outlet) {
        self.processes.flush_all(&mut self.changes);
        self.report_changes(outlet);
        let hold = flows::Limits::default().hold_ns;
        self.flows.advance(now_ns.saturating_add(hold), &mut self.finished);
        self.report_flows(outlet);
    }

    /// Looks at one batch of live connections; false if that ended a round.
    pub(super) fn sweep(&mut self, kernel: &mut Kernel, now_ns: u64, outlet: &mut Outlet) -> bool {
        let len = self.flows.sweep_batch(&mut self.batch.slots);
        if len == 0 {
            return false;
        }
        self.batch.len = len as u64;
        match kernel.sweep(&mut self.batch) {
            Ok(()) => {
                let slots = self.batch.slots.get(..len).unwrap_or_default();
                self.flows.apply_sweep(slots, now_ns, &mut self.finished);
                self.report_flows(outlet);
            }
            Err(error) => {
                self.totals.sweeps_failed += 1;
                tracing::warn!(%error, "sweep of live connections");
            }
        }
        len == SWEEP_BATCH
    }

    /// Whose connection it is.
    pub(super) fn workload_of(&self, flow: &Flow, process: Option<&Process>) -> &Workload {
        self.cgroups.lookup(owning_group(self.socket_cgroups, flow, process))
    }

    fn report_changes(&mut self, outlet: &mut Outlet) {
        for change in self.changes.drain(..) {
            let Some(what) = self.processes.what(&change) else { continue };
            let (What::Exec { process } | What::Fork { process } | What::Exit { process, .. }) = what else {
                continue;
            };
            self.totals.execs += u64::from(matches!(what, What::Exec { .. }));
            let workload = self.cgroups.lookup(process.cgroup);
            let report = Report { at_ns: change.at_ns, workload, what };
            outlet.report(&report);
        }
    }

    fn report_flows(&mut self, outlet: &mut Outlet) {
        for flow in self.finished.drain(..) {
            let process = self.processes.resolve(&flow.owner);
            self.totals.unattributed += u64::from(process.is_none());
            self.totals.connections += u64::from(flow.kind == FlowKind::Closed);
            self.totals.bytes += flow.delta.bytes_sent + flow.delta.bytes_received;
            let workload = self.cgroups.lookup(owning_group(self.socket_cgroups, &flow, process));
            self.aggregate.record(&flow, workload.index);
            let report = Report { at_ns: flow.end_ns, workload, what: What::Flow { flow: &flow, process } };
            outlet.report(&report);
        }
    }
}

/// The socket's own cgroup, where that names containers; else its process's.
fn owning_group(socket_cgroups: bool, flow: &Flow, process: Option<&Process>) -> u64 {
    if socket_cgroups && flow.cgroup != 0 { flow.cgroup } else { process.map_or(0, |process| process.cgroup) }
}
