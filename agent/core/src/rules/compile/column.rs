//! All comparisons of one field, made with one look at it.

use memchr::memmem::Finder;

use super::pattern_of;
use super::texts::Texts;
use crate::rules::compare::{Pattern, Value, holds, holds_list, ordered};
use crate::rules::condition::{Operator, Quantifier};
use crate::rules::evaluate::{self, Event};
use crate::rules::fields::Kind;
use crate::rules::typed::{Expr, FieldRef, Operand, Right, Shape, Test};

/// The comparisons of one field.
#[derive(Debug)]
pub(super) enum Column {
    /// One value that is a text, and nothing but tables for it.
    Text(FieldRef, Box<Texts>),
    /// One value that is true or false: the comparisons that are true of either.
    Truth(FieldRef, [Vec<u32>; 2]),
    /// Of a field with what rules say.
    Field(Box<Field>),
    /// Of what is made from fields, or with another value of the event: as the plain evaluation does it.
    Plain(Vec<(Expr, u32)>),
}

/// Comparisons of a field with what rules say.
#[derive(Debug)]
pub(super) struct Field {
    reference: FieldRef,
    /// Of the field.
    shape: Shape,
    /// Of texts.
    texts: Texts,
    /// Of truths: the comparisons that are true of false, and of true.
    truths: [Vec<u32>; 2],
    /// Of numbers, each with one number.
    numbers: Vec<Bound>,
    /// True where there is a value.
    exists: Vec<u32>,
    /// All else.
    others: Vec<Other>,
}

/// A comparison with one number.
#[derive(Debug)]
struct Bound {
    with: i128,
    operator: Operator,
    number: u32,
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
    /// A column of comparisons that look at the same, with their numbers.
    pub(super) fn new(tests: &[(u32, &Test)]) -> Self {
        match tests.first().map(|(_, test)| (&test.left, &test.right)) {
            Some((Operand::Field(reference), right)) if !matches!(right, Right::Operand(_)) => {
                let mut field = Field::new(reference);
                tests.iter().for_each(|(number, test)| field.add(test, *number));
                field.column()
            }
            _ => Self::Plain(
                tests.iter().map(|(number, test)| (Expr::Test((*test).clone()), *number)).collect(),
            ),
        }
    }

    /// Makes all comparisons: sets those that are true. None is set before.
    pub(super) fn fill(&self, event: &impl Event, is_true: &mut [bool]) {
        match self {
            Self::Text(reference, texts) => event.visit(reference, &mut |value| {
                if let Value::Text(text) = value {
                    texts.fill(text, is_true);
                }
            }),
            Self::Truth(reference, truths) => event.visit(reference, &mut |value| {
                if let Value::Bool(value) = value {
                    truths[usize::from(value)].iter().for_each(|number| set(is_true, *number));
                }
            }),
            _ => self.fill_other(event, is_true),
        }
    }

    /// Of columns that are asked less often: apart, so that the others take less time.
    #[inline(never)]
    fn fill_other(&self, event: &impl Event, is_true: &mut [bool]) {
        match self {
            Self::Text(..) | Self::Truth(..) => {}
            Self::Field(field) => match field.shape {
                Shape::List => field.fill_list(event, is_true),
                _ => field.fill(event, is_true),
            },
            Self::Plain(tests) => {
                for (_, number) in tests.iter().filter(|(test, _)| evaluate::evaluate(test, event)) {
                    set(is_true, *number);
                }
            }
        }
    }
}

impl Field {
    fn new(reference: &FieldRef) -> Self {
        Self {
            reference: reference.clone(),
            shape: reference.shape(),
            texts: Texts::default(),
            truths: Default::default(),
            numbers: Vec::new(),
            exists: Vec::new(),
            others: Vec::new(),
        }
    }

    /// The shortest way to make its comparisons.
    fn column(self) -> Column {
        let is_table = self.shape == Shape::One && self.exists.is_empty() && self.others.is_empty();
        let (has_truths, has_numbers) =
            (self.truths.iter().any(|numbers| !numbers.is_empty()), !self.numbers.is_empty());
        match (is_table, has_truths || self.reference.field.kind == Kind::Bool, has_numbers) {
            (true, true, false) if self.texts.is_empty() => Column::Truth(self.reference, self.truths),
            (true, false, false) => Column::Text(self.reference, Box::new(self.texts)),
            _ => Column::Field(Box::new(self)),
        }
    }

    fn add(&mut self, test: &Test, number: u32) {
        if test.operator == Operator::Exists {
            self.exists.push(number);
            return;
        }
        let Some(pattern) = pattern_of(test) else { return };
        match pattern {
            Pattern::Texts(texts) if Texts::take(test, self.shape, texts.len()) => {
                self.texts.add(test.operator, texts, number);
            }
            Pattern::Bools(_) if self.shape == Shape::One => {
                for value in [false, true] {
                    if holds(Value::Bool(value), test.operator, test.quantifier, &pattern) {
                        self.truths[usize::from(value)].push(number);
                    }
                }
            }
            Pattern::Numbers(numbers)
                if self.shape == Shape::One && test.quantifier.is_none() && numbers.len() == 1 =>
            {
                let bound = |with| Bound { with, operator: test.operator, number };
                self.numbers.extend(numbers.into_iter().map(bound));
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
    fn fill(&self, event: &impl Event, is_true: &mut [bool]) {
        let mut is_first = true;
        event.visit(&self.reference, &mut |value| {
            match value {
                Value::Text(text) => self.texts.fill(text, is_true),
                Value::Bool(value) => {
                    self.truths[usize::from(value)].iter().for_each(|number| set(is_true, *number));
                }
                Value::Number(value) => {
                    for bound in &self.numbers {
                        if ordered(value.cmp(&bound.with), bound.operator) {
                            set(is_true, bound.number);
                        }
                    }
                }
                Value::Address(_) => {}
            }
            for other in &self.others {
                let is = other.holds(value);
                if self.shape == Shape::Ends && other.operator == Operator::NotEqual && !is_first {
                    if !is {
                        clear(is_true, other.number);
                    }
                } else if is {
                    set(is_true, other.number);
                }
            }
            is_first = false;
        });
        if !is_first {
            self.exists.iter().for_each(|number| set(is_true, *number));
        }
    }

    /// Of a list: `in` starts as true and `intersects` as false.
    fn fill_list(&self, event: &impl Event, is_true: &mut [bool]) {
        self.exists.iter().for_each(|number| set(is_true, *number));
        for other in &self.others {
            if holds_list(&[], other.operator, &other.pattern) {
                set(is_true, other.number);
            }
        }
        event.visit(&self.reference, &mut |value| {
            for other in &self.others {
                let is = holds_list(&[value], other.operator, &other.pattern);
                match other.operator {
                    Operator::In if !is => clear(is_true, other.number),
                    Operator::Intersects if is => set(is_true, other.number),
                    _ => {}
                }
            }
        });
    }
}

/// A comparison is true.
pub(super) fn set(is_true: &mut [bool], number: u32) {
    if let Some(is) = is_true.get_mut(number as usize) {
        *is = true;
    }
}

/// A comparison is not true after all.
pub(super) fn clear(is_true: &mut [bool], number: u32) {
    if let Some(is) = is_true.get_mut(number as usize) {
        *is = false;
    }
}
