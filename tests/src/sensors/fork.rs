//! Fork: processes that never exec, and threads that are none.

use anyhow::{Context as _, ensure};

use super::{SCENE, barrier, event_of};
use crate::harness::names;
use crate::harness::scene::Scene;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "fork/without_exec_has_parent_and_image", needs: SCENE, run: without_exec },
    Test { name: "fork/threads_are_not_processes", needs: SCENE, run: threads_are_not_processes },
];

fn without_exec(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "fork")?;
    let lines = scene.workload(&["fork"])?;
    let line = lines.first().context("the workload said nothing")?;
    let pid = u32::try_from(line["pid"].as_u64().context("a pid")?)?;
    let log = event_of(&scene, names::FORK, pid)?;
    let parent = log.attributes().int(names::PARENT_PID);
    ensure!(parent == line["parent"].as_i64(), "the parent is {parent:?}, not {}", line["parent"]);
    let path = log.attributes().text(names::EXE_PATH);
    ensure!(path == context.itest.to_str(), "a fork runs what its parent runs, and that is not {path:?}");
    let end = event_of(&scene, names::EXIT, pid)?;
    ensure!(end.attributes().int(names::EXIT_CODE) == Some(7), "{:?}", end.item.attributes);
    let execs = scene.receiver.look(|seen| seen.logs.iter().filter(|log| log.is(names::EXEC, pid)).count());
    ensure!(execs == 0, "an exec was told of a process that made none");
    Ok(())
}

fn threads_are_not_processes(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "fork")?;
    scene.workload(&["threads"])?;
    barrier(context, &scene)?;
    let (forks, exits) = scene.receiver.look(|seen| {
        let count = |event: &str| seen.logs.iter().filter(|log| log.item.event_name == event).count();
        (count(names::FORK), count(names::EXIT))
    });
    // The two processes were forked outside of the scope; both ended in it.
    ensure!(forks == 0, "{forks} forks were told of threads");
    ensure!(exits == 2, "{exits} exits were told of two processes with eleven threads");
    Ok(())
}
