//! What a container runs: paths as it sees them itself, and whether they came with its image.

use anyhow::{Context as _, ensure};

use super::{RUNC, id, in_pod, names_container};
use crate::harness::names;
use crate::harness::receiver::Receiver;
use crate::harness::rootfs::TOOL;
use crate::harness::runc::{ITEST, Runtime};
use crate::harness::scene::{ARRIVAL, Scene};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "containers/paths_are_the_containers_own", needs: RUNC, run: paths },
    Test { name: "containers/drift_is_told_from_the_image", needs: RUNC, run: drift },
];

/// A program of the image, one of a volume, one by a link: the path is that below the container's root.
fn paths(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "paths")?;
    let runtime = Runtime::new(context)?;
    let script = format!("{ITEST} child --exit 3 --marker volume; cd /opt; {TOOL} image; exit $?");
    let id = id(0);
    let container = runtime.container(&id, &scene.cgroup.path().join(in_pod(&id)), &["sh", "-c", &script])?;
    let ran = container.run()?;
    ensure!(ran.code == Some(0), "the script ended with {:?}", ran.code);
    let cases = [
        // The link that was called is in the arguments; what runs is what it points to.
        ("sh", "/bin/busybox", "/tmp"),
        (ITEST, ITEST, "/tmp"),
        (TOOL, TOOL, "/opt"),
    ];
    for (called, path, cwd) in cases {
        let log = exec_of(&scene.receiver, called)?;
        names_container(log.resource(), &id)?;
        let found = (log.attributes().text(names::EXE_PATH), log.attributes().text(names::CWD));
        ensure!(found == (Some(path), Some(cwd)), "{called}: {found:?}");
    }
    Ok(())
}

/// The upper-layer flag is set for what the container wrote or changed, and for nothing else.
fn drift(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "drift")?;
    let runtime = Runtime::new(context)?;
    let script = format!(
        "{TOOL} before; cp /bin/busybox /tmp/true && /tmp/true; chmod 700 {TOOL} && {TOOL} after; \
         {ITEST} child --exit 0; exit $?"
    );
    let id = id(0);
    let container = runtime.container(&id, &scene.cgroup.path().join(in_pod(&id)), &["sh", "-c", &script])?;
    ensure!(container.run()?.code == Some(0), "the script failed");
    let upper = Some(true);
    let of_tool = |argument: &'static str| {
        scene.receiver.wait("exec", ARRIVAL, |seen| {
            let is = |log: &&_| told_args(log).is_some_and(|args| args == [TOOL, argument]);
            seen.logs.iter().find(is).cloned()
        })
    };
    let cases = [
        ("a link into the image", exec_of(&scene.receiver, "sh")?, None),
        ("a file of the image", of_tool("before")?, None),
        ("a file written at run time", exec_of(&scene.receiver, "/tmp/true")?, upper),
        ("a file of the image, changed at run time", of_tool("after")?, upper),
        ("a file of a volume", exec_of(&scene.receiver, ITEST)?, None),
    ];
    for (what, log, wanted) in cases {
        let found = log.attributes().flag(names::EXE_UPPER_LAYER);
        ensure!(found == wanted, "{what}: {} is {found:?}", names::EXE_UPPER_LAYER);
    }
    Ok(())
}

type Log = crate::harness::seen::Item<opentelemetry_proto::tonic::logs::v1::LogRecord>;

fn told_args(log: &Log) -> Option<Vec<&str>> {
    (log.item.event_name == names::EXEC).then(|| log.attributes().texts(names::ARGS)).flatten()
}

/// The exec that was called as `program`: its first argument.
fn exec_of(receiver: &Receiver, program: &str) -> anyhow::Result<Log> {
    let find = |log: &&Log| told_args(log).is_some_and(|args| args.first() == Some(&program));
    receiver
        .wait("exec", ARRIVAL, |seen| seen.logs.iter().find(find).cloned())
        .with_context(|| program.to_owned())
}
