//! From a cgroup's path to its owner: the container, the pod, the systemd unit.
//!
//! Every runtime spells its groups its own way, below whatever the kubelet, systemd or an outer
//! container put above. The path is read component by component, from the root:
//!
//! - the **innermost container** owns the group, and everything below it: systemd inside a container,
//!   `init.scope`, crun's `container`;
//! - the **outermost pod** is the pod: it is the one the node's own cluster knows, even when a container
//!   in it runs containers of its own;
//! - without a container, the **outermost unit** owns the group, except that below a user's manager
//!   (`user@1000.service`) it is that user's unit; helpers such as conmon are units, not the container;
//! - a pod's own group, outside its containers, is a unit of the name `pod<uid>`;
//! - anything else is the host.

use std::borrow::Cow;

use crate::event::WorkloadKind;

/// What a path tells of the owner of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    /// What it is.
    pub kind: WorkloadKind,
    /// Short container id, unit without its suffix, `pod<uid>` or `host`.
    pub name: &'a str,
    /// Full container id, else empty.
    pub container_id: &'a str,
    /// Runtime that spelled the path, if it told.
    pub runtime: Option<&'static str>,
    /// Kubernetes pod uid, with dashes unless it is a static pod's hash.
    pub pod_uid: Option<Cow<'a, str>>,
    /// The path up to the owner's own group; `/` for the host.
    pub path: &'a str,
}

/// A component that owns what is below it.
#[derive(Clone, Copy)]
struct Found<'a> {
    name: &'a str,
    runtime: Option<&'static str>,
    /// Where the component ends in the path.
    end: usize,
}

/// Reads a path from its hierarchy's root; total on arbitrary text.
pub fn owner(path: &str) -> Owner<'_> {
    let (mut container, mut unit): (Option<Found<'_>>, Option<Found<'_>>) = (None, None);
    let mut pod: Option<(Cow<'_, str>, Found<'_>)> = None;
    let mut above = Above::default();
    for (component, end) in components(path) {
        if pod.is_none()
            && let Some((uid, name)) = pod_uid(component)
        {
            pod = Some((uid, Found { name, runtime: None, end }));
            // A pod is neither its runtime's unit nor the container that the whole node runs in.
            (container, unit) = (None, None);
        }
        if let Some((name, runtime)) = container_id(component, &above) {
            container = Some(Found { name, runtime, end });
        } else if let Some(name) = unit_name(component)
            && unit.is_none_or(|unit| unit.name.starts_with("user@") && component != "init.scope")
        {
            unit = Some(Found { name, runtime: None, end });
        }
        above.push(component);
    }
    let (pod_uid, pod) = pod.unzip();
    let of = |kind, name, container_id, found: Found<'_>| Owner {
        kind,
        name,
        container_id,
        runtime: found.runtime,
        pod_uid: pod_uid.clone(),
        path: &path[..found.end],
    };
    match (container, unit.or(pod)) {
        (Some(found), _) => of(WorkloadKind::Container, short(found.name), found.name, found),
        (None, Some(found)) => of(WorkloadKind::Unit, found.name, "", found),
        (None, None) => Owner {
            kind: WorkloadKind::Host,
            name: "host",
            container_id: "",
            runtime: None,
            pod_uid: None,
            path: "/",
        },
    }
}

/// The components of a path and where each ends in it.
fn components(path: &str) -> impl Iterator<Item = (&str, usize)> {
    path.split('/')
        .scan(0, |end, component| {
            let start = *end;
            *end = start + component.len() + 1;
            Some((component, start + component.len()))
        })
        .filter(|(component, _)| !component.is_empty())
}

/// What the components above say about the next.
#[derive(Default)]
struct Above<'a> {
    last: &'a str,
    ecs: bool,
}

impl<'a> Above<'a> {
    fn push(&mut self, component: &'a str) {
        self.ecs |= component == "ecs";
        // Garden sorts its containers by how much CPU they took.
        if !(self.last == "garden" && matches!(component, "good" | "bad")) {
            self.last = component;
        }
    }
}

/// The container whose group this is, and the runtime if it told.
fn container_id<'a>(component: &'a str, above: &Above<'_>) -> Option<(&'a str, Option<&'static str>)> {
    if is_hex(component, 64) {
        let runtime = match above.last {
            "docker" | "moby" => Some("docker"),
            "k8s.io" | "default" => Some("containerd"),
            "libpod_parent" => Some("podman"),
            _ => None,
        };
        return Some((component, runtime));
    }
    if let Some((prefix, id)) = component.rsplit_once(':') {
        // A systemd-style name taken literally by a runtime that was set up for cgroupfs.
        let prefix = prefix.rsplit_once(':').map_or(prefix, |(_, prefix)| prefix);
        return is_hex(id, 64).then(|| (id, runtime_of(prefix)));
    }
    let (name, scope) = match component.strip_suffix(".scope") {
        Some(name) => (name, true),
        None => (component, false),
    };
    if let Some((prefix, id)) = name.rsplit_once('-') {
        let runtime = runtime_of(prefix);
        if is_hex(id, 64) && !prefix.ends_with("conmon") && (scope || runtime.is_some()) {
            return Some((id, runtime));
        }
        // Fargate: the task and a number.
        let numbered = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        if above.ecs && is_hex(prefix, 32) && numbered {
            return Some((component, None));
        }
    }
    if let Some(id) = component.strip_prefix("lxc.payload.") {
        return (!id.is_empty()).then_some((id, Some("lxc")));
    }
    match above.last {
        "lxc" | "lxc.payload" => Some((component, Some("lxc"))),
        "garden" if !matches!(component, "good" | "bad") => Some((component, Some("garden"))),
        _ => None,
    }
}

/// The runtime that puts this before an id.
fn runtime_of(prefix: &str) -> Option<&'static str> {
    match prefix {
        "cri-containerd" | "nerdctl" | "containerd" => Some("containerd"),
        "crio" => Some("cri-o"),
        "docker" => Some("docker"),
        "libpod" | "libpod-payload" => Some("podman"),
        _ => None,
    }
}

/// The uid of the pod whose group this is, and the group's name without systemd's wrapping.
fn pod_uid(component: &str) -> Option<(Cow<'_, str>, &str)> {
    let first = component.split(':').next()?;
    let name = match first.strip_suffix(".slice") {
        Some(slice) => &slice[slice.rfind("-pod")? + 1..],
        None => first,
    };
    let uid = name.strip_prefix("pod")?;
    if is_hex(uid, 32) {
        // The hash of a static pod's file.
        return Some((Cow::Borrowed(uid), name));
    }
    let dashed = if uid.contains('_') { Cow::Owned(uid.replace('_', "-")) } else { Cow::Borrowed(uid) };
    let mut lengths = [8, 4, 4, 4, 12].into_iter();
    let shaped = dashed.split('-').all(|part| lengths.next().is_some_and(|length| is_hex(part, length)));
    (shaped && lengths.next().is_none()).then_some((dashed, name))
}

/// The name of the systemd unit whose group this is. Kinds other than service and scope keep their
/// suffix: `docker.socket` is not `docker`.
fn unit_name(component: &str) -> Option<&str> {
    let Some(name) = component.strip_suffix(".service").or_else(|| component.strip_suffix(".scope")) else {
        let kept = [".socket", ".mount", ".swap"].iter().any(|suffix| component.ends_with(suffix));
        return kept.then_some(component);
    };
    // The helper of one container: its id would make a name of its own for each.
    match name.rsplit_once('-') {
        Some((helper, id)) if helper.ends_with("conmon") && is_hex(id, 64) => Some(helper),
        _ => (!name.is_empty()).then_some(name),
    }
}

/// As `docker ps` shows an id; names and task numbers stay whole, their beginnings are not unique.
fn short(id: &str) -> &str {
    if is_hex(id, 64) { &id[..12] } else { id }
}

/// Whether it is that many lower-case hexadecimal digits.
fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
