//! All comparisons of a text with texts, at once.

use rustc_hash::FxHashMap;

use crate::rules::condition::Operator;
use crate::rules::typed::{Shape, Test};

/// Comparisons of one field with texts, where a look at a table answers them. Comparisons are bits.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Texts that some comparison asks for as a whole, by what [`Ends::mark`] says of them.
    whole: FxHashMap<u64, Vec<Whole>>,
    /// The lengths of these texts, a bit for each, and a bit of their marks: most values end here.
    lengths: u64,
    marks: u64,
    /// Comparisons that are true of every text but one.
    unequal: u64,
    starts: Edges,
    ends: Edges,
}

/// The comparisons that are decided by a text.
#[derive(Debug)]
struct Whole {
    text: Box<[u8]>,
    is: u64,
    is_not: u64,
}

/// Beginnings or ends that are asked for.
#[derive(Debug, Default)]
struct Edges {
    /// A bit for what two bytes near the edge can be: most values end here.
    marks: u64,
    all: Vec<Edge>,
}

/// A beginning or an end that is asked for.
#[derive(Debug)]
struct Edge {
    /// Its outermost eight bytes as a number.
    outer: u64,
    /// The bits of that number that are part of it.
    mask: u64,
    text: Box<[u8]>,
    is: u64,
}

impl Edges {
    /// `at`: which byte of a number of eight the bit is made of, together with the next.
    fn add(&mut self, text: Vec<u8>, outer: impl Fn(&[u8]) -> u64, at: usize, is: u64) {
        let mask = outer(&[0xff; 8][..text.len().min(8)]);
        let edge = Edge { outer: outer(&text), mask, text: text.into_boxed_slice(), is };
        self.marks |= if edge.text.len() < at + 2 { u64::MAX } else { edge_bit(edge.outer, at) };
        self.all.push(edge);
    }

    /// The comparisons that are true of a text with these outermost bytes of which `has` says that it has an edge.
    fn of(&self, outer: u64, at: usize, has: impl Fn(&[u8]) -> bool) -> u64 {
        if self.marks & edge_bit(outer, at) == 0 {
            return 0;
        }
        let may_be = self.all.iter().filter(|edge| (outer ^ edge.outer) & edge.mask == 0);
        may_be.filter(|edge| has(&edge.text)).fold(0, |is, edge| is | edge.is)
    }
}

/// Paths begin with a slash, which tells nothing: the two bytes behind the first do.
const BEHIND_FIRST: usize = 1;
const LAST: usize = 0;

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

    /// Adds the comparison of this bit, which [`Texts::take`] says yes of.
    pub(super) fn add(&mut self, operator: Operator, texts: Vec<Vec<u8>>, bit: u64) {
        match operator {
            Operator::StartsWith => {
                texts.into_iter().for_each(|text| self.starts.add(text, first, BEHIND_FIRST, bit));
            }
            Operator::EndsWith => texts.into_iter().for_each(|text| self.ends.add(text, last, LAST, bit)),
            _ => {
                let (is, is_not) = if operator == Operator::NotEqual { (0, bit) } else { (bit, 0) };
                self.unequal |= is_not;
                texts.into_iter().for_each(|text| self.add_whole(text, is, is_not));
            }
        }
    }

    fn add_whole(&mut self, text: Vec<u8>, is: u64, is_not: u64) {
        let mark = mark(&text, first(&text), last(&text));
        self.lengths |= length_bit(&text);
        self.marks |= mark_bit(mark);
        let alike = self.whole.entry(mark).or_default();
        match alike.iter_mut().find(|whole| *whole.text == *text) {
            Some(whole) => (whole.is, whole.is_not) = (whole.is | is, whole.is_not | is_not),
            None => alike.push(Whole { text: text.into_boxed_slice(), is, is_not }),
        }
    }

    /// Whether it has none.
    pub(super) fn is_empty(&self) -> bool {
        let Self { whole, unequal, starts, ends, .. } = self;
        whole.is_empty() && *unequal == 0 && starts.all.is_empty() && ends.all.is_empty()
    }

    /// The comparisons that are true of a text.
    pub(super) fn of(&self, text: &[u8]) -> u64 {
        let (first, last) = (first(text), last(text));
        let mut is = self.unequal;
        is |= self.starts.of(first, BEHIND_FIRST, |edge| text.starts_with(edge));
        is |= self.ends.of(last, LAST, |edge| text.ends_with(edge));
        let mark = mark(text, first, last);
        if self.lengths & length_bit(text) != 0 && self.marks & mark_bit(mark) != 0 {
            is = self.with_whole(is, mark, text);
        }
        is
    }

    /// These comparisons, and what the text as a whole says.
    fn with_whole(&self, is: u64, mark: u64, text: &[u8]) -> u64 {
        match self.whole.get(&mark).and_then(|alike| alike.iter().find(|whole| *whole.text == *text)) {
            Some(whole) => is & !whole.is_not | whole.is,
            None => is,
        }
    }
}

/// The first eight bytes of a text as a number, the first one lowest, with zeros behind a shorter one.
fn first(text: &[u8]) -> u64 {
    text.first_chunk().map_or_else(|| short(text), |first| u64::from_le_bytes(*first))
}

/// The last eight bytes of a text as a number, the last one lowest, with zeros before a shorter one.
fn last(text: &[u8]) -> u64 {
    text.last_chunk().map_or_else(
        || short(text).swap_bytes().checked_shr(64 - 8 * text.len() as u32).unwrap_or(0),
        |last| u64::from_be_bytes(*last),
    )
}

/// A text of less than eight bytes, as [`first`] has it: of two parts that may overlap.
fn short(text: &[u8]) -> u64 {
    let behind = |bytes: usize| 8 * (text.len() - bytes) as u32;
    if let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk()) {
        return u64::from(u32::from_le_bytes(*head)) | u64::from(u32::from_le_bytes(*tail)) << behind(4);
    }
    match (text.first_chunk(), text.last()) {
        (Some(head), Some(tail)) => u64::from(u16::from_le_bytes(*head)) | u64::from(*tail) << behind(1),
        (None, Some(only)) => u64::from(*only),
        _ => 0,
    }
}

/// The bit of a text's length; all that are long share one.
fn length_bit(text: &[u8]) -> u64 {
    1 << text.len().min(63)
}

/// Mixes bits so that the highest depend on all (the golden ratio, as a fraction of 2^64).
fn mix(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A number that unlike texts seldom share, of both ends and the length: what lies between is compared.
fn mark(text: &[u8], first: u64, last: u64) -> u64 {
    mix(mix(first) ^ last.wrapping_add(text.len() as u64))
}

fn mark_bit(mark: u64) -> u64 {
    1 << (mark >> 58)
}

/// A bit for two bytes of an edge.
fn edge_bit(outer: u64, at: usize) -> u64 {
    1 << (mix(outer >> (8 * at) & 0xffff) >> 58)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn edges_as_numbers(text in proptest::collection::vec(any::<u8>(), 0..20)) {
            let padded: Vec<u8> = text.iter().copied().chain([0; 8]).take(8).collect();
            prop_assert_eq!(first(&text).to_le_bytes().to_vec(), padded);
            let padded: Vec<u8> = text.iter().rev().copied().chain([0; 8]).take(8).collect();
            prop_assert_eq!(last(&text).to_le_bytes().to_vec(), padded);
        }
    }
}
