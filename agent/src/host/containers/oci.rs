//! `config.json` of a bundle (OCI runtime-spec 1.2), with what CRI plugins write beside it: annotations.

use std::collections::BTreeMap;
use std::fs::metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tarsier_core::event::{ContainerFacts, Mount, PodFacts};

use super::{DESCRIPTION, Disk, Unknown, image, text};

/// Names of all capabilities up to `CAP_AUDIT_READ` by number (linux/capability.h), which Linux 3.16 has. Later ones are not
/// asked for: a runtime that does not know them leaves them out.
pub(super) const CAPABILITIES: [&str; 38] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
];

/// What is read of a configuration. Environments are not: secrets are in them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Spec {
    pub(super) annotations: BTreeMap<String, String>,
    process: Option<Process>,
    mounts: Vec<SpecMount>,
    linux: Option<Linux>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Process {
    capabilities: Option<Capabilities>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Capabilities {
    bounding: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SpecMount {
    destination: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    options: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    namespaces: Vec<Namespace>,
    seccomp: Option<Value>,
    masked_paths: Vec<String>,
    readonly_paths: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    path: String,
}

/// A container of containerd: it may be in any of its namespaces (`k8s.io`, `default` and so on).
pub(super) fn find(disk: &Disk<'_>, place: &Path, id: &str) -> Result<ContainerFacts, Unknown> {
    let mut unknown = Unknown::Absent;
    for namespace in disk.root.list(place).unwrap_or_default() {
        let bundle = place.join(namespace).join(id);
        match disk.json::<Spec>(&bundle.join("config.json"), DESCRIPTION) {
            Ok(spec) => {
                let mut facts = spec.facts(disk);
                // containerd writes the configuration just before runc makes the container.
                let made = disk.root.stamp(&bundle.join("config.json")).ok();
                facts.started_unix_ns = made.and_then(|stamp| u64::try_from(stamp.modified_ns).ok());
                return Ok(facts);
            }
            Err(Unknown::Absent) => {}
            Err(other) => unknown = other,
        }
    }
    Err(unknown)
}

impl Spec {
    /// What the configuration says by itself, and by the annotations of containerd's CRI plugin.
    pub(super) fn facts(&self, disk: &Disk<'_>) -> ContainerFacts {
        let is_sandbox = self.annotation("io.kubernetes.cri.container-type") == "sandbox";
        let (name, image) = if is_sandbox {
            ("io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.podsandbox.image-name")
        } else {
            ("io.kubernetes.cri.container-name", "io.kubernetes.cri.image-name")
        };
        ContainerFacts {
            name: text(self.annotation(name)),
            is_privileged: Some(self.is_privileged(disk)),
            image: image::parse(self.annotation(image)),
            mounts: Some(self.mounts.iter().filter_map(SpecMount::bind).collect()),
            has_host_pid: self.is_of_host(disk, "pid"),
            has_host_network: self.is_of_host(disk, "network"),
            has_host_ipc: self.is_of_host(disk, "ipc"),
            pod: self.pod(),
            ..ContainerFacts::default()
        }
    }

    pub(super) fn annotation(&self, key: &str) -> &str {
        self.annotations.get(key).map_or("", |value| value.as_str())
    }

    fn pod(&self) -> Option<PodFacts> {
        let of = |key| text(self.annotation(key));
        let sandbox_id = of("io.kubernetes.cri.sandbox-id")?;
        Some(PodFacts {
            name: of("io.kubernetes.cri.sandbox-name"),
            namespace: of("io.kubernetes.cri.sandbox-namespace"),
            uid: of("io.kubernetes.cri.sandbox-uid"),
            sandbox_id: Some(sandbox_id),
            ..PodFacts::default()
        })
    }

    /// A configuration does not say that it is a privileged one. It is what runtimes make of it: every capability that
    /// there is on the host, no system call forbidden, no path of `/proc` and `/sys` hidden or read-only.
    fn is_privileged(&self, disk: &Disk<'_>) -> bool {
        let Some(linux) = &self.linux else { return false };
        let given = self.process.as_ref().and_then(|process| process.capabilities.as_ref());
        let is_open =
            linux.seccomp.is_none() && linux.masked_paths.is_empty() && linux.readonly_paths.is_empty();
        is_open && given.is_some_and(|given| given.has_all(host_capabilities(disk)))
    }

    /// Whether it is in the host's namespace of a kind, as far as that can be told.
    fn is_of_host(&self, disk: &Disk<'_>, kind: &str) -> Option<bool> {
        let namespaces = &self.linux.as_ref()?.namespaces;
        let Some(namespace) = namespaces.iter().find(|namespace| namespace.kind == kind) else {
            return Some(true);
        };
        if namespace.path.is_empty() {
            return Some(false);
        }
        // That of another container, or of the host by a path: `/proc/PID/ns/net` of the sandbox.
        let file = if kind == "network" { "net" } else { kind };
        let number = |path: &str| {
            metadata(disk.host.root.join(path.trim_start_matches('/'))).ok().map(|found| found.ino())
        };
        Some(number(&namespace.path)? == number(&format!("/proc/1/ns/{file}"))?)
    }
}

impl Capabilities {
    fn has_all(&self, wanted: u64) -> bool {
        let wanted = CAPABILITIES.iter().enumerate().filter(|(number, _)| wanted & 1 << number != 0);
        wanted.into_iter().all(|(_, name)| self.bounding.iter().any(|given| given == name))
    }
}

/// What the host's first process can hand on; everything, where nobody can tell. Less than everything is usual for a node that
/// is a container itself.
fn host_capabilities(disk: &Disk<'_>) -> u64 {
    let status = std::fs::read_to_string(disk.host.root.join("proc/1/status")).unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    bounding.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(u64::MAX)
}

impl SpecMount {
    /// What of the host is mounted; the rest (`/proc`, `tmpfs` and so on) is the same in every container.
    fn bind(&self) -> Option<Mount> {
        let has = |option: &str| self.options.iter().any(|given| given == option);
        if self.kind != "bind" && !has("bind") && !has("rbind") {
            return None;
        }
        let spread = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];
        let propagation = self.options.iter().rev().find(|option| spread.contains(&option.as_str()));
        Some(Mount {
            source: self.source.as_str().into(),
            destination: self.destination.as_str().into(),
            mode: "".into(),
            is_writable: !has("ro"),
            // What mount(2) makes of a bind mount is the kernel's; runc makes the whole tree private before it.
            propagation: propagation.map_or("private", |option| option.as_str()).into(),
        })
    }
}
