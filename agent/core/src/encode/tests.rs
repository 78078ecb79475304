//! Requests decoded with `opentelemetry-proto` and compared with requests built the plain way.

mod alerts;
mod entities;
mod ids;
mod logs;
mod metrics;
mod reuse;
mod traces;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::*;
use crate::event::{Workload, WorkloadKind};

const CLOCK: Clock =
    Clock { boot_to_unix_ns: 1_700_000_000_000_000_000, now_unix_ns: 1_800_000_000_000_000_000 };

fn agent() -> Identity {
    Identity {
        host_name: "node-1".to_owned(),
        host_id: Some("0123456789abcdef".to_owned()),
        boot_id: Some("b-1".to_owned()),
        node_name: None,
        version: "1.2.3".to_owned(),
        instance_id: "i-1".to_owned(),
        attributes: vec![
            ("deployment.environment.name".to_owned(), "test".to_owned()),
            ("service.name".to_owned(), "renamed".to_owned()),
            ("host.name".to_owned(), "given".to_owned()),
        ],
        flow_key: ids::KEY,
    }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    pair(key, Value::StringValue(value.into()))
}

fn lossy(key: &str, value: &[u8]) -> KeyValue {
    text(key, String::from_utf8_lossy(value))
}

fn int(key: &str, value: impl Into<i64>) -> KeyValue {
    pair(key, Value::IntValue(value.into()))
}

fn count(key: &str, value: u64) -> KeyValue {
    int(key, i64::try_from(value).unwrap_or(i64::MAX))
}

fn truth(key: &str) -> KeyValue {
    pair(key, Value::BoolValue(true))
}

fn double(key: &str, value: f64) -> KeyValue {
    pair(key, Value::DoubleValue(value))
}

fn texts(key: &str, values: impl Iterator<Item = String>) -> KeyValue {
    let values = values.map(|value| AnyValue { value: Some(Value::StringValue(value)) }).collect();
    pair(key, Value::ArrayValue(ArrayValue { values }))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "tarsier".to_owned(), version: "1.2.3".to_owned(), ..Default::default() }
}

/// The resource of `workload` under [`agent`], spelled out.
fn resource(workload: &Workload) -> Resource {
    let kind = match workload.kind {
        WorkloadKind::Container => "container",
        WorkloadKind::Unit => "unit",
        WorkloadKind::Host => "host",
    };
    let mut attributes = vec![text("service.name", &*workload.name), text("tarsier.workload.kind", kind)];
    if !workload.container_id.is_empty() {
        attributes.push(text("container.id", &*workload.container_id));
    }
    attributes.extend(workload.runtime.map(|runtime| text("container.runtime.name", runtime)));
    attributes.extend(workload.pod_uid.as_deref().map(|uid| text("k8s.pod.uid", uid)));
    attributes.extend([
        text("process.linux.cgroup", &*workload.cgroup_path),
        text("deployment.environment.name", "test"),
        text("host.name", "given"),
        text("host.id", "0123456789abcdef"),
        text("os.type", "linux"),
        text("telemetry.distro.name", "tarsier"),
        text("telemetry.distro.version", "1.2.3"),
        text("tarsier.boot.id", "b-1"),
    ]);
    Resource { attributes, ..Default::default() }
}
