//! What the kernel's counters say of a connection, held against what both of its ends know.

mod sweep;

use crate::runner::{Need, Test};

/// Every test of a connection's numbers.
pub fn tests() -> Vec<Test> {
    [sweep::TESTS].concat()
}

/// What every test here needs.
const SCENE: &[Need] = &[Need::Cgroup2];
