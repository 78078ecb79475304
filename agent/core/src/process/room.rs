//! Room: how entries come, end, linger and go, so that the table stays bounded.
//!
//! An ended entry waits in a queue for its time. One with live children is then held for their sake
//! (a bounded part of the table may be) and gets one more wait when the last of them ends.

use std::collections::VecDeque;

use super::entries::{At, NOWHERE};
use super::image::Held;
use super::{Entry, ProcessTable};
use crate::event::TaskKey;

#[derive(Debug, Default)]
pub(super) struct Room {
    /// Ended entries and when they ended, the first to go in front. Each is in the table, not held.
    pub(super) ended: VecDeque<(u64, At)>,
    /// Entries that linger only for their children.
    pub(super) held: usize,
    /// All entries, held ones first and old ones before new: made when room must be found.
    by_age: Vec<(bool, u64, TaskKey, At)>,
    /// Most entries since [`ProcessTable::tidy`] last looked.
    most: usize,
}

/// Places that are never given back: some 200 kB.
const ROOM: usize = 1024;

/// One part in this many of the table may be held for children.
const HELD_PART: usize = 8;
/// One part in this many of the table is evicted at a time when nothing waits in the queue: finding
/// the oldest means looking at all.
const EVICTED_PART: usize = 64;

impl ProcessTable {
    /// Forgets what has ended long enough before `now_ns` (boot time). Applying a record does it too;
    /// an agent without records may want to.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some(&(ended_ns, at)) = self.room.ended.front() {
            if ended_ns.saturating_add(self.limits.linger_ns) > now_ns {
                break;
            }
            self.room.ended.pop_front();
            match self.entries.get_mut(at) {
                Some(entry) if entry.children > 0 && self.room.held < self.limits.processes / HELD_PART => {
                    entry.held = true;
                    self.room.held += 1;
                }
                _ => self.remove(at, now_ns),
            }
        }
    }

    /// Gives memory back if most of it was not needed since the last call: so a burst is paid for once, and a
    /// table that fills again and again keeps its room. To be called every few seconds, between records;
    /// whether it did.
    pub fn tidy(&mut self) -> bool {
        let needed = std::mem::replace(&mut self.room.most, self.entries.len());
        let wasteful = self.entries.places() > ROOM && needed < self.entries.places() / 4;
        if wasteful {
            self.compact();
        }
        wasteful
    }

    /// Forgets everything that has ended, and gives back all memory that is not needed, as of `at_ns` (boot
    /// time).
    pub fn shed(&mut self, at_ns: u64) {
        while let Some((_, at)) = self.room.ended.pop_front() {
            self.origins.lost(at_ns);
            self.counters.shed += 1;
            self.remove(at, at_ns);
        }
        self.compact();
    }

    pub(super) fn compact(&mut self) {
        let moves = self.entries.compact();
        for (_, at) in &mut self.room.ended {
            *at = moves.get(*at as usize).copied().unwrap_or(NOWHERE);
        }
        self.room.ended.shrink_to_fit();
        self.room.by_age = Vec::new();
        self.room.most = self.entries.len();
        self.images.shrink();
    }

    /// Adds an entry that is not there. The newest execution of its pid supersedes the one before; a
    /// late older one is history from the start.
    pub(super) fn insert(&mut self, mut entry: Entry, at_ns: u64) -> At {
        self.make_room(at_ns);
        self.trace(&mut entry);
        let (key, parent) = (entry.process.key, entry.process.parent);
        let (at, before) = self.entries.insert(entry);
        self.room.most = self.room.most.max(self.entries.len());
        self.count_in(at, &parent);
        if let Some(before) = before {
            if self.entries.newest(key.tgid) == Some(at) {
                let missed = self.entries.get(before).is_some_and(|before| {
                    before.process.key.start_boottime != key.start_boottime && before.ended_ns.is_none()
                });
                self.counters.missed_exits += u64::from(missed);
                self.end(before, at_ns);
            } else {
                self.end(at, at_ns);
            }
        }
        at
    }

    /// Ends an entry, once: it exited, or the next execution took over.
    pub(super) fn end(&mut self, at: At, at_ns: u64) {
        let Some(entry) = self.entries.get_mut(at).filter(|entry| entry.ended_ns.is_none()) else { return };
        entry.ended_ns = Some(at_ns);
        self.room.ended.push_back((at_ns, at));
        self.count_out(at, at_ns);
    }

    /// Corrects an entry's parent. A parent that is not known corrects nothing.
    pub(super) fn set_parent(&mut self, at: At, parent: TaskKey, at_ns: u64) {
        let Some(entry) = self.entries.get(at) else { return };
        if parent.is_none() || entry.process.parent == parent {
            return;
        }
        let live = entry.ended_ns.is_none();
        self.count_out(at, at_ns);
        if let Some(entry) = self.entries.get_mut(at) {
            entry.process.parent = parent;
        }
        if live {
            self.count_in(at, &parent);
        }
    }

    fn count_in(&mut self, at: At, parent: &TaskKey) {
        let Some(parent_at) = self.entries.find(parent) else { return };
        if let Some(parent) = self.entries.get_mut(parent_at) {
            parent.children += 1;
        }
        if let Some(entry) = self.entries.get_mut(at) {
            entry.parent = parent_at;
        }
    }

    /// Takes an entry from its parent's children; a parent held for it alone waits its last time.
    fn count_out(&mut self, at: At, at_ns: u64) {
        let Some(entry) = self.entries.get_mut(at) else { return };
        let parent_at = std::mem::replace(&mut entry.parent, NOWHERE);
        let parent = entry.process.parent;
        self.release_parent(parent_at, &parent, at_ns);
    }

    fn release_parent(&mut self, at: At, parent: &TaskKey, at_ns: u64) {
        // The parent may have been evicted, and another may be in its place.
        let Some(entry) = self.entries.get_mut_if(at, parent) else { return };
        // Or it may have come again, without its former children.
        entry.children = entry.children.saturating_sub(1);
        if entry.children == 0 && std::mem::take(&mut entry.held) {
            self.room.held -= 1;
            self.room.ended.push_back((at_ns, at));
        }
    }

    /// Takes out an entry that is not in the queue of ended ones (any more).
    fn remove(&mut self, at: At, at_ns: u64) {
        let Some(entry) = self.entries.remove(at) else { return };
        let Entry { process, image: number, parent, held, .. } = entry;
        self.room.held -= usize::from(held);
        self.counters.unreported += u64::from(self.waiting.forget(&process.key));
        self.origins.forget(&process);
        let parent_key = process.parent;
        self.images.release(Held { image: process.image, number });
        self.release_parent(parent, &parent_key, at_ns);
    }

    fn make_room(&mut self, at_ns: u64) {
        while self.entries.len() >= self.limits.processes
            || (self.images.bytes() > self.limits.image_bytes && self.entries.len() > 0)
        {
            self.origins.lost(at_ns);
            if let Some((_, at)) = self.room.ended.pop_front() {
                self.counters.evicted_ended += 1;
                self.remove(at, at_ns);
            } else {
                self.evict_oldest(at_ns);
            }
        }
    }

    /// Evicts the oldest few: those held for children first, then live ones.
    fn evict_oldest(&mut self, at_ns: u64) {
        let few = (self.limits.processes / EVICTED_PART).clamp(1, self.entries.len().max(1));
        let mut oldest = std::mem::take(&mut self.room.by_age);
        oldest.extend(
            self.entries.iter().map(|(at, entry)| {
                (entry.ended_ns.is_none(), entry.process.started_ns, entry.process.key, at)
            }),
        );
        if few < oldest.len() {
            oldest.select_nth_unstable(few);
            oldest.truncate(few);
        }
        for (live, _, key, at) in oldest.drain(..) {
            // Evicting a child may put its held parent back into the queue: that one is left there.
            let here = self.entries.get_mut_if(at, &key).is_some_and(|entry| live || entry.held);
            if !here {
                continue;
            }
            let counter =
                if live { &mut self.counters.evicted_live } else { &mut self.counters.evicted_ended };
            *counter += 1;
            self.remove(at, at_ns);
        }
        self.room.by_age = oldest;
    }
}
