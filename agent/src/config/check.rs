//! Finds every mistake in a configuration document at once, by walking its tree against the schema
//! of [`super::Config`]: unknown and repeated keys, wrong types, values out of range.

use std::fmt;

use serde_json::Value as Json;

use super::tree::{Entry, Node, Place, Value};
use super::units::{ByteSize, Duration, Listen, UnitError};

/// One mistake: where, what, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, environment variable or flag that holds it.
    pub source: String,
    /// Line and column, from 1; none if it is not in a file.
    pub place: Option<(u64, u64)>,
    /// The option, keys joined by dots; empty = the document.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead; empty if `what` says so.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.what)?;
        if self.fix.is_empty() { Ok(()) } else { write!(f, "\n    fix: {}", self.fix) }
    }
}

/// The schema at one point of the document.
#[derive(Clone, Copy)]
pub(super) struct SchemaAt<'a> {
    pub(super) root: &'a Json,
    pub(super) here: &'a Json,
}

impl<'a> SchemaAt<'a> {
    pub(super) fn root(root: &'a Json) -> Self {
        Self { root, here: root }
    }

    /// The same point with `$ref` followed and "or null" set aside; and whether null is allowed.
    pub(super) fn resolve(self) -> (Self, bool) {
        let mut here = self.here;
        let mut nullable = false;
        loop {
            if let Some(name) = here["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
                here = &self.root["$defs"][name];
            } else if let Some(some) = here["anyOf"].as_array().and_then(|all| all.first()) {
                // The only `anyOf` that schemars derives for our types is Option<T>: [T, null].
                nullable = true;
                here = some;
            } else {
                nullable |= here["type"].as_array().is_some_and(|types| types.iter().any(|t| t == "null"));
                return (Self { here, ..self }, nullable);
            }
        }
    }

    /// The type's name, without "or null".
    pub(super) fn type_name(self) -> &'a str {
        let name = |json: &'a Json| json.as_str().filter(|name| *name != "null");
        name(&self.here["type"])
            .or_else(|| self.here["type"].as_array()?.iter().find_map(name))
            .unwrap_or("string")
    }

    pub(super) fn at(self, here: &'a Json) -> Self {
        Self { here, ..self }
    }

    /// The keys of which a map has exactly one, each with what belongs to it and its documentation; empty if it is no such
    /// map.
    pub(super) fn alternatives(self) -> Vec<(&'a str, Self, &'a str)> {
        let variants = self.here["oneOf"].as_array().into_iter().flatten();
        let variants = variants.filter_map(|variant| {
            let (key, property) = variant["properties"].as_object()?.iter().next()?;
            Some((key.as_str(), self.at(property), variant["description"].as_str().unwrap_or("")))
        });
        variants.collect()
    }

    /// The values of an enum, each with its documentation; empty if it is none.
    pub(super) fn choices(self) -> Vec<(&'a str, &'a str)> {
        let plain = self.here["enum"].as_array().into_iter().flatten();
        let plain = plain.filter_map(|value| Some((value.as_str()?, "")));
        let documented = self.here["oneOf"].as_array().into_iter().flatten();
        let documented = documented.flat_map(|variant| {
            let doc = variant["description"].as_str().unwrap_or("");
            let several = variant["enum"].as_array().into_iter().flatten().filter_map(Json::as_str);
            several.chain(variant["const"].as_str()).map(move |name| (name, doc))
        });
        plain.chain(documented).collect()
    }
}

/// Every mistake that the schema can see, in document order.
pub(super) fn check(source: &str, tree: &Node, schema: &Json) -> Vec<Problem> {
    let mut walk = Walk { source, problems: Vec::new() };
    walk.node(tree, SchemaAt::root(schema), &mut String::new());
    walk.problems
}

struct Walk<'a> {
    source: &'a str,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn report(&mut self, at: Place, path: &str, what: String, fix: String) {
        let place = Some((at.line, at.column));
        self.problems.push(Problem { source: self.source.into(), place, path: path.into(), what, fix });
    }

    fn node(&mut self, node: &Node, schema: SchemaAt<'_>, path: &mut String) {
        let (schema, nullable) = schema.resolve();
        let alternatives = schema.alternatives();
        match (&node.value, schema.type_name()) {
            (Value::Null, _) if nullable => {}
            _ if !alternatives.is_empty() => self.one_of(node, &alternatives, path),
            (Value::Map(entries), "object") => self.map(entries, schema, path),
            (Value::List(items), "array") => {
                for (index, item) in items.iter().enumerate() {
                    within(path, &format!("[{index}]"), |path| {
                        self.node(item, schema.at(&schema.here["items"]), path);
                    });
                }
            }
            (Value::Bool, "boolean") => {}
            (Value::Int(value), "integer" | "number") => {
                self.range(node.at, path, *value as f64, schema.here);
            }
            (Value::Float(value), "number") => self.range(node.at, path, *value, schema.here),
            (Value::Text(text), "string") => self.text(node.at, path, text, schema),
            // A field's name, or names and what they stand for.
            (Value::Map(entries), "string") if schema.here["format"] == "output-field" => {
                let text =
                    serde_json::json!({ "type": "object", "additionalProperties": { "type": "string" } });
                self.map(entries, SchemaAt::root(&text), path);
            }
            // A duration or size written without quotes and unit is a number: say what is missing.
            (Value::Int(value), "string") if has_units(schema.here) => {
                self.text(node.at, path, &value.to_string(), schema);
            }
            (_, expected) => {
                let (wanted, fix) = wanted(expected, schema);
                self.report(node.at, path, format!("expected {wanted}, found {}", node.kind()), fix);
            }
        }
    }

    /// A map with one of these keys.
    fn one_of(&mut self, node: &Node, alternatives: &[(&str, SchemaAt<'_>, &str)], path: &mut String) {
        let keys: Vec<&str> = alternatives.iter().map(|(key, ..)| *key).collect();
        let Value::Map(entries) = &node.value else {
            let what = format!("expected a map, found {}", node.kind());
            return self.report(node.at, path, what, format!("write one of these keys: {}", keys.join(", ")));
        };
        let [entry] = entries.as_slice() else {
            let what = format!("expected one key, found {}", entries.len());
            return self.report(node.at, path, what, format!("write one of these keys: {}", keys.join(", ")));
        };
        within(path, &format!(".{}", entry.key), |path| {
            match alternatives.iter().find(|(key, ..)| *key == entry.key) {
                Some((_, property, _)) => self.node(&entry.node, *property, path),
                None => self.report(entry.key_at, path, "no such option".into(), suggest(&entry.key, &keys)),
            }
        });
    }

    fn map(&mut self, entries: &[Entry], schema: SchemaAt<'_>, path: &mut String) {
        let known = schema.here["properties"].as_object();
        for (index, entry) in entries.iter().enumerate() {
            let property = known.and_then(|known| known.get(&entry.key));
            let other = Some(&schema.here["additionalProperties"]).filter(|other| other.is_object());
            let first = entries.iter().take(index).find(|earlier| earlier.key == entry.key);
            let key = if path.is_empty() { entry.key.clone() } else { format!(".{}", entry.key) };
            within(path, &key, |path| match (first, property.or(other)) {
                (Some(first), _) => {
                    let what = format!("given twice; first in line {}", first.key_at.line);
                    self.report(entry.key_at, path, what, "keep one of the two".into());
                }
                (None, Some(property)) => self.node(&entry.node, schema.at(property), path),
                (None, None) => {
                    let keys: Vec<&str> = known.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
                    self.report(entry.key_at, path, "no such option".into(), suggest(&entry.key, &keys));
                }
            });
        }
    }

    fn range(&mut self, at: Place, path: &str, value: f64, schema: &Json) {
        let (min, max) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max) {
            let fix = between(min.map(|min| min.to_string()), max.map(|max| max.to_string()));
            self.report(at, path, format!("{value} is out of range"), fix);
        }
    }

    fn text(&mut self, at: Place, path: &str, text: &str, schema: SchemaAt<'_>) {
        let choices: Vec<&str> = schema.choices().into_iter().map(|(name, _)| name).collect();
        if !choices.is_empty() {
            if !choices.contains(&text) {
                self.report(at, path, format!("`{text}` is not a choice"), suggest(text, &choices));
            }
            return;
        }
        if let Err(UnitError { what, fix }) = check_format(text, schema.here) {
            self.report(at, path, what, fix);
        }
    }
}

/// Runs `inside` with `path` longer by `more`.
fn within(path: &mut String, more: &str, inside: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push_str(more);
    inside(path);
    path.truncate(length);
}

fn has_units(schema: &Json) -> bool {
    matches!(schema["format"].as_str(), Some("duration" | "size"))
}

/// A text against the `format` of its schema, and the bounds `x-min` and `x-max` in that format.
fn check_format(text: &str, schema: &Json) -> Result<(), UnitError> {
    match schema["format"].as_str() {
        Some("duration") => bounded::<Duration>(text, schema),
        Some("size") => bounded::<ByteSize>(text, schema),
        Some("listen") => text.parse::<Listen>().map(drop),
        Some("absolute-path") if !text.starts_with('/') => Err(UnitError {
            what: format!("`{text}` is not an absolute path"),
            fix: "write the whole path, from `/`".into(),
        }),
        Some("regex") => regex::Regex::new(text).map(drop).map_err(|error| UnitError {
            // The last line of a regex error says what is wrong; the lines before draw it.
            what: format!("not a regular expression: {}", last_line(&error.to_string())),
            fix: "mend the expression; escape special characters with a backslash".into(),
        }),
        _ => Ok(()),
    }
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

fn bounded<T: std::str::FromStr<Err = UnitError> + PartialOrd>(
    text: &str,
    schema: &Json,
) -> Result<(), UnitError> {
    let value: T = text.parse()?;
    let bound = |key: &str| schema[key].as_str().map(|text| (text.to_owned(), text.parse::<T>()));
    let (min, max) = (bound("x-min"), bound("x-max"));
    let below = matches!(&min, Some((_, Ok(min))) if value < *min);
    let above = matches!(&max, Some((_, Ok(max))) if value > *max);
    if below || above {
        let fix = between(min.map(|(text, _)| text), max.map(|(text, _)| text));
        return Err(UnitError { what: format!("`{text}` is out of range"), fix });
    }
    Ok(())
}

fn between(min: Option<String>, max: Option<String>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("use a value from {min} to {max}"),
        (Some(min), None) => format!("use {min} or more"),
        (None, Some(max)) => format!("use {max} or less"),
        (None, None) => "use another value".into(),
    }
}

/// What a type wants, and an example.
fn wanted(expected: &str, schema: SchemaAt<'_>) -> (&'static str, String) {
    match (expected, schema.here["format"].as_str()) {
        ("object", _) => match schema.here["properties"].as_object() {
            Some(known) => {
                let keys: Vec<&str> = known.keys().map(String::as_str).collect();
                ("a map", format!("write one option per line below it: {}", keys.join(", ")))
            }
            None => ("a map", "write `key: value` lines below it, or `{}`".into()),
        },
        ("array", _) => ("a list", "write `- item` lines below it, or `[]`".into()),
        ("boolean", _) => ("true or false", "write `true` or `false`, without quotes".into()),
        ("integer", _) => ("a whole number", "write digits without quotes or unit".into()),
        ("number", _) => ("a number", "write digits without quotes or unit".into()),
        (_, Some("duration")) => ("a duration", "write a whole number and a unit, such as `10s`".into()),
        (_, Some("size")) => ("a size", "write a whole number and a unit, such as `8MiB`".into()),
        _ => ("text", "put the value in quotes".into()),
    }
}

/// "did you mean": the nearest known name if it is near enough, and always all of them.
pub fn suggest(written: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    match tarsier_core::rules::nearest(written, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`? (known: {all})"),
        None => format!("use one of: {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near_or_absent() {
        assert!(
            suggest("Intervall", &["interval", "max_connections"]).starts_with("did you mean `interval`")
        );
        assert!(suggest("colour", &["interval", "max"]).starts_with("use one of"));
    }
}
