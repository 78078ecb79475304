//! Frames: everything that enters the pipeline, in the order in which it entered. The pipeline is a
//! function of its frames: it asks no clock and no kernel.

use serde::{Deserialize, Serialize};
use tarsier_abi::TaskKey;
use tarsier_abi::tcp::SweepSlot;
use zerocopy::{FromBytes, IntoBytes};

/// A moment: boot time, and what to add for Unix time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// `CLOCK_BOOTTIME`, ns.
    pub boot_ns: u64,
    /// Unix time less boot time, ns.
    pub unix_offset_ns: u64,
}

/// One thing that enters the pipeline.
#[derive(Clone, Debug)]
pub enum Frame<'a> {
    /// A cgroup that was there before the agent.
    Cgroup {
        /// Its id.
        id: u64,
        /// Its parent's; 0 at the root.
        parent: u64,
        /// From the hierarchy's root.
        path: &'a [u8],
    },
    /// A process that was there before the agent: an exec record (`Op::Seed`).
    Process(&'a [u8]),
    /// What `/proc` adds to it: its arguments, each ended by NUL.
    Arguments {
        /// Which process.
        task: TaskKey,
        /// All of them.
        bytes: &'a [u8],
    },
    /// A socket that was there before the agent.
    Socket {
        /// Who has it open; [`TaskKey::NONE`]: not known.
        owner: TaskKey,
        /// A tcp record (`Op::Seed`).
        record: &'a [u8],
    },
    /// A drain cycle begins.
    Begin(Time),
    /// A record of a ring.
    Record(&'a [u8]),
    /// The drain cycle ends: every record older than its beginning is in. Of a cycle in which that is not so, there
    /// is none: it is one with the next.
    End,
    /// What the sweep program said of a batch of live connections.
    Sweep {
        /// Boot time after it ran, ns.
        now_ns: u64,
        /// As it left them; none: the round ended.
        slots: &'a [SweepSlot],
    },
    /// Memory is short: the tables give up what they can.
    Shed {
        /// Boot time, ns.
        now_ns: u64,
    },
    /// What the runtime of a container says of it.
    Container {
        /// The container's whole id.
        id: &'a [u8],
        /// [`ContainerFacts`](tarsier_core::event::ContainerFacts) as JSON; empty: nothing was found.
        facts: &'a [u8],
    },
    /// Users and groups of a container, or of the host.
    Accounts {
        /// The container's whole id; empty: the host.
        id: &'a [u8],
        /// Lines of `passwd(5)`.
        passwd: &'a [u8],
        /// Lines of `group(5)`.
        group: &'a [u8],
    },
    /// They could not be read.
    NoAccounts {
        /// As above.
        id: &'a [u8],
    },
    /// Nothing more will come: what is on hold is reported.
    Finish(Time),
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a frame")]
pub struct NoFrame;

const CGROUP: u8 = 1;
const PROCESS: u8 = 2;
const ARGUMENTS: u8 = 3;
const SOCKET: u8 = 4;
const BEGIN: u8 = 5;
const RECORD: u8 = 6;
const END: u8 = 7;
const SWEEP: u8 = 8;
const FINISH: u8 = 9;
const SHED: u8 = 10;
const CONTAINER: u8 = 11;
const ACCOUNTS: u8 = 12;
const NO_ACCOUNTS: u8 = 13;

impl<'a> Frame<'a> {
    /// Appends the frame to `out`. Returns where its record, arguments or slots begin in `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) -> usize {
        let bytes: &[u8] = match self {
            Self::Cgroup { id, parent, path } => {
                out.push(CGROUP);
                number(out, *id);
                number(out, *parent);
                path
            }
            Self::Process(record) => {
                out.push(PROCESS);
                record
            }
            Self::Arguments { task, bytes } => {
                out.push(ARGUMENTS);
                out.extend_from_slice(task.as_bytes());
                bytes
            }
            Self::Socket { owner, record } => {
                out.push(SOCKET);
                out.extend_from_slice(owner.as_bytes());
                record
            }
            Self::Record(record) => {
                out.push(RECORD);
                record
            }
            Self::Sweep { now_ns, slots } => {
                out.push(SWEEP);
                number(out, *now_ns);
                slots.as_bytes()
            }
            Self::Container { id, facts } => {
                out.push(CONTAINER);
                with_length(out, id);
                facts
            }
            Self::Accounts { id, passwd, group } => {
                out.push(ACCOUNTS);
                with_length(out, id);
                with_length(out, passwd);
                group
            }
            Self::NoAccounts { id } => {
                out.push(NO_ACCOUNTS);
                id
            }
            Self::Begin(time) | Self::Finish(time) => {
                out.push(if matches!(self, Self::Begin(_)) { BEGIN } else { FINISH });
                number(out, time.boot_ns);
                number(out, time.unix_offset_ns);
                return out.len();
            }
            Self::Shed { now_ns } => {
                out.push(SHED);
                number(out, *now_ns);
                return out.len();
            }
            Self::End => {
                out.push(END);
                return out.len();
            }
        };
        with_length(out, bytes);
        out.len() - bytes.len()
    }

    /// The frame at the start of `bytes`, and what follows it. `slots` lends room for a sweep's.
    ///
    /// # Errors
    /// There is none: an unknown tag, or less than it says.
    pub fn read_from(bytes: &'a [u8], slots: &'a mut Vec<SweepSlot>) -> Result<(Self, &'a [u8]), NoFrame> {
        let mut rest = bytes;
        let [tag] = *take(&mut rest)?;
        let frame = match tag {
            CGROUP => {
                let (id, parent) = (long(&mut rest)?, long(&mut rest)?);
                Self::Cgroup { id, parent, path: sized(&mut rest)? }
            }
            PROCESS => Self::Process(sized(&mut rest)?),
            ARGUMENTS => Self::Arguments { task: key(&mut rest)?, bytes: sized(&mut rest)? },
            SOCKET => Self::Socket { owner: key(&mut rest)?, record: sized(&mut rest)? },
            BEGIN => Self::Begin(time(&mut rest)?),
            RECORD => Self::Record(sized(&mut rest)?),
            END => Self::End,
            SHED => Self::Shed { now_ns: long(&mut rest)? },
            SWEEP => {
                let now_ns = long(&mut rest)?;
                let bytes = sized(&mut rest)?;
                slots.clear();
                for slot in bytes.chunks(size_of::<SweepSlot>()) {
                    slots.push(SweepSlot::read_from_bytes(slot).map_err(|_| NoFrame)?);
                }
                Self::Sweep { now_ns, slots }
            }
            CONTAINER => Self::Container { id: sized(&mut rest)?, facts: sized(&mut rest)? },
            ACCOUNTS => {
                let (id, passwd, group) = (sized(&mut rest)?, sized(&mut rest)?, sized(&mut rest)?);
                Self::Accounts { id, passwd, group }
            }
            NO_ACCOUNTS => Self::NoAccounts { id: sized(&mut rest)? },
            FINISH => Self::Finish(time(&mut rest)?),
            _ => return Err(NoFrame),
        };
        Ok((frame, rest))
    }
}

fn with_length(out: &mut Vec<u8>, bytes: &[u8]) {
    // A frame is shorter than a block, which is shorter than 4 GiB.
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], NoFrame> {
    let (first, after) = rest.split_first_chunk().ok_or(NoFrame)?;
    *rest = after;
    Ok(first)
}

fn long(rest: &mut &[u8]) -> Result<u64, NoFrame> {
    take(rest).map(|bytes| u64::from_le_bytes(*bytes))
}

fn time(rest: &mut &[u8]) -> Result<Time, NoFrame> {
    Ok(Time { boot_ns: long(rest)?, unix_offset_ns: long(rest)? })
}

fn key(rest: &mut &[u8]) -> Result<TaskKey, NoFrame> {
    let bytes: &[u8; size_of::<TaskKey>()] = take(rest)?;
    TaskKey::read_from_bytes(bytes).map_err(|_| NoFrame)
}

fn sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], NoFrame> {
    let len = u32::from_le_bytes(*take(rest)?);
    let len = usize::try_from(len).map_err(|_| NoFrame)?;
    let (bytes, after) = rest.split_at_checked(len).ok_or(NoFrame)?;
    *rest = after;
    Ok(bytes)
}
