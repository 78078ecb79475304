//! Exec sessions are told apart from what the container itself runs.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::{RUNC, id, in_pod, names_container};
use crate::harness::agent::Agent;
use crate::harness::cgroup::{self, Cgroup};
use crate::harness::receiver::Receiver;
use crate::harness::runc::{Runtime, kill};
use crate::harness::scene::{ARRIVAL, Scene, WORKLOAD};
use crate::harness::{exit, names};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "containers/exec_sessions_are_told_apart", needs: RUNC, run: told_apart },
    Test { name: "containers/exec_sessions_after_a_late_start", needs: RUNC, run: late },
];

/// What the container runs: a child, then the program that stays.
const ENTRY: [&str; 3] = ["sh", "-c", "/bin/true entry; exec sleep 1000"];
/// What `kubectl exec` runs.
const SESSION: [&str; 3] = ["sh", "-c", "/bin/true session; exit 0"];

fn told_apart(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "sessions")?;
    let runtime = Runtime::new(context)?;
    let id = id(0);
    let container = runtime.container(&id, &scene.cgroup.path().join(in_pod(&id)), &ENTRY)?;
    let entry = container.start()?;
    let session = container.exec(&SESSION)?;
    // runc has the scene's own group hand on its controllers, so processes must be below.
    let mut command = Command::new("true");
    cgroup::enter(&mut command, &scene.cgroup.below("plain")?)?;
    let mut child = command.spawn().context("cannot start a process outside")?;
    let outside = child.id();
    exit::wait(&mut child, WORKLOAD)?;
    let receiver = &scene.receiver;
    is_told(receiver, names::FORK, entry, &id, "entry")?;
    // runc moves a session into the group only after its fork.
    is_told(receiver, names::EXEC, session.pid, &id, "joined")?;
    is_told(receiver, names::EXIT, session.pid, &id, "joined")?;
    for (line, origin) in [("entry", "entry_descendant"), ("session", "joined_descendant")] {
        let pid = receiver.wait("exec in the line", ARRIVAL, |seen| {
            let is = |args: Option<Vec<&str>>| args.is_some_and(|args| args == ["/bin/true", line]);
            let log = seen.logs.iter().find(|log| is(log.attributes().texts(names::ARGS)))?;
            u32::try_from(log.attributes().int(names::PID)?).ok()
        })?;
        for event in [names::FORK, names::EXEC, names::EXIT] {
            is_told(receiver, event, pid, &id, origin).with_context(|| format!("child of the {line}"))?;
        }
    }
    kill(entry)?;
    is_told(receiver, names::EXIT, entry, &id, "entry")?;
    let log = receiver.wait("exec outside", ARRIVAL, |seen| seen.event(names::EXEC, outside).cloned())?;
    let found = log.attributes().text(names::ORIGIN);
    ensure!(found.is_none(), "outside of containers there is no {}: {found:?}", names::ORIGIN);
    super::balanced(&scene)
}

/// The container is there before the agent: its first process is known as such, and so are sessions.
fn late(context: &Context) -> anyhow::Result<()> {
    let cgroup = Cgroup::new("late")?;
    let runtime = Runtime::new(context)?;
    let id = id(0);
    let container = runtime.container(&id, &cgroup.path().join(in_pod(&id)), &ENTRY)?;
    let entry = container.start()?;
    let receiver = Receiver::start()?;
    let _agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), "")?;
    let session = container.exec(&SESSION)?;
    kill(entry)?;
    is_told(&receiver, names::EXEC, session.pid, &id, "joined")?;
    is_told(&receiver, names::EXIT, entry, &id, "entry")
}

/// An error unless the event comes, of the container and of that origin.
pub(super) fn is_told(
    receiver: &Receiver,
    event: &str,
    pid: u32,
    id: &str,
    origin: &str,
) -> anyhow::Result<()> {
    let log = receiver.wait(event, ARRIVAL, |seen| seen.event(event, pid).cloned())?;
    names_container(log.resource(), id)?;
    let found = log.attributes().text(names::ORIGIN);
    ensure!(found == Some(origin), "{event}: {} is {found:?}, not {origin}", names::ORIGIN);
    Ok(())
}
