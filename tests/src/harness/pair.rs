//! The two spans of one loopback connection, compared with what the workload said of it.

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use super::names;
use super::seen::{Item, Seen};

/// The spans of the connection in `line` (client's, server's), once each of them is there exactly once.
pub fn find(seen: &Seen, line: &Value) -> Option<(Item<Span>, Item<Span>)> {
    let port = u16::try_from(line["destination_port"].as_u64()?).ok()?;
    let of = |kind: SpanKind| {
        let mut spans = seen.spans_to(port).filter(|span| is_about(span, line) && span.kind() == Some(kind));
        spans.next().cloned().filter(|_| spans.next().is_none())
    };
    Some((of(SpanKind::Client)?, of(SpanKind::Server)?))
}

fn is_about(span: &Item<Span>, line: &Value) -> bool {
    let found = span.attributes();
    found.text(names::SOURCE_ADDRESS) == line["source"].as_str()
        && found.int(names::SOURCE_PORT) == line["source_port"].as_i64()
}

/// An error unless the two spans say the same as `line`, and that they belong together.
pub fn prove(line: &Value, client: &Item<Span>, server: &Item<Span>) -> anyhow::Result<()> {
    for (end, span) in [("client", client), ("server", server)] {
        let found = span.attributes();
        for (name, key) in [(names::SOURCE_ADDRESS, "source"), (names::DESTINATION_ADDRESS, "destination")] {
            ensure!(
                found.text(name) == line[key].as_str(),
                "{end}: {name} is {:?}, not {line}",
                found.text(name)
            );
        }
        for (name, key) in [
            (names::SOURCE_PORT, "source_port"),
            (names::DESTINATION_PORT, "destination_port"),
            (names::BYTES, "sent"),
            (names::REVERSE_BYTES, "received"),
            (names::PID, "pid"),
        ] {
            ensure!(
                found.int(name) == line[key].as_i64(),
                "{end}: {name} is {:?}, not {line}",
                found.int(name)
            );
        }
        ensure!(found.text(names::TRANSPORT) == Some("tcp"), "{end}: {:?}", found.text(names::TRANSPORT));
        let (start, stop) = (span.item.start_time_unix_nano, span.item.end_time_unix_nano);
        ensure!(0 < start && start <= stop, "{end}: from {start} to {stop}");
    }
    let (client, server) = (&client.item, &server.item);
    ensure!(client.trace_id.len() == 16 && client.span_id.len() == 8, "ids of the wrong size");
    ensure!(client.trace_id == server.trace_id, "two traces for one connection: {line}");
    ensure!(client.parent_span_id.is_empty(), "the client's span has a parent: {line}");
    ensure!(server.parent_span_id == client.span_id, "the server's span is not the client's child: {line}");
    ensure!(server.span_id != client.span_id, "one id for two spans: {line}");
    Ok(())
}

/// The pid in a workload's line.
pub fn pid(line: &Value) -> anyhow::Result<u32> {
    Ok(u32::try_from(line["pid"].as_u64().with_context(|| format!("no pid in {line}"))?)?)
}
