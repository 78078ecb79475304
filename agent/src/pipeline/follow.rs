//! Loads configuration and rules anew when their files change, or on SIGHUP.

use std::fmt;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::rules::{Active, Files, Watch, read};

/// The configuration file, and how the command line makes a configuration of it.
#[derive(Clone)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// Reads it, with the environment and the flags.
    pub load: Arc<dyn Fn() -> anyhow::Result<Config> + Send + Sync>,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("file", &self.file).finish_non_exhaustive()
    }
}

/// What was loaded anew: a configuration that differs from the one at the start where it may, and the rules that it asks
/// for. No rules: there were none at the start.
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) active: Option<Active>,
}

/// What is looked at again and again.
#[derive(Clone)]
pub(super) struct Follower {
    /// The configuration at the start.
    pub(super) start: Config,
    /// Where it came from, if from a file.
    pub(super) origin: Option<Origin>,
    /// The digest of the rules at the start, if there were any.
    pub(super) rules: Option<String>,
}

/// What files say: the configuration and the digest of the rules, or why they cannot be read.
#[derive(Clone, PartialEq)]
struct Seen {
    config: Result<Box<Config>, String>,
    rules: Result<String, String>,
}

/// A look at the files.
struct Look {
    seen: Seen,
    /// What is to be told; nothing: they say what they said before.
    outcome: Option<anyhow::Result<Loaded>>,
    /// Options that differ from those at the start, and stay as they were then.
    stays: Vec<String>,
}

impl Follower {
    /// Loads all of it each time the files come to say something else, and each time the process is sent SIGHUP, which must not
    /// end it; `tell` is given what came of it. Files are read and rules compiled on a thread that may block. What was read
    /// while somebody was writing it does not count.
    pub(super) async fn run(self, tell: impl Fn(anyhow::Result<Loaded>)) {
        let mut asked = signal(SignalKind::hangup());
        if let Err(error) = &asked {
            tracing::error!(%error, "nothing is loaded anew on SIGHUP");
        }
        let mut watch = Watch::new();
        let rules = Ok(self.rules.clone().unwrap_or_default());
        let mut seen = Seen { config: Ok(Box::new(self.start.clone())), rules };
        let mut told = Vec::new();
        let mut must = false;
        loop {
            // Before the files are read, so that no change falls between.
            let watched = match &mut watch {
                Ok(watch) => watch.add(&self.paths(&seen)),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            if let Err(error) = &watched {
                tracing::warn!(%error, "changes of files are not seen: SIGHUP has them loaded");
            }
            let (follower, before) = (self.clone(), seen.clone());
            let looked = tokio::task::spawn_blocking(move || follower.look(&before, must)).await;
            // Where nobody is writing any more there will be a change to be heard.
            let is_half = !must && watch.as_mut().is_ok_and(|watch| watch.is_disturbed().unwrap_or(false));
            match looked {
                _ if is_half => {}
                Ok(Look { seen: now, outcome, stays }) => {
                    seen = now;
                    if must || stays != told {
                        for option in &stays {
                            tracing::warn!(
                                option,
                                "changed, and stays as it was until the agent is started anew"
                            );
                        }
                        told = stays;
                    }
                    if let Some(outcome) = outcome {
                        tell(outcome);
                    }
                }
                Err(error) => tell(Err(error.into())),
            }
            must = tokio::select! {
                () = heard(&mut asked) => true,
                () = changed(&mut watch, is_half) => false,
            };
        }
    }

    /// The files that are watched.
    fn paths(&self, seen: &Seen) -> Vec<PathBuf> {
        let config = seen.config.as_deref().unwrap_or(&self.start);
        let rules = config.rules.files.iter().filter(|_| self.rules.is_some());
        self.origin.iter().map(|origin| &origin.file).chain(rules).cloned().collect()
    }

    /// Reads the files, and loads what they say if that is something else than `before`, or if it `must` be.
    fn look(&self, before: &Seen, must: bool) -> Look {
        let has_rules = self.rules.is_some();
        let loaded = self.origin.as_ref().map_or_else(|| Ok(self.start.clone()), |origin| (origin.load)());
        let (config, stays) = match loaded {
            Ok(new) => self.start.with_changes_of(&new, has_rules),
            Err(error) => {
                let text = error.to_string();
                let seen = Seen { config: Err(text), rules: before.rules.clone() };
                let is_new = must || seen != *before;
                return Look { seen, outcome: is_new.then(|| Err(error)), stays: Vec::new() };
            }
        };
        let files = if has_rules { read(&config.rules.files) } else { Ok(Files::default()) };
        let digest = files.as_ref().map(Files::digest).map_err(|error| format!("{error:#}"));
        let rules = if has_rules { digest } else { before.rules.clone() };
        let seen = Seen { config: Ok(Box::new(config.clone())), rules };
        let outcome = (must || seen != *before).then(|| {
            if has_rules && config.rules.files.is_empty() {
                bail!("rules.files: is empty; to run without rules, start the agent anew");
            }
            let floor = config.alerts.priority.into();
            let active = has_rules
                .then(|| Active::of(&files?, &config.rules, floor, &config.sensors.off()))
                .transpose()?;
            Ok(Loaded { config, active })
        });
        Look { seen, outcome, stays }
    }
}

async fn heard(asked: &mut io::Result<Signal>) {
    if let Ok(asked) = asked
        && asked.recv().await.is_some()
    {
        return;
    }
    pending::<()>().await;
}

/// Waits for a change; or, `is_half`, until the one that is told of already is over.
async fn changed(watch: &mut io::Result<Watch>, is_half: bool) {
    if let Ok(watch) = watch {
        let changed = if is_half { watch.settled().await } else { watch.changed().await };
        if changed.is_ok() {
            return;
        }
    }
    pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config;

    const RULE: &str =
        "- rule: a\n  desc: d\n  condition: evt.type = setns\n  output: o\n  priority: ERROR\n";

    fn follower(folder: &Path, config: &str) -> (Follower, PathBuf) {
        let file = folder.join("tarsier.yaml");
        fs::write(&file, config).unwrap();
        let load = {
            let file = file.clone();
            move || Ok(config::Loaded::load(Some(&file))?.config)
        };
        let start = load().unwrap();
        let rules = (!start.rules.files.is_empty()).then(String::new);
        (Follower { start, origin: Some(Origin { file: file.clone(), load: Arc::new(load) }), rules }, file)
    }

    fn nothing(follower: &Follower) -> Seen {
        Seen { config: Ok(Box::new(follower.start.clone())), rules: Ok(String::new()) }
    }

    #[test]
    fn what_says_the_same_is_not_loaded_again_unless_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.yaml");
        let (follower, _) = follower(folder.path(), &format!("rules: {{ files: [{}] }}", path.display()));
        let look = |before: &Seen, must| {
            let look = follower.look(before, must);
            (look.seen, look.outcome.map(|outcome| outcome.map(|loaded| loaded.active.unwrap().digest)))
        };
        fs::write(&path, RULE).unwrap();
        let (first, digest) = look(&nothing(&follower), false);
        assert_eq!(first.rules, Ok(digest.unwrap().unwrap()));
        let (again, digest) = look(&first, false);
        assert!(again == first && digest.is_none());
        assert!(look(&first, true).1.unwrap().is_ok());
        // A file that holds no rule, and then none: each is told once.
        fs::write(&path, "- rule: [").unwrap();
        let (broken, digest) = look(&first, false);
        assert!(digest.unwrap().is_err());
        assert!(look(&broken, false).1.is_none());
        fs::remove_file(&path).unwrap();
        let (gone, digest) = look(&broken, false);
        assert!(digest.unwrap().is_err());
        assert!(gone.rules.is_err() && look(&gone, false).1.is_none());
        // What ran all the time is loaded again: nobody can tell that it still does.
        fs::write(&path, RULE).unwrap();
        assert!(look(&gone, false).1.unwrap().is_ok());
    }

    #[test]
    fn the_configuration_is_read_again_with_the_rules() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.yaml");
        fs::write(&path, RULE).unwrap();
        let rules = format!("rules: {{ files: [{}] }}\n", path.display());
        let (follower, file) = follower(folder.path(), &rules);
        let first = follower.look(&nothing(&follower), false).seen;
        // Of rules and alerts all may change; what may not is named, and the rest of the change holds.
        fs::write(
            &file,
            rules.clone() + "alerts: {priority: critical}\nflows: {interval: 30s}\nprocess: {linger: 10s}\n",
        )
        .unwrap();
        let Look { seen, outcome, stays } = follower.look(&first, false);
        assert_eq!(stays, ["flows.interval", "process.linger"]);
        let Loaded { config, active } = outcome.unwrap().unwrap();
        assert_eq!(active.unwrap().running(), 0, "the rule is less than what is told");
        assert_eq!(config, Config { alerts: config.alerts.clone(), ..follower.start.clone() });
        // A mistake is told once, with its place, and so is an end of it.
        fs::write(&file, rules.clone() + "alerts: {priority: loud}\n").unwrap();
        let Look { seen: broken, outcome, .. } = follower.look(&seen, false);
        let error = outcome.unwrap().err().unwrap().to_string();
        assert!(error.contains("tarsier.yaml:2:20: alerts.priority: "), "{error}");
        assert!(follower.look(&broken, false).outcome.is_none());
        fs::write(&file, "rules: {files: []}").unwrap();
        assert!(
            follower
                .look(&broken, false)
                .outcome
                .unwrap()
                .is_err_and(|error| error.to_string().contains("start the agent anew"))
        );
        fs::write(&file, &rules).unwrap();
        assert!(follower.look(&broken, false).outcome.unwrap().is_ok());
    }

    #[test]
    fn without_rules_at_the_start_none_come() {
        let folder = tempfile::tempdir().unwrap();
        let (follower, file) = follower(folder.path(), "{}");
        fs::write(&file, "rules: {files: [/r.yaml]}\nredaction: {enabled: false}\n").unwrap();
        let Look { outcome, stays, .. } = follower.look(&nothing(&follower), false);
        let Loaded { config, active } = outcome.unwrap().unwrap();
        assert!(active.is_none() && !config.redaction.enabled);
        assert_eq!(stays, ["rules.files"]);
    }
}
