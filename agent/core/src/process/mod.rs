//! The process table: every execution that records told of, from its beginning until a while after
//! its end, so that a socket closed late still finds its owner's name.
//!
//! An entry is one execution ([`TaskKey`]): a fork begins one that shares its parent's image, an exec
//! begins the next one of the same process and ends the one before. Records may come late, twice or
//! never; what was lost is counted and never guessed. Time is the records' own.
//!
//! `apply.rs` holds what each record does, `room.rs` what bounds the table, `args.rs` puts long
//! arguments together, `origin.rs` tells exec sessions from a container's own program, `entries.rs` and
//! `image.rs` are where entries and images are kept.

mod apply;
mod args;
mod entries;
mod image;
mod origin;
mod room;

use crate::event::{Body, Event, Process, TaskKey, What, exec};

use args::Waiting;
use entries::{At, Entries};
use image::{Held, Images};
use origin::Origins;
use room::Room;

/// What bounds the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most executions held, live and ended; at least 1.
    pub processes: usize,
    /// Most heap bytes of all images together, about. It is exceeded by at most one image.
    pub image_bytes: usize,
    /// How long an ended execution is held, ns of boot time.
    pub linger_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { processes: 65_536, image_bytes: 24 << 20, linger_ns: 30_000_000_000 }
    }
}

/// Something to report. Read it (see [`ProcessTable::what`]) before the next record is applied: the
/// table only keeps so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When it happened, boot ns.
    pub at_ns: u64,
    /// Whose it is.
    pub key: TaskKey,
    /// What happened.
    pub kind: ChangeKind,
}

/// The kinds of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A program started and its arguments are complete, or will not get more so.
    Exec,
    /// A process was created.
    Fork,
    /// A process ended.
    Exit {
        /// As `wait(2)` gives it.
        status: u32,
    },
}

/// What the table had to put up with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Forks whose parent's image is not known: the child's is empty.
    pub orphans: u64,
    /// Fork records of a process that had one.
    pub repeated_forks: u64,
    /// Exec records of an execution that had one.
    pub repeated_execs: u64,
    /// Exit records of a process that had one (two threads that ended at once).
    pub repeated_exits: u64,
    /// Exits of processes that no record had told of.
    pub unknown_exits: u64,
    /// Processes whose pid was taken by another before their exit was seen.
    pub missed_exits: u64,
    /// Argument records that joined the exec they belong to.
    pub joined_args: u64,
    /// Argument records that fit nowhere: one before them, or their exec, was lost.
    pub stray_args: u64,
    /// Executions reported with fewer argument bytes than there were.
    pub cut_args: u64,
    /// Ended executions dropped early for room.
    pub evicted_ended: u64,
    /// Live executions dropped for room.
    pub evicted_live: u64,
    /// Ended executions dropped because memory was short.
    pub shed: u64,
    /// Executions dropped for room before they were reported.
    pub unreported: u64,
}

/// The table. Not shared: one loop owns it.
#[derive(Debug)]
pub struct ProcessTable {
    limits: Limits,
    entries: Entries,
    room: Room,
    images: Images,
    origins: Origins,
    waiting: Waiting,
    /// The image of processes of which nothing is known.
    unknown: Held,
    counters: Counters,
}

#[derive(Debug)]
struct Entry {
    process: Process,
    /// Of its image: see [`Held`].
    image: u32,
    source: Source,
    /// A fork record told of it.
    forked: bool,
    /// When it exited or the next execution took over.
    ended_ns: Option<u64>,
    /// The exit status, once it has exited.
    status: Option<u32>,
    /// Live entries counted as its children.
    children: u32,
    /// Where its parent is, if it is counted in that one's `children`.
    parent: At,
    /// It has ended and lingers only for its children.
    held: bool,
}

/// Where an entry's image comes from; a better source replaces a worse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Unknown,
    Inherited,
    Seed,
    Exec,
}

impl ProcessTable {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        let mut images = Images::default();
        Self {
            limits: Limits { processes: limits.processes.max(1), ..limits },
            entries: Entries::default(),
            room: Room::default(),
            unknown: images.unknown(),
            images,
            origins: Origins::default(),
            waiting: Waiting::default(),
            counters: Counters::default(),
        }
    }

    /// Applies one event; what is to be reported is appended to `out`, in order. Events of other
    /// sensors are not its business. Seeds report nothing.
    pub fn apply(&mut self, event: &Event<'_>, out: &mut Vec<Change>) {
        let at_ns = event.header.boot_ns;
        match &event.body {
            Body::Exec(exec::Event::Exec(exec)) if exec.seed => self.seed(exec, at_ns),
            Body::Exec(exec::Event::Exec(exec)) => self.exec(exec, at_ns, out),
            Body::Exec(exec::Event::Args(args)) => self.args(args, out),
            Body::Fork(fork) => self.fork(fork, at_ns, out),
            Body::Exit(exit) => self.exit(exit, at_ns, out),
            _ => return,
        }
        self.expire(at_ns);
    }

    /// The execution with this identity, live or lingering.
    pub fn get(&self, key: &TaskKey) -> Option<&Process> {
        self.entry(key).map(|entry| &entry.process)
    }

    /// The newest execution of this thread group id, live or lingering.
    pub fn by_tgid(&self, tgid: u32) -> Option<&Process> {
        self.entries.get(self.entries.newest(tgid)?).map(|entry| &entry.process)
    }

    /// The execution `key`, else the newest one of the same process.
    pub fn resolve(&self, key: &TaskKey) -> Option<&Process> {
        let same = |process: &&Process| process.key.start_boottime == key.start_boottime;
        self.get(key).or_else(|| self.by_tgid(key.tgid).filter(same))
    }

    /// Parent, grandparent and so on, as far as they are known.
    pub fn ancestors(&self, key: &TaskKey) -> impl Iterator<Item = &Process> {
        // Identities are the kernel's claim: a depth bounds what a circle of them could do.
        const DEPTH: usize = 128;
        let parent = |process: &Process| self.resolve(&process.parent);
        std::iter::successors(self.get(key).and_then(parent), move |process| parent(process)).take(DEPTH)
    }

    /// The subject of a change as exporters take it; `None` if it has been evicted since.
    pub fn what(&self, change: &Change) -> Option<What<'_>> {
        let process = self.get(&change.key)?;
        Some(match change.kind {
            ChangeKind::Exec => What::Exec { process },
            ChangeKind::Fork => What::Fork { process },
            ChangeKind::Exit { status } => What::Exit { process, status },
        })
    }

    /// When the execution exited or was taken over by the next one, boot ns; `None` while it lives.
    pub fn ended_ns(&self, key: &TaskKey) -> Option<u64> {
        self.entry(key)?.ended_ns
    }

    /// Every live process, in no order.
    pub fn live(&self) -> impl Iterator<Item = &Process> {
        let live = self.entries.iter().filter(|(_, entry)| entry.ended_ns.is_none());
        live.map(|(_, entry)| &entry.process)
    }

    /// Executions held, live and ended.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Execs that wait for the rest of their arguments, to be reported.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What has been counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Gives a seeded process its arguments, each ended by NUL (from `/proc/PID/cmdline`). To be called after
    /// seeding and before the rings are drained, so that children share them. False if it is not a seeded
    /// one.
    pub fn set_args(&mut self, key: &TaskKey, args: &[u8]) -> bool {
        let Some(at) = self.entries.find(key) else { return false };
        let Some(entry) = self.entries.get_mut(at).filter(|entry| entry.source == Source::Seed) else {
            return false;
        };
        self.images.change(&mut entry.process.image, &mut entry.image, |image| {
            image.strings.set_args(args);
            image.args_bytes = u32::try_from(args.len()).unwrap_or(u32::MAX);
            image.args_truncated = false;
        });
        true
    }

    fn entry(&self, key: &TaskKey) -> Option<&Entry> {
        self.entries.get(self.entries.find(key)?)
    }
}

impl Entry {
    fn new(process: Process, image: u32, source: Source) -> Self {
        Self {
            process,
            image,
            source,
            forked: false,
            ended_ns: None,
            status: None,
            children: 0,
            parent: entries::NOWHERE,
            held: false,
        }
    }
}

#[cfg(test)]
mod tests;
