//! Loads the rules anew when their files change, or on SIGHUP.

use std::future::pending;

use tarsier_core::event::alert::Priority;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::watch::Watch;
use super::{Active, RulesConfig, files};

/// What files say: their digest, or why they cannot be read.
type Seen = Result<String, String>;

/// Loads the rules each time their files come to say something else, and each time the process is sent SIGHUP, which must not
/// end it; `tell` is given what came of it. `running` is the digest of those that run. Files are read and rules compiled on a
/// thread that may block.
pub async fn follow(
    config: RulesConfig,
    floor: Priority,
    running: String,
    tell: impl Fn(anyhow::Result<Active>),
) {
    let mut asked = signal(SignalKind::hangup());
    if let Err(error) = &asked {
        tracing::error!(%error, "rules are not loaded anew on SIGHUP");
    }
    let mut seen = Ok(running);
    let mut must = false;
    loop {
        // Before the files are read, so that no change falls between.
        let watch = Watch::new(&config.files);
        if let Err(error) = &watch {
            tracing::warn!(%error, "changes of rule files are not seen: SIGHUP has them loaded");
        }
        let (files, before) = (config.clone(), seen.clone());
        let looked = tokio::task::spawn_blocking(move || look(&files, floor, &before, must)).await;
        match looked {
            Ok((now, loaded)) => {
                seen = now;
                if let Some(loaded) = loaded {
                    tell(loaded);
                }
            }
            Err(error) => tell(Err(error.into())),
        }
        must = tokio::select! {
            () = heard(&mut asked) => true,
            () = changed(&watch) => false,
        };
    }
}

async fn heard(asked: &mut std::io::Result<Signal>) {
    if let Ok(asked) = asked
        && asked.recv().await.is_some()
    {
        return;
    }
    pending::<()>().await;
}

async fn changed(watch: &std::io::Result<Watch>) {
    if let Ok(watch) = watch
        && watch.changed().await.is_ok()
    {
        return;
    }
    pending::<()>().await;
}

/// Reads the files, and loads them if they say something else than `before`, or if it `must` be.
fn look(
    config: &RulesConfig,
    floor: Priority,
    before: &Seen,
    must: bool,
) -> (Seen, Option<anyhow::Result<Active>>) {
    let read = files::read(&config.files);
    let now = read.as_ref().map(files::Files::digest).map_err(|error| format!("{error:#}"));
    let is_new = must || now != *before;
    let loaded = is_new.then(|| read.and_then(|files| Active::of(&files, config, floor)));
    (now, loaded)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const RULE: &str =
        "- rule: a\n  desc: d\n  condition: evt.type = setns\n  output: o\n  priority: ERROR\n";

    #[test]
    fn what_says_the_same_is_not_loaded_again_unless_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.yaml");
        let config = RulesConfig { files: vec![path.clone()], ..RulesConfig::default() };
        let look = |before: &Seen, must| look(&config, Priority::Debug, before, must);
        fs::write(&path, RULE).unwrap();
        let (first, loaded) = look(&Ok(String::new()), false);
        assert_eq!(first, Ok(loaded.unwrap().unwrap().digest));
        let (again, loaded) = look(&first, false);
        assert!(again == first && loaded.is_none());
        assert!(look(&first, true).1.unwrap().is_ok());
        // A file that holds no rule, and then none: each is told once.
        fs::write(&path, "- rule: [").unwrap();
        let (broken, loaded) = look(&first, false);
        assert!(loaded.unwrap().is_err());
        assert!(look(&broken, false).1.is_none());
        fs::remove_file(&path).unwrap();
        let (gone, loaded) = look(&broken, false);
        assert!(loaded.unwrap().is_err());
        assert!(gone.is_err() && look(&gone, false).1.is_none());
        // What ran all the time is loaded again: nobody can tell that it still does.
        fs::write(&path, RULE).unwrap();
        assert!(look(&gone, false).1.unwrap().is_ok());
    }
}
