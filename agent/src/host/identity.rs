//! Who this node is: what every export says of its sender.

use std::collections::BTreeMap;
use std::fs;

use tarsier_core::encode::Identity;
use tarsier_core::encode::ids::FlowKey;

use super::clock;

/// The facts of this host, with the user's own attributes.
pub fn identity(attributes: &BTreeMap<String, String>, flow_key: FlowKey) -> Identity {
    let host_id = first_line("/etc/machine-id");
    let boot_id = clock::boot_id();
    let given = |key: &str| attributes.get(key).cloned();
    let node_name = given("k8s.node.name").or_else(|| std::env::var("K8S_NODE_NAME").ok());
    let host_name = given("host.name").or_else(|| first_line("/proc/sys/kernel/hostname"));
    let instance = given("service.instance.id").or_else(|| node_name.clone()).or_else(|| host_id.clone());
    Identity {
        host_name: host_name.clone().unwrap_or_default(),
        host_id,
        boot_id: (!boot_id.is_empty()).then_some(boot_id),
        node_name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance_id: instance.or(host_name).unwrap_or_default(),
        attributes: attributes.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        flow_key,
    }
}

fn first_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}
