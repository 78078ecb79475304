//! Rules as programs: one per type of event, in which every comparison is made at most once.
//!
//! For a type of event, what a rule says of `evt.type` is known, and what is left becomes a chain of comparisons: each knows
//! where to go on if it is true and where if it is not. All rules of a type share their comparisons: those of one field
//! stand in one `Column`, which is filled with one look at the field when the first of them is asked for. What an
//! event does not ask for is never looked at.

use rustc_hash::FxHashMap;

use super::compare::{Pattern, Value};
use super::condition::Operator;
use super::evaluate::{self, Event};
use super::event_types::{self, NAMES};
use super::fields::Feed;
use super::ruleset::Ruleset;
use super::simplify::simplify;
use super::typed::{Expr, FieldRef, Operand, Right, Test};

mod column;
#[cfg(test)]
mod tests;

use column::Column;

/// All rules of a set that are on and can match.
#[derive(Debug)]
pub struct Compiled {
    /// By type of event; none: no rule is about it.
    programs: Vec<Option<Program>>,
}

/// The rules of one type of event.
#[derive(Debug, Default)]
struct Program {
    /// Where each rule's chain begins, with the rule's position in the set.
    rules: Vec<(u32, Target)>,
    steps: Vec<Step>,
    columns: Vec<Column>,
    /// By comparison: its column.
    column_of: Vec<u32>,
}

/// One comparison, and where to go on.
#[derive(Clone, Copy, Debug)]
struct Step {
    test: u32,
    if_true: Target,
    if_false: Target,
}

/// Where a chain goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target(u32);

impl Target {
    const MATCH: Self = Self(u32::MAX);
    const NO_MATCH: Self = Self(u32::MAX - 1);
}

/// Memory of an evaluation, to be used for one event after the other.
#[derive(Debug, Default)]
pub struct Scratch {
    /// By comparison: whether it is true. Meaningful where its column is filled.
    bits: Vec<u64>,
    filled: Vec<u64>,
}

impl Scratch {
    fn clear(&mut self, program: &Program) {
        let words = |len: usize| len.div_ceil(64);
        self.bits.clear();
        self.bits.resize(words(program.column_of.len()), 0);
        self.filled.clear();
        self.filled.resize(words(program.columns.len()), 0);
    }
}

impl Compiled {
    /// Compiles the rules that are on.
    pub fn new(set: &Ruleset) -> Self {
        let mut building: Vec<Builder> = NAMES.iter().map(|_| Builder::default()).collect();
        for (place, ready) in set.rules.iter().enumerate() {
            if !ready.rule.is_enabled || !ready.can_match() {
                continue;
            }
            for name in ready.events.iter() {
                let kind = event_types::find(name).and_then(|kind| building.get_mut(kind));
                let expr = simplify(&of_type(&ready.expr, name)).expr;
                if let Some(builder) = kind {
                    builder.add(place as u32, &expr);
                }
            }
        }
        Self { programs: building.into_iter().map(Builder::finish).collect() }
    }

    /// Whether any rule is about events of this type, by its position in [`NAMES`].
    pub fn asks_for(&self, kind: usize) -> bool {
        self.programs.get(kind).is_some_and(Option::is_some)
    }

    /// Calls `found` with the position in the set of every rule that matches an event of type `kind`, in the set's order,
    /// until it answers false.
    pub fn matches(
        &self,
        kind: usize,
        event: &impl Event,
        scratch: &mut Scratch,
        mut found: impl FnMut(u32) -> bool,
    ) {
        let Some(Some(program)) = self.programs.get(kind) else { return };
        scratch.clear(program);
        for (place, start) in &program.rules {
            if program.run(*start, event, scratch) && !found(*place) {
                return;
            }
        }
    }
}

impl Program {
    fn run(&self, mut at: Target, event: &impl Event, scratch: &mut Scratch) -> bool {
        while let Some(step) = self.steps.get(at.0 as usize) {
            let column = self.column_of[step.test as usize];
            let (word, bit) = (column as usize / 64, column % 64);
            if scratch.filled[word] >> bit & 1 == 0 {
                scratch.filled[word] |= 1 << bit;
                self.columns[column as usize].fill(event, &mut scratch.bits);
            }
            let is = scratch.bits[step.test as usize / 64] >> (step.test % 64) & 1 != 0;
            at = if is { step.if_true } else { step.if_false };
        }
        at == Target::MATCH
    }
}

/// A condition about events of one type: what it says of the type is known.
fn of_type(expr: &Expr, kind: &str) -> Expr {
    match expr {
        Expr::Constant(_) => expr.clone(),
        Expr::And(parts) => Expr::And(parts.iter().map(|part| of_type(part, kind)).collect()),
        Expr::Or(parts) => Expr::Or(parts.iter().map(|part| of_type(part, kind)).collect()),
        Expr::Not(inner) => Expr::Not(Box::new(of_type(inner, kind))),
        Expr::Test(test) => match &test.left {
            Operand::Field(reference) if reference.field.name == "evt.type" => match &test.right {
                Right::Operand(_) => expr.clone(),
                _ => Expr::Constant(evaluate::evaluate(expr, &OnlyType(kind))),
            },
            _ => expr.clone(),
        },
    }
}

/// An event of which nothing but the type is known.
struct OnlyType<'a>(&'a str);

impl Event for OnlyType<'_> {
    fn visit(&self, _: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        with(Value::Text(self.0.as_bytes()));
    }
}

/// Makes a program.
#[derive(Default)]
struct Builder {
    program: Program,
    /// Comparisons by what they say.
    known: FxHashMap<String, u32>,
    /// Columns by what they look at.
    columns: FxHashMap<String, u32>,
}

impl Builder {
    fn add(&mut self, place: u32, expr: &Expr) {
        let start = self.chain(expr, Target::MATCH, Target::NO_MATCH);
        if start != Target::NO_MATCH {
            self.program.rules.push((place, start));
        }
    }

    /// Writes a condition's steps, the last first; returns where they begin.
    fn chain(&mut self, expr: &Expr, if_true: Target, if_false: Target) -> Target {
        match expr {
            Expr::Constant(true) => if_true,
            Expr::Constant(false) => if_false,
            Expr::Not(inner) => self.chain(inner, if_false, if_true),
            Expr::And(parts) => {
                let parts = cheapest_first(parts);
                parts.iter().rev().fold(if_true, |next, part| self.chain(part, next, if_false))
            }
            Expr::Or(parts) => {
                let parts = cheapest_first(parts);
                parts.iter().rev().fold(if_false, |next, part| self.chain(part, if_true, next))
            }
            Expr::Test(test) => {
                let test = self.test(test);
                self.program.steps.push(Step { test, if_true, if_false });
                Target(self.program.steps.len() as u32 - 1)
            }
        }
    }

    /// The number of a comparison: an equal one has the same.
    fn test(&mut self, test: &Test) -> u32 {
        let what = format!("{:?} {:?} {:?} {:?}", test.left, test.operator, test.quantifier, test.right);
        if let Some(&number) = self.known.get(&what) {
            return number;
        }
        let number = self.program.column_of.len() as u32;
        // A comparison with another value of the event stands alone, and so does one that costs: not to be made unless
        // it is asked for itself.
        let looks_at = match test.right {
            Right::Operand(_) => what.clone(),
            _ if searches(test.operator) > 0 => what.clone(),
            _ => format!("{:?}", test.left),
        };
        let columns = &mut self.program.columns;
        let column = *self.columns.entry(looks_at).or_insert_with(|| {
            columns.push(Column::of(test));
            columns.len() as u32 - 1
        });
        self.program.columns[column as usize].add(test, number);
        self.program.column_of.push(column);
        self.known.insert(what, number);
        number
    }

    fn finish(self) -> Option<Program> {
        (!self.program.rules.is_empty()).then_some(self.program)
    }
}

/// Parts in the order in which they are asked: what is cheap first, and else as they are written.
fn cheapest_first(parts: &[Expr]) -> Vec<&Expr> {
    let mut ordered: Vec<&Expr> = parts.iter().collect();
    ordered.sort_by_key(|part| cost(part));
    ordered
}

/// What it costs to know a condition, in a measure of its own: a flag of the event is 1.
fn cost(expr: &Expr) -> u32 {
    match expr {
        Expr::Constant(_) => 0,
        Expr::Not(inner) => cost(inner),
        // The first that decides ends it.
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(cost).min().unwrap_or(0) + parts.len() as u32,
        Expr::Test(test) => {
            let field = match &test.left {
                Operand::Field(reference) => match reference.field.feed {
                    Feed::Event => 1,
                    Feed::File => 3,
                    Feed::Process => 4,
                    Feed::Container => 5,
                    _ => 12,
                },
                _ => 30,
            };
            field + searches(test.operator)
        }
    }
}

/// What an operator costs that has to search in a text, in the same measure.
fn searches(operator: Operator) -> u32 {
    match operator {
        Operator::Regex => 100,
        Operator::Glob | Operator::IGlob | Operator::IContains => 20,
        Operator::Contains | Operator::PathMatch => 6,
        _ => 0,
    }
}

/// The right side of a comparison with literals, ready to be compared with. None: it is another value of the event.
fn pattern_of(test: &Test) -> Option<Pattern> {
    match &test.right {
        Right::Operand(_) => None,
        _ => Some(evaluate::literals(test)),
    }
}
