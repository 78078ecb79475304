//! PID namespaces: their ids, and pids inside and outside.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, ensure};

use super::{RUNC, id, in_pod, names_container, sessions};
use crate::harness::names;
use crate::harness::runc::{PidNamespace, Runtime, Shape, kill};
use crate::harness::scene::{ARRIVAL, Scene};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] =
    &[Test { name: "containers/pid_namespaces_are_told_apart", needs: RUNC, run: told_apart }];

/// Two containers of one pod with PID namespaces of their own, one that shares the first one's, and one
/// that has the host's.
fn told_apart(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "pid-ns")?;
    let runtime = Runtime::new(context)?;
    let mut pids = Vec::new();
    for number in 0..4 {
        let pid = match (number, pids.first()) {
            (2, Some(first)) => PidNamespace::Of(*first),
            (3, _) => PidNamespace::Host,
            _ => PidNamespace::Own,
        };
        let id = id(number);
        let group = scene.cgroup.path().join(in_pod(&id));
        let shape = Shape { pid, ..Shape::default() };
        pids.push(runtime.shaped(shape, &id, &group, &["sleep", "1000"])?.start()?);
    }
    let mut seen = Vec::new();
    for (number, pid) in pids.into_iter().enumerate() {
        let exec = scene.receiver.wait("exec", ARRIVAL, |seen| seen.event(names::EXEC, pid).cloned())?;
        let found = exec.attributes();
        names_container(exec.resource(), &id(number))?;
        // The file's inode number is the namespace's.
        let namespace = fs::metadata(format!("/proc/{pid}/ns/pid"))?.ino();
        let told = found.int(names::PID_NAMESPACE);
        ensure!(told == i64::try_from(namespace).ok(), "namespace {namespace} is told as {told:?}");
        let vpid = found.int(names::VPID);
        ensure!(vpid == inside(pid)?, "{number}: the pid inside is {vpid:?}");
        // Where the namespace is not the container's own, nothing tells its program from a session.
        let origin = if number < 2 { "entry" } else { "unknown" };
        sessions::is_told(&scene.receiver, names::EXEC, pid, &id(number), origin)?;
        seen.push((pid, namespace, vpid));
    }
    let [own, other, shared, host] = seen.as_slice() else { unreachable!("four containers") };
    ensure!(own.2 == Some(1) && other.2 == Some(1), "the first process of a namespace has pid 1 in it");
    ensure!(shared.1 == own.1 && shared.2 != Some(1), "the third container shares: {seen:?}");
    ensure!(host.1 == fs::metadata("/proc/self/ns/pid")?.ino(), "the fourth has the host's: {seen:?}");
    let namespaces: BTreeSet<_> = seen.iter().map(|(_, namespace, _)| namespace).collect();
    ensure!(namespaces.len() == 3, "three namespaces: {seen:?}");
    seen.iter().rev().try_for_each(|(pid, ..)| kill(*pid))
}

/// The pid in the process's own namespace, `None` if it is the same there: the last of `NSpid` in its status.
fn inside(pid: u32) -> anyhow::Result<Option<i64>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).context("no NSpid")?;
    let inside: i64 = line.split_whitespace().last().context("an empty NSpid")?.parse()?;
    Ok((inside != i64::from(pid)).then_some(inside))
}
