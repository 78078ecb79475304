//! Every event and span names its container, however the runtime spells the cgroup.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use super::SCENE;
use crate::harness::agent::Agent;
use crate::harness::attributes::Attributes;
use crate::harness::cgroup::Cgroup;
use crate::harness::receiver::Receiver;
use crate::harness::scene::{self, ARRIVAL};
use crate::harness::{names, pair};
use crate::runner::{Context, Need, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "identity/container_made_before_the_agent", needs: SCENE, run: before },
    Test { name: "identity/container_made_after_the_agent", needs: SCENE, run: after },
    Test { name: "identity/container_in_a_v1_hierarchy", needs: &[Need::Guest], run: in_v1 },
];

const ID: &str = "4f1d8ac05b6e7923d1c0b2a3948576665f4e3d2c1b0a99887766554433221100";

/// The groups that kubelet, containerd, CRI-O, Docker and Podman make for container [`ID`].
fn spellings() -> Vec<String> {
    let pod = "7d1f0c52-3c4e-4f6a-9a53-0d9d0f0b1e2a";
    let slice = format!(
        "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
        pod.replace('-', "_")
    );
    vec![
        format!("kubepods/burstable/pod{pod}/{ID}"),
        format!("{slice}/cri-containerd-{ID}.scope"),
        format!("{slice}/crio-{ID}.scope"),
        format!("system.slice/docker-{ID}.scope"),
        format!("docker/{ID}"),
        format!("machine.slice/libpod-{ID}.scope"),
    ]
}

fn before(context: &Context) -> anyhow::Result<()> {
    let cgroup = Cgroup::new("identity")?;
    for path in spellings() {
        cgroup.below(&path)?;
    }
    told(context, &cgroup)
}

fn after(context: &Context) -> anyhow::Result<()> {
    told(context, &Cgroup::new("identity")?)
}

/// Starts the agent, then a process and a connection in each group.
fn told(context: &Context, cgroup: &Cgroup) -> anyhow::Result<()> {
    let receiver = Receiver::start()?;
    let _agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), "")?;
    for path in spellings() {
        let group = cgroup.below(&path)?;
        let lines = scene::lines(scene::itest(
            &context.itest,
            &group,
            &["workload", "connections", "--count", "1"],
        )?)?;
        let line = lines.first().context("the workload said nothing")?;
        let pid = pair::pid(line)?;
        for event in [names::EXEC, names::EXIT] {
            let log = receiver.wait(event, ARRIVAL, |seen| seen.event(event, pid).cloned())?;
            names_container(log.resource()).with_context(|| format!("{path}: resource of {event}"))?;
        }
        let (client, server) = receiver.wait("pair of spans", ARRIVAL, |seen| pair::find(seen, line))?;
        pair::prove(line, &client, &server)?;
        for span in [client, server] {
            names_container(span.resource()).with_context(|| format!("{path}: resource of a span"))?;
        }
    }
    Ok(())
}

/// Nodes with v1 controllers only: the task's group of one of them names the container, and a
/// connection is its process's.
fn in_v1(context: &Context) -> anyhow::Result<()> {
    let context = context.clone();
    // In a thread of its own, whose mounts are its own too, and those of what it starts.
    let test = std::thread::spawn(move || {
        mount_v1_only().context("cannot mount a v1 hierarchy")?;
        let receiver = Receiver::start()?;
        let _agent = Agent::start_unscoped(&context, &receiver.endpoint())?;
        let group = Path::new(V1).join("docker").join(ID);
        fs::create_dir_all(&group)?;
        let script = scene::itest(&context.itest, &group, &["workload", "connections", "--count", "1"])?;
        let lines = scene::lines(script)?;
        let line = lines.first().context("the workload said nothing")?;
        let pid = pair::pid(line)?;
        for event in [names::EXEC, names::EXIT] {
            let log = receiver.wait(event, ARRIVAL, |seen| seen.event(event, pid).cloned())?;
            names_container(log.resource()).with_context(|| format!("resource of {event}"))?;
        }
        let (client, server) = receiver.wait("pair of spans", ARRIVAL, |seen| pair::find(seen, line))?;
        names_container(client.resource()).context("resource of the client's span")?;
        names_container(server.resource()).context("resource of the server's span")
    });
    test.join().map_err(|_| anyhow::anyhow!("the test panicked"))?
}

/// A controller that v2 does not have, so that no group of an earlier test, dying or not, holds it there.
const V1: &str = "/sys/fs/cgroup/devices";

fn mount_v1_only() -> anyhow::Result<()> {
    // SAFETY: changes what this thread sees only; nothing here relies on shared file system state.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    rustix::mount::unmount("/sys/fs/cgroup", UnmountFlags::DETACH)?;
    rustix::mount::mount("tmpfs", "/sys/fs/cgroup", "tmpfs", MountFlags::empty(), None)?;
    fs::create_dir(V1)?;
    Ok(rustix::mount::mount("cgroup", V1, "cgroup", MountFlags::empty(), Some(c"devices"))?)
}

fn names_container(found: Attributes<'_>) -> anyhow::Result<()> {
    let id = found.text(names::CONTAINER_ID);
    ensure!(id == Some(ID), "{} is {id:?}", names::CONTAINER_ID);
    Ok(())
}
