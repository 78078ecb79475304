//! What a record names is gone when it is read: its cgroup, its network namespace.

use anyhow::{Context as _, ensure};

use super::{SCENE, connections, processes};
use crate::harness::accounts::{Account, Done};
use crate::harness::agent::Agent;
use crate::harness::cgroup::Cgroup;
use crate::harness::receiver::Receiver;
use crate::harness::scene::{self, ARRIVAL, Dialogue};
use crate::harness::{names, netns, pair};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "removed/cgroup_in_mid_record", needs: SCENE, run: cgroup_in_mid_record },
    Test { name: "removed/network_namespace_with_its_sockets", needs: SCENE, run: network_namespace },
];

/// Containers that come and go while the agent does not run: when it reads of them, they are gone.
fn cgroup_in_mid_record(context: &Context) -> anyhow::Result<()> {
    const CONTAINERS: usize = 10;
    let (cgroup, receiver) = (Cgroup::new("removed")?, Receiver::start()?);
    let agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), "")?;
    agent.pause()?;
    // The group that holds the containers is made now, too.
    let mut done = Done { cgroups: 1, ..Done::default() };
    let names: Vec<_> = (0..CONTAINERS).map(|index| format!("{index:0>64x}")).collect();
    for name in &names {
        let group = cgroup.below(&format!("docker/{name}"))?;
        let inside = |words: &[&str]| {
            let words = [&["workload"], words].concat();
            scene::lines(scene::itest(&context.itest, &group, &words)?).map(drop)
        };
        inside(&["processes", "--count", "5", "--marker", "removed"])?;
        inside(&["connections", "--count", "5"])?;
        done += Done::processes(5) + Done::connections(5) + Done { cgroups: 2, ..Done::default() };
        std::fs::remove_dir(&group).context("removing the group of a container")?;
    }
    agent.resume()?;
    Account::state(&agent, &receiver, done)?;
    receiver.look(|seen| {
        for name in &names {
            let of = |id: Option<&str>| id == Some(name);
            let logs = seen.logs.iter().filter(|log| of(log.resource().text(names::CONTAINER_ID))).count();
            let spans =
                seen.spans.iter().filter(|span| of(span.resource().text(names::CONTAINER_ID))).count();
            ensure!((logs, spans) == (3 * 5 + 4, 2 * 5), "{name} has {logs} logs and {spans} spans");
        }
        Ok(())
    })
}

/// The only process of a namespace is killed with its connection open, seen from the beginning or older
/// than the agent, which runs or is stopped meanwhile.
fn network_namespace(context: &Context) -> anyhow::Result<()> {
    for (older, stopped) in [(false, false), (false, true), (true, false), (true, true)] {
        let case = || format!("older than the agent: {older}, agent stopped: {stopped}");
        one_namespace(context, older, stopped).with_context(case)?;
    }
    Ok(())
}

fn one_namespace(context: &Context, older: bool, stopped: bool) -> anyhow::Result<()> {
    let (cgroup, receiver) = (Cgroup::new("removed")?, Receiver::start()?);
    let start = || Agent::start(context, cgroup.path(), &receiver.endpoint(), "");
    let hold = || {
        let mut held = Dialogue::start(scene::itest(&context.itest, cgroup.path(), &["workload", "hold"])?)?;
        held.hear()?;
        anyhow::Ok(held)
    };
    // The namespace is the process's alone once the thread that made it has ended.
    let in_namespace = || netns::within(hold);
    let (agent, mut held) = if older {
        let held = in_namespace()?;
        (start()?, held)
    } else {
        let agent = start()?;
        (agent, in_namespace()?)
    };
    let line = held.say("send 1000")?;
    let pid = held.pid();
    if stopped {
        agent.pause()?;
    }
    held.kill()?;
    // Others go on meanwhile.
    let mut done = processes(context, &cgroup, 5)? + connections(context, &cgroup, 5)?;
    if stopped {
        agent.resume()?;
    }
    let (client, server) = receiver.wait("both spans", ARRIVAL, |seen| pair::find(seen, &line))?;
    pair::prove(&line, &client, &server)?;
    done += Done { execs: u64::from(!older), exits: 1, sockets: 2, ..Done::default() };
    Account::state(&agent, &receiver, done)?;
    let exits = receiver.look(|seen| seen.logs.iter().filter(|log| log.is(names::EXIT, pid)).count());
    ensure!(exits == 1, "{exits} exits of the process of the namespace");
    Ok(())
}
