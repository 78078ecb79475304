//! Sockets that do exactly what they are told, one line on stdin each, with one JSON line in answer:
//! the kernel's end of a connection whose other end a test writes by hand.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

use super::Say;

/// What a socket waits for comes by then, or never.
const PATIENCE: Duration = Duration::from_secs(20);
/// `IPPROTO_MPTCP` (include/uapi/linux/in.h).
const MPTCP: i32 = 262;

/// The commands; NAME is any word.
///
/// ```text
/// open NAME [mptcp]            a socket
/// bind NAME ADDRESS:PORT
/// listen NAME BACKLOG
/// connect NAME ADDRESS:PORT    begins to; it does not wait
/// fastopen NAME ADDRESS:PORT N the same by MSG_FASTOPEN with N bytes
/// connected NAME               waits for the end of the handshake
/// accept NAME LISTENER         waits for a connection
/// write NAME N                 hands N bytes to the kernel
/// read NAME N                  waits for N bytes
/// trade NAME N M               writes N bytes, however long it takes, and reads M meanwhile
/// end NAME                     waits for the end of what the peer sends
/// set NAME LEVEL OPTION VALUE  an integer option, by number
/// rename NAME OTHER
/// shut NAME                    sends FIN
/// disconnect NAME              as connect to AF_UNSPEC does
/// abort NAME                   closes with a reset
/// close NAME
/// ```
/// Every answer is `{errno, count}`: 0 or what the call failed with, and the bytes it moved.
pub fn run(say: Say<'_>) -> anyhow::Result<()> {
    let mut puppet = Puppet::default();
    for line in std::io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match puppet.obey(&words) {
            Ok(count) => json!({ "errno": 0, "count": count }),
            Err(error) => match error.downcast_ref::<std::io::Error>().and_then(|e| e.raw_os_error()) {
                Some(errno) => json!({ "errno": errno, "count": 0 }),
                None => return Err(error.context(line)),
            },
        };
        say(&answer)?;
    }
    Ok(())
}

#[derive(Default)]
struct Puppet {
    sockets: HashMap<String, Socket>,
}

impl Puppet {
    fn obey(&mut self, words: &[&str]) -> anyhow::Result<u64> {
        let [command, name, rest @ ..] = words else { bail!("a command and a name") };
        let word = |at: usize| rest.get(at).copied().context("a word is missing");
        let number = |at: usize| -> anyhow::Result<i32> { Ok(word(at)?.parse()?) };
        let address = || -> anyhow::Result<SocketAddr> { Ok(word(0)?.parse()?) };
        match *command {
            "open" => {
                let protocol = if rest.contains(&"mptcp") { MPTCP } else { libc::IPPROTO_TCP };
                let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::from(protocol)))?;
                socket.set_nonblocking(true)?;
                self.sockets.insert((*name).to_owned(), socket);
                return Ok(0);
            }
            "accept" => {
                let listener = self.socket(word(0)?)?;
                wait(listener, PollFlags::IN)?;
                let socket = listener.accept()?.0;
                socket.set_nonblocking(true)?;
                self.sockets.insert((*name).to_owned(), socket);
                return Ok(0);
            }
            "rename" => {
                let socket = self.sockets.remove(*name).context("no such socket")?;
                self.sockets.insert(word(0)?.to_owned(), socket);
                return Ok(0);
            }
            "close" | "abort" => {
                let socket = self.sockets.remove(*name).context("no such socket")?;
                if *command == "abort" {
                    socket.set_linger(Some(Duration::ZERO))?;
                }
                return Ok(0);
            }
            _ => {}
        }
        let socket = self.socket(name)?;
        match *command {
            "bind" => socket.bind(&address()?.into())?,
            "listen" => socket.listen(number(0)?)?,
            "connect" => match socket.connect(&address()?.into()) {
                Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
                other => other?,
            },
            "fastopen" => {
                let data = vec![0x54; usize::try_from(number(1)?)?];
                let sent = socket.send_to_with_flags(&data, &address()?.into(), libc::MSG_FASTOPEN);
                match sent {
                    Ok(count) => return Ok(count as u64),
                    Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            "connected" => {
                wait(socket, PollFlags::OUT)?;
                if let Some(error) = socket.take_error()? {
                    return Err(error.into());
                }
            }
            "write" => {
                let data = vec![0x54; usize::try_from(number(0)?)?];
                let count = (&*socket).write(&data)?;
                ensure!(count == data.len(), "the kernel took {count} of {} bytes", data.len());
                return Ok(count as u64);
            }
            "read" => return read(socket, u64::try_from(number(0)?)?),
            "trade" => return trade(socket, u64::try_from(number(0)?)?, u64::try_from(number(1)?)?),
            "end" => return read(socket, u64::MAX),
            "set" => set(socket, number(0)?, number(1)?, number(2)?)?,
            "shut" => socket.shutdown(Shutdown::Write)?,
            "disconnect" => disconnect(socket)?,
            other => bail!("no command {other}"),
        }
        Ok(0)
    }

    fn socket(&self, name: &str) -> anyhow::Result<&Socket> {
        self.sockets.get(name).with_context(|| format!("no socket {name}"))
    }
}

fn wait(socket: &Socket, what: PollFlags) -> anyhow::Result<()> {
    let mut fds = [PollFd::new(socket, what)];
    let ready = poll(&mut fds, Some(&Timespec::try_from(PATIENCE)?))?;
    ensure!(ready > 0, "nothing within {PATIENCE:?}");
    Ok(())
}

/// Reads until there were `most` bytes or the end; how many there were.
fn read(mut socket: &Socket, most: u64) -> anyhow::Result<u64> {
    let (mut buffer, mut total) = (vec![0; 65_536], 0);
    while total < most {
        wait(socket, PollFlags::IN)?;
        let room = usize::try_from(most - total).unwrap_or(usize::MAX).min(buffer.len());
        match socket.read(&mut buffer[..room])? {
            0 if most == u64::MAX => break,
            0 => bail!("the end after {total} of {most} bytes"),
            count => total += count as u64,
        }
    }
    Ok(total)
}

/// Writes `out` bytes and reads `back` at the same time; the sum.
fn trade(mut socket: &Socket, out: u64, back: u64) -> anyhow::Result<u64> {
    let mut buffer = vec![0x54; 65_536];
    let most = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(65_536);
    let (mut to_write, mut to_read) = (out, back);
    while to_write > 0 || to_read > 0 {
        let mut what = PollFlags::empty();
        what.set(PollFlags::OUT, to_write > 0);
        what.set(PollFlags::IN, to_read > 0);
        wait(socket, what)?;
        let calls = [
            (to_write > 0).then(|| socket.write(&buffer[..most(to_write)])),
            (to_read > 0).then(|| socket.read(&mut buffer[..most(to_read)])),
        ];
        for (left, call) in [&mut to_write, &mut to_read].into_iter().zip(calls) {
            match call {
                Some(Ok(0)) => bail!("the end {left} bytes early"),
                Some(Ok(count)) => *left -= count as u64,
                Some(Err(error)) if error.kind() != std::io::ErrorKind::WouldBlock => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
    }
    Ok(out + back)
}

fn set(socket: &Socket, level: i32, option: i32, value: i32) -> std::io::Result<()> {
    // SAFETY: the kernel reads one int, which `value` is, during the call only.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), 4) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The socket forgets its connection and may have another.
fn disconnect(socket: &Socket) -> std::io::Result<()> {
    // SAFETY: plain integers; all zero is a valid value, and its family is AF_UNSPEC.
    let nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
    let length = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the kernel reads one sockaddr, which `nobody` is, during the call only.
    match unsafe { libc::connect(socket.as_raw_fd(), &raw const nobody, length) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
