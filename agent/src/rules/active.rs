//! The rules that run: read, loaded, selected and compiled.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::bail;
use tarsier_abi::Sensor;
use tarsier_abi::syscall::{Call, Plan};
use tarsier_core::event::alert::Priority;
use tarsier_core::rules::compat::Compat;
use tarsier_core::rules::compile::Compiled;
use tarsier_core::rules::need;
use tarsier_core::rules::problem::{Code, Problem};
use tarsier_core::rules::readings;
use tarsier_core::rules::ruleset::{Ready, Ruleset};
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
    /// Whose behaviour they have.
    pub compat: Compat,
    /// Which path of a file is its name.
    pub paths: Paths,
    /// When it was put together.
    pub loaded_at: SystemTime,
}

impl Active {
    /// Reads and compiles what is configured; none: no files are. What is wrong with a rule is logged, with its place, and
    /// costs that rule alone.
    ///
    /// Rules less than `floor` are off: nobody would be told, and they must not take an event from another rule. Rules that
    /// only sensors which are `off` would tell of anything are warned of.
    ///
    /// # Errors
    /// A path leads nowhere, or no rule at all could be loaded.
    pub fn load(config: &RulesConfig, floor: Priority, off: &[Sensor]) -> anyhow::Result<Option<Self>> {
        if config.files.is_empty() {
            return Ok(None);
        }
        Self::of(&files::read(&config.files)?, config, floor, off).map(Some)
    }

    /// The same, of files that have been read.
    ///
    /// # Errors
    /// No rule at all could be loaded.
    pub fn of(files: &Files, config: &RulesConfig, floor: Priority, off: &[Sensor]) -> anyhow::Result<Self> {
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
        let compat = config.compat.compat();
        compat.apply(&mut set);
        let entries: Vec<_> = config.select.iter().map(super::config::Selection::entry).collect();
        for idle in select(&mut set, &entries) {
            tracing::warn!(?idle, "rules.select: no rule is of this name or tag");
        }
        for ready in &mut set.rules {
            ready.rule.is_enabled &= ready.rule.priority <= floor;
        }
        for problem in set.rules.iter().filter_map(|ready| untold(ready, off)) {
            tracing::warn!("rules: {}", report.show(&problem));
        }
        Ok(Self {
            compiled: Arc::new(Compiled::new(&set)),
            set,
            digest: files.digest(),
            files: files.digests(),
            compat,
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
        let asked = |call: &Call| self.compat.kinds(*call).any(|kind| self.compiled.asks_for(kind));
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

/// A problem if a rule that runs is about nothing but what sensors tell that are off.
fn untold(ready: &Ready, off: &[Sensor]) -> Option<Box<Problem>> {
    let runs = ready.rule.is_enabled && ready.can_match();
    let (kind, sensor) = ready.events.iter().map(|kind| (kind, told_by(kind))).find(|_| runs)?;
    if !ready.events.iter().all(|kind| off.contains(&told_by(kind))) {
        return None;
    }
    let name = sensor.name();
    let message = format!("the rule never matches: sensor `{name}` is off, and it tells of `{kind}`");
    let problem = Box::new(Problem::new(Code::NeverMatches, ready.rule.span, message));
    Some(problem.help(format!(
        "turn it on: `sensors: {{{name}: true}}` in the configuration, or add it to --sensors"
    )))
}

/// The sensor that tells of a type of events: of programs that start those that do.
fn told_by(kind: &str) -> Sensor {
    match kind {
        "execve" | "execveat" => Sensor::Exec,
        "procexit" => Sensor::Exit,
        _ => Sensor::Syscall,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_no_sensor_tells_of_anything_says_which_would() {
        let rule = |condition: &str| {
            let text =
                format!("- rule: r\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n");
            Ruleset::load(&[tarsier_core::rules::load::Source { name: "t.yaml", text: &text }])
        };
        for (condition, off, expected) in [
            ("evt.type = unlinkat", &[][..], None),
            ("evt.type = unlinkat", &[Sensor::Exec, Sensor::IoUring], None),
            ("evt.type = unlinkat", &[Sensor::Syscall], Some("syscall")),
            ("evt.type in (execve, execveat) and evt.res = 0", &[Sensor::Exec], Some("exec")),
            ("evt.type in (execve, unlinkat)", &[Sensor::Exec], None),
            ("evt.type in (execve, unlinkat)", &[Sensor::Exec, Sensor::Syscall], Some("exec")),
            ("evt.type = procexit", &[Sensor::Exit], Some("exit")),
            ("evt.type = unlinkat and evt.type = openat", &[Sensor::Syscall], None),
        ] {
            let set = rule(condition);
            let told = untold(&set.rules[0], off);
            let named = expected.map(|name: &str| format!("sensor `{name}` is off"));
            assert_eq!(told.is_some(), named.is_some(), "{condition} {off:?}");
            assert!(told.is_none_or(|told| told.message.contains(&named.unwrap_or_default())), "{condition}");
        }
        let mut set = rule("evt.type = unlinkat");
        set.rules[0].rule.is_enabled = false;
        assert!(untold(&set.rules[0], &[Sensor::Syscall]).is_none(), "nobody wants it");
    }

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
        let calls = |floor| Active::load(&config, floor, &[]).unwrap().unwrap().calls();
        assert_eq!(calls(Priority::Debug), [Call::setns, Call::unshare]);
        assert_eq!(calls(Priority::Notice), [Call::setns, Call::unshare]);
        assert_eq!(calls(Priority::Warning), [Call::setns]);
        assert_eq!(calls(Priority::Error), []);
    }
}
