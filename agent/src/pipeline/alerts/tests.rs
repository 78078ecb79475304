//! From rule files to lines: what a match of theirs tells.

use std::sync::{Arc, Mutex};

use jiff::tz::TimeZone;
use tarsier_core::event::{Image, Origin, Strings, TaskKey, WorkloadKind};
use tarsier_core::rules::compare::Value;
use tarsier_core::rules::load::Source;
use tarsier_core::rules::typed::{Argument, FieldRef};

use super::super::outlet::{Forms, Redactors, Sink};
use super::*;
use crate::capture::Time;
use crate::config::{Config, Loaded};
use crate::export::alerts::Channels;
use crate::export::alerts::line::LineForm;
use crate::pipeline::KeptLines;
use crate::pipeline::engine::Surroundings;

const RULES: &str = r#"
- rule: Opened
  desc: A file was opened
  condition: evt.type = open
  output: "%evt.type (file=%fd.name exe=%proc.exe command=%proc.cmdline parent=%proc.pcmdline)"
  priority: WARNING
  tags: [host, T1555]
- rule: Args
  desc: All that may hold a secret
  condition: evt.type = execve
  output: "%proc.args|%proc.args[0]|%proc.exeline|%proc.acmdline[2]|%proc.env[API_TOKEN]|%evt.args|%evt.arg.args"
  priority: NOTICE
  tags: [container]
"#;

/// An event that is a table of texts by field, argument included.
struct Table(&'static [(&'static str, &'static str)]);

impl Event for Table {
    fn visit(&self, field: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        let name = match &field.argument {
            None => field.field.name.to_owned(),
            Some(Argument::Index(index)) => format!("{}[{index}]", field.field.name),
            Some(Argument::Key(key)) => format!("{}[{key}]", field.field.name),
        };
        if let Some((_, value)) = self.0.iter().find(|(known, _)| *known == name) {
            with(Value::Text(value.as_bytes()));
        }
    }
}

const OPEN: Table = Table(&[
    ("evt.type", "open"),
    ("fd.name", "/etc/shadow"),
    ("proc.cmdline", "curl -u me:hunter2 -H a b"),
    ("proc.pcmdline", "sh -c login --password hunter2 --verbose"),
    ("container.id", "host"),
    ("container.name", "host"),
]);

const EXEC: Table = Table(&[
    ("evt.type", "execve"),
    ("proc.args", "--password two words -v"),
    ("proc.args[0]", "--password"),
    ("proc.args[1]", "two words"),
    ("proc.exeline", "/bin/login --password two words -v"),
    ("proc.acmdline[2]", "bash -c curl -H Authorization: Bearer abcdefghijkl https://x"),
    ("proc.env[API_TOKEN]", "abcdefghijkl"),
    ("evt.args", "res=0 exe=/bin/login args=--password.two words.-v. tid=1"),
    ("evt.arg[args]", "--password.two words.-v."),
]);

fn process(args: &[u8]) -> Process {
    let image = Image { strings: Strings::of(b"/bin/login", b"/", b"login", args), ..Image::default() };
    Process {
        key: TaskKey { start_boottime: 1, tgid: 2, exec: 3 },
        parent: TaskKey::NONE,
        cgroup: 1,
        started_ns: 1,
        image: Arc::new(image),
        vpid: 2,
        pid_ns: 1,
        origin: Origin::Entry,
        seeded: false,
    }
}

/// What the rules at `places` say of `event`, configured by `yaml`.
fn told(yaml: &str, places: &[u32], event: &Table, process: Option<&Process>) -> Vec<String> {
    let at_5_ns: Vec<_> = places.iter().map(|place| (*place, 5, process)).collect();
    told_at(yaml, &at_5_ns, event).0
}

/// What rules say of `event` of a process, by place and time, and the metrics after it.
fn told_at(yaml: &str, found: &[(u32, u64, Option<&Process>)], event: &Table) -> (Vec<String>, Snapshot) {
    let config = Loaded::parse("test", yaml, |_| None).unwrap().config;
    let set = Ruleset::load(&[Source { name: "rules.yaml", text: RULES }]);
    assert!(!set.has_errors(), "{:?}", set.problems);
    let lines = KeptLines::default();
    let mut outlet = outlet(&config, lines.clone());
    let mut alerts = Alerts::new(&config.alerts, &set, "ab".into()).unwrap();
    let workload = workload();
    for (place, at_ns, process) in found {
        let (at_ns, process) = (*at_ns, *process);
        let found = Match { event, at_ns, number: 1, workload: &workload, process, connection: None };
        alerts.matched(*place, &found, &mut outlet);
    }
    outlet.finish_cycle();
    let sum = |of: fn(Counts) -> u64| -> u64 { alerts.counts().map(|(_, _, counts)| of(counts)).sum() };
    let withheld = sum(|counts| counts.throttled + counts.grouped);
    let mut metrics = Snapshot::default();
    alerts.metrics(false, &mut metrics);
    let told: Vec<_> = String::from_utf8(lines.take()).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(told.len() as u64 + withheld, sum(|counts| counts.matches));
    (told, metrics)
}

fn workload() -> Workload {
    Workload {
        index: 0,
        kind: WorkloadKind::Host,
        name: "host".into(),
        container_id: "".into(),
        runtime: None,
        pod_uid: None,
        cgroup_path: "/".into(),
    }
}

fn surroundings() -> Surroundings {
    let began = Time { boot_ns: 0, unix_offset_ns: 1_000_000_000 };
    Surroundings { cpus: 1, socket_cgroups: true, identity: Default::default(), began, answers: false }
}

fn outlet(config: &Config, lines: KeptLines) -> Outlet {
    let form = LineForm::new(&config.alerts, None, "node-1", TimeZone::UTC);
    let forms = Forms { events: None, alerts: Some(form) };
    let printer = forms.printer(Box::new(lines), config);
    Outlet::new(config, &surroundings(), Sink::None, Some(printer)).unwrap()
}

const PLAIN: &str = "alerts: {append_output: []}";

#[test]
fn a_match_is_a_line_with_what_is_suggested_behind() {
    assert_eq!(
        told("", &[0], &OPEN, None),
        ["00:00:01.000000005: Warning open (file=/etc/shadow exe=<NA> command=curl -u me:[REDACTED] -H a b \
          parent=sh -c login --password [REDACTED] --verbose) container_id=host container_name=host \
          container_image_repository=<NA> container_image_tag=<NA> k8s_pod_name=<NA> k8s_ns_name=<NA>"]
    );
}

#[test]
fn a_match_is_a_log_too() {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    let config = Config::default();
    let set = Ruleset::load(&[Source { name: "rules.yaml", text: RULES }]);
    let batches = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&batches);
    let sink = Sink::Call(Box::new(move |batch| taken.lock().unwrap().push(batch)));
    let mut outlet = Outlet::new(&config, &surroundings(), sink, None).unwrap();
    let mut alerts = Alerts::new(&config.alerts, &set, "ab".into()).unwrap();
    let found =
        Match { event: &OPEN, at_ns: 5, number: 1, workload: &workload(), process: None, connection: None };
    alerts.matched(0, &found, &mut outlet);
    outlet.flush();
    let batches = batches.lock().unwrap();
    assert_eq!((batches.len(), batches[0].items), (1, 1));
    let request: ExportLogsServiceRequest = prost::Message::decode(batches[0].body.clone()).unwrap();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!((record.event_name.as_str(), record.time_unix_nano), ("tarsier.alert", 1_000_000_005));
    assert!(record.attributes.iter().any(|pair| pair.key == "tarsier.field.fd.name"), "{record:?}");
    assert!(!format!("{record:?}").contains("hunter2"));
}

/// `s` seconds.
const fn ns(s: u64) -> u64 {
    s * 1_000_000_000
}

#[test]
fn a_rule_that_has_told_enough_is_throttled_and_no_other() {
    let yaml = "alerts: {throttle: {rate_per_minute: 6, burst: 2}, append_output: [], json_output: true}";
    let found: Vec<_> = (0..30).flat_map(|second| [(0, ns(second), None), (1, ns(second), None)]).collect();
    let (lines, metrics) = told_at(yaml, &found, &OPEN);
    // Two at once, then one in ten seconds.
    let at: Vec<_> = lines.iter().filter(|line| line.contains("Opened")).collect();
    let expected = ["01.000000000", "02.000000000", "11.000000000", "21.000000000"];
    assert!(at.len() == 4 && at.iter().zip(expected).all(|(line, time)| line.contains(time)), "{at:?}");
    let rule = |metric, labels: &[&str]| metrics.get(metric, labels);
    assert_eq!(rule(Metric::RuleMatches, &["Args", "Notice", "syscall"]), Some(30.into()));
    assert_eq!(rule(Metric::RuleWithheld, &["Args", "throttled"]), Some(26.into()));
    assert_eq!(rule(Metric::RuleWithheld, &["Args", "grouped"]), Some(0.into()));
}

#[test]
fn what_says_the_same_again_is_told_once_in_a_window_with_a_number() {
    let yaml = "alerts: {group: {window: 10s}, append_output: [], json_output: true}";
    let (login, mut other) = (process(b""), process(b""));
    let image = Image { strings: Strings::of(b"/bin/other", b"/", b"other", b""), ..Image::default() };
    other.image = Arc::new(image);
    let found = [
        (0, ns(0), Some(&login)),
        (0, ns(1), Some(&login)),
        (0, ns(2), Some(&other)),
        (1, ns(3), Some(&login)),
        (0, ns(9), Some(&login)),
        (0, ns(10), Some(&login)),
        (0, ns(21), Some(&login)),
    ];
    let (lines, metrics) = told_at(yaml, &found, &OPEN);
    let suppressed: Vec<_> = lines
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|alert| alert["output_fields"]["tarsier.suppressed"].as_u64())
        .collect();
    assert_eq!(suppressed, [None, None, None, Some(2), None]);
    assert_eq!(metrics.get(Metric::RuleWithheld, &["Opened", "grouped"]), Some(2.into()));
}

#[test]
fn what_a_rule_has_told_outlives_its_set() {
    let yaml = "alerts: {throttle: {rate_per_minute: 1, burst: 2}, group: {window: 10s}, append_output: []}";
    let config = Loaded::parse("test", yaml, |_| None).unwrap().config;
    let rule = |name: &str, priority: &str| {
        format!(
            "- rule: {name}\n  desc: d\n  condition: evt.type = open\n  output: o\n  priority: {priority}\n"
        )
    };
    let set = |text: &str| Ruleset::load(&[Source { name: "rules.yaml", text }]);
    let (lines, workload, login) = (KeptLines::default(), workload(), process(b""));
    let mut outlet = outlet(&config, lines);
    let first = set(&(rule("a", "ERROR") + &rule("b", "ERROR")));
    let mut alerts = Alerts::new(&config.alerts, &first, "1".into()).unwrap();
    let mut matched = |alerts: &mut Alerts, place, second| {
        let at_ns = ns(second);
        let found = Match {
            event: &OPEN,
            at_ns,
            number: 1,
            workload: &workload,
            process: Some(&login),
            connection: None,
        };
        alerts.matched(place, &found, &mut outlet);
    };
    let of = |alerts: &Alerts, name: &str| {
        let (_, _, counts) = alerts.counts().find(|(known, ..)| *known == name).unwrap();
        (counts.matches, counts.grouped, counts.throttled)
    };
    matched(&mut alerts, 0, 0);
    matched(&mut alerts, 1, 0);
    // At another place, of another priority; a rule that is gone keeps its counts, and one that is new has none.
    alerts.replace(&config.alerts, &[], &set(&(rule("c", "ERROR") + &rule("a", "ALERT"))), "2".into());
    matched(&mut alerts, 0, 1);
    matched(&mut alerts, 1, 1);
    assert_eq!([of(&alerts, "a"), of(&alerts, "b"), of(&alerts, "c")], [(2, 1, 0), (1, 0, 0), (1, 0, 0)]);
    matched(&mut alerts, 1, 11);
    alerts.replace(&config.alerts, &[], &first, "3".into());
    matched(&mut alerts, 0, 22);
    matched(&mut alerts, 1, 1);
    assert_eq!([of(&alerts, "a"), of(&alerts, "b"), of(&alerts, "c")], [(4, 1, 1), (2, 1, 0), (1, 0, 0)]);
}

#[test]
fn rules_that_are_gone_do_not_pile_up_and_no_match_is_forgotten() {
    let config = Loaded::parse("test", PLAIN, |_| None).unwrap().config;
    let set = |number: usize| {
        let text = format!(
            "- rule: r{number}\n  desc: d\n  condition: evt.type = open\n  output: o\n  priority: INFO\n"
        );
        Ruleset::load(&[Source { name: "rules.yaml", text: &text }])
    };
    let (lines, workload) = (KeptLines::default(), workload());
    let mut outlet = outlet(&config, lines);
    let mut alerts = Alerts::new(&config.alerts, &set(0), "1".into()).unwrap();
    let all = RETIRED + 10;
    for number in 0..all {
        alerts.replace(&config.alerts, &[], &set(number), "2".into());
        let found =
            Match { event: &OPEN, at_ns: 1, number: 1, workload: &workload, process: None, connection: None };
        alerts.matched(0, &found, &mut outlet);
    }
    assert_eq!(alerts.counts().count(), 1 + RETIRED + 1, "one that runs, those that are known, the others");
    let matches = |alerts: &Alerts| alerts.counts().map(|(_, _, counts)| counts.matches).sum::<u64>();
    assert_eq!(matches(&alerts), all as u64);
    assert_eq!(alerts.counts().last().map(|(name, _, counts)| (name, counts.matches)), Some(("", 9)));
    // One of those that are known comes back, and goes on; one that was forgotten begins anew.
    alerts.replace(&config.alerts, &[], &set(9), "3".into());
    assert_eq!(alerts.counts().next().map(|(_, _, counts)| counts.matches), Some(1));
    alerts.replace(&config.alerts, &[], &set(0), "4".into());
    assert_eq!(alerts.counts().next().map(|(_, _, counts)| counts.matches), Some(0));
    assert_eq!(matches(&alerts), all as u64);
}

#[test]
fn secrets_are_hidden_in_all_that_may_hold_one() {
    let login = process(b"/bin/login\0--password\0two words\0-v\0");
    let expected = "--password [REDACTED] -v|--password|/bin/login --password [REDACTED] -v|\
                    bash -c curl -H Authorization: Bearer [REDACTED]|[REDACTED]|\
                    res=0 exe=/bin/login args=--password.[REDACTED].-v. tid=1|--password.[REDACTED].-v.";
    let line = told(PLAIN, &[1], &EXEC, Some(&login)).remove(0);
    assert_eq!(line.strip_prefix("00:00:01.000000005: Notice ").unwrap(), expected);
    let open = "{append_output: [{extra_output: '%proc.args[1]'}]}";
    let line = told(&format!("alerts: {open}"), &[1], &EXEC, Some(&login)).remove(0);
    assert!(line.ends_with(" [REDACTED]"), "{line}");
    // Without redaction everything is as it was.
    let line = told("redaction: {enabled: false}", &[1], &EXEC, Some(&login)).remove(0);
    assert!(line.contains("--password two words -v|") && line.contains("Bearer abcdefghijkl"), "{line}");
}

#[test]
fn what_is_hidden_and_how_alerts_look_can_change() {
    let parse = |yaml: &str| Loaded::parse("test", yaml, |_| None).unwrap().config;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let set = Ruleset::load(&[Source { name: "rules.yaml", text: RULES }]);
    let config = parse(PLAIN);
    let lines = KeptLines::default();
    let mut outlet = outlet(&config, lines.clone());
    let mut alerts = Alerts::new(&config.alerts, &set, "ab".into()).unwrap();
    let (login, workload) = (process(b"/bin/login\0--password\0two words\0-v\0"), workload());
    let found = Match {
        event: &EXEC,
        at_ns: 5,
        number: 1,
        workload: &workload,
        process: Some(&login),
        connection: None,
    };
    alerts.matched(1, &found, &mut outlet);
    let new = parse(
        "redaction: {enabled: false}\nalerts: {append_output: [{extra_output: more}], json_output: true}",
    );
    let additions = new.alerts.additions().unwrap();
    alerts.replace(&new.alerts, &additions, &set, "cd".into());
    let change = Channels::default().prepare(&new.alerts, "node-1", runtime.handle()).unwrap();
    let form = LineForm::new(&new.alerts, None, "node-1", TimeZone::UTC);
    outlet.change(&new, Redactors::new(&new).unwrap(), change, Some(form), None);
    alerts.matched(1, &found, &mut outlet);
    outlet.finish_cycle();
    let told = String::from_utf8(lines.take()).unwrap();
    let told: Vec<_> = told.lines().collect();
    assert!(told.len() == 2 && told[0].contains("--password [REDACTED] -v|"), "{told:?}");
    let alert: serde_json::Value = serde_json::from_str(told[1]).unwrap();
    let output = alert["output"].as_str().unwrap();
    assert!(output.contains("--password two words -v|") && output.ends_with(" more"), "{output}");
}

#[test]
fn what_is_added_and_to_which_rules() {
    let yaml = "
alerts:
  json_output: true
  json_include_tags_property: false
  append_output:
    - match: {tags: [T1555, host]}
      extra_output: on %evt.hostname
    - match: {rule: Opened, source: syscall}
      extra_fields: [container.id, who: '%fd.name by %proc.exe']
    - match: {source: k8s_audit}
      extra_output: never
    - match: {tags: [host, container]}
      extra_output: never
";
    let lines = told(yaml, &[0, 1], &OPEN, None);
    let parsed: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(parsed[0]["output"].as_str().unwrap().ends_with(") on <NA>"), "{lines:?}");
    let fields = &parsed[0]["output_fields"];
    assert_eq!(fields["container.id"], "host");
    assert_eq!(fields["who"], "/etc/shadow by <NA>");
    assert_eq!(fields["evt.hostname"], serde_json::Value::Null);
    assert_eq!(fields["evt.time"], 1_000_000_005);
    assert!(parsed[1]["output_fields"].get("who").is_none(), "{lines:?}");
    assert!(!lines.concat().contains("never"));
}

#[test]
fn mistakes_in_what_is_added_are_told_with_their_place() {
    let yaml = "alerts:
  append_output:
    - extra_output: x %proc.nam
    - extra_fields: [fd.name, fd.nmae, who: '100%', 'fd.name x']
";
    let error = Loaded::parse("t.yaml", yaml, |_| None).unwrap_err().to_string();
    for expected in [
        "t.yaml:3:21: alerts.append_output[0].extra_output: there is no field `proc.nam`",
        "t.yaml:4:31: alerts.append_output[1].extra_fields[1]: there is no field `fd.nmae`",
        "alerts.append_output[1].extra_fields[2].who: a field is missing after this `%`",
        "alerts.append_output[1].extra_fields[3]: `fd.name x` is not the name of a field",
        "4 problems",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let wrong = Loaded::parse("t.yaml", "alerts: {append_output: [{extra_fields: [{who: 3}]}]}", |_| None);
    assert!(wrong.unwrap_err().to_string().contains("extra_fields[0].who: expected text"));
}
