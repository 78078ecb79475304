//! What the agent runs with all the same: another agent beside it, a directory that it cannot write
//! to, limits that other programs need.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::refusals::refuse;
use crate::harness::agent::{READY, READY_DEADLINE};
use crate::harness::cgroup::Cgroup;
use crate::harness::daemon::Daemon;
use crate::harness::jail::Jail;
use crate::harness::tool;
use crate::runner::{Context, Test};

use super::{SCENE, SCENE_HERE};

pub(super) const TESTS: &[Test] = &[
    Test { name: "surroundings/a_second_agent_names_the_address", needs: SCENE_HERE, run: address_in_use },
    Test { name: "surroundings/a_second_agent_leaves_the_socket", needs: SCENE_HERE, run: socket_in_use },
    Test { name: "surroundings/read_only_directory_is_a_warning", needs: SCENE_HERE, run: read_only },
    Test { name: "surroundings/no_locked_memory_is_no_matter", needs: SCENE, run: no_locked_memory },
];

/// An agent that looks at `scope` and talks to nobody.
pub(super) fn agent(context: &Context, scope: &Path, listen: &str, socket: &Path) -> Command {
    let mut command = Command::new(&context.agent);
    command.env_clear().args(["run", "--output", "none", "--listen", listen]);
    command.arg("--scope-cgroup").arg(scope).arg("--admin-socket").arg(socket);
    command
}

/// Starts it and waits until it is ready.
pub(super) fn start(context: &Context, command: Command) -> anyhow::Result<Daemon> {
    Daemon::start(command, READY, READY_DEADLINE, &context.log).context("the agent")
}

fn address_in_use(context: &Context) -> anyhow::Result<()> {
    let (cgroup, folder) = (Cgroup::new("beside")?, tempfile::tempdir()?);
    let address = tool::free_address()?.to_string();
    let _first = start(context, agent(context, cgroup.path(), &address, &folder.path().join("1.sock")))?;
    let second = agent(context, cgroup.path(), &address, &folder.path().join("2.sock"));
    let (code, text) = refuse(second)?;
    ensure!(code == Some(1), "the exit code is {code:?}, not 1:\n{text}");
    let error = text.lines().last().unwrap_or_default();
    for part in [address.as_str(), "--listen", "in use"] {
        ensure!(error.contains(part), "no `{part}` in the last line:\n{text}");
    }
    Ok(())
}

fn socket_in_use(context: &Context) -> anyhow::Result<()> {
    let (cgroup, folder) = (Cgroup::new("beside")?, tempfile::tempdir()?);
    let socket = folder.path().join("tarsier.sock");
    let _first = start(context, agent(context, cgroup.path(), "none", &socket))?;
    let second = start(context, agent(context, cgroup.path(), "none", &socket))?;
    warned(context, &["no admin socket", "another agent listens there", "tarsier.sock"])?;
    drop(second);
    // The socket is the first one's still, and it answers.
    let mut top = Command::new(&context.agent);
    top.args(["top", "--once", "--socket"]).arg(&socket);
    let output = top.output()?;
    ensure!(output.status.success(), "top: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn read_only(context: &Context) -> anyhow::Result<()> {
    let (cgroup, folder) = (Cgroup::new("ro")?, tempfile::tempdir()?);
    let mut command = agent(context, cgroup.path(), "none", &folder.path().join("tarsier.sock"));
    Jail::default().read_only(folder.path()).hold(&mut command);
    start(context, command)?.assert_running()?;
    warned(context, &["no admin socket", "Read-only file system", "tarsier.sock"])
}

fn no_locked_memory(context: &Context) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    let (cgroup, folder) = (Cgroup::new("limit")?, tempfile::tempdir()?);
    let mut command = agent(context, cgroup.path(), "none", &folder.path().join("tarsier.sock"));
    let none = || Rlimit { current: Some(0), maximum: Some(0) };
    // SAFETY: between fork and exec the closure makes one system call and nothing else.
    unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Memlock, none())?)) };
    start(context, command)?.assert_running()
}

/// Whether one line of the agents' log holds all of `parts`.
fn warned(context: &Context, parts: &[&str]) -> anyhow::Result<()> {
    let log = context.log.tail(200);
    let is_it = |line: &String| line.contains("WARN") && parts.iter().all(|part| line.contains(part));
    ensure!(log.iter().any(is_it), "no warning with {parts:?}");
    Ok(())
}
