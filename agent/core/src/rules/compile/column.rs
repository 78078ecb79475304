//! All comparisons of one field, made with one look at it.

use memchr::memmem::Finder;

use super::pattern_of;
use super::texts::Texts;
use crate::rules::compare::{Pattern, Value, holds, holds_list, ordered};
use crate::rules::condition::{Operator, Quantifier};
use crate::rules::evaluate::{self, Event};
use crate::rules::fields::Kind;
use crate::rules::typed::{Expr, FieldRef, Operand, Right, Shape, Test};

/// The most comparisons in one column: one bit each.
pub(super) const MOST: usize = u64::BITS as usize;

/// The comparisons of one field, a bit for each.
#[derive(Debug)]
pub(super) struct Column {
    /// The field that all of them look at, if it is one.
    reference: Option<FieldRef>,
    how: How,
}

/// How comparisons are made.
#[derive(Debug)]
enum How {
    /// Of one value that is a text, and by nothing but tables.
    Text(Box<Texts>),
    /// Of one value that is true or false: the comparisons that are true of either.
    Truth([u64; 2]),
    /// Of values that are texts, of which one has a part: the only comparison.
    Part(Box<Finder<'static>>),
    /// Of a field with what rules say.
    Field(Box<Field>),
    /// Of what is made from fields, or with another value of the event: as the plain evaluation does it.
    Plain(Vec<Expr>),
}

/// Comparisons of a field with what rules say.
#[derive(Debug)]
struct Field {
    shape: Shape,
    kind: Kind,
    /// Of texts.
    texts: Texts,
    /// Of truths: the comparisons that are true of false, and of true.
    truths: [u64; 2],
    /// Of numbers, each with one number.
    numbers: Vec<Bound>,
    /// True where there is a value.
    exists: u64,
    /// All else.
    others: Vec<Other>,
}

/// A comparison with one number.
#[derive(Debug)]
struct Bound {
    with: i128,
    operator: Operator,
    bit: u64,
}

/// A comparison that no table answers.
#[derive(Debug)]
struct Other {
    operator: Operator,
    quantifier: Option<Quantifier>,
    pattern: Pattern,
    bit: u64,
}

impl Column {
    /// A column of comparisons that look at the same; the bit of each is its place. There are [`MOST`] at most.
    pub(super) fn new(tests: &[&Test]) -> Self {
        let (reference, how) = match tests.first().map(|test| (&test.left, &test.right)) {
            Some((Operand::Field(reference), right)) if !matches!(right, Right::Operand(_)) => {
                let part = if let [test] = tests { part(test, reference) } else { None };
                let how = part.map_or_else(
                    || Field::new(reference, tests).how(),
                    |part| How::Part(Box::new(Finder::new(part).into_owned())),
                );
                (Some(reference.clone()), how)
            }
            _ => (None, How::Plain(tests.iter().map(|test| Expr::Test((*test).clone())).collect())),
        };
        Self { reference, how }
    }

    /// Makes all comparisons: those that are true.
    #[inline]
    pub(super) fn of(&self, event: &impl Event) -> u64 {
        let Some(reference) = &self.reference else { return self.of_other(event) };
        let mut is = 0;
        match &self.how {
            How::Text(texts) => event.visit(reference, &mut |value| {
                if let Value::Text(text) = value {
                    is = texts.of(text);
                }
            }),
            How::Truth(truths) => event.visit(reference, &mut |value| {
                if let Value::Bool(value) = value {
                    is = truths[usize::from(value)];
                }
            }),
            How::Part(finder) => event.visit(reference, &mut |value| {
                if let Value::Text(text) = value {
                    is |= u64::from(finder.find(text).is_some());
                }
            }),
            How::Field(_) | How::Plain(_) => is = self.of_other(event),
        }
        is
    }

    /// Of columns that are asked less often: apart, so that the others take less time.
    #[inline(never)]
    fn of_other(&self, event: &impl Event) -> u64 {
        match (&self.reference, &self.how) {
            (Some(reference), How::Field(field)) => match field.shape {
                Shape::List => field.of_list(event, reference),
                _ => field.of(event, reference),
            },
            (_, How::Plain(tests)) => {
                let is = |test| u64::from(evaluate::evaluate(test, event));
                tests.iter().enumerate().fold(0, |all, (place, test)| all | is(test) << place)
            }
            _ => 0,
        }
    }
}

/// The text that a comparison looks for in the values of a field, if that is all it does.
fn part<'t>(test: &'t Test, reference: &FieldRef) -> Option<&'t [u8]> {
    let is_plain = test.operator == Operator::Contains && test.quantifier.is_none();
    match &test.right {
        _ if !is_plain || reference.shape() == Shape::List => None,
        Right::Texts(texts) if texts.len() == 1 => texts.first().map(String::as_bytes),
        Right::Bytes(texts) if texts.len() == 1 => texts.first().map(Vec::as_slice),
        _ => None,
    }
}

impl Field {
    fn new(reference: &FieldRef, tests: &[&Test]) -> Self {
        let mut field = Self {
            shape: reference.shape(),
            kind: reference.field.kind,
            texts: Texts::default(),
            truths: [0; 2],
            numbers: Vec::new(),
            exists: 0,
            others: Vec::new(),
        };
        tests.iter().enumerate().for_each(|(place, test)| field.add(test, 1 << place));
        field
    }

    /// The shortest way to make its comparisons.
    fn how(self) -> How {
        let is_table = self.shape == Shape::One && self.exists == 0 && self.others.is_empty();
        let (has_truths, has_numbers) = (self.truths != [0; 2], !self.numbers.is_empty());
        match (is_table, has_truths || self.kind == Kind::Bool, has_numbers) {
            (true, true, false) if self.texts.is_empty() => How::Truth(self.truths),
            (true, false, false) => How::Text(Box::new(self.texts)),
            _ => How::Field(Box::new(self)),
        }
    }

    fn add(&mut self, test: &Test, bit: u64) {
        if test.operator == Operator::Exists {
            self.exists |= bit;
            return;
        }
        let Some(pattern) = pattern_of(test) else { return };
        match pattern {
            Pattern::Texts(texts) if Texts::take(test, self.shape, texts.len()) => {
                self.texts.add(test.operator, texts, bit);
            }
            Pattern::Bools(_) if self.shape == Shape::One => {
                for value in [false, true] {
                    if holds(Value::Bool(value), test.operator, test.quantifier, &pattern) {
                        self.truths[usize::from(value)] |= bit;
                    }
                }
            }
            Pattern::Numbers(numbers)
                if self.shape == Shape::One && test.quantifier.is_none() && numbers.len() == 1 =>
            {
                let bound = |with| Bound { with, operator: test.operator, bit };
                self.numbers.extend(numbers.into_iter().map(bound));
            }
            pattern => {
                let (operator, quantifier) = (test.operator, test.quantifier);
                self.others.push(Other { operator, quantifier, pattern, bit });
            }
        }
    }

    /// Of a field of one value, or of several of which any counts. Of both ends of a connection `!=` is true if
    /// neither is it.
    fn of(&self, event: &impl Event, reference: &FieldRef) -> u64 {
        let (mut is, mut is_first) = (0, true);
        event.visit(reference, &mut |value| {
            match value {
                Value::Text(text) => is |= self.texts.of(text),
                Value::Bool(value) => is |= self.truths[usize::from(value)],
                Value::Number(value) => {
                    let holds = |bound: &&Bound| ordered(value.cmp(&bound.with), bound.operator);
                    is |= self.numbers.iter().filter(holds).fold(0, |all, bound| all | bound.bit);
                }
                Value::Address(_) => {}
            }
            for other in &self.others {
                let holds = holds(value, other.operator, other.quantifier, &other.pattern);
                if self.shape == Shape::Ends && other.operator == Operator::NotEqual && !is_first {
                    is &= if holds { u64::MAX } else { !other.bit };
                } else if holds {
                    is |= other.bit;
                }
            }
            is_first = false;
        });
        if is_first { 0 } else { is | self.exists }
    }

    /// Of a list: `in` starts as true and `intersects` as false.
    fn of_list(&self, event: &impl Event, reference: &FieldRef) -> u64 {
        let of_none = self.others.iter().filter(|other| holds_list(&[], other.operator, &other.pattern));
        let mut is = of_none.fold(self.exists, |all, other| all | other.bit);
        event.visit(reference, &mut |value| {
            for other in &self.others {
                let holds = holds_list(&[value], other.operator, &other.pattern);
                match other.operator {
                    Operator::In if !holds => is &= !other.bit,
                    Operator::Intersects if holds => is |= other.bit,
                    _ => {}
                }
            }
        });
        is
    }
}
