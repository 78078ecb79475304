//! Holds what came of a case against what was expected.

use serde::Serialize;
use serde_json::Value;
use tarsier_abi::syscall::Plan;
use tarsier_core::rules::coverage::{Coverage, Decider};
use tarsier_core::rules::evaluate::Given;
use tarsier_core::rules::load::Source;
use tarsier_core::rules::need::lets_pass;
use tarsier_core::rules::ruleset::Ruleset;
use tarsier_core::rules::suite::{Case, Expected, Happening, Spelled};
use tarsier_core::rules::text::Span;

use crate::pipeline::Told;
use crate::rules::{line_and_column, written};

/// Longest part of a condition that is shown, in characters.
const LONGEST: usize = 90;

/// What is not as it was expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// One sentence.
    pub message: String,
    /// Why, or what came in its place: lines.
    pub details: Vec<String>,
}

/// What a case is judged by.
pub(super) struct Judge<'a> {
    /// The file of tests.
    pub(super) tests: Source<'a>,
    /// Rule files.
    pub(super) rules: &'a [Source<'a>],
    pub(super) set: &'a Ruleset,
    /// To ask for what keeps a rule from matching.
    pub(super) coverage: &'a Coverage,
    /// What the kernel would let pass.
    pub(super) plan: &'a Plan,
}

impl Judge<'_> {
    /// Everything that is not as expected.
    pub(super) fn faults(&self, case: &Case, told: &[Told]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut explained = vec![false; told.len()];
        for expected in &case.expected {
            let fits: Vec<bool> = told.iter().map(|told| differences(expected, told).is_empty()).collect();
            let number = fits.iter().filter(|fits| **fits).count() as u64;
            explained.iter_mut().zip(&fits).for_each(|(explained, fits)| *explained |= fits);
            let name = &expected.rule.text;
            match expected.count {
                Some(count) if number > 0 && number != count => faults.push(Fault {
                    message: format!("{count} alerts of `{name}` were expected, and {number} came"),
                    details: Vec::new(),
                }),
                _ if number > 0 => {}
                _ => faults.push(self.missing(case, expected, told, &mut explained)),
            }
        }
        for (told, _) in told.iter().zip(&explained).filter(|(_, explained)| !**explained) {
            faults.push(Fault {
                message: format!("an alert of `{}` came, and none was expected", told.rule),
                details: vec![format!("output: {}", told.message)],
            });
        }
        faults.extend(self.dropped(case));
        faults
    }

    /// Events that a rule matches and that the kernel would have dropped: they cannot be, or a filter is wrong.
    fn dropped(&self, case: &Case) -> impl Iterator<Item = Fault> {
        let stated = case.happenings.iter().filter_map(|happening| match happening {
            Happening::Stated(event) if !lets_pass(self.plan, event) => Some(event),
            _ => None,
        });
        stated.flat_map(|event| {
            let rules = self.set.rules.iter().zip(&self.coverage.rules);
            let matching = rules.filter(|(ready, seen)| {
                let deciders = seen.deciders(event.kinds(), event.as_ref());
                ready.rule.is_enabled && deciders.is_some_and(|deciders| deciders.is_empty())
            });
            matching.map(|(ready, _)| Fault {
                message: format!("`{}` matches an event that never reaches it", ready.rule.name),
                details: vec![
                    format!("{}: the kernel drops what is like this event", at(&self.tests, event.span)),
                    "its fields contradict each other; `tarsier rules explain-plan` says what passes"
                        .to_owned(),
                ],
            })
        })
    }

    /// An alert that did not come: others of the rule did, or something kept it from matching.
    fn missing(&self, case: &Case, expected: &Expected, told: &[Told], explained: &mut [bool]) -> Fault {
        let name = &expected.rule.text;
        let mut details = Vec::new();
        for (told, explained) in told.iter().zip(explained).filter(|(told, _)| told.rule == *name) {
            *explained = true;
            details.extend(differences(expected, told));
        }
        if !details.is_empty() {
            return Fault { message: format!("`{name}` told something else than was expected"), details };
        }
        for happening in &case.happenings {
            match happening {
                Happening::Stated(event) => {
                    let place = self.set.rules.iter().position(|ready| ready.rule.name == *name);
                    let rule = place.and_then(|place| self.coverage.rules.get(place));
                    let Some(rule) = rule else { continue };
                    let at = at(&self.tests, event.span);
                    match rule.deciders(event.kinds(), event.as_ref()) {
                        None => details.push(format!("{at}: the rule is not about events of this type")),
                        Some(deciders) => {
                            details.push(format!("{at}: this event does not match, since"));
                            details.extend(deciders.iter().map(|decider| self.decider(decider)));
                        }
                    }
                }
                Happening::Capture(path) => {
                    details.push(format!("{}: no event of the capture matches", path.text));
                }
            }
        }
        Fault { message: format!("an alert of `{name}` was expected, and none came"), details }
    }

    fn decider(&self, decider: &Decider<'_>) -> String {
        let span = decider.test.span;
        let at = self.rules.get(span.source as usize).map_or_else(String::new, |source| at(source, span));
        let text = snippet(self.rules, span);
        let given = match &decider.left {
            Given::Nothing => "there is no value".to_owned(),
            Given::One(value) => format!("it is {:?}", String::from_utf8_lossy(&value.to_text())),
            Given::Several(values, _) => {
                let values: Vec<_> = values
                    .iter()
                    .map(|value| String::from_utf8_lossy(&value.to_text()).into_owned())
                    .collect();
                format!("they are {values:?}")
            }
        };
        format!("  {at}: `{text}` is {}: {given}", decider.was)
    }
}

/// Where something stands: file, line and column.
pub(super) fn at(source: &Source<'_>, span: Span) -> String {
    let (line, column) = line_and_column(source.text, span.start as usize);
    format!("{}:{line}:{column}", source.name)
}

/// What is written at a place of a rule file, on one line that is not too long.
pub(super) fn snippet(rules: &[Source<'_>], span: Span) -> String {
    let line = written(rules, span);
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// What of an alert is not as expected; none: it is the one, or of another rule and then that.
fn differences(expected: &Expected, told: &Told) -> Vec<String> {
    if told.rule != expected.rule.text {
        return vec![format!("rule: {}", told.rule)];
    }
    let mut differences = Vec::new();
    if let Some(output) = &expected.output
        && output.text.trim_end() != told.message.trim_end()
    {
        differences.push(format!("output expected: {}", output.text.trim_end()));
        differences.push(format!("output told:     {}", told.message.trim_end()));
    }
    for (key, value) in &expected.fields {
        let key = &key.text;
        match told.fields.get(key) {
            None => differences.push(format!("{key}: the rule's output does not have this field")),
            Some(told) if !is(told, value.as_ref()) => {
                let expected = value.as_ref().map_or("no value", |value| value.text.as_str());
                differences.push(format!("{key} expected: {expected}"));
                differences.push(format!("{key} told:     {}", shown(told)));
            }
            Some(_) => {}
        }
    }
    differences
}

fn is(told: &Value, expected: Option<&Spelled>) -> bool {
    match expected {
        None => told.is_null(),
        Some(expected) => !told.is_null() && shown(told) == expected.text,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "no value".to_owned(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
