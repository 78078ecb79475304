//! A terminal for programs that ask for one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::pty::OpenptFlags;
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// For one frame, one key or the end.
pub const SOON: Duration = Duration::from_secs(20);

/// A pseudo terminal, and all that was written on it.
#[derive(Debug)]
pub struct Terminal {
    user: File,
    line: OwnedFd,
    written: Receiver<Vec<u8>>,
}

impl Terminal {
    /// A terminal of this size.
    pub fn open(columns: u16, rows: u16) -> anyhow::Result<Self> {
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
    pub fn run(&self, mut command: Command) -> anyhow::Result<Child> {
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
        command.spawn().context("cannot start a program on the terminal")
    }

    /// Types.
    pub fn press(&mut self, keys: &str) -> anyhow::Result<()> {
        Ok(self.user.write_all(keys.as_bytes())?)
    }

    /// Makes it as large.
    pub fn resize(&self, columns: u16, rows: u16) -> anyhow::Result<()> {
        Ok(tcsetwinsize(&self.user, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
    }

    /// The modes that raw mode changes.
    pub fn mode(&self) -> anyhow::Result<[String; 4]> {
        let Termios { input_modes, output_modes, control_modes, local_modes, .. } = tcgetattr(&self.line)?;
        let modes = [input_modes.bits(), output_modes.bits(), control_modes.bits(), local_modes.bits()];
        Ok(modes.map(|bits| format!("{bits:#x}")))
    }

    /// Waits until all of `parts` have been written since the last call; returns what was.
    pub fn wait(&self, parts: &[&str]) -> anyhow::Result<String> {
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
