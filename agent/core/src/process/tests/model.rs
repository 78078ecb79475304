//! The naive model: the rules of the table over a sorted map that forgets nothing.

use std::collections::BTreeMap;

use super::super::{ChangeKind, Source};
use crate::event::TaskKey;

/// One record.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Fork { child: TaskKey, parent: TaskKey },
    Exec { task: TaskKey, parent: TaskKey, seed: bool },
    Exit { task: TaskKey, parent: TaskKey },
}

pub(super) fn exe_name(step: u64) -> String {
    format!("program{step}\0")
}

/// What the table should say of one execution.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Naive {
    pub(super) parent: TaskKey,
    pub(super) exe: String,
    pub(super) source: Source,
    pub(super) forked: bool,
    pub(super) seeded: bool,
    pub(super) started_ns: u64,
    pub(super) ended: bool,
    pub(super) status: Option<u32>,
}

/// The rules of the table, over a sorted map that forgets nothing.
#[derive(Default)]
pub(super) struct Model(pub(super) BTreeMap<TaskKey, Naive>);

impl Model {
    pub(super) fn newest(&self, tgid: u32) -> Option<TaskKey> {
        self.0.keys().filter(|key| key.tgid == tgid).max().copied()
    }

    fn chain_parent(&self, task: TaskKey, told: TaskKey) -> TaskKey {
        let newest = self.newest(task.tgid).unwrap_or_default();
        let newest_is_earlier = newest.start_boottime == task.start_boottime && newest.exec < task.exec;
        let before = TaskKey { exec: task.exec.wrapping_sub(1), ..task };
        let earlier = if newest_is_earlier { newest } else { before };
        let parent = self.0.get(&earlier).map_or(TaskKey::NONE, |entry| entry.parent);
        if parent.is_none() { told } else { parent }
    }

    fn add(&mut self, task: TaskKey, parent: TaskKey) -> &mut Naive {
        let newest = self.newest(task.tgid);
        if let Some(before) = newest.filter(|newest| *newest < task) {
            self.0.get_mut(&before).unwrap().ended = true;
        }
        self.0.entry(task).or_insert(Naive {
            parent,
            exe: String::new(),
            source: Source::Unknown,
            forked: false,
            seeded: false,
            started_ns: task.start_boottime,
            ended: newest.is_some_and(|newest| newest > task),
            status: None,
        })
    }

    pub(super) fn apply(&mut self, step: &Step, at_ns: u64) -> Option<(TaskKey, ChangeKind)> {
        match *step {
            Step::Fork { child, parent } => {
                let image = self.0.get(&parent).filter(|parent| parent.source != Source::Unknown);
                let image = image.map(|parent| parent.exe.clone());
                let entry = self.add(child, parent);
                if std::mem::replace(&mut entry.forked, true) {
                    return None;
                }
                entry.seeded = false;
                entry.parent = if parent.is_none() { entry.parent } else { parent };
                if let (Source::Unknown, Some(exe)) = (entry.source, image) {
                    (entry.exe, entry.source) = (exe, Source::Inherited);
                }
                Some((child, ChangeKind::Fork))
            }
            Step::Exec { task, parent, seed } => {
                let parent = self.chain_parent(task, parent);
                let known = self.0.contains_key(&task);
                let entry = self.add(task, parent);
                let source = if seed { Source::Seed } else { Source::Exec };
                if (seed && entry.source != Source::Unknown) || entry.source == Source::Exec {
                    return None;
                }
                entry.exe = format!("/{}", exe_name(at_ns).trim_end_matches('\0'));
                entry.source = source;
                if seed {
                    entry.seeded = !known;
                    return None;
                }
                entry.parent = if parent.is_none() { entry.parent } else { parent };
                (entry.started_ns, entry.seeded) = (at_ns, false);
                Some((task, ChangeKind::Exec))
            }
            Step::Exit { task, parent } => {
                let parent = self.chain_parent(task, parent);
                let entry = self.add(task, parent);
                if entry.status.is_some() {
                    return None;
                }
                let status = u32::try_from(at_ns).unwrap();
                (entry.status, entry.ended) = (Some(status), true);
                Some((task, ChangeKind::Exit { status }))
            }
        }
    }
}
