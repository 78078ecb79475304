//! What the agent cannot start with, it says at once, all of it, and ends.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::harness::exit;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "refusals/five_mistakes_are_five_messages", needs: &[], run: five_mistakes },
    Test { name: "refusals/missing_capabilities_are_named", needs: &[], run: missing_capabilities },
];

/// A refusal takes no attaching and no scanning.
const AT_ONCE: Duration = Duration::from_secs(20);
/// `EX_USAGE` of sysexits.h.
const USAGE: i32 = 64;

/// Runs the agent to its end; its exit code and what it wrote on stderr.
fn refuse(mut command: Command) -> anyhow::Result<(Option<i32>, String)> {
    let errors = tempfile::NamedTempFile::new()?;
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(errors.path())?);
    let mut child = command.spawn().context("cannot start the agent")?;
    let ended = exit::wait(&mut child, AT_ONCE);
    if ended.is_err() {
        child.kill()?;
        child.wait()?;
    }
    Ok((ended.context("the agent should have refused to run")?.code(), fs::read_to_string(errors.path())?))
}

fn five_mistakes(context: &Context) -> anyhow::Result<()> {
    // Each even line is wrong: no such key, a wrong type, a missing unit, and twice no such choice.
    const CONFIG: &str = "sensors:\n  exce: true\nscope:\n  cgroup: [1]\nmetrics:\n  interval: 10\n\
                          otlp:\n  compression: brotli\nlog:\n  level: loud\n";
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("wrong.yaml");
    fs::write(&file, CONFIG)?;
    let mut command = Command::new(&context.agent);
    command.arg("run").arg("--config").arg(&file);
    let (code, text) = refuse(command)?;
    ensure!(code == Some(USAGE), "the exit code is {code:?}, not {USAGE}:\n{text}");
    for line in [2, 4, 6, 8, 10] {
        let place = format!("{}:{line}:", file.display());
        ensure!(text.contains(&place), "no message for {place}\n{text}");
    }
    ensure!(text.matches("fix:").count() == 5, "not five fixes:\n{text}");
    Ok(())
}

fn missing_capabilities(context: &Context) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    // A copy, because the one that is tested may lie where only root can reach it.
    let agent = folder.path().join("tarsier");
    fs::copy(&context.agent, &agent)?;
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755))?;
    let mut command = Command::new(agent);
    command.args(["run", "--output", "none"]).uid(65_534).gid(65_534).current_dir("/");
    let (code, text) = refuse(command)?;
    ensure!(code.is_some_and(|code| code != 0), "the exit code is {code:?}:\n{text}");
    ensure!(text.contains("CAP_BPF"), "the missing capability is not named:\n{text}");
    ensure!(!text.contains("panicked"), "a panic is no message:\n{text}");
    Ok(())
}
