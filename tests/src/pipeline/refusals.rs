//! What the agent cannot start with, it says at once, all of it, and ends.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::thread::CapabilitySet;

use crate::harness::exit;
use crate::harness::jail::{self, Jail};
use crate::runner::{Context, Need, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "refusals/five_mistakes_are_five_messages", needs: &[Need::OwnKernel], run: five_mistakes },
    Test { name: "refusals/not_root_names_the_capabilities", needs: &[], run: not_root },
    Test { name: "refusals/one_missing_capability_is_named", needs: &[], run: one_capability },
    Test { name: "refusals/no_btf_is_one_line", needs: &[], run: no_btf },
];

/// A refusal takes no attaching and no scanning.
const AT_ONCE: Duration = Duration::from_secs(20);
/// `EX_USAGE` of sysexits.h.
const USAGE: i32 = 64;
/// `EX_UNAVAILABLE` of sysexits.h.
pub(super) const UNAVAILABLE: i32 = 69;
/// `EX_NOPERM` of sysexits.h.
const NO_PRIVILEGE: i32 = 77;

/// Runs the agent to its end; its exit code and what it wrote on stderr.
pub(super) fn refuse(mut command: Command) -> anyhow::Result<(Option<i32>, String)> {
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

fn not_root(context: &Context) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    // A copy, because the one that is tested may lie where only root can reach it.
    let agent = folder.path().join("tarsier");
    fs::copy(&context.agent, &agent)?;
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755))?;
    let mut command = Command::new(agent);
    command.args(["run", "--output", "none"]).uid(65_534).gid(65_534).current_dir("/");
    expect_missing(command, &["CAP_BPF", "CAP_PERFMON"])
}

fn one_capability(context: &Context) -> anyhow::Result<()> {
    use CapabilitySet as Set;
    for (dropped, named) in [(Set::BPF, "CAP_BPF"), (Set::PERFMON, "CAP_PERFMON")] {
        // CAP_SYS_ADMIN includes both.
        expect_missing(without(context, &[dropped, Set::SYS_ADMIN]), &[named])?;
    }
    Ok(())
}

/// The agent as root without some capabilities.
fn without(context: &Context, dropped: &[CapabilitySet]) -> Command {
    let mut command = Command::new(&context.agent);
    command.args(["run", "--output", "none", "--listen", "none"]);
    jail::without(&mut command, dropped);
    command
}

/// One line for each capability that is missing, and none for any other.
fn expect_missing(command: Command, missing: &[&str]) -> anyhow::Result<()> {
    let (code, text) = refuse(command)?;
    ensure!(code == Some(NO_PRIVILEGE), "the exit code is {code:?}, not {NO_PRIVILEGE}:\n{text}");
    let lines: Vec<_> = text.lines().map(|line| line.trim_start_matches("tarsier: ")).collect();
    let named: Vec<_> = lines.iter().filter_map(|line| line.split_once(": missing: ")).collect();
    let is_exact = lines.len() == missing.len() && named.iter().map(|(name, _)| name).eq(missing);
    ensure!(is_exact, "not exactly {missing:?}:\n{text}");
    Ok(())
}

fn no_btf(context: &Context) -> anyhow::Result<()> {
    let mut command = Command::new(&context.agent);
    command.args(["run", "--output", "none", "--listen", "none"]);
    Jail::default().empty(Path::new("/sys/kernel/btf")).hold(&mut command);
    let (code, text) = refuse(command)?;
    ensure!(code == Some(UNAVAILABLE), "the exit code is {code:?}, not {UNAVAILABLE}:\n{text}");
    one_line(&text, &["/sys/kernel/btf/vmlinux is missing", "CONFIG_DEBUG_INFO_BTF"])
}

/// An error unless `text` is one line with all of `parts`.
pub(super) fn one_line(text: &str, parts: &[&str]) -> anyhow::Result<()> {
    let is_it = text.lines().count() == 1 && parts.iter().all(|part| text.contains(part));
    ensure!(is_it, "not one line with {parts:?}:\n{text}");
    Ok(())
}
