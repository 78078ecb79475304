//! Makes programs: conditions into chains of comparisons.

use rustc_hash::FxHashMap;

use super::column::{Column, MOST};
use super::order::{self, Order};
use super::{Probe, Program, Step, Target, known};
use crate::rules::condition::{Operator, Quantifier};
use crate::rules::typed::{Expr, Operand, Right, Test};

/// Makes a program.
#[derive(Default)]
pub(super) struct Builder<'e> {
    program: Program,
    order: Order<'e>,
    /// By column: its comparisons.
    columns: Vec<Vec<&'e Test>>,
    /// Comparisons by what they say: column and bit.
    known: FxHashMap<What<'e>, (u32, u64)>,
    /// The columns that have room, by what they look at.
    open: FxHashMap<What<'e>, u32>,
}

/// What a comparison says, wherever it stands. Of a column: nothing behind the operand that all of it look at.
#[derive(PartialEq, Eq, Hash)]
struct What<'e> {
    left: &'e Operand,
    said: Option<(Operator, Option<Quantifier>, &'e Right)>,
}

/// A part of a conjunction or disjunction.
enum Item<'e> {
    /// Comparisons of one column.
    Probe(Probe),
    Part(&'e Expr),
}

impl<'e> Builder<'e> {
    /// The program of these rules: their positions in the set and their conditions, in order.
    pub(super) fn program(
        mut self,
        rules: impl DoubleEndedIterator<Item = (u32, &'e Expr)> + Clone,
    ) -> Program {
        self.order = Order::new(rules.clone().map(|(_, expr)| expr));
        for (place, expr) in rules.rev() {
            let is_match = Target(Target::MATCH | self.program.rules.len() as u32);
            let next = self.program.start;
            self.program.rules.push((place, next));
            self.program.start = self.chain(expr, is_match, next);
            self.program.owners.resize(self.program.steps.len(), place);
        }
        self.program.columns = self.columns.iter().map(|tests| Column::new(tests)).collect();
        self.program.tests = self.known.len();
        known::pass_by(&mut self.program);
        self.program
    }

    /// Writes a condition's steps, the last first; returns where they begin.
    fn chain(&mut self, expr: &'e Expr, if_true: Target, if_false: Target) -> Target {
        match expr {
            Expr::Constant(true) => if_true,
            Expr::Constant(false) => if_false,
            Expr::Not(inner) => self.chain(inner, if_false, if_true),
            Expr::And(parts) => {
                let items = self.items(self.order.all(parts), true);
                items.into_iter().rev().fold(if_true, |next, item| match item {
                    // What is asked for is what is not to be.
                    Item::Probe(probe) => self.step(probe, if_false, next),
                    Item::Part(part) => self.chain(part, next, if_false),
                })
            }
            Expr::Or(parts) => {
                let items = self.items(self.order.any(parts), false);
                items.into_iter().rev().fold(if_false, |next, item| match item {
                    Item::Probe(probe) => self.step(probe, if_true, next),
                    Item::Part(part) => self.chain(part, if_true, next),
                })
            }
            Expr::Test(test) => {
                let (column, mask) = self.test(test);
                self.step(Probe { column, mask, flip: 0 }, if_true, if_false)
            }
        }
    }

    /// Parts with the comparisons of each column together, where the first of them stands: the others cost nothing more.
    fn items(&mut self, parts: Vec<&'e Expr>, of_all: bool) -> Vec<Item<'e>> {
        let mut items: Vec<Item<'e>> = Vec::with_capacity(parts.len());
        for part in parts {
            let (test, is_negated) = match part {
                Expr::Test(test) => (test, false),
                Expr::Not(inner) => match inner.as_ref() {
                    Expr::Test(test) => (test, true),
                    _ => {
                        items.push(Item::Part(part));
                        continue;
                    }
                },
                _ => {
                    items.push(Item::Part(part));
                    continue;
                }
            };
            let (column, mask) = self.test(test);
            // Of a conjunction the steps ask what is not to be.
            let flip = if is_negated == of_all { 0 } else { mask };
            let alike = items.iter_mut().find_map(|item| match item {
                Item::Probe(probe) if probe.column == column && probe.mask & mask == 0 => Some(probe),
                _ => None,
            });
            match alike {
                Some(probe) => (probe.mask, probe.flip) = (probe.mask | mask, probe.flip | flip),
                None => items.push(Item::Probe(Probe { column, mask, flip })),
            }
        }
        items
    }

    /// Writes one step.
    fn step(&mut self, probe: Probe, if_any: Target, if_none: Target) -> Target {
        let (if_any, if_none) = (self.past(probe, true, if_any), self.past(probe, false, if_none));
        if if_any == if_none {
            return if_any;
        }
        self.program.steps.push(Step { probe, if_any, if_none });
        Target(self.program.steps.len() as u32 - 1)
    }

    /// Where to go on from `at`, where it is known what came of `probe`.
    fn past(&self, probe: Probe, is_any: bool, mut at: Target) -> Target {
        while let Some(step) = self.program.steps.get(at.0 as usize)
            && let Some(known) = step.probe.given(probe, is_any)
        {
            at = if known { step.if_any } else { step.if_none };
        }
        at
    }

    /// Column and bit of a comparison: equal ones have the same.
    fn test(&mut self, test: &'e Test) -> (u32, u64) {
        let whole = || What { left: &test.left, said: Some((test.operator, test.quantifier, &test.right)) };
        if let Some(&known) = self.known.get(&whole()) {
            return known;
        }
        // A comparison with another value of the event stands alone, and so does one that costs: not to be made unless
        // it is asked for itself.
        let is_alone = matches!(test.right, Right::Operand(_)) || order::searches(test.operator);
        let looks_at = if is_alone { whole() } else { What { left: &test.left, said: None } };
        let next = self.columns.len() as u32;
        let column = self.open.entry(looks_at).or_insert(next);
        if self.columns.get(*column as usize).is_none_or(|tests| tests.len() == MOST) {
            *column = next;
            self.columns.push(Vec::new());
        }
        let (column, tests) = (*column, &mut self.columns[*column as usize]);
        let bit = 1 << tests.len();
        tests.push(test);
        self.known.insert(whole(), (column, bit));
        (column, bit)
    }
}
