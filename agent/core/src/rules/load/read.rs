//! From YAML to items. One with a mistake is left out, the others are not.

use super::item::{Entry, Exception, Item, ListItem, MacroItem, RuleChange, RuleItem, RuleParts};
use super::keys::{Read, Reader, both_ways, invalid, sequence, text_of};
use super::version::Version;
use super::yaml::{Node, Value};
use crate::rules::problem::{Code, Problem};
use crate::rules::rule::Priority;
use crate::rules::text::Span;

/// Keys that may stand in an item besides its first.
const LIST_KEYS: &[&str] = &["list", "items", "append", "override"];
const MACRO_KEYS: &[&str] = &["macro", "condition", "append", "override"];
const RULE_KEYS: &[&str] = &[
    "rule",
    "condition",
    "output",
    "desc",
    "priority",
    "source",
    "tags",
    "exceptions",
    "enabled",
    "warn_evttypes",
    "skip-if-unknown-filter",
    "capture",
    "capture_duration",
    "append",
    "override",
];
/// Keys of a rule that an override may add to, and those it may replace.
const APPENDABLE: &[&str] = &["condition", "output", "desc", "tags", "exceptions"];
const REPLACEABLE: &[&str] = &[
    "condition",
    "output",
    "desc",
    "priority",
    "tags",
    "exceptions",
    "enabled",
    "warn_evttypes",
    "skip-if-unknown-filter",
    "capture",
    "capture_duration",
];

/// Reads a document of a rule file. An item with a mistake is left out, the others are not.
pub(super) fn read(document: &Node, items: &mut Vec<Item>, problems: &mut Vec<Problem>) {
    let Value::List(entries) = &document.value else {
        let message =
            format!("a rule file is a list of items such as `- rule: NAME`, and this is {}", document.kind());
        problems.push(Problem::new(Code::YamlValidate, document.span, message));
        return;
    };
    for entry in entries.iter().filter(|entry| !matches!(entry.value, Value::Null)) {
        let mut reader = Reader { node: entry, problems };
        if let Err(problem) = reader.item(items) {
            problems.push(*problem);
        }
    }
}

impl Reader<'_> {
    fn item(&mut self, items: &mut Vec<Item>) -> Read<()> {
        let Value::Map(entries) = &self.node.value else {
            let message = format!("an item is a map such as `rule: NAME`, and this is {}", self.node.kind());
            return Err(invalid(self.node.span, message));
        };
        let has = |key: &str| self.node.get(key).is_some();
        if has("required_engine_version") {
            let text = self.required("required_engine_version")?.clone();
            let span = self.place("required_engine_version");
            items
                .push(Item::Engine(Version::of_engine(text.as_str()).ok_or_else(|| no_version(span))?, span));
        } else if has("required_plugin_versions") {
            self.plugins(items)?;
        } else if has("list") {
            items.push(Item::List(self.list()?));
        } else if has("macro") {
            items.push(Item::Macro(self.macro_()?));
        } else if has("rule") {
            let rule = self.rule()?;
            items.push(Item::Rule(Box::new(rule)));
        } else {
            let span = entries.first().map_or(self.node.span, |(key, _)| key.span);
            self.warn(Code::UnknownItem, span, "this is no item of a rule file and is left out");
        }
        Ok(())
    }

    fn plugins(&mut self, items: &mut Vec<Item>) -> Read<()> {
        let node = self.node.get("required_plugin_versions").unwrap_or(self.node);
        for plugin in sequence(node, "required_plugin_versions")? {
            let mut any = vec![requirement(plugin)?];
            if let Some(alternatives) = plugin.get("alternatives") {
                for alternative in sequence(alternatives, "alternatives")? {
                    any.push(requirement(alternative)?);
                }
            }
            items.push(Item::Plugin(any, plugin.span));
        }
        Ok(())
    }

    fn list(&mut self) -> Read<ListItem> {
        let name =
            self.name("list", |c| !c.is_whitespace() && !matches!(c, '(' | ')' | '"' | '\'' | '=' | ','))?;
        self.warn_of_unknown_keys(LIST_KEYS);
        let Some(node) = self.node.get("items") else { return Err(self.missing("items")) };
        let items = match &node.value {
            Value::Null => Vec::new(),
            _ => sequence(node, "items")?
                .iter()
                .map(|item| text_of(item, "an item of a list").cloned())
                .collect::<Read<Vec<_>>>()?,
        };
        let appends = self.appends(&["items"])?;
        Ok(ListItem { name, items, appends, span: self.place("list") })
    }

    fn macro_(&mut self) -> Read<MacroItem> {
        let name = self.name("macro", |c| c.is_ascii_alphanumeric() || c == '_')?;
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(invalid(self.place("macro"), "the name of a macro begins with a letter"));
        }
        self.warn_of_unknown_keys(MACRO_KEYS);
        let condition = self.required("condition")?.clone();
        let appends = self.appends(&["condition"])?;
        Ok(MacroItem { name, condition, appends, span: self.place("macro") })
    }

    fn rule(&mut self) -> Read<RuleItem> {
        let name = self.required("rule")?.as_str().to_owned();
        let span = self.place("rule");
        self.warn_of_unknown_keys(RULE_KEYS);
        let appends = self.deprecated_append()?;
        let overrides = self.overrides(APPENDABLE, REPLACEABLE)?;
        if appends && !overrides.is_empty() {
            return Err(both_ways(self.place("append")));
        }
        let has = |key: &&str| self.node.get(key).is_some();
        let change = if !overrides.is_empty() {
            self.update(&overrides)?
        } else if appends {
            let keys: Vec<&str> = ["condition", "exceptions"].into_iter().filter(|key| has(key)).collect();
            let added = self.parts(&keys, true)?;
            RuleChange::Update { added: Some(Box::new(added)), replaced: None }
        } else if !["condition", "output", "desc", "priority"].iter().any(has) {
            let Some(enabled) = self.bool("enabled")? else { return Err(self.missing("condition")) };
            let place = self.place("enabled");
            self.warn(Code::DeprecatedItem, place, "`enabled` alone is an old way of switching a rule");
            self.advise("add `override: {enabled: replace}`");
            RuleChange::Enable(enabled)
        } else {
            if let Some(missing) = ["condition", "output", "desc", "priority"].iter().find(|key| !has(key)) {
                return Err(self.missing(missing));
            }
            let keys: Vec<&str> = RULE_KEYS.iter().copied().filter(|key| has(key)).collect();
            RuleChange::Define(Box::new(self.parts(&keys, false)?))
        };
        Ok(RuleItem { name, span, change })
    }

    fn update(&mut self, overrides: &[(String, bool, Span)]) -> Read<RuleChange> {
        let keys = |appends: bool| -> Vec<&str> {
            overrides
                .iter()
                .filter(|(_, append, _)| *append == appends)
                .map(|(key, ..)| key.as_str())
                .collect()
        };
        for (key, appends, span) in overrides {
            if self.node.get(key).is_none() {
                let what = if *appends { "appended to" } else { "replaced" };
                return Err(invalid(*span, format!("`{key}` is to be {what}, but is not given")));
            }
        }
        for key in REPLACEABLE {
            if self.node.get(key).is_some() && !overrides.iter().any(|(known, ..)| known == key) {
                let problem = invalid(self.key_place(key), format!("nothing says what becomes of `{key}`"));
                return Err(problem.help(format!("add `{key}: append` or `{key}: replace` to `override`")));
            }
        }
        let some = |parts: RuleParts, keys: &[&str]| (!keys.is_empty()).then(|| Box::new(parts));
        let (added, replaced) = (keys(true), keys(false));
        Ok(RuleChange::Update {
            added: some(self.parts(&added, true)?, &added),
            replaced: some(self.parts(&replaced, true)?, &replaced),
        })
    }

    /// What is given for these keys.
    fn parts(&mut self, keys: &[&str], updates: bool) -> Read<RuleParts> {
        let mut parts = RuleParts::default();
        for key in keys {
            match *key {
                "condition" => parts.condition = Some(self.required("condition")?.clone()),
                "output" => parts.output = Some(self.required("output")?.trimmed()),
                "desc" => parts.description = Some(self.required("desc")?.clone()),
                "source" => parts.source = Some(self.required("source")?.clone()),
                "priority" => parts.priority = Some(self.priority()?),
                "tags" => parts.tags = Some(self.tags()?),
                "exceptions" => parts.exceptions = Some(self.exceptions(updates)?),
                "enabled" => parts.enabled = self.bool("enabled")?,
                "warn_evttypes" => parts.warn_evttypes = self.bool("warn_evttypes")?,
                "skip-if-unknown-filter" => {
                    parts.skip_if_unknown_filter = self.bool("skip-if-unknown-filter")?;
                }
                "capture" | "capture_duration" => {
                    let place = self.key_place(key);
                    self.warn(Code::UnknownItem, place, format!("`{key}` does nothing here"));
                    self.advise("`tarsier record` writes captures");
                }
                _ => {}
            }
        }
        Ok(parts)
    }

    fn priority(&self) -> Read<Priority> {
        let text = self.required("priority")?;
        Priority::of(text.as_str()).ok_or_else(|| {
            let known: Vec<&str> = Priority::ALL.iter().map(|priority| priority.name()).collect();
            invalid(self.place("priority"), format!("`{}` is no priority", text.as_str()))
                .help(format!("one of {}", known.join(", ")))
        })
    }

    fn tags(&self) -> Read<Vec<String>> {
        let Some(node) = self.node.get("tags") else { return Ok(Vec::new()) };
        if matches!(node.value, Value::Null) {
            return Ok(Vec::new());
        }
        sequence(node, "tags")?.iter().map(|tag| Ok(text_of(tag, "a tag")?.as_str().to_owned())).collect()
    }

    fn exceptions(&mut self, updates: bool) -> Read<Vec<Exception>> {
        let Some(node) = self.node.get("exceptions") else { return Ok(Vec::new()) };
        if matches!(node.value, Value::Null) {
            return Ok(Vec::new());
        }
        let mut exceptions: Vec<Exception> = Vec::new();
        for entry in sequence(node, "exceptions")? {
            let exception = exception(entry)?;
            if exceptions.iter().any(|other| other.name == exception.name) {
                return Err(invalid(
                    exception.span,
                    format!("there are two exceptions `{}`", exception.name),
                ));
            }
            if updates && entry.get("values").is_none() {
                self.warn(
                    Code::AppendNoValues,
                    exception.span,
                    "an exception without values changes nothing",
                );
            }
            exceptions.push(exception);
        }
        Ok(exceptions)
    }
}

fn exception(node: &Node) -> Read<Exception> {
    let Value::Map(_) = &node.value else {
        return Err(invalid(node.span, format!("an exception is a map, and this is {}", node.kind())));
    };
    let Some(name) = node.get("name") else {
        return Err(invalid(node.span, "this exception has no `name`"));
    };
    let entry_of = |key: &str| node.get(key).map(entry).transpose();
    let values = match node.get("values") {
        None => Vec::new(),
        Some(values) if matches!(values.value, Value::Null) => Vec::new(),
        Some(values) => sequence(values, "values")?.iter().map(entry).collect::<Read<_>>()?,
    };
    Ok(Exception {
        name: text_of(name, "the name of an exception")?.as_str().to_owned(),
        span: name.span,
        fields: entry_of("fields")?,
        comps: entry_of("comps")?,
        values,
    })
}

fn entry(node: &Node) -> Read<Entry> {
    match &node.value {
        Value::List(items) => Ok(Entry::Many(items.iter().map(entry).collect::<Read<_>>()?, node.span)),
        _ => Ok(Entry::One(text_of(node, "a part of an exception")?.clone(), node.span)),
    }
}

fn requirement(node: &Node) -> Read<(String, Version)> {
    let part = |key: &str| match node.get(key) {
        Some(part) => Ok((text_of(part, &format!("`{key}`"))?.as_str(), part.span)),
        None => Err(invalid(node.span, format!("this plugin has no `{key}`"))),
    };
    let (name, _) = part("name")?;
    let (version, span) = part("version")?;
    Ok((name.to_owned(), Version::of(version).ok_or_else(|| no_version(span))?))
}

fn no_version(span: Span) -> Box<Problem> {
    invalid(span, "this is no version").help("write three numbers with dots: 0.57.0")
}
