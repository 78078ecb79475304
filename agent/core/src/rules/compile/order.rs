//! Which part of a condition is asked first: what is cheap and likely to decide.
//!
//! Costs are about nanoseconds, and how often something is true is what it is on a usual node, where nearly nothing is what
//! a rule looks for. Both decide about speed alone.

use crate::rules::condition::Operator;
use crate::rules::fields::{Feed, Kind};
use crate::rules::typed::{Expr, Operand, Test};

/// What it takes to know a condition.
#[derive(Clone, Copy, Debug)]
struct Weight {
    cost: f64,
    /// How often it is true, from 0 to 1.
    truth: f64,
}

/// Parts of which all have to be true, in the order in which they are asked.
pub(super) fn all(parts: &[Expr]) -> Vec<&Expr> {
    sorted(parts, |weight| weight.cost / (1.001 - weight.truth))
}

/// Parts of which one has to be true, in the order in which they are asked.
pub(super) fn any(parts: &[Expr]) -> Vec<&Expr> {
    sorted(parts, |weight| weight.cost / (0.001 + weight.truth))
}

/// Equal ones stay as they are written.
fn sorted(parts: &[Expr], key: impl Fn(Weight) -> f64) -> Vec<&Expr> {
    let mut keyed: Vec<(f64, &Expr)> = parts.iter().map(|part| (key(weigh(part)), part)).collect();
    keyed.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    keyed.into_iter().map(|(_, part)| part).collect()
}

fn weigh(expr: &Expr) -> Weight {
    match expr {
        Expr::Constant(is) => Weight { cost: 0.0, truth: f64::from(u8::from(*is)) },
        Expr::Not(inner) => {
            let Weight { cost, truth } = weigh(inner);
            Weight { cost, truth: 1.0 - truth }
        }
        Expr::And(parts) => {
            let (cost, truth) = until(&all(parts), |truth| truth);
            Weight { cost, truth }
        }
        Expr::Or(parts) => {
            let (cost, no_truth) = until(&any(parts), |truth| 1.0 - truth);
            Weight { cost, truth: 1.0 - no_truth }
        }
        Expr::Test(test) => of_test(test),
    }
}

/// What it costs to ask parts in order until one decides, and how often none does.
fn until(parts: &[&Expr], goes_on: impl Fn(f64) -> f64) -> (f64, f64) {
    parts.iter().fold((0.0, 1.0), |(cost, reached), part| {
        let weight = weigh(part);
        (cost + reached * weight.cost, reached * goes_on(weight.truth))
    })
}

fn of_test(test: &Test) -> Weight {
    let (look, kind, is_usual) = match &test.left {
        Operand::Field(reference) => {
            let field = reference.field;
            let look = match (field.name, field.feed) {
                // Texts that are put together.
                ("proc.cmdline" | "proc.args" | "proc.exeline" | "proc.cwd" | "evt.args", _) => 25.0,
                (_, Feed::Event) if field.kind != Kind::Text => 3.0,
                (_, Feed::Event | Feed::File | Feed::Process | Feed::Container | Feed::Runtime) => 6.0,
                _ => 20.0,
            };
            // What rules ask of nearly every event that they are about.
            (look, field.kind, matches!(field.name, "fd.typechar" | "fd.num" | "evt.rawres" | "container.id"))
        }
        Operand::Literal(_) | Operand::Transformed { .. } => (100.0, Kind::Text, false),
    };
    let truth = match (test.operator, kind) {
        _ if is_usual => 0.8,
        (_, Kind::Bool) => 0.5,
        (Operator::NotEqual, _) => 0.95,
        (Operator::Exists, _) => 0.9,
        (Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual, _) => 0.5,
        _ => 0.05,
    };
    Weight { cost: look + search(test.operator), truth }
}

/// Whether an operator looks through a whole text.
pub(super) fn searches(operator: Operator) -> bool {
    search(operator) > 0.0
}

fn search(operator: Operator) -> f64 {
    match operator {
        Operator::Regex => 300.0,
        Operator::Glob | Operator::IGlob | Operator::IContains => 60.0,
        Operator::PathMatch => 15.0,
        Operator::Contains => 8.0,
        _ => 0.0,
    }
}
