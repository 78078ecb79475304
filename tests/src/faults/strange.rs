//! Command lines, paths and names that nobody meant to be read: carried as far as records go, told to be cut
//! where they are, and harmless to whoever prints them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::SCENE;
use crate::harness::accounts::{Account, Done};
use crate::harness::agent::{Agent, FLUSH_DEADLINE};
use crate::harness::cgroup::Cgroup;
use crate::harness::names;
use crate::harness::receiver::Receiver;
use crate::harness::scene::{ARRIVAL, Scene};
use crate::harness::seen::Item;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "strange/two_mib_of_arguments", needs: SCENE, run: two_mib_of_arguments },
    Test { name: "strange/path_as_long_as_records_go", needs: SCENE, run: long_path },
    Test { name: "strange/path_as_long_as_the_kernel_allows", needs: SCENE, run: longest_path },
    Test { name: "strange/names_with_escapes_stay_on_their_line", needs: SCENE, run: escapes },
];

/// Runs `command` in the scope; its exec event.
fn exec(scene: &Scene, command: Command) -> anyhow::Result<Item<LogRecord>> {
    let (pid, status) = scene.run(command)?;
    ensure!(status.success(), "the process of the test failed: {status}");
    scene.receiver.wait("its exec", ARRIVAL, |seen| seen.event(names::EXEC, pid).cloned())
}

fn two_mib_of_arguments(context: &Context) -> anyhow::Result<()> {
    /// The kernel takes 128 KiB at most of one argument.
    const LONGEST: usize = 120_000;
    let scene = Scene::new(context, "strange")?;
    let mut command = Command::new(&context.itest);
    let mut arguments = vec!["child".to_owned(), "--exit".into(), "0".into()];
    arguments.extend((0..18).map(|index| format!("{index:02}{}", "-".repeat(LONGEST))));
    command.args(&arguments);
    let room = Rlimit { current: Some(256 << 20), maximum: Some(256 << 20) };
    // SAFETY: between fork and exec the closure makes one system call: a quarter of the stack may be arguments.
    unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Stack, room)?)) };
    let all =
        context.itest.as_os_str().len() + 1 + arguments.iter().map(|text| text.len() + 1).sum::<usize>();
    ensure!(all > 2 << 20, "{all} bytes are less than two MiB");

    let log = exec(&scene, command)?;
    let told = log.attributes().int(names::ARGS_BYTES);
    ensure!(told == i64::try_from(all).ok(), "{told:?} bytes of arguments are told, not {all}");
    ensure!(log.attributes().flag(names::ARGS_TRUNCATED) == Some(true), "not flagged as truncated");
    let found = log.attributes().texts(names::ARGS).context("no array of arguments")?;
    let carried = found.last().context("no argument at all")?;
    ensure!(found.len() == 5 && arguments[3].starts_with(carried), "{} arguments are carried", found.len());
    let done = Done { arguments: Done::argument_records(all), ..Done::COMMAND };
    Account::state(&scene.agent, &scene.receiver, done).map(drop)
}

/// A directory whose path has about `bytes` bytes, of names with line breaks, escape sequences and bytes that
/// are no text; in it a copy of the test binary, `tool`.
fn deep(context: &Context, base: &Path, bytes: usize) -> anyhow::Result<PathBuf> {
    let name = OsString::from_vec([&b"\n\x1b[2J\xff\xc3"[..], &[b'x'; 233]].concat());
    let mut folder = base.to_owned();
    while folder.as_os_str().len() + 1 + name.len() + 6 < bytes {
        folder.push(&name);
    }
    let rest = bytes - folder.as_os_str().len() - 1 - 5;
    folder.push(OsStr::from_bytes(&name.as_bytes()[..rest.min(name.len())]));
    fs::create_dir_all(&folder)?;
    let tool = folder.join("tool");
    fs::copy(&context.itest, &tool).context("cannot copy the test binary")?;
    Ok(tool)
}

fn at_path(context: &Context, bytes: usize) -> anyhow::Result<(PathBuf, Item<LogRecord>)> {
    let scene = Scene::new(context, "strange")?;
    let base = tempfile::tempdir()?;
    let tool = deep(context, &fs::canonicalize(base.path())?, bytes)?;
    let length = tool.as_os_str().len();
    ensure!((bytes - 20..=bytes).contains(&length), "the path has {length} bytes, not {bytes}");
    let folder = tool.parent().context("a folder")?;
    let mut command = Command::new(&tool);
    command.args(["child", "--exit", "0"]).arg0("tool").current_dir(folder);
    let log = exec(&scene, command)?;
    Account::state(&scene.agent, &scene.receiver, Done::COMMAND)?;
    Ok((tool, log))
}

fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn long_path(context: &Context) -> anyhow::Result<()> {
    let (tool, log) = at_path(context, 3_800)?;
    let folder = tool.parent().context("a folder")?;
    for (name, expected) in [(names::EXE_PATH, lossy(&tool)), (names::CWD, lossy(folder))] {
        let found = log.attributes().text(name);
        ensure!(found == Some(&expected), "{name} is {found:?}, not {expected:?}");
    }
    ensure!(log.attributes().flag(names::EXE_TRUNCATED).is_none(), "flagged as cut");
    Ok(())
}

fn longest_path(context: &Context) -> anyhow::Result<()> {
    // With the NUL that is PATH_MAX.
    let (tool, log) = at_path(context, 4_095)?;
    let folder = tool.parent().context("a folder")?;
    for (name, flag, path) in [
        (names::EXE_PATH, names::EXE_TRUNCATED, lossy(&tool)),
        (names::CWD, names::CWD_TRUNCATED, lossy(folder)),
    ] {
        let found = log.attributes().text(name).with_context(|| format!("no {name}"))?;
        ensure!(log.attributes().flag(flag) == Some(true), "{name} is not flagged as cut: {found:?}");
        let end =
            found.strip_prefix(".../").with_context(|| format!("{name} does not begin as cut: {found:?}"))?;
        ensure!(path.ends_with(end) && end.len() > 3_000, "{name} is no end of the path: {found:?}");
    }
    Ok(())
}

/// What is printed of a program whose name moves the cursor and breaks the line.
fn escapes(context: &Context) -> anyhow::Result<()> {
    for form in ["human", "json"] {
        let (cgroup, receiver, folder) = (Cgroup::new("strange")?, Receiver::start()?, tempfile::tempdir()?);
        let name = OsStr::from_bytes(b"\x1b[2J\x07a\n12:00 exec\x9b\xff");
        let tool = folder.path().join(name);
        fs::copy(&context.itest, &tool).context("cannot copy the test binary")?;
        let printed = folder.path().join("lines");
        let stdout = File::create(&printed)?.into();
        let agent = Agent::start_printing(context, cgroup.path(), &receiver.endpoint(), "", form, stdout)?;
        let mut command = Command::new(&tool);
        command.args([OsStr::new("child"), "--exit".as_ref(), "0".as_ref(), name]);
        crate::harness::cgroup::enter(&mut command, cgroup.path())?;
        ensure!(command.status()?.success(), "the process of the test failed");
        Account::state(&agent, &receiver, Done::COMMAND)?;
        agent.terminate(FLUSH_DEADLINE)?;
        let text = fs::read(&printed)?;
        let lines: Vec<_> = text.strip_suffix(b"\n").unwrap_or(&text).split(|byte| *byte == b'\n').collect();
        ensure!(lines.len() == 2, "an exec and an exit are {} lines", lines.len());
        for line in lines {
            let line = std::str::from_utf8(line).context("a line that is no text")?;
            ensure!(!line.chars().any(char::is_control), "{form}: {line:?}");
            ensure!(line.contains("[2J") && line.contains("12:00 exec"), "{form}: {line:?}");
            if form == "json" {
                let object: serde_json::Value =
                    serde_json::from_str(line).context("a line that is no JSON")?;
                let path = object[names::EXE_PATH].as_str();
                ensure!(path == Some(&lossy(&tool)), "the executable is {path:?}");
            }
        }
    }
    Ok(())
}
