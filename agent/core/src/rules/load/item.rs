//! From YAML to the items of a rule file: what each says, before anything is put together.

use super::version::Version;
use super::yaml::{Node, Value};
use crate::rules::problem::{Code, Problem};
use crate::rules::rule::Priority;
use crate::rules::text::{Span, Traced};

/// One entry of a rule file.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// `required_engine_version`.
    Engine(Version, Span),
    /// One entry of `required_plugin_versions`: any of these will do.
    Plugin(Vec<(String, Version)>, Span),
    /// `list`.
    List(ListItem),
    /// `macro`.
    Macro(MacroItem),
    /// `rule`.
    Rule(Box<RuleItem>),
}

/// A list, or what is added to one.
#[derive(Clone, Debug)]
pub(super) struct ListItem {
    pub(super) name: String,
    pub(super) items: Vec<Traced>,
    pub(super) appends: bool,
    pub(super) span: Span,
}

/// A macro, or what is added to one.
#[derive(Clone, Debug)]
pub(super) struct MacroItem {
    pub(super) name: String,
    pub(super) condition: Traced,
    pub(super) appends: bool,
    pub(super) span: Span,
}

/// What is said about a rule.
#[derive(Clone, Debug)]
pub(super) struct RuleItem {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) change: RuleChange,
}

/// What becomes of a rule.
#[derive(Clone, Debug)]
pub(super) enum RuleChange {
    /// It is this one, whatever it was. All that a rule must have is there.
    Define(Box<RuleParts>),
    /// This is added, that replaced.
    Update { added: Option<Box<RuleParts>>, replaced: Option<Box<RuleParts>> },
    /// It is on or off.
    Enable(bool),
}

/// Parts of a rule, each as it was given.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleParts {
    pub(super) condition: Option<Traced>,
    pub(super) output: Option<Traced>,
    pub(super) description: Option<Traced>,
    pub(super) priority: Option<Priority>,
    pub(super) source: Option<Traced>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) exceptions: Option<Vec<Exception>>,
    pub(super) enabled: Option<bool>,
    pub(super) warn_evttypes: Option<bool>,
    pub(super) skip_if_unknown_filter: Option<bool>,
}

/// One exception of a rule, or values for one.
#[derive(Clone, Debug)]
pub(super) struct Exception {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) fields: Option<Entry>,
    pub(super) comps: Option<Entry>,
    pub(super) values: Vec<Entry>,
}

/// A text or a list of such.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    One(Traced, Span),
    Many(Vec<Entry>, Span),
}

impl Entry {
    pub(super) fn span(&self) -> Span {
        match self {
            Self::One(_, span) | Self::Many(_, span) => *span,
        }
    }
}

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

type Read<T> = Result<T, Box<Problem>>;

/// Reads one item.
struct Reader<'a> {
    node: &'a Node,
    problems: &'a mut Vec<Problem>,
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
                "output" => parts.output = Some(self.required("output")?.clone()),
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

    // -- Parts that several items have.

    /// The item's name, all of whose letters are as said.
    fn name(&self, key: &str, is: impl Fn(char) -> bool) -> Read<String> {
        let text = self.required(key)?;
        match text.as_str().find(|c| !is(c)) {
            None => Ok(text.as_str().to_owned()),
            Some(at) => {
                let place = text.span(at..at + 1).unwrap_or(self.node.span);
                Err(invalid(place, format!("the name of a {key} cannot hold this")))
            }
        }
    }

    /// Whether the item is added to what there is; `keys` are those that an override may name.
    fn appends(&mut self, keys: &[&str]) -> Read<bool> {
        let flag = self.deprecated_append()?;
        let overrides = self.overrides(keys, keys)?;
        if flag && !overrides.is_empty() {
            return Err(both_ways(self.place("append")));
        }
        Ok(flag || overrides.iter().any(|(_, appends, _)| *appends))
    }

    fn deprecated_append(&mut self) -> Read<bool> {
        let appends = self.bool("append")?.unwrap_or(false);
        if appends {
            let place = self.key_place("append");
            self.warn(Code::DeprecatedItem, place, "`append: true` is an old way of adding to an item");
            self.advise("name what is added to: `override: {condition: append}`");
        }
        Ok(appends)
    }

    /// The entries of `override`: key, whether it is added to, place.
    fn overrides(&self, appendable: &[&str], replaceable: &[&str]) -> Read<Vec<(String, bool, Span)>> {
        let Some(node) = self.node.get("override") else { return Ok(Vec::new()) };
        let Value::Map(entries) = &node.value else {
            return Err(invalid(node.span, "`override` is a map such as `{condition: append}`"));
        };
        let mut overrides = Vec::new();
        for (key, operation) in entries {
            let name = text_of(key, "a key")?.as_str();
            let appends = match text_of(operation, "what becomes of a key")?.as_str() {
                "append" => true,
                "replace" => false,
                other => {
                    let message = format!("a key is appended to or replaced, and not `{other}`");
                    return Err(invalid(operation.span, message).help("write `append` or `replace`"));
                }
            };
            if appends && !appendable.contains(&name) {
                let problem = invalid(key.span, format!("nothing can be appended to `{name}`"));
                return Err(if replaceable.contains(&name) {
                    problem.help("write `replace`")
                } else {
                    problem
                });
            }
            if !appends && !replaceable.contains(&name) {
                return Err(invalid(key.span, format!("`{name}` cannot be replaced")));
            }
            overrides.push((name.to_owned(), appends, key.span));
        }
        Ok(overrides)
    }

    /// The text of a key that must be there and not be empty.
    fn required(&self, key: &str) -> Read<&Traced> {
        match self.node.get(key) {
            Some(node) => text_of(node, &format!("`{key}`")),
            None => Err(self.missing(key)),
        }
    }

    fn bool(&self, key: &str) -> Read<Option<bool>> {
        let Some(node) = self.node.get(key) else { return Ok(None) };
        let text = text_of(node, &format!("`{key}`"))?;
        match text.as_str().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(Some(true)),
            "false" | "no" | "off" | "n" => Ok(Some(false)),
            _ => Err(invalid(node.span, format!("`{key}` is true or false"))),
        }
    }

    fn warn_of_unknown_keys(&mut self, known: &[&str]) {
        let Value::Map(entries) = &self.node.value else { return };
        for (key, _) in entries {
            let Some(name) = key.text() else { continue };
            if !known.contains(&name.as_str()) {
                let message = format!("`{}` is no key of this item and is left out", name.as_str());
                self.warn(Code::UnknownItem, key.span, message);
                if let Some(near) = crate::rules::nearest(name.as_str(), known.iter().copied()) {
                    self.advise(format!("did you mean `{near}`?"));
                }
            }
        }
    }

    fn place(&self, key: &str) -> Span {
        self.node.get(key).map_or(self.node.span, |node| node.span)
    }

    fn key_place(&self, key: &str) -> Span {
        let Value::Map(entries) = &self.node.value else { return self.node.span };
        entries.iter().find(|(known, _)| known.is(key)).map_or(self.node.span, |(key, _)| key.span)
    }

    fn missing(&self, key: &str) -> Box<Problem> {
        let span = match &self.node.value {
            Value::Map(entries) => {
                entries.first().map_or(self.node.span, |(key, value)| key.span.to(value.span))
            }
            _ => self.node.span,
        };
        invalid(span, format!("this item has no `{key}`"))
    }

    fn warn(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.problems.push(Problem::new(code, span, message));
    }

    /// Advice for the last warning.
    fn advise(&mut self, help: impl Into<String>) {
        if let Some(last) = self.problems.last_mut() {
            last.help = Some(help.into());
        }
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

fn sequence<'a>(node: &'a Node, what: &str) -> Read<&'a [Node]> {
    match &node.value {
        Value::List(items) => Ok(items),
        _ => Err(invalid(node.span, format!("`{what}` is a list, and this is {}", node.kind()))),
    }
}

fn text_of<'a>(node: &'a Node, what: &str) -> Read<&'a Traced> {
    match node.text() {
        Some(text) if !text.as_str().is_empty() => Ok(text),
        Some(_) => Err(invalid(node.span, format!("{what} is empty"))),
        None => Err(invalid(node.span, format!("{what} is text, and this is {}", node.kind()))),
    }
}

fn no_version(span: Span) -> Box<Problem> {
    invalid(span, "this is no version").help("write three numbers with dots: 0.57.0")
}

fn both_ways(span: Span) -> Box<Problem> {
    Box::new(Problem::new(Code::Validate, span, "an item has either `append: true` or `override`"))
        .help("take `append: true` out")
}

fn invalid(span: Span, message: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(Code::YamlValidate, span, message))
}
