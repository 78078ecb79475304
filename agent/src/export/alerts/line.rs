//! An alert as a line: Falco's text, or Falco's JSON.
//!
//! What reads Falco's alerts reads these: the same keys in the same order, values of the same types, the same time and
//! priority in front of the message. Beyond Falco, all characters that can act on a terminal are escaped,
//! not only control characters.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tarsier_core::event::alert::{Alert, OutputValue};

use super::config::AlertsConfig;
use crate::export::{escape, put};

#[cfg(test)]
mod tests;

/// Key of the number of alerts that were held back, among the fields.
const SUPPRESSED: &str = "tarsier.suppressed";

/// How alerts become lines.
#[derive(Clone, Debug)]
pub struct LineForm {
    json: bool,
    output: bool,
    message: bool,
    output_fields: bool,
    tags: bool,
    iso_8601: bool,
    host_name: String,
    zone: TimeZone,
}

impl LineForm {
    /// As `config` wants it. `json` wins over its `json_output`. Times of day are those of `zone`.
    pub fn new(config: &AlertsConfig, json: Option<bool>, host_name: &str, zone: TimeZone) -> Self {
        Self {
            json: json.unwrap_or(config.json_output),
            output: config.json_include_output_property,
            message: config.json_include_message_property,
            output_fields: config.json_include_output_fields_property,
            tags: config.json_include_tags_property,
            iso_8601: config.time_format_iso_8601,
            host_name: host_name.to_owned(),
            zone,
        }
    }

    /// Whether lines are JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Appends an alert, without a line break.
    pub fn write(&self, out: &mut Vec<u8>, alert: &Alert<'_>) {
        if self.json {
            self.write_json(out, alert);
        } else {
            escape::line(out, &self.whole(alert));
        }
    }

    /// Time and priority, and the message behind.
    fn whole(&self, alert: &Alert<'_>) -> String {
        let mut whole = Vec::with_capacity(64 + alert.message.len());
        let moment = moment(alert.time_unix_ns);
        if self.iso_8601 {
            let time = moment.to_zoned(TimeZone::UTC).datetime();
            put!(&mut whole, "{time:.9}+0000");
        } else {
            let time = moment.to_zoned(self.zone.clone()).time();
            put!(&mut whole, "{time:.9}");
        }
        put!(&mut whole, ": {} {}", alert.priority.name(), alert.message);
        String::from_utf8_lossy(&whole).into_owned()
    }

    fn write_json(&self, out: &mut Vec<u8>, alert: &Alert<'_>) {
        out.extend_from_slice(b"{\"hostname\":");
        escape::json(out, self.host_name.as_bytes());
        if self.message {
            out.extend_from_slice(b",\"message\":");
            escape::json(out, alert.message.as_bytes());
        }
        if self.output {
            out.extend_from_slice(b",\"output\":");
            escape::json(out, self.whole(alert).as_bytes());
        }
        if self.output_fields {
            out.extend_from_slice(b",\"output_fields\":");
            self.write_fields(out, alert);
        }
        put!(out, ",\"priority\":\"{}\",\"rule\":", alert.priority.name());
        escape::json(out, alert.rule.as_bytes());
        out.extend_from_slice(b",\"source\":");
        escape::json(out, alert.source.as_bytes());
        if self.tags {
            out.extend_from_slice(b",\"tags\":");
            list(out, alert.tags, |out, tag| escape::json(out, tag.as_bytes()));
        }
        let time = moment(alert.time_unix_ns).to_zoned(TimeZone::UTC).datetime();
        put!(out, ",\"time\":\"{time:.9}Z\"}}");
    }

    /// The fields of the output, and those that every alert has: the time, as a number whatever its key says.
    fn write_fields(&self, out: &mut Vec<u8>, alert: &Alert<'_>) {
        let time = if self.iso_8601 { "evt.time.iso8601" } else { "evt.time" };
        let time = (time, OutputValue::Number(alert.time_unix_ns.into()));
        let suppressed = (SUPPRESSED, OutputValue::Number(alert.suppressed.into()));
        let mut fields: Vec<(&str, &OutputValue)> = vec![(time.0, &time.1)];
        if alert.suppressed > 0 {
            fields.push((suppressed.0, &suppressed.1));
        }
        fields.extend(alert.fields.iter().map(|field| (field.key, &field.value)));
        // Stable: of two with one key the one that every alert has stays.
        fields.sort_by_key(|(key, _)| *key);
        fields.dedup_by_key(|(key, _)| *key);
        out.push(b'{');
        for (index, (key, field)) in fields.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            escape::json(out, key.as_bytes());
            out.push(b':');
            value(out, field);
        }
        out.push(b'}');
    }
}

/// Times beyond jiff's range (the year 9999) do not fit into 64 bits of ns.
fn moment(unix_ns: u64) -> Timestamp {
    Timestamp::from_nanosecond(unix_ns.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn value(out: &mut Vec<u8>, value_of: &OutputValue) {
    match value_of {
        OutputValue::Absent => out.extend_from_slice(b"null"),
        OutputValue::Text(text) => escape::json(out, text.as_bytes()),
        OutputValue::Number(number) => put!(out, "{number}"),
        OutputValue::Bool(truth) => put!(out, "{truth}"),
        OutputValue::List(values) => list(out, values, value),
    }
}

fn list<T>(out: &mut Vec<u8>, items: &[T], write: fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}
