//! The sections of the configuration that belong to the pipeline as a whole. A module with options
//! of its own (`ops`, each exporter) keeps its section beside its code.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tarsier_abi::Sensor;

use super::units::{ByteSize, Duration, Secret};

/// Which sensors are on: a map of sensor name to `true` or `false`; what it leaves out is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sensors {
    off: BTreeSet<Sensor>,
}

impl Sensors {
    /// Turns on exactly these.
    pub fn only(sensors: &[Sensor]) -> Self {
        Self { off: Sensor::ALL.into_iter().filter(|sensor| !sensors.contains(sensor)).collect() }
    }

    /// Whether the user wants this sensor.
    pub fn is_on(&self, sensor: Sensor) -> bool {
        !self.off.contains(&sensor)
    }

    /// Those that are off, in registry order.
    pub fn off(&self) -> Vec<Sensor> {
        self.off.iter().copied().collect()
    }

    /// Those that are on, in registry order.
    pub fn on(&self) -> impl Iterator<Item = Sensor> + '_ {
        Sensor::ALL.into_iter().filter(|sensor| self.is_on(*sensor))
    }
}

/// The sensor with this name.
pub fn sensor_by_name(name: &str) -> Option<Sensor> {
    Sensor::ALL.into_iter().find(|sensor| sensor.name() == name)
}

impl Serialize for Sensors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Sensor::ALL.into_iter().map(|sensor| (sensor.name(), self.is_on(sensor))))
    }
}

impl<'de> Deserialize<'de> for Sensors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut sensors = Self::default();
        for (name, on) in BTreeMap::<String, bool>::deserialize(deserializer)? {
            let sensor = sensor_by_name(&name)
                .ok_or_else(|| de::Error::custom(format!("there is no sensor `{name}`")))?;
            if !on {
                sensors.off.insert(sensor);
            }
        }
        Ok(sensors)
    }
}

impl JsonSchema for Sensors {
    fn schema_name() -> Cow<'static, str> {
        "Sensors".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let properties: serde_json::Map<_, _> = Sensor::ALL
            .into_iter()
            .map(|sensor| {
                let doc = serde_json::json!({ "type": "boolean", "description": sensor.doc() });
                (sensor.name().to_owned(), doc)
            })
            .collect();
        schemars::json_schema!({ "type": "object", "properties": properties, "additionalProperties": false })
    }
}

/// By which hooks sensors attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    /// Kinds of hook that a sensor takes only where it has no other (`tarsier sensors` lists what each
    /// can use): for a kernel on which one of them does harm.
    pub avoid: Vec<HookKind>,
}

/// A kind of hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// The entry of a kernel function, by trampoline.
    Fentry,
    /// The return of the kernel functions of system calls, by trampoline.
    Fexit,
    /// A tracepoint with typed arguments.
    TpBtf,
    /// A tracepoint whose arguments are numbers.
    RawTp,
    /// The entry of a kernel function, by breakpoint.
    Kprobe,
}

impl From<HookKind> for tarsier_abi::HookKind {
    fn from(kind: HookKind) -> Self {
        match kind {
            HookKind::Fentry => Self::Fentry,
            HookKind::Fexit => Self::Fexit,
            HookKind::TpBtf => Self::BtfTracepoint,
            HookKind::RawTp => Self::RawTracepoint,
            HookKind::Kprobe => Self::Kprobe,
        }
    }
}

/// What part of the node is captured. The filter runs in the kernel, first thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// Capture only this cgroup and its descendants: an absolute path of a directory under the
    /// cgroup mount (`/sys/fs/cgroup/…`). Not set: the whole node.
    #[schemars(extend("format" = "absolute-path"))]
    pub cgroup: Option<String>,
}

/// Secrets in command lines, replaced before they leave the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Redaction {
    /// Whether arguments are redacted.
    pub enabled: bool,
    /// Regular expressions, in addition to the built-in ones. With a capture group, what the first
    /// group matched is hidden; without one, the whole match.
    #[schemars(extend("items" = serde_json::json!({ "type": "string", "format": "regex" })))]
    pub patterns: Vec<String>,
}

impl Default for Redaction {
    fn default() -> Self {
        Self { enabled: true, patterns: Vec::new() }
    }
}

/// The process table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Most processes held, ended ones that linger included. Above it the oldest ended ones go
    /// first, counted as evictions.
    #[schemars(range(min = 1024, max = 4_194_304))]
    pub max_entries: u32,
    /// How long an ended process is kept, for events that still name it.
    #[schemars(extend("x-min" = "1s", "x-max" = "1h"))]
    pub linger: Duration,
}

impl Default for Process {
    fn default() -> Self {
        Self { max_entries: 65_536, linger: Duration::from_secs(30) }
    }
}

/// The table of live connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Flows {
    /// How often connections that live on are read and reported.
    #[schemars(extend("x-min" = "1s", "x-max" = "1h"))]
    pub interval: Duration,
    /// Most live connections held. Above it the one that changed longest ago is given up: reported
    /// as it was last seen, and counted as an eviction.
    #[schemars(range(min = 1024, max = 16_777_216))]
    pub max_connections: u32,
    /// Secret from which trace and span ids of connections are derived. Agents that share it name
    /// both ends of a connection alike, without talking to each other; set the same one on all nodes.
    pub connection_key: Secret,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            max_connections: 262_144,
            connection_key: Secret::default(),
        }
    }
}

/// Metrics of workloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// How often metrics are exported.
    #[schemars(extend("x-min" = "1s", "x-max" = "1h"))]
    pub interval: Duration,
    /// Most series per metric. What does not fit is summed in a series named `other`.
    #[schemars(range(min = 10, max = 1_000_000))]
    pub series_limit: u32,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { interval: Duration::from_secs(15), series_limit: 2_000 }
    }
}

/// How much memory the agent may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Most memory: what the agent allocates, and its rings. Above 80 percent of it the agent gives up what
    /// waits to be exported, the oldest first, then processes that have ended and connections that changed
    /// longest ago; all of it is counted (cause `memory`). Below 70 percent all is as before. The limit of
    /// the agent's cgroup, if it has one, is kept in the same way, whether or not this is set.
    #[schemars(extend("x-min" = "32MiB"))]
    pub limit: Option<ByteSize>,
}

/// The rings between kernel and agent, and how often they are drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rings {
    /// Size of the ring for process and cgroup records: a power of two.
    #[schemars(extend("x-min" = "64KiB", "x-max" = "1GiB"))]
    pub priority_bytes: ByteSize,
    /// Size of each ring (one per group of CPUs) for all other records: a power of two.
    #[schemars(extend("x-min" = "64KiB", "x-max" = "1GiB"))]
    pub bulk_bytes: ByteSize,
    /// Shortest pause between two drains, under load.
    #[schemars(extend("x-min" = "1ms", "x-max" = "1s"))]
    pub drain_min: Duration,
    /// Longest pause between two drains, on an idle node.
    #[schemars(extend("x-min" = "1ms", "x-max" = "10s"))]
    pub drain_max: Duration,
}

impl Default for Rings {
    fn default() -> Self {
        Self {
            priority_bytes: ByteSize::from_mib(4),
            bulk_bytes: ByteSize::from_mib(8),
            drain_min: Duration::from_millis(5),
            drain_max: Duration::from_millis(250),
        }
    }
}

/// The agent's own log, on standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

/// A log level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing at all.
    Off,
    /// What stopped working.
    Error,
    /// And what is degraded.
    Warn,
    /// And what started, stopped and changed.
    #[default]
    Info,
    /// And what each stage does.
    Debug,
    /// And every record.
    Trace,
}

impl LogLevel {
    /// The name, as configuration and `tracing` spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
