//! Compiled rules against the plain evaluation, on rules and events made by chance.

use std::cell::RefCell;
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::rules::chance::conditions;
use crate::rules::evaluate::Scalar;
use crate::rules::event_types::{self, NAMES};
use crate::rules::getters::path;
use crate::rules::load::Source;
use crate::rules::typed::Argument;

/// An event that is a table.
#[derive(Clone, Debug)]
struct Table(HashMap<String, Vec<Scalar>>);

impl Event for Table {
    fn visit(&self, field: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        let name = match &field.argument {
            Some(Argument::Index(index)) => format!("{}[{index}]", field.field.name),
            Some(Argument::Key(key)) => format!("{}[{key}]", field.field.name),
            None => field.field.name.to_owned(),
        };
        self.0.get(&name).into_iter().flatten().for_each(|value| with(value.value()));
    }
}

fn rules(conditions: &[String]) -> Ruleset {
    let rule = |(place, condition): (usize, &String)| {
        format!(
            "- rule: r{place}\n  desc: d\n  output: o\n  priority: INFO\n  condition: |\n    {condition}\n"
        )
    };
    let text: String = conditions.iter().enumerate().map(rule).collect();
    let set = Ruleset::load(&[Source { name: "t", text: &text }]);
    assert!(!set.has_errors(), "{text}: {:?}", set.problems);
    set
}

/// The rules that match, by the plain evaluation.
fn by_the_book(set: &Ruleset, event: &Table) -> Vec<u32> {
    let rules = set.rules.iter().enumerate();
    rules.filter(|(_, ready)| evaluate::evaluate(&ready.expr, event)).map(|(place, _)| place as u32).collect()
}

/// The rules that match, by the compiled ones.
fn matches(compiled: &Compiled, kind: &str, event: &Table) -> Vec<u32> {
    let (mut scratch, mut found) = (Scratch::default(), Vec::new());
    // Twice: nothing stays in the scratch.
    for _ in 0..2 {
        found.clear();
        compiled.matches(find(kind), event, &mut scratch, |place| {
            found.push(place);
            true
        });
    }
    found
}

fn find(name: &str) -> usize {
    event_types::find(name).expect(name)
}

fn leaf() -> impl Strategy<Value = String> {
    let texts = ["a", "b", "/etc/x", "ab", "/etc", "/"];
    let text_field = prop::sample::select(vec![
        "proc.name",
        "proc.pname",
        "fd.name",
        "fd.directory",
        "fd.filename",
        "proc.aname",
        "proc.aname[2]",
        "container.id",
    ]);
    let text_op =
        prop::sample::select(vec!["=", "!=", "contains", "startswith", "endswith", "glob", "icontains"]);
    let word = prop::sample::select(texts.to_vec());
    let list = proptest::collection::vec(prop::sample::select(texts.to_vec()), 0..3)
        .prop_map(|words| words.join(", "));
    prop_oneof![
        (text_field.clone(), text_op, word.clone())
            .prop_map(|(field, op, word)| format!("{field} {op} {word}")),
        (text_field.clone(), prop::sample::select(vec!["in", "pmatch", "intersects"]), list.clone())
            .prop_map(|(field, op, list)| format!("{field} {op} ({list})")),
        (text_field.clone(), prop::sample::select(vec!["anyof", "oneof", "allof"]), list.clone())
            .prop_map(|(field, how, list)| format!("{field} contains {how} ({list})")),
        text_field.clone().prop_map(|field| format!("{field} exists")),
        (
            prop::sample::select(vec!["fd.num", "fd.port", "user.uid"]),
            prop::sample::select(vec!["=", "!=", "<", ">="]),
            0..4
        )
            .prop_map(|(field, op, number)| format!("{field} {op} {number}")),
        list.clone().prop_map(|list| format!("fd.types in ({list})")),
        list.prop_map(|list| format!("fd.types intersects ({list})")),
        prop::sample::select(vec![
            "evt.type = open",
            "evt.type in (open, connect)",
            "evt.type != open",
            "evt.num = 0"
        ])
        .prop_map(str::to_owned),
        prop::sample::select(vec![
            "proc.name = val(proc.pname)",
            "tolower(proc.name) = a",
            "fd.name endswith val(proc.name)"
        ])
        .prop_map(str::to_owned),
        prop::sample::select(vec!["fd.ip = 10.0.0.1", "fd.ip != 10.0.0.1", "fd.snet in (10.0.0.0/8)"])
            .prop_map(str::to_owned),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    conditions(leaf())
}

prop_compose! {
    fn event(kind: &'static str)(
        texts in proptest::collection::vec(prop::option::of(prop::sample::select(vec!["a", "b", "AB", "/etc/x", "/etc/xab", "/etc/ab", "/b", ""])), 5),
        ancestors in proptest::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 0..3),
        types in proptest::collection::vec(prop::sample::select(vec!["a", "b"]), 0..3),
        numbers in proptest::collection::vec(prop::option::of(0_i128..4), 2),
        ports in prop::option::of([0_i128..4, 0..4]),
        address in prop::option::of(prop::sample::select(vec!["10.0.0.1", "11.0.0.1"])),
    ) -> Table {
        let text = |text: &str| Scalar::Text(text.as_bytes().to_vec());
        let names = ["proc.name", "proc.pname", "fd.name", "proc.aname[2]", "container.id"];
        let mut table = HashMap::from([
            ("evt.type".to_owned(), vec![text(kind)]),
            ("evt.num".to_owned(), vec![Scalar::Number(1)]),
        ]);
        for (name, value) in names.iter().zip(texts) {
            table.insert((*name).to_owned(), value.map(text).into_iter().collect());
            if let ("fd.name", Some(value)) = (*name, value) {
                let (directory, last) = path::split(value.as_bytes());
                for (name, part) in [("fd.directory", directory), ("fd.filename", last)] {
                    table.insert(name.to_owned(), vec![Scalar::Text(part.to_vec())]);
                }
            }
        }
        table.insert("proc.aname".to_owned(), ancestors.into_iter().map(text).collect());
        table.insert("fd.types".to_owned(), types.into_iter().map(text).collect());
        for (name, value) in ["fd.num", "user.uid"].iter().zip(numbers) {
            table.insert((*name).to_owned(), value.map(Scalar::Number).into_iter().collect());
        }
        table.insert("fd.port".to_owned(), ports.into_iter().flatten().map(Scalar::Number).collect());
        let address = address.map(|address| Scalar::Address(address.parse().expect("an address")));
        table.insert("fd.snet".to_owned(), address.clone().into_iter().collect());
        let other = Scalar::Address("10.0.0.1".parse().expect("an address"));
        table.insert("fd.ip".to_owned(), address.map(|address| vec![address, other]).unwrap_or_default());
        Table(table)
    }
}

proptest! {
    /// Every set of rules matches what the plain evaluation says, in the set's order.
    #[test]
    fn compiled_rules_match_as_by_the_book(
        conditions in proptest::collection::vec(condition(), 1..5),
        events in [event("open"), event("connect"), event("openat")],
    ) {
        let set = rules(&conditions);
        let compiled = Compiled::new(&set);
        for (kind, event) in ["open", "connect", "openat"].iter().zip(&events) {
            prop_assert_eq!(matches(&compiled, kind, event), by_the_book(&set, event), "{} {:?}", kind, conditions);
            let is_asked_for = set.rules.iter().any(|ready| ready.can_match() && ready.events.iter().any(|name| name == *kind));
            prop_assert!(!compiled.asks_for(find(kind)) || is_asked_for);
        }
    }
}

#[test]
fn there_may_be_more_comparisons_of_a_field_than_fit_a_column() {
    let conditions: Vec<String> = (0..200)
        .map(|number| format!("proc.name in (n{number}, all) and not proc.name = n{}", number + 1))
        .collect();
    let set = rules(&conditions);
    let compiled = Compiled::new(&set);
    assert_eq!(compiled.extent(find("open")), Extent { rules: 200, comparisons: 400, looks: 7 });
    for name in ["n0", "n63", "n64", "n65", "n199", "n200", "all", "none"] {
        let event = Table(HashMap::from([("proc.name".to_owned(), vec![Scalar::Text(name.into())])]));
        assert_eq!(matches(&compiled, "open", &event), by_the_book(&set, &event), "{name}");
    }
}

#[test]
fn types_of_which_the_same_is_said_share_a_program() {
    let set =
        rules(&["evt.type in (open, openat) and proc.name = a".to_owned(), "evt.type = openat".to_owned()]);
    let compiled = Compiled::new(&set);
    assert_eq!(compiled.programs.len(), 2);
    let set = rules(&["proc.name = a".to_owned()]);
    let compiled = Compiled::new(&set);
    assert_eq!(compiled.programs.len(), 1);
    assert!((0..NAMES.len()).all(|kind| compiled.asks_for(kind)));
}

#[test]
fn what_is_known_is_not_asked_again() {
    let condition = "fd.name in (/etc/a, /etc/b) and proc.name = a";
    let set = rules(&[
        condition.to_owned(),
        format!("{condition} and proc.pname = x"),
        format!("proc.pname = y and {condition}"),
    ]);
    let compiled = Compiled::new(&set);
    let program = compiled.program(find("open")).expect("a program");
    // From each step of the first rule that decides it to the end: the others ask for the same.
    let mut at = program.start;
    while let Some(step) = program.steps.get(at.0 as usize).filter(|_| at != Target::END) {
        assert!(step.if_any == Target::END || step.if_none == Target::END, "{step:?}");
        at = if step.if_any == Target::END { step.if_none } else { step.if_any };
        if at.0 & Target::MATCH != 0 {
            return;
        }
    }
    panic!("no way to a match");
}

#[test]
fn the_first_match_can_end_it_and_what_is_off_is_not_there() {
    let mut set =
        rules(&["proc.name = a".to_owned(), "proc.name = b".to_owned(), "proc.name startswith a".to_owned()]);
    let event = Table(HashMap::from([("proc.name".to_owned(), vec![Scalar::Text(b"a".to_vec())])]));
    let first = |set: &Ruleset| {
        let mut found = Vec::new();
        Compiled::new(set).matches(find("open"), &event, &mut Scratch::default(), |place| {
            found.push(place);
            false
        });
        found
    };
    assert_eq!(first(&set), [0]);
    set.rules[0].rule.is_enabled = false;
    assert_eq!(first(&set), [2]);
}

/// Whose comparisons are made, in order.
impl Meter for &RefCell<Vec<u32>> {
    const IS_ON: bool = true;

    fn enter(self, place: u32) {
        self.borrow_mut().push(place);
    }
}

#[test]
fn a_meter_is_told_whose_comparisons_are_made() {
    let conditions = [
        "evt.type = open and fd.name = /x and proc.name = a",
        "evt.type = open and fd.name = /x and proc.name = b",
        "evt.type = open",
        "evt.type = open and container.id != z",
    ];
    let set = rules(&conditions.map(str::to_owned));
    let compiled = Compiled::new(&set);
    let entered = |name: &str, file: &str| {
        let text = |text: &str| vec![Scalar::Text(text.as_bytes().to_vec())];
        let event = [("evt.type", "open"), ("proc.name", name), ("fd.name", file)];
        let event = Table(event.map(|(field, value)| (field.to_owned(), text(value))).into());
        let (meter, mut found) = (RefCell::new(Vec::new()), Vec::new());
        compiled.metered(find("open"), &event, &mut Scratch::default(), &meter, |place| {
            found.push(place);
            true
        });
        assert_eq!(found, by_the_book(&set, &event), "the type is not asked for");
        meter.into_inner()
    };
    // What rule 0 found out of `fd.name` decides rule 1; rule 2 compares nothing.
    assert_eq!(entered("b", "/y"), [0, 3]);
    assert_eq!(entered("b", "/x"), [0, 1, 3]);
}
