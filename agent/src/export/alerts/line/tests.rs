//! Lines by example, as the reference has them of Falco, and that nothing breaks out of one.

use std::sync::LazyLock;

use proptest::prelude::*;
use tarsier_core::event::alert::{OutputField, Priority};
use tarsier_core::event::{Workload, WorkloadKind};

use super::*;

/// 2026-11-27 10:11:12.000000345 UTC.
const TIME: u64 = 1_795_774_272_000_000_345;

static HOST: LazyLock<Workload> = LazyLock::new(|| Workload {
    index: 0,
    kind: WorkloadKind::Host,
    name: "host".into(),
    container_id: "".into(),
    runtime: None,
    pod_uid: None,
    cgroup_path: "/".into(),
});

fn alert<'a>(message: &'a str, fields: &'a [OutputField<'a>], tags: &'a [String]) -> Alert<'a> {
    Alert {
        time_unix_ns: TIME,
        number: 7,
        rule: "Read \"sensitive\" file",
        description: "",
        priority: Priority::Warning,
        source: "syscall",
        tags,
        ruleset: "ab",
        message,
        fields,
        suppressed: 0,
        workload: &HOST,
        process: None,
        trace: None,
    }
}

fn field(key: &str, value: OutputValue) -> OutputField<'_> {
    OutputField { key, attribute: None, value }
}

fn line(config: &AlertsConfig, alert: &Alert<'_>) -> String {
    // Two hours and a half east, without a database.
    let zone = TimeZone::fixed(jiff::tz::Offset::from_seconds(9_000).unwrap());
    let mut out = Vec::new();
    LineForm::new(config, None, "node-1", zone).write(&mut out, alert);
    String::from_utf8(out).unwrap()
}

#[test]
fn text() {
    let config = AlertsConfig::default();
    let alert = alert("opened (file=/etc/shadow\n name=\u{1b}[2J\\ \"x\" \u{202e}é)", &[], &[]);
    assert_eq!(
        line(&config, &alert),
        "12:41:12.000000345: Warning opened (file=/etc/shadow\\n name=\\u001b[2J\\ \"x\" \\u202eé)"
    );
    let config = AlertsConfig { time_format_iso_8601: true, ..config };
    let iso = line(&config, &alert);
    assert!(iso.starts_with("2026-11-27T10:11:12.000000345+0000: Warning opened"), "{iso}");
}

#[test]
fn json() {
    let fields = [
        field("evt.is_open_read", OutputValue::Bool(true)),
        field("evt.rawres", OutputValue::Number(-13)),
        field("fd.name", OutputValue::Text("/etc/\"shadow\"\n".into())),
        field("fd.types", OutputValue::List(vec![OutputValue::Text("file".into())])),
        field("proc.exe", OutputValue::Absent),
        field("zz", OutputValue::Number(u64::MAX.into())),
    ];
    let tags = ["T1555".to_owned(), "host".to_owned()];
    let alert = alert("opened /etc/\"shadow\"\n", &fields, &tags);
    let mut config = AlertsConfig { json_output: true, ..AlertsConfig::default() };
    assert_eq!(
        line(&config, &alert),
        concat!(
            r#"{"hostname":"node-1","output":"12:41:12.000000345: Warning opened /etc/\"shadow\"\n","#,
            r#""output_fields":{"evt.is_open_read":true,"evt.rawres":-13,"evt.time":1795774272000000345,"#,
            r#""fd.name":"/etc/\"shadow\"\n","fd.types":["file"],"proc.exe":null,"zz":18446744073709551615},"#,
            r#""priority":"Warning","rule":"Read \"sensitive\" file","source":"syscall","#,
            r#""tags":["T1555","host"],"time":"2026-11-27T10:11:12.000000345Z"}"#
        )
    );
    config.json_include_output_property = false;
    config.json_include_output_fields_property = false;
    config.json_include_tags_property = false;
    config.json_include_message_property = true;
    assert_eq!(
        line(&config, &alert),
        concat!(
            r#"{"hostname":"node-1","message":"opened /etc/\"shadow\"\n","priority":"Warning","#,
            r#""rule":"Read \"sensitive\" file","source":"syscall","time":"2026-11-27T10:11:12.000000345Z"}"#
        )
    );
}

#[test]
fn fields_that_every_alert_has() {
    // Whatever a rule names so: the time is a number, under the key of its form.
    let fields = [field("evt.time", OutputValue::Text("now".into()))];
    let mut alert = alert("", &fields, &[]);
    alert.suppressed = 3;
    let mut config =
        AlertsConfig { json_output: true, json_include_output_property: false, ..AlertsConfig::default() };
    let json = line(&config, &alert);
    let expected = r#""output_fields":{"evt.time":1795774272000000345,"tarsier.suppressed":3}"#;
    assert!(json.contains(expected), "{json}");
    config.time_format_iso_8601 = true;
    let json = line(&config, &alert);
    let expected = r#"{"evt.time":"now","evt.time.iso8601":1795774272000000345,"tarsier.suppressed":3}"#;
    assert!(json.contains(expected), "{json}");
}

#[test]
fn priorities_are_spelled_as_falco_does() {
    let spelled = Priority::ALL.map(|priority| {
        let line = line(&AlertsConfig::default(), &Alert { priority, ..alert("x", &[], &[]) });
        line.split(' ').nth(1).unwrap().to_owned()
    });
    assert_eq!(
        spelled,
        ["Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"]
    );
}

proptest! {
    /// Whatever a process puts into a field: one line without a control character, and JSON that gives it back.
    #[test]
    fn no_escape_from_a_line(message in any::<String>(), value in any::<String>(), time in any::<u64>()) {
        let fields = [field("fd.name", OutputValue::Text(value.clone()))];
        let alert = Alert { time_unix_ns: time, ..alert(&message, &fields, &[]) };
        let mut config = AlertsConfig { json_include_message_property: true, ..AlertsConfig::default() };
        for json in [false, true] {
            config.json_output = json;
            let line = line(&config, &alert);
            let hostile = |character: char| {
                character.is_control() || ('\u{2028}'..='\u{202e}').contains(&character)
            };
            prop_assert!(!line.contains(hostile), "{:?}", line);
            if json {
                let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
                prop_assert_eq!(&parsed["message"], &message);
                prop_assert_eq!(&parsed["output_fields"]["fd.name"], &value);
                prop_assert_eq!(&parsed["output_fields"]["evt.time"], time);
                prop_assert!(parsed["output"].as_str().unwrap().ends_with(&message));
            }
        }
    }
}
