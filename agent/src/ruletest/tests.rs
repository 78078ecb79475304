//! Folders of rules and tests, and what comes of them.

use std::path::{Path, PathBuf};

use super::*;

const RULES: &str = "
- list: readers
  items: [login, sshd]
- macro: opened_to_read
  condition: (evt.type in (open, openat, openat2) and evt.is_open_read = true)
- rule: Passwords were read
  desc: d
  condition: opened_to_read and fd.name = /etc/shadow and not proc.name in (readers)
  output: read %fd.name (command=%proc.cmdline num=%fd.num)
  priority: WARNING
- rule: A shell is run
  desc: d
  condition: evt.type = execve and proc.name in (sh, bash, dash)
  output: run %proc.name
  priority: INFO
- rule: Connected
  desc: d
  condition: evt.type = connect
  output: o
  priority: INFO
  enabled: false
";
const READ: &str = "evt.type: openat, fd.name: /etc/shadow, evt.is_open_read: true";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn outcome(files: &[(&str, &str)]) -> Outcome {
    let folder = folder(files);
    run(&find(&[folder.path().to_owned()]).unwrap(), false)
}

/// The only case of a file, of which these are the events and alerts.
fn case(events: &str, alerts: &str) -> Vec<Fault> {
    let tests = format!("cases:\n- name: a\n  events: [{events}]\n  alerts: {alerts}\n");
    let mut outcome = outcome(&[("r.yaml", RULES), ("a.test.yaml", &tests)]);
    assert_eq!(outcome.broken(), 0, "{:?}", outcome.suites[0].broken);
    outcome.suites[0].cases.remove(0).faults
}

#[test]
fn what_was_expected_is_no_fault() {
    for (events, alerts) in [
        (format!("{{{READ}, proc.name: cat}}"), "[Passwords were read]"),
        (format!("{{{READ}, proc.name: login}}"), "[]"),
        (format!("{{{READ}}}, {{evt.type: execve, proc.name: sh}}"), "[A shell is run, Passwords were read]"),
        (format!("{{{READ}}}, {{{READ}}}"), "[{rule: Passwords were read, count: 2}]"),
        (
            format!("{{{READ}, proc.cmdline: curl -u me:hunter2 x}}"),
            "[{rule: Passwords were read, output: 'read /etc/shadow (command=curl -u me:[REDACTED] x num=<NA>)', \
             fields: {fd.num: ~, fd.name: /etc/shadow}}]",
        ),
    ] {
        assert_eq!(case(&events, alerts), [], "{events} {alerts}");
    }
}

#[test]
fn what_was_not_expected_says_why() {
    let faults = |events: &str, alerts: &str| -> Vec<(String, String)> {
        case(events, alerts).into_iter().map(|fault| (fault.message, fault.details.join("\n"))).collect()
    };
    let only = |mut faults: Vec<(String, String)>| {
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.remove(0)
    };
    let (message, details) = only(faults(
        "{evt.type: openat, fd.name: /etc/shadow}, {evt.type: openat, evt.is_open_read: true, fd.name: /x}, \
         {evt.type: connect}",
        "[Passwords were read]",
    ));
    assert_eq!(message, "an alert of `Passwords were read` was expected, and none came");
    for says in [
        "a.test.yaml:3:12: this event does not match, since",
        "r.yaml:5:55: `evt.is_open_read = true` is false: there is no value",
        "r.yaml:8:33: `fd.name = /etc/shadow` is false: it is \"/x\"",
        "the rule is not about events of this type",
    ] {
        assert!(details.contains(says), "{says}: {details}");
    }
    let (_, details) = only(faults(&format!("{{{READ}, proc.name: login}}"), "[Passwords were read]"));
    assert!(details.contains("`proc.name in (readers)` is true: it is \"login\""), "{details}");

    let (message, details) = only(faults(&format!("{{{READ}}}"), "[]"));
    assert_eq!(message, "an alert of `Passwords were read` came, and none was expected");
    assert_eq!(details, "output: read /etc/shadow (command=<NA> num=<NA>)");

    let (message, details) = only(faults(
        &format!("{{{READ}, fd.num: 3}}"),
        "[{rule: Passwords were read, output: x, fields: {fd.num: 4, fd.name: /etc/shadow, evt.res: ~}}]",
    ));
    assert_eq!(message, "`Passwords were read` told something else than was expected");
    assert_eq!(
        details,
        "output expected: x\noutput told:     read /etc/shadow (command=<NA> num=3)\nfd.num expected: 4\n\
         fd.num told:     3\nevt.res: the rule's output does not have this field"
    );
    // One path cannot be the other, and the kernel looks at the one that was written.
    let (message, details) =
        only(faults(&format!("{{{READ}, fd.nameraw: /etc/passwd}}"), "[Passwords were read]"));
    assert_eq!(message, "`Passwords were read` matches an event that never reaches it");
    assert!(details.contains("a.test.yaml:3:12: the kernel drops what is like this event"), "{details}");
    let (message, _) =
        only(faults(&format!("{{{READ}}}, {{{READ}}}"), "[{rule: Passwords were read, count: 3}]"));
    assert_eq!(message, "3 alerts of `Passwords were read` were expected, and 2 came");
}

#[test]
fn what_cannot_be_run_is_told_with_its_place_and_nothing_else_suffers() {
    let good = "cases:\n- {name: a, events: [{evt.type: unlink}], alerts: []}\n";
    let of =
        |alert: &str| format!("cases:\n- {{name: a, events: [{{evt.type: unlink}}], alerts: [{alert}]}}\n");
    let outcome = outcome(&[
        ("good/r.yaml", RULES),
        ("good/a.test.yaml", good),
        ("good/b.test.yaml", &of("Passwrds were read")),
        ("good/c.test.yml", &of("Connected")),
        ("good/d.test.yaml", &format!("rules: [nowhere.yaml]\n{good}")),
        ("good/e.test.yaml", &format!("enable: [Conected]\n{good}")),
        ("good/f.test.yaml", "cases: [\n"),
        ("rules/r.yaml", "- rule: x\n  desc: d\n  condition: proc.nmae = a\n  output: o\n  priority: INFO\n"),
        ("rules/g.test.yaml", good),
        ("none/h.test.yaml", good),
        (".git/x.test.yaml", "nothing looks here"),
    ]);
    let broken = |file: &str| -> String {
        let suite = outcome.suites.iter().find(|suite| suite.file.ends_with(file)).expect(file);
        suite.broken.iter().map(|(shown, _)| shown.as_str()).collect()
    };
    assert_eq!((outcome.suites.len(), outcome.broken(), outcome.failed(), outcome.cases()), (8, 7, 0, 1));
    assert_eq!(broken("a.test.yaml"), "");
    for (file, says) in [
        (
            "b.test.yaml",
            &[
                "there is no rule `Passwrds were read`",
                "did you mean `Passwords were read`?",
                "b.test.yaml:2:",
            ][..],
        ),
        ("c.test.yml", &["the rule `Connected` is off", "enable: [\"Connected\"]"]),
        ("d.test.yaml", &["nowhere.yaml: No such file"]),
        ("e.test.yaml", &["there is no rule `Conected`"]),
        ("f.test.yaml", &["LOAD_ERR_YAML_PARSE"]),
        ("g.test.yaml", &["there is no field `proc.nmae`", "r.yaml:3:14"]),
        ("h.test.yaml", &["no file here ends in .yaml or .yml"]),
    ] {
        for says in says {
            assert!(broken(file).contains(says), "{file}: {says}: {}", broken(file));
        }
    }
}

#[test]
fn all_files_together_cover_the_rules() {
    let first = format!(
        "cases:\n- {{name: a, events: [{{{READ}, proc.name: cat}}], alerts: [Passwords were read]}}\n\
         - {{name: b, events: [{{{READ}, proc.name: login}}], alerts: []}}\n\
         - {{name: c, events: [{{evt.type: openat, evt.is_open_read: false}}], alerts: []}}\n"
    );
    let second = "enable: [Conn*]\nrules: [.]\ncases:\n- {name: a, events: [{evt.type: connect}], alerts: [Connected]}\n";
    let outcome = outcome(&[("r.yaml", RULES), ("a.test.yaml", &first), ("b.test.yaml", second)]);
    assert_eq!((outcome.broken(), outcome.failed()), (0, 0), "{:?}", outcome.suites);
    let account = &outcome.account;
    let rules: Vec<_> = account
        .rules()
        .map(|rule| (rule.rule, rule.is_on, rule.matched, rule.passed, rule.decided, rule.leaves))
        .collect();
    assert_eq!(
        rules,
        [
            ("Passwords were read".to_owned(), true, 1, 2, 2, 3),
            ("A shell is run".to_owned(), true, 0, 0, 0, 1),
            ("Connected".to_owned(), true, 1, 0, 0, 0),
        ]
    );
    let open: Vec<_> =
        account.open().map(|leaf| (leaf.line, leaf.text, leaf.seen_true, leaf.seen_false)).collect();
    assert_eq!(
        open,
        [
            (8, "fd.name = /etc/shadow".to_owned(), true, false),
            (13, "proc.name in (sh, bash, dash)".to_owned(), false, false)
        ]
    );
    assert_eq!((account.leaves(), account.seen()), (4, 5));
    let mut shown = Vec::new();
    write_human(&mut shown, &outcome, true).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    for line in [
        "Passwords were read        1       2               2 of 3",
        "r.yaml:8:33: never false: fd.name = /etc/shadow",
        "r.yaml:13:36: never asked: proc.name in (sh, bash, dash)",
        "4 cases, 4 passed, 0 failed; 2 of 3 rules matched; coverage 62.5 % (5 of 8 outcomes of 4 comparisons)",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[test]
fn what_was_recorded_is_an_event_too() {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/native.tarsier");
    let rules = "- rule: Itest\n  desc: d\n  condition: evt.type = execve and proc.exepath endswith /itest\n  output: o\n  priority: INFO\n";
    let tests = |alerts: &str| {
        format!("cases:\n- {{name: a, events: [{{capture: {}}}], alerts: {alerts}}}\n", capture.display())
    };
    let outcome = outcome(&[
        ("r.yaml", rules),
        ("a.test.yaml", &tests("[Itest]")),
        ("b.test.yaml", &tests("[]")),
        ("c.test.yaml", "cases:\n- {name: a, events: [{capture: nowhere}], alerts: []}\n"),
    ]);
    let faults = |place: usize| &outcome.suites[place].cases[0].faults;
    assert_eq!(faults(0), &[], "its program was started while it was recorded");
    assert!(faults(1).iter().all(|fault| fault.message == "an alert of `Itest` came, and none was expected"));
    assert!(!faults(1).is_empty());
    assert!(
        faults(2)[0].message.ends_with("nowhere: No such file or directory (os error 2)"),
        "{:?}",
        faults(2)
    );
}

#[test]
fn results_for_ci_systems() {
    let tests = "cases:\n- {name: 'a <b> & \"c\"', events: [{evt.type: execve, proc.name: sh}], alerts: []}
- {name: b, events: [{evt.type: execve}], alerts: []}\n";
    let mut outcome = outcome(&[("r.yaml", RULES), ("a.test.yaml", tests), ("b.test.yaml", "cases: []")]);
    for suite in &mut outcome.suites {
        suite.file = PathBuf::from(&suite.file).file_name().unwrap().to_string_lossy().into_owned();
        suite.cases.iter_mut().for_each(|case| case.took = std::time::Duration::from_millis(2));
        suite.broken.iter_mut().for_each(|(shown, _)| shown.truncate(30));
    }
    let mut xml = Vec::new();
    write_junit(&mut xml, &outcome).unwrap();
    assert_eq!(
        String::from_utf8(xml).unwrap(),
        r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="tarsier rules test" tests="3" failures="1" errors="1">
  <testsuite name="a.test.yaml" tests="2" failures="1" errors="0" time="0.004000">
    <testcase name="a &lt;b&gt; &amp; &quot;c&quot;" classname="a.test.yaml" file="a.test.yaml" line="2" time="0.002000">
      <failure message="an alert of `A shell is run` came, and none was expected">output: run sh</failure>
    </testcase>
    <testcase name="b" classname="a.test.yaml" file="a.test.yaml" line="3" time="0.002000"/>
  </testsuite>
  <testsuite name="b.test.yaml" tests="1" failures="0" errors="1" time="0.000000">
    <testcase name="the file loads" classname="b.test.yaml" file="b.test.yaml">
      <error message="the file cannot be run">error[LOAD_ERR_YAML_VALIDATE]:</error>
    </testcase>
  </testsuite>
</testsuites>
"#
    );
}

#[test]
fn our_rules_do_what_is_expected_of_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rules");
    let outcome = run(&find(&[folder]).unwrap(), false);
    let mut shown = Vec::new();
    write_human(&mut shown, &outcome, false).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    assert_eq!((outcome.broken(), outcome.failed(), outcome.account.percent()), (0, 0, 100.0), "{shown}");
    let rules: Vec<_> = outcome.account.rules().collect();
    assert!(rules.len() >= 18, "{shown}");
    for rule in rules {
        assert!(rule.is_on && rule.matched > 0 && rule.passed > 0, "{}: {shown}", rule.rule);
    }
}

/// Whoever triages needs them: what is done, which control is concerned, where it is looked for.
#[test]
fn our_rules_have_their_tags() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rules/tarsier.yaml");
    let files = crate::rules::read(&[path]).unwrap();
    let set = tarsier_core::rules::ruleset::Ruleset::load(&files.sources());
    assert_eq!(set.problems, [], "not even a warning");
    for ready in &set.rules {
        let tags = &ready.rule.tags;
        let technique =
            |tag: &String| tag.starts_with('T') && tag[1..].bytes().all(|c| c == b'.' || c.is_ascii_digit());
        assert!(tags.iter().any(technique), "{}", ready.rule.name);
        for start in ["mitre_", "nist_"] {
            assert!(tags.iter().any(|tag| tag.starts_with(start)), "{}: {start}", ready.rule.name);
        }
        assert!(tags.iter().any(|tag| tag == "container" || tag == "host"), "{}", ready.rule.name);
    }
}
