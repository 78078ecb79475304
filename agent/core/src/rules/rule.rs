//! A rule as it was loaded: what everything after the loader works with.

use super::condition::Condition;
use super::text::{Span, Traced};

/// A rule, put together from all that was written about it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unlike any other's.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// When it matches; lists and macros are written out.
    pub condition: Condition,
    /// What its alerts say.
    pub output: Traced,
    /// How bad a match is.
    pub priority: Priority,
    /// Its tags, each once, sorted.
    pub tags: Vec<String>,
    /// Whether it is on.
    pub is_enabled: bool,
    /// Fields of its exceptions, each once, sorted.
    pub exception_fields: Vec<String>,
    /// Warn if it runs for nearly every event.
    pub warns_of_event_types: bool,
    /// It is left out, and not a mistake, if it names a field that is not known.
    pub skips_unknown_fields: bool,
    /// Where its definition stands.
    pub span: Span,
}

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
    /// All, the worst first.
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
    pub fn name(self) -> &'static str {
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
