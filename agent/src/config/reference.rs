//! `docs/reference/config.md`, generated from the schema and the defaults.

use std::fmt::Write;

use serde_json::Value as Json;
use tarsier_core::encode::redact::{DEFAULTS, MARK};

use super::Config;
use super::check::SchemaAt;

const INTRODUCTION: &str = "# Configuration reference

<!-- Generated from the code: `TARSIER_BLESS=1 cargo test -p tarsier fresh` rewrites this file. -->

`tarsier run --config FILE` reads one YAML file. Every option has a default, and no file is needed.
Precedence, weakest first: default, environment, file, command line. `tarsier config check FILE`
reports every mistake at once; `tarsier config print --config FILE` shows the effective values and
where each came from. Durations are a whole number and `ms`, `s`, `m` or `h`; sizes a whole number
and `B`, `KiB`, `MiB` or `GiB`.
";

/// The whole page.
pub fn reference() -> String {
    let schema = super::schema();
    let defaults = serde_json::to_value(Config::default()).expect("a configuration has only string keys");
    let mut page = INTRODUCTION.to_owned();
    let root = SchemaAt::root(schema);
    for (key, property) in properties(root) {
        section(&mut page, key, property, &defaults[key]).expect("a string takes all that is written");
        if key == "redaction" {
            built_in_redaction(&mut page).expect("a string takes all that is written");
        }
    }
    page
}

fn built_in_redaction(page: &mut String) -> std::fmt::Result {
    writeln!(page, "\nHidden by default, replaced by `{MARK}`:\n\n| what | where |\n|---|---|")?;
    DEFAULTS.iter().try_for_each(|(name, description)| {
        writeln!(page, "| {name} | {} |", description.replace('|', "\\|"))
    })
}

fn properties(schema: SchemaAt<'_>) -> impl Iterator<Item = (&String, SchemaAt<'_>)> {
    let properties = schema.here["properties"].as_object().into_iter().flatten();
    properties.map(move |(key, property)| (key, schema.at(property)))
}

fn section(page: &mut String, key: &str, property: SchemaAt<'_>, default: &Json) -> std::fmt::Result {
    writeln!(page, "\n## `{key}`\n\n{}", doc(property))?;
    let (resolved, _) = property.resolve();
    if resolved.here["properties"].is_object() {
        writeln!(page, "\n| option | type | default | meaning |\n|---|---|---|---|")?;
        rows(page, key, resolved, default)?;
    } else {
        writeln!(page, "\nType: {}. Default: `{default}`.", type_of(property))?;
    }
    Ok(())
}

fn rows(page: &mut String, path: &str, schema: SchemaAt<'_>, defaults: &Json) -> std::fmt::Result {
    for (key, property) in properties(schema) {
        let path = format!("{path}.{key}");
        let (resolved, _) = property.resolve();
        if resolved.here["properties"].is_object() {
            rows(page, &path, resolved, &defaults[key])?;
            continue;
        }
        let default = match &defaults[key] {
            Json::Null => "not set".to_owned(),
            Json::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        writeln!(page, "| `{path}` | {} | {default} | {} |", type_of(property), meaning(property))?;
        let (items, _) = resolved.at(&resolved.here["items"]).resolve();
        if items.here["properties"].is_object() {
            // The default list may be empty: what an item leaves out is in the schema.
            rows(page, &format!("{path}[]"), items, &defaults_of(items))?;
        }
        alternatives(page, &format!("{path}[]"), items)?;
    }
    Ok(())
}

/// The keys of which a map has one.
fn alternatives(page: &mut String, path: &str, schema: SchemaAt<'_>) -> std::fmt::Result {
    for (key, property, doc) in schema.alternatives() {
        let path = format!("{path}.{key}");
        writeln!(page, "| `{path}` | {} | not set | {} |", type_of(property), doc.replace('|', "\\|"))?;
        alternatives(page, &path, property.resolve().0)?;
    }
    Ok(())
}

/// What the properties of a map are where it does not say.
fn defaults_of(schema: SchemaAt<'_>) -> Json {
    properties(schema).map(|(key, property)| (key.clone(), property.here["default"].clone())).collect()
}

fn doc(schema: SchemaAt<'_>) -> String {
    let (resolved, _) = schema.resolve();
    let text = schema.here["description"].as_str().or_else(|| resolved.here["description"].as_str());
    text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The documentation, and that of each choice.
fn meaning(schema: SchemaAt<'_>) -> String {
    let (resolved, _) = schema.resolve();
    let mut text = doc(schema);
    for (name, doc) in resolved.choices() {
        if !doc.is_empty() {
            text.push_str(&format!("<br>`{name}`: {}", doc.replace('\n', " ")));
        }
    }
    text
}

fn type_of(schema: SchemaAt<'_>) -> String {
    let (resolved, _) = schema.resolve();
    let choices = resolved.choices();
    if !choices.is_empty() {
        return choices.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    }
    let alternatives: Vec<String> =
        resolved.alternatives().iter().map(|(key, ..)| format!("`{key}`")).collect();
    if !alternatives.is_empty() {
        return format!("map with {}", alternatives.join(" or "));
    }
    let here = resolved.here;
    let name = match (resolved.type_name(), here["format"].as_str()) {
        ("object", _) => "map of text".to_owned(),
        ("string", Some("regex")) => "regular expression".to_owned(),
        ("string", Some("absolute-path")) => "absolute path".to_owned(),
        ("string", Some("output-field")) => "text or map of text".to_owned(),
        ("array", _) if resolved.at(&here["items"]).resolve().0.here["properties"].is_object() => {
            "list of maps".to_owned()
        }
        ("array", _) if !resolved.at(&here["items"]).resolve().0.alternatives().is_empty() => {
            "list of maps".to_owned()
        }
        ("array", _) => format!("list of {}", type_of(resolved.at(&here["items"]))),
        ("string", Some("listen")) => "`IP:PORT` or `none`".to_owned(),
        ("string", Some(format @ ("duration" | "size"))) => format.to_owned(),
        ("string", _) => "text".to_owned(),
        ("integer", _) => "whole number".to_owned(),
        (other, _) => other.to_owned(),
    };
    let bound = |own: &str, standard: &str| {
        here[own].as_str().map(str::to_owned).or_else(|| Some(here[standard].as_number()?.to_string()))
    };
    match (bound("x-min", "minimum"), bound("x-max", "maximum")) {
        (Some(min), Some(max)) => format!("{name}, {min} to {max}"),
        _ => name,
    }
}
