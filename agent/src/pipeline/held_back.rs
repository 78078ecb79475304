//! Records that wait in a ring behind one that is still being written, and what must wait with them.

/// Longest that a record in the making keeps a drain cycle open: longer than a scheduler lets a task that may run
/// wait, as a rule, and short enough for all others to be reported.
const LONGEST_NS: u64 = 2_000_000_000;

/// Since when a ring has not been read to where it stood when its cycle began.
///
/// A record that is reserved and not submitted ends the reading of its ring. As a rule that is over in less than a
/// microsecond, but a machine that is itself run by another, and in Linux 7.2 a task that is preempted in the midst of a
/// program, take as long as others like. The end of a cycle says that everything older is in; connections that wait for
/// their last record are given up then. So a cycle in which that is not true does not end: it is
/// one with the next.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    since_ns: Option<u64>,
}

impl HeldBack {
    /// Whether the cycle may end at `now_ns` (boot time); `whole`: every ring was read to its limit.
    pub(super) fn may_end(&mut self, whole: bool, now_ns: u64) -> bool {
        if whole {
            self.since_ns = None;
            return true;
        }
        let since_ns = *self.since_ns.get_or_insert(now_ns);
        now_ns.saturating_sub(since_ns) >= LONGEST_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_waits_for_a_record_in_the_making_though_not_for_ever() {
        let mut held = HeldBack::default();
        assert!(held.may_end(true, 5));
        assert!(!held.may_end(false, 10));
        assert!(!held.may_end(false, 9 + LONGEST_NS));
        assert!(held.may_end(false, 10 + LONGEST_NS), "others have waited long enough");
        assert!(held.may_end(true, 20 + LONGEST_NS));
        assert!(!held.may_end(false, 30 + LONGEST_NS), "another one, from its own beginning");
    }
}
