//! The way of `opentelemetry-otlp`: a provider of the SDK with a batch processor makes records, the
//! exporter turns them into message structures (`opentelemetry-proto`'s `transform`) and prost encodes
//! these. What the batch processors do beside gathering (a channel, a thread) and gRPC are left out.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogProcessor, SdkLogRecord, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::{IdGenerator, Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanProcessor};
use prost::Message as _;
use tarsier_core::encode::Identity;
use tarsier_core::encode::ids::FlowIds;
use tarsier_core::event::{Flow, Process, Report, Role, What, Workload};

use crate::plain::{self, Sink, unix_ns};
use crate::reports::Reports;
use crate::structs::host;
use crate::{CLOCK, Request, Side};

/// The SDK's own default.
const BATCH: usize = 512;

impl Sink for SdkLogRecord {
    fn text(&mut self, key: &'static str, value: String) {
        self.add_attribute(key, value);
    }
    fn word(&mut self, key: &'static str, value: &'static str) {
        self.add_attribute(key, value);
    }
    fn int(&mut self, key: &'static str, value: i64) {
        self.add_attribute(key, value);
    }
    fn bool(&mut self, key: &'static str, value: bool) {
        self.add_attribute(key, value);
    }
    fn double(&mut self, key: &'static str, value: f64) {
        self.add_attribute(key, value);
    }
    fn texts(&mut self, key: &'static str, values: Vec<String>) {
        self.add_attribute(key, values.into_iter().collect::<AnyValue>());
    }
}

/// Attributes of a span or a resource.
#[derive(Default)]
struct Pairs(Vec<KeyValue>);

impl Sink for Pairs {
    fn text(&mut self, key: &'static str, value: String) {
        self.0.push(KeyValue::new(key, value));
    }
    fn word(&mut self, key: &'static str, value: &'static str) {
        self.0.push(KeyValue::new(key, value));
    }
    fn int(&mut self, key: &'static str, value: i64) {
        self.0.push(KeyValue::new(key, value));
    }
    fn bool(&mut self, key: &'static str, value: bool) {
        self.0.push(KeyValue::new(key, value));
    }
    fn double(&mut self, key: &'static str, value: f64) {
        self.0.push(KeyValue::new(key, value));
    }
    fn texts(&mut self, key: &'static str, values: Vec<String>) {
        let values = values.into_iter().map(StringValue::from).collect();
        self.0.push(KeyValue::new(key, Value::Array(Array::String(values))));
    }
}

/// What a batch processor has gathered.
type LogQueue = Arc<Mutex<Vec<(SdkLogRecord, InstrumentationScope)>>>;
type SpanQueue = Arc<Mutex<Vec<SpanData>>>;

#[derive(Debug)]
struct GatherLogs(LogQueue);

impl LogProcessor for GatherLogs {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        // As the SDK's batch processor takes them.
        self.0.lock().expect("one thread").push((record.clone(), scope.clone()));
    }
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[derive(Debug)]
struct GatherSpans(SpanQueue);

impl SpanProcessor for GatherSpans {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}
    fn on_end(&self, span: SpanData) {
        self.0.lock().expect("one thread").push(span);
    }
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

thread_local! {
    /// The ids of the span that is made next: ours are not random.
    static IDS: Cell<([u8; 16], [u8; 8])> = const { Cell::new(([0; 16], [0; 8])) };
}

#[derive(Debug)]
struct OurIds;

impl IdGenerator for OurIds {
    fn new_trace_id(&self) -> TraceId {
        TraceId::from_bytes(IDS.get().0)
    }
    fn new_span_id(&self) -> SpanId {
        SpanId::from_bytes(IDS.get().1)
    }
}

pub(crate) struct Sdk {
    logger: SdkLogger,
    tracer: SdkTracer,
    logs: LogQueue,
    spans: SpanQueue,
    resource: ResourceAttributesWithSchema,
    ids: FlowIds,
}

impl Sdk {
    pub(crate) fn new(identity: &Identity) -> Self {
        let mut attributes = Pairs::default();
        attributes.word("service.name", "tarsier");
        host(&mut attributes, identity);
        let resource = Resource::builder_empty().with_attributes(attributes.0).build();
        let (logs, spans) = (LogQueue::default(), SpanQueue::default());
        let scope = InstrumentationScope::builder("tarsier").with_version(identity.version.clone()).build();
        let loggers = SdkLoggerProvider::builder()
            .with_resource(resource.clone())
            .with_log_processor(GatherLogs(Arc::clone(&logs)))
            .build();
        let tracers = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_id_generator(OurIds)
            .with_sampler(Sampler::AlwaysOn)
            .with_span_processor(GatherSpans(Arc::clone(&spans)))
            .build();
        Self {
            logger: loggers.logger_with_scope(scope.clone()),
            tracer: tracers.tracer_with_scope(scope),
            logs,
            spans,
            resource: (&resource).into(),
            ids: FlowIds::new(&identity.flow_key),
        }
    }

    fn log(&self, report: &Report<'_>) {
        let Some((name, body, process)) = plain::log(&report.what) else { return };
        let mut record = self.logger.create_log_record();
        record.set_event_name(name);
        record.set_timestamp(time(unix_ns(report.at_ns)));
        record.set_observed_timestamp(time(CLOCK.now_unix_ns));
        record.set_severity_number(Severity::Info);
        record.set_severity_text("INFO");
        record.set_body(body.into());
        plain::log_attributes(&mut record, &report.what, process, report.workload);
        plain::workload(&mut record, "tarsier.workload.name", report.workload);
        self.logger.emit(record);
    }

    fn span(&self, flow: &Flow, process: Option<&Process>, workload: &Workload) {
        let ids = self.ids.of(flow);
        IDS.set((ids.trace, ids.span));
        let mut attributes = Pairs::default();
        plain::flow_attributes(&mut attributes, flow, process);
        plain::workload(&mut attributes, "tarsier.workload.name", workload);
        let kind = match flow.role {
            Role::Client => SpanKind::Client,
            Role::Server => SpanKind::Server,
            Role::Unknown => SpanKind::Internal,
        };
        let builder = self
            .tracer
            .span_builder(plain::span_name(flow))
            .with_kind(kind)
            .with_start_time(time(unix_ns(flow.start_ns)))
            .with_attributes(attributes.0);
        let parent = ids.parent.map_or_else(Context::new, |parent| {
            let (trace, span) = (TraceId::from_bytes(ids.trace), SpanId::from_bytes(parent));
            let flags = TraceFlags::SAMPLED;
            let context = SpanContext::new(trace, span, flags, true, TraceState::default());
            Context::new().with_remote_span_context(context)
        });
        let mut span = builder.start_with_context(&self.tracer, &parent);
        if flow.established_ns > 0 {
            span.add_event_with_timestamp("established", time(unix_ns(flow.established_ns)), Vec::new());
        }
        span.end_with_timestamp(time(unix_ns(flow.end_ns)));
    }

    fn send_logs(&self, at_least: usize, request: &mut dyn FnMut(Request<'_>)) {
        let mut queue = self.logs.lock().expect("one thread");
        if queue.len() < at_least {
            return;
        }
        let batch: Vec<_> = queue.iter().map(|(record, scope)| (record, scope)).collect();
        let resource_logs = group_logs_by_resource_and_scope(&LogBatch::new(&batch), &self.resource);
        let message = ExportLogsServiceRequest { resource_logs };
        request(Request { logs: true, items: batch.len(), body: &message.encode_to_vec() });
        queue.clear();
    }

    fn send_spans(&self, at_least: usize, request: &mut dyn FnMut(Request<'_>)) {
        let mut queue = self.spans.lock().expect("one thread");
        if queue.len() < at_least {
            return;
        }
        let batch = std::mem::take(&mut *queue);
        let items = batch.len();
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let message = ExportTraceServiceRequest { resource_spans };
        request(Request { logs: false, items, body: &message.encode_to_vec() });
    }
}

impl Side for Sdk {
    fn name(&self) -> &'static str {
        "sdk"
    }

    fn pass(&mut self, reports: &Reports, request: &mut dyn FnMut(Request<'_>)) {
        for report in reports.iter() {
            if let What::Flow { flow, process } = report.what {
                self.span(flow, process, report.workload);
                self.send_spans(BATCH, request);
            } else {
                self.log(&report);
                self.send_logs(BATCH, request);
            }
        }
    }

    fn finish(&mut self, request: &mut dyn FnMut(Request<'_>)) {
        self.send_logs(1, request);
        self.send_spans(1, request);
    }
}

fn time(unix_ns: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_ns)
}
