//! The spans of many connections at once, compared with what the workload said of each.
//!
//! From 6.2 on a kernel does not run a program on a CPU where it is at work already, and counts that; since 7.0, where a
//! program can be preempted, a busy machine has many such runs. What one of them costs is known (docs/adr/0004):
//! an end of a connection lacks its start and its owner, or its close, and its span says so. So every end must be told once;
//! all that is not marked must be right; and no more may be marked than runs were skipped.

use std::collections::HashMap;

use anyhow::{Context as _, bail, ensure};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use super::seen::{Item, Seen};
use super::{names, pair};

/// The client's address and port, the server's port.
type Ends<'a> = (&'a str, i64, i64);

/// An error unless each connection of `lines` is told by two spans, once each end, and as the kernel's `skipped` runs
/// allow.
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
    let mut marked = 0;
    for line in lines {
        let ends = line["source"].as_str().zip(line["source_port"].as_i64());
        let (address, port) = ends.with_context(|| format!("no source in {line}"))?;
        let server_port = line["destination_port"].as_i64().context("no destination")?;
        let told = by_ends.get(&(address, port, server_port)).map_or(&[][..], Vec::as_slice);
        let [one, other] = told else {
            let said: Vec<_> = told.iter().map(|span| said(span)).collect();
            bail!("{} spans for the two ends of {line}: {}", told.len(), said.join("; "));
        };
        marked += one_connection(line, one, other)?;
    }
    ensure!(marked <= skipped, "{marked} ends lack something, and the kernel skipped {skipped} runs");
    Ok(())
}

/// Proves what is told of one connection; how many of its ends are marked as lacking something.
fn one_connection(line: &Value, one: &Item<Span>, other: &Item<Span>) -> anyhow::Result<u64> {
    let (client, server) = if one.kind() == Some(SpanKind::Client) { (one, other) } else { (other, one) };
    let marked = u64::from(is_marked(client)) + u64::from(is_marked(server));
    if marked == 0 {
        ensure!(
            server.kind() == Some(SpanKind::Server),
            "one end told twice: {}; {}",
            said(one),
            said(other)
        );
        pair::prove(line, client, server)?;
        return Ok(0);
    }
    for span in [client, server] {
        let found = span.attributes();
        let forwards = found.text(names::SOURCE_ADDRESS) == line["source"].as_str()
            && found.int(names::SOURCE_PORT) == line["source_port"].as_i64();
        let keys = if forwards { ["sent", "received"] } else { ["received", "sent"] };
        for (name, key) in [names::BYTES, names::REVERSE_BYTES].into_iter().zip(keys) {
            let (told, truth) = (found.int(name).unwrap_or(0), line[key].as_i64().unwrap_or(0));
            let right = if is_marked_lost(span) { told <= truth } else { told == truth };
            ensure!(right, "{name} is {told} and not {truth}: {line}: {}", said(span));
        }
    }
    Ok(marked)
}

fn is_marked_lost(span: &Item<Span>) -> bool {
    span.attributes().text(names::CLOSE_REASON) == Some("lost")
}

fn is_marked(span: &Item<Span>) -> bool {
    is_marked_lost(span) || span.attributes().flag(names::START_OBSERVED) == Some(true)
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
        for wrong in [&[&client][..], &[&client, &server, &client], &[&client, &client], &[]] {
            assert!(prove(&of(wrong), &lines, 9).is_err());
        }
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
