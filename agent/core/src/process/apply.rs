//! What one record does to the table. Records may come late or twice: each rule says what an entry
//! that is already there keeps.

use std::sync::Arc;

use tarsier_abi::exit::ExitRecord;
use tarsier_abi::fork::ForkRecord;

use super::{Change, ChangeKind, Entry, ProcessTable, Source, image};
use crate::event::exec::Exec;
use crate::event::{Image, Origin, Process, TaskKey};

impl ProcessTable {
    pub(super) fn seed(&mut self, exec: &Exec<'_>, at_ns: u64) {
        let record = exec.record();
        let key = record.task;
        let known = self.entries.get(&key).map(|entry| entry.source);
        if known.is_some_and(|source| source > Source::Unknown) {
            return;
        }
        let image = Arc::new(image::of_exec(exec, exec.args));
        if known.is_some() {
            self.set_image(&key, image, Source::Seed);
            return;
        }
        let parent = self.earlier_parent(&key).unwrap_or(record.parent);
        let process = Process {
            key,
            parent,
            cgroup: record.cgroup,
            started_ns: key.start_boottime,
            image,
            vpid: record.vpid,
            pid_ns: record.ns.pid,
            origin: Origin::Unknown,
            seeded: true,
        };
        self.insert(Entry::new(process, Source::Seed), at_ns);
    }

    pub(super) fn exec(&mut self, exec: &Exec<'_>, at_ns: u64, out: &mut Vec<Change>) {
        let record = exec.record();
        let key = record.task;
        if let Some(earlier) = self.current.get(&key.tgid).copied() {
            self.complete(&earlier, out);
        }
        let known = self.entries.get(&key).map(|entry| entry.source);
        if known == Some(Source::Exec) {
            self.counters.repeated_execs += 1;
            return;
        }
        let image = Arc::new(image::of_exec(exec, exec.args));
        let parent = self.earlier_parent(&key).unwrap_or(record.parent);
        if known.is_some() {
            self.set_image(&key, image, Source::Exec);
            self.set_parent(&key, parent, at_ns);
        } else {
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
            self.insert(Entry::new(process, Source::Exec), at_ns);
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            let process = &mut entry.process;
            (process.started_ns, process.vpid, process.seeded) = (at_ns, record.vpid, false);
        }
        self.begin_args(exec, at_ns, out);
    }

    pub(super) fn fork(&mut self, record: &ForkRecord, at_ns: u64, out: &mut Vec<Change>) {
        let key = record.child;
        // A parent that forks has started: no further arguments of its exec can come.
        self.complete(&record.parent, out);
        let inherited = self
            .entries
            .get(&record.parent)
            .filter(|parent| parent.source > Source::Unknown)
            .map(|parent| image::inherit(&parent.process.image, record.pid_ns));
        match self.entries.get_mut(&key) {
            Some(entry) if entry.forked => {
                self.counters.repeated_forks += 1;
                return;
            }
            Some(entry) => {
                entry.forked = true;
                (entry.process.vpid, entry.process.seeded) = (record.vpid, false);
                if let (Source::Unknown, Some(image)) = (entry.source, inherited) {
                    self.set_image(&key, image, Source::Inherited);
                }
                self.set_parent(&key, record.parent, at_ns);
            }
            None => {
                let source = if inherited.is_some() { Source::Inherited } else { Source::Unknown };
                self.counters.orphans += u64::from(inherited.is_none());
                let process = Process {
                    key,
                    parent: record.parent,
                    cgroup: record.cgroup,
                    started_ns: key.start_boottime,
                    image: inherited.unwrap_or_else(|| Arc::clone(&self.unknown)),
                    vpid: record.vpid,
                    pid_ns: record.pid_ns,
                    origin: Origin::Unknown,
                    seeded: false,
                };
                self.insert(Entry { forked: true, ..Entry::new(process, source) }, at_ns);
            }
        }
        out.push(Change { at_ns, key, kind: ChangeKind::Fork });
    }

    pub(super) fn exit(&mut self, record: &ExitRecord, at_ns: u64, out: &mut Vec<Change>) {
        let (key, status) = (record.task, record.status);
        self.complete(&key, out);
        if !self.entries.contains_key(&key) {
            self.counters.unknown_exits += 1;
            let process = Process {
                key,
                parent: self.earlier_parent(&key).unwrap_or(record.parent),
                cgroup: record.cgroup,
                started_ns: key.start_boottime,
                image: Arc::clone(&self.unknown),
                vpid: 0,
                pid_ns: 0,
                origin: Origin::Unknown,
                seeded: false,
            };
            self.insert(Entry::new(process, Source::Unknown), at_ns);
        }
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.status.is_some() {
            self.counters.repeated_exits += 1;
            return;
        }
        entry.status = Some(status);
        if record.cgroup != 0 {
            entry.process.cgroup = record.cgroup;
        }
        self.end(&key, at_ns);
        out.push(Change { at_ns, key, kind: ChangeKind::Exit { status } });
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

    pub(super) fn set_image(&mut self, key: &TaskKey, image: Arc<Image>, source: Source) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.images.hold(&image);
            self.images.release(&entry.process.image);
            (entry.process.image, entry.source) = (image, source);
        }
    }
}
