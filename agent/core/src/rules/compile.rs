//! Rules as programs: one per type of event, in which every comparison is made at most once.
//!
//! For a type of event, what a rule says of `evt.type` is known, and what is left becomes a chain of comparisons: each knows
//! where to go on if it is true and where if it is not. Where one rule is decided the next begins, past what was just
//! asked. All rules of a type share their comparisons: those of one field
//! stand in one `Column`, which is filled with one look at the field when the first of them is asked for. What an
//! event does not ask for is never looked at.

use rustc_hash::FxHashMap;

use super::compare::{Pattern, Value};
use super::evaluate::{self, Event};
use super::event_types::{self, NAMES};
use super::ruleset::Ruleset;
use super::simplify::simplify;
use super::typed::{Expr, FieldRef, Operand, Right, Test};

mod column;
mod order;
#[cfg(test)]
mod tests;
mod texts;

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
    /// Where the first rule begins.
    start: Target,
    /// Each rule's position in the set, and where the next one begins; the last rule first.
    rules: Vec<(u32, Target)>,
    steps: Vec<Step>,
    /// By step: the position in the set of the rule that it is of.
    owners: Vec<u32>,
    columns: Vec<Column>,
    /// How many comparisons there are.
    tests: usize,
}

/// Is told whose comparisons are made. `()` is not, and costs nothing: it is no argument either.
pub trait Meter: Copy {
    /// Whether it is told.
    const IS_ON: bool;

    /// From here on comparisons are those of the rule at this position in the set. A value that several rules compare is
    /// looked at by the first of them that asks.
    fn enter(self, place: u32);
}

impl Meter for () {
    const IS_ON: bool = false;

    fn enter(self, _: u32) {}
}

/// How much there is to do at most for an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Rules that are tried.
    pub rules: usize,
    /// Different comparisons in them.
    pub comparisons: usize,
    /// Looks at the event that all comparisons take.
    pub looks: usize,
}

/// One comparison, and where to go on.
#[derive(Clone, Copy, Debug)]
struct Step {
    test: u32,
    /// The column that the comparison is in.
    column: u32,
    if_true: Target,
    if_false: Target,
}

/// Where a chain goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target(u32);

impl Target {
    /// All rules are decided.
    const END: Self = Self(u32::MAX);
    /// Set where a rule matches: the rest is its place in the program.
    const MATCH: u32 = 1 << 31;
}

impl Default for Target {
    fn default() -> Self {
        Self::END
    }
}

/// Memory of an evaluation, to be used for one event after the other.
#[derive(Debug, Default)]
pub struct Scratch {
    /// By column: whether its comparisons have been made.
    is_made: Vec<bool>,
    /// By comparison: whether it is true. Meaningful where its column has been made.
    is_true: Vec<bool>,
}

impl Scratch {
    fn clear(&mut self, program: &Program) {
        let clear = |flags: &mut Vec<bool>, len: usize| {
            flags.clear();
            flags.resize(len, false);
        };
        clear(&mut self.is_made, program.columns.len());
        clear(&mut self.is_true, program.tests);
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
                    builder.add(place as u32, expr);
                }
            }
        }
        Self { programs: building.into_iter().map(Builder::finish).collect() }
    }

    /// Whether any rule is about events of this type, by its position in [`NAMES`].
    pub fn asks_for(&self, kind: usize) -> bool {
        self.programs.get(kind).is_some_and(Option::is_some)
    }

    /// What there is to do for an event of this type.
    pub fn extent(&self, kind: usize) -> Extent {
        self.programs.get(kind).and_then(Option::as_ref).map_or(Extent::default(), |program| Extent {
            rules: program.rules.len(),
            comparisons: program.tests,
            looks: program.columns.len(),
        })
    }

    /// Calls `found` with the position in the set of every rule that matches an event of type `kind`, in the set's order,
    /// until it answers false.
    pub fn matches(
        &self,
        kind: usize,
        event: &impl Event,
        scratch: &mut Scratch,
        found: impl FnMut(u32) -> bool,
    ) {
        self.metered(kind, event, scratch, (), found);
    }

    /// The same, and tells `meter` whose comparisons are made. A rule that is decided by what another compared is not told.
    pub fn metered<M: Meter>(
        &self,
        kind: usize,
        event: &impl Event,
        scratch: &mut Scratch,
        meter: M,
        mut found: impl FnMut(u32) -> bool,
    ) {
        let Some(Some(program)) = self.programs.get(kind) else { return };
        scratch.clear(program);
        let mut at = program.start;
        while at != Target::END {
            at = program.run(at, event, scratch, meter);
            if at != Target::END {
                let (place, next) = program.rules[(at.0 & !Target::MATCH) as usize];
                if !found(place) {
                    return;
                }
                at = next;
            }
        }
    }
}

impl Program {
    /// Goes on from `at` until a rule matches or all are decided.
    fn run<M: Meter>(&self, mut at: Target, event: &impl Event, scratch: &mut Scratch, meter: M) -> Target {
        let Scratch { is_made, is_true } = scratch;
        let mut owner = None;
        while let Some(step) = self.steps.get(at.0 as usize) {
            if M::IS_ON && owner != Some(self.owners[at.0 as usize]) {
                owner = Some(self.owners[at.0 as usize]);
                meter.enter(self.owners[at.0 as usize]);
            }
            let is_made = &mut is_made[step.column as usize];
            if !*is_made {
                *is_made = true;
                self.columns[step.column as usize].fill(event, is_true);
            }
            at = if is_true[step.test as usize] { step.if_true } else { step.if_false };
        }
        at
    }
}

/// A condition about events of one type: what it says of the type is known.
pub(super) fn of_type(expr: &Expr, kind: &str) -> Expr {
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
    /// The rules' positions and conditions, in order.
    rules: Vec<(u32, Expr)>,
    program: Program,
    /// Comparisons, each with its column.
    tests: Vec<(u32, Test)>,
    /// Comparisons by what they say, with their columns.
    known: FxHashMap<String, (u32, u32)>,
    /// Columns by what they look at.
    columns: FxHashMap<String, u32>,
}

impl Builder {
    fn add(&mut self, place: u32, expr: Expr) {
        if !matches!(expr, Expr::Constant(false)) {
            self.rules.push((place, expr));
        }
    }

    /// Writes a condition's steps, the last first; returns where they begin.
    fn chain(&mut self, expr: &Expr, if_true: Target, if_false: Target) -> Target {
        match expr {
            Expr::Constant(true) => if_true,
            Expr::Constant(false) => if_false,
            Expr::Not(inner) => self.chain(inner, if_false, if_true),
            Expr::And(parts) => {
                let parts = order::all(parts);
                parts.iter().rev().fold(if_true, |next, part| self.chain(part, next, if_false))
            }
            Expr::Or(parts) => {
                let parts = order::any(parts);
                parts.iter().rev().fold(if_false, |next, part| self.chain(part, if_true, next))
            }
            Expr::Test(test) => {
                let (test, column) = self.test(test);
                let if_true = self.past(test, if_true, |step| step.if_true);
                let if_false = self.past(test, if_false, |step| step.if_false);
                self.program.steps.push(Step { test, column, if_true, if_false });
                Target(self.program.steps.len() as u32 - 1)
            }
        }
    }

    /// Where to go on from `at`, where the outcome of `test` is known.
    fn past(&self, test: u32, mut at: Target, known: impl Fn(&Step) -> Target) -> Target {
        while let Some(step) = self.program.steps.get(at.0 as usize).filter(|step| step.test == test) {
            at = known(step);
        }
        at
    }

    /// The number of a comparison and that of its column: equal ones have the same.
    fn test(&mut self, test: &Test) -> (u32, u32) {
        let what = format!("{:?} {:?} {:?} {:?}", test.left, test.operator, test.quantifier, test.right);
        if let Some(&known) = self.known.get(&what) {
            return known;
        }
        let number = self.tests.len() as u32;
        // A comparison with another value of the event stands alone, and so does one that costs: not to be made unless
        // it is asked for itself.
        let looks_at = match test.right {
            Right::Operand(_) => what.clone(),
            _ if order::searches(test.operator) => what.clone(),
            _ => format!("{:?}", test.left),
        };
        let next = self.columns.len() as u32;
        let column = *self.columns.entry(looks_at).or_insert(next);
        self.tests.push((column, test.clone()));
        self.known.insert(what, (number, column));
        (number, column)
    }

    fn finish(mut self) -> Option<Program> {
        for (place, expr) in std::mem::take(&mut self.rules).into_iter().rev() {
            let is_match = Target(Target::MATCH | self.program.rules.len() as u32);
            let next = self.program.start;
            self.program.rules.push((place, next));
            self.program.start = self.chain(&expr, is_match, next);
            self.program.owners.resize(self.program.steps.len(), place);
        }
        let mut of_columns = vec![Vec::new(); self.columns.len()];
        for (number, (column, test)) in self.tests.iter().enumerate() {
            of_columns[*column as usize].push((number as u32, test));
        }
        self.program.columns = of_columns.iter().map(|tests| Column::new(tests)).collect();
        self.program.tests = self.tests.len();
        (!self.program.rules.is_empty()).then_some(self.program)
    }
}

/// The right side of a comparison with literals, ready to be compared with. None: it is another value of the event.
fn pattern_of(test: &Test) -> Option<Pattern> {
    match &test.right {
        Right::Operand(_) => None,
        _ => Some(evaluate::literals(test)),
    }
}
