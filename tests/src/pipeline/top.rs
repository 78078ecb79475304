//! `tarsier top` on a real terminal: it takes keys, follows the size, and leaves the terminal as it
//! was.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::pty::OpenptFlags;
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use super::SCENE_HERE;
use super::surroundings::{agent, start};
use crate::harness::cgroup::Cgroup;
use crate::harness::exit;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "top/the_terminal_comes_back_as_it_was", needs: SCENE_HERE, run: terminal_comes_back },
    Test { name: "top/ends_with_its_terminal", needs: SCENE_HERE, run: ends_with_its_terminal },
];

/// For one frame, one key or the end.
const SOON: Duration = Duration::from_secs(20);
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

/// A pseudo terminal, and all that was written on it.
struct Terminal {
    user: File,
    line: OwnedFd,
    written: Receiver<Vec<u8>>,
}

impl Terminal {
    fn open(columns: u16, rows: u16) -> anyhow::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let user = rustix::pty::openpt(flags).context("no pseudo terminal")?;
        rustix::pty::grantpt(&user)?;
        rustix::pty::unlockpt(&user)?;
        let line = rustix::pty::ioctl_tiocgptpeer(&user, flags).context("no other end")?;
        let user = File::from(user);
        let (sender, written) = channel();
        let mut screen = user.try_clone()?;
        // It ends with the other end: reading then fails.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = screen.read(&mut buffer) {
                if length == 0 || sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let terminal = Self { user, line, written };
        terminal.resize(columns, rows)?;
        Ok(terminal)
    }

    /// Starts `command` as a shell would: in a session whose terminal this is.
    fn run(&self, mut command: Command) -> anyhow::Result<Child> {
        let end = || Ok::<_, std::io::Error>(File::from(self.line.try_clone()?));
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        let own = || {
            rustix::process::setsid()?;
            // SAFETY: descriptor 0 is the terminal, put there before this runs, and stays open.
            let input = unsafe { std::os::fd::BorrowedFd::borrow_raw(0) };
            Ok(rustix::process::ioctl_tiocsctty(input)?)
        };
        // SAFETY: between fork and exec the closure makes two system calls and nothing else.
        unsafe { command.pre_exec(own) };
        command.spawn().context("cannot start top")
    }

    fn press(&mut self, keys: &str) -> anyhow::Result<()> {
        Ok(self.user.write_all(keys.as_bytes())?)
    }

    fn resize(&self, columns: u16, rows: u16) -> anyhow::Result<()> {
        Ok(tcsetwinsize(&self.user, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
    }

    /// The modes that raw mode changes.
    fn mode(&self) -> anyhow::Result<[String; 4]> {
        let Termios { input_modes, output_modes, control_modes, local_modes, .. } = tcgetattr(&self.line)?;
        let modes = [input_modes.bits(), output_modes.bits(), control_modes.bits(), local_modes.bits()];
        Ok(modes.map(|bits| format!("{bits:#x}")))
    }

    /// Waits until all of `parts` have been written since the last call; returns what was.
    fn wait(&self, parts: &[&str]) -> anyhow::Result<String> {
        let end = Instant::now() + SOON;
        let mut text = String::new();
        while !parts.iter().all(|part| text.contains(part)) {
            match self.written.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => bail!("not all of {parts:?} on the terminal within {SOON:?}: {text:?}"),
            }
        }
        Ok(text)
    }
}
