//! What an event must have for a rule to match it, as far as the kernel can tell: its filters.
//!
//! A condition becomes alternatives, each a few facts that have to be so; everything else of it is taken to be so. So
//! what passes is never less than what matches. Facts are those that the kernel side can test in a few
//! nanoseconds: how the call ended, how a file was opened, both ends of its path, the family
//! of a socket and its peer's port, which of several things was asked for, what was returned.

use tarsier_abi::syscall::{
    ALTERNATIVES, Alternative, CALLS, CLASSES, Call, FAMILY, FILTERS, Filter, PEER_PORT, Plan, RECIPES,
    Subject, class, socket_head,
};

use super::compile::{ByType, of_type};
use super::event_types::NAMES;
use super::facts::kinds;
use super::ruleset::{Ready, Ruleset};
use super::simplify::simplify;
use super::typed::Expr;
use crate::event::syscall::{AF_INET, AF_INET6};
pub use stated::lets_pass;

mod atoms;
mod choice;
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
    /// The port of its peer; empty: any, or none.
    ports: Vec<u16>,
    /// What was asked for, as the call's argument has it; empty: anything.
    chosen: Vec<u32>,
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
            ports: common(&self.ports, &other.ports)?,
            chosen: common(&self.chosen, &other.chosen)?,
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
    // Those for calls of the first classes are found first: what reads, and did not fail.
    alternatives.sort_by_key(|(_, classes)| classes.trailing_zeros());
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
    for (class, in_common) in filter.in_common.iter_mut().enumerate() {
        let of_class = alternatives.iter().filter(|(_, classes)| classes >> class & 1 != 0);
        let of_class = of_class.map(|(alternative, _)| *alternative);
        // What is for unclean paths alone is not asked of others.
        let asked = of_class.clone().filter(|alternative| *alternative != UNCLEAN);
        let joined = asked.reduce(|all, other| join(&all, &other)).or_else(|| of_class.clone().next());
        *in_common = joined.unwrap_or(Alternative::ANYTHING);
    }
    Some(filter)
}

/// Of paths that are not absolute and clean: those pass without being asked, if their class does. For no other path this holds.
const UNCLEAN: Alternative = Alternative { head_mask: 0xff, ..Alternative::ANYTHING };

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
        Subject::Path if need.is_unclean => vec![UNCLEAN],
        Subject::Path => {
            let (head, head_mask) = first_bytes(&need.head);
            let (tail, tail_mask) = last_bytes(&need.tail);
            vec![Alternative { head, head_mask, tail, tail_mask }]
        }
        Subject::Descriptor => {
            let mut all = Vec::new();
            for (family, family_mask) in families(&need.families) {
                for port in or_any(&need.ports) {
                    let (port, port_mask) =
                        port.map_or((0, 0), |port| (socket_head(0, port).bits, PEER_PORT));
                    all.push((family | port, family_mask | port_mask));
                }
            }
            and_returned(&all, &need.returned)
        }
        Subject::Choice => {
            let chosen = or_any(&need.chosen).into_iter();
            let all: Vec<_> =
                chosen.map(|one| one.map_or((0, 0), |one| (one.into(), u32::MAX.into()))).collect();
            and_returned(&all, &need.returned)
        }
    }
}

/// Each of these heads and their masks, with each of what was returned.
fn and_returned(heads: &[(u64, u64)], returned: &[i64]) -> Vec<Alternative> {
    let mut all = Vec::new();
    for (head, head_mask) in heads {
        for ret in or_any(returned) {
            let (tail, tail_mask) = ret.map_or((0, 0), |ret| (ret.cast_unsigned(), u64::MAX));
            all.push(Alternative { head: *head, head_mask: *head_mask, tail, tail_mask });
        }
    }
    all
}

/// Families as bits and masks. Both of IP are one: they differ in one bit, which no other family has beside those of the older.
fn families(families: &[u16]) -> Vec<(u64, u64)> {
    let is_ip = |family: &&u16| matches!(**family, AF_INET | AF_INET6);
    let mut all: Vec<(u64, u64)> = Vec::new();
    let both = families.contains(&AF_INET) && families.contains(&AF_INET6);
    if both {
        all.push(IP);
    }
    all.extend(
        families.iter().filter(|family| !(both && is_ip(family))).map(|family| (u64::from(*family), FAMILY)),
    );
    if families.is_empty() { vec![(0, 0)] } else { all }
}

/// The bits that `AF_INET` and `AF_INET6` share, and no other family has alone.
const IP: (u64, u64) = (AF_INET as u64, FAMILY & !((AF_INET ^ AF_INET6) as u64));

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
