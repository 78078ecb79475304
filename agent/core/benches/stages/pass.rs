//! One pass over records, up to a stage: what the agent's pipeline does, without the kernel and without
//! an exporter.

use std::hint::black_box;

use tarsier_core::decode::Decoder;
use tarsier_core::encode::redact::Redactor;
use tarsier_core::encode::{Clock, Identity, LogsEncoder, TracesEncoder};
use tarsier_core::enrich::{self, CgroupTable};
use tarsier_core::event::tcp::TcpEvent;
use tarsier_core::event::{Body, Event, Flow, Report, What};
use tarsier_core::flows::{self, Aggregate, Table};
use tarsier_core::process::{self, Change, ProcessTable};

use crate::node::{Node, Records};

/// Records of one drain cycle.
const CYCLE: usize = 512;
/// A request is finished at this size, as the agent does.
const REQUEST: usize = 1 << 20;

/// The stages, each with all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The record's bytes are looked at.
    Read,
    /// Typed events.
    Decode,
    /// Process table, and what it reports named by cgroup.
    Processes,
    /// Flow table and aggregate.
    Flows,
    /// OTLP requests.
    Encode,
}

impl Stage {
    pub(crate) const ALL: [Self; 5] = [Self::Read, Self::Decode, Self::Processes, Self::Flows, Self::Encode];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Processes => "processes",
            Self::Flows => "flows",
            Self::Encode => "encode",
        }
    }
}

/// Decoder, tables and encoders.
pub(crate) struct Pass {
    decoder: Decoder,
    processes: ProcessTable,
    cgroups: CgroupTable,
    flows: Table,
    aggregate: Aggregate,
    logs: LogsEncoder,
    traces: TracesEncoder,
    tcp: Vec<(u64, TcpEvent)>,
    changes: Vec<Change>,
    finished: Vec<Flow>,
    clock: Clock,
    items: u64,
    bytes: u64,
}

impl Pass {
    /// Tables that have seen `before`, as all stages leave them.
    pub(crate) fn new(before: &Records, redactor: &Redactor) -> Self {
        let identity = Identity {
            host_name: "node-17.eu-1.example".to_owned(),
            host_id: Some("8f1d5b7c2a9e4d3f8f1d5b7c2a9e4d3f".to_owned()),
            boot_id: Some("0b9c2c0e-7d56-4b0a-9a9e-2f6c1d7f4e11".to_owned()),
            node_name: Some("node-17".to_owned()),
            version: "0.1.0".to_owned(),
            instance_id: "1f0c".to_owned(),
            ..Identity::default()
        };
        let mut cgroups = CgroupTable::new(enrich::Limits::default());
        for (id, parent, path) in Node::cgroups() {
            cgroups.insert(id, parent, path.as_bytes());
        }
        let mut pass = Self {
            decoder: Decoder::new(2),
            processes: ProcessTable::new(process::Limits::default()),
            cgroups,
            flows: Table::new(flows::Limits::default()),
            aggregate: Aggregate::new(Aggregate::DEFAULT_SERIES),
            logs: LogsEncoder::new(&identity, redactor.clone(), 4 << 20),
            traces: TracesEncoder::new(&identity, 4 << 20),
            tcp: Vec::new(),
            changes: Vec::new(),
            finished: Vec::new(),
            clock: Clock {
                boot_to_unix_ns: 1_790_000_000_000_000_000,
                now_unix_ns: 1_791_000_000_000_000_000,
            },
            items: 0,
            bytes: 0,
        };
        pass.run(before, Stage::Encode);
        (pass.items, pass.bytes) = (0, 0);
        pass
    }

    /// Log records and spans encoded since the tables were filled, and the bytes of their requests.
    pub(crate) fn exported(&self) -> (u64, u64) {
        (self.items, self.bytes)
    }

    /// [`Self::run`], under a name of its own for callgrind.
    #[inline(never)]
    pub(crate) fn measured_pass(&mut self, records: &Records, stage: Stage) {
        self.run(records, stage);
    }

    pub(crate) fn run(&mut self, records: &Records, last: Stage) {
        for cycle in records.cycles(CYCLE) {
            let mut now_ns = 0;
            for bulk in [false, true] {
                for place in cycle.iter().filter(|place| place.bulk == bulk) {
                    let bytes = records.bytes_of(*place);
                    if last == Stage::Read {
                        black_box(bytes.iter().step_by(64).fold(0_u8, |all, byte| all ^ byte));
                        continue;
                    }
                    let Ok(event) = self.decoder.decode(bytes) else { continue };
                    now_ns = now_ns.max(event.header.boot_ns);
                    if last == Stage::Decode {
                        black_box(&event);
                    } else {
                        self.apply(&event, last);
                    }
                }
            }
            if last > Stage::Decode {
                self.end_cycle(now_ns, last);
            }
        }
    }

    fn apply(&mut self, event: &Event<'_>, last: Stage) {
        match &event.body {
            Body::Tcp(_) if last < Stage::Flows => {
                black_box(event);
            }
            Body::Tcp(tcp) => self.tcp.push((event.header.boot_ns, *tcp)),
            Body::Exec(_) | Body::Fork(_) | Body::Exit(_) => {
                self.processes.apply(event, &mut self.changes);
                self.report_changes(last);
            }
            Body::Cgroup(_) | Body::Syscall(_) | Body::IoUring(_) => {}
        }
    }

    fn end_cycle(&mut self, now_ns: u64, last: Stage) {
        self.processes.flush_pending(&mut self.changes);
        self.report_changes(last);
        self.processes.expire(now_ns);
        if last < Stage::Flows {
            return;
        }
        self.flows.apply_cycle(&mut self.tcp, &mut self.finished);
        self.flows.advance(now_ns, &mut self.finished);
        for flow in &self.finished {
            let process = self.processes.resolve(&flow.owner);
            let workload = self.cgroups.lookup(flow.cgroup);
            self.aggregate.record(flow, workload.index);
            let report = Report { at_ns: flow.end_ns, workload, what: What::Flow { flow, process } };
            if last < Stage::Encode {
                black_box(&report);
                continue;
            }
            let full = self.traces.push(&report, self.clock);
            let full = full.or_else(|| if self.traces.len() < REQUEST { None } else { self.traces.finish() });
            if let Some(request) = full {
                self.items += u64::from(request.items);
                self.bytes += request.body.len() as u64;
            }
        }
        self.finished.clear();
    }

    fn report_changes(&mut self, last: Stage) {
        for change in self.changes.drain(..) {
            let Some(what) = self.processes.what(&change) else { continue };
            let (What::Exec { process } | What::Fork { process } | What::Exit { process, .. }) = what else {
                continue;
            };
            let report = Report { at_ns: change.at_ns, workload: self.cgroups.lookup(process.cgroup), what };
            if last < Stage::Encode {
                black_box(&report);
                continue;
            }
            let full = self.logs.push(&report, self.clock);
            let full = full.or_else(|| if self.logs.len() < REQUEST { None } else { self.logs.finish() });
            if let Some(request) = full {
                self.items += u64::from(request.items);
                self.bytes += request.body.len() as u64;
            }
        }
    }
}
