//! What the agent as a whole promises: everything once, nothing lost without a trace, a clean end.

mod exactly_once;
mod identity;
mod outage;
mod preexisting;
mod refusals;
mod shutdown;

use crate::runner::{Need, Test};

/// Every test of the whole way.
pub fn tests() -> Vec<Test> {
    [
        exactly_once::TESTS,
        preexisting::TESTS,
        shutdown::TESTS,
        outage::TESTS,
        identity::TESTS,
        refusals::TESTS,
    ]
    .concat()
}

/// What every test here needs.
const SCENE: &[Need] = &[Need::Cgroup2];
