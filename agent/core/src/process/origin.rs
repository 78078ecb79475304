//! How a process came into its container: see [`Origin`]. Decided once, when an execution is first heard
//! of, from its record and from what the table knows of its parent and of the namespace's first process.
//!
//! Nothing is guessed. A parent that the table does not hold is outside of the scope, and so of the
//! container, unless a record that could have told of it was lost.

use rustc_hash::FxHashMap;

use super::{Entry, ProcessTable};
use crate::event::{Origin, Process, TaskKey};

/// Inode number of the initial PID namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h; since 6.17
/// `PID_NS_INIT_INO` of uapi/linux/nsfs.h). No container has it to itself.
const INITIAL: u32 = 0xEFFF_FFFC;

/// What the table remembers for it.
#[derive(Debug, Default)]
pub(super) struct Origins {
    /// The process with pid 1 of each PID namespace but the initial one, as long as the table holds it.
    first: FxHashMap<u32, TaskKey>,
    /// Until when (boot ns) a process may have begun without the table holding it.
    lost_ns: u64,
}

impl Origins {
    /// A record was lost, or an entry dropped for room, at `at_ns`.
    pub(super) fn lost(&mut self, at_ns: u64) {
        self.lost_ns = self.lost_ns.max(at_ns);
    }

    /// An entry is forgotten.
    pub(super) fn forget(&mut self, process: &Process) {
        if process.vpid == 1 && self.first.get(&process.pid_ns) == Some(&process.key) {
            self.first.remove(&process.pid_ns);
        }
    }
}

impl ProcessTable {
    /// A record of a process's beginning was lost at `at_ns` (boot time) or before.
    pub fn lost(&mut self, at_ns: u64) {
        self.origins.lost(at_ns);
    }

    /// Decides the origin of an execution that is about to be held.
    pub(super) fn trace(&mut self, entry: &mut Entry) {
        let process = &entry.process;
        if process.vpid == 0 || matches!(process.pid_ns, 0 | INITIAL) {
            return;
        }
        // An exec changes nothing, unless a runtime moved the process into the container's group before.
        let earlier = self.resolve(&process.key).filter(|earlier| earlier.cgroup == process.cgroup);
        let origin = match earlier.map(|earlier| earlier.origin) {
            Some(origin) if origin != Origin::Unknown => origin,
            _ => self.traced(process, entry.forked),
        };
        if process.vpid == 1 {
            self.origins.first.insert(process.pid_ns, process.key);
        }
        entry.process.origin = origin;
    }

    fn traced(&self, process: &Process, forked: bool) -> Origin {
        let parent = match self.resolve(&process.parent) {
            Some(parent) => Parent::Known(parent.into()),
            None if process.parent.is_none() => Parent::Missing,
            None if process.parent.start_boottime <= self.origins.lost_ns => Parent::Missing,
            None => Parent::Outside,
        };
        let first = || Some(self.get(self.origins.first.get(&process.pid_ns)?)?.cgroup);
        of(process.into(), forked, parent, first)
    }
}

/// What is needed of a process.
#[derive(Clone, Copy, Debug)]
struct Place {
    vpid: u32,
    pid_ns: u32,
    cgroup: u64,
    origin: Origin,
}

impl From<&Process> for Place {
    fn from(process: &Process) -> Self {
        let &Process { vpid, pid_ns, cgroup, origin, .. } = process;
        Self { vpid, pid_ns, cgroup, origin }
    }
}

/// What is known of a parent.
#[derive(Clone, Copy, Debug)]
enum Parent {
    Known(Place),
    /// The table would hold it if it were in the scope.
    Outside,
    /// It may be anywhere.
    Missing,
}

/// The origin of a process `own`. `forked`: its fork was seen, so that the parent is the one that made it.
/// `first`: the cgroup of the first process of its PID namespace, if that is known.
fn of(own: Place, forked: bool, parent: Parent, first: impl Fn() -> Option<u64>) -> Origin {
    match parent {
        Parent::Missing => Origin::Unknown,
        // What loses its parent gets the namespace's first process instead (find_new_reaper, kernel/exit.c).
        // A subreaper is an ancestor, and says as much as the parent did.
        Parent::Known(parent) if parent.pid_ns == own.pid_ns && parent.vpid == 1 && !forked => {
            Origin::Unknown
        }
        Parent::Known(parent) if parent.pid_ns == own.pid_ns => parent.origin.descendant(),
        // A namespace inside the container: made by a process of the container's own group.
        Parent::Known(parent) if own.vpid == 1 && parent.cgroup == own.cgroup => parent.origin.descendant(),
        Parent::Known(_) | Parent::Outside if own.vpid == 1 => Origin::Entry,
        // The first process of the namespace may be another container's: then this one is either the entry
        // of its own or an exec session, and nothing tells which.
        Parent::Known(_) | Parent::Outside if first() == Some(own.cgroup) => Origin::Joined,
        Parent::Known(_) | Parent::Outside => Origin::Unknown,
    }
}

#[cfg(test)]
mod tests;
