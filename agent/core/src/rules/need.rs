//! What an event must have for a rule to match it, as far as the kernel can tell: its filters.
//!
//! A condition becomes alternatives, each a few facts that have to be so; everything else of it is taken to be so. So
//! what passes is never less than what matches. Facts are those that the kernel side can test in a few
//! nanoseconds: how the call ended, how a file was opened, both ends of its path, the family
//! of a socket, what was returned.

use tarsier_abi::syscall::{
    ALTERNATIVES, Alternative, CALLS, CLASSES, Call, FILTERS, Filter, Plan, RECIPES, Subject, class,
};

use super::compile::{ByType, of_type};
use super::event_types::NAMES;
use super::facts::kinds;
use super::ruleset::{Ready, Ruleset};
use super::simplify::simplify;
use super::typed::Expr;
pub use stated::lets_pass;

mod atoms;
pub mod explain;
mod stated;
#[cfg(test)]
mod tests;

/// Facts that have to be so, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Need {
    /// How the lexical path begins.
    head: Vec<u8>,
    /// How it ends.
    tail: Vec<u8>,
    /// How the call must not have ended, and how the file must not have been opened: bits of [`class`].
    never: u32,
    /// The families of the socket; empty: any, or none.
    families: Vec<u16>,
    /// What was returned; empty: anything.
    returned: Vec<i64>,
    /// Only of a path that is not absolute and clean: those pass in any case.
    is_unclean: bool,
}

/// Most alternatives of a condition on the way; a part that has more says nothing.
const MOST: usize = 64;

impl Need {
    /// Both. None: they contradict each other.
    fn and(&self, other: &Self) -> Option<Self> {
        Some(Self {
            head: longer(&self.head, &other.head, |long, short| long.starts_with(short))?,
            tail: longer(&self.tail, &other.tail, |long, short| long.ends_with(short))?,
            never: self.never | other.never,
            families: common(&self.families, &other.families)?,
            returned: common(&self.returned, &other.returned)?,
            is_unclean: self.is_unclean || other.is_unclean,
        })
        .filter(|need| need.never.count_ones() < CLASSES as u32)
    }
}

/// The longer of two, if it agrees with the shorter.
fn longer(a: &[u8], b: &[u8], agree: fn(&[u8], &[u8]) -> bool) -> Option<Vec<u8>> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    agree(long, short).then(|| long.to_vec())
}

/// What is in both sets; an empty set is everything. None: nothing is.
fn common<T: Copy + PartialEq>(a: &[T], b: &[T]) -> Option<Vec<T>> {
    match (a, b) {
        ([], other) | (other, []) => Some(other.to_vec()),
        _ => {
            let both: Vec<T> = a.iter().copied().filter(|value| b.contains(value)).collect();
            (!both.is_empty()).then_some(both)
        }
    }
}

/// What has to be so for a condition to be true (`value`), or false. Each is enough.
fn needs(call: Call, expr: &Expr, value: bool) -> Vec<Need> {
    match expr {
        Expr::Constant(is) if *is == value => vec![Need::default()],
        Expr::Constant(_) => Vec::new(),
        Expr::Not(inner) => needs(call, inner, !value),
        Expr::And(parts) if value => {
            parts.iter().fold(vec![Need::default()], |all, part| both(&all, &needs(call, part, true)))
        }
        Expr::Or(parts) if !value => {
            parts.iter().fold(vec![Need::default()], |all, part| both(&all, &needs(call, part, false)))
        }
        Expr::And(parts) | Expr::Or(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(needs(call, part, value));
            }
            few(all)
        }
        // A comparison with what is missing is false, so what is not so says nothing.
        Expr::Test(test) if value => few(atoms::needs(call, test)),
        Expr::Test(_) => vec![Need::default()],
    }
}

/// One of the first and one of the second.
fn both(a: &[Need], b: &[Need]) -> Vec<Need> {
    if a.len() * b.len() > MOST {
        // The side that says more stands for both.
        let says =
            |needs: &[Need]| needs.iter().filter(|need| **need != Need::default()).count() == needs.len();
        return if says(a) { a.to_vec() } else { b.to_vec() };
    }
    few(a.iter().flat_map(|one| b.iter().filter_map(|other| one.and(other))).collect())
}

/// Each once; too many say nothing.
fn few(mut needs: Vec<Need>) -> Vec<Need> {
    if needs.contains(&Need::default()) {
        return vec![Need::default()];
    }
    let mut kept: Vec<Need> = Vec::with_capacity(needs.len());
    for need in needs.drain(..) {
        if !kept.contains(&need) {
            kept.push(need);
        }
    }
    if kept.len() > MOST { vec![Need::default()] } else { kept }
}

/// The filter of a call of which one of these conditions has to be true. None: everything has to pass.
pub fn filter(call: Call, conditions: &[Expr]) -> Option<Filter> {
    let mut alternatives = alternatives(call, conditions);
    while alternatives.len() > ALTERNATIVES {
        merge(&mut alternatives);
    }
    // The fewer the faster.
    let all = alternatives.clone();
    alternatives.retain(|(alternative, classes)| {
        !all.iter().any(|(other, others)| {
            other != alternative && classes & !others == 0 && follows(alternative, other)
        })
    });
    if alternatives.iter().any(|(alternative, classes)| {
        *alternative == Alternative::default() && *classes == (1 << CLASSES) - 1
    }) {
        return None;
    }
    let mut filter = Filter::NOTHING;
    for (place, (alternative, classes)) in alternatives.iter().enumerate() {
        filter.alternatives[place] = *alternative;
        let begins_like_paths = (alternative.head ^ u64::from(b'/')) & alternative.head_mask & 0xff == 0;
        filter.of_any_end |= u32::from(alternative.tail_mask == 0 && begins_like_paths) << place;
        for (class, bits) in filter.by_class.iter_mut().enumerate() {
            *bits |= (classes >> class & 1) << place;
        }
    }
    Some(filter)
}

/// What has to be so for one of these conditions to be true: alternatives and the classes they are for, as many as there are.
fn alternatives(call: Call, conditions: &[Expr]) -> Vec<(Alternative, u32)> {
    let subject = RECIPES[call as usize].subject();
    let mut alternatives: Vec<(Alternative, u32)> = Vec::new();
    for need in conditions.iter().flat_map(|expr| needs(call, expr, true)) {
        let classes = !need.never & ((1 << CLASSES) - 1);
        for alternative in of_need(&need, subject) {
            match alternatives.iter_mut().find(|(known, _)| *known == alternative) {
                Some((_, known)) => *known |= classes,
                None => alternatives.push((alternative, classes)),
            }
        }
    }
    alternatives
}

/// A need as the kernel tests it.
fn of_need(need: &Need, subject: Subject) -> Vec<Alternative> {
    match subject {
        Subject::Outcome => vec![Alternative::default()],
        // Those pass without being asked, if their class does: for no other path this holds.
        Subject::Path if need.is_unclean => {
            vec![Alternative { head_mask: 0xff, ..Alternative::ANYTHING }]
        }
        Subject::Path => {
            let (head, head_mask) = first_bytes(&need.head);
            let (tail, tail_mask) = last_bytes(&need.tail);
            vec![Alternative { head, head_mask, tail, tail_mask }]
        }
        Subject::Descriptor => {
            let families: Vec<Option<u16>> = or_any(&need.families);
            let returned: Vec<Option<i64>> = or_any(&need.returned);
            let mut all = Vec::new();
            for family in &families {
                for ret in &returned {
                    all.push(Alternative {
                        head: family.unwrap_or(0).into(),
                        head_mask: family.map_or(0, |_| u16::MAX).into(),
                        tail: ret.unwrap_or(0).cast_unsigned(),
                        tail_mask: ret.map_or(0, |_| u64::MAX),
                    });
                }
            }
            all
        }
    }
}

fn or_any<T: Copy>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() { vec![None] } else { values.iter().copied().map(Some).collect() }
}

/// The first eight bytes, and which of them there are.
fn first_bytes(text: &[u8]) -> (u64, u64) {
    let mut bytes = [0; 8];
    let len = text.len().min(8);
    bytes[..len].copy_from_slice(&text[..len]);
    (u64::from_le_bytes(bytes), low_ones(len))
}

/// The last eight bytes, and which of them there are.
fn last_bytes(text: &[u8]) -> (u64, u64) {
    let mut bytes = [0; 8];
    let len = text.len().min(8);
    bytes[8 - len..].copy_from_slice(&text[text.len() - len..]);
    (u64::from_le_bytes(bytes), low_ones(len).checked_shl(64 - 8 * len as u32).unwrap_or(0))
}

fn low_ones(bytes: usize) -> u64 {
    u64::MAX.checked_shr(64 - 8 * bytes as u32).unwrap_or(0)
}

/// Makes one alternative of two: that which keeps most of what they say.
fn merge(alternatives: &mut Vec<(Alternative, u32)>) {
    let mut best: Option<(u32, usize, usize, Alternative)> = None;
    for a in 0..alternatives.len() {
        for b in a + 1..alternatives.len() {
            let joined = join(&alternatives[a].0, &alternatives[b].0);
            let says = joined.head_mask.count_ones() + joined.tail_mask.count_ones();
            if best.as_ref().is_none_or(|(most, ..)| says > *most) {
                best = Some((says, a, b, joined));
            }
        }
    }
    let Some((_, a, b, joined)) = best else { return };
    let (_, classes) = alternatives.swap_remove(b);
    alternatives[a].0 = joined;
    alternatives[a].1 |= classes;
}

/// Whether one alternative holds wherever another does.
fn follows(from: &Alternative, this: &Alternative) -> bool {
    join(from, this) == *this
}

/// What two alternatives have in common, in whole bytes.
fn join(a: &Alternative, b: &Alternative) -> Alternative {
    let same = |a: u64, b: u64, mask: u64| {
        let differ = (a ^ b) & mask;
        let bytes = (0..8).filter(|byte| differ >> (8 * byte) & 0xff == 0).map(|byte| 0xff_u64 << (8 * byte));
        bytes.sum::<u64>() & mask
    };
    let head_mask = same(a.head, b.head, a.head_mask & b.head_mask);
    let tail_mask = same(a.tail, b.tail, a.tail_mask & b.tail_mask);
    Alternative { head: a.head & head_mask, head_mask, tail: a.tail & tail_mask, tail_mask }
}

/// What a rule says of events of a type. None: it does not run, or is not about them.
fn conditions_of(ready: &Ready, kind: usize) -> Option<Expr> {
    let name = NAMES[kind];
    let runs = ready.rule.is_enabled && ready.can_match();
    let is_about = runs && ready.events.iter().any(|event| event == name);
    is_about.then(|| simplify(&of_type(&ready.expr, name)).expr)
}

/// The filters of all calls for these rules.
pub fn plan(set: &Ruleset) -> Plan {
    let by_type = ByType::new(set);
    let mut plan = Plan::EVERYTHING;
    let mut used: Vec<Filter> = Vec::new();
    for call in Call::ALL {
        let conditions: Vec<Expr> = kinds(call).flat_map(|kind| by_type.of(kind)).cloned().collect();
        if conditions.is_empty() {
            continue;
        }
        let Some(filter) = filter(call, &conditions) else { continue };
        let place = used.iter().position(|known| *known == filter).unwrap_or_else(|| {
            used.push(filter);
            used.len() - 1
        });
        // What finds no room passes.
        if place < FILTERS {
            plan.filters[place] = filter;
            plan.of_call[call as usize] = place as u8 + 1;
        }
    }
    plan
}

const _: () = assert!(CALLS <= 128 && FILTERS < 255 && class(3, true) < CLASSES);
