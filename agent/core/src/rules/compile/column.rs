//! All comparisons of one field, made with one look at it.

use memchr::memmem::Finder;
use rustc_hash::FxHashMap;

use super::pattern_of;
use crate::rules::compare::{Pattern, Value, holds, holds_list};
use crate::rules::condition::{Operator, Quantifier};
use crate::rules::evaluate::{self, Event};
use crate::rules::typed::{Expr, FieldRef, Operand, Right, Shape, Test};

/// The comparisons of one field.
#[derive(Debug)]
pub(super) enum Column {
    /// Of a field with what rules say.
    Field(Box<Field>),
    /// Of what is made from fields, or with another value of the event: as the plain evaluation does it.
    Plain(Vec<(Expr, u32)>),
}

/// Comparisons of a field with what rules say.
#[derive(Debug)]
pub(super) struct Field {
    reference: FieldRef,
    /// Texts that some comparison asks for as a whole (`=`, `in`), with the comparisons that are true of each.
    texts: FxHashMap<Box<[u8]>, Vec<u32>>,
    /// True where there is a value.
    exists: Vec<u32>,
    /// All else.
    others: Vec<Other>,
}

/// A comparison that no table answers.
#[derive(Debug)]
struct Other {
    operator: Operator,
    quantifier: Option<Quantifier>,
    pattern: Pattern,
    /// Of `contains` with one text: its searcher.
    finder: Option<Box<Finder<'static>>>,
    number: u32,
}

impl Other {
    fn holds(&self, value: Value<'_>) -> bool {
        match (&self.finder, value) {
            (Some(finder), Value::Text(text)) => finder.find(text).is_some(),
            _ => holds(value, self.operator, self.quantifier, &self.pattern),
        }
    }
}

impl Column {
    /// A column for what stands on the left of this comparison.
    pub(super) fn of(test: &Test) -> Self {
        match (&test.left, &test.right) {
            (Operand::Field(_), Right::Operand(_)) => Self::Plain(Vec::new()),
            (Operand::Field(reference), _) => Self::Field(Box::new(Field {
                reference: reference.clone(),
                texts: FxHashMap::default(),
                exists: Vec::new(),
                others: Vec::new(),
            })),
            _ => Self::Plain(Vec::new()),
        }
    }

    /// Adds comparison `number`.
    pub(super) fn add(&mut self, test: &Test, number: u32) {
        match self {
            Self::Plain(tests) => tests.push((Expr::Test(test.clone()), number)),
            Self::Field(field) => field.add(test, number),
        }
    }

    /// Makes all comparisons: sets the bits of those that are true. They are clear before.
    pub(super) fn fill(&self, event: &impl Event, bits: &mut [u64]) {
        match self {
            Self::Plain(tests) => {
                for (_, number) in tests.iter().filter(|(test, _)| evaluate::evaluate(test, event)) {
                    set(bits, *number);
                }
            }
            Self::Field(field) => match field.reference.shape() {
                Shape::List => field.fill_list(event, bits),
                shape => field.fill(event, shape, bits),
            },
        }
    }
}

impl Field {
    fn add(&mut self, test: &Test, number: u32) {
        if test.operator == Operator::Exists {
            self.exists.push(number);
            return;
        }
        let Some(pattern) = pattern_of(test) else { return };
        let is_member = matches!(test.operator, Operator::Equal | Operator::In | Operator::Intersects);
        match pattern {
            Pattern::Texts(texts) if is_member && test.quantifier.is_none() && !self.reference.is_list() => {
                for text in texts {
                    let numbers = self.texts.entry(text.into_boxed_slice()).or_default();
                    if !numbers.contains(&number) {
                        numbers.push(number);
                    }
                }
            }
            pattern => {
                let (operator, quantifier) = (test.operator, test.quantifier);
                let finder = match &pattern {
                    Pattern::Texts(texts)
                        if operator == Operator::Contains && quantifier.is_none() && texts.len() == 1 =>
                    {
                        texts.first().map(|text| Box::new(Finder::new(text).into_owned()))
                    }
                    _ => None,
                };
                self.others.push(Other { operator, quantifier, pattern, finder, number });
            }
        }
    }

    /// Of a field of one value, or of several of which any counts. Of both ends of a connection `!=` is true if
    /// neither is it.
    fn fill(&self, event: &impl Event, shape: Shape, bits: &mut [u64]) {
        let mut is_first = true;
        event.visit(&self.reference, &mut |value| {
            if let Value::Text(text) = value
                && let Some(numbers) = self.texts.get(text)
            {
                numbers.iter().for_each(|number| set(bits, *number));
            }
            for other in &self.others {
                let is = other.holds(value);
                if shape == Shape::Ends && other.operator == Operator::NotEqual && !is_first {
                    if !is {
                        clear(bits, other.number);
                    }
                } else if is {
                    set(bits, other.number);
                }
            }
            is_first = false;
        });
        if !is_first {
            self.exists.iter().for_each(|number| set(bits, *number));
        }
    }

    /// Of a list: `in` starts as true and `intersects` as false.
    fn fill_list(&self, event: &impl Event, bits: &mut [u64]) {
        self.exists.iter().for_each(|number| set(bits, *number));
        for other in &self.others {
            if holds_list(&[], other.operator, &other.pattern) {
                set(bits, other.number);
            }
        }
        event.visit(&self.reference, &mut |value| {
            for other in &self.others {
                let is = holds_list(&[value], other.operator, &other.pattern);
                match other.operator {
                    Operator::In if !is => clear(bits, other.number),
                    Operator::Intersects if is => set(bits, other.number),
                    _ => {}
                }
            }
        });
    }
}

fn set(bits: &mut [u64], number: u32) {
    if let Some(word) = bits.get_mut(number as usize / 64) {
        *word |= 1 << (number % 64);
    }
}

fn clear(bits: &mut [u64], number: u32) {
    if let Some(word) = bits.get_mut(number as usize / 64) {
        *word &= !(1 << (number % 64));
    }
}
