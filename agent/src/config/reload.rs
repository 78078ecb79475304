//! What of a configuration may change while the agent runs.

use std::collections::BTreeSet;

use super::{Config, leaves};

impl Config {
    /// This configuration with the changes of `new` that can be made while the agent runs: in `redaction`, and in `rules` and
    /// `alerts` if there were rules at the start (`has_rules`; without them nothing is loaded that could feed any). And the
    /// options that differ and stay as they are.
    pub(crate) fn with_changes_of(&self, new: &Self, has_rules: bool) -> (Self, Vec<String>) {
        let mut changed = Self { redaction: new.redaction.clone(), ..self.clone() };
        if has_rules {
            changed.rules = new.rules.clone();
            changed.alerts = new.alerts.clone();
        }
        let (wanted, got) = (leaves(new), leaves(&changed));
        let differ: BTreeSet<&str> =
            wanted.symmetric_difference(&got).map(|(path, _)| path.as_str()).collect();
        let stays = differ.into_iter().map(str::to_owned).collect();
        (changed, stays)
    }
}
