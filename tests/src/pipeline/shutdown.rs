//! The end: SIGTERM sends everything first, SIGKILL leaves nothing in the kernel.

use anyhow::ensure;

use super::{SCENE, SCENE_HERE};
use crate::harness::agent::{Agent, FLUSH_DEADLINE};
use crate::harness::cgroup::Cgroup;
use crate::harness::receiver::Receiver;
use crate::harness::scene::{self, ARRIVAL, Dialogue, Scene};
use crate::harness::{names, pair, programs};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "shutdown/sigterm_flushes_everything", needs: SCENE, run: sigterm_flushes },
    Test {
        name: "shutdown/sigterm_ends_with_the_endpoint_absent",
        needs: SCENE_HERE,
        run: sigterm_without_endpoint,
    },
    Test { name: "shutdown/sigkill_leaves_nothing_attached", needs: SCENE, run: sigkill_leaves_nothing },
    Test { name: "shutdown/restart_counts_nothing_twice", needs: SCENE, run: restart_counts_nothing_twice },
];

fn sigterm_flushes(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "end")?;
    let processes = scene.workload(&["processes", "--count", "200", "--marker", "flush"])?;
    let connections = scene.workload(&["connections", "--count", "300"])?;
    // At once: most of it is still in rings, tables and batches.
    let ended = scene.agent.terminate(FLUSH_DEADLINE)?;
    ensure!(ended.status.success(), "the agent ended with {}", ended.status);
    scene.receiver.look(|seen| {
        // Each script execs and exits in the scope too.
        let expected = 3 * processes.len() + 4;
        ensure!(seen.logs.len() == expected, "{} logs of {expected} arrived", seen.logs.len());
        ensure!(seen.spans.len() == 2 * connections.len(), "{} spans arrived", seen.spans.len());
        Ok(())
    })
}

fn sigterm_without_endpoint(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "end")?;
    let Scene { agent, receiver, cgroup, .. } = scene;
    drop(receiver);
    scene::lines(scene::itest(
        &context.itest,
        cgroup.path(),
        &["workload", "processes", "--count", "20", "--marker", "m"],
    )?)?;
    // What cannot be sent must not keep the agent from ending in time.
    let ended = agent.terminate(FLUSH_DEADLINE)?;
    ensure!(ended.status.code().is_some(), "the agent ended with {}", ended.status);
    Ok(())
}

fn sigkill_leaves_nothing(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "end")?;
    scene.workload(&["connections", "--count", "10"])?;
    let ids = programs::held_by(scene.agent.pid())?;
    ensure!(ids.len() >= 4, "the agent holds only programs {ids:?}: exec, fork, exit and tcp make four");
    for id in &ids {
        ensure!(programs::exists(*id)?, "program {id} is held and does not exist");
    }
    scene.agent.kill()?;
    programs::wait_gone(&ids, ARRIVAL)
}

fn restart_counts_nothing_twice(context: &Context) -> anyhow::Result<()> {
    let cgroup = Cgroup::new("end")?;
    let first = Receiver::start()?;
    let agent = Agent::start(context, cgroup.path(), &first.endpoint(), "")?;
    let mut held = Dialogue::start(scene::itest(&context.itest, cgroup.path(), &["workload", "hold"])?)?;
    held.hear()?;
    held.say("send 1000")?;
    let pid = held.pid();
    first.wait("exec", ARRIVAL, |seen| seen.event(names::EXEC, pid).map(drop))?;
    agent.kill()?;
    held.say("send 500")?;

    let second = Receiver::start()?;
    let _agent = Agent::start(context, cgroup.path(), &second.endpoint(), "")?;
    held.say("send 50")?;
    let mut line = held.say("close")?;
    line["sent"] = 50.into();
    let (client, server) = second.wait("both spans", ARRIVAL, |seen| pair::find(seen, &line))?;
    pair::prove(&line, &client, &server)?;
    second.wait("exit", ARRIVAL, |seen| seen.event(names::EXIT, pid).map(drop))?;
    second.look(|seen| {
        ensure!(!seen.logs.iter().any(|log| log.is(names::EXEC, pid)), "the exec is told a second time");
        ensure!(seen.spans.len() == 2, "{} spans for two sockets", seen.spans.len());
        Ok(())
    })
}
