//! Which types of events a condition can be true of.

use super::condition::Operator;
use super::event_types::{self, NAMES};
use super::typed::{Expr, Operand, Right, Test};

/// A set of event types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSet(Vec<bool>);

impl EventSet {
    /// Every type.
    pub fn all() -> Self {
        Self(vec![true; NAMES.len()])
    }

    /// No type.
    pub fn none() -> Self {
        Self(vec![false; NAMES.len()])
    }

    /// The types in it, by name.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().zip(&self.0).filter(|(_, is)| **is).map(|(name, _)| name)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.iter().filter(|is| **is).count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }

    fn combine(mut self, other: &Self, with: fn(bool, bool) -> bool) -> Self {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own = with(*own, *other);
        }
        self
    }
}

/// The types of events that a condition may be true of: all others it is false of.
pub fn event_set(expr: &Expr) -> EventSet {
    may_be(expr, true)
}

/// The types of events of which a condition may be `value`.
fn may_be(expr: &Expr, value: bool) -> EventSet {
    match expr {
        Expr::Constant(is) if *is == value => EventSet::all(),
        Expr::Constant(_) => EventSet::none(),
        Expr::Not(inner) => may_be(inner, !value),
        Expr::And(parts) if value => {
            parts.iter().fold(EventSet::all(), |set, part| set.combine(&may_be(part, true), |a, b| a && b))
        }
        Expr::Or(parts) if !value => {
            parts.iter().fold(EventSet::all(), |set, part| set.combine(&may_be(part, false), |a, b| a && b))
        }
        Expr::And(parts) | Expr::Or(parts) => {
            parts.iter().fold(EventSet::none(), |set, part| set.combine(&may_be(part, value), |a, b| a || b))
        }
        Expr::Test(test) => match types_of(test) {
            Some(set) if value => set,
            Some(set) => set.combine(&EventSet::none(), |a, _| !a),
            None => EventSet::all(),
        },
    }
}

/// The types that a comparison of `evt.type` is true of; it is false of the others.
fn types_of(test: &Test) -> Option<EventSet> {
    let Operand::Field(reference) = &test.left else { return None };
    if reference.field.name != "evt.type" || test.quantifier.is_some() {
        return None;
    }
    let is_named = |names: &[String]| {
        let mut set = EventSet::none();
        for place in names.iter().filter_map(|name| event_types::find(name)) {
            set.0[place] = true;
        }
        set
    };
    match (&test.right, test.operator) {
        (Right::Nothing, Operator::Exists) => Some(EventSet::all()),
        (Right::Texts(names), Operator::Equal | Operator::In | Operator::Intersects) => Some(is_named(names)),
        (Right::Texts(names), Operator::NotEqual) => {
            Some(is_named(names).combine(&EventSet::none(), |a, _| !a))
        }
        _ => None,
    }
}
