//! Tables of conditions and what is left of them; and that what is left matches the same.

use proptest::prelude::*;

use super::*;
use crate::rules::chance::conditions;
use crate::rules::text::{Span, Traced};
use crate::rules::{check, event_set, grammar};

fn meaning(text: &str) -> Expr {
    let traced = Traced::whole(text);
    let condition = grammar::parse(&traced).expect(text);
    check::check(&condition).expect(text).0
}

/// The expression as text; comparisons are what stands at their places in `source`.
fn shown(source: &str, expr: &Expr) -> String {
    let all = |parts: &[Expr], word: &str| {
        format!("({})", parts.iter().map(|part| shown(source, part)).collect::<Vec<_>>().join(word))
    };
    match expr {
        Expr::Constant(value) => value.to_string(),
        Expr::And(parts) => all(parts, " and "),
        Expr::Or(parts) => all(parts, " or "),
        Expr::Not(inner) => format!("not {}", shown(source, inner)),
        Expr::Test(test) => source[test.span.start as usize..test.span.end as usize].to_owned(),
    }
}

#[test]
fn what_cannot_be_is_taken_out() {
    let table = [
        ("proc.name = a and evt.num = 0", "false"),
        ("proc.name = a and not evt.num = 0", "proc.name = a"),
        ("proc.name = a or evt.num = 0", "proc.name = a"),
        ("proc.name = a and evt.num >= 0", "proc.name = a"),
        ("not (proc.name = a or fd.num = 1)", "(not proc.name = a and not fd.num = 1)"),
        ("not (proc.name = a and not fd.num = 1)", "(not proc.name = a or fd.num = 1)"),
        ("proc.name = a and (fd.num = 1 and fd.num = 1)", "(proc.name = a and fd.num = 1 and fd.num = 1)"),
        ("proc.name in () or fd.num = 1", "fd.num = 1"),
        ("not proc.name in ()", "true"),
        // Of one field.
        ("proc.name = a and proc.name = b", "false"),
        ("proc.name = a and proc.name != a", "false"),
        ("proc.name = a and not proc.name = a", "false"),
        ("proc.name in (a, b) and proc.name in (c, d)", "false"),
        ("proc.name in (a, b) and proc.name in (b, c) and proc.name != b", "false"),
        ("proc.name in (a, b) and not proc.name in (b, a, c)", "false"),
        ("proc.name in (a, b) and not proc.name = a", "(proc.name in (a, b) and not proc.name = a)"),
        ("proc.name != a and not proc.name exists", "false"),
        ("not proc.name exists and proc.name = a", "false"),
        ("not proc.name = a and not proc.name exists", "(not proc.name = a and not proc.name exists)"),
        ("fd.num = 1 and fd.num = 2", "false"),
        ("evt.is_open_read = true and evt.is_open_read = false", "false"),
        // What several values may satisfy at once is no contradiction.
        ("fd.port = 1 and fd.port = 2", "(fd.port = 1 and fd.port = 2)"),
        ("proc.aname = a and proc.aname = b", "(proc.aname = a and proc.aname = b)"),
        ("proc.aname[2] = a and proc.aname[3] = b", "(proc.aname[2] = a and proc.aname[3] = b)"),
        ("proc.aname[2] = a and proc.aname[2] = b", "false"),
        ("proc.name startswith a and proc.name = b", "(proc.name startswith a and proc.name = b)"),
        // In the branches of a disjunction.
        ("proc.name = a and (proc.name = b or fd.num = 1)", "(proc.name = a and fd.num = 1)"),
        ("proc.name = a and (proc.name = b or proc.name = c)", "false"),
        ("fd.num = 1 and (proc.name = b and proc.name = c or fd.num = 1)", "(fd.num = 1 and fd.num = 1)"),
    ];
    for (text, expected) in table {
        let simplified = simplify(&meaning(text));
        assert_eq!(shown(text, &simplified.expr), expected, "{text}");
    }
}

#[test]
fn a_contradiction_names_both_sides() {
    let text = "fd.l4proto = tcp and (evt.type = connect or evt.type = sendto and fd.l4proto != tcp)";
    let simplified = simplify(&meaning(text));
    assert_eq!(shown(text, &simplified.expr), "(fd.l4proto = tcp and evt.type = connect)");
    let place = |span: Span| &text[span.start as usize..span.end as usize];
    let told: Vec<_> = simplified
        .contradictions
        .iter()
        .map(|told| (place(told.span), place(told.with), told.field))
        .collect();
    assert_eq!(told, [("fd.l4proto != tcp", "fd.l4proto = tcp", "fd.l4proto")]);
    let types: Vec<_> = event_set::event_set(&simplified.expr).iter().collect();
    assert_eq!(types, ["connect"]);
}

#[test]
fn event_types_follow_from_the_condition() {
    let table = [
        ("evt.type = open", "open"),
        ("evt.type in (open, openat) and proc.name = a", "open openat"),
        ("evt.type = open or evt.type = connect and fd.num = 1", "connect open"),
        ("evt.type in (open, openat) and not evt.type = open", "openat"),
        ("evt.type in (open, openat) and evt.type != open", "openat"),
        ("evt.type in (open, openat) and not (evt.type = open and proc.name = a)", "open openat"),
        ("evt.type = open and evt.type = connect", ""),
    ];
    for (text, expected) in table {
        let types: Vec<_> = event_set::event_set(&meaning(text)).iter().collect();
        assert_eq!(types.join(" "), expected, "{text}");
    }
    assert_eq!(event_set::event_set(&meaning("proc.name = a")), event_set::EventSet::all());
}

/// Values of `proc.name`, `fd.num` and `evt.type` of an event; none = absent.
type Sample = (Option<&'static str>, Option<i128>, &'static str);

/// The comparison of a sample, by the book.
fn holds(expr: &Expr, sample: &Sample) -> bool {
    match expr {
        Expr::Constant(value) => *value,
        Expr::And(parts) => parts.iter().all(|part| holds(part, sample)),
        Expr::Or(parts) => parts.iter().any(|part| holds(part, sample)),
        Expr::Not(inner) => !holds(inner, sample),
        Expr::Test(test) => {
            let Operand::Field(reference) = &test.left else { return false };
            let value = match reference.field.name {
                "proc.name" => sample.0.map(str::to_owned),
                "fd.num" => sample.1.map(|number| number.to_string()),
                "evt.num" => Some("7".to_owned()),
                _ => Some(sample.2.to_owned()),
            };
            let Some(value) = value else { return false };
            let values: Vec<String> = match &test.right {
                Right::Texts(values) => values.clone(),
                Right::Numbers(values) => values.iter().map(i128::to_string).collect(),
                _ => Vec::new(),
            };
            match test.operator {
                Operator::Exists => true,
                Operator::NotEqual => !values.contains(&value),
                _ => values.contains(&value),
            }
        }
    }
}

fn condition() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "proc.name = a",
        "proc.name = b",
        "proc.name != a",
        "proc.name in (a, b)",
        "proc.name in (b, c)",
        "proc.name exists",
        "fd.num = 1",
        "fd.num != 1",
        "fd.num in (1, 2)",
        "fd.num exists",
        "evt.type = open",
        "evt.type in (open, connect)",
        "evt.type != open",
        "evt.num = 0",
        "proc.name in ()",
    ])
    .prop_map(str::to_owned);
    conditions(leaf)
}

proptest! {
    /// A simplified condition matches the same events, and all that it matches are of its types.
    #[test]
    fn what_is_left_matches_the_same(text in condition()) {
        let whole = meaning(&text);
        let left = simplify(&whole).expr;
        let types: Vec<_> = event_set::event_set(&left).iter().collect();
        for name in [None, Some("a"), Some("b"), Some("c"), Some("d")] {
            for number in [None, Some(1), Some(2), Some(3)] {
                for kind in ["open", "connect", "openat"] {
                    let sample = (name, number, kind);
                    let expected = holds(&whole, &sample);
                    prop_assert_eq!(holds(&left, &sample), expected, "{:?} {}", sample, shown(&text, &left));
                    prop_assert!(!expected || types.contains(&kind), "{:?} {:?}", sample, types);
                }
            }
        }
    }
}
