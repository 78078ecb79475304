//! A rule as it was loaded: what everything after the loader works with.

use super::condition::Condition;
use super::text::{Span, Traced};
pub use crate::event::alert::Priority;

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
