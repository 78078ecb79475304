//! Alerts: what a rule that matched has to say of one event.

use super::{Process, Workload};

/// How bad a match is: syslog's severities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
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
    /// For whoever writes rules.
    Debug,
}

impl Priority {
    /// All, the worst first; `ALL[n] as usize == n`, which is syslog's number for it.
    pub const ALL: [Self; 8] = [
        Self::Emergency,
        Self::Alert,
        Self::Critical,
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Informational,
        Self::Debug,
    ];

    /// As alerts spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emergency => "Emergency",
            Self::Alert => "Alert",
            Self::Critical => "Critical",
            Self::Error => "Error",
            Self::Warning => "Warning",
            Self::Notice => "Notice",
            Self::Informational => "Informational",
            Self::Debug => "Debug",
        }
    }

    /// The one of this name, in capitals or not; `info` is short for informational.
    pub fn of(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("info") {
            return Some(Self::Informational);
        }
        Self::ALL.into_iter().find(|priority| priority.name().eq_ignore_ascii_case(name))
    }
}

/// One match of a rule, ready to be told.
#[derive(Clone, Copy, Debug)]
pub struct Alert<'a> {
    /// When the event happened, ns since 1970.
    pub time_unix_ns: u64,
    /// Running number of the event (`evt.num`).
    pub number: u64,
    /// The rule's name.
    pub rule: &'a str,
    /// What the rule is for; may be empty.
    pub description: &'a str,
    /// How bad it is.
    pub priority: Priority,
    /// Where the event came from: `syscall`.
    pub source: &'a str,
    /// The rule's tags, sorted.
    pub tags: &'a [String],
    /// Digest of the rules in force, in hexadecimal.
    pub ruleset: &'a str,
    /// What the rule's output says of the event, with the values in it as they are: whoever prints it escapes
    /// them. (Falco's `output` is this behind time and priority.)
    pub message: &'a str,
    /// Values of the fields in the output, sorted by key, each key once.
    pub fields: &'a [OutputField<'a>],
    /// Alerts of the same group that were held back since the last one that was told.
    pub suppressed: u64,
    /// Whose it is.
    pub workload: &'a Workload,
    /// The process that did it, if known.
    pub process: Option<&'a Process>,
    /// The span of what it is about, if there is or will be one: that of a connection.
    pub trace: Option<TraceContext>,
}

/// A field of an alert's output and what the event gave for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputField<'a> {
    /// The field as the rule writes it, argument included: `proc.aname[2]`.
    pub key: &'a str,
    /// The OpenTelemetry attribute of the same meaning.
    pub attribute: Option<&'a str>,
    /// Its value.
    pub value: OutputValue,
}

/// What an event gave for a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputValue {
    /// Nothing: it does not apply, or is not known.
    Absent,
    /// Text; bytes that are not UTF-8 are replaced.
    Text(String),
    /// A whole number: a count, port, time (ns since 1970) or duration (ns).
    Number(i128),
    /// True or false.
    Bool(bool),
    /// Several values of one kind.
    List(Vec<OutputValue>),
}

/// A span of a trace, as W3C trace context names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Not all zero.
    pub trace_id: [u8; 16],
    /// Not all zero.
    pub span_id: [u8; 8],
}
