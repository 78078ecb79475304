//! Takes out of a condition what cannot be, and says why.
//!
//! Negations are moved to the comparisons, and what the parts of a conjunction say of one field is held against each
//! other. A comparison with a value that is not there is false, so `a != x` says that there is one, and `not a = x`
//! does not.

use std::collections::BTreeSet;

use super::condition::Operator;
use super::text::Span;
use super::typed::{Expr, FieldRef, Operand, Right, Shape, Test};

#[cfg(test)]
mod tests;

/// A condition without what cannot be.
#[derive(Clone, Debug)]
pub struct Simplified {
    /// It matches what the one it was made from matched. `Not` stands before comparisons only.
    pub expr: Expr,
    /// Parts that contradict others, in the order of the condition.
    pub contradictions: Vec<Contradiction>,
}

/// Two comparisons of which one at most is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The one that is never true.
    pub span: Span,
    /// The one before it that says otherwise.
    pub with: Span,
    /// The field that both are about.
    pub field: &'static str,
}

/// Simplifies a condition.
pub fn simplify(expr: &Expr) -> Simplified {
    let mut contradictions = Vec::new();
    let expr = fold(normal(expr, false), &Facts::default(), &mut contradictions);
    Simplified { expr, contradictions }
}

/// The same with negations before comparisons only.
fn normal(expr: &Expr, negated: bool) -> Expr {
    match expr {
        Expr::Constant(value) => Expr::Constant(*value != negated),
        Expr::Not(inner) => normal(inner, !negated),
        Expr::And(parts) | Expr::Or(parts) => {
            let is_and = matches!(expr, Expr::And(_)) != negated;
            let mut flat = Vec::with_capacity(parts.len());
            for part in parts {
                match (normal(part, negated), is_and) {
                    (Expr::And(inner), true) | (Expr::Or(inner), false) => flat.extend(inner),
                    (part, _) => flat.push(part),
                }
            }
            if is_and { Expr::And(flat) } else { Expr::Or(flat) }
        }
        Expr::Test(test) => match (constant(test), negated) {
            (Some(value), _) => Expr::Constant(value != negated),
            (None, true) => Expr::Not(Box::new(Expr::Test(test.clone()))),
            (None, false) => Expr::Test(test.clone()),
        },
    }
}

/// What a comparison always is, whatever the event.
fn constant(test: &Test) -> Option<bool> {
    let nothing = match &test.right {
        Right::Texts(values) => values.is_empty(),
        Right::Numbers(values) => values.is_empty(),
        Right::Bools(values) => values.is_empty(),
        Right::Addresses(values) => values.is_empty(),
        Right::Networks(values) => values.is_empty(),
        Right::Bytes(values) => values.is_empty(),
        Right::Nothing | Right::Operand(_) => false,
    };
    // Of an empty list, every element is in the empty set.
    if nothing && !test.left.kind().1 && test.quantifier.is_none() {
        return Some(false);
    }
    // Events are counted from 1: `evt.num = 0` is how rule files write "never".
    let Operand::Field(reference) = &test.left else { return None };
    let Right::Numbers(numbers) = &test.right else { return None };
    if reference.field.name != "evt.num" {
        return None;
    }
    let all = |is: fn(i128) -> bool| numbers.iter().all(|number| is(*number));
    match test.operator {
        Operator::Equal | Operator::In if all(|number| number < 1) => Some(false),
        Operator::NotEqual if all(|number| number < 1) => Some(true),
        Operator::GreaterOrEqual if all(|number| number <= 1) => Some(true),
        Operator::Greater if all(|number| number < 1) => Some(true),
        Operator::Less if all(|number| number <= 1) => Some(false),
        Operator::LessOrEqual if all(|number| number < 1) => Some(false),
        _ => None,
    }
}

/// Simplifies what is true only where `facts` are.
fn fold(expr: Expr, facts: &Facts, contradictions: &mut Vec<Contradiction>) -> Expr {
    match expr {
        Expr::Constant(_) => expr,
        Expr::Test(_) | Expr::Not(_) => conjunction(vec![expr], facts, contradictions),
        Expr::And(parts) => conjunction(parts, facts, contradictions),
        Expr::Or(parts) => {
            let mut left = Vec::with_capacity(parts.len());
            for part in parts {
                match fold(part, facts, contradictions) {
                    Expr::Constant(true) => return Expr::Constant(true),
                    Expr::Constant(false) => {}
                    Expr::Or(inner) => left.extend(inner),
                    part => left.push(part),
                }
            }
            one_or(left, Expr::Or, false)
        }
    }
}

fn conjunction(parts: Vec<Expr>, outer: &Facts, contradictions: &mut Vec<Contradiction>) -> Expr {
    let mut facts = outer.clone();
    let mut is_false = false;
    for part in &parts {
        match part {
            Expr::Constant(false) => return Expr::Constant(false),
            Expr::Test(test) => is_false |= !facts.learn(test, true, contradictions),
            Expr::Not(inner) => {
                if let Expr::Test(test) = inner.as_ref() {
                    is_false |= !facts.learn(test, false, contradictions);
                }
            }
            _ => {}
        }
    }
    if is_false {
        return Expr::Constant(false);
    }
    let mut left = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Expr::Constant(_) => {}
            Expr::Or(_) | Expr::And(_) => match fold(part, &facts, contradictions) {
                Expr::Constant(true) => {}
                Expr::Constant(false) => return Expr::Constant(false),
                Expr::And(inner) => left.extend(inner),
                part => left.push(part),
            },
            part => left.push(part),
        }
    }
    one_or(left, Expr::And, true)
}

fn one_or(mut parts: Vec<Expr>, make: fn(Vec<Expr>) -> Expr, empty: bool) -> Expr {
    match parts.len() {
        0 => Expr::Constant(empty),
        1 => parts.remove(0),
        _ => make(parts),
    }
}

/// What is known of fields.
#[derive(Clone, Debug, Default)]
struct Facts(Vec<Fact>);

/// What is known of one field.
#[derive(Clone, Debug)]
struct Fact {
    field: FieldRef,
    /// There is a value, and it is one of these.
    one_of: Option<(BTreeSet<String>, Span)>,
    /// If there is a value, it is none of these.
    none_of: Vec<(BTreeSet<String>, Span)>,
    /// There is a value, or there is none.
    exists: Option<(bool, Span)>,
}

impl Facts {
    /// Takes in that a comparison is true, or is false. False: it cannot be.
    fn learn(&mut self, test: &Test, is: bool, contradictions: &mut Vec<Contradiction>) -> bool {
        let Some((field, said)) = said(test, is) else { return true };
        let place = self.0.iter().position(|fact| fact.field == *field).unwrap_or_else(|| {
            self.0.push(Fact { field: field.clone(), one_of: None, none_of: Vec::new(), exists: None });
            self.0.len() - 1
        });
        let Some(fact) = self.0.get_mut(place) else { return true };
        let Some(with) = fact.learn(said, test.span) else { return true };
        contradictions.push(Contradiction { span: test.span, with, field: field.field.name });
        false
    }
}

/// What a comparison says of its field.
enum Said {
    OneOf(BTreeSet<String>),
    NoneOf(BTreeSet<String>),
    /// There is a value that is none of these.
    Other(BTreeSet<String>),
    Exists(bool),
}

impl Fact {
    /// Returns what contradicts it, if anything does.
    fn learn(&mut self, said: Said, span: Span) -> Option<Span> {
        let absent = self.exists.filter(|(exists, _)| !exists).map(|(_, span)| span);
        match said {
            Said::Exists(false) => {
                let present = self.exists.filter(|(exists, _)| *exists).map(|(_, span)| span);
                self.exists = Some((false, span));
                return present.or(self.one_of.as_ref().map(|(_, span)| *span));
            }
            Said::Exists(true) => {
                self.exists.get_or_insert((true, span));
                return absent;
            }
            Said::OneOf(values) => {
                let (left, with) = match self.one_of.take() {
                    Some((known, with)) => (known.intersection(&values).cloned().collect(), Some(with)),
                    None => (values, None),
                };
                if left.is_empty() {
                    return with.or(absent);
                }
                self.one_of = Some((left, span));
                if absent.is_some() {
                    return absent;
                }
            }
            Said::NoneOf(values) => self.none_of.push((values, span)),
            Said::Other(values) => {
                self.none_of.push((values, span));
                self.exists.get_or_insert((true, span));
                if absent.is_some() {
                    return absent;
                }
            }
        }
        // Whether anything is left of what it may be.
        let (one_of, one_at) = self.one_of.as_ref()?;
        let is_out = |value: &String| self.none_of.iter().any(|(values, _)| values.contains(value));
        if !one_of.iter().all(is_out) {
            return None;
        }
        let last = self.none_of.last().map(|(_, at)| *at)?;
        Some(if last == span { *one_at } else { last })
    }
}

/// The field and what is said of it, of comparisons with values that are told apart by being the same or not.
fn said(test: &Test, is: bool) -> Option<(&FieldRef, Said)> {
    let Operand::Field(reference) = &test.left else { return None };
    if reference.shape() != Shape::One || test.quantifier.is_some() {
        return None;
    }
    if test.operator == Operator::Exists {
        return Some((reference, Said::Exists(is)));
    }
    let values: BTreeSet<String> = match &test.right {
        Right::Texts(values) => values.iter().cloned().collect(),
        Right::Numbers(values) => values.iter().map(i128::to_string).collect(),
        Right::Bools(values) => values.iter().map(bool::to_string).collect(),
        _ => return None,
    };
    let said = match (test.operator, is) {
        (Operator::Equal | Operator::In | Operator::Intersects, true) => Said::OneOf(values),
        (Operator::Equal | Operator::In | Operator::Intersects, false) => Said::NoneOf(values),
        (Operator::NotEqual, true) => Said::Other(values),
        // No value, or this one.
        _ => return None,
    };
    Some((reference, said))
}
