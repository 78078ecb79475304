//! Containers that are gone before anybody looks.

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{RUNC, id, in_pod, names_container};
use crate::harness::names;
use crate::harness::runc::Runtime;
use crate::harness::scene::{ARRIVAL, Scene};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "containers/a_life_of_5_ms", needs: RUNC, run: five_milliseconds },
    Test { name: "containers/gone_before_the_agent_looked", needs: RUNC, run: gone },
];

/// Containers whose program sleeps 5 ms and ends; each is gone, cgroup and all, before the next begins.
fn five_milliseconds(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "short")?;
    let runtime = Runtime::new(context)?;
    let mut lives = Vec::new();
    for (id, pid) in lives_of(&scene, &runtime, context)? {
        let [born, gone] = [names::EXEC, names::EXIT].map(|event| told(&scene, event, pid, &id));
        lives.push(gone?.saturating_sub(born?));
    }
    lives.sort_unstable();
    let middle = lives[lives.len() / 2];
    // A machine under load may let any of them wait; usleep itself never returns early.
    ensure!(lives[0] >= 5_000_000, "usleep took {} ns", lives[0]);
    context.note("short_containers", json!({ "median_life_ns": middle }));
    super::balanced(&scene)
}

/// The same while the agent is stopped: when it reads the records, no container is there any more.
fn gone(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "gone")?;
    let runtime = Runtime::new(context)?;
    let agent = Pid::from_raw(i32::try_from(scene.agent.pid())?).context("the agent has a pid")?;
    kill_process(agent, Signal::STOP)?;
    let lives = lives_of(&scene, &runtime, context);
    kill_process(agent, Signal::CONT)?;
    for (id, pid) in lives? {
        for event in [names::FORK, names::EXEC, names::EXIT] {
            told(&scene, event, pid, &id)?;
        }
    }
    super::balanced(&scene)
}

/// Thirty containers, one after the other.
fn lives_of(scene: &Scene, runtime: &Runtime, context: &Context) -> anyhow::Result<Vec<(String, u32)>> {
    (0..context.many(30)).map(|number| live(scene, runtime, number)).collect()
}

/// A whole life of a container: its id and its only pid.
fn live(scene: &Scene, runtime: &Runtime, number: usize) -> anyhow::Result<(String, u32)> {
    let id = id(number);
    let group = scene.cgroup.path().join(in_pod(&id));
    let ran = runtime.container(&id, &group, &["usleep", "5000"])?.run()?;
    ensure!(ran.code == Some(0), "usleep ended with {:?}", ran.code);
    ensure!(!group.exists(), "{} is still there", group.display());
    Ok((id, ran.pid))
}

/// When the event happened, Unix ns, once it came with the container's name.
fn told(scene: &Scene, event: &str, pid: u32, id: &str) -> anyhow::Result<u64> {
    let log = scene.receiver.wait(event, ARRIVAL, |seen| seen.event(event, pid).cloned())?;
    names_container(log.resource(), id)?;
    Ok(log.item.time_unix_nano)
}
