//! One connection that stays open until it is told to close, by lines on stdin.

use std::net::{Ipv4Addr, Shutdown, TcpListener};

use anyhow::{Context as _, bail};

use super::Say;
use super::sockets::{self, Connection, loopback};

/// Opens the connection and says its line; then obeys `send N` (client to server), `reply N` (back)
/// and `close`, and after each says the line with all bytes so far. The end of stdin closes too.
pub fn run(say: Say<'_>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let destination = listener.local_addr()?;
    let mut client = sockets::connect_from(loopback(9), destination)?;
    let mut server = sockets::patient(listener.accept()?.0)?;
    let source = client.local_addr()?;
    let mut connection = Connection { source, destination, sent: 0, received: 0 };
    say(&connection.line())?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let (word, count) = line.split_once(' ').unwrap_or((&line, "0"));
        let count: u64 = count.parse().with_context(|| format!("not a number: {count}"))?;
        match word {
            "send" => {
                sockets::write(&mut client, count)?;
                sockets::read(&mut server, count)?;
                connection.sent += count;
            }
            "reply" => {
                sockets::write(&mut server, count)?;
                sockets::read(&mut client, count)?;
                connection.received += count;
            }
            "close" => break,
            other => bail!("not a command: {other}"),
        }
        say(&connection.line())?;
    }
    client.shutdown(Shutdown::Write)?;
    sockets::read_to_end(&mut server, 0)?;
    drop(server);
    sockets::read_to_end(&mut client, 0)?;
    drop(client);
    say(&connection.line())
}
