//! `tarsier top`: a live view of a running agent, over its admin socket.

mod view;

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::DefaultTerminal;

use super::style::Style;
use super::{Exit, Refusal};
use crate::host::terminal;
use crate::ops::admin::{DEFAULT_SOCKET, TopState};
use view::{Sort, View};

/// Options of `tarsier top`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The agent's admin socket (`ops.admin_socket`).
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Print one frame as plain text and end; so it does if standard output is no terminal.
    #[arg(long)]
    once: bool,
    /// What connections are sorted by, largest first.
    #[arg(long, value_enum, default_value = "rate", value_name = "KEY")]
    sort: Sort,
}

/// Size of a frame of `--once`, which has no terminal to ask.
const PLAIN: (u16, u16) = (140, 44);
/// How often keys and new states are looked for.
const POLL: Duration = Duration::from_millis(100);
/// The agent sends a state every second; one that is silent for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let stream = connect(&args.socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream);
    let first = read(&mut lines).map_err(|error| gone(&error))?;
    if args.once || !io::stdout().is_terminal() {
        let (width, height) = PLAIN;
        let view = View { state: &first, sort: args.sort, is_coloured: false };
        out.write_all(view.plain(width, height).as_bytes())?;
        return Ok(Exit::Ok);
    }
    let states = receive(lines);
    // The wait for keys never ends on a terminal that is gone. A pipe that has ended is no such terminal.
    if io::stdin().is_terminal() {
        std::thread::spawn(|| {
            terminal::wait_hangup();
            std::process::exit(Exit::Failure as i32);
        });
    }
    // `init` also restores the terminal if we panic.
    let mut terminal = ratatui::try_init()?;
    let result = watch(&mut terminal, first, args.sort, &states);
    ratatui::try_restore()?;
    result
}

fn connect(socket: &Path) -> anyhow::Result<UnixStream> {
    UnixStream::connect(socket).map_err(|error| {
        let path = socket.display();
        let (exit, message) = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => (
                Exit::Failure,
                format!("no agent listens at {path}; start one with `sudo tarsier run`, or name its socket with --socket"),
            ),
            io::ErrorKind::PermissionDenied => {
                (Exit::NoPrivilege, format!("{path} may only be opened by root and the agent's own user; try sudo"))
            }
            _ => (Exit::Failure, format!("cannot connect to {path}: {error}")),
        };
        Refusal { exit, message }.into()
    })
}

fn read(lines: &mut impl BufRead) -> io::Result<TopState> {
    let mut line = String::new();
    if lines.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

fn gone(error: &io::Error) -> anyhow::Error {
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the agent has stopped".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the agent does not answer".to_owned(),
        _ => format!("the agent's answer cannot be read: {error}"),
    };
    Refusal { exit: Exit::Failure, message }.into()
}

/// Reads states on a thread of its own: the terminal's keys cannot wait for the socket. The channel
/// holds one state, so that a stopped terminal does not pile them up.
fn receive(mut lines: BufReader<UnixStream>) -> Receiver<io::Result<TopState>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        loop {
            let state = read(&mut lines);
            let is_last = state.is_err();
            if sender.send(state).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

fn watch(
    terminal: &mut DefaultTerminal,
    mut state: TopState,
    mut sort: Sort,
    states: &Receiver<io::Result<TopState>>,
) -> anyhow::Result<Exit> {
    let is_coloured = Style::of(&io::stdout()).is_on();
    let mut is_stale = true;
    loop {
        match states.try_recv() {
            Ok(Ok(newer)) => (state, is_stale) = (newer, true),
            Ok(Err(error)) => return Err(gone(&error)),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(gone(&io::ErrorKind::UnexpectedEof.into())),
        }
        if is_stale {
            let view = View { state: &state, sort, is_coloured };
            terminal.draw(|frame| frame.render_widget(view, frame.area()))?;
            is_stale = false;
        }
        if event::poll(POLL)? {
            match event::read()? {
                Event::Key(key) if is_quit(key.code, key.modifiers) => return Ok(Exit::Ok),
                Event::Key(key) if key.code == KeyCode::Char('s') => sort = sort.next(),
                _ => {}
            }
            // A key, a new size, a focus: each may need a new frame.
            is_stale = true;
        }
    }
}

fn is_quit(code: KeyCode, modifiers: KeyModifiers) -> bool {
    match code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}
