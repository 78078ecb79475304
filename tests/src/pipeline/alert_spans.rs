//! An alert about a TCP connection bears the ids of the span that tells of the connection when it has ended.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::SCENE;
use crate::harness::names;
use crate::harness::scene::{ARRIVAL, Scene};
use crate::harness::seen::{Item, Seen};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] =
    &[Test { name: "alert_spans/are_those_of_connections", needs: SCENE, run: are_those_of_connections }];

/// Of what is done to a connection, and of a socket that has none.
const RULE: &str = "
- rule: connection
  desc: a call on a socket of TCP
  condition: evt.type in (connect, accept, accept4, sendto, recvfrom, listen) and fd.l4proto = tcp
  output: \"%evt.type %fd.cip:%fd.cport\"
  priority: NOTICE
";
/// Connections of the workload.
const COUNT: usize = 20;

/// The client's end as text, and whether it is the client's span.
type End = (String, bool);
/// Trace and span.
type Ids = (Vec<u8>, Vec<u8>);

/// The ids of every connection's two spans.
fn spans(seen: &Seen) -> BTreeMap<End, Ids> {
    let of = |span: &Item<Span>| {
        let attributes = span.attributes();
        let (address, port) = (attributes.text(names::SOURCE_ADDRESS)?, attributes.int(names::SOURCE_PORT)?);
        let is_client = span.kind()? == SpanKind::Client;
        Some((
            (format!("{address}:{port}"), is_client),
            (span.item.trace_id.clone(), span.item.span_id.clone()),
        ))
    };
    seen.spans.iter().filter_map(of).collect()
}

/// Every alert: what was called, the client's end, its ids.
fn alerts(seen: &Seen) -> Vec<(String, String, Ids)> {
    let told = seen.logs.iter().filter(|log| log.item.event_name == "tarsier.alert");
    let of = |log: &Item<LogRecord>| {
        let body = log.item.body.as_ref()?.value.as_ref()?;
        let Value::StringValue(message) = body else { return None };
        let (call, end) = message.split_once(' ')?;
        let end = end.split_once(' ').map_or(end, |(end, _)| end);
        Some((call.to_owned(), end.to_owned(), (log.item.trace_id.clone(), log.item.span_id.clone())))
    };
    told.filter_map(of).collect()
}

fn are_those_of_connections(context: &Context) -> anyhow::Result<()> {
    let files = tempfile::tempdir()?;
    let path = files.path().join("rules.yaml");
    std::fs::write(&path, RULE)?;
    let config = format!("rules: {{ files: [{}] }}\n", path.display());
    let scene = Scene::configured(context, "spans", &config)?;
    scene.workload(&["connections", "--count", &COUNT.to_string()])?;
    let is_there = |seen: &Seen| {
        let alerts = alerts(seen);
        let count =
            |calls: &[&str]| alerts.iter().filter(|(call, ..)| calls.contains(&call.as_str())).count();
        let made = count(&["connect"]) >= COUNT && count(&["accept", "accept4"]) >= COUNT;
        (made && spans(seen).len() >= 2 * COUNT).then(|| (alerts, spans(seen)))
    };
    let (alerts, spans) = scene.receiver.wait("alerts and spans of all connections", ARRIVAL, is_there)?;
    let mut named = BTreeMap::<&str, (usize, usize)>::new();
    for (call, end, ids) in &alerts {
        let (with, all) = named.entry(call).or_default();
        *all += 1;
        if *ids == Ids::default() {
            continue;
        }
        *with += 1;
        // Both ends live in one process: which of them sent or received the call does not say.
        let of_side = |is_client| spans.get(&(end.clone(), is_client));
        let expected: Vec<_> = match call.as_str() {
            "connect" => vec![of_side(true)],
            "accept" | "accept4" => vec![of_side(false)],
            _ => vec![of_side(true), of_side(false)],
        };
        let is_span = expected.contains(&Some(ids));
        ensure!(is_span, "{call} on {end} has {ids:02x?}, the spans are {expected:02x?}");
    }
    let of = |call: &str| named.get(call).copied().unwrap_or_default();
    let (accepts, fours) = (of("accept"), of("accept4"));
    ensure!(of("connect") == (COUNT, COUNT), "connect: {named:?}");
    ensure!((accepts.0 + fours.0, accepts.1 + fours.1) == (COUNT, COUNT), "accept: {named:?}");
    // While one end sends, the other may just be changing the socket.
    ensure!(of("sendto").0 > COUNT && of("recvfrom").0 > COUNT, "send and receive: {named:?}");
    let (with, all) = of("listen");
    ensure!(with == 0 && all > 0, "a socket that listens is no connection: {named:?}");
    let (trace, span) =
        alerts.iter().find(|(call, ..)| call == "connect").map(|found| &found.2).context("none")?;
    ensure!(trace.len() == 16 && span.len() == 8, "{trace:02x?} {span:02x?}");
    Ok(())
}
