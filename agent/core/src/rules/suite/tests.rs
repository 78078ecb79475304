use super::*;

const FILE: &str = r#"rules: [a.yaml, ../b]
enable: [Off by default]
cases:
  - name: read
    events:
      - evt.type: openat
        fd.name: /etc/shadow
      - capture: x.tarsier
    alerts:
      - Opened
      - rule: Read
        output: "read /etc/shadow"
        fields: {fd.name: /etc/shadow, evt.rawres: 3, proc.name: ~}
        count: 2
  - name: not read
    events: [{evt.type: unlink}]
    alerts: []
"#;

#[test]
fn a_file_of_tests() {
    let suite = read(0, FILE).unwrap();
    let texts = |spelled: &[Spelled]| spelled.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
    assert_eq!(
        (texts(&suite.rules), texts(&suite.enable)),
        (vec!["a.yaml".into(), "../b".into()], vec!["Off by default".into()])
    );
    let [first, second] = suite.cases.as_slice() else { panic!("{suite:?}") };
    assert!(
        matches!(first.happenings.as_slice(), [Happening::Stated(_), Happening::Capture(path)] if path.text == "x.tarsier")
    );
    let [opened, read] = first.expected.as_slice() else { panic!("{first:?}") };
    assert_eq!((opened.rule.text.as_str(), opened.count, opened.fields.len()), ("Opened", None, 0));
    assert_eq!((read.rule.text.as_str(), read.count), ("Read", Some(2)));
    assert_eq!(read.output.as_ref().map(|output| output.text.as_str()), Some("read /etc/shadow"));
    let fields: Vec<_> = read
        .fields
        .iter()
        .map(|(key, value)| (key.text.as_str(), value.as_ref().map(|value| value.text.as_str())))
        .collect();
    assert_eq!(fields, [("fd.name", Some("/etc/shadow")), ("evt.rawres", Some("3")), ("proc.name", None)]);
    assert!(second.expected.is_empty());
}

/// The mistakes of a file: the text at each place, and what is said of it.
fn mistakes(text: &str) -> Vec<(&str, String)> {
    let problems = read(0, text).expect_err(text);
    let shown = |problem: &Problem| {
        let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{}{help}", problem.message)
    };
    problems.iter().map(|one| (&text[one.span.start as usize..one.span.end as usize], shown(one))).collect()
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let event = |event: &str| format!("cases:\n- name: a\n  events: [{{{event}}}]\n  alerts: []\n");
    let table = [
        (event("evt.type: opne"), "opne", "there are no events of type `opne` (did you mean `open`?)"),
        (event("evt.type: read"), "read", "no sensor tells of `read`: no rule can match it"),
        (event("fd.name: a"), "fd.name", "this event has no `evt.type` (add `evt.type: openat`)"),
        (
            event("evt.type: open, fd.nmae: a"),
            "fd.nmae",
            "there is no field `fd.nmae` (did you mean `fd.name`? `tarsier fields` lists all)",
        ),
        (
            event("evt.type: open, fd.num: three"),
            "three",
            "`three` is no number (write a whole decimal number)",
        ),
        (event("evt.type: open, evt.failed: 1"), "1", "`1` is no truth (write `true` or `false`)"),
        (
            event("evt.type: connect, fd.sip: local"),
            "local",
            "`local` is no address (write 10.0.0.1 or fd00::1)",
        ),
        (event("evt.type: open, fd.name: [a, b]"), "[a, b]", "`fd.name` has one value, and this is a list"),
        (event("evt.type: open, fd.num: 1, fd.num: 2"), "fd.num", "this field is stated twice"),
        (
            event("evt.type: open, proc.sname: sh"),
            "proc.sname",
            "the agent never gives `proc.sname`: it does not know the session yet (a test that states it would pass, \
             and the rule never match)",
        ),
        (
            event("capture: x, fd.num: 1"),
            "{capture: x, fd.num: 1}",
            "a capture has its own events: no fields are stated beside it",
        ),
        ("cases: []\n".into(), "cases: []", "this file holds no tests: it has no `cases`"),
        ("case: []\n".into(), "case", "`case` is no key of a file of tests (did you mean `cases`?)"),
        (
            "cases:\n- name: a\n  events: [{evt.type: open}]\n".into(),
            "name",
            "this case does not say which alerts come \
            (add `alerts: [NAME OF A RULE]`, or `alerts: []` if there is to be none)",
        ),
        (
            "cases:\n- name: a\n  alerts: []\n".into(),
            "name",
            "in this case nothing happens: it has no `events`",
        ),
        (
            "cases:\n- name: a\n  events: [{evt.type: open}]\n  alerts: [{rule: x, count: 0}]\n".into(),
            "0",
            "`count` is a number above 0",
        ),
    ];
    for (text, place, message) in &table {
        assert_eq!(mistakes(text), [(*place, (*message).to_owned())], "{text}");
    }
    let twice = "cases:\n- {name: a, events: [{evt.type: open}], alerts: []}\n- {name: a, events: [{evt.type: open}], alerts: []}\n";
    assert_eq!(mistakes(twice), [("a", "two cases are called `a`".to_owned())]);
}
