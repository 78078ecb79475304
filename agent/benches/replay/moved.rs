//! The frames of a capture in memory, moved from pass to pass: later, and of other processes and sockets.

use std::collections::HashMap;
use std::io::Read;
use std::mem::offset_of;

use tarsier::capture::{Frame, Reader, Time};
use tarsier_abi::exec::{ArgsRecord, ExecRecord};
use tarsier_abi::exit::ExitRecord;
use tarsier_abi::fork::ForkRecord;
use tarsier_abi::syscall::SyscallRecord;
use tarsier_abi::tcp::{CloseRecord, EstablishedRecord, Op, OpenRecord, OwnerRecord, Tuple};
use tarsier_abi::{Header, Sensor, TaskKey};

/// Pause between two passes, ns.
const PAUSE_NS: u64 = 1_000_000_000;

/// One frame of a cycle.
#[derive(Clone)]
enum Kept {
    Record(Vec<u8>),
    Begin(Time),
    End,
}

/// The frames that one pass feeds. Sweeps are left out: they speak of sockets that a moved flow table would
/// have to know. What was there before the capture comes with the first pass only.
#[derive(Clone)]
pub(crate) struct Passes {
    before: Vec<(u64, u64, Vec<u8>)>,
    frames: Vec<Kept>,
    span_ns: u64,
    records: u64,
    pass: u64,
    /// Records per (sensor, CPU): how far sequence numbers move.
    sequences: HashMap<(u8, u16), u32>,
}

impl Passes {
    pub(crate) fn read<R: Read>(reader: &mut Reader<R>) -> Self {
        let mut passes = Self {
            before: Vec::new(),
            frames: Vec::new(),
            span_ns: 0,
            records: 0,
            pass: 0,
            sequences: HashMap::new(),
        };
        let began = reader.about().began.boot_ns;
        while let Some(frame) = reader.next_frame().unwrap() {
            match frame {
                Frame::Cgroup { id, parent, path } => passes.before.push((id, parent, path.to_vec())),
                Frame::Record(record) => {
                    let sequence = passes.sequences.entry((record[0], cpu(record))).or_default();
                    // Numbered anew: those of the capture begin where its agent stood.
                    let mut record = record.to_vec();
                    put_u32(&mut record, offset_of!(Header, seq), *sequence);
                    *sequence += 1;
                    passes.records += 1;
                    passes.frames.push(Kept::Record(record));
                }
                Frame::Begin(time) => {
                    passes.span_ns = time.boot_ns - began;
                    passes.frames.push(Kept::Begin(time));
                }
                Frame::End => passes.frames.push(Kept::End),
                _ => {}
            }
        }
        passes
    }

    /// Records of one pass.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Moves everything to the next pass.
    pub(crate) fn advance(&mut self) {
        self.pass += 1;
        if self.pass == 1 {
            return;
        }
        let by_ns = self.span_ns + PAUSE_NS;
        for frame in &mut self.frames {
            match frame {
                Kept::Begin(time) => time.boot_ns += by_ns,
                Kept::End => {}
                Kept::Record(record) => {
                    let moved = self.sequences[&(record[0], cpu(record))];
                    let at = offset_of!(Header, seq);
                    let seq = get_u32(record, at).wrapping_add(moved);
                    put_u32(record, at, seq);
                    let at = offset_of!(Header, boot_ns);
                    let boot_ns = get_u64(record, at) + by_ns;
                    put_u64(record, at, boot_ns);
                    move_identities(record, by_ns);
                }
            }
        }
    }

    /// Hands out the frames of the present pass.
    pub(crate) fn each(&self, mut take: impl FnMut(&Frame<'_>)) {
        if self.pass == 1 {
            for (id, parent, path) in &self.before {
                take(&Frame::Cgroup { id: *id, parent: *parent, path });
            }
        }
        for frame in &self.frames {
            match frame {
                Kept::Record(record) => take(&Frame::Record(record)),
                Kept::Begin(time) => take(&Frame::Begin(*time)),
                Kept::End => take(&Frame::End),
            }
        }
    }
}

/// Other processes (by start time), other sockets (by address and sequence numbers).
fn move_identities(record: &mut [u8], by_ns: u64) {
    let (sensor, op) = (Sensor::try_from(record[0]).unwrap(), record[1]);
    let task_at: &[usize] = match sensor {
        Sensor::Exec if op == tarsier_abi::exec::Op::Args as u8 => &[offset_of!(ArgsRecord, task)],
        Sensor::Exec => &[offset_of!(ExecRecord, task), offset_of!(ExecRecord, parent)],
        Sensor::Fork => &[offset_of!(ForkRecord, child), offset_of!(ForkRecord, parent)],
        Sensor::Exit => &[offset_of!(ExitRecord, task), offset_of!(ExitRecord, parent)],
        Sensor::Cgroup => &[],
        Sensor::Syscall | Sensor::IoUring => &[offset_of!(SyscallRecord, task)],
        Sensor::Tcp => match Op::try_from(op).unwrap() {
            Op::Open | Op::Listen => &[offset_of!(OpenRecord, task)],
            Op::Close => &[offset_of!(CloseRecord, task)],
            Op::Owner | Op::Unlisten => &[offset_of!(OwnerRecord, task)],
            Op::Established | Op::Seed => &[],
        },
    };
    for at in task_at {
        let at = at + offset_of!(TaskKey, start_boottime);
        // No task stays none.
        let start = get_u64(record, at);
        if start != 0 {
            put_u64(record, at, start + by_ns);
        }
    }
    if sensor == Sensor::Tcp {
        let at = offset_of!(OwnerRecord, sock);
        let sock = get_u64(record, at).wrapping_add(1 << 20);
        put_u64(record, at, sock);
        if matches!(Op::try_from(op), Ok(Op::Established | Op::Close)) {
            let tuple = offset_of!(EstablishedRecord, tuple);
            for at in [tuple + offset_of!(Tuple, base), tuple + offset_of!(Tuple, isn_peer)] {
                let isn = get_u32(record, at).wrapping_add(0x0101_0101);
                put_u32(record, at, isn);
            }
        }
    }
}

const _: () = assert!(offset_of!(EstablishedRecord, tuple) == offset_of!(CloseRecord, tuple));

fn cpu(record: &[u8]) -> u16 {
    let at = offset_of!(Header, cpu);
    u16::from_ne_bytes(record[at..at + 2].try_into().unwrap())
}

fn get_u32(record: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(record[at..at + 4].try_into().unwrap())
}

fn put_u32(record: &mut [u8], at: usize, value: u32) {
    record[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

fn get_u64(record: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(record[at..at + 8].try_into().unwrap())
}

fn put_u64(record: &mut [u8], at: usize, value: u64) {
    record[at..at + 8].copy_from_slice(&value.to_ne_bytes());
}
