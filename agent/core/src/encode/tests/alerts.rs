//! Log requests with alerts in them.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;

use super::entities::{process, workloads};
use super::*;
use crate::encode::redact::{RedactConfig, Redactor};
use crate::encode::text::{Second, in_string};
use crate::event::Process;
use crate::event::alert::{Alert, OutputField, OutputValue, Priority, TraceContext};

/// An alert that owns what it tells.
#[derive(Clone, Debug)]
struct Owned {
    workload: usize,
    time: u64,
    number: u64,
    suppressed: u64,
    priority: Priority,
    texts: [String; 3],
    tags: Vec<String>,
    fields: Vec<(String, Option<&'static str>, OutputValue)>,
    process: Option<Process>,
    trace: Option<TraceContext>,
}

const ATTRIBUTES: [Option<&str>; 16] = [
    None,
    None,
    Some("file.path"),
    Some("process.user.name"),
    Some("process.pid"),
    Some("process.parent_pid"),
    Some("process.vpid"),
    Some("process.executable.path"),
    Some("process.creation.time"),
    Some("process.linux.cgroup"),
    Some("container.id"),
    Some("container.name"),
    Some("container.runtime.name"),
    Some("container.image.tags"),
    Some("tarsier.process.tty"),
    Some("k8s.pod.uid"),
];

fn value() -> impl Strategy<Value = OutputValue> {
    let one = prop_oneof![
        ".{0,20}".prop_map(OutputValue::Text),
        // Lengths of one, two and three bytes.
        (0_usize..40_000).prop_map(|length| OutputValue::Text("x".repeat(length))),
        any::<i128>().prop_map(OutputValue::Number),
        any::<i32>().prop_map(|number| OutputValue::Number(number.into())),
        any::<bool>().prop_map(OutputValue::Bool),
    ];
    prop_oneof![
        1 => Just(OutputValue::Absent),
        6 => one.clone(),
        1 => vec(one, 0..4).prop_map(OutputValue::List),
    ]
}

prop_compose! {
    fn alert()(
        workload in 0..workloads().len(), time: u64, number: u64,
        suppressed in prop_oneof![Just(0), any::<u64>()],
        priority in prop::sample::select(Priority::ALL.to_vec()),
        texts in [".{1,30}", ".{0,200}", ".{0,300}"],
        tags in vec(prop_oneof!["[a-z_]{1,12}", "T[0-9]{4}", "mitre_[a-z]{3}"], 0..5),
        fields in vec(("[a-z.]{1,12}(\\[[0-9]\\])?", prop::sample::select(ATTRIBUTES.to_vec()), value()), 0..6),
        process in option::of(process()),
        trace in option::of(any::<([u8; 16], [u8; 8])>()),
    ) -> Owned {
        let trace = trace.map(|(trace_id, span_id)| TraceContext { trace_id, span_id });
        Owned { workload, time, number, suppressed, priority, texts, tags, fields, process, trace }
    }
}

impl Owned {
    fn push(&self, encoder: &mut LogsEncoder) -> Option<Encoded> {
        let fields: Vec<_> = self
            .fields
            .iter()
            .map(|(key, attribute, value)| OutputField { key, attribute: *attribute, value: value.clone() })
            .collect();
        let [rule, description, message] = &self.texts;
        encoder.push_alert(
            &Alert {
                time_unix_ns: self.time,
                number: self.number,
                rule,
                description,
                priority: self.priority,
                source: "syscall",
                tags: &self.tags,
                ruleset: "c0ffee",
                message,
                fields: &fields,
                suppressed: self.suppressed,
                workload: &workloads()[self.workload],
                process: self.process.as_ref(),
                trace: self.trace,
            },
            CLOCK,
        )
    }

    fn record(&self) -> LogRecord {
        let workload = &workloads()[self.workload];
        let [rule, description, message] = &self.texts;
        let mut attributes = vec![text("security_rule.name", rule.as_str())];
        attributes.extend(
            (!description.is_empty()).then(|| text("security_rule.description", description.as_str())),
        );
        attributes.push(text("tarsier.rule.source", "syscall"));
        attributes.push(text("tarsier.ruleset.digest", "c0ffee"));
        let (mitre, others): (Vec<_>, Vec<_>) =
            self.tags.iter().cloned().partition(|tag| tag.starts_with("mitre_") || tag.starts_with('T'));
        attributes.extend((!mitre.is_empty()).then(|| texts("tarsier.rule.mitre", mitre.into_iter())));
        attributes.extend((!others.is_empty()).then(|| texts("tarsier.rule.tags", others.into_iter())));
        attributes.push(count("tarsier.event.number", self.number));
        attributes.extend((self.suppressed > 0).then(|| count("tarsier.alert.suppressed", self.suppressed)));
        if let Some(process) = &self.process {
            attributes.extend(logs::common(process, workload));
        }
        let mut taken = Vec::new();
        attributes.extend(
            self.fields.iter().filter_map(|(key, attribute, value)| {
                self.field(workload, key, *attribute, value, &mut taken)
            }),
        );
        let numbers = [21, 19, 18, 17, 13, 10, 9, 5];
        LogRecord {
            time_unix_nano: self.time,
            observed_time_unix_nano: CLOCK.now_unix_ns,
            severity_number: numbers[self.priority as usize],
            severity_text: self.priority.name().to_owned(),
            body: Some(AnyValue { value: Some(Value::StringValue(message.clone())) }),
            attributes,
            event_name: "tarsier.alert".to_owned(),
            trace_id: self.trace.map(|trace| trace.trace_id.to_vec()).unwrap_or_default(),
            span_id: self.trace.map(|trace| trace.span_id.to_vec()).unwrap_or_default(),
            ..Default::default()
        }
    }

    /// The attribute of a field, spelled out case by case.
    fn field(
        &self,
        workload: &Workload,
        key: &str,
        attribute: Option<&'static str>,
        value: &OutputValue,
        taken: &mut Vec<&'static str>,
    ) -> Option<KeyValue> {
        let is_container = !workload.container_id.is_empty();
        let process = self.process.as_ref();
        let attribute =
            match attribute {
                Some("tarsier.process.tty") => None,
                Some(
                    "container.id" | "container.name" | "container.runtime.name" | "container.image.tags",
                ) if !is_container => None,
                other => other,
            };
        let told = match attribute {
            Some("container.id" | "process.linux.cgroup") => true,
            Some("container.runtime.name") => workload.runtime.is_some(),
            Some("k8s.pod.uid") => workload.pod_uid.is_some(),
            Some("process.pid") => process.is_some(),
            Some("process.parent_pid") => process.is_some_and(|process| process.parent.tgid != 0),
            Some("process.vpid") => process.is_some_and(|process| process.vpid != 0),
            Some("process.executable.path") => process.is_some_and(|process| !process.image.exe().is_empty()),
            _ => false,
        };
        let of = any_value(value).filter(|_| !told)?;
        let name = attribute.filter(|name| !taken.contains(name));
        let Some(name) = name else { return Some(pair(&format!("tarsier.field.{key}"), of)) };
        taken.push(name);
        Some(match (name, value) {
            ("process.creation.time", OutputValue::Number(number)) => {
                let time = u64::try_from(*number).unwrap_or(0);
                text(name, in_string(|text| text.rfc3339(time, &mut Second::default())))
            }
            ("container.image.tags", OutputValue::Text(one)) => texts(name, [one.clone()].into_iter()),
            _ => pair(name, of),
        })
    }
}

fn any_value(value: &OutputValue) -> Option<Value> {
    Some(match value {
        OutputValue::Absent => return None,
        OutputValue::Text(text) => Value::StringValue(text.clone()),
        OutputValue::Bool(truth) => Value::BoolValue(*truth),
        OutputValue::Number(number) => {
            Value::IntValue((*number).clamp(i64::MIN.into(), i64::MAX.into()) as i64)
        }
        OutputValue::List(values) => Value::ArrayValue(ArrayValue {
            values: values.iter().map(|value| AnyValue { value: any_value(value) }).collect(),
        }),
    })
}

fn encoder(max_bytes: usize) -> LogsEncoder {
    LogsEncoder::new(&agent(), Redactor::new(&RedactConfig::default()).unwrap(), max_bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn a_request_decodes_to_what_was_told(alerts in vec(alert(), 1..6)) {
        let mut encoder = encoder(usize::MAX);
        for alert in &alerts {
            prop_assert!(alert.push(&mut encoder).is_none());
        }
        let request = encoder.finish().unwrap();
        let workloads = workloads();
        let mut groups: Vec<(usize, Vec<LogRecord>)> = Vec::new();
        for alert in &alerts {
            match groups.iter_mut().find(|(workload, _)| *workload == alert.workload) {
                Some((_, records)) => records.push(alert.record()),
                None => groups.push((alert.workload, vec![alert.record()])),
            }
        }
        let want = ExportLogsServiceRequest {
            resource_logs: groups.into_iter().map(|(workload, log_records)| ResourceLogs {
                resource: Some(resource(&workloads[workload])),
                scope_logs: vec![ScopeLogs { scope: Some(scope()), log_records, ..Default::default() }],
                ..Default::default()
            }).collect(),
        };
        prop_assert_eq!(&ExportLogsServiceRequest::decode(request.body.clone()).unwrap(), &want);
        prop_assert_eq!(request.items as usize, alerts.len());
        prop_assert_eq!(request.body.len(), want.encoded_len());
        for record in want.resource_logs.iter().flat_map(|group| &group.scope_logs[0].log_records) {
            // Where two fields have one key OTLP would be broken; the rule's own keys are made unlike.
            let named = record.attributes.iter().filter(|pair| !pair.key.starts_with("tarsier.field."));
            let mut keys: Vec<_> = named.map(|pair| pair.key.as_str()).collect();
            keys.sort_unstable();
            prop_assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", keys);
        }
    }

    #[test]
    fn requests_stay_within_the_limit_and_lose_nothing(alerts in vec(alert(), 1..6), max_bytes in 0_usize..60_000) {
        let mut encoder = encoder(max_bytes);
        let mut requests: Vec<_> = alerts.iter().filter_map(|alert| alert.push(&mut encoder)).collect();
        requests.extend(encoder.finish());
        let mut items = 0;
        for request in requests {
            prop_assert!(request.items == 1 || request.body.len() <= max_bytes);
            items += request.items as usize;
        }
        prop_assert_eq!(items, alerts.len());
    }
}
