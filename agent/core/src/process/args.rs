//! Long arguments: an exec record carries their beginning, side records the rest. The report of the
//! exec waits for them; the process itself is in the table at once.

use std::sync::Arc;

use tarsier_abi::exec::{ARGS_CHUNK, ARGS_CHUNKS, ARGS_INLINE, flag};

use super::{Change, ChangeKind, ProcessTable, Source, image};
use crate::event::exec::{Args, Exec};
use crate::event::{Image, TaskKey};

/// Most argument bytes that records carry.
const CARRIED: usize = ARGS_INLINE + ARGS_CHUNK * ARGS_CHUNKS;
/// Most execs that wait at once: 8 MiB of arguments. More is a node in trouble: all are reported.
const PENDING: usize = 256;

/// An exec whose arguments are still coming.
#[derive(Debug)]
pub(super) struct Pending {
    /// What has come, without a hole.
    bytes: Vec<u8>,
    /// How many bytes records will carry in all.
    expected: usize,
    at_ns: u64,
    /// It has already seen the end of a drain cycle.
    waited: bool,
}

impl ProcessTable {
    /// Reports execs whose arguments have not become complete within a whole drain cycle (a side
    /// record was lost). To be called at the end of each: an exec read at the end of one cycle may
    /// find its side records at the start of the next.
    pub fn flush_pending(&mut self, out: &mut Vec<Change>) {
        self.flush(out, |pending| std::mem::replace(&mut pending.waited, true));
    }

    /// Reports every exec that waits; for the end of the run.
    pub fn flush_all(&mut self, out: &mut Vec<Change>) {
        self.flush(out, |_| true);
    }

    fn flush(&mut self, out: &mut Vec<Change>, mut due: impl FnMut(&mut Pending) -> bool) {
        if self.pending.is_empty() {
            return;
        }
        let mut keys: Vec<(u64, TaskKey)> = Vec::new();
        for (key, pending) in &mut self.pending {
            if due(pending) {
                keys.push((pending.at_ns, *key));
            }
        }
        keys.sort_unstable();
        for (_, key) in keys {
            self.complete(&key, out);
        }
    }

    /// Reports an exec now, or has it wait for the rest of its arguments.
    pub(super) fn begin_args(&mut self, exec: &Exec<'_>, at_ns: u64, out: &mut Vec<Change>) {
        let record = exec.record();
        let expected = usize::try_from(record.args_bytes).unwrap_or(usize::MAX).min(CARRIED);
        let more = exec.args.len() < expected && record.flags & flag::ARGS_UNREADABLE == 0;
        if !more {
            self.counters.cut_args += u64::from(image::is_cut(exec.args, record.args_bytes));
            out.push(Change { at_ns, key: record.task, kind: ChangeKind::Exec });
            return;
        }
        if self.pending.len() >= PENDING {
            self.flush_all(out);
        }
        let mut bytes = Vec::with_capacity(expected);
        bytes.extend_from_slice(exec.args);
        self.pending.insert(record.task, Pending { bytes, expected, at_ns, waited: false });
    }

    pub(super) fn args(&mut self, args: &Args<'_>, out: &mut Vec<Change>) {
        let Some(pending) = self.pending.get_mut(&args.task) else {
            self.counters.stray_args += 1;
            return;
        };
        let position = usize::try_from(args.position).unwrap_or(usize::MAX);
        if position == pending.bytes.len() {
            self.counters.joined_args += 1;
            let room = pending.expected - position;
            pending.bytes.extend_from_slice(&args.bytes[..args.bytes.len().min(room)]);
            if pending.bytes.len() >= pending.expected {
                self.complete(&args.task, out);
            }
            return;
        }
        self.counters.stray_args += 1;
        if position > pending.bytes.len() {
            // The part between was lost. What would follow cannot be told apart from what is missing.
            self.complete(&args.task, out);
        }
    }

    /// Ends the wait of `key`, if it waits: its image gets what has come, and it is reported.
    pub(super) fn complete(&mut self, key: &TaskKey, out: &mut Vec<Change>) {
        let Some(pending) = self.pending.remove(key) else { return };
        let Some(entry) = self.entries.get(key) else { return };
        let known = &entry.process.image;
        let args_truncated = image::is_cut(&pending.bytes, known.args_bytes);
        let image = Image { args: image::args_of(&pending.bytes), args_truncated, ..Image::clone(known) };
        self.counters.cut_args += u64::from(args_truncated);
        self.set_image(key, Arc::new(image), Source::Exec);
        out.push(Change { at_ns: pending.at_ns, key: *key, kind: ChangeKind::Exec });
    }
}
