//! Resources: who a batch of telemetry is about. Encoded once per workload and copied from then on.

use crate::event::{Workload, WorkloadKind};

use super::attributes::Writer;
use super::ids::FlowKey;
use super::wire;

/// What the agent knows of itself and its host: the same for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `host.name`.
    pub host_name: String,
    /// `host.id` (the machine id), if known.
    pub host_id: Option<String>,
    /// Boot id: exec ids are unique within one boot.
    pub boot_id: Option<String>,
    /// `k8s.node.name`, if known.
    pub node_name: Option<String>,
    /// The agent's version: of the instrumentation scope, and `service.version` of its own resource.
    pub version: String,
    /// `service.instance.id` of the agent's own resource.
    pub instance_id: String,
    /// Attributes the user gave (`OTEL_RESOURCE_ATTRIBUTES`). They win over everything but what
    /// names a workload, so that `service.name` given here names the agent only.
    pub attributes: Vec<(String, String)>,
    /// Key of the connection ids; agents that share it derive the same ids for both ends of a
    /// connection (see [`super::ids::FlowIds`]).
    pub flow_key: FlowKey,
}

/// Pre-encoded resources by [`Workload::index`], each as field 1 of `ResourceLogs` or `ResourceSpans`.
#[derive(Debug)]
pub(super) struct Resources {
    identity: Identity,
    by_workload: Vec<Box<[u8]>>,
}

impl Resources {
    pub(super) fn new(identity: &Identity) -> Self {
        Self { identity: identity.clone(), by_workload: Vec::new() }
    }

    /// The resource of a workload; encoded at the first call for its index.
    pub(super) fn ensure(&mut self, workload: &Workload) -> &[u8] {
        let index = workload.index as usize;
        if index >= self.by_workload.len() {
            self.by_workload.resize_with(index + 1, Box::default);
        }
        let slot = &mut self.by_workload[index];
        if slot.is_empty() {
            *slot = of_workload(&self.identity, workload).into();
        }
        slot
    }

    /// The resource that [`Self::ensure`] encoded.
    pub(super) fn get(&self, index: u32) -> &[u8] {
        self.by_workload.get(index as usize).map_or(&[], |resource| resource)
    }
}

/// The agent's own resource, as field 1 of `ResourceMetrics`: what metrics are about.
pub(super) fn of_agent(identity: &Identity) -> Vec<u8> {
    let user = user_attributes(identity);
    let own = [
        ("service.name", "tarsier"),
        ("service.version", identity.version.as_str()),
        ("service.instance.id", identity.instance_id.as_str()),
    ];
    encode(user.chain(own).chain(host(identity)))
}

/// The instrumentation scope, as field 1 of `ScopeLogs`, `ScopeSpans` or `ScopeMetrics`: the agent.
pub(super) fn scope(identity: &Identity) -> Vec<u8> {
    let mut out = Vec::new();
    wire::message(&mut out, 1, |out| {
        wire::bytes(out, 1, b"tarsier");
        wire::bytes(out, 2, identity.version.as_bytes());
    });
    out
}

fn of_workload(identity: &Identity, workload: &Workload) -> Vec<u8> {
    let kind = match workload.kind {
        WorkloadKind::Container => "container",
        WorkloadKind::Unit => "unit",
        WorkloadKind::Host => "host",
    };
    let named = [
        ("service.name", &*workload.name),
        ("tarsier.workload.kind", kind),
        ("container.id", &*workload.container_id),
        ("container.runtime.name", workload.runtime.unwrap_or_default()),
        ("k8s.pod.uid", workload.pod_uid.as_deref().unwrap_or_default()),
        ("process.linux.cgroup", &*workload.cgroup_path),
    ];
    let boot = [("tarsier.boot.id", identity.boot_id.as_deref().unwrap_or_default())];
    encode(named.into_iter().chain(user_attributes(identity)).chain(host(identity)).chain(boot))
}

fn user_attributes(identity: &Identity) -> impl Iterator<Item = (&str, &str)> {
    identity.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

fn host(identity: &Identity) -> impl Iterator<Item = (&str, &str)> {
    [
        ("host.name", identity.host_name.as_str()),
        ("host.id", identity.host_id.as_deref().unwrap_or_default()),
        ("os.type", "linux"),
        ("k8s.node.name", identity.node_name.as_deref().unwrap_or_default()),
        ("telemetry.distro.name", "tarsier"),
        ("telemetry.distro.version", identity.version.as_str()),
    ]
    .into_iter()
}

/// A `Resource`; of attributes with the same key the first wins, empty ones are left out.
fn encode<'a>(attributes: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    wire::message(&mut out, 1, |out| {
        for (key, value) in attributes.filter(|(_, value)| !value.is_empty()) {
            if !seen.contains(&key) {
                seen.push(key);
                Writer::new(out, 1).text(key, value);
            }
        }
    });
    out
}
