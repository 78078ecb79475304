use super::*;
use crate::rules::load::Source;
use crate::rules::load::yaml::{self, Value};
use crate::rules::stated::Stated;

const RULES: &str = r"
- list: shells
  items: [sh, bash]
- macro: nobody
  condition: (proc.name in ())
- rule: a
  desc: d
  condition: >
    evt.type in (open, openat) and (proc.name in (shells) or nobody or proc.name = dash)
    and not fd.name startswith /tmp and fd.num >= 0
  output: o
  priority: INFO
";

fn event(text: &str) -> Stated {
    let documents = yaml::parse(0, text).unwrap();
    let Value::Map(entries) = &documents[0].value else { panic!("{text}") };
    Stated::read(entries, documents[0].span).unwrap()
}

fn set() -> Ruleset {
    let set = Ruleset::load(&[Source { name: "r.yaml", text: RULES }]);
    assert!(!set.has_errors(), "{:?}", set.problems);
    set
}

/// The text of every comparison that counts, and how often it was true and false.
fn seen(coverage: &Coverage) -> Vec<(&'static str, u64, u64)> {
    let leaves = coverage.rules[0].leaves.iter().filter(|leaf| leaf.counts());
    let text = |leaf: &Leaf| &RULES[leaf.test.span.start as usize..leaf.test.span.end as usize];
    leaves.map(|leaf| (text(leaf), leaf.is_true, leaf.is_false)).collect()
}

#[test]
fn a_comparison_is_seen_where_it_decides() {
    let mut coverage = Coverage::new(&set());
    assert_eq!(
        seen(&coverage),
        [
            ("proc.name in (shells)", 0, 0),
            ("proc.name = dash", 0, 0),
            ("fd.name startswith /tmp", 0, 0),
            ("fd.num >= 0", 0, 0)
        ],
        "neither the type of the event nor what can never be"
    );
    for (text, matches) in [
        ("{evt.type: open, proc.name: cat, fd.name: /a, fd.num: 3}", false),
        ("{evt.type: openat, proc.name: sh, fd.name: /tmp/x, fd.num: 3}", false),
        ("{evt.type: creat, proc.name: dash, fd.name: /a, fd.num: 3}", true),
        // Of a type that the rule is not about.
        ("{evt.type: unlink, proc.name: sh}", false),
    ] {
        let event = event(text);
        coverage.saw(event.kinds(), &event, if matches { &[0] } else { &[] });
    }
    assert_eq!(
        seen(&coverage),
        [
            ("proc.name in (shells)", 1, 2),
            ("proc.name = dash", 1, 1),
            ("fd.name startswith /tmp", 1, 1),
            ("fd.num >= 0", 1, 0)
        ]
    );
    assert_eq!((coverage.rules[0].matched, coverage.rules[0].passed), (1, 2));
}

#[test]
fn what_kept_a_rule_from_matching() {
    let coverage = Coverage::new(&set());
    let deciders = |text: &str| {
        let event = event(text);
        let found = coverage.rules[0].deciders(event.kinds(), &event)?;
        let text = |test: &Test| RULES[test.span.start as usize..test.span.end as usize].to_owned();
        Some(found.iter().map(|one| (text(one.test), one.was, one.left.clone())).collect::<Vec<_>>())
    };
    let text = |text: &str| Given::One(crate::rules::evaluate::Scalar::Text(text.into()));
    assert_eq!(
        deciders("{evt.type: open, proc.name: cat}").unwrap(),
        [
            ("proc.name in (shells)".to_owned(), false, text("cat")),
            ("proc.name = dash".to_owned(), false, text("cat"))
        ]
    );
    assert_eq!(
        deciders("{evt.type: open, proc.name: sh, fd.name: /tmp/x}").unwrap(),
        [("fd.name startswith /tmp".to_owned(), true, text("/tmp/x"))]
    );
    assert_eq!(
        deciders("{evt.type: open, proc.name: sh}").unwrap(),
        [("fd.num >= 0".to_owned(), false, Given::Nothing)]
    );
    assert!(deciders("{evt.type: open, proc.name: sh, fd.num: 1}").unwrap().is_empty(), "it matches");
    assert!(deciders("{evt.type: unlink}").is_none());
}
