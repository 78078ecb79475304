//! What the agent as a whole promises: everything once, nothing lost without a trace, a clean end.

mod alert_spans;
mod budget;
mod capture;
mod channels;
mod empty_root;
mod exactly_once;
mod floor;
mod hooks;
mod identity;
mod lockdown;
mod preexisting;
mod readings;
mod refusals;
mod reload;
mod replayed_alerts;
mod rule_fields;
mod shutdown;
mod surroundings;
mod top;

use crate::runner::{Need, Test};

/// Every test of the whole way.
pub fn tests() -> Vec<Test> {
    [
        exactly_once::TESTS,
        preexisting::TESTS,
        shutdown::TESTS,
        identity::TESTS,
        hooks::TESTS,
        floor::TESTS,
        refusals::TESTS,
        surroundings::TESTS,
        budget::TESTS,
        capture::TESTS,
        empty_root::TESTS,
        channels::TESTS,
        top::TESTS,
        rule_fields::TESTS,
        alert_spans::TESTS,
        reload::TESTS,
        replayed_alerts::TESTS,
        readings::TESTS,
        // The last one: it changes the kernel for good.
        lockdown::TESTS,
    ]
    .concat()
}

/// What every test here needs.
const SCENE: &[Need] = &[Need::Cgroup2];
/// The same, on one kernel: the test is about files, sockets or a terminal of the agent, which no kernel makes other
/// ones.
const SCENE_HERE: &[Need] = &[Need::Cgroup2, Need::OwnKernel];
/// The same, with containers.
const SCENE_OF_CONTAINERS: &[Need] =
    &[Need::Cgroup2, Need::Tool("runc"), Need::Tool("busybox"), Need::StaticAgent];
/// The same, with an agent that can be alone in a root directory.
const SCENE_OF_STATIC_AGENT: &[Need] = &[Need::Cgroup2, Need::StaticAgent];
