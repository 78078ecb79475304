//! The spans of many connections at once, compared with what the workload said of each.
//!
//! From 6.2 on a kernel does not run a program on a CPU where it is at work already, and counts that; in 7.2, where a
//! program can be preempted, a busy machine has many such runs. What one of them costs is known (docs/adr/0004):
//! an end of a connection lacks its start and its owner, or its close, and its span says so; without the two or three
//! runs of its life it is not told at all. So no end may be told twice, all that is not marked must be right, and
//! what is marked or missing must be explained by runs that were skipped.

use std::collections::HashMap;

use anyhow::{Context as _, bail, ensure};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use super::seen::{Item, Seen};
use super::{names, pair};

/// The client's address and port, the server's port.
type Ends<'a> = (&'a str, i64, i64);

/// Runs that make an end known: that it is established, and that it is closed.
const RUNS: u64 = 2;

/// An error unless each connection of `lines` is told by two spans, one of each end, and nothing else is: but for
/// what the kernel's `skipped` runs explain.
pub fn prove(seen: &Seen, lines: &[Value], skipped: u64) -> anyhow::Result<()> {
    let mut by_ends: HashMap<Ends<'_>, Vec<&Item<Span>>> = HashMap::new();
    for span in &seen.spans {
        let found = span.attributes();
        let end = |address, port| Some((found.text(address)?, found.int(port)?));
        let source = end(names::SOURCE_ADDRESS, names::SOURCE_PORT).context("a span without a source")?;
        let destination = end(names::DESTINATION_ADDRESS, names::DESTINATION_PORT)
            .context("a span without a destination")?;
        // Of an end whose role is not known, the source is the local one, be it the server.
        by_ends.entry((source.0, source.1, destination.1)).or_default().push(span);
        by_ends.entry((destination.0, destination.1, source.1)).or_default().push(span);
    }
    let (mut lacking, mut told) = (0, 0);
    for line in lines {
        let source = line["source"].as_str().zip(line["source_port"].as_i64());
        let (address, port) = source.with_context(|| format!("no source in {line}"))?;
        let server_port = line["destination_port"].as_i64().context("no destination")?;
        let spans = by_ends.get(&(address, port, server_port)).map_or(&[][..], Vec::as_slice);
        lacking += one_connection(line, spans)?;
        told += spans.len();
    }
    ensure!(told == seen.spans.len(), "{} spans, and {told} of the connections made", seen.spans.len());
    ensure!(lacking <= skipped, "{lacking} runs are missing, and the kernel skipped {skipped}");
    Ok(())
}

/// Proves what is told of one connection; how many runs it takes to explain what it lacks.
fn one_connection(line: &Value, spans: &[&Item<Span>]) -> anyhow::Result<u64> {
    let (mut client, mut server) = (None, None);
    for &span in spans {
        let is_client = match span.kind() {
            Some(SpanKind::Client) => true,
            Some(SpanKind::Server) => false,
            _ => is_forwards(span, line),
        };
        let end = if is_client { &mut client } else { &mut server };
        if let Some(other) = end.replace(span) {
            bail!("one end is told twice: {}; {}", said(other), said(span));
        }
    }
    match (client, server) {
        (Some(client), Some(server)) if !is_marked(client) && !is_marked(server) => {
            pair::prove(line, client, server)?;
            Ok(0)
        }
        _ => [client, server].into_iter().map(|end| end.map_or(Ok(RUNS), |span| one_end(line, span))).sum(),
    }
}

/// Proves the bytes of one end whose other one lacks something, or which does itself.
fn one_end(line: &Value, span: &Item<Span>) -> anyhow::Result<u64> {
    let keys = if is_forwards(span, line) { ["sent", "received"] } else { ["received", "sent"] };
    for (name, key) in [names::BYTES, names::REVERSE_BYTES].into_iter().zip(keys) {
        let told = span.attributes().int(name).unwrap_or(0);
        let truth = line[key].as_i64().with_context(|| format!("no {key} in {line}"))?;
        let right = if is_lost(span) { told <= truth } else { told == truth };
        ensure!(right, "{name} is {told} and not {truth}: {line}: {}", said(span));
    }
    Ok(u64::from(is_marked(span)))
}

/// Whether the span's source is the client's end.
fn is_forwards(span: &Item<Span>, line: &Value) -> bool {
    let found = span.attributes();
    found.text(names::SOURCE_ADDRESS) == line["source"].as_str()
        && found.int(names::SOURCE_PORT) == line["source_port"].as_i64()
}

fn is_lost(span: &Item<Span>) -> bool {
    span.attributes().text(names::CLOSE_REASON) == Some("lost")
}

fn is_marked(span: &Item<Span>) -> bool {
    is_lost(span) || span.attributes().flag(names::START_OBSERVED) == Some(true)
}

/// What a span says, for people.
fn said(span: &Item<Span>) -> String {
    let (kind, item) = (span.kind(), &span.item);
    let (start, end) = (item.start_time_unix_nano, item.end_time_unix_nano);
    let said = item.attributes.iter().map(|attribute| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        format!("{} {value:?}", attribute.key)
    });
    format!("{kind:?} from {start} to {end}: {}", said.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Otlp};

    use super::super::pair::tests::{line, pair};
    use super::*;

    fn set(span: &mut Item<Span>, name: &str, value: Otlp) {
        span.item.attributes.retain(|attribute| attribute.key != name);
        let value = Some(AnyValue { value: Some(value) });
        span.item.attributes.push(KeyValue { key: name.into(), value, ..KeyValue::default() });
    }

    fn of(spans: &[&Item<Span>]) -> Seen {
        Seen { spans: spans.iter().map(|span| (*span).clone()).collect(), ..Seen::default() }
    }

    #[test]
    fn both_ends_once_and_right() {
        let (lines, (client, server)) = ([line()], pair(&line()));
        prove(&of(&[&server, &client]), &lines, 0).unwrap();
        for wrong in [&[&client, &server, &client][..], &[&client, &client]] {
            assert!(prove(&of(wrong), &lines, 9).is_err());
        }
        for (some, missing) in [(&[&client][..], 2), (&[&server], 2), (&[], 4)] {
            prove(&of(some), &lines, missing).unwrap();
            assert!(prove(&of(some), &lines, missing - 1).is_err(), "not explained");
        }
        assert!(prove(&of(&[&client, &server]), &[], 9).is_err(), "nobody made that connection");
        let mut other = server;
        set(&mut other, names::BYTES, Otlp::IntValue(9));
        assert!(prove(&of(&[&client, &other]), &lines, 9).is_err(), "wrong and not marked");
    }

    #[test]
    fn a_skipped_run_explains_one_end_that_says_what_it_lacks() {
        let (lines, (client, server)) = ([line()], pair(&line()));
        let mut lost = server.clone();
        set(&mut lost, names::CLOSE_REASON, Otlp::StringValue("lost".into()));
        set(&mut lost, names::BYTES, Otlp::IntValue(3));
        prove(&of(&[&client, &lost]), &lines, 1).unwrap();
        assert!(prove(&of(&[&client, &lost]), &lines, 0).is_err(), "none was skipped");
        set(&mut lost, names::BYTES, Otlp::IntValue(11));
        assert!(prove(&of(&[&client, &lost]), &lines, 1).is_err(), "more than there was");
        let mut late = client;
        set(&mut late, names::START_OBSERVED, Otlp::BoolValue(true));
        late.item.attributes.retain(|attribute| attribute.key != names::PID);
        prove(&of(&[&late, &server]), &lines, 1).unwrap();
        set(&mut late, names::BYTES, Otlp::IntValue(9));
        assert!(prove(&of(&[&late, &server]), &lines, 1).is_err(), "its bytes are counted to the end");
    }

    #[test]
    fn an_end_of_unknown_role_is_found_by_its_own_address() {
        let (lines, (client, mut server)) = ([line()], pair(&line()));
        set(&mut server, names::START_OBSERVED, Otlp::BoolValue(true));
        server.item.kind = SpanKind::Internal as i32;
        for (name, key) in [
            (names::SOURCE_ADDRESS, "destination"),
            (names::SOURCE_PORT, "destination_port"),
            (names::DESTINATION_ADDRESS, "source"),
            (names::DESTINATION_PORT, "source_port"),
            (names::BYTES, "received"),
            (names::REVERSE_BYTES, "sent"),
        ] {
            let value = match &lines[0][key] {
                Value::String(text) => Otlp::StringValue(text.clone()),
                number => Otlp::IntValue(number.as_i64().unwrap()),
            };
            set(&mut server, name, value);
        }
        prove(&of(&[&client, &server]), &lines, 1).unwrap();
    }
}
