//! However kubelet and runtime spell a container's cgroup, its logs and spans name container, pod and
//! runtime.

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::{RUNC, id, names_container};
use crate::harness::attributes::Attributes;
use crate::harness::runc::{ITEST, Runtime};
use crate::harness::scene::{ARRIVAL, Scene};
use crate::harness::seen::Item;
use crate::harness::{names, pair};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "containers/spelled_by_cgroupfs", needs: RUNC, run: by_cgroupfs },
    Test { name: "containers/spelled_by_systemd", needs: RUNC, run: by_systemd },
];

/// A pod's uid as the API server gives it, and as systemd's unit names must have it: `-` is a level there.
const UID: &str = "7d1f0c52-3c4e-4f6a-9a53-0d9d0f0b1e2a";
const UNIT_UID: &str = "7d1f0c52_3c4e_4f6a_9a53_0d9d0f0b1e2a";
/// A static pod's: the hash of its file (kubelet, pkg/kubelet/config/common.go).
const HASH: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// One way to spell a container's cgroup and what it tells.
struct Spelling {
    /// `{id}` stands for the container's id, `{uid}`, `{unit_uid}` and `{hash}` for the pod's.
    path: &'static str,
    pod: &'static str,
    runtime: Option<&'static str>,
}

/// The kubelet with `cgroupDriver: cgroupfs`: guaranteed, burstable, best effort, static.
const CGROUPFS: &[Spelling] = &[
    Spelling { path: "kubepods/pod{uid}/{id}", pod: UID, runtime: None },
    Spelling { path: "kubepods/burstable/pod{uid}/{id}", pod: UID, runtime: None },
    Spelling { path: "kubepods/besteffort/pod{uid}/{id}", pod: UID, runtime: None },
    Spelling { path: "kubepods/burstable/pod{hash}/{id}", pod: HASH, runtime: None },
    Spelling { path: "kubepods/besteffort/pod{uid}/crio-{id}", pod: UID, runtime: Some("cri-o") },
];

/// The same with `cgroupDriver: systemd`, by either runtime; the last as a runtime makes it that was left at
/// cgroupfs and takes `slice:prefix:id` for a name.
const SYSTEMD: &[Spelling] = &[
    Spelling {
        path: "kubepods.slice/kubepods-pod{unit_uid}.slice/cri-containerd-{id}.scope",
        pod: UID,
        runtime: Some("containerd"),
    },
    Spelling {
        path: "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{unit_uid}.slice/crio-{id}.scope",
        pod: UID,
        runtime: Some("cri-o"),
    },
    Spelling {
        path: "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{unit_uid}.slice/cri-containerd-{id}.scope",
        pod: UID,
        runtime: Some("containerd"),
    },
    Spelling {
        path: "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice/crio-{id}.scope",
        pod: HASH,
        runtime: Some("cri-o"),
    },
    Spelling {
        path: "system.slice/kubepods-burstable-pod{unit_uid}.slice:cri-containerd:{id}",
        pod: UID,
        runtime: Some("containerd"),
    },
];

fn by_cgroupfs(context: &Context) -> anyhow::Result<()> {
    spelled(context, CGROUPFS)
}

fn by_systemd(context: &Context) -> anyhow::Result<()> {
    spelled(context, SYSTEMD)
}

/// A container of each spelling runs a shell that runs a workload with one connection.
fn spelled(context: &Context, spellings: &[Spelling]) -> anyhow::Result<()> {
    let scene = Scene::new(context, "spelled")?;
    let runtime = Runtime::new(context)?;
    // The shell stays the first process: the test binary with pid 1 believes itself to be a guest's init.
    let script = format!("ip link set lo up && {ITEST} workload connections --count 1; exit $?");
    for (number, spelling) in spellings.iter().enumerate() {
        let id = id(number);
        let path = spelling.path.replace("{id}", &id).replace("{uid}", UID);
        let path = path.replace("{unit_uid}", UNIT_UID).replace("{hash}", HASH);
        let ran = runtime.container(&id, &scene.cgroup.path().join(&path), &["sh", "-c", &script])?.run()?;
        ensure!(ran.code == Some(0), "{path}: the workload ended with {:?}", ran.code);
        let told = |found: Attributes<'_>| spelling.told(found, &id);
        let exec = scene.receiver.wait("exec of the workload", ARRIVAL, |seen| {
            let mut execs = seen.logs.iter().filter(|log| log.item.event_name == names::EXEC);
            let is_child = |log: &&Item<LogRecord>| {
                let found = log.attributes();
                (found.int(names::PARENT_PID), found.text(names::EXE_PATH))
                    == (Some(ran.pid.into()), Some(ITEST))
            };
            execs.find(is_child).cloned()
        })?;
        let exit = scene.receiver.wait("exit", ARRIVAL, |seen| seen.event(names::EXIT, ran.pid).cloned())?;
        let pid = exec.attributes().int(names::PID).context("an exec without a pid")?;
        for log in [exec, exit] {
            told(log.resource()).with_context(|| format!("{path}: {}", log.item.event_name))?;
        }
        let mut line: serde_json::Value = serde_json::from_str(&ran.stdout).context("the workload's line")?;
        // The workload knows its pid in the container's namespace only.
        line["pid"] = pid.into();
        let (client, server) =
            scene.receiver.wait("pair of spans", ARRIVAL, |seen| pair::find(seen, &line))?;
        pair::prove(&line, &client, &server)?;
        for span in [client, server] {
            told(span.resource()).with_context(|| format!("{path}: a span"))?;
        }
    }
    super::balanced(&scene)
}

impl Spelling {
    /// An error unless the resource is container `id` of the pod.
    fn told(&self, resource: Attributes<'_>, id: &str) -> anyhow::Result<()> {
        names_container(resource, id)?;
        let wanted = [
            (names::POD_UID, Some(self.pod)),
            (names::RUNTIME, self.runtime),
            (names::SERVICE_NAME, id.get(..12)),
        ];
        for (name, value) in wanted {
            ensure!(resource.text(name) == value, "{name} is {:?}, not {value:?}", resource.text(name));
        }
        Ok(())
    }
}
