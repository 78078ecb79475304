//! Real backends: an OpenTelemetry Collector that writes down all that it receives and forwards spans,
//! and a Jaeger that keeps those spans in memory and is asked for them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use serde_json::Value;

use super::daemon::Daemon;
use super::{http, tool};
use crate::runner::Context;

/// Both are built on the Collector's service, which says this when all its parts have started.
const READY: &str = "Everything is ready";
/// How long one may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);
/// How long one may take to end, its queues sent.
const END: Duration = Duration::from_secs(30);

/// Collector and Jaeger, on loopback ports of their own.
#[derive(Debug)]
pub struct Peers {
    collector: Daemon,
    _jaeger: Daemon,
    otlp: SocketAddr,
    query: SocketAddr,
    files: tempfile::TempDir,
}

/// What the Collector wrote down: one JSON document per request, in OTLP's JSON form.
#[derive(Debug)]
pub struct Written {
    files: tempfile::TempDir,
}

/// Jaeger alone, after the Collector has sent it everything.
#[derive(Debug)]
pub struct Jaeger {
    _daemon: Daemon,
    query: SocketAddr,
}

impl Peers {
    /// Starts both and waits until they are ready.
    pub fn start(context: &Context) -> anyhow::Result<Self> {
        let binary =
            |path: &Option<PathBuf>, name: &str| path.clone().with_context(|| format!("no binary of {name}"));
        let files = tempfile::tempdir()?;
        let addresses =
            [tool::free_address()?, tool::free_address()?, tool::free_address()?, tool::free_address()?];
        let [otlp, spans, query, query_grpc] = addresses;
        let run = |binary: PathBuf, name: &str, config: &str| -> anyhow::Result<Daemon> {
            let file = files.path().join(format!("{name}.yaml"));
            fs::write(&file, config)?;
            let mut command = Command::new(binary);
            command.arg("--config").arg(&file).current_dir(files.path());
            // Jaeger would trace itself, to a server that is not there.
            command.env("OTEL_TRACES_SAMPLER", "always_off");
            Daemon::start(command, READY, START, &context.log).context(name.to_owned())
        };
        let jaeger =
            run(binary(&context.jaeger, "Jaeger")?, "jaeger", &jaeger_config(spans, query, query_grpc))?;
        let config = collector_config(otlp, spans, files.path());
        let collector = run(binary(&context.collector, "the Collector")?, "collector", &config)?;
        Ok(Self { collector, _jaeger: jaeger, otlp, query, files })
    }

    /// Where the Collector takes OTLP over gRPC.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.otlp)
    }

    /// Ends the Collector, which writes and forwards what it still holds.
    pub fn settle(mut self) -> anyhow::Result<(Written, Jaeger)> {
        let ended = self.collector.end(Signal::TERM, END).context("the Collector after SIGTERM")?;
        if !ended.status.success() {
            bail!("the Collector ended with {}", ended.status);
        }
        Ok((Written { files: self.files }, Jaeger { _daemon: self._jaeger, query: self.query }))
    }
}

impl Written {
    /// The items of `signal` (logs, metrics): each with its resource, as `(resource, item)`.
    pub fn items(&self, signal: &str) -> anyhow::Result<Vec<(Value, Value)>> {
        let (groups, scopes, items) = match signal {
            "logs" => ("resourceLogs", "scopeLogs", "logRecords"),
            "metrics" => ("resourceMetrics", "scopeMetrics", "metrics"),
            other => bail!("no signal {other}"),
        };
        let text = fs::read_to_string(self.files.path().join(format!("{signal}.json")))?;
        let mut found = Vec::new();
        for line in text.lines() {
            let document: Value = serde_json::from_str(line).context("a line of the Collector")?;
            for group in list(&document[groups]) {
                for item in list(&group[scopes]).iter().flat_map(|scope| list(&scope[items])) {
                    found.push((group["resource"].clone(), item.clone()));
                }
            }
        }
        Ok(found)
    }
}

impl Jaeger {
    /// The traces of `service` by the query API, once there are `count` of them. Jaeger takes spans in
    /// at its own pace and announces nothing, so this must look again and again.
    pub fn traces(&self, service: &str, count: usize, deadline: Duration) -> anyhow::Result<Vec<Value>> {
        let end = Instant::now() + deadline;
        loop {
            let path = format!("/api/traces?service={service}&limit=10000");
            let mut answer: Value = serde_json::from_str(&http::get(self.query, &path, END)?)?;
            let traces = answer["data"].take();
            let traces = traces.as_array().context("the query API's data")?;
            if traces.len() >= count {
                return Ok(traces.clone());
            }
            if Instant::now() >= end {
                let services = http::get(self.query, "/api/services", END)?;
                bail!("Jaeger has {} of {count} traces of {service}; its services: {services}", traces.len());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A JSON array's elements; of anything else, none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// An attribute in OTLP's JSON form, as plain JSON: 64-bit integers come as strings there.
pub fn attribute(item: &Value, key: &str) -> Option<Value> {
    let found = list(&item["attributes"]).iter().find(|attribute| attribute["key"] == key)?;
    plain(&found["value"])
}

fn plain(value: &Value) -> Option<Value> {
    let (kind, value) = value.as_object()?.iter().next()?;
    match kind.as_str() {
        "intValue" => value.as_str()?.parse::<i64>().ok().map(Value::from),
        "arrayValue" => list(&value["values"]).iter().map(plain).collect(),
        _ => Some(value.clone()),
    }
}

fn collector_config(otlp: SocketAddr, spans: SocketAddr, files: &Path) -> String {
    let files = files.display();
    format!(
        "receivers:
  otlp:
    protocols:
      grpc: {{endpoint: \"{otlp}\", max_recv_msg_size_mib: 20}}
exporters:
  file/logs: {{path: \"{files}/logs.json\"}}
  file/traces: {{path: \"{files}/traces.json\"}}
  file/metrics: {{path: \"{files}/metrics.json\"}}
  otlp/jaeger:
    endpoint: \"{spans}\"
    tls: {{insecure: true}}
service:
  telemetry:
    metrics: {{level: none}}
  pipelines:
    logs: {{receivers: [otlp], exporters: [file/logs]}}
    traces: {{receivers: [otlp], exporters: [file/traces, otlp/jaeger]}}
    metrics: {{receivers: [otlp], exporters: [file/metrics]}}
"
    )
}

fn jaeger_config(spans: SocketAddr, query: SocketAddr, query_grpc: SocketAddr) -> String {
    format!(
        "service:
  extensions: [jaeger_storage, jaeger_query]
  telemetry:
    metrics: {{level: none}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
extensions:
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: \"{query}\"}}
    grpc: {{endpoint: \"{query_grpc}\"}}
  jaeger_storage:
    backends:
      memory:
        memory: {{max_traces: 100000}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: \"{spans}\", max_recv_msg_size_mib: 20}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"
    )
}
