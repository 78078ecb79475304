//! Which part of a condition is asked first: what is cheap and likely to decide.
//!
//! Costs are about nanoseconds, and how often something is true is what it is on a usual node, where nearly nothing is what
//! a rule looks for. Both decide about speed alone.

use rustc_hash::{FxHashMap, FxHashSet};

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

/// Orders the parts of conditions of one program.
#[derive(Debug, Default)]
pub(super) struct Order<'e> {
    /// In how many rules a value is looked at: once is enough for all of them.
    users: FxHashMap<&'e Operand, u32>,
}

impl<'e> Order<'e> {
    /// For these conditions.
    pub(super) fn new(conditions: impl Iterator<Item = &'e Expr>) -> Self {
        let mut users: FxHashMap<&Operand, u32> = FxHashMap::default();
        for condition in conditions {
            let mut of_this = FxHashSet::default();
            looks(condition, &mut of_this);
            of_this.into_iter().for_each(|operand| *users.entry(operand).or_default() += 1);
        }
        Self { users }
    }

    /// Parts of which all have to be true, in the order in which they are asked.
    pub(super) fn all(&self, parts: &'e [Expr]) -> Vec<&'e Expr> {
        self.sorted(parts, |weight| weight.cost / (1.001 - weight.truth)).0
    }

    /// Parts of which one has to be true, in the order in which they are asked.
    pub(super) fn any(&self, parts: &'e [Expr]) -> Vec<&'e Expr> {
        self.sorted(parts, |weight| weight.cost / (0.001 + weight.truth)).0
    }

    /// Equal ones stay as they are written. Also what each takes.
    fn sorted(&self, parts: &'e [Expr], key: impl Fn(Weight) -> f64) -> (Vec<&'e Expr>, Vec<Weight>) {
        let mut weighed: Vec<(Weight, &Expr)> = parts.iter().map(|part| (self.weigh(part), part)).collect();
        weighed.sort_by(|(one, _), (other, _)| key(*one).total_cmp(&key(*other)));
        weighed.into_iter().map(|(weight, part)| (part, weight)).unzip()
    }

    fn weigh(&self, expr: &'e Expr) -> Weight {
        match expr {
            Expr::Constant(is) => Weight { cost: 0.0, truth: f64::from(u8::from(*is)) },
            Expr::Not(inner) => {
                let Weight { cost, truth } = self.weigh(inner);
                Weight { cost, truth: 1.0 - truth }
            }
            Expr::And(parts) => {
                let (_, weights) = self.sorted(parts, |weight| weight.cost / (1.001 - weight.truth));
                let (cost, truth) = until(&weights, |truth| truth);
                Weight { cost, truth }
            }
            Expr::Or(parts) => {
                let (_, weights) = self.sorted(parts, |weight| weight.cost / (0.001 + weight.truth));
                let (cost, no_truth) = until(&weights, |truth| 1.0 - truth);
                Weight { cost, truth: 1.0 - no_truth }
            }
            Expr::Test(test) => self.of_test(test),
        }
    }

    fn of_test(&self, test: &Test) -> Weight {
        let users = self.users.get(&test.left).copied().unwrap_or(1);
        let (look, kind, is_usual, truth) = match &test.left {
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
                let is_usual = matches!(field.name, "fd.typechar" | "fd.num" | "evt.rawres" | "container.id");
                // It is few programs that do most, and on many files.
                let truth = match field.feed {
                    Feed::Process | Feed::Ancestors => 0.2,
                    Feed::File => 0.02,
                    _ => 0.05,
                };
                (look, field.kind, is_usual, truth)
            }
            Operand::Literal(_) | Operand::Transformed { .. } => (100.0, Kind::Text, false, 0.05),
        };
        let truth = match (test.operator, kind) {
            _ if is_usual => 0.8,
            (_, Kind::Bool) => 0.5,
            (Operator::NotEqual, _) => 1.0 - truth,
            (Operator::Exists, _) => 0.9,
            (Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual, _) => 0.5,
            _ => truth,
        };
        // What is usual comes last, and is not looked at where something else has decided.
        let users = if is_usual { 1 } else { users };
        Weight { cost: look / f64::from(users) + search(test.operator), truth }
    }
}

/// The values that a condition looks at.
fn looks<'e>(expr: &'e Expr, out: &mut FxHashSet<&'e Operand>) {
    match expr {
        Expr::Constant(_) => {}
        Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| looks(part, out)),
        Expr::Not(inner) => looks(inner, out),
        Expr::Test(test) => {
            out.insert(&test.left);
        }
    }
}

/// What it costs to ask parts in order until one decides, and how often none does.
fn until(parts: &[Weight], goes_on: impl Fn(f64) -> f64) -> (f64, f64) {
    parts.iter().fold((0.0, 1.0), |(cost, reached), weight| {
        (cost + reached * weight.cost, reached * goes_on(weight.truth))
    })
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
