//! The configuration: one YAML file, composed of the modules' own `Config` structs.
//!
//! Every option has a default; with no file the agent runs on defaults. Precedence: default, then
//! environment (`OTEL_RESOURCE_ATTRIBUTES`), then file, then command line. A bad file is refused as
//! a whole, with all its mistakes at once ([`ConfigError`]).

mod check;
mod print;
mod reference;
mod sections;
#[cfg(test)]
mod tests;
mod tree;
pub mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::DuplicateKeyPolicy;

pub use check::{Problem, suggest};
pub use print::print;
pub use reference::reference;
pub use sections::{
    Flows, Log, LogFormat, LogLevel, Metrics, Output, Process, Redaction, Rings, Scope, Sensors, Stdout,
    sensor_by_name,
};
use tree::{Node, Place, Value};

/// Everything that can be configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which sensors are on. What is left out is on.
    pub sensors: Sensors,
    /// What part of the node is captured. The filter runs in the kernel, first thing.
    pub scope: Scope,
    /// What goes to standard output.
    pub output: Output,
    /// Secrets in command lines, replaced before they leave the process.
    pub redaction: Redaction,
    /// The process table.
    pub process: Process,
    /// The table of live connections.
    pub flows: Flows,
    /// Metrics of workloads.
    pub metrics: Metrics,
    /// The rings between kernel and agent, and how often they are drained.
    pub rings: Rings,
    /// The agent's own health: HTTP endpoint and admin socket.
    pub ops: crate::ops::Config,
    /// Attributes of the agent's OpenTelemetry resource, in addition to those that it finds out.
    /// `OTEL_RESOURCE_ATTRIBUTES` adds to them; a key that is given here wins.
    pub resource_attributes: BTreeMap<String, String>,
    /// The agent's own log, on standard error.
    pub log: Log,
}

/// A configuration and where each value that is not a default came from.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Option path (keys joined by dots) to its origin: `FILE:LINE`, a variable or a flag.
    pub origins: BTreeMap<String, String>,
}

/// A configuration that cannot be used: every mistake in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file (or variable) that holds the mistakes.
    pub source: String,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            match problem.place {
                Some((line, column)) => writeln!(f, "{}:{line}:{column}: {problem}", self.source)?,
                None => writeln!(f, "{}: {problem}", self.source)?,
            }
        }
        let count = self.problems.len();
        write!(f, "{count} problem{} in {}", if count == 1 { "" } else { "s" }, self.source)
    }
}

impl Loaded {
    /// The defaults, or `file` if one is given, over `OTEL_RESOURCE_ATTRIBUTES` of the environment.
    ///
    /// # Errors
    /// The file cannot be read, or the file or the variable holds mistakes: all of them.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut loaded = match file {
            None => Self::default(),
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
                    source: name.clone(),
                    problems: vec![Problem {
                        place: None,
                        path: String::new(),
                        what: format!("cannot be read: {error}"),
                        fix: "check the path and its permissions".into(),
                    }],
                })?;
                Self::parse(&name, &text)?
            }
        };
        if let Ok(attributes) = std::env::var(ATTRIBUTES_VARIABLE) {
            loaded.merge_attributes(&attributes)?;
        }
        Ok(loaded)
    }

    /// The configuration in `text`; `source` names it in messages.
    ///
    /// # Errors
    /// All mistakes in it.
    pub fn parse(source: &str, text: &str) -> Result<Self, ConfigError> {
        let fail = |problems| ConfigError { source: source.into(), problems };
        let tree = Node::parse(text).map_err(|error| fail(vec![not_yaml(&error)]))?;
        if matches!(tree.value, Value::Null) {
            return Ok(Self::default());
        }
        let mut problems = check::check(&tree, &schema());
        if !problems.is_empty() {
            return Err(fail(problems));
        }
        // The schema has seen all it can see; what is left are types that it describes too loosely.
        let options = tree::options(DuplicateKeyPolicy::Error);
        let config: Config = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| fail(vec![not_yaml(&error)]))?;
        problems.extend(config.contradictions().into_iter().map(|mut problem| {
            problem.place = tree.find(&problem.path).map(|node| (node.at.line, node.at.column));
            problem
        }));
        if !problems.is_empty() {
            return Err(fail(problems));
        }
        let mut loaded = Self { config, origins: BTreeMap::new() };
        loaded.note_origins(source, &tree, "");
        Ok(loaded)
    }

    /// Adds what `OTEL_RESOURCE_ATTRIBUTES` holds: `key=value` pairs with commas between them,
    /// percent-encoded.
    fn merge_attributes(&mut self, text: &str) -> Result<(), ConfigError> {
        let problem = |pair: &str| Problem {
            place: None,
            path: String::new(),
            what: format!("`{pair}` is not `key=value`"),
            fix: "write `key=value,key=value`; percent-encode commas and equals signs".into(),
        };
        let mut problems = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let parts = pair.split_once('=').map(|(key, value)| (key.trim(), percent_decode(value.trim())));
            let Some((key, Some(value))) = parts.filter(|(key, _)| !key.is_empty()) else {
                problems.push(problem(pair));
                continue;
            };
            let path = format!("resource_attributes.{key}");
            if !self.config.resource_attributes.contains_key(key) {
                self.config.resource_attributes.insert(key.into(), value);
                self.origins.insert(path, ATTRIBUTES_VARIABLE.into());
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { source: ATTRIBUTES_VARIABLE.into(), problems })
        }
    }

    fn note_origins(&mut self, source: &str, node: &Node, path: &str) {
        if let Value::Map(entries) = &node.value {
            for entry in entries {
                let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                self.note_origins(source, &entry.node, &path);
            }
        } else {
            let Place { line, .. } = node.at;
            self.origins.insert(path.into(), format!("{source}:{line}"));
        }
    }
}

const ATTRIBUTES_VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";

impl Config {
    /// Values that are each in range but do not go together.
    fn contradictions(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut report = |path: &str, what: String, fix: String| {
            problems.push(Problem { place: None, path: path.into(), what, fix });
        };
        let Rings { drain_min, drain_max, priority_bytes, bulk_bytes } = self.rings;
        if drain_min > drain_max {
            report(
                "rings.drain_min",
                format!("{drain_min} is longer than drain_max ({drain_max})"),
                "make drain_min the shorter of the two".into(),
            );
        }
        for (path, size) in [("rings.priority_bytes", priority_bytes), ("rings.bulk_bytes", bulk_bytes)] {
            if !size.get().is_power_of_two() {
                let fix = units::ByteSize::from_bytes(size.get().next_power_of_two());
                report(path, format!("{size} is not a power of two"), format!("use {fix}"));
            }
        }
        if self.sensors.on().next().is_none() {
            report("sensors", "every sensor is off".into(), "set at least one to `true`".into());
        }
        problems
    }
}

/// The JSON schema of [`Config`].
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}

fn not_yaml(error: &serde_saphyr::Error) -> Problem {
    let place = error.location().map(Place::of).unwrap_or(Place::START);
    let text = error.to_string();
    let what = text.lines().next().unwrap_or_default();
    Problem {
        place: Some((place.line, place.column)),
        path: String::new(),
        // The place is said already.
        what: what.split_once(" at line ").map_or(what, |(what, _)| what).to_owned(),
        fix: "see docs/reference/config.md for the options and their form".into(),
    }
}

/// `%2C` to `,`. None if an escape is cut short, not hexadecimal, or the result is not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (high, low) = (char::from(bytes.next()?).to_digit(16)?, char::from(bytes.next()?).to_digit(16)?);
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(decoded).ok()
}
