//! From rule files to rules.
//!
//! Falco's order of work: items of all files in their order; exceptions become text of the condition; lists are
//! written into the text; the text is parsed; macros are written into the tree. What has a mistake
//! is left out and told with its place, and everything else loads.

mod collect;
mod exceptions;
mod item;
mod keys;
mod lists;
mod macros;
mod read;
mod version;
pub mod yaml;

#[cfg(test)]
mod tests;

use super::condition::Condition;
use super::grammar;
use super::problem::{Code, Problem};
use super::rule::Rule;
use super::text::{Span, Traced};
use collect::{Collected, RuleText};
use lists::Lists;
use macros::Macros;
pub use version::{CONTAINER, ENGINE, Version};

/// A rule file.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name, for whoever reads about it.
    pub name: &'a str,
    /// What it holds.
    pub text: &'a str,
}

/// What rule files hold.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The rules in the order of their first definitions, those that are off too.
    pub rules: Vec<Rule>,
    /// Mistakes and warnings in the order of files and places.
    pub problems: Vec<Problem>,
    /// The newest engine that a file asks for.
    pub required_engine: Option<Version>,
}

impl Loaded {
    /// Whether anything did not load.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }
}

/// Loads rule files, later ones changing what earlier ones say.
pub fn load(sources: &[Source<'_>]) -> Loaded {
    let mut problems = Vec::new();
    let mut collected = Collected::default();
    for (number, source) in sources.iter().enumerate() {
        match yaml::parse(number as u32, source.text) {
            Ok(documents) => {
                let mut items = Vec::new();
                for document in &documents {
                    read::read(document, &mut items, &mut problems);
                }
                collected.take(items, &mut problems);
            }
            Err(problem) => problems.push(*problem),
        }
    }
    let rules = resolve(&collected, &mut problems);
    problems.sort_by_key(|problem| problem.span);
    Loaded { rules, problems, required_engine: collected.required_engine }
}

fn resolve(collected: &Collected, problems: &mut Vec<Problem>) -> Vec<Rule> {
    let mut lists = Lists::new(&collected.lists);
    let trees =
        collected.macros.iter().map(|definition| parse(&definition.what, &mut lists, problems)).collect();
    let mut macros = Macros::new(&collected.macros, trees);
    problems.extend(macros.resolve());
    let mut rules = Vec::with_capacity(collected.rules.iter().len());
    for definition in collected.rules.iter() {
        match rule(&definition.name, &definition.what, definition.span, &mut lists, &mut macros, problems) {
            Ok(rule) => rules.extend(rule),
            Err(problem) => problems.push(*problem),
        }
    }
    for (place, definition) in collected.lists.iter().enumerate() {
        if !lists.is_used(place) {
            let message = format!("nothing uses the list `{}`", definition.name);
            problems.push(Problem::new(Code::UnusedList, definition.span, message));
        }
    }
    for (place, definition) in collected.macros.iter().enumerate() {
        if !macros.is_used(place) {
            let message = format!("nothing uses the macro `{}`", definition.name);
            problems.push(Problem::new(Code::UnusedMacro, definition.span, message));
        }
    }
    rules
}

fn rule(
    name: &str,
    text: &RuleText,
    span: Span,
    lists: &mut Lists<'_>,
    macros: &mut Macros<'_>,
    problems: &mut Vec<Problem>,
) -> Result<Option<Rule>, Box<Problem>> {
    let (condition, exception_fields) = exceptions::apply(&text.condition, &text.exceptions, span)?;
    let Some(mut condition) = parse(&condition, lists, problems) else { return Ok(None) };
    macros.write_into_rule(&mut condition)?;
    Ok(Some(Rule {
        name: name.to_owned(),
        description: text.description.clone(),
        condition,
        output: text.output.clone(),
        priority: text.priority,
        tags: text.tags.clone(),
        is_enabled: text.enabled,
        exception_fields,
        warns_of_event_types: text.warn_evttypes,
        skips_unknown_fields: text.skip_if_unknown_filter,
        span,
    }))
}

/// Writes lists into a condition and parses it. The mistake is told, if there is one.
fn parse(text: &Traced, lists: &mut Lists<'_>, problems: &mut Vec<Problem>) -> Option<Condition> {
    let whole = lists.write_into(text, &mut |range, name| {
        if let Some(span) = text.span(range) {
            let message = format!("the list `{name}` is written out in this string, as everywhere");
            let mut problem = Problem::new(Code::ConditionWarning, span, message);
            problem.help = Some("give the list another name if the word is meant".to_owned());
            problems.push(problem);
        }
    });
    let Some(whole) = whole else {
        let span = text.span(0..text.as_str().len()).unwrap_or_default();
        let message = format!("with its lists the condition has more than {} bytes", lists::MAX_TEXT);
        problems.push(Problem::new(Code::Validate, span, message));
        return None;
    };
    grammar::parse(&whole).map_err(|problem| problems.push(*problem)).ok()
}
