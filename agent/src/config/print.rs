//! The effective configuration as YAML that can be read back, each value with its origin.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value as Json;

use super::Loaded;

/// The whole configuration, defaults included. A comment behind each value says where it came from.
/// Values of headers are not shown.
pub fn print(loaded: &Loaded) -> String {
    let json = serde_json::to_value(&loaded.config).expect("a configuration has only string keys");
    with_origins(&json, |path| loaded.origins.get(path).map_or("default", String::as_str).to_owned())
}

/// Only these values, each with its origin behind it; an origin is that of all below it.
pub(super) fn part(json: &Json, origins: &BTreeMap<String, String>) -> String {
    with_origins(json, |path| {
        let is_in = |known: &str| {
            path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let longest = origins.iter().filter(|(known, _)| is_in(known)).max_by_key(|(known, _)| known.len());
        longest.map(|(_, origin)| origin.clone()).unwrap_or_default()
    })
}

fn with_origins(json: &Json, origin: impl Fn(&str) -> String) -> String {
    let mut lines = Vec::new();
    collect(json, "", 0, &mut |indent, path, text, is_value| {
        lines.push((format!("{:indent$}{text}", ""), is_value.then(|| origin(path))));
    });
    let width = lines.iter().filter(|(_, origin)| origin.is_some()).map(|(text, _)| text.chars().count());
    let width = width.max().unwrap_or(0).min(60);
    lines.iter().fold(String::new(), |mut all, (text, origin)| {
        let written = match origin {
            Some(origin) => writeln!(all, "{text:width$}  # {origin}"),
            None => writeln!(all, "{text}"),
        };
        written.expect("a string takes all that is written");
        all
    })
}

/// What YAML takes for a key without a `?` before it, in characters (YAML 1.2.2, 7.4.2 says 1,024).
const LONGEST_KEY: usize = 1_000;

/// Calls `line(indent, path, text, is_value)` for each line, top to bottom.
pub(super) fn collect(
    json: &Json,
    path: &str,
    indent: usize,
    line: &mut dyn FnMut(usize, &str, String, bool),
) {
    let Json::Object(map) = json else { return };
    for (key, value) in map {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let mut key = text(key);
        if key.chars().count() > LONGEST_KEY {
            line(indent, &path, format!("? {key}"), false);
            key.clear();
        }
        match value {
            Json::Object(inner) if !inner.is_empty() => {
                line(indent, &path, format!("{key}:"), false);
                collect(value, &path, indent + 2, line);
            }
            Json::Array(items) if !items.is_empty() => {
                line(indent, &path, format!("{key}:"), false);
                for item in items {
                    line(indent + 2, &path, format!("- {}", scalar(item)), true);
                }
            }
            _ => line(indent, &path, format!("{key}: {}", scalar(value)), true),
        }
    }
}

/// A scalar, an empty list or an empty map; apart from text, JSON's spelling is YAML too.
fn scalar(json: &Json) -> String {
    match json {
        Json::String(string) => text(string),
        other => other.to_string(),
    }
}

/// Without quotes where YAML reads the plain form back as the same text.
fn text(string: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let plain = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && string.chars().all(safe)
        && !matches!(
            string.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    let amount = string.starts_with(|c: char| c.is_ascii_digit())
        && string.ends_with(['s', 'm', 'h', 'B'])
        && string.chars().all(|c| c.is_ascii_alphanumeric())
        && !string.starts_with("0x");
    if plain || amount { string.to_owned() } else { quoted(string) }
}

/// In double quotes. JSON escapes fewer characters than YAML asks for.
fn quoted(string: &str) -> String {
    let mut text = String::from('"');
    for letter in string.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            '\n' => text.push_str("\\n"),
            ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' => {
                text.push(letter);
            }
            other => text.push_str(&format!("\\U{:08X}", u32::from(other))),
        }
    }
    text + "\""
}
