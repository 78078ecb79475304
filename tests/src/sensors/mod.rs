//! What each sensor must tell, one file per sensor of the same stem.

mod cgroup;
mod exec;
mod exit;
mod fork;
mod io_uring;
mod syscall;
mod tcp;

use std::process::Command;

use opentelemetry_proto::tonic::logs::v1::LogRecord;

use crate::harness::names;
use crate::harness::scene::{ARRIVAL, Scene};
use crate::harness::seen::Item;
use crate::runner::{Context, Need, Test};

/// Every test of a sensor.
pub fn tests() -> Vec<Test> {
    [exec::TESTS, fork::TESTS, exit::TESTS, cgroup::TESTS, tcp::TESTS, syscall::TESTS, io_uring::TESTS]
        .concat()
}

/// What every test here needs.
const SCENE: &[Need] = &[Need::Cgroup2];

/// Waits for the only `event` of process `pid`.
fn event_of(scene: &Scene, event: &str, pid: u32) -> anyhow::Result<Item<LogRecord>> {
    scene.receiver.wait(&format!("{event} of {pid}"), ARRIVAL, |seen| seen.event(event, pid).cloned())
}

/// `itest child ARGUMENTS…`, not in any group yet.
fn child(context: &Context, arguments: &[&str]) -> Command {
    let mut command = Command::new(&context.itest);
    command.arg("child").args(arguments);
    command
}

/// Runs one more process and waits until its end has arrived: process records are sent in order, so
/// whatever has not arrived by now will not.
fn barrier(context: &Context, scene: &Scene) -> anyhow::Result<()> {
    let (pid, _) = scene.run(child(context, &["--exit", "0", "--marker", "barrier"]))?;
    event_of(scene, names::EXIT, pid).map(drop)
}
