//! The items of a rule file: what each says, before anything is put together.

use super::version::Version;
use crate::rules::rule::Priority;
use crate::rules::text::{Span, Traced};

/// One entry of a rule file.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// `required_engine_version`.
    Engine(Version, Span),
    /// One entry of `required_plugin_versions`: any of these will do.
    Plugin(Vec<(String, Version)>, Span),
    /// `list`.
    List(ListItem),
    /// `macro`.
    Macro(MacroItem),
    /// `rule`.
    Rule(Box<RuleItem>),
}

/// A list, or what is added to one.
#[derive(Clone, Debug)]
pub(super) struct ListItem {
    pub(super) name: String,
    pub(super) items: Vec<Traced>,
    pub(super) appends: bool,
    pub(super) span: Span,
}

/// A macro, or what is added to one.
#[derive(Clone, Debug)]
pub(super) struct MacroItem {
    pub(super) name: String,
    pub(super) condition: Traced,
    pub(super) appends: bool,
    pub(super) span: Span,
}

/// What is said about a rule.
#[derive(Clone, Debug)]
pub(super) struct RuleItem {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) change: RuleChange,
}

/// What becomes of a rule.
#[derive(Clone, Debug)]
pub(super) enum RuleChange {
    /// It is this one, whatever it was. All that a rule must have is there.
    Define(Box<RuleParts>),
    /// This is added, that replaced.
    Update { added: Option<Box<RuleParts>>, replaced: Option<Box<RuleParts>> },
    /// It is on or off.
    Enable(bool),
}

/// Parts of a rule, each as it was given.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleParts {
    pub(super) condition: Option<Traced>,
    pub(super) output: Option<Traced>,
    pub(super) description: Option<Traced>,
    pub(super) priority: Option<Priority>,
    pub(super) source: Option<Traced>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) exceptions: Option<Vec<Exception>>,
    pub(super) enabled: Option<bool>,
    pub(super) warn_evttypes: Option<bool>,
    pub(super) skip_if_unknown_filter: Option<bool>,
}

/// One exception of a rule, or values for one.
#[derive(Clone, Debug)]
pub(super) struct Exception {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) fields: Option<Entry>,
    pub(super) comps: Option<Entry>,
    pub(super) values: Vec<Entry>,
}

/// A text or a list of such.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    One(Traced, Span),
    Many(Vec<Entry>, Span),
}

impl Entry {
    pub(super) fn span(&self) -> Span {
        match self {
            Self::One(_, span) | Self::Many(_, span) => *span,
        }
    }
}
