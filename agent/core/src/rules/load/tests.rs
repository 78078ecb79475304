//! Tables of rule files: what they hold, and what is said of their mistakes.

use super::*;
use crate::rules::rule::Priority;

/// The conditions of all rules, and every problem as `CODE place: message`.
fn outcome(files: &[&str]) -> (Vec<String>, Vec<String>) {
    let sources: Vec<Source<'_>> = files.iter().map(|text| Source { name: "file", text }).collect();
    let loaded = load(&sources);
    let rules = loaded.rules.iter().map(|rule| format!("{}: {}", rule.name, rule.condition)).collect();
    let shown = |problem: &Problem| {
        let span = problem.span;
        let place = &files[span.source as usize][span.start as usize..span.end as usize];
        format!("{} {place:?}: {}", problem.code, problem.message)
    };
    let told = loaded.problems.iter().filter(|problem| {
        !matches!(problem.code, Code::UnusedList | Code::UnusedMacro | Code::DeprecatedItem)
    });
    (rules, told.map(shown).collect())
}

/// A rule of this condition.
fn rule(condition: &str) -> String {
    format!("- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: {condition}\n")
}

#[test]
fn conditions_are_put_together() {
    let table = [
        // Lists: between commas, alone, empty, in each other, in a string.
        ("- list: l\n  items: [a, 'b c', \"'d'\"]\n", "x.y in (l)", "x.y in (a, \"b c\", \"d\")"),
        ("- list: l\n  items: [a, b]\n", "x.y in (z, l, w)", "x.y in (z, a, b, w)"),
        ("- list: l\n  items: [a, b]\n", "x.y in (l,l)", "x.y in (a, b, a, b)"),
        ("- list: l\n  items: []\n", "x.y in (l)", "x.y in ()"),
        ("- list: l\n  items: []\n", "x.y in (a, l, b)", "x.y in (a, b)"),
        ("- list: l\n  items: []\n", "x.y in (l, b)", "x.y in (b)"),
        ("- list: l\n  items: [a]\n", "x.y=l", "x.y = a"),
        ("- list: l\n  items: [a]\n", "x.y = 'an l here'", "x.y = \"an a here\""),
        ("- list: l\n  items: [a]\n", "x.y in (ll, l.l, 'l')", "x.y in (ll, l.l, \"l\")"),
        ("- list: l\n  items: [a]\n- list: m\n  items: [l, b]\n", "x.y in (m)", "x.y in (a, b)"),
        // Defined below: written out in the text all the same, since lists are written in one after the other.
        ("- list: m\n  items: [l, b]\n- list: l\n  items: [a]\n", "x.y in (m)", "x.y in (a, b)"),
        ("- list: l\n  items: [l]\n", "x.y in (l)", "x.y in (l)"),
        (
            "- list: l\n  items: [a]\n- list: l\n  items: [b]\n  override: {items: append}\n",
            "x.y in (l)",
            "x.y in (a, b)",
        ),
        ("- list: l\n  items: [a]\n- list: l\n  items: [b]\n  append: yes\n", "x.y in (l)", "x.y in (a, b)"),
        ("- list: l\n  items: [a]\n- list: l\n  items: [b]\n", "x.y in (l)", "x.y in (b)"),
        // Macros: in each other, negated, defined again.
        (
            "- macro: m\n  condition: a.b = 1 or a.b = 2\n",
            "x.y = 3 and m",
            "x.y = 3 and (a.b = 1 or a.b = 2)",
        ),
        ("- macro: m\n  condition: a.b = 1\n- macro: n\n  condition: not m\n", "not n", "not (not a.b = 1)"),
        (
            "- macro: m\n  condition: a.b = 1\n- macro: m\n  condition: or a.b = 2\n  append: true\n",
            "m",
            "a.b = 1 or a.b = 2",
        ),
        (
            "- macro: n\n  condition: a.b = 1\n- macro: m\n  condition: n\n- macro: n\n  condition: a.b = 2\n",
            "m",
            "a.b = 2",
        ),
        // Defined again with a part of what was defined after it.
        (
            "- macro: m\n  condition: a.b = 1\n- macro: n\n  condition: a.b = 2\n- macro: m\n  condition: n\n",
            "m",
            "a.b = 2",
        ),
        ("- macro: m\n  condition: x.y in (l)\n- list: l\n  items: [a]\n", "m", "x.y in (a)"),
    ];
    for (before, condition, expected) in table {
        let (rules, problems) = outcome(&[&format!("{before}{}", rule(condition))]);
        let told: Vec<_> =
            problems.iter().filter(|told| !told.starts_with("LOAD_COMPILE_CONDITION")).collect();
        assert_eq!((rules, told), (vec![format!("r: {expected}")], vec![]), "{before}{condition}");
    }
}

#[test]
fn exceptions_are_conditions() {
    let table = [
        ("{name: e, fields: a.b, values: [x, y z]}", "x.y = 1 and not a.b in (x, \"y z\")"),
        ("{name: e, fields: a.b, comps: pmatch, values: [/x]}", "x.y = 1 and not a.b pmatch (/x)"),
        (
            "{name: e, fields: [a.b, c.d], values: [[x, y], [z, w]]}",
            "x.y = 1 and not (a.b = x and c.d = y or a.b = z and c.d = w)",
        ),
        (
            "{name: e, fields: [a.b, c.d], comps: [in, startswith], values: [[[x, y z], w]]}",
            "x.y = 1 and not (a.b in (x, \"y z\") and c.d startswith w)",
        ),
        (
            "{name: e, fields: [a.b], comps: [in], values: [[x], ['(y, z)']]}",
            "x.y = 1 and not (a.b in (x) or a.b in (y, z))",
        ),
        (
            "{name: e, fields: [a.b], values: [[x]]}, {name: f, fields: c.d, values: [y]}",
            "x.y = 1 and not a.b = x and not c.d in (y)",
        ),
        ("{name: e, fields: [a.b]}", "x.y = 1"),
        ("", "x.y = 1"),
    ];
    for (exceptions, expected) in table {
        let text = format!("{}  exceptions: [{exceptions}]\n", rule("x.y = 1"));
        assert_eq!(outcome(&[&text]), (vec![format!("r: {}", canonical(expected))], vec![]), "{exceptions}");
    }
}

/// As the tree of a condition is printed.
fn canonical(condition: &str) -> String {
    let span = Span { source: 0, start: 0, end: 0 };
    grammar::parse(&Traced::new(condition, span)).expect(condition).to_string()
}

#[test]
fn rules_are_changed_by_later_items() {
    let first = format!("{}  tags: [b, a]\n", rule("x.y = 1"));
    let table = [
        ("- rule: r\n  condition: and x.y = 2\n  append: true\n", "x.y = 1 and x.y = 2", "o", "INFO"),
        (
            "- rule: r\n  condition: and x.y = 2\n  override: {condition: append}\n",
            "x.y = 1 and x.y = 2",
            "o",
            "INFO",
        ),
        ("- rule: r\n  condition: x.y = 2\n  override: {condition: replace}\n", "x.y = 2", "o", "INFO"),
        ("- rule: r\n  output: p\n  override: {output: append}\n", "x.y = 1", "o p", "INFO"),
        (
            "- rule: r\n  output: p\n  priority: ERROR\n  override: {output: replace, priority: replace}\n",
            "x.y = 1",
            "p",
            "ERROR",
        ),
        (
            "- rule: r\n  exceptions: [{name: e, fields: a.b, values: [x]}]\n  append: true\n",
            "x.y = 1 and not a.b in (x)",
            "o",
            "INFO",
        ),
        (
            "- rule: r\n  desc: d\n  output: p\n  priority: DEBUG\n  condition: x.y = 3\n",
            "x.y = 3",
            "p",
            "DEBUG",
        ),
    ];
    for (second, condition, output, priority) in table {
        let sources = [Source { name: "1", text: &first }, Source { name: "2", text: second }];
        let loaded = load(&sources);
        let rule = loaded.rules.first().expect(second);
        assert_eq!(
            (rule.condition.to_string(), rule.output.as_str(), Some(rule.priority)),
            (canonical(condition), output, Priority::of(priority)),
            "{second}"
        );
        assert!(!loaded.has_errors(), "{second}: {:?}", loaded.problems);
    }
    for (second, enabled) in [
        ("- rule: r\n  enabled: false\n", false),
        ("- rule: r\n  enabled: no\n  override: {enabled: replace}\n", false),
        ("- rule: r\n  tags: [c, a]\n  override: {tags: append}\n", true),
    ] {
        let loaded = load(&[Source { name: "1", text: &first }, Source { name: "2", text: second }]);
        assert_eq!((loaded.rules[0].is_enabled, loaded.has_errors()), (enabled, false), "{second}");
        let expected: &[&str] = if enabled { &["a", "b", "c"] } else { &["a", "b"] };
        assert_eq!(loaded.rules[0].tags, expected);
    }
}

/// A mistake is told with its place, and the good rule beside it loads.
#[test]
fn mistakes_have_a_place_and_cost_only_their_item() {
    let table = [
        ("a: 1\n", r#"LOAD_ERR_YAML_VALIDATE "a: 1": a rule file is a list"#),
        ("- x\n", r#"LOAD_ERR_YAML_VALIDATE "x": an item is a map"#),
        ("- rulez: x\n", r#"LOAD_UNKNOWN_ITEM "rulez": this is no item"#),
        ("- rule: s\n  desc: d\n", r#"LOAD_ERR_YAML_VALIDATE "rule: s": this item has no `condition`"#),
        (
            "- rule: s\n  desc: d\n  output: o\n  condition: x\n",
            r#"LOAD_ERR_YAML_VALIDATE "rule: s": this item has no `priority`"#,
        ),
        (
            "- rule: s\n  desc: d\n  output: o\n  priority: HIGH\n  condition: a.b = 1\n",
            r#"LOAD_ERR_YAML_VALIDATE "HIGH": `HIGH` is no priority"#,
        ),
        (
            "- rule: s\n  desc: d\n  output: o\n  priority: INFO\n  condition: a.b =\n",
            r#"LOAD_ERR_COMPILE_CONDITION "=": a value is missing"#,
        ),
        (
            "- rule: s\n  desc: d\n  output: o\n  priority: INFO\n  condition: >\n    a.b = 1\n    and foo\n",
            r#"LOAD_ERR_VALIDATE "foo": there is no macro `foo`"#,
        ),
        (
            "- rule: s\n  desc: d\n  output: o\n  priority: INFO\n  condition: a.b = 1\n  conditon: x\n",
            r#"LOAD_UNKNOWN_ITEM "conditon": `conditon` is no key"#,
        ),
        (
            "- rule: s\n  desc: d\n  output: o\n  priority: INFO\n  source: k8s_audit\n  condition: a.b = 1\n",
            r#"LOAD_UNKNOWN_SOURCE "s": there are no events of source `k8s_audit`"#,
        ),
        (
            "- rule: s\n  condition: and a.b = 1\n  append: true\n",
            r#"LOAD_ERR_VALIDATE "s": there is no rule `s` to change"#,
        ),
        (
            "- rule: s\n  condition: x\n  append: true\n  override: {condition: append}\n",
            r#"LOAD_ERR_VALIDATE "true": an item has either"#,
        ),
        (
            "- rule: s\n  condition: x\n  override: {priority: append}\n",
            r#"LOAD_ERR_YAML_VALIDATE "priority": nothing can be appended to `priority`"#,
        ),
        (
            "- rule: s\n  condition: x\n  override: {condition: add}\n",
            r#"LOAD_ERR_YAML_VALIDATE "add": a key is appended to or replaced, and not `add`"#,
        ),
        (
            "- rule: s\n  condition: x\n  desc: d\n  override: {condition: append}\n",
            r#"LOAD_ERR_YAML_VALIDATE "desc": nothing says what becomes of `desc`"#,
        ),
        (
            "- rule: s\n  override: {condition: append}\n",
            r#"LOAD_ERR_YAML_VALIDATE "condition": `condition` is to be appended to, but is not given"#,
        ),
        ("- rule: s\n  enabled: maybe\n", r#"LOAD_ERR_YAML_VALIDATE "maybe": `enabled` is true or false"#),
        (
            "- macro: 1m\n  condition: a.b = 1\n",
            r#"LOAD_ERR_YAML_VALIDATE "1m": the name of a macro begins with a letter"#,
        ),
        (
            "- macro: m-n\n  condition: a.b = 1\n",
            r#"LOAD_ERR_YAML_VALIDATE "-": the name of a macro cannot hold this"#,
        ),
        ("- macro: m\n  condition: m\n", r#"LOAD_ERR_VALIDATE "m": there is no macro `m`"#),
        (
            "- macro: m\n  condition: n\n- macro: n\n  condition: a.b = 1\n",
            r#"LOAD_ERR_VALIDATE "n": there is no macro `n`"#,
        ),
        (
            "- macro: m\n  condition: a.b = 1\n- macro: m\n  condition: or m\n  append: true\n",
            r#"LOAD_ERR_VALIDATE "m": the macro `m` is part of itself"#,
        ),
        ("- list: l\n  items: x\n", r#"LOAD_ERR_YAML_VALIDATE "x": `items` is a list, and this is text"#),
        (
            "- list: l\n  items: [[x]]\n",
            r#"LOAD_ERR_YAML_VALIDATE "[x]": an item of a list is text, and this is a list"#,
        ),
        ("- list: a b\n  items: [x]\n", r#"LOAD_ERR_YAML_VALIDATE "": the name of a list cannot hold this"#),
        (
            "- required_engine_version: 99.0.0\n",
            r#"LOAD_ERR_VALIDATE "99.0.0": the file was written for engine 99.0.0"#,
        ),
        ("- required_engine_version: x\n", r#"LOAD_ERR_YAML_VALIDATE "x": this is no version"#),
        (
            "- required_plugin_versions: [{name: json, version: 0.7.0}]\n",
            r#"LOAD_ERR_VALIDATE "{name: json, version: 0.7.0}": the file needs the plugin json 0.7.0"#,
        ),
        (
            "- rule: s\n  desc: d\n  output: o\n  priority: INFO\n  condition: a.b = 1\n  exceptions: [{fields: a}]\n",
            r#"LOAD_ERR_YAML_VALIDATE "{fields: a}": this exception has no `name`"#,
        ),
        (
            "- rule: s\n  desc: d\n  output: o\n  priority: INFO\n  condition: a.b = 1\n  exceptions: [{name: e, fields: [a.b, c.d], values: [[x]]}]\n",
            r#"LOAD_ERR_VALIDATE "[x]": 1 values for 2 fields"#,
        ),
        (
            "- rule: s\n  desc: d\n  output: o\n  priority: INFO\n  condition: a.b = 1\n  exceptions: [{name: e, fields: a.b, comps: is, values: [x]}]\n",
            r#"LOAD_ERR_VALIDATE "is": of a single field, `comps` is in, pmatch or intersects"#,
        ),
        (
            "- rule: s\n  desc: d\n  output: o\n  priority: INFO\n  condition: a.b = 'in l here'\n- list: l\n  items: [x]\n",
            r#"LOAD_COMPILE_CONDITION "l": the list `l` is written out in this string"#,
        ),
    ];
    for (text, expected) in table {
        let good = rule("x.y = 1");
        let (rules, problems) = outcome(&[text, &good]);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].starts_with(expected), "{text}: {problems:?}");
        assert!(rules.contains(&"r: x.y = 1".to_owned()), "{text}: {rules:?}");
    }
}

/// What nothing uses is told; a macro that only such a macro uses is used.
#[test]
fn what_nothing_uses_is_told() {
    let text = "- list: l\n  items: [a]\n- list: k\n  items: [l]\n- macro: m\n  condition: x.y = 1\n- macro: n\n  condition: m\n";
    let loaded = load(&[Source { name: "1", text }]);
    let told: Vec<_> = loaded.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(told, ["nothing uses the list `k`", "nothing uses the macro `n`"]);
}

/// A macro of two macros of two macros… ends.
#[test]
fn macros_cannot_grow_without_end() {
    let mut text = "- macro: m0\n  condition: a.b = 1\n".to_owned();
    for level in 1..40 {
        text += &format!("- macro: m{level}\n  condition: m{0} and m{0}\n", level - 1);
    }
    let (rules, problems) = outcome(&[&text, &rule("x.y = 1")]);
    assert_eq!(rules.len(), 1);
    assert!(problems[0].contains("has more than 50000 parts"), "{problems:?}");
}

/// A list of lists of lists… ends, too.
#[test]
fn lists_cannot_grow_without_end() {
    let mut text = String::new();
    for level in 0..12 {
        let next = format!("l{}", level + 1);
        text += &format!("- list: l{level}\n  items: [{}]\n", [next.as_str(); 10].join(", "));
    }
    let (rules, problems) =
        outcome(&[&text, &rule("x.y in (l0)"), &rule("x.y = 1").replace("rule: r", "rule: s")]);
    assert_eq!(rules, ["s: x.y = 1"]);
    assert!(problems[0].contains("with its lists the condition has more than 1048576 bytes"), "{problems:?}");
}
