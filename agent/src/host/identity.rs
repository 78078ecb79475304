//! Who this node is: what every export says of its sender.

use std::fs;

use tarsier_core::encode::Identity;
use tarsier_core::encode::ids::FlowKey;

use super::clock;
use crate::config::Config;

/// What the host says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// `host.name`.
    pub host_name: Option<String>,
    /// The machine id.
    pub host_id: Option<String>,
    /// Boot id.
    pub boot_id: Option<String>,
    /// `k8s.node.name`, as the environment gives it.
    pub node_name: Option<String>,
}

/// The facts of this host.
pub fn facts() -> HostFacts {
    HostFacts {
        host_name: first_line("/proc/sys/kernel/hostname"),
        host_id: first_line("/etc/machine-id"),
        boot_id: Some(clock::boot_id()).filter(|id| !id.is_empty()),
        node_name: std::env::var("K8S_NODE_NAME").ok(),
    }
}

/// Facts and the user's own attributes, which win, together.
pub fn identity(facts: &HostFacts, config: &Config) -> Identity {
    let attributes = &config.resource_attributes;
    let given = |key: &str, fact: &Option<String>| attributes.get(key).cloned().or_else(|| fact.clone());
    let node_name = given("k8s.node.name", &facts.node_name);
    let host_name = given("host.name", &facts.host_name);
    let instance = attributes.get("service.instance.id").or(node_name.as_ref()).or(facts.host_id.as_ref());
    Identity {
        instance_id: instance.or(host_name.as_ref()).cloned().unwrap_or_default(),
        host_name: host_name.unwrap_or_default(),
        host_id: facts.host_id.clone(),
        boot_id: facts.boot_id.clone(),
        node_name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        attributes: attributes.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        flow_key: FlowKey::from_secret(config.flows.connection_key.reveal()),
    }
}

fn first_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}
