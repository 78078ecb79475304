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
    prove_ids(&client.item, &server.item).with_context(|| line.to_string())
}

/// An error unless the ids of two spans say that they are the ends of one connection.
pub fn prove_ids(client: &Span, server: &Span) -> anyhow::Result<()> {
    ensure!(client.trace_id.len() == 16 && client.span_id.len() == 8, "ids of the wrong size");
    ensure!(client.trace_id == server.trace_id, "two traces for one connection");
    ensure!(client.parent_span_id.is_empty(), "the client's span has a parent");
    ensure!(server.parent_span_id == client.span_id, "the server's span is not the client's child");
    ensure!(server.span_id != client.span_id, "one id for two spans");
    Ok(())
}

/// The pid in a workload's line.
pub fn pid(line: &Value) -> anyhow::Result<u32> {
    Ok(u32::try_from(line["pid"].as_u64().with_context(|| format!("no pid in {line}"))?)?)
}

#[cfg(test)]
pub(super) mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Otlp};
    use serde_json::json;

    use super::*;

    fn span(kind: SpanKind, id: u8, parent: &[u8], line: &Value) -> Item<Span> {
        let keys = [
            (names::SOURCE_ADDRESS, "source"),
            (names::SOURCE_PORT, "source_port"),
            (names::DESTINATION_ADDRESS, "destination"),
            (names::DESTINATION_PORT, "destination_port"),
            (names::BYTES, "sent"),
            (names::REVERSE_BYTES, "received"),
            (names::PID, "pid"),
            (names::TRANSPORT, "transport"),
        ];
        let attributes = keys.map(|(name, key)| {
            let value = match &line[key] {
                Value::String(text) => Otlp::StringValue(text.clone()),
                number => Otlp::IntValue(number.as_i64().unwrap()),
            };
            KeyValue { key: name.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
        });
        let item = Span {
            trace_id: vec![1; 16],
            span_id: vec![id; 8],
            parent_span_id: parent.to_vec(),
            kind: kind as i32,
            start_time_unix_nano: 5,
            end_time_unix_nano: 6,
            attributes: attributes.to_vec(),
            ..Span::default()
        };
        Item { resource: [].into(), item }
    }

    /// Both spans of the connection in `line`.
    pub(in super::super) fn pair(line: &Value) -> (Item<Span>, Item<Span>) {
        (span(SpanKind::Client, 2, &[], line), span(SpanKind::Server, 3, &[2; 8], line))
    }

    pub(in super::super) fn line() -> Value {
        json!({"source": "127.7.1.1", "source_port": 4000, "destination": "127.0.0.1", "destination_port": 80,
               "sent": 10, "received": 20, "pid": 7, "transport": "tcp"})
    }

    #[test]
    fn a_right_pair_is_proved_and_one_wrong_field_is_not() {
        let (client, server) = pair(&line());
        prove(&line(), &client, &server).unwrap();
        for (key, wrong) in [
            ("source", json!("127.7.1.2")),
            ("source_port", json!(4001)),
            ("destination", json!("::1")),
            ("destination_port", json!(81)),
            ("sent", json!(11)),
            ("received", json!(19)),
            ("pid", json!(8)),
            ("transport", json!("udp")),
        ] {
            let mut other = line();
            other[key] = wrong;
            let (wrong_client, wrong_server) = pair(&other);
            assert!(prove(&line(), &client, &wrong_server).is_err(), "server's {key}");
            assert!(prove(&line(), &wrong_client, &server).is_err(), "client's {key}");
        }
    }

    #[test]
    fn ids_and_times_must_fit_together() {
        let wrongs: [fn(&mut Span, &mut Span); 5] = [
            |_, server| server.trace_id = vec![9; 16],
            |_, server| server.parent_span_id.clear(),
            |_, server| server.span_id = vec![2; 8],
            |client, _| client.parent_span_id = vec![3; 8],
            |client, _| client.end_time_unix_nano = 4,
        ];
        for (index, wrong) in wrongs.iter().enumerate() {
            let (mut client, mut server) = pair(&line());
            wrong(&mut client.item, &mut server.item);
            assert!(prove(&line(), &client, &server).is_err(), "wrong {index}");
        }
    }

    #[test]
    fn a_span_that_came_twice_is_not_found() {
        let (client, server) = pair(&line());
        let mut seen = Seen { spans: vec![client.clone(), server], ..Seen::default() };
        assert!(find(&seen, &line()).is_some());
        seen.spans.push(client);
        assert!(find(&seen, &line()).is_none());
    }
}
