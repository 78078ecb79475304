//! Containers of CRI-O and Podman: both keep them by containers/storage.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use tarsier_core::event::{ContainerFacts, Label, PodFacts};

use super::oci::Spec;
use super::{DESCRIPTION, Disk, Unknown, image, text, unix_ns};

/// Most bytes of the list of all containers: some 10,000.
const LIST: u64 = 16 << 20;
/// Where the configurations of containers are, whatever the driver of the file system is.
const DIRECTORY: &str = "overlay-containers";

/// A container in the list.
#[derive(Debug, Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    /// Id of its image.
    #[serde(default)]
    image: String,
    /// JSON, of the runtime that made it.
    #[serde(default)]
    metadata: String,
}

/// What both runtimes write there; the later fields are CRI-O's alone.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Metadata {
    image_name: String,
    /// Seconds since 1970.
    created_at: u64,
    metadata_name: String,
    pod_id: String,
    /// Left out if it is not.
    privileged: bool,
}

pub(super) fn find(disk: &Disk<'_>, place: &Path, id: &str) -> Result<ContainerFacts, Unknown> {
    let spec = spec(disk, place, id)?;
    let mut facts = spec.facts(disk);
    let listed = entry(disk, place, id)?;
    let crio = |name: &str| spec.annotation(&format!("io.kubernetes.cri-o.{name}"));
    if let Some(entry) = &listed {
        let metadata: Metadata = serde_json::from_str(&entry.metadata).unwrap_or_default();
        let is_crio = !metadata.pod_id.is_empty();
        let short = is_crio.then_some(metadata.metadata_name.as_str()).and_then(text);
        facts.name = short.or_else(|| entry.names.first().and_then(|name| text(name)));
        facts.image = image::parse(&metadata.image_name);
        facts.image.id = image::id(&entry.image).map(Box::from);
        facts.started_unix_ns = metadata.created_at.checked_mul(1_000_000_000).filter(|ns| *ns > 0);
        if is_crio {
            facts.is_privileged = Some(metadata.privileged);
        }
    }
    if facts.image.reference.is_none() {
        facts.image = image::parse(crio("ImageName"));
    }
    if facts.image.digest.is_none() {
        facts.image.digest = image::parse(crio("ImageRef")).digest;
    }
    facts.started_unix_ns = unix_ns(crio("Created")).or(facts.started_unix_ns);
    let labels = labels(crio("Labels"));
    if let Some(sandbox) = text(crio("SandboxID")) {
        facts.pod = Some(pod(disk, place, sandbox, &labels));
        facts.ip = facts.pod.as_ref().and_then(|pod| pod.ip.clone());
    }
    facts.labels = sorted(labels);
    Ok(facts)
}

fn spec(disk: &Disk<'_>, place: &Path, id: &str) -> Result<Spec, Unknown> {
    disk.json(&place.join(DIRECTORY).join(id).join("userdata/config.json"), DESCRIPTION)
}

/// The container in the lists; one that is not to outlive a reboot is in the second one.
fn entry(disk: &Disk<'_>, place: &Path, id: &str) -> Result<Option<Entry>, Unknown> {
    for list in ["containers.json", "volatile-containers.json"] {
        let entries = match disk.json::<Vec<Entry>>(&place.join(DIRECTORY).join(list), LIST) {
            Err(Unknown::Absent) => continue,
            entries => entries?,
        };
        if let Some(entry) = entries.into_iter().find(|entry| entry.id == id) {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// The pod: its name and namespace are labels of its containers, the rest is its sandbox's.
fn pod(disk: &Disk<'_>, place: &Path, sandbox: Box<str>, own: &BTreeMap<String, String>) -> PodFacts {
    let of = |key: &str| own.get(key).and_then(|value| text(value));
    // It may be gone already: then less is known.
    let spec = spec(disk, place, &sandbox).unwrap_or_default();
    let crio = |name: &str| spec.annotation(&format!("io.kubernetes.cri-o.{name}"));
    PodFacts {
        name: of("io.kubernetes.pod.name"),
        namespace: of("io.kubernetes.pod.namespace"),
        uid: of("io.kubernetes.pod.uid"),
        labels: sorted(labels(crio("Labels"))),
        ip: text(crio("IP.0")),
        network_json: text(crio("CNIResult")),
        sandbox_id: Some(sandbox),
    }
}

/// An annotation that holds labels as JSON.
fn labels(annotation: &str) -> BTreeMap<String, String> {
    serde_json::from_str(annotation).unwrap_or_default()
}

fn sorted(labels: BTreeMap<String, String>) -> Box<[Label]> {
    labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}
