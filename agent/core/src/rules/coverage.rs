//! What events have shown of rules: which matched, and which comparison was seen true and which false.
//!
//! A condition is gone through as it is written, each part only if those before it leave its value open, so that a
//! comparison is seen where it decides. What is said of `evt.type` picks the events of a rule and is not counted; what
//! the loader found to be always so, such as an empty list, is gone already.

use super::compile::of_type;
use super::evaluate::{Event, Given, evaluate, value_of};
use super::event_types::NAMES;
use super::ruleset::Ruleset;
use super::typed::{Expr, Operand, Right, Test};

#[cfg(test)]
mod tests;

/// What has been seen of the rules of a set, in the set's order.
#[derive(Clone, Debug)]
pub struct Coverage {
    /// One per rule.
    pub rules: Vec<OfRule>,
}

/// What has been seen of a rule.
#[derive(Clone, Debug)]
pub struct OfRule {
    /// Events that it matched.
    pub matched: u64,
    /// Events of its types that it did not match.
    pub passed: u64,
    /// Its comparisons as they are written, from left to right.
    pub leaves: Vec<Leaf>,
    expr: Expr,
    /// Types of events, by position in [`NAMES`].
    kinds: Vec<bool>,
}

/// What has been seen of a comparison.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// It.
    pub test: Test,
    /// Events of which it was true.
    pub is_true: u64,
    /// Events of which it was false.
    pub is_false: u64,
}

/// A comparison that kept a rule from matching.
#[derive(Clone, Debug)]
pub struct Decider<'a> {
    /// It.
    pub test: &'a Test,
    /// What it was.
    pub was: bool,
    /// What its left side gave.
    pub left: Given,
}

impl Coverage {
    /// Nothing seen of these rules.
    pub fn new(set: &Ruleset) -> Self {
        let rules = set.rules.iter().map(|ready| {
            let mut leaves = Vec::new();
            // Of a rule that is off nothing can be seen.
            if ready.rule.is_enabled && ready.can_match() {
                collect(&ready.expr, &mut leaves);
            }
            let mut kinds = vec![false; NAMES.len()];
            for name in ready.events.iter() {
                super::event_types::find(name).into_iter().for_each(|kind| kinds[kind] = true);
            }
            OfRule { matched: 0, passed: 0, leaves, expr: ready.expr.clone(), kinds }
        });
        Self { rules: rules.collect() }
    }

    /// Adds what was seen of the same rules elsewhere.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.rules.iter_mut().zip(&other.rules) {
            own.matched += other.matched;
            own.passed += other.passed;
            for (own, other) in own.leaves.iter_mut().zip(&other.leaves) {
                own.is_true += other.is_true;
                own.is_false += other.is_false;
            }
        }
    }

    /// An event of these types was evaluated, and the rules at the positions `found` matched it.
    pub fn saw(&mut self, kinds: &[usize], event: &dyn Event, found: &[u32]) {
        for (place, rule) in self.rules.iter_mut().enumerate() {
            let is_about = |kind: &&usize| rule.kinds.get(**kind) == Some(&true);
            let Some(kind) = kinds.iter().find(is_about) else { continue };
            match found.contains(&(place as u32)) {
                true => rule.matched += 1,
                false => rule.passed += 1,
            }
            see(&rule.expr, &mut 0, NAMES[*kind], &event, &mut rule.leaves);
        }
    }
}

impl OfRule {
    /// The comparisons that kept the rule from matching an event of these types; none are told if it is about none of
    /// them, or if it matched.
    pub fn deciders(&self, kinds: &[usize], event: &dyn Event) -> Option<Vec<Decider<'_>>> {
        let kind = kinds.iter().find(|kind| self.kinds.get(**kind) == Some(&true))?;
        let mut found = Vec::new();
        decide(&self.expr, NAMES[*kind], &event, false, &mut found);
        Some(found)
    }
}

impl Leaf {
    /// Whether it says something of the event beyond its type.
    pub fn counts(&self) -> bool {
        !is_of_type(&self.test)
    }
}

fn collect(expr: &Expr, leaves: &mut Vec<Leaf>) {
    match expr {
        Expr::Constant(_) => {}
        Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| collect(part, leaves)),
        Expr::Not(inner) => collect(inner, leaves),
        Expr::Test(test) => leaves.push(Leaf { test: test.clone(), is_true: 0, is_false: 0 }),
    }
}

fn is_of_type(test: &Test) -> bool {
    matches!(&test.left, Operand::Field(reference) if reference.field.name == "evt.type")
        && !matches!(test.right, Right::Operand(_))
}

/// What a comparison of the type says of events of this one. [`None`]: it is about something else.
fn type_says(test: &Test, kind: &str) -> Option<bool> {
    let known = is_of_type(test).then(|| of_type(&Expr::Test(test.clone()), kind))?;
    Some(matches!(known, Expr::Constant(true)))
}

/// Evaluates as it is written, for an event of type `kind`, and counts what is asked. `at` is the number of the next
/// comparison.
fn see(expr: &Expr, at: &mut usize, kind: &str, event: &impl Event, leaves: &mut [Leaf]) -> bool {
    match expr {
        Expr::Constant(is) => *is,
        Expr::Not(inner) => !see(inner, at, kind, event, leaves),
        Expr::And(parts) | Expr::Or(parts) => {
            let ends_it = matches!(expr, Expr::Or(_));
            let mut outcome = !ends_it;
            for part in parts {
                if outcome == ends_it {
                    *at += count(part);
                } else {
                    outcome = see(part, at, kind, event, leaves);
                }
            }
            outcome
        }
        Expr::Test(test) => {
            let leaf = leaves.get_mut(*at);
            *at += 1;
            if let Some(known) = type_says(test, kind) {
                return known;
            }
            let is = evaluate(expr, event);
            if let Some(leaf) = leaf {
                *(if is { &mut leaf.is_true } else { &mut leaf.is_false }) += 1;
            }
            is
        }
    }
}

fn count(expr: &Expr) -> usize {
    match expr {
        Expr::Constant(_) => 0,
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(count).sum(),
        Expr::Not(inner) => count(inner),
        Expr::Test(_) => 1,
    }
}

/// The comparisons that make a condition not `wanted`, but its opposite: of several that have to be so the first.
/// Returns whether it is the opposite.
fn decide<'a>(
    expr: &'a Expr,
    kind: &str,
    event: &impl Event,
    is: bool,
    found: &mut Vec<Decider<'a>>,
) -> bool {
    match expr {
        Expr::Constant(value) => *value == is,
        Expr::Not(inner) => decide(inner, kind, event, !is, found),
        // One part decides: false of all that have to be true, true of those of which one has to be.
        Expr::And(parts) if !is => parts.iter().any(|part| decide(part, kind, event, is, found)),
        Expr::Or(parts) if is => parts.iter().any(|part| decide(part, kind, event, is, found)),
        Expr::And(parts) | Expr::Or(parts) => {
            let before = found.len();
            let all = parts.iter().all(|part| decide(part, kind, event, is, found));
            if !all {
                found.truncate(before);
            }
            all
        }
        Expr::Test(test) => match type_says(test, kind) {
            Some(known) => known == is,
            None if evaluate(expr, event) == is => {
                found.push(Decider { test, was: is, left: value_of(&test.left, event) });
                true
            }
            None => false,
        },
    }
}
