//! The rules that run: read, loaded, selected and compiled.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::bail;
use tarsier_abi::syscall::{Call, Plan};
use tarsier_core::event::alert::Priority;
use tarsier_core::rules::compile::Compiled;
use tarsier_core::rules::facts;
use tarsier_core::rules::need;
use tarsier_core::rules::readings;
use tarsier_core::rules::ruleset::Ruleset;
use tarsier_core::rules::select::select;

use super::{Files, Paths, Report, RulesConfig, files};

/// A set of rules, ready to run.
#[derive(Clone, Debug)]
pub struct Active {
    /// The rules.
    pub set: Ruleset,
    /// Those that are on, compiled.
    pub compiled: Arc<Compiled>,
    /// Names this set: [`Files::digest`].
    pub digest: String,
    /// The names of its files, and the SHA-256 of each, in hexadecimal.
    pub files: Vec<(String, String)>,
    /// Which path of a file is its name.
    pub paths: Paths,
    /// When it was put together.
    pub loaded_at: SystemTime,
}

impl Active {
    /// Reads and compiles what is configured; none: no files are. What is wrong with a rule is logged, with its place, and
    /// costs that rule alone.
    ///
    /// Rules less than `floor` are off: nobody would be told, and they must not take an event from another rule.
    ///
    /// # Errors
    /// A path leads nowhere, or no rule at all could be loaded.
    pub fn load(config: &RulesConfig, floor: Priority) -> anyhow::Result<Option<Self>> {
        if config.files.is_empty() {
            return Ok(None);
        }
        Self::of(&files::read(&config.files)?, config, floor).map(Some)
    }

    /// The same, of files that have been read.
    ///
    /// # Errors
    /// No rule at all could be loaded.
    pub fn of(files: &Files, config: &RulesConfig, floor: Priority) -> anyhow::Result<Self> {
        let sources = files.sources();
        let mut set = Ruleset::load(&sources);
        for unread in &files.unread {
            tracing::error!("rules: {unread}");
        }
        let report = Report::new(&sources, false);
        for problem in &set.problems {
            let shown = report.show(problem);
            if problem.is_error() {
                tracing::error!("rules: {shown}");
            } else {
                tracing::warn!("rules: {shown}");
            }
        }
        if set.rules.is_empty() {
            bail!("no rule could be loaded: run `tarsier rules check` on the files");
        }
        let entries: Vec<_> = config.select.iter().map(super::config::Selection::entry).collect();
        for idle in select(&mut set, &entries) {
            tracing::warn!(?idle, "rules.select: no rule is of this name or tag");
        }
        for ready in &mut set.rules {
            ready.rule.is_enabled &= ready.rule.priority <= floor;
        }
        Ok(Self {
            compiled: Arc::new(Compiled::new(&set)),
            set,
            digest: files.digest(),
            files: files.digests(),
            paths: config.paths,
            loaded_at: SystemTime::now(),
        })
    }

    /// How many rules run.
    pub fn running(&self) -> usize {
        self.set.rules.iter().filter(|ready| ready.rule.is_enabled).count()
    }

    /// The system calls that rules are about.
    pub fn calls(&self) -> Vec<Call> {
        let asked = |call: &Call| facts::kinds(*call).any(|kind| self.compiled.asks_for(kind));
        Call::ALL.into_iter().filter(asked).collect()
    }

    /// What the kernel may drop of them.
    pub fn plan(&self) -> Box<Plan> {
        Box::new(need::plan(&self.filtered()))
    }

    /// The rules as far as the kernel's filters may rely on what they say.
    pub fn filtered(&self) -> Cow<'_, Ruleset> {
        match self.paths {
            Paths::Written => Cow::Borrowed(&self.set),
            Paths::Either => Cow::Owned(readings::of_either(&self.set)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_below_the_floor_are_off_and_ask_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let rule = |name: &str, call: &str, priority: &str| {
            format!(
                "- rule: {name}\n  desc: d\n  condition: evt.type = {call}\n  output: o\n  priority: {priority}\n"
            )
        };
        let path = directory.path().join("r.yaml");
        std::fs::write(&path, rule("a", "setns", "WARNING") + &rule("b", "unshare", "NOTICE")).unwrap();
        let config = RulesConfig { files: vec![path], ..RulesConfig::default() };
        let calls = |floor| Active::load(&config, floor).unwrap().unwrap().calls();
        assert_eq!(calls(Priority::Debug), [Call::setns, Call::unshare]);
        assert_eq!(calls(Priority::Notice), [Call::setns, Call::unshare]);
        assert_eq!(calls(Priority::Warning), [Call::setns]);
        assert_eq!(calls(Priority::Error), []);
    }
}
