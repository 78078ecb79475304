//! Which life of a socket address a record belongs to.
//!
//! Lives of one address are disjoint in time. A record fits a life by its time, its peer and its
//! initial sequence numbers, as far as each is known.

use tarsier_abi::tcp::{Tuple, role, state};

use super::connection::{Connection, numbers};
use crate::event::tcp::Ends;

impl Connection {
    /// An open record is the first of its life.
    pub(super) fn takes_open(&self, at_ns: u64, ends: &Ends) -> bool {
        self.open_ns == 0
            && self.ends.is_some()
            && at_ns <= self.first_ns()
            && self.tuple.role != role::SERVER
            && self.is_between(ends)
    }

    /// An established record comes after the open record and before all others, the seed of a
    /// socket that was still connecting excepted.
    pub(super) fn takes_established(&self, at_ns: u64, tuple: &Tuple, ends: &Ends) -> bool {
        let before = |limit_ns: u64| limit_ns == 0 || at_ns <= limit_ns;
        let seed_allows =
            before(self.seed_ns) || matches!(self.seed_state, state::SYN_SENT | state::SYN_RECV);
        self.established_ns == 0
            && self.open_ns <= at_ns
            && (self.ends.is_some() || before(self.owner_ns))
            && before(self.close_ns)
            && at_ns < self.until_ns
            && seed_allows
            && !(self.close_ns != 0 && self.tuple.state == state::SYN_SENT)
            && self.has_numbers_of(tuple)
            && self.is_between(ends)
    }

    /// An owner record lies between what begins a life and its close. There is one at most: of two
    /// that fit, the first is this life's.
    pub(super) fn takes_owner(&self, at_ns: u64) -> bool {
        (self.owner_ns == 0 || (self.ends.is_some() && at_ns < self.owner_ns))
            && self.can_have_owner()
            && self.begun_ns() <= at_ns
            && (self.close_ns == 0 || at_ns <= self.close_ns)
            && at_ns < self.until_ns
    }

    /// Only an accepted socket that sends a FIN has an owner record.
    pub(super) fn can_have_owner(&self) -> bool {
        let failed = matches!(self.tuple.state, state::SYN_SENT | state::SYN_RECV);
        self.open_ns == 0 && self.tuple.role != role::CLIENT && !(self.close_ns != 0 && failed)
    }

    /// A close record is the last of its life, and its sequence numbers are the life's own.
    pub(super) fn takes_close(&self, at_ns: u64, tuple: &Tuple, ends: &Ends) -> bool {
        let owned_later = self.ends.is_none() && self.owner_ns > at_ns;
        let never_established = matches!(tuple.state, state::SYN_SENT | state::SYN_RECV);
        self.close_ns == 0
            && self.begun_ns() <= at_ns
            && !owned_later
            && at_ns < self.until_ns
            && !(never_established && self.established_ns != 0)
            && self.has_numbers_of(tuple)
            && self.is_between(ends)
    }

    /// Whether a seed of `at_ns` tells of this life.
    pub(super) fn spans_seed(&self, at_ns: u64, seed_state: u8, ends: &Ends) -> bool {
        let begun = !self.has_start()
            || self.first_ns() <= at_ns
            || matches!(seed_state, state::SYN_SENT | state::SYN_RECV);
        begun
            && (self.close_ns == 0 || at_ns <= self.close_ns)
            && at_ns < self.until_ns
            && self.is_between(ends)
    }

    /// The same sequence numbers, as far as both are known.
    fn has_numbers_of(&self, tuple: &Tuple) -> bool {
        self.numbers.zip(numbers(tuple)).is_none_or(|(own, told)| own == told)
    }

    /// The same peer, and the same local port: not chosen yet when connect begins.
    fn is_between(&self, ends: &Ends) -> bool {
        self.ends.is_none_or(|own| {
            let ports = (own.local.1, ends.local.1);
            own.peer == ends.peer && (ports.0 == ports.1 || ports.0 == 0 || ports.1 == 0)
        })
    }
}
