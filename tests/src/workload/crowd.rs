//! Many connections that are all open at once.

use std::net::{Ipv4Addr, TcpListener};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::Say;
use super::sockets::{self, loopback};

/// Opens `count` connections over loopback, each from an address of its own (the `first` and those after it), and
/// says `{pid, connections}` when all of them are there. One byte goes through each. At the next line of stdin
/// it closes them and says the same again.
pub fn run(first: usize, count: usize, say: Say<'_>) -> anyhow::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let destination = listener.local_addr()?;
    let mut open = Vec::with_capacity(2 * count);
    for index in first..first + count {
        let mut client = sockets::connect_from(loopback(index), destination)?;
        let mut server = sockets::patient(listener.accept()?.0)?;
        sockets::write(&mut client, 1)?;
        sockets::read(&mut server, 1)?;
        open.push(client);
        open.push(server);
    }
    let line = json!({ "pid": std::process::id(), "connections": count });
    say(&line)?;
    std::io::stdin().read_line(&mut String::new())?;
    drop(open);
    say(&line)
}
