//! What one record does to the table. Records may come late or twice: each rule says what an entry
//! that is already there keeps.

use tarsier_abi::exit::ExitRecord;
use tarsier_abi::fork::ForkRecord;

use super::entries::At;
use super::image::Held;
use super::{Change, ChangeKind, Entry, ProcessTable, Source};
use crate::event::exec::Exec;
use crate::event::{Origin, Process, TaskKey};

impl ProcessTable {
    pub(super) fn seed(&mut self, exec: &Exec<'_>, at_ns: u64) {
        let record = exec.record();
        let key = record.task;
        let known = self.entries.find(&key);
        if let Some(at) = known {
            if self.entries.get(at).is_some_and(|entry| entry.source == Source::Unknown) {
                let held = self.images.of_exec(exec);
                self.set_image(at, held, Source::Seed);
            }
            return;
        }
        let Held { image, number } = self.images.of_exec(exec);
        let process = Process {
            key,
            parent: self.earlier_parent(&key).unwrap_or(record.parent),
            cgroup: record.cgroup,
            started_ns: key.start_boottime,
            image,
            vpid: record.vpid,
            pid_ns: record.ns.pid,
            origin: Origin::Unknown,
            seeded: true,
        };
        self.insert(Entry::new(process, number, Source::Seed), at_ns);
    }

    pub(super) fn exec(&mut self, exec: &Exec<'_>, at_ns: u64, out: &mut Vec<Change>) {
        let record = exec.record();
        let key = record.task;
        if !self.waiting.is_empty()
            && let Some(earlier) = self.by_tgid(key.tgid).map(|process| process.key)
        {
            self.complete(&earlier, out);
        }
        let known = self.entries.find(&key);
        let source = known.and_then(|at| self.entries.get(at)).map(|entry| entry.source);
        if source == Some(Source::Exec) {
            self.counters.repeated_execs += 1;
            return;
        }
        let held = self.images.of_exec(exec);
        let parent = self.earlier_parent(&key).unwrap_or(record.parent);
        if let Some(at) = known {
            self.set_image(at, held, Source::Exec);
            self.set_parent(at, parent, at_ns);
            if let Some(Entry { process, .. }) = self.entries.get_mut(at) {
                (process.started_ns, process.vpid, process.seeded) = (at_ns, record.vpid, false);
            }
        } else {
            let Held { image, number } = held;
            let process = Process {
                key,
                parent,
                cgroup: record.cgroup,
                started_ns: at_ns,
                image,
                vpid: record.vpid,
                pid_ns: record.ns.pid,
                origin: Origin::Unknown,
                seeded: false,
            };
            self.insert(Entry::new(process, number, Source::Exec), at_ns);
        }
        self.begin_args(exec, at_ns, out);
    }

    pub(super) fn fork(&mut self, record: &ForkRecord, at_ns: u64, out: &mut Vec<Change>) {
        let key = record.child;
        // A parent that forks has started: no further arguments of its exec can come.
        self.complete(&record.parent, out);
        let known = self.entries.find(&key);
        if known.and_then(|at| self.entries.get(at)).is_some_and(|entry| entry.forked) {
            self.counters.repeated_forks += 1;
            return;
        }
        let parent = self.entries.find(&record.parent).and_then(|at| self.entries.get(at));
        let inherited = parent
            .filter(|parent| parent.source > Source::Unknown)
            .map(|parent| self.images.inherit(&parent.process.image, parent.image, record.pid_ns));
        if let Some(at) = known {
            self.forked_late(at, record, inherited, at_ns);
        } else {
            let source = if inherited.is_some() { Source::Inherited } else { Source::Unknown };
            self.counters.orphans += u64::from(inherited.is_none());
            let unknown = || self.images.share(&self.unknown.image, self.unknown.number);
            let Held { image, number } = inherited.unwrap_or_else(unknown);
            let process = Process {
                key,
                parent: record.parent,
                cgroup: record.cgroup,
                started_ns: key.start_boottime,
                image,
                vpid: record.vpid,
                pid_ns: record.pid_ns,
                origin: Origin::Unknown,
                seeded: false,
            };
            self.insert(Entry { forked: true, ..Entry::new(process, number, source) }, at_ns);
        }
        out.push(Change { at_ns, key, kind: ChangeKind::Fork });
    }

    /// The fork of a process that other records told of before.
    fn forked_late(&mut self, at: At, record: &ForkRecord, inherited: Option<Held>, at_ns: u64) {
        let Some(entry) = self.entries.get_mut(at) else { return };
        entry.forked = true;
        (entry.process.vpid, entry.process.seeded) = (record.vpid, false);
        match (entry.source, inherited) {
            (Source::Unknown, Some(held)) => self.set_image(at, held, Source::Inherited),
            (_, Some(held)) => self.images.release(held),
            (_, None) => {}
        }
        self.set_parent(at, record.parent, at_ns);
    }

    pub(super) fn exit(&mut self, record: &ExitRecord, at_ns: u64, out: &mut Vec<Change>) {
        let (key, status) = (record.task, record.status);
        self.complete(&key, out);
        let at = self.entries.find(&key).unwrap_or_else(|| self.exit_of_unknown(record, at_ns));
        let Some(entry) = self.entries.get_mut(at) else { return };
        if entry.status.is_some() {
            self.counters.repeated_exits += 1;
            return;
        }
        entry.status = Some(status);
        if record.cgroup != 0 {
            entry.process.cgroup = record.cgroup;
        }
        self.end(at, at_ns);
        out.push(Change { at_ns, key, kind: ChangeKind::Exit { status } });
    }

    /// A process of which the first thing heard is its end.
    fn exit_of_unknown(&mut self, record: &ExitRecord, at_ns: u64) -> At {
        self.counters.unknown_exits += 1;
        let key = record.task;
        let Held { image, number } = self.images.share(&self.unknown.image, self.unknown.number);
        let process = Process {
            key,
            parent: self.earlier_parent(&key).unwrap_or(record.parent),
            cgroup: record.cgroup,
            started_ns: key.start_boottime,
            image,
            vpid: 0,
            pid_ns: 0,
            origin: Origin::Unknown,
            seeded: false,
        };
        self.insert(Entry::new(process, number, Source::Unknown), at_ns)
    }

    /// The parent that an earlier execution of the same process has: an exec does not change it,
    /// while the kernel's `real_parent` does change when the parent dies.
    fn earlier_parent(&self, key: &TaskKey) -> Option<TaskKey> {
        let newest = self.by_tgid(key.tgid).filter(|process| {
            process.key.start_boottime == key.start_boottime && process.key.exec < key.exec
        });
        let before = TaskKey { exec: key.exec.wrapping_sub(1), ..*key };
        let earlier = newest.or_else(|| self.get(&before))?;
        Some(earlier.parent).filter(|parent| !parent.is_none())
    }

    fn set_image(&mut self, at: At, held: Held, source: Source) {
        if let Some(entry) = self.entries.get_mut(at) {
            let image = std::mem::replace(&mut entry.process.image, held.image);
            let number = std::mem::replace(&mut entry.image, held.number);
            entry.source = source;
            self.images.release(Held { image, number });
        }
    }
}
