//! The alerts' section of the configuration file. Options that Falco has too bear Falco's names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarsier_core::event::alert::Priority;
use tarsier_core::rules::throttle::Throttle;

use super::append::{Addition, AppendOutput};
use super::file::FileOutput;
use super::http::{HttpOutput, Target};
use super::program::ProgramOutput;
use super::syslog::SyslogOutput;
use crate::config::units::{ByteSize, Duration};

/// What matched rules tell, and whom.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertsConfig {
    /// Rules of this priority and worse ones run.
    pub priority: PriorityName,
    /// Alerts as JSON, one object a line, in place of text: for every channel that does not say otherwise.
    pub json_output: bool,
    /// In JSON: `output`, the line as text.
    pub json_include_output_property: bool,
    /// In JSON: `message`, which is `output` without time and priority.
    pub json_include_message_property: bool,
    /// In JSON: `output_fields`, the values of the fields in the output.
    pub json_include_output_fields_property: bool,
    /// In JSON: `tags`, the rule's tags.
    pub json_include_tags_property: bool,
    /// Date and time in UTC in front of the message, in place of the local time of day.
    pub time_format_iso_8601: bool,
    /// What is added to the output of rules.
    pub append_output: Vec<AppendOutput>,
    /// How many alerts one rule may tell. Off by default.
    pub throttle: ThrottleConfig,
    /// Alerts that say the same again. All are told by default.
    pub group: GroupConfig,
    /// Alerts on standard output, among the lines of events if those are printed too (`output.format`); where those
    /// are JSON, alerts are.
    pub stdout_output: StdoutOutput,
    /// Alerts appended to a file.
    pub file_output: FileOutput,
    /// Alerts to the system's log.
    pub syslog_output: SyslogOutput,
    /// Alerts to the standard input of a program.
    pub program_output: ProgramOutput,
    /// Alerts by HTTP, each the body of a POST.
    pub http_output: HttpOutput,
    /// Most memory for alerts that wait for a channel, for each channel but standard output (`output.buffer_bytes`). When
    /// it is full, the oldest make room, counted by cause: nothing else waits for a channel.
    #[schemars(extend("x-min" = "64KiB", "x-max" = "1GiB"))]
    pub queue_bytes: ByteSize,
    /// How long one attempt to send an alert may take; a program is killed then.
    #[schemars(extend("x-min" = "10ms", "x-max" = "10m"))]
    pub output_timeout: Duration,
    /// How long an alert is tried again that a channel could not send, with growing pauses; then it is dropped, counted
    /// by cause. `0s`: for ever.
    pub retry_for: Duration,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        let suggested = AppendOutput { suggested_output: true, ..AppendOutput::default() };
        Self {
            priority: PriorityName::default(),
            json_output: false,
            json_include_output_property: true,
            json_include_message_property: false,
            json_include_output_fields_property: true,
            json_include_tags_property: true,
            time_format_iso_8601: false,
            append_output: vec![suggested],
            throttle: ThrottleConfig::default(),
            group: GroupConfig::default(),
            stdout_output: StdoutOutput::default(),
            file_output: FileOutput::default(),
            syslog_output: SyslogOutput::default(),
            program_output: ProgramOutput::default(),
            http_output: HttpOutput::default(),
            queue_bytes: ByteSize::from_mib(4),
            output_timeout: Duration::from_secs(10),
            retry_for: Duration::from_secs(60),
        }
    }
}

/// How many alerts one rule may tell; the others are counted (`tarsier_rule_withheld_total`, `throttled`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ThrottleConfig {
    /// Alerts of one rule in a minute, in the long run. 0: as many as there are.
    pub rate_per_minute: u32,
    /// How many at once, after a time without any.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: u32,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self { rate_per_minute: 0, burst: 10 }
    }
}

impl ThrottleConfig {
    /// One bucket, if there are to be any.
    pub fn bucket(&self) -> Option<Throttle> {
        const MINUTE_NS: u64 = 60_000_000_000;
        let interval_ns = MINUTE_NS.checked_div(self.rate_per_minute.into())?;
        Some(Throttle::new(interval_ns, self.burst))
    }
}

/// Of alerts of one rule about one program in one workload, one is told in each window. It says how many were held back
/// since the one before (`tarsier.suppressed` among the fields); all are counted (`tarsier_rule_withheld_total`,
/// `grouped`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// How long a window is. `0s`: every alert is told.
    pub window: Duration,
}

/// Alerts on standard output.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StdoutOutput {
    /// Whether alerts are printed.
    pub enabled: bool,
    /// JSON or text here, whatever else says so.
    pub json_output: Option<bool>,
}

impl Default for StdoutOutput {
    fn default() -> Self {
        Self { enabled: true, json_output: None }
    }
}

/// A priority, as it is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PriorityName {
    /// The system cannot be used.
    Emergency,
    /// Act at once.
    Alert,
    /// Critical conditions.
    Critical,
    /// Errors.
    Error,
    /// Warnings.
    Warning,
    /// Normal, but worth a look.
    Notice,
    /// For information.
    Informational,
    /// The same.
    Info,
    /// Everything.
    #[default]
    Debug,
}

impl From<PriorityName> for Priority {
    fn from(name: PriorityName) -> Self {
        match name {
            PriorityName::Emergency => Self::Emergency,
            PriorityName::Alert => Self::Alert,
            PriorityName::Critical => Self::Critical,
            PriorityName::Error => Self::Error,
            PriorityName::Warning => Self::Warning,
            PriorityName::Notice => Self::Notice,
            PriorityName::Informational | PriorityName::Info => Self::Informational,
            PriorityName::Debug => Self::Debug,
        }
    }
}

/// One mistake in the section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// Where: a dotted path within the section.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead; empty if `problem` says so.
    pub fix: String,
}

impl AlertsConfig {
    /// What the schema cannot see: outputs that are none, and channels that lack something.
    pub fn check(&self) -> Vec<ConfigError> {
        let mut errors = self.additions().err().unwrap_or_default();
        let mut report = |key: &str, problem: String, fix: &str| {
            errors.push(ConfigError { key: key.to_owned(), problem, fix: fix.to_owned() });
        };
        if self.program_output.enabled && self.program_output.program.trim().is_empty() {
            report("program_output.program", "is empty".into(), "name a program, or disable the channel");
        }
        let http = &self.http_output;
        if http.enabled {
            if let Err((key, problem)) = Target::of(http, false) {
                report(&format!("http_output.{key}"), problem, "");
            }
            if http.client_cert.is_some() != http.client_key.is_some() {
                let problem = "needs the other of client_cert and client_key".into();
                report("http_output.client_cert", problem, "name both, or neither");
            }
        }
        errors
    }

    /// What is added to outputs, parsed.
    ///
    /// # Errors
    /// Whatever of it is no output.
    pub fn additions(&self) -> Result<Vec<Addition>, Vec<ConfigError>> {
        let mut additions = Vec::new();
        let mut errors = Vec::new();
        for (index, entry) in self.append_output.iter().enumerate() {
            match entry.parse(&format!("append_output[{index}]")) {
                Ok(addition) => additions.push(addition),
                Err(mistakes) => errors.extend(mistakes),
            }
        }
        if errors.is_empty() { Ok(additions) } else { Err(errors) }
    }
}
