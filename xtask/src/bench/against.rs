//! `--against REV`: the agent of another revision, built beside this one.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{capture, cargo, run, say, target_dir, workspace};

/// Builds the agent of `revision` in a work tree of its own; where it is.
pub(super) fn build(revision: &str) -> Result<PathBuf> {
    let mut parse = Command::new("git");
    parse.current_dir(workspace()).args(["rev-parse", "--verify", "--short=12"]);
    let commit = capture(parse.arg(format!("{revision}^{{commit}}")))
        .with_context(|| format!("`{revision}` is no revision of this repository"))?;
    let commit = commit.trim();
    let folder = target_dir().join("against");
    let binary = folder.join(format!("tarsier-{commit}"));
    if binary.exists() {
        return Ok(binary);
    }
    say(&format!("building the agent of {revision} ({commit})"));
    let tree = folder.join("tree");
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(workspace()).arg("worktree").args(words).arg(&tree);
        command
    };
    // One that an earlier run was killed in.
    let _ = capture(&mut git(&["remove", "--force"]));
    run(git(&["add", "--detach", "--quiet"]).arg(commit))?;
    let mut command = cargo();
    command.current_dir(&tree).args(["build", "--locked", "--release", "--bin", "tarsier"]);
    let built = run(command.arg("--target-dir").arg(folder.join("target")));
    run(&mut git(&["remove", "--force"]))?;
    built?;
    std::fs::copy(folder.join("target/release/tarsier"), &binary)?;
    Ok(binary)
}
