//! All items of all files, put together in their order: what a list, macro or rule is in the end.

use rustc_hash::FxHashMap;

use super::item::{Entry, Exception, Item, ListItem, MacroItem, RuleChange, RuleItem, RuleParts};
use super::version::{CONTAINER, ENGINE, Version};
use crate::rules::condition::Operator;
use crate::rules::problem::{Code, Problem};
use crate::rules::text::{Span, Traced};

/// What was defined under names, in the order of first definitions.
#[derive(Debug)]
pub(super) struct Definitions<T> {
    entries: Vec<Defined<T>>,
    places: FxHashMap<String, usize>,
}

/// One definition.
#[derive(Debug)]
pub(super) struct Defined<T> {
    /// Its name.
    pub(super) name: String,
    /// What it is.
    pub(super) what: T,
    /// Number of the item that first defined it.
    pub(super) index: u32,
    /// Number of the item that last changed it: it sees what has a smaller index.
    pub(super) visibility: u32,
    /// Where it was last defined.
    pub(super) span: Span,
}

impl<T> Default for Definitions<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: FxHashMap::default() }
    }
}

impl<T> Definitions<T> {
    /// The one of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Defined<T>> {
        self.place(name).and_then(|place| self.entries.get(place))
    }

    /// Its position in the order of first definitions.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// All, in the order of first definitions.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Defined<T>> {
        self.entries.iter()
    }

    fn define(&mut self, name: &str, what: T, number: u32, span: Span) {
        match self.places.get(name) {
            Some(&place) => {
                let defined = &mut self.entries[place];
                (defined.what, defined.visibility, defined.span) = (what, number, span);
            }
            None => {
                self.places.insert(name.to_owned(), self.entries.len());
                self.entries.push(Defined {
                    name: name.to_owned(),
                    what,
                    index: number,
                    visibility: number,
                    span,
                });
            }
        }
    }

    /// What is there already, to be changed by item `number`.
    fn change(&mut self, name: &str, number: u32) -> Option<&mut T> {
        let defined = self.places.get(name).and_then(|&place| self.entries.get_mut(place))?;
        defined.visibility = number;
        Some(&mut defined.what)
    }
}

/// A rule whose condition is still text.
#[derive(Clone, Debug)]
pub(super) struct RuleText {
    pub(super) condition: Traced,
    pub(super) output: Traced,
    pub(super) description: String,
    pub(super) priority: crate::rules::rule::Priority,
    pub(super) source: String,
    pub(super) tags: Vec<String>,
    pub(super) exceptions: Vec<Exception>,
    pub(super) enabled: bool,
    pub(super) warn_evttypes: bool,
    pub(super) skip_if_unknown_filter: bool,
}

/// Everything that the files define.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) lists: Definitions<Vec<Traced>>,
    pub(super) macros: Definitions<Traced>,
    pub(super) rules: Definitions<RuleText>,
    /// The newest engine that a file asks for.
    pub(super) required_engine: Option<Version>,
    number: u32,
}

/// The only source of events there is.
pub(super) const SOURCE: &str = "syscall";

impl Collected {
    /// Takes the items of one file in their order. One with a mistake changes nothing. An engine or plugin that is not
    /// here ends the file: what follows was written for another one.
    pub(super) fn take(&mut self, items: Vec<Item>, problems: &mut Vec<Problem>) {
        for item in items {
            let number = self.number;
            self.number += 1;
            let ends = matches!(item, Item::Engine(..) | Item::Plugin(..));
            if let Err(problem) = self.item(item, number, problems) {
                problems.push(*problem);
                if ends {
                    return;
                }
            }
        }
    }

    fn item(&mut self, item: Item, number: u32, problems: &mut Vec<Problem>) -> Result<(), Box<Problem>> {
        match item {
            Item::Engine(version, span) => self.engine(version, span),
            Item::Plugin(any, span) => plugin(&any, span),
            Item::List(item) => self.list(item, number),
            Item::Macro(item) => self.macro_(item, number),
            Item::Rule(item) => self.rule(*item, number, problems),
        }
    }

    fn engine(&mut self, version: Version, span: Span) -> Result<(), Box<Problem>> {
        if !ENGINE.serves(version) {
            let message = format!("the file was written for engine {version}, and this is {ENGINE}");
            return Err(invalid(span, message).help("take rules that were released for this engine"));
        }
        self.required_engine = self.required_engine.max(Some(version));
        Ok(())
    }

    fn list(&mut self, item: ListItem, number: u32) -> Result<(), Box<Problem>> {
        if !item.appends {
            self.lists.define(&item.name, item.items, number, item.span);
            return Ok(());
        }
        let known = self
            .lists
            .change(&item.name, number)
            .ok_or_else(|| nothing_to_change("list", &item.name, item.span))?;
        known.extend(item.items);
        Ok(())
    }

    fn macro_(&mut self, item: MacroItem, number: u32) -> Result<(), Box<Problem>> {
        if !item.appends {
            self.macros.define(&item.name, item.condition, number, item.span);
            return Ok(());
        }
        let known = self
            .macros
            .change(&item.name, number)
            .ok_or_else(|| nothing_to_change("macro", &item.name, item.span))?;
        join(known, &item.condition, item.span);
        Ok(())
    }

    fn rule(&mut self, item: RuleItem, number: u32, problems: &mut Vec<Problem>) -> Result<(), Box<Problem>> {
        let RuleItem { name, span, change } = item;
        let parts = match change {
            RuleChange::Define(parts) => *parts,
            RuleChange::Enable(enabled) => {
                let known =
                    self.rules.change(&name, number).ok_or_else(|| nothing_to_change("rule", &name, span))?;
                known.enabled = enabled;
                return Ok(());
            }
            RuleChange::Update { added, replaced } => {
                let known = self.rules.get(&name).ok_or_else(|| nothing_to_change("rule", &name, span))?;
                // On a copy: a mistake in the second half leaves nothing of the first.
                let mut rule = known.what.clone();
                if let Some(parts) = added {
                    add(&mut rule, *parts, span)?;
                }
                if let Some(parts) = replaced {
                    replace(&mut rule, *parts)?;
                }
                if let Some(known) = self.rules.change(&name, number) {
                    *known = rule;
                }
                return Ok(());
            }
        };
        let rule = defined(parts, span)?;
        if rule.source != SOURCE {
            let message = format!("there are no events of source `{}`: the rule is left out", rule.source);
            problems.push(Problem::new(Code::UnknownSource, span, message));
            return Ok(());
        }
        self.rules.define(&name, rule, number, span);
        Ok(())
    }
}

fn plugin(any: &[(String, Version)], span: Span) -> Result<(), Box<Problem>> {
    if any.iter().any(|(name, version)| name == "container" && CONTAINER.serves(*version)) {
        return Ok(());
    }
    let wanted: Vec<String> = any.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let message = format!("the file needs the plugin {}", wanted.join(" or "));
    Err(invalid(span, message).help(format!("built in is container {CONTAINER}; there are no others")))
}

/// A new rule. The reader has seen to it that all that must be there is.
fn defined(parts: RuleParts, span: Span) -> Result<RuleText, Box<Problem>> {
    let (Some(condition), Some(output), Some(priority)) = (parts.condition, parts.output, parts.priority)
    else {
        return Err(invalid(span, "this rule has no condition, output or priority"));
    };
    let exceptions = parts.exceptions.unwrap_or_default();
    Ok(RuleText {
        condition,
        output,
        description: parts.description.map(|text| text.as_str().to_owned()).unwrap_or_default(),
        priority,
        source: parts.source.map_or_else(|| SOURCE.to_owned(), |text| text.as_str().to_owned()),
        tags: sorted(parts.tags.unwrap_or_default()),
        exceptions: exceptions.into_iter().map(whole).collect::<Result<_, _>>()?,
        enabled: parts.enabled.unwrap_or(true),
        warn_evttypes: parts.warn_evttypes.unwrap_or(true),
        skip_if_unknown_filter: parts.skip_if_unknown_filter.unwrap_or(false),
    })
}

fn add(rule: &mut RuleText, parts: RuleParts, span: Span) -> Result<(), Box<Problem>> {
    if let Some(condition) = parts.condition {
        join(&mut rule.condition, &condition, span);
    }
    if let Some(output) = parts.output {
        join(&mut rule.output, &output, span);
    }
    if let Some(description) = parts.description {
        rule.description = format!("{} {}", rule.description, description.as_str());
    }
    if let Some(tags) = parts.tags {
        rule.tags.extend(tags);
        rule.tags = sorted(std::mem::take(&mut rule.tags));
    }
    for exception in parts.exceptions.into_iter().flatten() {
        let Some(known) = rule.exceptions.iter_mut().find(|known| known.name == exception.name) else {
            if exception.values.is_empty() && exception.fields.is_some() {
                return Err(invalid(exception.span, "a new exception needs values"));
            }
            rule.exceptions.push(whole(exception)?);
            continue;
        };
        for (part, what) in [(&exception.fields, "fields"), (&exception.comps, "comps")] {
            if let Some(part) = part {
                let message = format!("`{what}` of an exception cannot be changed");
                return Err(invalid(part.span(), message).help("only values can be added: take it out"));
            }
        }
        known.values.extend(exception.values);
    }
    Ok(())
}

fn replace(rule: &mut RuleText, parts: RuleParts) -> Result<(), Box<Problem>> {
    fn set<T>(place: &mut T, value: Option<T>) {
        if let Some(value) = value {
            *place = value;
        }
    }
    if let Some(exceptions) = parts.exceptions {
        rule.exceptions = exceptions.into_iter().map(whole).collect::<Result<_, _>>()?;
    }
    set(&mut rule.condition, parts.condition);
    set(&mut rule.output, parts.output);
    set(&mut rule.description, parts.description.map(|text| text.as_str().to_owned()));
    set(&mut rule.priority, parts.priority);
    set(&mut rule.tags, parts.tags.map(sorted));
    set(&mut rule.enabled, parts.enabled);
    set(&mut rule.warn_evttypes, parts.warn_evttypes);
    set(&mut rule.skip_if_unknown_filter, parts.skip_if_unknown_filter);
    Ok(())
}

/// An exception with all that it needs: its operators are written out, one for each field.
fn whole(exception: Exception) -> Result<Exception, Box<Problem>> {
    let operator = |entry: &Entry| match entry {
        Entry::One(text, _) if Operator::of(text.as_str()).is_some() || text.as_str() == "==" => Ok(()),
        other => {
            let known: Vec<&str> = Operator::ALL.iter().map(|operator| operator.word()).collect();
            Err(invalid(other.span(), "this is no operator").help(format!("one of {}", known.join(" "))))
        }
    };
    let comps = match (&exception.fields, exception.comps) {
        (None, _) => {
            let problem = invalid(exception.span, "this exception says no fields");
            return Err(problem
                .help("add `fields: [proc.name, …]`, or the name of an exception that is there already"));
        }
        (Some(Entry::Many(fields, span)), None) => Entry::Many(
            fields.iter().map(|field| Entry::One(Traced::new("=", field.span()), field.span())).collect(),
            *span,
        ),
        (Some(Entry::One(_, span)), None) => Entry::One(Traced::new("in", *span), *span),
        (Some(Entry::Many(fields, _)), Some(Entry::Many(comps, span))) => {
            if fields.len() != comps.len() {
                let message = format!("{} operators for {} fields", comps.len(), fields.len());
                return Err(invalid(span, message));
            }
            comps.iter().try_for_each(operator)?;
            Entry::Many(comps, span)
        }
        (Some(Entry::One(..)), Some(comps)) => {
            let is_list = matches!(&comps, Entry::One(text, _) if matches!(text.as_str(), "in" | "pmatch" | "intersects"));
            if !is_list {
                return Err(invalid(comps.span(), "of a single field, `comps` is in, pmatch or intersects"));
            }
            comps
        }
        (Some(Entry::Many(..)), Some(comps)) => {
            return Err(invalid(comps.span(), "of a list of fields, `comps` is a list as well"));
        }
    };
    Ok(Exception { comps: Some(comps), ..exception })
}

/// Adds to a text, with a blank between.
fn join(text: &mut Traced, more: &Traced, span: Span) {
    text.push_str(" ", span);
    text.push(more);
}

fn sorted(mut tags: Vec<String>) -> Vec<String> {
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn nothing_to_change(kind: &str, name: &str, span: Span) -> Box<Problem> {
    invalid(span, format!("there is no {kind} `{name}` to change"))
        .help("the file that defines it must be loaded first")
}

fn invalid(span: Span, message: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(Code::Validate, span, message))
}
