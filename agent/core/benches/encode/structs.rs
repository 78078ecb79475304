//! Message structures of `opentelemetry-proto`, built and encoded by prost: once grouped by workload as
//! ours are, once with the workload told on every record.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tarsier_core::encode::Identity;
use tarsier_core::encode::ids::FlowIds;
use tarsier_core::event::{Flow, Process, Report, Role, What, Workload};

use crate::plain::{self, Sink, unix_ns};
use crate::reports::Reports;
use crate::{CLOCK, Request, Side};

/// As many as our requests hold, about; both kinds count alone.
const BATCH: usize = 600;

impl Sink for Vec<KeyValue> {
    fn text(&mut self, key: &'static str, value: String) {
        self.push(pair(key, Value::StringValue(value)));
    }
    fn word(&mut self, key: &'static str, value: &'static str) {
        self.text(key, value.to_owned());
    }
    fn int(&mut self, key: &'static str, value: i64) {
        self.push(pair(key, Value::IntValue(value)));
    }
    fn bool(&mut self, key: &'static str, value: bool) {
        self.push(pair(key, Value::BoolValue(value)));
    }
    fn double(&mut self, key: &'static str, value: f64) {
        self.push(pair(key, Value::DoubleValue(value)));
    }
    fn texts(&mut self, key: &'static str, values: Vec<String>) {
        let values =
            values.into_iter().map(|value| AnyValue { value: Some(Value::StringValue(value)) }).collect();
        self.push(pair(key, Value::ArrayValue(ArrayValue { values })));
    }
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

pub(crate) struct Structs {
    identity: Identity,
    ids: FlowIds,
    grouped: bool,
    logs: Groups<LogRecord>,
    spans: Groups<Span>,
}

impl Structs {
    pub(crate) fn new(identity: &Identity, grouped: bool) -> Self {
        Self {
            identity: identity.clone(),
            ids: FlowIds::new(&identity.flow_key),
            grouped,
            logs: Groups::new(),
            spans: Groups::new(),
        }
    }

    fn resource(&self, workload: &Workload) -> Resource {
        let mut attributes = Vec::new();
        if self.grouped {
            plain::workload(&mut attributes, "service.name", workload);
        } else {
            attributes.word("service.name", "tarsier");
        }
        host(&mut attributes, &self.identity);
        Resource { attributes, ..Default::default() }
    }

    fn scope(&self) -> InstrumentationScope {
        InstrumentationScope {
            name: "tarsier".to_owned(),
            version: self.identity.version.clone(),
            ..Default::default()
        }
    }

    fn record(&self, report: &Report<'_>) -> Option<LogRecord> {
        let (name, body, process) = plain::log(&report.what)?;
        let mut attributes = Vec::new();
        plain::log_attributes(&mut attributes, &report.what, process, report.workload);
        if !self.grouped {
            plain::workload(&mut attributes, "tarsier.workload.name", report.workload);
        }
        Some(LogRecord {
            time_unix_nano: unix_ns(report.at_ns),
            observed_time_unix_nano: CLOCK.now_unix_ns,
            severity_number: 9,
            severity_text: "INFO".to_owned(),
            body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
            attributes,
            event_name: name.to_owned(),
            ..Default::default()
        })
    }

    fn span(&self, flow: &Flow, process: Option<&Process>, workload: &Workload) -> Span {
        let ids = self.ids.of(flow);
        let mut attributes = Vec::new();
        plain::flow_attributes(&mut attributes, flow, process);
        if !self.grouped {
            plain::workload(&mut attributes, "tarsier.workload.name", workload);
        }
        let established = || Event {
            time_unix_nano: unix_ns(flow.established_ns),
            name: "established".to_owned(),
            ..Default::default()
        };
        Span {
            trace_id: ids.trace.to_vec(),
            span_id: ids.span.to_vec(),
            parent_span_id: ids.parent.map(Vec::from).unwrap_or_default(),
            flags: if ids.parent.is_some() { 0x301 } else { 0x101 },
            name: plain::span_name(flow),
            kind: match flow.role {
                Role::Client => SpanKind::Client,
                Role::Server => SpanKind::Server,
                Role::Unknown => SpanKind::Internal,
            } as i32,
            start_time_unix_nano: unix_ns(flow.start_ns),
            end_time_unix_nano: unix_ns(flow.end_ns),
            attributes,
            events: (flow.established_ns > 0).then(established).into_iter().collect(),
            ..Default::default()
        }
    }

    fn send_logs(&mut self, request: &mut dyn FnMut(Request<'_>)) {
        let items = self.logs.take();
        let resource_logs = items.1.into_iter().map(|(workload, log_records)| ResourceLogs {
            resource: Some(self.resource(&workload)),
            scope_logs: vec![ScopeLogs { scope: Some(self.scope()), log_records, ..Default::default() }],
            ..Default::default()
        });
        let message = ExportLogsServiceRequest { resource_logs: resource_logs.collect() };
        request(Request { logs: true, items: items.0, body: &message.encode_to_vec() });
    }

    fn send_spans(&mut self, request: &mut dyn FnMut(Request<'_>)) {
        let items = self.spans.take();
        let resource_spans = items.1.into_iter().map(|(workload, spans)| ResourceSpans {
            resource: Some(self.resource(&workload)),
            scope_spans: vec![ScopeSpans { scope: Some(self.scope()), spans, ..Default::default() }],
            ..Default::default()
        });
        let message = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
        request(Request { logs: false, items: items.0, body: &message.encode_to_vec() });
    }
}

/// Items by workload, in order of appearance.
struct Groups<T> {
    items: usize,
    groups: Vec<(Workload, Vec<T>)>,
}

impl<T> Groups<T> {
    fn new() -> Self {
        Self { items: 0, groups: Vec::new() }
    }

    /// How many there are, with `item`.
    fn push(&mut self, workload: &Workload, grouped: bool, item: T) -> usize {
        self.items += 1;
        let same = |known: &Workload| !grouped || known.index == workload.index;
        match self.groups.iter_mut().find(|(known, _)| same(known)) {
            Some((_, items)) => items.push(item),
            None => self.groups.push((workload.clone(), vec![item])),
        }
        self.items
    }

    fn take(&mut self) -> (usize, Vec<(Workload, Vec<T>)>) {
        (std::mem::take(&mut self.items), std::mem::take(&mut self.groups))
    }
}

impl Side for Structs {
    fn name(&self) -> &'static str {
        if self.grouped { "prost-grouped" } else { "prost-flat" }
    }

    fn pass(&mut self, reports: &Reports, request: &mut dyn FnMut(Request<'_>)) {
        for report in reports.iter() {
            if let What::Flow { flow, process } = report.what {
                let span = self.span(flow, process, report.workload);
                if self.spans.push(report.workload, self.grouped, span) == BATCH {
                    self.send_spans(request);
                }
            } else if let Some(record) = self.record(&report)
                && self.logs.push(report.workload, self.grouped, record) == BATCH
            {
                self.send_logs(request);
            }
        }
    }

    fn finish(&mut self, request: &mut dyn FnMut(Request<'_>)) {
        self.send_logs(request);
        self.send_spans(request);
    }
}

/// What the agent knows of its host.
pub(crate) fn host(sink: &mut impl Sink, identity: &Identity) {
    sink.text("host.name", identity.host_name.clone());
    sink.text("host.id", identity.host_id.clone().unwrap_or_default());
    sink.word("os.type", "linux");
    sink.text("k8s.node.name", identity.node_name.clone().unwrap_or_default());
    sink.word("telemetry.distro.name", "tarsier");
    sink.text("telemetry.distro.version", identity.version.clone());
    sink.text("tarsier.boot.id", identity.boot_id.clone().unwrap_or_default());
}
