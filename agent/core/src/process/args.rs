//! Long arguments: an exec record carries their beginning, side records the rest. The report of the
//! exec waits for them; the process itself is in the table at once.

use rustc_hash::FxHashMap;
use tarsier_abi::exec::{ARGS_CHUNK, ARGS_CHUNKS, ARGS_INLINE, flag};

use super::{Change, ChangeKind, ProcessTable, image};
use crate::event::TaskKey;
use crate::event::exec::{Args, Exec};

/// Most argument bytes that records carry.
const CARRIED: usize = ARGS_INLINE + ARGS_CHUNK * ARGS_CHUNKS;
/// Most execs that wait at once: 8 MiB of arguments. More is a node in trouble: all are reported.
const MOST: usize = 256;

/// Execs whose arguments are still coming.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_key: FxHashMap<TaskKey, Wait>,
    /// Those that a flush reports, in their order.
    due: Vec<(u64, TaskKey)>,
}

/// What has come, without a hole, is in the process's image.
#[derive(Debug)]
struct Wait {
    /// How many bytes have come.
    come: usize,
    /// How many bytes records will carry in all.
    expected: usize,
    at_ns: u64,
    /// It has already seen the end of a drain cycle.
    waited: bool,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Gives up an exec; whether it waited.
    pub(super) fn forget(&mut self, key: &TaskKey) -> bool {
        !self.is_empty() && self.by_key.remove(key).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &TaskKey> {
        self.by_key.keys()
    }
}

impl ProcessTable {
    /// Reports execs whose arguments have not become complete within a whole drain cycle (a side
    /// record was lost). To be called at the end of each: an exec read at the end of one cycle may
    /// find its side records at the start of the next.
    pub fn flush_pending(&mut self, out: &mut Vec<Change>) {
        self.flush(out, |wait| std::mem::replace(&mut wait.waited, true));
    }

    /// Reports every exec that waits; for the end of the run.
    pub fn flush_all(&mut self, out: &mut Vec<Change>) {
        self.flush(out, |_| true);
    }

    fn flush(&mut self, out: &mut Vec<Change>, mut is_due: impl FnMut(&mut Wait) -> bool) {
        if self.waiting.is_empty() {
            return;
        }
        let mut due = std::mem::take(&mut self.waiting.due);
        due.extend(
            self.waiting
                .by_key
                .iter_mut()
                .filter_map(|(key, wait)| is_due(wait).then_some((wait.at_ns, *key))),
        );
        due.sort_unstable();
        for (_, key) in due.drain(..) {
            self.complete(&key, out);
        }
        self.waiting.due = due;
    }

    /// Reports an exec now, or has it wait for the rest of its arguments.
    pub(super) fn begin_args(&mut self, exec: &Exec<'_>, at_ns: u64, out: &mut Vec<Change>) {
        let record = exec.record();
        let expected = usize::try_from(record.args_bytes).unwrap_or(usize::MAX).min(CARRIED);
        let come = exec.args.len();
        let more = come < expected && record.flags & flag::ARGS_UNREADABLE == 0;
        if !more {
            self.counters.cut_args += u64::from(image::is_cut(come, record.args_bytes));
            out.push(Change { at_ns, key: record.task, kind: ChangeKind::Exec });
            return;
        }
        if self.waiting.by_key.len() >= MOST {
            self.flush_all(out);
        }
        self.waiting.by_key.insert(record.task, Wait { come, expected, at_ns, waited: false });
    }

    pub(super) fn args(&mut self, args: &Args<'_>, out: &mut Vec<Change>) {
        let Some(wait) = self.waiting.by_key.get_mut(&args.task) else {
            self.counters.stray_args += 1;
            return;
        };
        let position = usize::try_from(args.position).unwrap_or(usize::MAX);
        if position != wait.come {
            self.counters.stray_args += 1;
            if position > wait.come {
                // The part between was lost. What would follow cannot be told apart from what is missing.
                self.complete(&args.task, out);
            }
            return;
        }
        self.counters.joined_args += 1;
        let part = args.bytes.get(..wait.expected - wait.come).unwrap_or(args.bytes);
        wait.come += part.len();
        let (come, complete) = (wait.come, wait.come >= wait.expected);
        if let Some(entry) = self.entries.find(&args.task).and_then(|at| self.entries.get_mut(at)) {
            self.images.change(&mut entry.process.image, &mut entry.image, |image| {
                image.strings.push_args(part);
                image.args_truncated = image::is_cut(come, image.args_bytes);
            });
        }
        if complete {
            self.complete(&args.task, out);
        }
    }

    /// Ends the wait of `key`, if it waits: it is reported with what has come.
    pub(super) fn complete(&mut self, key: &TaskKey, out: &mut Vec<Change>) {
        if self.waiting.is_empty() {
            return;
        }
        let Some(wait) = self.waiting.by_key.remove(key) else { return };
        let Some(entry) = self.entry(key) else { return };
        self.counters.cut_args += u64::from(entry.process.image.args_truncated);
        out.push(Change { at_ns: wait.at_ns, key: *key, kind: ChangeKind::Exec });
    }
}
