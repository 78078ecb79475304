//! What the kernel's counters say of a connection, held against what both of its ends know.

mod endings;
mod fast_open;
mod handshakes;
mod lab;
mod lossy;
mod multipath;
mod steps;
mod sweep;
mod times;
mod trouble;
mod wired;

use crate::runner::{Need, Test};

/// Every test of a connection's numbers.
pub fn tests() -> Vec<Test> {
    [
        handshakes::TESTS,
        fast_open::TESTS,
        endings::TESTS,
        trouble::TESTS,
        lossy::TESTS,
        multipath::TESTS,
        sweep::TESTS,
        times::TESTS,
    ]
    .concat()
}

/// What every test here needs.
const SCENE: &[Need] = &[Need::Cgroup2];
