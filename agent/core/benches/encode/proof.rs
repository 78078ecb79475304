//! That all sides say the same: every request is decoded, and what each item says is compared.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use crate::reports::Reports;
use crate::{Request, Side};

/// Attributes that the flat sides say on every record for want of a resource.
const OF_RESOURCES: [(&str, &str); 6] = [
    ("service.name", "tarsier.workload.name"),
    ("tarsier.workload.kind", "tarsier.workload.kind"),
    ("container.id", "container.id"),
    ("container.runtime.name", "container.runtime.name"),
    ("k8s.pod.uid", "k8s.pod.uid"),
    ("process.linux.cgroup", "process.linux.cgroup"),
];

/// # Panics
/// If one side says something else than the first.
pub(crate) fn check(reports: &Reports, sides: &mut [Box<dyn Side>]) {
    let mut first: Option<Vec<String>> = None;
    for side in sides {
        let mut said = Vec::new();
        let mut hear = |request: Request<'_>| {
            if request.logs {
                logs(request.body, &mut said);
            } else {
                spans(request.body, &mut said);
            }
        };
        side.pass(reports, &mut hear);
        side.finish(&mut hear);
        said.sort_unstable();
        match &first {
            None => first = Some(said),
            Some(first) => {
                assert_eq!(first.len(), said.len(), "{}", side.name());
                for (want, got) in first.iter().zip(&said) {
                    assert_eq!(want, got, "{}", side.name());
                }
            }
        }
    }
}

fn logs(body: &[u8], said: &mut Vec<String>) {
    for group in ExportLogsServiceRequest::decode(body).expect("a request").resource_logs {
        for mut record in group.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
            let attributes = all(group.resource.as_ref(), std::mem::take(&mut record.attributes));
            said.push(format!("{record:?} {attributes:?}"));
        }
    }
}

fn spans(body: &[u8], said: &mut Vec<String>) {
    for group in ExportTraceServiceRequest::decode(body).expect("a request").resource_spans {
        for mut span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let attributes = all(group.resource.as_ref(), std::mem::take(&mut span.attributes));
            // Says that it is not set, or nothing; flags of the sampler beside the parent's.
            span.status = span.status.filter(|status| status.code != 0);
            said.push(format!("{span:?} {attributes:?}"));
        }
    }
}

/// An item's attributes and its workload's, wherever they are said, in one order.
fn all(resource: Option<&Resource>, mut attributes: Vec<KeyValue>) -> Vec<String> {
    let grouped = !attributes.iter().any(|pair| pair.key == "tarsier.workload.name");
    if grouped {
        for pair in resource.into_iter().flat_map(|resource| &resource.attributes) {
            if let Some((_, key)) = OF_RESOURCES.iter().find(|(key, _)| *key == pair.key) {
                attributes.push(KeyValue { key: (*key).to_owned(), ..pair.clone() });
            }
        }
    }
    let mut said: Vec<String> = attributes.into_iter().map(|pair| format!("{pair:?}")).collect();
    said.sort_unstable();
    said
}
