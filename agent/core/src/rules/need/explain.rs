//! What a plan says, in words, and whose doing it is that a call is not filtered.
//!
//! Ways to pass are read back out of the plan's bits, so they are those of the kernel and not what rules may have meant.

use std::fmt::{self, Display, Formatter};

use tarsier_abi::syscall::{
    Alternative, Call, FAMILY, Filter, NO_ARGUMENT, PEER_PORT, Plan, RECIPES, Subject, WRITES, class,
};

use super::{IP, conditions_of};
use crate::event::syscall::{AF_INET, AF_INET6, AF_UNIX};
use crate::rules::facts::kinds;
use crate::rules::getters::errors::error;
use crate::rules::ruleset::{Ready, Ruleset};
use crate::rules::text::Span;
use crate::rules::typed::{Expr, Operand};

#[cfg(test)]
mod tests;

/// What becomes of a call that rules are about.
#[derive(Clone, Debug)]
pub struct Told {
    /// The call.
    pub call: Call,
    /// The rules that are about it, in the order of the set.
    pub rules: Vec<Asking>,
    /// What passes.
    pub passes: Passes,
    /// Rules that can match what the kernel can test nothing of; of a call that is filtered by more than how it ended or how a
    /// file was opened, those that can match what it can test no more of than that.
    pub untested: Vec<Untested>,
}

/// A rule that is about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// Its position in the set.
    pub rule: usize,
    /// The alternatives that it brings, before any are merged.
    pub alternatives: usize,
}

/// What of a call passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passes {
    /// What is so in one of these ways; none at all: nothing. A way that is part of another is left out.
    Ways(Vec<Way>),
    /// Everything, since a rule can match what the kernel can test nothing of.
    ForRules,
    /// Everything, since what all rules together leave out is nothing that can be tested, or what they name is too much for one
    /// filter.
    Together,
    /// Everything: there is a filter, but a plan has no room for it.
    NoRoom,
}

/// How a call can pass: all of it has to be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// How the file was opened: by access mode (`O_ACCMODE`). [`None`]: that is not asked, or the call opens nothing.
    pub access: Option<[bool; 4]>,
    /// How the call ended. [`None`]: either way.
    pub failed: Option<bool>,
    /// What it was about.
    pub about: About,
}

/// What a call was about. A `?` in a text stands for any byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Anything.
    Anything,
    /// A path that begins and ends so; an empty text says nothing.
    Path {
        /// Its first bytes, eight at most.
        begins: String,
        /// Its last bytes, eight at most.
        ends: String,
    },
    /// A path that is relative or not clean.
    UncleanPath,
    /// A socket of this family, whose peer has this port, and what was returned; [`None`]: any.
    Descriptor {
        /// The family of its socket.
        family: Option<String>,
        /// The port of its peer; of one that knows none, any.
        port: Option<String>,
        /// What the call returned.
        returned: Option<String>,
    },
    /// What was asked for, and what was returned; [`None`]: anything.
    Choice {
        /// The number that was passed.
        chosen: Option<String>,
        /// What the call returned.
        returned: Option<String>,
    },
}

/// A rule that can match what the kernel can test too little of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untested {
    /// Its position in the set.
    pub rule: usize,
    /// The ways in which it can; each is enough. None: it names so many different things that what they have in common says
    /// nothing.
    pub branches: Vec<Vec<Leaf>>,
}

/// A comparison that the kernel cannot make, or that says nothing of this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Where it stands.
    pub span: Span,
    /// What it is about.
    pub field: &'static str,
    /// It must not be true.
    pub is_negated: bool,
}

/// What `plan`, which was made for `set`, does with every call that rules are about.
pub fn explain(set: &Ruleset, plan: &Plan) -> Vec<Told> {
    Call::ALL.into_iter().filter_map(|call| told(set, plan, call)).collect()
}

fn told(set: &Ruleset, plan: &Plan, call: Call) -> Option<Told> {
    let about: Vec<(usize, Vec<Expr>)> = set
        .rules
        .iter()
        .enumerate()
        .map(|(place, ready)| (place, of_rule(ready, call)))
        .filter(|(_, conditions)| !conditions.is_empty())
        .collect();
    if about.is_empty() {
        return None;
    }
    let filter = usize::from(plan.of_call[call as usize]).checked_sub(1).and_then(|at| plan.filters.get(at));
    let is_filtered = |conditions: &[Expr]| super::filter(call, conditions).is_some();
    let passes = match filter {
        Some(filter) => Passes::Ways(ways(call, filter)),
        None if about.iter().any(|(_, conditions)| !is_filtered(conditions)) => Passes::ForRules,
        None => {
            let all: Vec<Expr> = about.iter().flat_map(|(_, conditions)| conditions).cloned().collect();
            if is_filtered(&all) { Passes::NoRoom } else { Passes::Together }
        }
    };
    let enough = if filter.is_some() && RECIPES[call as usize].subject() != Subject::Outcome {
        Enough::More
    } else {
        Enough::Manner
    };
    let untested = about.iter().filter(|(_, conditions)| !enough.says(call, conditions));
    let untested = untested.map(|(rule, conditions)| Untested {
        rule: *rule,
        branches: conditions.iter().flat_map(|expr| branches(call, expr, enough)).collect(),
    });
    let untested = untested.collect();
    let asking = |(rule, conditions): (usize, Vec<Expr>)| Asking {
        rule,
        alternatives: super::alternatives(call, &conditions).len(),
    };
    Some(Told { call, rules: about.into_iter().map(asking).collect(), passes, untested })
}

/// What a rule says of the types of events that a call is; nothing: it is not about it.
fn of_rule(ready: &Ready, call: Call) -> Vec<Expr> {
    let says = kinds(call).filter_map(|kind| conditions_of(ready, kind));
    says.filter(|expr| !matches!(expr, Expr::Constant(false))).collect()
}

/// How much the kernel has to test of what can match.
#[derive(Clone, Copy)]
enum Enough {
    /// How the call ended, or the file was opened.
    Manner,
    /// What it was about.
    More,
}

impl Enough {
    /// Whether the filter of these conditions tests that much.
    fn says(self, call: Call, conditions: &[Expr]) -> bool {
        let Some(filter) = super::filter(call, conditions) else { return false };
        match self {
            Self::Manner => true,
            Self::More => ways(call, &filter).iter().all(|way| way.about != About::Anything),
        }
    }
}

/// The ways to be true of which the kernel can test too little.
fn branches(call: Call, expr: &Expr, enough: Enough) -> Vec<Vec<Leaf>> {
    let says = |expr: &Expr| enough.says(call, std::slice::from_ref(expr));
    if says(expr) {
        return Vec::new();
    }
    match expr {
        Expr::Or(parts) => parts.iter().flat_map(|part| branches(call, part, enough)).collect(),
        // What is not filtered though a branch of it says something is so because of its other branches.
        Expr::And(parts) => {
            let spoiled = parts.iter().filter(|part| match part {
                Expr::Or(branches) => branches.iter().any(says),
                _ => false,
            });
            let found: Vec<_> = spoiled.flat_map(|part| branches(call, part, enough)).collect();
            if found.is_empty() { vec![leaves(expr)] } else { found }
        }
        _ => vec![leaves(expr)],
    }
}

fn leaves(expr: &Expr) -> Vec<Leaf> {
    fn add(expr: &Expr, is_negated: bool, all: &mut Vec<Leaf>) {
        match expr {
            Expr::Constant(_) => {}
            Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| add(part, is_negated, all)),
            Expr::Not(inner) => add(inner, !is_negated, all),
            Expr::Test(test) => all.push(Leaf { span: test.span, field: field(&test.left), is_negated }),
        }
    }
    let mut all = Vec::new();
    add(expr, false, &mut all);
    all
}

/// The field that an operand is about, the first of several; empty: it is text.
fn field(operand: &Operand) -> &'static str {
    match operand {
        Operand::Field(reference) => reference.field.name,
        Operand::Literal(_) => "",
        Operand::Transformed { arguments, .. } => {
            arguments.iter().map(field).find(|name| !name.is_empty()).unwrap_or_default()
        }
    }
}

/// What passes a filter of this call.
pub fn ways(call: Call, filter: &Filter) -> Vec<Way> {
    let recipe = &RECIPES[call as usize];
    // The access modes that this call can have.
    let modes: &[u32] = match recipe.flags {
        NO_ARGUMENT => &[0],
        WRITES => &[1],
        _ => &[0, 1, 2, 3],
    };
    let mut all = Vec::new();
    for (place, alternative) in filter.alternatives.iter().enumerate() {
        let is_for = |access: u32, failed: bool| {
            let bits = filter.by_class[class(access, failed)];
            bits >> place & 1 != 0 && !is_part_of_another(filter, bits, place)
        };
        let of = |failed: bool| [0, 1, 2, 3].map(|access| modes.contains(&access) && is_for(access, failed));
        let (succeeded, failed) = (of(false), of(true));
        let about = about(recipe.subject(), alternative);
        let mut add = |access: [bool; 4], failed: Option<bool>| {
            let is_any = modes.iter().all(|mode| access[*mode as usize]);
            if access.contains(&true) {
                all.push(Way { access: (!is_any).then_some(access), failed, about: about.clone() });
            }
        };
        if succeeded == failed {
            add(succeeded, None);
        } else {
            add(succeeded, Some(false));
            add(failed, Some(true));
        }
    }
    all
}

/// Whether what passes by an alternative passes by another one of `bits` as well; of two that are the same, the first stays.
fn is_part_of_another(filter: &Filter, bits: u32, place: usize) -> bool {
    let has = |wide: (u64, u64), narrow: (u64, u64)| {
        wide.1 & narrow.1 == wide.1 && (wide.0 ^ narrow.0) & wide.1 == 0
    };
    let holds = |wide: &Alternative, narrow: &Alternative| {
        has((wide.head, wide.head_mask), (narrow.head, narrow.head_mask))
            && has((wide.tail, wide.tail_mask), (narrow.tail, narrow.tail_mask))
    };
    let own = &filter.alternatives[place];
    filter.alternatives.iter().enumerate().any(|(other, alternative)| {
        let is_asked = other != place && bits >> other & 1 != 0;
        is_asked && holds(alternative, own) && (other < place || !holds(own, alternative))
    })
}

fn about(subject: Subject, alternative: &Alternative) -> About {
    let Alternative { head, head_mask, tail, tail_mask } = *alternative;
    match subject {
        Subject::Path if head_mask & 0xff != 0 && head & 0xff == 0 => About::UncleanPath,
        Subject::Path if head_mask != 0 || tail_mask != 0 => {
            let (begins, ends) = (text(head, head_mask), text(tail, tail_mask));
            About::Path {
                begins: begins.trim_end_matches(ANY).to_owned(),
                ends: ends.trim_start_matches(ANY).to_owned(),
            }
        }
        Subject::Descriptor if head_mask != 0 || tail_mask != 0 => About::Descriptor {
            family: (head_mask & FAMILY != 0).then(|| family(head & FAMILY, head_mask & FAMILY)),
            port: (head_mask & PEER_PORT != 0).then(|| {
                let shift = PEER_PORT.trailing_zeros();
                masked((head & PEER_PORT) >> shift, (head_mask & PEER_PORT) >> shift, u16::MAX.into())
            }),
            returned: returned(tail, tail_mask),
        },
        Subject::Choice if head_mask != 0 || tail_mask != 0 => About::Choice {
            chosen: (head_mask != 0).then(|| masked(head, head_mask, u32::MAX.into())),
            returned: returned(tail, tail_mask),
        },
        _ => About::Anything,
    }
}

/// Stands for a byte that may be any.
const ANY: char = '?';

/// Eight bytes, the first one lowest.
fn text(bits: u64, mask: u64) -> String {
    let bytes = bits.to_le_bytes().into_iter().zip(mask.to_le_bytes());
    let shown = bytes.map(|(byte, mask)| match (mask, byte) {
        (0, _) => ANY.to_string(),
        (_, b'?') => r"\x3f".to_owned(),
        (_, byte) => byte.escape_ascii().to_string(),
    });
    shown.collect()
}

fn family(bits: u64, mask: u64) -> String {
    match u16::try_from(bits) {
        _ if (bits, mask) == IP => "IP".to_owned(),
        Ok(family) if mask == FAMILY => match family {
            AF_INET => "IPv4".to_owned(),
            AF_INET6 => "IPv6".to_owned(),
            AF_UNIX => "unix".to_owned(),
            other => format!("family {other}"),
        },
        _ => format!("family {}", masked(bits, mask, FAMILY)),
    }
}

/// What was returned: an error by its name.
fn returned(bits: u64, mask: u64) -> Option<String> {
    let value = bits.cast_signed();
    match mask {
        0 => None,
        u64::MAX => Some(error(value).map_or_else(|| value.to_string(), str::to_owned)),
        _ => Some(masked(bits, mask, u64::MAX)),
    }
}

/// A number of which only some bits count, all of them if the mask is `whole`.
fn masked(bits: u64, mask: u64, whole: u64) -> String {
    if mask == whole { bits.to_string() } else { format!("{bits:#x} in the bits {mask:#x}") }
}

impl Way {
    /// How the file was opened and the call ended. [`None`]: that is not asked.
    pub fn manner(&self) -> Option<String> {
        let outcome = self.failed.map(|failed| if failed { "failed" } else { "succeeded" });
        match (self.access.map(opened), outcome) {
            (Some(opened), Some(outcome)) => Some(format!("{opened} and {outcome}")),
            (one, other) => one.or(other).map(str::to_owned),
        }
    }
}

impl Display for Way {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.manner(), &self.about) {
            (Some(manner), About::Anything) => f.write_str(&manner),
            (Some(manner), about) => write!(f, "{manner} and {about}"),
            (None, about) => about.fmt(f),
        }
    }
}

/// Access modes: 0 reads, 1 writes, 2 does both, and 3 is for calls on the descriptor alone.
fn opened(access: [bool; 4]) -> &'static str {
    match access {
        [true, false, true, _] => "opened for reading",
        [false, true, true, _] => "opened for writing",
        [true, false, false, _] => "opened for reading only",
        [false, true, false, _] => "opened for writing only",
        [false, false, true, _] => "opened for reading and writing",
        [true, true, _, _] => "opened for one of both",
        [false, false, false, _] => "opened for neither reading nor writing",
    }
}

impl Display for About {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anything => f.write_str("anything"),
            Self::UncleanPath => f.write_str("path is relative or not clean"),
            Self::Path { begins, ends } => match (begins.is_empty(), ends.is_empty()) {
                (true, _) => write!(f, "path ends with {ends}"),
                (_, true) => write!(f, "path begins with {begins}"),
                _ => write!(f, "path begins with {begins} and ends with {ends}"),
            },
            Self::Descriptor { family, port, returned } => {
                let family = family.as_ref().map(|family| format!("{family} socket"));
                let port = port.as_ref().map(|port| format!("peer's port {port} or none"));
                let returned = returned.as_ref().map(|returned| format!("returned {returned}"));
                f.write_str(&[family, port, returned].into_iter().flatten().collect::<Vec<_>>().join(" and "))
            }
            Self::Choice { chosen, returned } => {
                let chosen = chosen.as_ref().map(|chosen| format!("asked for {chosen}"));
                let returned = returned.as_ref().map(|returned| format!("returned {returned}"));
                f.write_str(&[chosen, returned].into_iter().flatten().collect::<Vec<_>>().join(" and "))
            }
        }
    }
}
