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
use super::ruleset::Ruleset;
use super::typed::{Expr, FieldRef, Operand, Right, Test};

mod build;
mod by_type;
mod column;
mod implied;
mod known;
mod order;
#[cfg(test)]
mod tests;
mod texts;

use build::Builder;
pub(in crate::rules) use by_type::ByType;
use column::Column;

/// All rules of a set that are on and can match.
#[derive(Debug)]
pub struct Compiled {
    /// By type of event: the place of its program; none: no rule is about it.
    by_kind: Vec<Option<u32>>,
    programs: Vec<Program>,
}

/// The rules of one type of event, or of several of which the same is said.
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

/// Comparisons of one column, and where to go on.
#[derive(Clone, Copy, Debug)]
struct Step {
    probe: Probe,
    /// Where one of them is as asked for.
    if_any: Target,
    if_none: Target,
}

/// Comparisons of one column, each asked to be true or to be false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    column: u32,
    /// Their bits.
    mask: u64,
    /// Those that are asked to be false.
    flip: u64,
}

impl Probe {
    /// Whether one of them is as asked for.
    fn is_any(self, is: u64) -> bool {
        (is ^ self.flip) & self.mask != 0
    }

    /// Whether one of them is as asked for where one of `other`, or none, is; none: that is not known from it.
    fn given(self, other: Self, is_any: bool) -> Option<bool> {
        if self.column != other.column {
            return None;
        }
        let (both, unlike) = (self.mask & other.mask, self.flip ^ other.flip);
        if is_any {
            let is_one = other.mask.is_power_of_two() && self.mask == other.mask;
            return match (both == other.mask, unlike & both == 0) {
                (true, true) => Some(true),
                _ if is_one => Some(false),
                _ => None,
            };
        }
        match (unlike & both == 0, both == self.mask) {
            (false, _) => Some(true),
            (true, true) => Some(false),
            (true, false) => None,
        }
    }
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
    /// The number of the present event: what columns hold of others counts no more.
    event: u64,
    /// By column: the event that its comparisons were last made of, and which of them are true.
    columns: Vec<(u64, u64)>,
}

impl Scratch {
    /// Begins an event, with so many columns.
    fn begin(&mut self, columns: usize) {
        self.event += 1;
        if self.columns.len() < columns {
            self.columns.resize(columns, (0, 0));
        }
    }
}

impl Compiled {
    /// Compiles the rules that are on.
    pub fn new(set: &Ruleset) -> Self {
        let ByType { conditions, mut of_kind } = ByType::new(set);
        let conditions: Vec<Expr> = conditions.into_iter().map(implied::asked_first).collect();
        for rules in &mut of_kind {
            rules.retain(|(_, condition)| !matches!(conditions[*condition], Expr::Constant(false)));
        }
        let (mut programs, mut known) = (Vec::new(), FxHashMap::default());
        let by_kind = of_kind.into_iter().map(|rules| {
            if rules.is_empty() {
                return None;
            }
            Some(*known.entry(rules).or_insert_with_key(|rules| {
                let rules = rules.iter().map(|(place, condition)| (*place, &conditions[*condition]));
                programs.push(Builder::default().program(rules));
                programs.len() as u32 - 1
            }))
        });
        Self { by_kind: by_kind.collect(), programs }
    }

    fn program(&self, kind: usize) -> Option<&Program> {
        self.programs.get((*self.by_kind.get(kind)?)? as usize)
    }

    /// Whether any rule is about events of this type, by its position in [`NAMES`](super::event_types::NAMES).
    pub fn asks_for(&self, kind: usize) -> bool {
        self.program(kind).is_some()
    }

    /// What there is to do for an event of this type.
    pub fn extent(&self, kind: usize) -> Extent {
        self.program(kind).map_or(Extent::default(), |program| Extent {
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
        let Some(program) = self.program(kind) else { return };
        scratch.begin(program.columns.len());
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
        let mut owner = None;
        while let Some(Step { probe, if_any, if_none }) = self.steps.get(at.0 as usize) {
            if M::IS_ON && owner != Some(self.owners[at.0 as usize]) {
                owner = Some(self.owners[at.0 as usize]);
                meter.enter(self.owners[at.0 as usize]);
            }
            let (made_of, is) = &mut scratch.columns[probe.column as usize];
            if *made_of != scratch.event {
                (*made_of, *is) = (scratch.event, self.columns[probe.column as usize].of(event));
            }
            at = if probe.is_any(*is) { *if_any } else { *if_none };
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
        Expr::Test(test) if asks_type(test) => Expr::Constant(is_of_type(test, kind)),
        Expr::Test(_) => expr.clone(),
    }
}

/// Whether a comparison is decided by the type of the event alone.
fn asks_type(test: &Test) -> bool {
    let is_type = matches!(&test.left, Operand::Field(reference) if reference.field.name == "evt.type");
    is_type && !matches!(test.right, Right::Operand(_))
}

fn is_of_type(test: &Test, kind: &str) -> bool {
    evaluate::test(test, &OnlyType(kind))
}

/// Appends the comparisons of a condition that are decided by the type of the event alone.
fn tests_of_type<'e>(expr: &'e Expr, out: &mut Vec<&'e Test>) {
    match expr {
        Expr::Constant(_) => {}
        Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| tests_of_type(part, out)),
        Expr::Not(inner) => tests_of_type(inner, out),
        Expr::Test(test) if asks_type(test) => out.push(test),
        Expr::Test(_) => {}
    }
}

/// An event of which nothing but the type is known.
struct OnlyType<'a>(&'a str);

impl Event for OnlyType<'_> {
    fn visit(&self, _: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        with(Value::Text(self.0.as_bytes()));
    }
}

/// The right side of a comparison with literals, ready to be compared with. None: it is another value of the event.
fn pattern_of(test: &Test) -> Option<Pattern> {
    match &test.right {
        Right::Operand(_) => None,
        _ => Some(evaluate::literals(test)),
    }
}
