//! `container.*` and `k8s.*`: what is known of where a process runs. Outside of containers the container is `host`.

use super::{With, number, put, text, truth};
use crate::event::{ContainerFacts, Label, Mount, PodFacts, Workload};
use crate::rules::facts::Facts;
use crate::rules::glob;
use crate::rules::typed::Argument;

/// Stands for a container where there is none.
const HOST: &str = "host";
/// Digits that are enough to know a container by.
const SHORT: usize = 12;

fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// First digits of a container's id, or `host`.
pub(super) fn short_id(workload: &Workload) -> &str {
    if workload.container_id.is_empty() { HOST } else { short(&workload.container_id) }
}

/// What the runtime says of the container; outside of any nobody is asked.
fn known<'a>(facts: &Facts<'a>) -> Option<&'a ContainerFacts> {
    if is_host(facts) { None } else { facts.lookups.container() }
}

fn is_host(facts: &Facts<'_>) -> bool {
    facts.workload.container_id.is_empty()
}

pub(in crate::rules) fn id(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    text(short_id(facts.workload), with);
}

pub(in crate::rules) fn full_id(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if !is_host(facts) {
        text(&*facts.workload.container_id, with);
    }
}

pub(in crate::rules) fn name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if is_host(facts) {
        text(HOST, with);
    } else {
        told(known(facts).map(|container| &container.name), with);
    }
}

pub(in crate::rules) fn kind(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    match facts.workload.runtime {
        _ if is_host(facts) => text(HOST, with),
        Some(runtime) => text(runtime, with),
        None => {}
    }
}

/// Gives a text that the runtime or the cluster told.
fn told(value: Option<&Option<Box<str>>>, with: With<'_>) {
    if let Some(Some(value)) = value {
        text(&**value, with);
    }
}

fn flag(value: Option<Option<bool>>, with: With<'_>) {
    if let Some(Some(value)) = value {
        truth(value, with);
    }
}

pub(in crate::rules) fn is_privileged(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    flag(known(facts).map(|container| container.is_privileged), with);
}

pub(in crate::rules) fn start(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(start) = known(facts).and_then(|container| container.started_unix_ns) {
        number(start, with);
    }
}

pub(in crate::rules) fn duration(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(start) = known(facts).and_then(|container| container.started_unix_ns) {
        number(facts.unix_ns.saturating_sub(start), with);
    }
}

pub(in crate::rules) fn image(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    told(known(facts).map(|container| &container.image.reference), with);
}

pub(in crate::rules) fn image_id(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    told(known(facts).map(|container| &container.image.id), with);
}

pub(in crate::rules) fn image_repository(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    told(known(facts).map(|container| &container.image.repository), with);
}

pub(in crate::rules) fn image_tag(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    told(known(facts).map(|container| &container.image.tag), with);
}

pub(in crate::rules) fn image_digest(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    told(known(facts).map(|container| &container.image.digest), with);
}

pub(in crate::rules) fn has_host_pid(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    flag(known(facts).map(|container| container.has_host_pid), with);
}

pub(in crate::rules) fn has_host_network(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    flag(known(facts).map(|container| container.has_host_network), with);
}

pub(in crate::rules) fn has_host_ipc(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    flag(known(facts).map(|container| container.has_host_ipc), with);
}

pub(in crate::rules) fn ip(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    told(known(facts).map(|container| &container.ip), with);
}

// Mounts.

fn write_mount(mount: &Mount, out: &mut Vec<u8>) {
    let Mount { source, destination, mode, is_writable, propagation } = mount;
    put!(out, "{source}:{destination}:{mode}:{is_writable}:{propagation}");
}

pub(in crate::rules) fn mounts(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let Some(mounts) = known(facts).and_then(|container| container.mounts.as_deref()) else { return };
    let write = |out: &mut Vec<u8>| {
        for (position, mount) in mounts.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            write_mount(mount, out);
        }
    };
    facts.cache.once(write, |mounts| text(mounts, with));
}

/// The mount that an argument means: its position, or the path that `key` is to be like.
fn find<'a>(
    facts: &Facts<'a>,
    argument: Option<&Argument>,
    key: impl Fn(&Mount) -> &str,
) -> Option<&'a Mount> {
    let mounts = known(facts)?.mounts.as_deref()?;
    match argument? {
        Argument::Index(index) => mounts.get(*index as usize),
        Argument::Key(pattern) => {
            mounts.iter().find(|mount| glob::matches(pattern.as_bytes(), key(mount).as_bytes(), false))
        }
    }
}

fn by_source<'a>(facts: &Facts<'a>, argument: Option<&Argument>) -> Option<&'a Mount> {
    find(facts, argument, |mount| &mount.source)
}

pub(in crate::rules) fn mount(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    if let Some(mount) = by_source(facts, argument) {
        facts.cache.once(|out| write_mount(mount, out), |mount| text(mount, with));
    }
}

pub(in crate::rules) fn mount_source(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    if let Some(mount) = find(facts, argument, |mount| &mount.destination) {
        text(&*mount.source, with);
    }
}

pub(in crate::rules) fn mount_destination(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    if let Some(mount) = by_source(facts, argument) {
        text(&*mount.destination, with);
    }
}

pub(in crate::rules) fn mount_mode(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    if let Some(mount) = by_source(facts, argument) {
        text(&*mount.mode, with);
    }
}

pub(in crate::rules) fn mount_is_writable(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    if let Some(mount) = by_source(facts, argument) {
        text(if mount.is_writable { "true" } else { "false" }, with);
    }
}

pub(in crate::rules) fn mount_propagation(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    if let Some(mount) = by_source(facts, argument) {
        text(&*mount.propagation, with);
    }
}

// Labels.

fn find_label(labels: &[Label], argument: Option<&Argument>, with: With<'_>) {
    let Some(Argument::Key(key)) = argument else { return };
    if let Ok(place) = labels.binary_search_by(|(name, _)| (**name).cmp(key)) {
        text(&*labels[place].1, with);
    }
}

fn all_labels(facts: &Facts<'_>, labels: &[Label], with: With<'_>) {
    let write = |out: &mut Vec<u8>| {
        let mut between = "";
        for (name, value) in labels {
            put!(out, "{between}{name}{}{value}", if value.is_empty() { "" } else { ":" });
            between = ", ";
        }
    };
    if !labels.is_empty() {
        facts.cache.once(write, |labels| text(labels, with));
    }
}

pub(in crate::rules) fn label(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    if let Some(container) = known(facts) {
        find_label(&container.labels, argument, with);
    }
}

pub(in crate::rules) fn labels(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(container) = known(facts) {
        all_labels(facts, &container.labels, with);
    }
}

// The pod.

fn pod<'a>(facts: &Facts<'a>) -> Option<&'a PodFacts> {
    known(facts)?.pod.as_ref()
}

pub(in crate::rules) fn namespace(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    told(pod(facts).map(|pod| &pod.namespace), with);
}

pub(in crate::rules) fn pod_name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    told(pod(facts).map(|pod| &pod.name), with);
}

/// What the path of the cgroup says, else the runtime's word for it.
pub(in crate::rules) fn pod_uid(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    match &facts.workload.pod_uid {
        Some(uid) => text(&**uid, with),
        None => told(pod(facts).map(|pod| &pod.uid), with),
    }
}

pub(in crate::rules) fn sandbox_id(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(id) = pod(facts).and_then(|pod| pod.sandbox_id.as_deref()) {
        text(short(id), with);
    }
}

pub(in crate::rules) fn full_sandbox_id(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    told(pod(facts).map(|pod| &pod.sandbox_id), with);
}

pub(in crate::rules) fn pod_label(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    if let Some(pod) = pod(facts) {
        find_label(&pod.labels, argument, with);
    }
}

pub(in crate::rules) fn pod_labels(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(pod) = pod(facts) {
        all_labels(facts, &pod.labels, with);
    }
}

pub(in crate::rules) fn pod_ip(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    told(pod(facts).map(|pod| &pod.ip), with);
}

pub(in crate::rules) fn network_json(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    told(pod(facts).map(|pod| &pod.network_json), with);
}
