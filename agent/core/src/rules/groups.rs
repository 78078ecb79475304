//! Alerts that say the same again: of a group one is told in each window, and with it how many were held back before.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// Windows of all groups.
#[derive(Clone, Debug)]
pub struct Groups<K> {
    window_ns: u64,
    most: usize,
    groups: FxHashMap<K, Group>,
}

/// A group that has told an alert.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// When it told one.
    told_ns: u64,
    /// How many it has held back since.
    held: u64,
}

impl<K: Hash + Eq> Groups<K> {
    /// Windows of `window_ns`, of `most` groups at once, four at least. Beyond, the quarter that has told nothing for
    /// longest is forgotten, and with it what it held back.
    pub fn new(window_ns: u64, most: usize) -> Self {
        Self { window_ns, most: most.max(4), groups: FxHashMap::default() }
    }

    /// Whether an alert of `now_ns` is held back, which is noted: its group has told one in this window. Of one that is
    /// not, [`Self::tell`] is to be told, unless it is held back for another reason.
    pub fn holds(&mut self, key: &K, now_ns: u64) -> bool {
        match self.groups.get_mut(key) {
            Some(group) if now_ns.saturating_sub(group.told_ns) < self.window_ns => {
                group.held += 1;
                true
            }
            _ => false,
        }
    }

    /// An alert is told at `now_ns`: how many of its group were held back since the one before.
    pub fn tell(&mut self, key: K, now_ns: u64) -> u64 {
        if self.groups.len() >= self.most && !self.groups.contains_key(&key) {
            self.forget_a_quarter();
        }
        let group = Group { told_ns: now_ns, held: 0 };
        self.groups.insert(key, group).map_or(0, |before| before.held)
    }

    fn forget_a_quarter(&mut self) {
        let mut times: Vec<u64> = self.groups.values().map(|group| group.told_ns).collect();
        let quarter = times.len() / 4;
        let (_, last, _) = times.select_nth_unstable(quarter);
        let last = *last;
        // Of those that told at the same moment all go, so that there is room in any case.
        self.groups.retain(|_, group| group.told_ns > last);
    }

    /// Groups that are known.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is told: the number held back, or nothing.
    fn ask(groups: &mut Groups<u8>, key: u8, now: u64) -> Option<u64> {
        (!groups.holds(&key, now)).then(|| groups.tell(key, now))
    }

    #[test]
    fn one_in_a_window_says_how_many_were_held_back() {
        let mut groups = Groups::new(10, 100);
        let told: Vec<_> = [0, 1, 9, 10, 11, 30, 31, 45].map(|now| ask(&mut groups, 1, now)).into();
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1), None, Some(1)]);
        assert_eq!(ask(&mut groups, 2, 45), Some(0), "another group");
    }

    #[test]
    fn what_is_not_told_for_another_reason_opens_no_window() {
        let mut groups = Groups::new(10, 100);
        assert!(!groups.holds(&1, 0));
        assert!(!groups.holds(&1, 1));
        assert_eq!(groups.tell(1, 1), 0);
        assert!(groups.holds(&1, 2));
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many() {
        let mut groups = Groups::new(1_000, 8);
        for key in 0..8_u8 {
            groups.tell(key, u64::from(key));
        }
        groups.tell(0, 100);
        groups.tell(8, 101);
        assert!(groups.len() <= 8);
        assert!(groups.holds(&0, 102) && groups.holds(&8, 102), "told last");
        assert!(!groups.holds(&1, 102), "told first");
        let mut same = Groups::new(1_000, 8);
        for key in 0..200 {
            same.tell(key, 5);
            assert!(same.len() <= 8);
        }
    }

    proptest! {
        /// As somebody who remembers everything that was told.
        #[test]
        fn as_by_memory(window in 0_u64..20, steps in prop::collection::vec((0_u8..4, 0_u64..8), 0..200)) {
            let mut groups = Groups::new(window, 100);
            let (mut past, mut now): (Vec<(u8, u64, bool)>, u64) = (Vec::new(), 0);
            for (key, step) in steps {
                now += step;
                let own = past.iter().filter(|(other, ..)| *other == key);
                let (mut last, mut held) = (None, 0);
                for (_, at, told) in own {
                    (last, held) = if *told { (Some(*at), 0) } else { (last, held + 1) };
                }
                let told = last.is_none_or(|last| last + window <= now);
                prop_assert_eq!(ask(&mut groups, key, now), told.then_some(held));
                past.push((key, now, told));
            }
        }
    }
}
