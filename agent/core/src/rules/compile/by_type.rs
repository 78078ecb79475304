//! What is left of each rule's condition for each type of event.
//!
//! Most rules say the same of all types that they are about (`open`, `openat`, `openat2`): that is simplified once.

use rustc_hash::FxHashMap;

use super::{is_of_type, of_type, tests_of_type};
use crate::rules::event_types::{self, NAMES};
use crate::rules::ruleset::Ruleset;
use crate::rules::simplify::simplify;
use crate::rules::typed::Expr;

/// The conditions of a set's rules that are on and can match.
pub(in crate::rules) struct ByType {
    /// Each once.
    pub(super) conditions: Vec<Expr>,
    /// By type of event: the positions in the set of the rules about it, in order, each with its condition's place.
    pub(super) of_kind: Vec<Vec<(u32, usize)>>,
}

impl ByType {
    pub(in crate::rules) fn new(set: &Ruleset) -> Self {
        let mut conditions: Vec<Expr> = Vec::new();
        let mut of_kind: Vec<Vec<(u32, usize)>> = vec![Vec::new(); NAMES.len()];
        for (place, ready) in set.rules.iter().enumerate() {
            if !ready.rule.is_enabled || !ready.can_match() {
                continue;
            }
            let (mut about, mut known) = (Vec::new(), FxHashMap::default());
            tests_of_type(&ready.expr, &mut about);
            for name in ready.events.iter() {
                let said: Vec<bool> = about.iter().map(|test| is_of_type(test, name)).collect();
                let condition = *known.entry(said).or_insert_with(|| {
                    conditions.push(simplify(&of_type(&ready.expr, name)).expr);
                    conditions.len() - 1
                });
                if let Some(rules) = event_types::find(name).and_then(|kind| of_kind.get_mut(kind)) {
                    rules.push((place as u32, condition));
                }
            }
        }
        Self { conditions, of_kind }
    }

    /// The conditions of the rules about a type of event.
    pub(in crate::rules) fn of(&self, kind: usize) -> impl Iterator<Item = &Expr> {
        let rules = self.of_kind.get(kind).into_iter().flatten();
        rules.filter_map(|(_, condition)| self.conditions.get(*condition))
    }
}
