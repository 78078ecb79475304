//! All comparisons of a text with texts, at once.

use rustc_hash::FxHashMap;

use super::column::{clear, set};
use crate::rules::condition::Operator;
use crate::rules::typed::{Shape, Test};

/// Comparisons of one field with texts, where a look at a table answers them.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Texts that some comparison asks for as a whole.
    whole: FxHashMap<Box<[u8]>, Whole>,
    /// The lengths of these texts, a bit for each: most values end here.
    lengths: u64,
    /// Comparisons that are true of every text but one.
    unequal: Vec<u32>,
    starts: Vec<Edge>,
    ends: Vec<Edge>,
}

/// The comparisons that are decided by a text.
#[derive(Debug, Default)]
struct Whole {
    is: Vec<u32>,
    is_not: Vec<u32>,
}

/// A beginning or an end that is asked for.
#[derive(Debug)]
struct Edge {
    /// Its outermost eight bytes as a number.
    outer: u64,
    /// The bits of that number that are part of it.
    mask: u64,
    text: Box<[u8]>,
    number: u32,
}

impl Edge {
    fn new(text: Vec<u8>, outer: impl Fn(&[u8]) -> u64, number: u32) -> Self {
        let mask = outer(&[0xff; 8][..text.len().min(8)]);
        Self { outer: outer(&text), mask, text: text.into_boxed_slice(), number }
    }

    /// Whether a text of which this is the outermost may have it.
    fn may_be(&self, outer: u64) -> bool {
        (outer ^ self.outer) & self.mask == 0
    }
}

impl Texts {
    /// Whether a table answers this comparison of a field of this shape with so many texts.
    pub(super) fn take(test: &Test, shape: Shape, texts: usize) -> bool {
        let is_plain = test.quantifier.is_none() && shape != Shape::List;
        is_plain
            && match test.operator {
                Operator::Equal | Operator::In | Operator::Intersects => true,
                Operator::StartsWith | Operator::EndsWith => true,
                // Of several values it is true if any is another one.
                Operator::NotEqual => shape == Shape::One && texts == 1,
                _ => false,
            }
    }

    /// Adds comparison `number`, which [`Texts::take`] says yes of.
    pub(super) fn add(&mut self, operator: Operator, texts: Vec<Vec<u8>>, number: u32) {
        match operator {
            Operator::StartsWith => {
                self.starts.extend(texts.into_iter().map(|text| Edge::new(text, first, number)));
            }
            Operator::EndsWith => {
                self.ends.extend(texts.into_iter().map(|text| Edge::new(text, last, number)));
            }
            _ => {
                if operator == Operator::NotEqual {
                    self.unequal.push(number);
                }
                for text in texts {
                    self.lengths |= length_bit(&text);
                    let whole = self.whole.entry(text.into_boxed_slice()).or_default();
                    let numbers =
                        if operator == Operator::NotEqual { &mut whole.is_not } else { &mut whole.is };
                    if !numbers.contains(&number) {
                        numbers.push(number);
                    }
                }
            }
        }
    }

    /// Whether it has none.
    pub(super) fn is_empty(&self) -> bool {
        let Self { whole, unequal, starts, ends, .. } = self;
        whole.is_empty() && unequal.is_empty() && starts.is_empty() && ends.is_empty()
    }

    /// Sets the comparisons that are true of a text.
    pub(super) fn fill(&self, text: &[u8], is_true: &mut [bool]) {
        self.unequal.iter().for_each(|number| set(is_true, *number));
        if self.lengths & length_bit(text) != 0
            && let Some(whole) = self.whole.get(text)
        {
            whole.is.iter().for_each(|number| set(is_true, *number));
            whole.is_not.iter().for_each(|number| clear(is_true, *number));
        }
        if !self.starts.is_empty() {
            let outer = first(text);
            let may_be = self.starts.iter().filter(|edge| edge.may_be(outer));
            may_be.filter(|edge| text.starts_with(&edge.text)).for_each(|edge| set(is_true, edge.number));
        }
        if !self.ends.is_empty() {
            let outer = last(text);
            let may_be = self.ends.iter().filter(|edge| edge.may_be(outer));
            may_be.filter(|edge| text.ends_with(&edge.text)).for_each(|edge| set(is_true, edge.number));
        }
    }
}

/// The first eight bytes of a text as a number, the first one lowest, with zeros behind a shorter one.
fn first(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(first) => u64::from_le_bytes(*first),
        None => text.iter().rev().fold(0, |outer, byte| outer << 8 | u64::from(*byte)),
    }
}

/// The last eight bytes of a text as a number, the last one lowest, with zeros before a shorter one.
fn last(text: &[u8]) -> u64 {
    match text.last_chunk() {
        Some(last) => u64::from_be_bytes(*last),
        None => text.iter().fold(0, |outer, byte| outer << 8 | u64::from(*byte)),
    }
}

/// The bit of a text's length; all that are long share one.
fn length_bit(text: &[u8]) -> u64 {
    1 << text.len().min(63)
}
