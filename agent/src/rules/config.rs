//! The rules' section of the configuration file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarsier_core::rules::compat::Compat;
use tarsier_core::rules::select::{Entry, Which};

/// Which rules run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Rule files of Falco, and folders of them (all that ends in `.yaml` or `.yml` and not in
    /// `.test.yaml` or `.test.yml`, by name), loaded as one set in this order. None: no rules. Our own rules are
    /// `deploy/rules/tarsier.yaml` of the sources, to be put into `/etc/tarsier/rules`.
    ///
    /// They and the configuration file are loaded anew on SIGHUP and when they change: 0.2 s after the last change (2 s after the first),
    /// and not while somebody has a file open that was written to. Of the configuration `rules`, `alerts` and `redaction` change with
    /// that, without the loss of an event or an alert; of everything else a line of the log says that it stays as it was. If something
    /// cannot be loaded, all of it goes on as before. Whether there are rules at all is said at the start.
    pub files: Vec<PathBuf>,
    /// What becomes of an event that several rules match.
    pub matching: Matching,
    /// Whose behaviour rules have where Falco is plainly wrong.
    pub compat: CompatName,
    /// Which path of a file that was opened its name is (`fd.name`, `fd.directory`, `fd.filename`, `fs.path.name`), in
    /// conditions and in alerts.
    pub paths: Paths,
    /// Switches rules on and off, one entry after the other; a later one wins.
    pub select: Vec<Selection>,
    /// Measures what each rule costs: `tarsier_rule_evaluations_total` and `tarsier_rule_evaluation_nanoseconds_total`, by rule. Off,
    /// since the clock is then read for every rule and event, some 25 ns each time, which is in the figure. What several rules
    /// compare is looked at once, and counts for the first of them.
    pub cost: bool,
}

/// What becomes of an event that several rules match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Matching {
    /// Every rule tells.
    #[default]
    All,
    /// The first rule tells, in the order of the files; what Falco does unless told otherwise.
    First,
}

/// Whose behaviour rules have where Falco is plainly wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompatName {
    /// `fd.net in (…)` looks at every network; rules about `open` see `creat` and `open_by_handle_at`, rules about `fchmodat`
    /// see `fchmodat2`.
    #[default]
    Tarsier,
    /// It looks at the first network only; each call is of its own type only.
    Falco,
}

impl CompatName {
    pub(super) fn compat(self) -> Compat {
        match self {
            Self::Tarsier => Compat::Tarsier,
            Self::Falco => Compat::Falco,
        }
    }
}

/// Which path of a file that was opened its name is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Paths {
    /// The one that the program wrote, made absolute without following symbolic links, as in Falco: whoever puts a link
    /// to a file elsewhere opens it under another name.
    #[default]
    Written,
    /// A rule is tried with the path that was written and, where that is another, with the kernel's own path of what was
    /// opened, and tells if it matches with one of the two. Calls that open nothing (`unlink`, `rename`, `chmod`) have the
    /// written one only. Other names of a file that are no symbolic links, hard links and bind mounts, have paths of their own.
    Either,
}

/// Switches rules on or off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// These run.
    Enable(Named),
    /// These do not.
    Disable(Named),
}

/// Rules by name or by tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Named {
    /// Those whose whole name this is; `*` stands for any text.
    Rule(String),
    /// Those that have this tag.
    Tag(String),
}

impl Selection {
    pub(super) fn entry(&self) -> Entry {
        let (enable, named) = match self {
            Self::Enable(named) => (true, named),
            Self::Disable(named) => (false, named),
        };
        let which = match named {
            Named::Rule(pattern) => Which::Rule(pattern.clone()),
            Named::Tag(tag) => Which::Tag(tag.clone()),
        };
        Entry { enable, which }
    }
}
