//! The host's section of the configuration file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where files of the host are found that say what containers are made from, and what users and groups are called. They
/// are read only if a rule asks for what they say (`container.*`, `k8s.*`, `user.*`, `group.*`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HostConfig {
    /// The host's root directory, as the agent sees it. In a container: where the host's `/` is mounted. Its `proc` must be
    /// that of the host's PID namespace.
    pub root: PathBuf,
    /// Where containerd keeps the bundles of running containers, `NAMESPACE/ID/config.json`; each is looked in. These and
    /// those below are paths within `root`.
    pub containerd: Vec<PathBuf>,
    /// Where Docker keeps its data, `containers/ID/config.v2.json` (its `data-root`).
    pub docker: Vec<PathBuf>,
    /// Where CRI-O and Podman keep theirs, `overlay-containers/ID/userdata/config.json` (`graphroot` in `storage.conf`).
    pub storage: Vec<PathBuf>,
    /// Where runc keeps the state of containers that nobody else knows of, `ID/state.json` (its `--root`).
    pub runc: Vec<PathBuf>,
}

impl Default for HostConfig {
    fn default() -> Self {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        Self {
            root: "/".into(),
            containerd: paths(&[
                "/run/containerd/io.containerd.runtime.v2.task",
                "/run/k3s/containerd/io.containerd.runtime.v2.task",
            ]),
            docker: paths(&["/var/lib/docker"]),
            storage: paths(&["/var/lib/containers/storage"]),
            runc: paths(&["/run/runc"]),
        }
    }
}
