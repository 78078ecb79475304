//! Steps past what is known already: on every way to them the same was asked before and answered.

use super::{Probe, Program, Target};

/// What is known of the comparisons of some columns.
#[derive(Clone, Debug, Default)]
struct Facts(Vec<Fact>);

/// What is known of the comparisons of one column.
#[derive(Clone, Copy, Debug)]
struct Fact {
    column: u32,
    /// Those of which it is known whether they are true.
    mask: u64,
    /// Those that are.
    is: u64,
}

impl Facts {
    /// What came of `probe` is known.
    fn learn(&mut self, probe: Probe, is_any: bool) {
        // Of one of several it is not known which.
        if is_any && !probe.mask.is_power_of_two() {
            return;
        }
        let is = if is_any { !probe.flip } else { probe.flip } & probe.mask;
        match self.0.iter_mut().find(|fact| fact.column == probe.column) {
            Some(fact) => (fact.mask, fact.is) = (fact.mask | probe.mask, fact.is & !probe.mask | is),
            None => self.0.push(Fact { column: probe.column, mask: probe.mask, is }),
        }
    }

    /// What comes of `probe`, if that is known.
    fn say(&self, probe: Probe) -> Option<bool> {
        let Fact { mask, is, .. } = self.0.iter().find(|fact| fact.column == probe.column)?;
        match ((is ^ probe.flip) & probe.mask & mask != 0, probe.mask & !mask == 0) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }

    /// Keeps what the others say too.
    fn keep(&mut self, others: &Self) {
        self.0.retain_mut(|fact| {
            let other = others.0.iter().find(|other| other.column == fact.column);
            fact.mask &= other.map_or(0, |other| other.mask & !(fact.is ^ other.is));
            fact.is &= fact.mask;
            fact.mask != 0
        });
    }
}

/// Has every step go on where something is asked that is not known. Steps go on to those that were written before them.
pub(super) fn pass_by(program: &mut Program) {
    let mut known: Vec<Option<Facts>> = vec![None; program.steps.len()];
    program.start = go(program, &mut known, program.start, &Facts::default());
    for at in (0..program.steps.len()).rev() {
        let Some(facts) = known[at].take() else { continue };
        let step = program.steps[at];
        let mut then = |is_any: bool, target: Target| {
            let mut facts = facts.clone();
            facts.learn(step.probe, is_any);
            go(program, &mut known, target, &facts)
        };
        let (if_any, if_none) = (then(true, step.if_any), then(false, step.if_none));
        (program.steps[at].if_any, program.steps[at].if_none) = (if_any, if_none);
    }
}

/// Where to go on from `at` with these facts; they are told there.
fn go(program: &Program, known: &mut [Option<Facts>], mut at: Target, facts: &Facts) -> Target {
    while let Some(step) = program.steps.get(at.0 as usize)
        && let Some(is_any) = facts.say(step.probe)
    {
        at = if is_any { step.if_any } else { step.if_none };
    }
    // A match goes on to the next rule.
    let mut next = at;
    while next != Target::END && next.0 & Target::MATCH != 0 {
        next = program.rules[(next.0 & !Target::MATCH) as usize].1;
    }
    if let Some(there) = known.get_mut(next.0 as usize) {
        match there {
            Some(there) => there.keep(facts),
            None => *there = Some(facts.clone()),
        }
    }
    at
}
