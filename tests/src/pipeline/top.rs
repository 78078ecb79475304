//! `tarsier top` on a real terminal: it takes keys, follows the size, and leaves the terminal as it
//! was.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::ensure;

use super::SCENE_HERE;
use super::surroundings::{agent, start};
use crate::harness::cgroup::Cgroup;
use crate::harness::exit;
use crate::harness::terminal::{SOON, Terminal};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "top/the_terminal_comes_back_as_it_was", needs: SCENE_HERE, run: terminal_comes_back },
    Test { name: "top/ends_with_its_terminal", needs: SCENE_HERE, run: ends_with_its_terminal },
];

/// What terminals call their second screen: entered, left (DEC private mode 1049).
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
/// The cursor is shown again (DEC private mode 25).
const SHOW_CURSOR: &str = "\x1b[?25h";

fn terminal_comes_back(context: &Context) -> anyhow::Result<()> {
    let (cgroup, folder) = (Cgroup::new("top")?, tempfile::tempdir()?);
    let socket = folder.path().join("tarsier.sock");
    let _agent = start(context, agent(context, cgroup.path(), "none", &socket))?;
    let mut terminal = Terminal::open(100, 30)?;
    let before = terminal.mode()?;
    let mut command = Command::new(&context.agent);
    command.env_clear().env("TERM", "xterm").args(["top", "--socket"]).arg(&socket);
    let mut top = terminal.run(command)?;

    let frame = terminal.wait(&[ENTER, "connections", "rate", "losses"])?;
    ensure!(!frame.contains("bytes"), "sorted by bytes before anyone asked:\n{frame:?}");
    ensure!(terminal.mode()? != before, "keys are still waited for by line and echoed");
    // A frame holds only what is new in it; a new size makes all of it new. The key and the size come by
    // different ways: whichever is seen first, a later size shows both.
    terminal.press("s")?;
    let sorted = (60..70).any(|columns| {
        let frame = terminal.resize(columns, 20).and_then(|()| terminal.wait(&["connections", "losses"]));
        frame.is_ok_and(|frame| frame.contains("bytes"))
    });
    ensure!(sorted, "no frame is sorted by bytes after `s`");

    terminal.press("q")?;
    let status = exit::wait(&mut top, SOON)?;
    ensure!(status.success(), "top ended with {status}");
    terminal.wait(&[LEAVE, SHOW_CURSOR])?;
    ensure!(terminal.mode()? == before, "the terminal's mode is another one than before");
    Ok(())
}

/// Also where the hang-up's signal is ignored, as `nohup` does it.
fn ends_with_its_terminal(context: &Context) -> anyhow::Result<()> {
    let (cgroup, folder) = (Cgroup::new("top")?, tempfile::tempdir()?);
    let socket = folder.path().join("tarsier.sock");
    let _agent = start(context, agent(context, cgroup.path(), "none", &socket))?;
    let terminal = Terminal::open(100, 30)?;
    let mut command = Command::new(&context.agent);
    command.env_clear().env("TERM", "xterm").args(["top", "--socket"]).arg(&socket);
    let ignore = || {
        // SAFETY: a disposition that needs no handler.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes one system call and nothing else.
    unsafe { command.pre_exec(ignore) };
    let mut top = terminal.run(command)?;
    terminal.wait(&[ENTER, "connections"])?;
    // The thread that reads the screen lets go of it at the next frame.
    drop(terminal);
    exit::wait(&mut top, SOON)?;
    Ok(())
}
