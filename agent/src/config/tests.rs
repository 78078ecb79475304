//! What users meet: all mistakes at once, a printed configuration that reads back, a fresh page.

use proptest::prelude::*;

use super::*;
use crate::rules::{Named, Selection};

/// With an empty environment.
fn parse(source: &str, text: &str) -> Result<Loaded, ConfigError> {
    Loaded::parse(source, text, |_| None)
}

/// With these variables.
fn with_env(text: &str, env: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    Loaded::parse("t.yaml", text, |name| {
        env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

const FIVE: &str = "\
sensors:
  tpc: true
flows:
  interval: 10
  max_connections: many
rings:
  priority_bytes: 1KiB
outputt:
  stdout: json
";

#[test]
fn five_mistakes_show_all_five_with_place_and_fix() {
    let error = parse("bad.yaml", FIVE).unwrap_err();
    let found: Vec<_> =
        error.problems.iter().map(|problem| (problem.place.unwrap(), problem.path.as_str())).collect();
    assert_eq!(
        found,
        [
            ((2, 3), "sensors.tpc"),
            ((4, 13), "flows.interval"),
            ((5, 20), "flows.max_connections"),
            ((7, 19), "rings.priority_bytes"),
            ((8, 1), "outputt"),
        ]
    );
    for (problem, fix) in error.problems.iter().zip([
        "did you mean `tcp`?",
        "such as `10s`",
        "write digits without quotes or unit",
        "use a value from 64KiB to 1GiB",
        "did you mean `output`?",
    ]) {
        assert!(problem.fix.contains(fix), "{problem}");
    }
    let text = error.to_string();
    assert!(text.starts_with("bad.yaml:2:3: sensors.tpc: no such option\n    fix: did you mean"), "{text}");
    assert!(text.ends_with("5 problems in the configuration"), "{text}");
}

#[test]
fn each_kind_of_mistake() {
    for (text, place, what) in [
        ("log: {level: loud}", (1, 14), "`loud` is not a choice"),
        ("process: {max_entries: 1}", (1, 24), "out of range"),
        ("process: {max_entries: -5}", (1, 24), "out of range"),
        ("process: {max_entries: 1.5}", (1, 24), "expected a whole number, found a fraction"),
        ("redaction: {enabled: yes}", (1, 22), "expected true or false, found text"),
        ("redaction: {patterns: ['a', '(']}", (1, 29), "not a regular expression"),
        ("redaction: {patterns: x}", (1, 23), "expected a list, found text"),
        ("scope: {cgroup: here}", (1, 17), "not an absolute path"),
        ("scope:", (1, 6), "expected a map, found nothing"),
        ("ops: {listen: 'localhost:1'}", (1, 15), "not an address"),
        ("resource_attributes: {a: 1}", (1, 26), "expected text, found a whole number"),
        ("flows: {interval: 5s}\nflows: {}", (2, 1), "given twice; first in line 1"),
        ("flows: {interval: 5 weeks}", (1, 19), "`weeks` is not a unit of a duration"),
        ("rings: {drain_min: 1s, drain_max: 1ms}", (1, 20), "longer than drain_max"),
        ("rings: {bulk_bytes: 3MiB}", (1, 21), "not a power of two"),
        ("- a", (1, 1), "expected a map, found a list"),
        (
            "sensors: {cgroup: false, exec: false, fork: false, exit: false, tcp: false, syscall: false, io_uring: false}",
            (1, 10),
            "every sensor is off",
        ),
    ] {
        let error = parse("f", text).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{text}: {error}");
        assert!(error.problems[0].what.contains(what), "{text}: {error}");
        assert_eq!(error.problems[0].place, Some(place), "{text}: {error}");
        assert!(!error.problems[0].fix.is_empty());
    }
}

#[test]
fn broken_yaml_is_one_problem_with_a_place() {
    let error = parse("f", "flows: [1,\nlog: {").unwrap_err();
    assert_eq!(error.problems.len(), 1);
    assert!(error.problems[0].place.is_some(), "{error}");
}

#[test]
fn nothing_means_defaults() {
    for text in ["", "# only a comment\n", "---\n", "{}"] {
        assert_eq!(parse("f", text).unwrap().config, Config::default(), "{text:?}");
    }
}

#[test]
fn what_is_printed_reads_back_and_names_its_origins() {
    let text = "\
sensors: {fork: false}
scope: {cgroup: /sys/fs/cgroup/a b}
redaction:
  patterns: ['token=(\\S+)', 'no', 'x: y # z']
flows: {interval: 1500ms}
ops: {listen: none}
resource_attributes: {k8s.node.name: n1, 'odd: key': 'true', port: '80', 'naïve': \"a\\nb\"}
";
    let env = [
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.node.name=other,zone=a%2Cb"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
    ];
    let loaded = with_env(text, &env).unwrap();
    let printed = print(&loaded);
    let again = parse("printed", &printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    assert_eq!(again.config, loaded.config, "{printed}");
    assert_eq!(loaded.config.resource_attributes["k8s.node.name"], "n1", "the file wins");
    assert_eq!(loaded.config.resource_attributes["zone"], "a,b");
    let line = |start: &str| {
        printed
            .lines()
            .find(|line| line.trim_start().starts_with(start))
            .unwrap_or_else(|| panic!("{printed}"))
    };
    assert!(line("fork: false").ends_with("# t.yaml:1"), "{printed}");
    assert!(line("interval: 1500ms").ends_with("# t.yaml:5"), "{printed}");
    assert!(line("zone:").ends_with("# OTEL_RESOURCE_ATTRIBUTES"), "{printed}");
    assert!(line("endpoint: \"http://collector:4317\"").ends_with("# environment"), "{printed}");
    assert!(line("max_entries: 65536").ends_with("# default"), "{printed}");
    // What is not set is shown too: the print is the list of what can be.
    for unset in ["limit: null", "ca_file: null", "timeout: null"] {
        assert!(line(unset).ends_with("# default"), "{printed}");
    }
}

/// YAML takes no more than 1,024 characters for a key, unless it is marked as one.
#[test]
fn long_keys_print_so_that_they_read_back() {
    for key in ["k".repeat(1_000), "k".repeat(1_001), "k".repeat(1_025), "\0".repeat(110), "ä ".repeat(2_000)]
    {
        let mut loaded = Loaded::default();
        loaded.config.resource_attributes.insert(key, "value".into());
        loaded.config.resource_attributes.insert("after".into(), "it".into());
        let printed = print(&loaded);
        let again = parse("printed", &printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
        assert_eq!(again.config, loaded.config, "{printed}");
    }
}

#[test]
fn mistakes_in_the_environment_name_the_variable() {
    let env = [("OTEL_RESOURCE_ATTRIBUTES", "a=1,b,=c,d=%zz"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")];
    let error = with_env("", &env).unwrap_err();
    let sources: Vec<&str> = error.problems.iter().map(|problem| problem.source.as_str()).collect();
    let attributes = "OTEL_RESOURCE_ATTRIBUTES";
    assert_eq!(sources, [attributes, attributes, attributes, "OTEL_EXPORTER_OTLP_TIMEOUT"], "{error}");
}

#[test]
fn exporter_mistakes_have_places_too() {
    let text = "otlp:\n  endpoint: 'collector'\n  traces:\n    endpoint: 'http://x:1/path'\n";
    let error = with_env(text, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://fine:4317")]).unwrap_err();
    let places: Vec<_> = error.problems.iter().map(|problem| problem.place).collect();
    assert_eq!(places, [Some((2, 13)), Some((4, 15))], "{error}");
    assert!(error.to_string().starts_with("t.yaml:2:13: otlp.endpoint: "), "{error}");
}

#[test]
fn header_values_are_never_printed() {
    let text = "otlp: {endpoint: 'http://x:1', headers: {api-key: hush}}\n";
    let printed = print(&parse("f", text).unwrap());
    assert!(printed.contains("api-key") && !printed.contains("hush"), "{printed}");
}

#[test]
fn hooks_have_one_name_everywhere() {
    for kind in tarsier_abi::HookKind::ALL {
        let text = format!("hooks: {{avoid: [{}]}}\n", kind.name());
        let avoid = parse("f", &text).unwrap().config.hooks.avoid;
        assert_eq!(avoid.into_iter().map(tarsier_abi::HookKind::from).collect::<Vec<_>>(), [kind]);
    }
}

#[test]
fn the_reference_page_is_fresh() {
    crate::fresh::assert_fresh("docs/reference/config.md", &reference());
}

#[test]
fn every_option_is_documented() {
    for line in reference().lines().filter(|line| line.starts_with("| `")) {
        assert!(!line.ends_with("|  |"), "no documentation: {line}");
    }
}

proptest! {
    #[test]
    fn any_text_prints_so_that_it_reads_back(key in "\\PC{1,20}", value in prop::collection::vec(any::<char>(), 0..20)) {
        let value = String::from_iter(value);
        let mut loaded = Loaded::default();
        loaded.config.resource_attributes.insert(key, value.clone());
        loaded.config.redaction.patterns = vec![regex::escape(&value)];
        let printed = print(&loaded);
        let again = parse("printed", &printed);
        prop_assert_eq!(again.map(|again| again.config), Ok(loaded.config), "{}", printed);
    }

    #[test]
    fn no_document_panics(text in "[a-z:{}\\[\\]&*!|>'\"%#\\-?, \n0-9~<]{0,60}") {
        let options = ["", "flows:\n  ", "sensors: ", "resource_attributes: "];
        for start in options {
            // Either outcome is fine; a problem always has words.
            if let Err(error) = parse("f", &format!("{start}{text}")) {
                prop_assert!(error.problems.iter().all(|problem| !problem.what.is_empty()));
            }
        }
    }
}

#[test]
fn rules_are_switched_by_maps_of_one_key() {
    let text = "rules:\n  select:\n    - disable: {rule: 'Read*'}\n    - enable: {tag: host}\n";
    let select = parse("t", text).unwrap().config.rules.select;
    assert_eq!(
        select,
        [Selection::Disable(Named::Rule("Read*".into())), Selection::Enable(Named::Tag("host".into()))]
    );
    let text = "rules: {select: [x, {}, {enabel: {tag: a}}, {enable: {tag: 1}}, {enable: {tag: a}, disable: {tag: b}}]}";
    let error = parse("t", text).unwrap_err().to_string();
    for expected in [
        "t:1:18: rules.select[0]: expected a map, found text\n    fix: write one of these keys: enable, disable",
        "rules.select[1]: expected one key, found 0",
        "rules.select[2].enabel: no such option\n    fix: did you mean `enable`?",
        "rules.select[3].enable.tag: expected text, found ",
        "rules.select[4]: expected one key, found 2",
        "5 problems",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
