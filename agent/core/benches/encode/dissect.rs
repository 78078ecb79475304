//! Where the bytes of a side's requests go: per kind of item, and per attribute.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use prost::Message;

use crate::Request;

/// Bytes and occurrences of one thing said by one kind of item.
#[derive(Default)]
struct Part {
    times: usize,
    bytes: usize,
}

/// Requests, taken apart.
#[derive(Default)]
pub(crate) struct Dissection {
    /// By kind of item, and by what it says.
    parts: BTreeMap<(String, String), Part>,
    items: usize,
    /// Of the requests, and of the same messages as prost writes them.
    bytes: usize,
    canonical: usize,
}

impl Dissection {
    pub(crate) fn add(&mut self, request: &Request<'_>) {
        self.items += request.items;
        self.bytes += request.body.len();
        if request.logs {
            let message = ExportLogsServiceRequest::decode(request.body).expect("a request");
            self.canonical += message.encoded_len();
            for group in message.resource_logs {
                self.resource(
                    &group.resource.unwrap_or_default().attributes,
                    field(&group.scope_logs[0].scope),
                );
                for record in group.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                    let kind = record.event_name.trim_start_matches("tarsier.process.").to_owned();
                    self.add_item(&kind, field(&Some(record.clone())), &record.attributes);
                    self.part(&kind, "body", field(&record.body));
                    self.part(&kind, "event_name", 2 + record.event_name.len());
                }
            }
        } else {
            let message = ExportTraceServiceRequest::decode(request.body).expect("a request");
            self.canonical += message.encoded_len();
            for group in message.resource_spans {
                self.resource(
                    &group.resource.unwrap_or_default().attributes,
                    field(&group.scope_spans[0].scope),
                );
                for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    self.add_item("span", field(&Some(span.clone())), &span.attributes);
                    self.part(
                        "span",
                        "events",
                        span.events.iter().map(|event| 2 + event.encoded_len()).sum(),
                    );
                    self.part("span", "ids", 28 + span.parent_span_id.len());
                }
            }
        }
    }

    fn resource(&mut self, attributes: &[KeyValue], scope: usize) {
        self.attributes("resource", attributes);
        self.part("resource", "(scope)", scope);
    }

    fn add_item(&mut self, kind: &str, bytes: usize, attributes: &[KeyValue]) {
        self.part(kind, "", bytes);
        self.attributes(kind, attributes);
    }

    fn attributes(&mut self, kind: &str, attributes: &[KeyValue]) {
        for pair in attributes {
            self.part(kind, &pair.key, field(&Some(pair.clone())));
        }
    }

    fn part(&mut self, kind: &str, name: &str, bytes: usize) {
        let part = self.parts.entry((kind.to_owned(), name.to_owned())).or_default();
        part.times += 1;
        part.bytes += bytes;
    }

    /// One line for each part; bytes are per item of any kind.
    pub(crate) fn report(&self) -> String {
        let per_item = |bytes: usize| bytes as f64 / self.items as f64;
        let mut lines = format!(
            "{} items, {:.1} bytes each; {:.1} with lengths as short as they can be\n",
            self.items,
            per_item(self.bytes),
            per_item(self.canonical),
        );
        lines.push_str(
            "kind       what                                       times  bytes each  bytes/item\n",
        );
        for ((kind, name), Part { times, bytes }) in &self.parts {
            let (name, each) =
                (if name.is_empty() { "(whole)" } else { name }, *bytes as f64 / *times as f64);
            lines.push_str(&format!(
                "{kind:<10} {name:<42} {times:>5} {each:>11.1} {:>11.1}\n",
                per_item(*bytes)
            ));
        }
        lines
    }
}

/// Bytes of a message as a field (below 16) of another.
fn field<M: Message>(message: &Option<M>) -> usize {
    message.as_ref().map_or(0, |message| 1 + message.encode_length_delimited_to_vec().len())
}
