//! Many short connections, one after the other, ended in every orderly way, with known bytes both ways.

use std::net::{Shutdown, TcpListener, TcpStream};

use anyhow::{Context as _, bail};

use super::Say;
use super::sockets::{self, Connection};

/// Who ends a connection first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The client shuts its half and reads on; the server answers and closes.
    ClientHalf,
    /// The client closes after the answer.
    Client,
    /// The server closes after its answer.
    Server,
}

/// What the `index`-th connection does: (bytes from the client, bytes back, who ends it). Each of the
/// three varies on its own, and none of it is constant: nothing sent, one byte, several segments.
fn plan(index: usize) -> (u64, u64, Ending) {
    const SIZES: [u64; 7] = [0, 1, 7, 512, 1_448, 4_096, 20_000];
    let ending = [Ending::ClientHalf, Ending::Client, Ending::Server][index % 3];
    let sent = SIZES[index % SIZES.len()] + u64::try_from(index % 11).unwrap_or(0);
    let received = SIZES[index / 7 % SIZES.len()];
    (sent, received, ending)
}

/// Makes `count` connections over loopback inside this process and says the line of each.
pub fn run(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let destination = listener.local_addr()?;
    std::thread::scope(|scope| {
        let server = scope.spawn(move || (0..count).try_for_each(|index| serve(&listener, index)));
        for index in 0..count {
            // The server answers in the order of accepting, which is that of connecting here.
            let connection = exchange(destination, index).with_context(|| format!("connection {index}"))?;
            say(&connection.line())?;
        }
        match server.join() {
            Ok(result) => result.context("the server"),
            Err(_) => bail!("the server panicked"),
        }
    })
}

fn exchange(destination: std::net::SocketAddr, index: usize) -> anyhow::Result<Connection> {
    let (sent, received, ending) = plan(index);
    let mut stream = sockets::connect_from(sockets::loopback(index), destination)?;
    let source = stream.local_addr()?;
    sockets::write(&mut stream, sent)?;
    match ending {
        Ending::ClientHalf => {
            stream.shutdown(Shutdown::Write)?;
            sockets::read_to_end(&mut stream, received)?;
        }
        Ending::Client => sockets::read(&mut stream, received)?,
        Ending::Server => sockets::read_to_end(&mut stream, received)?,
    }
    Ok(Connection { source, destination, sent, received })
}

fn serve(listener: &TcpListener, index: usize) -> anyhow::Result<()> {
    let (sent, received, ending) = plan(index);
    let (stream, _) = listener.accept()?;
    let mut stream: TcpStream = sockets::patient(stream)?;
    match ending {
        Ending::ClientHalf => {
            sockets::read_to_end(&mut stream, sent)?;
            sockets::write(&mut stream, received)
        }
        Ending::Client => {
            sockets::read(&mut stream, sent)?;
            sockets::write(&mut stream, received)?;
            sockets::read_to_end(&mut stream, 0)
        }
        Ending::Server => {
            sockets::read(&mut stream, sent)?;
            sockets::write(&mut stream, received)
        }
    }
}
