//! What a container's runtime and its cluster say of it, beyond what its cgroup does.

use serde::{Deserialize, Serialize};

/// A container. What nobody told is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerFacts {
    /// Name, as the runtime has it.
    pub name: Option<Box<str>>,
    /// When its first process started, ns since 1970.
    pub started_unix_ns: Option<u64>,
    /// Whether it may do all that the host may.
    pub is_privileged: Option<bool>,
    /// Its image.
    pub image: ImageFacts,
    /// Its mounts, in the runtime's order; none: they are not known.
    pub mounts: Option<Box<[Mount]>>,
    /// Its labels, sorted by name.
    pub labels: Box<[Label]>,
    /// Whether it shares the host's PID namespace.
    pub has_host_pid: Option<bool>,
    /// Whether it shares the host's network namespace.
    pub has_host_network: Option<bool>,
    /// Whether it shares the host's IPC namespace.
    pub has_host_ipc: Option<bool>,
    /// Its first IPv4 address, as text.
    pub ip: Option<Box<str>>,
    /// The pod that it belongs to.
    pub pod: Option<PodFacts>,
}

/// What a container was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageFacts {
    /// As the container names it: `docker.io/library/nginx:1.27`.
    pub reference: Option<Box<str>>,
    /// Its id, without `sha256:`.
    pub id: Option<Box<str>>,
    /// Its name without tag and digest: `docker.io/library/nginx`.
    pub repository: Option<Box<str>>,
    /// Its tag.
    pub tag: Option<Box<str>>,
    /// Its digest in the registry: `sha256:…`.
    pub digest: Option<Box<str>>,
}

/// Something mounted in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Path on the host.
    pub source: Box<str>,
    /// Path in the container.
    pub destination: Box<str>,
    /// Options of the mount, as the runtime spells them; often empty.
    pub mode: Box<str>,
    /// It can be written to.
    pub is_writable: bool,
    /// `private`, `rprivate`, `rslave`, `rshared` and so on.
    pub propagation: Box<str>,
}

/// A label: its name and value.
pub type Label = (Box<str>, Box<str>);

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodFacts {
    /// Name.
    pub name: Option<Box<str>>,
    /// Namespace.
    pub namespace: Option<Box<str>>,
    /// UID.
    pub uid: Option<Box<str>>,
    /// Id of its sandbox, 64 hex digits as a rule.
    pub sandbox_id: Option<Box<str>>,
    /// Its labels, sorted by name.
    pub labels: Box<[Label]>,
    /// Its first IPv4 address, as text.
    pub ip: Option<Box<str>>,
    /// What its network plugin said, as JSON.
    pub network_json: Option<Box<str>>,
}
