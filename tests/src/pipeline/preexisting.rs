//! What was there before the agent: known, and counted from the agent's start only.

use std::process::Command;

use anyhow::ensure;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rustix::thread::CapabilitySet;

use super::SCENE;
use crate::harness::agent::{Agent, FLUSH_DEADLINE};
use crate::harness::cgroup::Cgroup;
use crate::harness::receiver::Receiver;
use crate::harness::scene::{self, ARRIVAL, Dialogue};
use crate::harness::{jail, names, netns, pair};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "preexisting/connection_counts_from_the_start", needs: SCENE, run: connection },
    Test { name: "preexisting/connection_in_another_network_namespace", needs: SCENE, run: elsewhere },
    Test {
        name: "preexisting/own_namespace_takes_no_sys_admin",
        needs: SCENE,
        run: connection_without_sys_admin,
    },
    Test { name: "preexisting/process_is_known_at_its_end", needs: SCENE, run: process },
    Test { name: "preexisting/identity_is_the_same_after_a_restart", needs: SCENE, run: same_identity },
];

fn connection(context: &Context) -> anyhow::Result<()> {
    counts_from_the_start(context, Dialogue::start, |_| {})
}

/// The iterator sees one namespace at a time: the agent enters each that a process in scope is in.
fn elsewhere(context: &Context) -> anyhow::Result<()> {
    counts_from_the_start(context, |command| netns::within(|| Dialogue::start(command)), |_| {})
}

/// It takes CAP_SYS_ADMIN to enter another network namespace, and nothing to be in one's own.
fn connection_without_sys_admin(context: &Context) -> anyhow::Result<()> {
    counts_from_the_start(context, Dialogue::start, |agent| jail::without(agent, &[CapabilitySet::SYS_ADMIN]))
}

fn counts_from_the_start(
    context: &Context,
    start: impl FnOnce(Command) -> anyhow::Result<Dialogue>,
    change: impl FnOnce(&mut Command),
) -> anyhow::Result<()> {
    let cgroup = Cgroup::new("before")?;
    let mut held = start(scene::itest(&context.itest, cgroup.path(), &["workload", "hold"])?)?;
    held.hear()?;
    held.say("send 100000")?;
    held.say("reply 5000")?;
    let receiver = Receiver::start()?;
    let _agent = Agent::start_as(context, cgroup.path(), &receiver.endpoint(), change)?;
    held.say("send 777")?;
    held.say("reply 333")?;
    let mut line = held.say("close")?;
    line["sent"] = 777.into();
    line["received"] = 333.into();
    let (client, server) =
        receiver.wait("both spans of the older connection", ARRIVAL, |seen| pair::find(seen, &line))?;
    ensure!(client.kind() == Some(SpanKind::Client) && server.kind() == Some(SpanKind::Server));
    for span in [&client, &server] {
        let observed = span.attributes().flag(names::START_OBSERVED);
        ensure!(observed == Some(true), "the start is told as if it had been seen: {observed:?}");
    }
    pair::prove(&line, &client, &server)
}

fn process(context: &Context) -> anyhow::Result<()> {
    let cgroup = Cgroup::new("before")?;
    let mut held = Dialogue::start(scene::itest(&context.itest, cgroup.path(), &["workload", "hold"])?)?;
    held.hear()?;
    let pid = held.pid();
    let receiver = Receiver::start()?;
    let _agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), "")?;
    held.say("close")?;
    let log = receiver.wait("exit", ARRIVAL, |seen| seen.event(names::EXIT, pid).cloned())?;
    let path = log.attributes().text(names::EXE_PATH);
    ensure!(path == context.itest.to_str(), "the executable is {path:?}");
    let parent = log.attributes().int(names::PARENT_PID);
    ensure!(parent == Some(i64::from(std::process::id())), "the parent is {parent:?}");
    let execs = receiver.look(|seen| seen.logs.iter().filter(|log| log.is(names::EXEC, pid)).count());
    ensure!(execs == 0, "an exec before the agent's start is told as if it happened now");
    Ok(())
}

/// One agent sees the process begin, the next one sees it end.
fn same_identity(context: &Context) -> anyhow::Result<()> {
    let cgroup = Cgroup::new("before")?;
    let receiver = Receiver::start()?;
    let first = Agent::start(context, cgroup.path(), &receiver.endpoint(), "")?;
    let mut held = Dialogue::start(scene::itest(&context.itest, cgroup.path(), &["workload", "hold"])?)?;
    held.hear()?;
    let pid = held.pid();
    let begun = receiver.wait("exec", ARRIVAL, |seen| seen.event(names::EXEC, pid).cloned())?;
    first.terminate(FLUSH_DEADLINE)?;
    let _second = Agent::start(context, cgroup.path(), &receiver.endpoint(), "")?;
    held.say("close")?;
    let ended = receiver.wait("exit", ARRIVAL, |seen| seen.event(names::EXIT, pid).cloned())?;
    let (before, after) = (begun.attributes().text(names::EXEC_ID), ended.attributes().text(names::EXEC_ID));
    ensure!(before.is_some() && before == after, "{before:?} became {after:?}");
    Ok(())
}
