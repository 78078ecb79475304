//! What a node and its backends throw at the agent. After each fault *produced = exported + accounted* holds,
//! and the equations are in the log: see [`crate::harness::accounts`]. The table of all faults is in
//! `docs/architecture.md`.

mod clock;
mod exporter;
mod kills;
mod load;
mod memory;
mod races;
mod removed;
mod rings;
mod stdout;
mod strange;

use serde_json::Value;

use crate::harness::accounts::Done;
use crate::harness::cgroup::Cgroup;
use crate::harness::scene;
use crate::runner::{Context, Need, Test};

/// Every test of a fault.
pub fn tests() -> Vec<Test> {
    [
        rings::TESTS,
        exporter::TESTS,
        clock::TESTS,
        removed::TESTS,
        races::TESTS,
        load::TESTS,
        memory::TESTS,
        strange::TESTS,
        stdout::TESTS,
        kills::TESTS,
    ]
    .concat()
}

/// What every test here needs.
const SCENE: &[Need] = &[Need::Cgroup2];
/// The same, at full speed.
const FAST_SCENE: &[Need] = &[Need::Cgroup2, Need::Native];
/// The same, on one kernel: the fault is on the far side of a queue, which no kernel makes another one.
const SCENE_HERE: &[Need] = &[Need::Cgroup2, Need::OwnKernel];

/// Runs a workload of the test binary in the group, to its end; its lines.
fn workload(context: &Context, cgroup: &Cgroup, words: &[&str]) -> anyhow::Result<Vec<Value>> {
    scene::lines(scene::itest(&context.itest, cgroup.path(), &[&["workload"], words].concat())?)
}

/// `count` processes, one after the other, each running a program.
fn processes(context: &Context, cgroup: &Cgroup, count: usize) -> anyhow::Result<Done> {
    workload(context, cgroup, &["processes", "--count", &count.to_string(), "--marker", "fault"])?;
    Ok(Done::processes(count))
}

/// `count` connections over loopback, one after the other.
fn connections(context: &Context, cgroup: &Cgroup, count: usize) -> anyhow::Result<Done> {
    workload(context, cgroup, &["connections", "--count", &count.to_string()])?;
    Ok(Done::connections(count))
}
