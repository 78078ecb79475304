//! Where entries are: in a slab, found by pid, and from the newest execution of a pid to the older ones.
//!
//! A record names its process by [`TaskKey`], and nearly always means the newest execution of that pid:
//! one look-up in a small map, one comparison. Entries refer to each other by their place ([`At`]); who
//! keeps a place for longer than a call compares the key before it believes it.

use std::collections::hash_map::Entry as Slot;

use rustc_hash::FxHashMap;

use super::Entry;
use crate::event::TaskKey;

/// Place of an entry in the slab.
pub(super) type At = u32;

/// No place.
pub(super) const NOWHERE: At = u32::MAX;

/// How many executions of one pid are looked at for one that is not the newest. A process can exec some ten
/// thousand times before the first of them is forgotten; whoever asks for such an old one gets the newest.
const LOOKED_AT: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Entries {
    slab: Vec<Option<Linked>>,
    free: Vec<At>,
    /// The newest execution of each thread group id, live or not.
    newest: FxHashMap<u32, At>,
}

/// An entry and its neighbours among the executions of its pid.
#[derive(Debug)]
struct Linked {
    entry: Entry,
    newer: At,
    older: At,
}

impl Entries {
    /// The execution with this identity.
    #[inline]
    pub(super) fn find(&self, key: &TaskKey) -> Option<At> {
        let mut at = self.newest(key.tgid)?;
        for _ in 0..LOOKED_AT {
            let linked = self.linked(at)?;
            if linked.entry.process.key == *key {
                return Some(at);
            }
            at = linked.older;
        }
        None
    }

    /// The newest execution of a pid.
    #[inline]
    pub(super) fn newest(&self, tgid: u32) -> Option<At> {
        self.newest.get(&tgid).copied()
    }

    #[inline]
    pub(super) fn get(&self, at: At) -> Option<&Entry> {
        self.linked(at).map(|linked| &linked.entry)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: At) -> Option<&mut Entry> {
        self.linked_mut(at).map(|linked| &mut linked.entry)
    }

    /// As [`Self::get_mut`], if it is that execution (still).
    #[inline]
    pub(super) fn get_mut_if(&mut self, at: At, key: &TaskKey) -> Option<&mut Entry> {
        self.get_mut(at).filter(|entry| entry.process.key == *key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (At, &Entry)> {
        (0..).zip(&self.slab).filter_map(|(at, linked)| Some((at, &linked.as_ref()?.entry)))
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len() - self.free.len()
    }

    /// Adds an entry that is not there; tells where, and the execution of the pid that was the newest.
    pub(super) fn insert(&mut self, entry: Entry) -> (At, Option<At>) {
        let key = entry.process.key;
        let linked = Linked { entry, newer: NOWHERE, older: NOWHERE };
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.slab.push(None);
                (self.slab.len() - 1) as At
            }
        };
        if let Some(place) = self.slab.get_mut(at as usize) {
            *place = Some(linked);
        }
        let newest = match self.newest.entry(key.tgid) {
            Slot::Vacant(slot) => {
                slot.insert(at);
                return (at, None);
            }
            Slot::Occupied(mut slot) => {
                let newest = *slot.get();
                let known = self.slab.get(newest as usize).and_then(Option::as_ref);
                if known.is_some_and(|known| age(&known.entry.process.key) <= age(&key)) {
                    slot.insert(at);
                    self.link(at, newest);
                    return (at, Some(newest));
                }
                newest
            }
        };
        // It came late: behind those that are newer.
        let mut newer = newest;
        for _ in 0..LOOKED_AT {
            let older = self.linked(newer).map_or(NOWHERE, |linked| linked.older);
            let known = self.linked(older).map(|linked| age(&linked.entry.process.key));
            if known.is_none_or(|known| known <= age(&key)) {
                break;
            }
            newer = older;
        }
        let older = self.linked(newer).map_or(NOWHERE, |linked| linked.older);
        self.link(at, older);
        self.link(newer, at);
        (at, Some(newest))
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, at: At) -> Option<Entry> {
        let Linked { entry, newer, older } = self.slab.get_mut(at as usize)?.take()?;
        self.free.push(at);
        if let Some(linked) = self.linked_mut(older) {
            linked.newer = newer;
        }
        if let Some(linked) = self.linked_mut(newer) {
            linked.older = older;
        } else if older == NOWHERE {
            self.newest.remove(&entry.process.key.tgid);
        } else {
            self.newest.insert(entry.process.key.tgid, older);
        }
        Some(entry)
    }

    /// Places ever made.
    pub(super) fn places(&self) -> usize {
        self.slab.len()
    }

    /// Gives the memory of empty places back. Entries move to the first ones; returns where each went, by its
    /// former place.
    pub(super) fn compact(&mut self) -> Vec<At> {
        let mut next = 0;
        let place = |linked: &Option<Linked>| {
            let place = if linked.is_some() { next } else { NOWHERE };
            next += u32::from(linked.is_some());
            place
        };
        let moves: Vec<At> = self.slab.iter().map(place).collect();
        let moved = |at: At| moves.get(at as usize).copied().unwrap_or(NOWHERE);
        self.slab.retain(Option::is_some);
        self.slab.shrink_to_fit();
        self.free = Vec::new();
        for Linked { entry, newer, older } in self.slab.iter_mut().flatten() {
            for at in [newer, older, &mut entry.parent] {
                *at = moved(*at);
            }
        }
        self.newest.values_mut().for_each(|at| *at = moved(*at));
        self.newest.shrink_to_fit();
        moves
    }

    /// Has `older` follow `newer`.
    fn link(&mut self, newer: At, older: At) {
        if let Some(linked) = self.linked_mut(newer) {
            linked.older = older;
        }
        if let Some(linked) = self.linked_mut(older) {
            linked.newer = newer;
        }
    }

    #[inline]
    fn linked(&self, at: At) -> Option<&Linked> {
        self.slab.get(at as usize)?.as_ref()
    }

    #[inline]
    fn linked_mut(&mut self, at: At) -> Option<&mut Linked> {
        self.slab.get_mut(at as usize)?.as_mut()
    }

    /// The pids and where their newest executions are, for checking them.
    #[cfg(test)]
    pub(super) fn pids(&self) -> impl Iterator<Item = (u32, At)> {
        self.newest.iter().map(|(tgid, at)| (*tgid, *at))
    }
}

/// Executions of one pid in their order.
fn age(key: &TaskKey) -> (u64, u32) {
    (key.start_boottime, key.exec)
}
