//! Logs of alerts: what a rule that matched says, under the resource of the workload it is about.
//!
//! Fields whose meaning OpenTelemetry has a name for bear it; others are `tarsier.field.` and Falco's name. What the
//! resource or the process's identity on the record says is not said again (docs/adr/0010).

use crate::event::alert::{Alert, OutputField, OutputValue, Priority};
use crate::event::{Process, Workload};

use super::Clock;
use super::logs::ATTRIBUTES;
use super::prefix::{int, text, when};
use super::process::{Identities, Parents};
use super::record::Record;
use super::text::Second;

type LogRecord<'a> = Record<'a, ATTRIBUTES>;

/// Writes an alert.
pub(super) fn write(
    record: &mut LogRecord<'_>,
    alert: &Alert<'_>,
    clock: Clock,
    identities: &mut Identities<ATTRIBUTES>,
    parents: &mut Parents<ATTRIBUTES>,
    second: &mut Second,
) {
    record.fixed64(1, alert.time_unix_ns);
    record.fixed64(11, clock.now_unix_ns);
    record.number(2, severity(alert.priority));
    record.string(3, alert.priority.name().as_bytes());
    record.message(5, |record| record.string(1, alert.message.as_bytes()));
    if let Some(trace) = alert.trace {
        record.bytes(9, &trace.trace_id);
        record.bytes(10, &trace.span_id);
    }
    record.string(12, b"tarsier.alert");
    about_rule(record, alert);
    if let Some(process) = alert.process {
        identities.append_to(record, process);
        parents.append_to(record, process.parent);
        if process.vpid != 0 && process.vpid != process.key.tgid {
            int!(record, "process.vpid", process.vpid.into());
        }
        if !alert.workload.container_id.is_empty() {
            text!(record, "tarsier.process.origin", process.origin.name());
        }
        when!(record, "tarsier.process.seeded", process.seeded);
    }
    let mut taken = Vec::new();
    for field in alert.fields {
        about_event(record, alert, field, &mut taken, second);
    }
}

/// Syslog's priorities as OpenTelemetry's data model maps them.
fn severity(priority: Priority) -> u64 {
    match priority {
        Priority::Emergency => 21,
        Priority::Alert => 19,
        Priority::Critical => 18,
        Priority::Error => 17,
        Priority::Warning => 13,
        Priority::Notice => 10,
        Priority::Informational => 9,
        Priority::Debug => 5,
    }
}

fn about_rule(record: &mut LogRecord<'_>, alert: &Alert<'_>) {
    text!(record, "security_rule.name", alert.rule);
    if !alert.description.is_empty() {
        text!(record, "security_rule.description", alert.description);
    }
    text!(record, "tarsier.rule.source", alert.source);
    text!(record, "tarsier.ruleset.digest", alert.ruleset);
    let (mitre, others): (Vec<&String>, Vec<&String>) = alert.tags.iter().partition(|tag| is_mitre(tag));
    for (key, tags) in [("tarsier.rule.mitre", mitre), ("tarsier.rule.tags", others)] {
        if !tags.is_empty() {
            record.put_texts(key, |record| tags.iter().for_each(|tag| record.element(tag.as_bytes(), true)));
        }
    }
    int!(record, "tarsier.event.number", alert.number);
    if alert.suppressed > 0 {
        int!(record, "tarsier.alert.suppressed", alert.suppressed);
    }
}

/// Whether a tag is of MITRE ATT&CK: `mitre_execution`, `T1059`, `T1059.004`, `TA0002`.
fn is_mitre(tag: &str) -> bool {
    let is_id = |id: &str| id.len() >= 4 && id.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    tag.starts_with("mitre_")
        || tag.strip_prefix("TA").is_some_and(is_id)
        || tag.strip_prefix('T').is_some_and(is_id)
}

/// One field of the output. Those that have no value are not told.
fn about_event<'a>(
    record: &mut LogRecord<'_>,
    alert: &Alert<'a>,
    field: &OutputField<'a>,
    taken: &mut Vec<String>,
    second: &mut Second,
) {
    if field.value == OutputValue::Absent {
        return;
    }
    let attribute = field.attribute.filter(|attribute| means_the_same(attribute, alert.workload));
    if let Some(attribute) = attribute {
        if is_told(attribute, alert.workload, alert.process) {
            return;
        }
        // Two fields may be spellings of one thing: the first has its name.
        if !taken.iter().any(|key| key == attribute) {
            taken.push(attribute.to_owned());
            match (attribute, &field.value) {
                ("process.creation.time", OutputValue::Number(time)) => {
                    let time = u64::try_from(*time).unwrap_or_default();
                    record.pair(attribute, |record| record.format(1, |text| text.rfc3339(time, second)));
                }
                // One of what OpenTelemetry has several of.
                ("container.image.tags" | "container.image.repo_digests", OutputValue::Text(one)) => {
                    record.put_texts(attribute, |record| record.element(one.as_bytes(), false));
                }
                _ => record.pair(attribute, |record| any(record, &field.value)),
            }
            return;
        }
    }
    record.pair(&format!("tarsier.field.{}", field.key), |record| any(record, &field.value));
}

/// Whether a field says of this workload what the attribute means, in the form that the attribute has in other records.
fn means_the_same(attribute: &str, workload: &Workload) -> bool {
    match attribute {
        // Falco's `host` is no container.
        _ if attribute.starts_with("container.") => !workload.container_id.is_empty(),
        // A device number there, and names of capabilities: text and masks elsewhere.
        "tarsier.process.tty" => false,
        _ => !attribute.starts_with("tarsier.process.capabilities."),
    }
}

/// Whether the resource or the identity of the process says it.
fn is_told(attribute: &str, workload: &Workload, process: Option<&Process>) -> bool {
    let of_process = |told: fn(&Process) -> bool| process.is_some_and(told);
    match attribute {
        "container.id" | "host.name" | "process.linux.cgroup" => true,
        "container.runtime.name" => workload.runtime.is_some(),
        "k8s.pod.uid" => workload.pod_uid.is_some(),
        "process.pid" => of_process(|_| true),
        "process.executable.path" => of_process(|process| !process.image.exe().is_empty()),
        "process.parent_pid" => of_process(|process| !process.parent.is_none()),
        // What is the pid is not told as another.
        "process.vpid" => of_process(|process| process.vpid != 0),
        _ => false,
    }
}

/// An `AnyValue`. Integers beyond 64 bits with a sign stop there.
fn any(record: &mut LogRecord<'_>, value: &OutputValue) {
    match value {
        OutputValue::Absent => {}
        OutputValue::Text(text) => record.string(1, text.as_bytes()),
        OutputValue::Bool(truth) => record.number(2, u64::from(*truth)),
        OutputValue::Number(number) => {
            let number = i64::try_from(*number).unwrap_or(if *number < 0 { i64::MIN } else { i64::MAX });
            record.number(3, number.cast_unsigned());
        }
        OutputValue::List(values) => record.message(5, |record| {
            for value in values {
                record.message(1, |record| any(record, value));
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::is_mitre;

    #[test]
    fn tags_of_mitre() {
        for tag in ["mitre_credential_access", "T1059", "T1555.003", "TA0002"] {
            assert!(is_mitre(tag), "{tag}");
        }
        for tag in ["maturity_stable", "host", "Total", "T1", "TLS", "T10x9", "PCI_DSS_10.2.1", "mitre"] {
            assert!(!is_mitre(tag), "{tag}");
        }
    }
}
