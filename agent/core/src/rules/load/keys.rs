//! Keys that several items have, read with their places.

use super::yaml::{Node, Value};
use crate::rules::problem::{Code, Problem};
use crate::rules::text::{Span, Traced};

pub(super) type Read<T> = Result<T, Box<Problem>>;

/// Reads one item.
pub(super) struct Reader<'a> {
    pub(super) node: &'a Node,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    /// The item's name, all of whose letters are as said.
    pub(super) fn name(&self, key: &str, is: impl Fn(char) -> bool) -> Read<String> {
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
    pub(super) fn appends(&mut self, keys: &[&str]) -> Read<bool> {
        let flag = self.deprecated_append()?;
        let overrides = self.overrides(keys, keys)?;
        if flag && !overrides.is_empty() {
            return Err(both_ways(self.place("append")));
        }
        Ok(flag || overrides.iter().any(|(_, appends, _)| *appends))
    }

    pub(super) fn deprecated_append(&mut self) -> Read<bool> {
        let appends = self.bool("append")?.unwrap_or(false);
        if appends {
            let place = self.key_place("append");
            self.warn(Code::DeprecatedItem, place, "`append: true` is an old way of adding to an item");
            self.advise("name what is added to: `override: {condition: append}`");
        }
        Ok(appends)
    }

    /// The entries of `override`: key, whether it is added to, place.
    pub(super) fn overrides(
        &self,
        appendable: &[&str],
        replaceable: &[&str],
    ) -> Read<Vec<(String, bool, Span)>> {
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
    pub(super) fn required(&self, key: &str) -> Read<&Traced> {
        match self.node.get(key) {
            Some(node) => text_of(node, &format!("`{key}`")),
            None => Err(self.missing(key)),
        }
    }

    pub(super) fn bool(&self, key: &str) -> Read<Option<bool>> {
        let Some(node) = self.node.get(key) else { return Ok(None) };
        let text = text_of(node, &format!("`{key}`"))?;
        match text.as_str().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(Some(true)),
            "false" | "no" | "off" | "n" => Ok(Some(false)),
            _ => Err(invalid(node.span, format!("`{key}` is true or false"))),
        }
    }

    pub(super) fn warn_of_unknown_keys(&mut self, known: &[&str]) {
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

    pub(super) fn place(&self, key: &str) -> Span {
        self.node.get(key).map_or(self.node.span, |node| node.span)
    }

    pub(super) fn key_place(&self, key: &str) -> Span {
        let Value::Map(entries) = &self.node.value else { return self.node.span };
        entries.iter().find(|(known, _)| known.is(key)).map_or(self.node.span, |(key, _)| key.span)
    }

    pub(super) fn missing(&self, key: &str) -> Box<Problem> {
        let span = match &self.node.value {
            Value::Map(entries) => {
                entries.first().map_or(self.node.span, |(key, value)| key.span.to(value.span))
            }
            _ => self.node.span,
        };
        invalid(span, format!("this item has no `{key}`"))
    }

    pub(super) fn warn(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.problems.push(Problem::new(code, span, message));
    }

    /// Advice for the last warning.
    pub(super) fn advise(&mut self, help: impl Into<String>) {
        if let Some(last) = self.problems.last_mut() {
            last.help = Some(help.into());
        }
    }
}

pub(super) fn sequence<'a>(node: &'a Node, what: &str) -> Read<&'a [Node]> {
    match &node.value {
        Value::List(items) => Ok(items),
        _ => Err(invalid(node.span, format!("`{what}` is a list, and this is {}", node.kind()))),
    }
}

pub(super) fn text_of<'a>(node: &'a Node, what: &str) -> Read<&'a Traced> {
    match node.text() {
        Some(text) if !text.as_str().is_empty() => Ok(text),
        Some(_) => Err(invalid(node.span, format!("{what} is empty"))),
        None => Err(invalid(node.span, format!("{what} is text, and this is {}", node.kind()))),
    }
}

pub(super) fn both_ways(span: Span) -> Box<Problem> {
    Box::new(Problem::new(Code::Validate, span, "an item has either `append: true` or `override`"))
        .help("take `append: true` out")
}

pub(super) fn invalid(span: Span, message: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(Code::YamlValidate, span, message))
}
