//! The agent with a real Collector and a real Jaeger: what they say arrived, field by field against
//! what the test did.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::harness::agent::{Agent, FLUSH_DEADLINE};
use crate::harness::cgroup::Cgroup;
use crate::harness::peers::{Jaeger, Peers, Written, attribute, list};
use crate::harness::{names, pair, scene};
use crate::runner::{Context, Need, Test};

/// Every test with a real backend.
pub fn tests() -> Vec<Test> {
    const PEERS: &[Need] = &[Need::Cgroup2, Need::Collector, Need::Jaeger];
    vec![Test {
        name: "backends/collector_and_jaeger_say_what_was_done",
        needs: PEERS,
        run: say_what_was_done,
    }]
}

/// The container that the workload seems to run in; spans go under its short name as service.
const CONTAINER: &str = "c0ffee00112233445566778899aabbccddeeff00112233445566778899aabbcc";
/// Jaeger takes in what the Collector sent.
const INTAKE: Duration = Duration::from_secs(30);
/// Processes of the workload.
const PROCESSES: usize = 50;
/// Connections of the workload.
const CONNECTIONS: usize = 200;

fn say_what_was_done(context: &Context) -> anyhow::Result<()> {
    let peers = Peers::start(context)?;
    let cgroup = Cgroup::new("backends")?;
    let group = cgroup.below(&format!("docker/{CONTAINER}"))?;
    let agent = Agent::start(context, cgroup.path(), &peers.endpoint(), "")?;
    let workload = |arguments: &[&str]| {
        let arguments: Vec<_> = std::iter::once("workload").chain(arguments.iter().copied()).collect();
        scene::lines(scene::itest(&context.itest, &group, &arguments)?)
    };
    let processes = workload(&["processes", "--count", &PROCESSES.to_string(), "--marker", "backends"])?;
    let connections = workload(&["connections", "--count", &CONNECTIONS.to_string()])?;
    let refused = workload(&["refused"])?;
    agent.terminate(FLUSH_DEADLINE)?;
    let (written, jaeger) = peers.settle()?;

    logs_say(&written, &processes).context("logs, as the Collector wrote them")?;
    metrics_say(&written, &connections).context("metrics, as the Collector wrote them")?;
    let service = service_of(&written)?;
    spans_say(&jaeger, &service, &connections, &refused).context("spans, as Jaeger shows them")
}

fn logs_say(written: &Written, processes: &[Value]) -> anyhow::Result<()> {
    let logs = written.items("logs")?;
    // Three scripts exec and exit in the group too.
    let expected = 3 * processes.len() + 6;
    ensure!(logs.len() == expected, "{} records for {expected} events", logs.len());
    let mut by_process: HashMap<(String, i64), &(Value, Value)> = HashMap::new();
    for log in &logs {
        let event = log.1["eventName"].as_str().context("a record without event name")?;
        let pid =
            attribute(&log.1, names::PID).and_then(|pid| pid.as_i64()).context("a record without pid")?;
        ensure!(by_process.insert((event.to_owned(), pid), log).is_none(), "two {event} of {pid}");
    }
    for line in processes {
        let of = |event: &str| {
            let key = (event.to_owned(), line["pid"].as_i64().unwrap_or_default());
            by_process.get(&key).copied().with_context(|| format!("no {event} of {line}"))
        };
        let (exec, exit) = (of(names::EXEC)?, of(names::EXIT)?);
        for ((resource, record), key, expected) in [
            (of(names::FORK)?, names::PARENT_PID, &line["parent"]),
            (exec, names::PARENT_PID, &line["parent"]),
            (exec, names::ARGS, &line["arguments"]),
            (exec, names::EXE_PATH, &line["arguments"][0]),
            (exit, names::EXIT_CODE, &line["exit"]),
        ] {
            let found = attribute(record, key);
            ensure!(found.as_ref() == Some(expected), "{key} is {found:?}, not {expected}");
            let container = attribute(resource, names::CONTAINER_ID);
            ensure!(container == Some(CONTAINER.into()), "the resource's container is {container:?}");
        }
    }
    Ok(())
}

/// All bytes of the workload are in the byte counters, from the client's and the server's report.
fn metrics_say(written: &Written, connections: &[Value]) -> anyhow::Result<()> {
    let metrics = written.items("metrics")?;
    ensure!(!metrics.is_empty(), "no metrics at all");
    for (resource, _) in &metrics {
        let service = attribute(resource, names::SERVICE_NAME);
        ensure!(service == Some("tarsier".into()), "metrics of service {service:?}: they are the agent's");
    }
    let sum = |key: &str| connections.iter().filter_map(|line| line[key].as_u64()).sum::<u64>();
    let moved = sum("sent") + sum("received");
    let counters: Vec<_> = metrics
        .iter()
        .map(|(_, metric)| metric)
        .filter(|metric| metric["name"] == names::BYTES_METRIC)
        .collect();
    let found = total(&counters);
    ensure!(found == 2 * moved, "{} counts {found} bytes at both ends of {moved}", names::BYTES_METRIC);
    Ok(())
}

/// What a counter sent in several requests has counted in all: the sum of its increments, or of the last
/// value of each series if it is cumulative.
fn total(requests: &[&Value]) -> u64 {
    const CUMULATIVE: u64 = 2;
    let mut series: HashMap<String, u64> = HashMap::new();
    for metric in requests {
        let cumulative = metric["sum"]["aggregationTemporality"] == CUMULATIVE;
        for point in list(&metric["sum"]["dataPoints"]) {
            let value = point["asInt"].as_str().and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
            let so_far = series.entry(point["attributes"].to_string()).or_default();
            *so_far = if cumulative { value } else { *so_far + value };
        }
    }
    series.values().sum()
}

/// What the logs' resource calls the workload: spans go under the same name.
fn service_of(written: &Written) -> anyhow::Result<String> {
    let logs = written.items("logs")?;
    let service = logs.first().and_then(|(resource, _)| attribute(resource, names::SERVICE_NAME));
    Ok(service.as_ref().and_then(Value::as_str).context("logs without service name")?.to_owned())
}

fn spans_say(jaeger: &Jaeger, service: &str, connections: &[Value], refused: &[Value]) -> anyhow::Result<()> {
    let traces = jaeger.traces(service, connections.len() + refused.len(), INTAKE)?;
    ensure!(traces.len() == connections.len() + refused.len(), "{} traces", traces.len());
    let mut by_source = HashMap::new();
    for trace in &traces {
        let spans = list(&trace["spans"]);
        let first = spans.first().context("a trace without spans")?;
        let key = (tag(first, names::SOURCE_ADDRESS).cloned(), tag(first, names::DESTINATION_PORT).cloned());
        ensure!(by_source.insert(key, trace).is_none(), "two traces of one connection");
    }
    let of = |line: &Value| {
        let key = (Some(line["source"].clone()), Some(line["destination_port"].clone()));
        by_source.get(&key).copied().with_context(|| format!("no trace of {line}"))
    };
    for line in connections {
        one_trace(of(line)?, line).with_context(|| line.to_string())?;
    }
    for line in refused {
        let trace = of(line)?;
        let [span] = list(&trace["spans"]) else { bail!("a refused connect has one span, not {trace}") };
        ensure!(tag(span, "error") == Some(&true.into()), "not shown as an error: {span}");
        ensure!(tag(span, names::ERROR_TYPE) == Some(&"refused".into()), "{span}");
    }
    Ok(())
}

/// One trace as Jaeger shows it: the client's span and, as its child, the server's.
fn one_trace(trace: &Value, line: &Value) -> anyhow::Result<()> {
    let spans = list(&trace["spans"]);
    let of = |kind: &str| spans.iter().find(|span| tag(span, "span.kind") == Some(&kind.into()));
    let (Some(client), Some(server), 2) = (of("client"), of("server"), spans.len()) else {
        bail!("not a client's and a server's span: {trace}");
    };
    for span in [client, server] {
        for (key, expected) in [
            (names::SOURCE_ADDRESS, &line["source"]),
            (names::SOURCE_PORT, &line["source_port"]),
            (names::DESTINATION_ADDRESS, &line["destination"]),
            (names::DESTINATION_PORT, &line["destination_port"]),
            (names::BYTES, &line["sent"]),
            (names::REVERSE_BYTES, &line["received"]),
            (names::PID, &pair::pid(line)?.into()),
        ] {
            ensure!(tag(span, key) == Some(expected), "{key} is {:?}", tag(span, key));
        }
        ensure!(tag(span, "error").is_none(), "shown as an error: {span}");
        let process = &trace["processes"][span["processID"].as_str().unwrap_or_default()];
        let container = list(&process["tags"]).iter().find(|tag| tag["key"] == names::CONTAINER_ID);
        ensure!(container.is_some_and(|tag| tag["value"] == CONTAINER), "its container is {container:?}");
    }
    let parent = list(&server["references"]).first().context("the server's span has no parent")?;
    ensure!(
        parent["refType"] == "CHILD_OF" && parent["spanID"] == client["spanID"],
        "its parent is {parent}"
    );
    ensure!(list(&client["references"]).is_empty(), "the client's span has a parent");
    Ok(())
}

/// The value of a tag of a span, in Jaeger's JSON.
fn tag<'a>(span: &'a Value, key: &str) -> Option<&'a Value> {
    list(&span["tags"]).iter().find(|tag| tag["key"] == key).map(|tag| &tag["value"])
}
