//! Containers of Docker, with what cri-dockerd writes beside them: labels.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use tarsier_core::event::{ContainerFacts, Label, Mount, PodFacts};

use super::{DESCRIPTION, Disk, Unknown, image, text, unix_ns};

/// What is read of `config.v2.json`. The environment is not: secrets are in it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Container {
    name: String,
    /// Id of the image.
    image: String,
    config: Config,
    state: State,
    mount_points: Option<BTreeMap<String, MountPoint>>,
    network_settings: NetworkSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Config {
    /// As the user named it.
    image: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct State {
    started_at: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct MountPoint {
    source: String,
    destination: String,
    #[serde(rename = "RW")]
    is_writable: bool,
    /// The mode: the field had another meaning once.
    relabel: String,
    propagation: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct NetworkSettings {
    networks: Option<BTreeMap<String, Network>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    #[serde(rename = "IPAddress")]
    address: String,
}

/// What is read of `hostconfig.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct HostConfig {
    privileged: bool,
    pid_mode: String,
    ipc_mode: String,
    network_mode: String,
}

pub(super) fn find(disk: &Disk<'_>, place: &Path, id: &str) -> Result<ContainerFacts, Unknown> {
    let directory = place.join("containers").join(id);
    let container: Container = disk.json(&directory.join("config.v2.json"), DESCRIPTION)?;
    let host: HostConfig = disk.json(&directory.join("hostconfig.json"), DESCRIPTION)?;
    let labels = container.config.labels.unwrap_or_default();
    let mut image = image::parse(&container.config.image);
    image.id = image::id(&container.image).map(Box::from).or(image.id);
    let mounts = container.mount_points.unwrap_or_default();
    let address = container.network_settings.networks.unwrap_or_default();
    Ok(ContainerFacts {
        name: text(container.name.trim_start_matches('/')),
        started_unix_ns: unix_ns(&container.state.started_at),
        is_privileged: Some(host.privileged),
        image,
        mounts: Some(mounts.into_values().map(MountPoint::mount).collect()),
        has_host_pid: Some(host.pid_mode == "host"),
        has_host_network: Some(host.network_mode == "host"),
        has_host_ipc: Some(host.ipc_mode == "host"),
        ip: address.values().find_map(|network| text(&network.address)),
        pod: pod(&labels),
        labels: labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect::<Box<[Label]>>(),
    })
}

impl MountPoint {
    fn mount(self) -> Mount {
        Mount {
            source: self.source.into(),
            destination: self.destination.into(),
            mode: self.relabel.into(),
            is_writable: self.is_writable,
            propagation: self.propagation.into(),
        }
    }
}

/// The kubelet labels what it has the runtime make (k8s.io/kubelet/pkg/types).
fn pod(labels: &BTreeMap<String, String>) -> Option<PodFacts> {
    let of = |key: &str| labels.get(key).and_then(|value| text(value));
    let name = of("io.kubernetes.pod.name")?;
    Some(PodFacts {
        name: Some(name),
        namespace: of("io.kubernetes.pod.namespace"),
        uid: of("io.kubernetes.pod.uid"),
        sandbox_id: of("io.kubernetes.sandbox.id"),
        ..PodFacts::default()
    })
}
