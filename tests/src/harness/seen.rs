//! What arrived at the OTLP server, flattened: every item with its resource.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, status::StatusCode};

use super::attributes::Attributes;
use super::names;

/// A log record, span or metric with the resource that it came under.
#[derive(Clone, Debug)]
pub struct Item<T> {
    /// The resource's attributes.
    pub resource: Arc<[KeyValue]>,
    /// The item.
    pub item: T,
}

impl<T> Item<T> {
    /// The resource's attributes, to be read by name.
    pub fn resource(&self) -> Attributes<'_> {
        Attributes(&self.resource)
    }
}

impl Item<LogRecord> {
    /// The record's attributes.
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes(&self.item.attributes)
    }

    /// Whether it is `event` of process `pid`.
    pub fn is(&self, event: &str, pid: u32) -> bool {
        self.item.event_name == event && self.attributes().int(names::PID) == Some(i64::from(pid))
    }
}

impl Item<Span> {
    /// The span's attributes.
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes(&self.item.attributes)
    }

    /// The kind, if it is one that OTLP knows.
    pub fn kind(&self) -> Option<SpanKind> {
        SpanKind::try_from(self.item.kind).ok()
    }

    /// Whether its status is ERROR.
    pub fn is_error(&self) -> bool {
        self.item.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32)
    }
}

/// All that arrived and was accepted, in order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Log records.
    pub logs: Vec<Item<LogRecord>>,
    /// Spans.
    pub spans: Vec<Item<Span>>,
    /// Metrics, as often as they were sent.
    pub metrics: Vec<Item<Metric>>,
    /// Export requests that reached a handler, whatever became of them.
    pub requests: usize,
    /// Those that were refused, in part or whole.
    pub refused: usize,
    /// Log records that were kept although the connection broke before the answer: they come again.
    pub unanswered_logs: usize,
    /// Spans likewise.
    pub unanswered_spans: usize,
}

impl Seen {
    /// The only log record that is `event` of process `pid`; none if there is no such or more than one.
    pub fn event(&self, event: &str, pid: u32) -> Option<&Item<LogRecord>> {
        let mut found = self.logs.iter().filter(|log| log.is(event, pid));
        found.next().filter(|_| found.next().is_none())
    }

    /// Spans whose destination is `port`.
    pub fn spans_to(&self, port: u16) -> impl Iterator<Item = &Item<Span>> {
        self.spans
            .iter()
            .filter(move |span| span.attributes().int(names::DESTINATION_PORT) == Some(i64::from(port)))
    }

    pub(super) fn add_logs(&mut self, groups: Vec<ResourceLogs>, unanswered: bool) {
        let before = self.logs.len();
        for group in groups {
            let resource: Arc<[_]> =
                group.resource.map(|resource| resource.attributes).unwrap_or_default().into();
            let records = group.scope_logs.into_iter().flat_map(|scope| scope.log_records);
            self.logs.extend(records.map(|item| Item { resource: Arc::clone(&resource), item }));
        }
        self.unanswered_logs += if unanswered { self.logs.len() - before } else { 0 };
    }

    pub(super) fn add_spans(&mut self, groups: Vec<ResourceSpans>, unanswered: bool) {
        let before = self.spans.len();
        for group in groups {
            let resource: Arc<[_]> =
                group.resource.map(|resource| resource.attributes).unwrap_or_default().into();
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.extend(spans.map(|item| Item { resource: Arc::clone(&resource), item }));
        }
        self.unanswered_spans += if unanswered { self.spans.len() - before } else { 0 };
    }

    pub(super) fn add_metrics(&mut self, groups: Vec<ResourceMetrics>) {
        for group in groups {
            let resource: Arc<[_]> =
                group.resource.map(|resource| resource.attributes).unwrap_or_default().into();
            let metrics = group.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            self.metrics.extend(metrics.map(|item| Item { resource: Arc::clone(&resource), item }));
        }
    }
}
