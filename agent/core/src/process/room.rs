//! Room: how entries come, end, linger and go, so that the table stays bounded.
//!
//! An ended entry waits in a queue for its time. One with live children is then held for their sake
//! (a bounded part of the table may be) and gets one more wait when the last of them ends.

use std::collections::VecDeque;

use super::{Entry, ProcessTable};
use crate::event::TaskKey;

#[derive(Debug)]
pub(super) struct Room {
    /// Ended entries and when they ended, the first to go in front. Each is in the table, not held.
    pub(super) ended: VecDeque<(u64, TaskKey)>,
    /// Entries that linger only for their children.
    pub(super) held: usize,
}

/// One part in this many of the table may be held for children.
const HELD_PART: usize = 8;
/// One part in this many of the table is evicted at a time when nothing waits in the queue: finding
/// the oldest means looking at all.
const EVICTED_PART: usize = 64;

impl ProcessTable {
    /// Forgets what has ended long enough before `now_ns` (boot time). Applying a record does it too;
    /// an agent without records may want to.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some(&(ended_ns, key)) = self.room.ended.front() {
            if ended_ns.saturating_add(self.limits.linger_ns) > now_ns {
                break;
            }
            self.room.ended.pop_front();
            match self.entries.get_mut(&key) {
                Some(entry) if entry.children > 0 && self.room.held < self.limits.processes / HELD_PART => {
                    entry.held = true;
                    self.room.held += 1;
                }
                _ => self.remove(&key, now_ns),
            }
        }
    }

    /// Adds an entry that is not there. The newest execution of its pid supersedes the one before; a
    /// late older one is history from the start.
    pub(super) fn insert(&mut self, mut entry: Entry, at_ns: u64) {
        self.make_room(at_ns);
        self.trace(&mut entry);
        let (key, parent) = (entry.process.key, entry.process.parent);
        self.images.hold(&entry.process.image);
        self.entries.insert(key, entry);
        self.count_in(&key, &parent);
        match self.current.get(&key.tgid).copied() {
            Some(current) if (current.start_boottime, current.exec) > (key.start_boottime, key.exec) => {
                self.end(&key, at_ns);
            }
            before => {
                self.current.insert(key.tgid, key);
                if let Some(before) = before {
                    let missed = before.start_boottime != key.start_boottime && self.is_live(&before);
                    self.counters.missed_exits += u64::from(missed);
                    self.end(&before, at_ns);
                }
            }
        }
    }

    /// Ends an entry, once: it exited, or the next execution took over.
    pub(super) fn end(&mut self, key: &TaskKey, at_ns: u64) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.ended_ns.is_none()) else { return };
        entry.ended_ns = Some(at_ns);
        self.room.ended.push_back((at_ns, *key));
        self.count_out(key, at_ns);
    }

    /// Corrects an entry's parent. A parent that is not known corrects nothing.
    pub(super) fn set_parent(&mut self, key: &TaskKey, parent: TaskKey, at_ns: u64) {
        let Some(entry) = self.entries.get(key) else { return };
        if parent.is_none() || entry.process.parent == parent {
            return;
        }
        let live = entry.ended_ns.is_none();
        self.count_out(key, at_ns);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.process.parent = parent;
        }
        if live {
            self.count_in(key, &parent);
        }
    }

    fn is_live(&self, key: &TaskKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.ended_ns.is_none())
    }

    fn count_in(&mut self, key: &TaskKey, parent: &TaskKey) {
        let Some(entry) = self.entries.get_mut(parent) else { return };
        entry.children += 1;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.counted = true;
        }
    }

    /// Takes an entry from its parent's children; a parent held for it alone waits its last time.
    fn count_out(&mut self, key: &TaskKey, at_ns: u64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if std::mem::take(&mut entry.counted) {
            let parent = entry.process.parent;
            self.release_parent(&parent, at_ns);
        }
    }

    fn release_parent(&mut self, parent: &TaskKey, at_ns: u64) {
        let Some(entry) = self.entries.get_mut(parent) else { return };
        // The parent may have been evicted and come again, without its former children.
        entry.children = entry.children.saturating_sub(1);
        if entry.children == 0 && std::mem::take(&mut entry.held) {
            self.room.held -= 1;
            self.room.ended.push_back((at_ns, *parent));
        }
    }

    /// Takes out an entry that is not in the queue of ended ones (any more).
    fn remove(&mut self, key: &TaskKey, at_ns: u64) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.images.release(&entry.process.image);
        self.origins.forget(&entry.process);
        self.room.held -= usize::from(entry.held);
        if self.current.get(&key.tgid) == Some(key) {
            self.current.remove(&key.tgid);
        }
        if self.pending.remove(key).is_some() {
            self.counters.unreported += 1;
        }
        if entry.counted {
            self.release_parent(&entry.process.parent, at_ns);
        }
    }

    fn make_room(&mut self, at_ns: u64) {
        while self.entries.len() >= self.limits.processes
            || (self.images.bytes() > self.limits.image_bytes && !self.entries.is_empty())
        {
            self.origins.lost(at_ns);
            if let Some((_, key)) = self.room.ended.pop_front() {
                self.counters.evicted_ended += 1;
                self.remove(&key, at_ns);
            } else {
                self.evict_oldest(at_ns);
            }
        }
    }

    /// Evicts the oldest few: those held for children first, then live ones.
    fn evict_oldest(&mut self, at_ns: u64) {
        let few = (self.limits.processes / EVICTED_PART).clamp(1, self.entries.len().max(1));
        let age = |entry: &Entry| (entry.ended_ns.is_none(), entry.process.started_ns, entry.process.key);
        let mut oldest: Vec<_> = self.entries.values().map(age).collect();
        if few < oldest.len() {
            oldest.select_nth_unstable(few);
            oldest.truncate(few);
        }
        for (live, _, key) in oldest {
            // Evicting a child may put its held parent back into the queue: that one is left there.
            if !live && self.entries.get(&key).is_some_and(|entry| !entry.held) {
                continue;
            }
            let counter =
                if live { &mut self.counters.evicted_live } else { &mut self.counters.evicted_ended };
            *counter += 1;
            self.remove(&key, at_ns);
        }
    }
}
