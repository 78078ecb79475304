//! Real containers: runc, overlay, namespaces of their own, cgroups where the kubelet puts them.

mod crowd;
mod image;
mod lookups;
mod namespaces;
mod sessions;
mod short;
mod spellings;

use anyhow::ensure;

use crate::harness::attributes::Attributes;
use crate::harness::names;
use crate::harness::scene::{ARRIVAL, Scene};
use crate::runner::{Need, Test};

/// Every test of containers.
pub fn tests() -> Vec<Test> {
    [
        spellings::TESTS,
        image::TESTS,
        namespaces::TESTS,
        sessions::TESTS,
        short::TESTS,
        crowd::TESTS,
        lookups::TESTS,
    ]
    .concat()
}

/// What every test here needs. The static test binary is what runs inside.
const RUNC: &[Need] = &[Need::Cgroup2, Need::Tool("runc"), Need::Tool("busybox"), Need::StaticAgent];

/// The id of the `number`-th container of a test: 64 hexadecimal digits, the first twelve of them its own.
pub(crate) fn id(number: usize) -> String {
    format!("{number:012x}{:052x}", 0x7a51_e700_0000_0000_u64)
}

/// A group below the scene's as the kubelet spells it for a container of a burstable pod.
pub(crate) fn in_pod(id: &str) -> String {
    format!("kubepods/burstable/pod7d1f0c52-3c4e-4f6a-9a53-0d9d0f0b1e2a/{id}")
}

/// An error unless the attributes name container `id`.
fn names_container(found: Attributes<'_>, id: &str) -> anyhow::Result<()> {
    let told = found.text(names::CONTAINER_ID);
    ensure!(told == Some(id), "{} is {told:?}, not {id}", names::CONTAINER_ID);
    Ok(())
}

/// The ledger shows no loss, and every record produced as received once the rings are drained.
fn balanced(scene: &Scene) -> anyhow::Result<()> {
    scene
        .agent
        .wait_ledger("balanced ledger", ARRIVAL, |ledger| ledger.nothing_lost().map(|()| true))
        .map(drop)
}
