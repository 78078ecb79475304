//! The configuration: one YAML file, composed of the modules' own `Config` structs.
//!
//! Every option has a default; with no file the agent runs on defaults. Precedence: default, then
//! environment (the `OTEL_*` variables), then file, then command line. A bad file is refused as
//! a whole, with all its mistakes at once ([`ConfigError`]).

mod check;
mod import;
mod print;
mod reference;
mod reload;
mod sections;
#[cfg(test)]
mod tests;
mod tree;
pub mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::DuplicateKeyPolicy;

pub use check::{Problem, suggest};
pub use import::{Imported, import_falco};
pub use print::print;
pub use reference::reference;
pub use sections::{
    Flows, HookKind, Hooks, Log, LogFormat, LogLevel, Memory, Metrics, Process, Redaction, Rings, Scope,
    Sensors, sensor_by_name,
};
use tree::{Node, Place, Value};

use crate::export::otlp::OtlpConfig;

/// Everything that can be configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which sensors are on. What is left out is on.
    pub sensors: Sensors,
    /// By which hooks sensors attach.
    pub hooks: Hooks,
    /// What part of the node is captured. The filter runs in the kernel, first thing.
    pub scope: Scope,
    /// What goes to standard output.
    pub output: crate::export::stdout::StdoutConfig,
    /// What rules that matched tell, and whom. Options that Falco has too bear Falco's names.
    pub alerts: crate::export::alerts::AlertsConfig,
    /// Falco rules, and which of them run.
    pub rules: crate::rules::RulesConfig,
    /// Where files of the host are found.
    pub host: crate::host::HostConfig,
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
    /// How much memory the agent may use.
    pub memory: Memory,
    /// OTLP over gRPC: logs, traces and metrics to a Collector or any backend that speaks OTLP. The
    /// standard `OTEL_EXPORTER_OTLP_*` variables fill what is not set here. Without an endpoint from
    /// either, nothing is sent.
    pub otlp: OtlpConfig,
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
    /// At least one.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        let count = self.problems.len();
        write!(f, "{count} problem{} in the configuration", if count == 1 { "" } else { "s" })
    }
}

impl ConfigError {
    /// An error if there are any problems.
    pub(crate) fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

impl Loaded {
    /// The defaults, or `file` if one is given, over the `OTEL_*` variables of the environment.
    ///
    /// # Errors
    /// The file cannot be read, or the file or a variable holds mistakes: all of them.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let lookup = |name: &str| std::env::var(name).ok();
        let Some(path) = file else { return Self::parse("", "", lookup) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let what = format!("cannot be read: {error}");
            let fix = "check the path and its permissions".into();
            ConfigError {
                problems: vec![Problem { source: name.clone(), place: None, path: String::new(), what, fix }],
            }
        })?;
        Self::parse(&name, &text, lookup)
    }

    /// The configuration in `text`, over the environment that `lookup` reads; `source` names the text
    /// in messages.
    ///
    /// # Errors
    /// All mistakes in both.
    pub fn parse(
        source: &str,
        text: &str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let not_yaml = |error| ConfigError { problems: vec![not_yaml(source, &error)] };
        let tree = Node::parse(text).map_err(not_yaml)?;
        let mut loaded = Self::default();
        if !matches!(tree.value, Value::Null) {
            ConfigError::check(check::check(source, &tree, schema()))?;
            // The schema has seen all it can see; what is left are types that it describes too loosely.
            let options = tree::options(DuplicateKeyPolicy::Error);
            loaded.config = serde_saphyr::from_str_with_options(text, options).map_err(not_yaml)?;
            loaded.note_origins(source, &tree, "");
        }
        let mut problems = loaded.merge_environment(&lookup);
        problems.extend(loaded.config.contradictions().into_iter().map(|problem| {
            let node = tree.find(&problem.path);
            let place = node.map(|node| (node.at.line, node.at.column));
            // What is not in the file came from the environment.
            let source = if place.is_some() { source } else { "environment" }.into();
            Problem { place, source, ..problem }
        }));
        ConfigError::check(problems)?;
        Ok(loaded)
    }

    fn merge_environment(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Vec<Problem> {
        let mut problems = match lookup(ATTRIBUTES_VARIABLE) {
            Some(text) => self.merge_attributes(&text),
            None => Vec::new(),
        };
        let before = leaves(&self.config.otlp);
        problems.extend(self.config.otlp.apply_env(lookup).into_iter().map(|error| Problem {
            source: error.key,
            place: None,
            path: String::new(),
            what: error.problem,
            fix: String::new(),
        }));
        for (path, _) in leaves(&self.config.otlp).difference(&before) {
            self.origins.insert(format!("otlp.{path}"), "environment".into());
        }
        problems
    }

    /// Adds what `OTEL_RESOURCE_ATTRIBUTES` holds: `key=value` pairs with commas between them,
    /// percent-encoded.
    fn merge_attributes(&mut self, text: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let parts = pair.split_once('=').map(|(key, value)| (key.trim(), percent_decode(value.trim())));
            let Some((key, Some(value))) = parts.filter(|(key, _)| !key.is_empty()) else {
                problems.push(Problem {
                    source: ATTRIBUTES_VARIABLE.into(),
                    place: None,
                    path: String::new(),
                    what: format!("`{pair}` is not `key=value`"),
                    fix: "write `key=value,key=value`; percent-encode commas and equals signs".into(),
                });
                continue;
            };
            if !self.config.resource_attributes.contains_key(key) {
                self.config.resource_attributes.insert(key.into(), value);
                self.origins.insert(format!("resource_attributes.{key}"), ATTRIBUTES_VARIABLE.into());
            }
        }
        problems
    }

    fn note_origins(&mut self, source: &str, node: &Node, path: &str) {
        if let Value::Map(entries) = &node.value {
            for entry in entries {
                let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                self.note_origins(source, &entry.node, &path);
            }
        } else {
            self.origins.insert(path.into(), format!("{source}:{}", node.at.line));
        }
    }
}

/// All values of a section: path and line.
fn leaves(section: &impl Serialize) -> BTreeSet<(String, String)> {
    let json = serde_json::to_value(section).expect("a configuration has only string keys");
    let mut leaves = BTreeSet::new();
    print::collect(&json, "", 0, &mut |_, path, text, is_value| {
        if is_value {
            leaves.insert((path.to_owned(), text));
        }
    });
    leaves
}

const ATTRIBUTES_VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";

impl Config {
    /// Values that are each in range but do not go together. Their source is not known here.
    pub(crate) fn contradictions(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut report = |path: &str, what: String, fix: String| {
            let source = String::new();
            problems.push(Problem { source, place: None, path: path.into(), what, fix });
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
        for error in self.alerts.check() {
            report(&format!("alerts.{}", error.key), error.problem, error.fix);
        }
        for error in self.otlp.check() {
            report(&format!("otlp.{}", error.key), error.problem, String::new());
        }
        problems
    }
}

/// The JSON schema of [`Config`].
pub fn schema() -> &'static serde_json::Value {
    static SCHEMA: LazyLock<serde_json::Value> = LazyLock::new(|| schemars::schema_for!(Config).to_value());
    &SCHEMA
}

fn not_yaml(source: &str, error: &serde_saphyr::Error) -> Problem {
    let place = error.location().map(Place::of).unwrap_or(Place::START);
    let text = error.to_string();
    let what = text.lines().next().unwrap_or_default();
    Problem {
        source: source.into(),
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
