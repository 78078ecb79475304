//! Rules that can be worked with: everything about them is known and fits.

use rustc_hash::FxHashSet;

use super::check;
use super::event_set::{EventSet, event_set};
use super::format::{self, Format};
use super::load::{self, Source, Version};
use super::problem::{Code, Problem};
use super::rule::Rule;
use super::simplify::{Contradiction, simplify};
use super::typed::Expr;

/// More types of events than this make a rule expensive.
const MANY_EVENT_TYPES: usize = 100;

/// All rules of some files.
#[derive(Clone, Debug, Default)]
pub struct Ruleset {
    /// In the order of their first definitions, those that are off too.
    pub rules: Vec<Ready>,
    /// Mistakes and warnings, in the order of files and places.
    pub problems: Vec<Problem>,
    /// The newest engine that a file asks for.
    pub required_engine: Option<Version>,
}

/// A rule that can be worked with.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The rule as it was loaded.
    pub rule: Rule,
    /// Its condition, without what cannot be.
    pub expr: Expr,
    /// Its output.
    pub output: Format,
    /// The types of events that it may match.
    pub events: EventSet,
    /// Parts of its condition that contradict others.
    pub contradictions: Vec<Contradiction>,
}

impl Ready {
    /// Whether it can match anything.
    pub fn can_match(&self) -> bool {
        !matches!(self.expr, Expr::Constant(false)) && !self.events.is_empty()
    }
}

impl Ruleset {
    /// Loads rule files, later ones changing what earlier ones say.
    pub fn load(sources: &[Source<'_>]) -> Self {
        let loaded = load::load(sources);
        let mut problems = loaded.problems;
        let rules = loaded.rules.into_iter().filter_map(|rule| ready(rule, &mut problems)).collect();
        // What is wrong in a macro is wrong in every rule that it is part of, and told once.
        let mut told = FxHashSet::default();
        problems.retain(|problem| told.insert((problem.span, problem.message.clone())));
        problems.sort_by_key(|problem| problem.span);
        Self { rules, problems, required_engine: loaded.required_engine }
    }

    /// Whether anything did not load.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }
}

fn ready(rule: Rule, problems: &mut Vec<Problem>) -> Option<Ready> {
    let (condition, output) = (check::check(&rule.condition), format::parse(&rule.output));
    let (expr, output) = match (condition, output) {
        (Ok((expr, odd)), Ok((output, out_of_date))) => {
            problems.extend(odd);
            problems.extend(out_of_date);
            (expr, output)
        }
        (condition, output) => {
            let errors = condition.err().into_iter().chain(output.err()).flatten();
            if rule.skips_unknown_fields {
                problems.extend(errors.map(|problem| Problem { code: Code::UnknownFilter, ..problem }));
            } else {
                problems.extend(errors);
            }
            return None;
        }
    };
    let simplified = simplify(&expr);
    let events = event_set(&simplified.expr);
    let ready =
        Ready { expr: simplified.expr, output, events, contradictions: simplified.contradictions, rule };
    problems.extend(remarks(&ready));
    Some(ready)
}

/// What is odd about a rule as a whole.
fn remarks(ready: &Ready) -> Option<Problem> {
    let rule = &ready.rule;
    if !ready.can_match() {
        let message = format!("the rule `{}` can never match", rule.name);
        let mut problem = Problem::new(Code::NeverMatches, rule.span, message);
        problem.help = Some(match ready.contradictions.first() {
            Some(told) => {
                problem.also.push((told.span, format!("this about `{}` …", told.field)));
                problem.also.push((told.with, "… is never true where this is".to_owned()));
                "change one of the two".to_owned()
            }
            None => "a part that everything depends on is an empty list, or a macro that stands for never"
                .to_owned(),
        });
        return Some(problem);
    }
    if ready.events.len() > MANY_EVENT_TYPES && rule.warns_of_event_types {
        let message = format!("the rule `{}` is tried for nearly every event", rule.name);
        let mut problem = Problem::new(Code::NoEventType, rule.span, message);
        problem.help = Some("begin its condition with `evt.type in (…)`".to_owned());
        return Some(problem);
    }
    None
}
