//! What is encoded: the reports that the tables make of the synthetic node's records.

use std::sync::Arc;

use tarsier_core::decode::Decoder;
use tarsier_core::enrich::{self, CgroupTable};
use tarsier_core::event::{Body, Flow, FlowKind, Process, Report, What, Workload};
use tarsier_core::flows::{self, Table};
use tarsier_core::process::{self, ProcessTable};

use crate::node::Node;

/// Records of the node's life before, and those whose reports are taken.
const BEFORE: usize = 20_000;
const TAKEN: usize = 2_000;

/// A report that owns what it tells of.
pub(crate) enum Told {
    Exec(Process),
    Fork(Process),
    Exit(Process, u32),
    Flow(Flow, Option<Process>),
}

/// Reports in the order in which the pipeline would hand them to the encoders.
pub(crate) struct Reports {
    told: Vec<(u64, Arc<Workload>, Told)>,
}

impl Reports {
    pub(crate) fn new() -> Self {
        let mut node = Node::new(11);
        let mut decoder = Decoder::new(2);
        let mut processes = ProcessTable::new(process::Limits::default());
        let mut cgroups = CgroupTable::new(enrich::Limits::default());
        let mut flows = Table::new(flows::Limits::default());
        for (id, parent, path) in Node::cgroups() {
            cgroups.insert(id, parent, path.as_bytes());
        }
        let mut told = Vec::new();
        let (mut changes, mut finished) = (Vec::new(), Vec::new());
        for count in [BEFORE, TAKEN] {
            told.clear();
            let records = node.records(count);
            for place in records.cycles(usize::MAX).flatten() {
                let event = decoder.decode(records.bytes_of(*place)).expect("a record");
                match &event.body {
                    Body::Tcp(tcp) => flows.apply(tcp, event.header.boot_ns, &mut finished),
                    _ => processes.apply(&event, &mut changes),
                }
                for change in changes.drain(..) {
                    let what = processes.what(&change).expect("not evicted yet");
                    let (process, what) = match what {
                        What::Exec { process } => (process, Told::Exec(process.clone())),
                        What::Fork { process } => (process, Told::Fork(process.clone())),
                        What::Exit { process, status } => (process, Told::Exit(process.clone(), status)),
                        What::Flow { .. } => continue,
                    };
                    told.push((change.at_ns, Arc::clone(cgroups.lookup(process.cgroup)), what));
                }
                for flow in finished.drain(..).filter(|flow| flow.kind == FlowKind::Closed) {
                    let process = processes.resolve(&flow.owner).cloned();
                    let workload = Arc::clone(cgroups.lookup(flow.cgroup));
                    told.push((flow.end_ns, workload, Told::Flow(flow, process)));
                }
            }
        }
        Self { told }
    }

    pub(crate) fn len(&self) -> usize {
        self.told.len()
    }

    /// How many of each kind.
    pub(crate) fn mix(&self) -> String {
        let count = |wanted: fn(&Told) -> bool| self.told.iter().filter(|(.., told)| wanted(told)).count();
        format!(
            "{} execs, {} forks, {} exits, {} connections",
            count(|told| matches!(told, Told::Exec(..))),
            count(|told| matches!(told, Told::Fork(..))),
            count(|told| matches!(told, Told::Exit(..))),
            count(|told| matches!(told, Told::Flow(..))),
        )
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Report<'_>> {
        self.told.iter().map(|(at_ns, workload, told)| {
            let what = match told {
                Told::Exec(process) => What::Exec { process },
                Told::Fork(process) => What::Fork { process },
                Told::Exit(process, status) => What::Exit { process, status: *status },
                Told::Flow(flow, process) => What::Flow { flow, process: process.as_ref() },
            };
            Report { at_ns: *at_ns, workload, what }
        })
    }
}
