//! Real OTLP requests whose items carry numbers, and the numbers of a request that arrived.

use std::ops::Range;

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tarsier::export::{Batch, Signal};

/// A request of `signal` with one item per number.
pub(crate) fn batch(signal: Signal, ids: Range<u64>) -> Batch {
    let items = u32::try_from(ids.end - ids.start).unwrap();
    let body = match signal {
        Signal::Logs => logs(ids, 0).encode_to_vec(),
        Signal::Traces => traces(ids).encode_to_vec(),
        Signal::Metrics => metrics(ids).encode_to_vec(),
    };
    Batch { signal, body: body.into(), items }
}

/// A request of one log record with `bytes` of ballast.
pub(crate) fn heavy(id: u64, bytes: usize) -> Batch {
    Batch { signal: Signal::Logs, body: logs(id..id + 1, bytes).encode_to_vec().into(), items: 1 }
}

fn logs(ids: Range<u64>, ballast: usize) -> ExportLogsServiceRequest {
    let record = |id: u64| LogRecord {
        time_unix_nano: id,
        body: Some(AnyValue { value: Some(Value::StringValue("x".repeat(ballast))) }),
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: ids.map(record).collect(), ..ScopeLogs::default() };
    let resource_logs = vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }
}

fn traces(ids: Range<u64>) -> ExportTraceServiceRequest {
    let span = |id: u64| Span { start_time_unix_nano: id, ..Span::default() };
    let scope = ScopeSpans { spans: ids.map(span).collect(), ..ScopeSpans::default() };
    let resource_spans = vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

fn metrics(ids: Range<u64>) -> ExportMetricsServiceRequest {
    let point = |id: u64| NumberDataPoint {
        value: Some(number_data_point::Value::AsInt(id.cast_signed())),
        ..NumberDataPoint::default()
    };
    let sum = Sum { data_points: ids.map(point).collect(), ..Sum::default() };
    let metric = Metric { data: Some(Data::Sum(sum)), ..Metric::default() };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    let resource_metrics = vec![ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

pub(crate) fn ids_of_logs(request: &ExportLogsServiceRequest) -> Vec<u64> {
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    scopes.flat_map(|scope| &scope.log_records).map(|record| record.time_unix_nano).collect()
}

pub(crate) fn ids_of_spans(request: &ExportTraceServiceRequest) -> Vec<u64> {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).map(|span| span.start_time_unix_nano).collect()
}

pub(crate) fn ids_of_points(request: &ExportMetricsServiceRequest) -> Vec<u64> {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| &scope.metrics);
    let points = metrics.filter_map(|metric| match &metric.data {
        Some(Data::Sum(sum)) => Some(&sum.data_points),
        _ => None,
    });
    let value = |point: &NumberDataPoint| match point.value {
        Some(number_data_point::Value::AsInt(id)) => id.cast_unsigned(),
        _ => u64::MAX,
    };
    points.flatten().map(value).collect()
}
