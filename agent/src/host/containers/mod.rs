//! What container runtimes have on disk of a container: its name, image, mounts, pod, and what it may do.
//!
//! No runtime is talked to: no socket, no library, nothing that a stuck daemon could keep waiting.
//!
//! | runtime | read | checked against |
//! |---|---|---|
//! | Docker | `containers/ID/config.v2.json`, `hostconfig.json` | moby 28.1.1: container/container.go, volume/mounts/mounts.go, api/types/container |
//! | CRI-O | `overlay-containers/ID/userdata/config.json`, `containers.json` | CRI-O 06993f4: internal/storage/runtime.go, pkg/annotations |
//! | Podman | the same | Podman 5.4.2: libpod/storage.go; containers/storage 1.57.2: containers.go |
//! | containerd | `NAMESPACE/ID/config.json` | containerd 2.0.5, running with `ctr` (once, by hand); its CRI plugin by internal/cri/annotations |
//! | runc | `ID/state.json`, and the bundle that it names | runc 1.1.5, running (`lookups/*` of the kernel tests) |
//!
//! The runtime that knows most is asked first: containers of Docker are containerd's as well.

use std::path::Path;

use tarsier_core::event::ContainerFacts;

use super::config::HostConfig;
use super::root::{Root, Unread};

mod docker;
mod image;
mod newcomers;
mod oci;
mod runc;
mod storage;

pub use newcomers::Newcomers;

/// Most bytes of a file that describes one container.
const DESCRIPTION: u64 = 4 << 20;

/// Why nothing is known of a container.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// No runtime has anything of it.
    #[error("no runtime has it")]
    Absent,
    /// A file is there and cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// Within the host's root.
        path: String,
        /// Why.
        error: Unread,
    },
    /// A file is not what the runtime writes.
    #[error("{path}: {error}")]
    Malformed {
        /// Within the host's root.
        path: String,
        /// Why.
        error: serde_json::Error,
    },
}

/// Looks in all places for the container with this id.
///
/// # Errors
/// See [`Unknown`]; of several, the last one that is more than absence.
pub fn find(host: &HostConfig, id: &str) -> Result<ContainerFacts, Unknown> {
    // An id is a component of a path: anything else must not be made one.
    if id.is_empty() || id.contains('/') || matches!(id, "." | "..") {
        return Err(Unknown::Absent);
    }
    let root = Root::open(&host.root)
        .map_err(|error| Unknown::Unreadable { path: host.root.display().to_string(), error })?;
    let disk = Disk { root: &root, host };
    let docker = host.docker.iter().map(|place| docker::find(&disk, place, id));
    let storage = host.storage.iter().map(|place| storage::find(&disk, place, id));
    let containerd = host.containerd.iter().map(|place| oci::find(&disk, place, id));
    let runc = host.runc.iter().map(|place| runc::find(&disk, place, id));
    let mut unknown = Unknown::Absent;
    for found in docker.chain(storage).chain(containerd).chain(runc) {
        match found {
            Ok(facts) => return Ok(facts),
            Err(Unknown::Absent) => {}
            Err(other) => unknown = other,
        }
    }
    Err(unknown)
}

/// The places that are there, each with the runtime whose it is, as paths within the host's root.
pub fn places(host: &HostConfig) -> Vec<(&'static str, &Path)> {
    let Ok(root) = Root::open(&host.root) else { return Vec::new() };
    let all = [
        ("Docker", &host.docker),
        ("CRI-O or Podman", &host.storage),
        ("containerd", &host.containerd),
        ("runc", &host.runc),
    ];
    let each =
        all.into_iter().flat_map(|(runtime, places)| places.iter().map(move |place| (runtime, &**place)));
    each.filter(|(_, place)| root.list(place).is_ok()).collect()
}

/// Where the runtimes' files are read.
struct Disk<'a> {
    root: &'a Root,
    host: &'a HostConfig,
}

impl Disk<'_> {
    /// A file of JSON.
    fn json<T: serde::de::DeserializeOwned>(&self, path: &Path, limit: u64) -> Result<T, Unknown> {
        let name = || path.display().to_string();
        let (bytes, _) = self.root.read(path, limit).map_err(|error| match error {
            Unread::Absent => Unknown::Absent,
            error => Unknown::Unreadable { path: name(), error },
        })?;
        serde_json::from_slice(&bytes).map_err(|error| Unknown::Malformed { path: name(), error })
    }
}

/// A text, if there is any.
fn text(value: &str) -> Option<Box<str>> {
    (!value.is_empty()).then(|| value.into())
}

/// A moment as runtimes write it (RFC 3339), ns since 1970.
fn unix_ns(value: &str) -> Option<u64> {
    let moment: jiff::Timestamp = value.parse().ok()?;
    // Go writes year 1 for never.
    u64::try_from(moment.as_nanosecond()).ok().filter(|ns| *ns > 0)
}

#[cfg(test)]
mod tests;
