//! From a record's bytes to the verdict: what the pipeline does with a system call before anybody is told.

use std::hint::black_box;

use tarsier_abi::exec::ExecRecord;
use tarsier_abi::{Header, Sensor, Tail, TaskKey};
use tarsier_core::decode::Decoder;
use tarsier_core::enrich::{self, CgroupTable};
use tarsier_core::event::{Body, Event, Process};
use tarsier_core::process::{self, ProcessTable};
use tarsier_core::rules::compile::{Compiled, Scratch};
use tarsier_core::rules::facts::{Cache, Facts, Lineage, NoLookups, Reading, What};
use zerocopy::{FromZeros, IntoBytes};

use crate::opened::{OPENED, Row, record};

/// Processes of each program.
const PROCESSES: u32 = 250;
/// The cgroup of the first program; the others follow.
const CGROUP: u64 = 100;

/// Tables of a node with some thousand processes, and records of what they opened.
pub(crate) struct Way {
    decoder: Decoder,
    processes: ProcessTable,
    cgroups: CgroupTable,
    cache: Cache,
    records: Vec<Vec<u8>>,
}

struct Tables<'a>(&'a ProcessTable);

impl Lineage for Tables<'_> {
    fn parent(&self, process: &Process) -> Option<&Process> {
        self.0.resolve(&process.parent)
    }
}

impl Way {
    /// Records of the rows at these places, each of one of its program's processes.
    pub(crate) fn new(order: &[usize]) -> Self {
        let mut way = Self {
            decoder: Decoder::new(1),
            processes: ProcessTable::new(process::Limits::default()),
            cgroups: CgroupTable::new(enrich::Limits::default()),
            cache: Cache::default(),
            records: Vec::new(),
        };
        way.cgroups.insert(1, 0, b"/");
        let mut changes = Vec::new();
        for (place, row) in OPENED.iter().enumerate() {
            let id = format!("{place:x}").repeat(64);
            way.cgroups.insert(
                CGROUP + place as u64,
                1,
                format!("/kubepods.slice/cri-containerd-{id}.scope").as_bytes(),
            );
            for number in 0..PROCESSES {
                // Its ancestors first, each the parent of the one before.
                let ancestors = (0..row.2.len()).rev().filter(|level| !row.2[*level].is_empty());
                for level in ancestors.map(|level| level + 1).chain([0]) {
                    let bytes = exec(row, place, number, level as u32);
                    let event = way.decoder.decode(&bytes).expect("a record");
                    way.processes.apply(&event, &mut changes);
                }
            }
        }
        way.processes.flush_all(&mut changes);
        way.records = order
            .iter()
            .enumerate()
            .map(|(at, place)| {
                let (_, _, _, writes, file) = OPENED[*place];
                record(task(*place, (at as u32).wrapping_mul(7) % PROCESSES, 0), at as u32, writes, file)
            })
            .collect();
        way
    }

    /// Bytes of a record.
    pub(crate) fn bytes_per_record(&self) -> usize {
        self.records.iter().map(Vec::len).sum::<usize>() / self.records.len()
    }

    /// All records; returns how many rules matched, and of how many records the process was known.
    #[inline(never)]
    pub(crate) fn pass(&mut self, compiled: &Compiled, kind: usize, scratch: &mut Scratch) -> (u64, u64) {
        let Self { decoder, processes, cgroups, cache, records } = self;
        let (mut matches, mut known) = (0, 0);
        for bytes in records.iter() {
            let Ok(Event { header, body: Body::Syscall(call), .. }) = &decoder.decode(black_box(bytes))
            else {
                continue;
            };
            let process = processes.resolve(&call.task);
            known += u64::from(process.is_some());
            cache.clear();
            let facts = Facts {
                number: 1,
                boot_ns: header.boot_ns,
                unix_ns: 1_735_689_600_000_000_000 + header.boot_ns,
                first_unix_ns: 0,
                cpu: header.cpu,
                what: What::Syscall(call),
                process,
                lineage: &Tables(processes),
                workload: cgroups.lookup(process.map_or(0, |process| process.cgroup)),
                lookups: &NoLookups,
                reading: Reading::Written,
                host_name: "node-1",
                cache,
            };
            compiled.matches(kind, &facts, scratch, |_| {
                matches += 1;
                true
            });
        }
        (matches, known)
    }
}

fn task(place: usize, number: u32, level: u32) -> TaskKey {
    let tgid = 1 + level + 4 * (number + PROCESSES * place as u32);
    TaskKey { start_boottime: 1_000 + u64::from(tgid), tgid, exec: 1 }
}

/// The start of a row's program, or of an ancestor's.
fn exec(row: &Row, place: usize, number: u32, level: u32) -> Vec<u8> {
    let (name, path, parents, ..) = row;
    let (name, path) = match level {
        0 => (*name, (*path).to_owned()),
        _ => (parents[level as usize - 1], format!("/usr/bin/{}", parents[level as usize - 1])),
    };
    let components: String =
        path.rsplit('/').filter(|name| !name.is_empty()).flat_map(|name| [name, "\0"]).collect();
    let args = format!("{path}\0--config\0/etc/{name}.conf\0");
    let mut record = ExecRecord::new_zeroed();
    record.header = Header {
        sensor: Sensor::Exec as u8,
        op: 0,
        cpu: 0,
        seq: task(place, number, level).tgid,
        boot_ns: 2_000,
    };
    record.task = task(place, number, level);
    record.parent = task(place, number, level + 1);
    record.cgroup = CGROUP + place as u64;
    record.comm[..name.len()].copy_from_slice(name.as_bytes());
    record.args_bytes = args.len() as u32;
    let start = size_of::<ExecRecord>();
    record.exe = Tail { offset: start as u16, len: components.len() as u16 };
    record.args = Tail { offset: (start + components.len()) as u16, len: args.len() as u16 };
    [record.as_bytes(), components.as_bytes(), args.as_bytes()].concat()
}
