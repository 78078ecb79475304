//! Containers that runc alone knows of.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tarsier_core::event::ContainerFacts;

use super::oci::Spec;
use super::{DESCRIPTION, Disk, Unknown, text, unix_ns};

/// What is read of `state.json` (libcontainer/container.go, `BaseState`).
#[derive(Debug, Deserialize)]
struct State {
    created: String,
    config: Config,
}

#[derive(Debug, Deserialize)]
struct Config {
    /// `bundle=PATH`, then the annotations as `KEY=VALUE`.
    labels: Vec<String>,
}

pub(super) fn find(disk: &Disk<'_>, place: &Path, id: &str) -> Result<ContainerFacts, Unknown> {
    let state: State = disk.json(&place.join(id).join("state.json"), DESCRIPTION)?;
    let bundle = state.config.labels.iter().find_map(|label| label.strip_prefix("bundle="));
    let bundle = PathBuf::from(bundle.unwrap_or_default());
    let spec: Spec = disk.json(&bundle.join("config.json"), DESCRIPTION)?;
    let mut facts = spec.facts(disk);
    // Nobody gave it another one.
    facts.name = facts.name.or_else(|| text(id));
    facts.started_unix_ns = unix_ns(&state.created);
    Ok(facts)
}
