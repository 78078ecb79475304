//! Single connections that each show one thing: a way to fail or end, an address family, a size.

use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::Say;
use super::sockets::{self, Connection, loopback};

/// The workload called `name`.
pub fn find(name: &str) -> Option<fn(Say<'_>) -> anyhow::Result<()>> {
    Some(match name {
        "refused" => refused,
        "reset" => reset,
        "server-reset" => server_reset,
        "half-close" => half_close,
        "matrix" => matrix,
        "v6" => v6,
        "v4-mapped" => v4_mapped,
        "dual-stack" => dual_stack,
        _ => return None,
    })
}

/// Connects to a port that nobody listens on.
pub fn refused(say: Say<'_>) -> anyhow::Result<()> {
    // Bound, so that nobody else gets the port, and never listening.
    let closed = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    closed.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let destination = closed.local_addr()?.as_socket().context("an IP address")?;
    match sockets::connect_from(loopback(0), destination) {
        Ok(_) => bail!("connected to a port that nobody listens on"),
        Err(error) => {
            let error = error.root_cause().to_string();
            say(&json!({
                "pid": std::process::id(), "source": loopback(0).to_string(),
                "destination": destination.ip().to_string(), "destination_port": destination.port(),
                "sent": 0, "received": 0, "error": error,
            }))
        }
    }
}

/// The client resets after an exchange that both sides have read in full.
pub fn reset(say: Say<'_>) -> anyhow::Result<()> {
    let pair = Pair::new(loopback(1))?;
    let connection = pair.exchange(1_000, 2_000)?;
    sockets::reset_on_close(&pair.client)?;
    drop(pair.client);
    expect_reset(pair.server)?;
    say(&connection.line())
}

/// The server resets.
pub fn server_reset(say: Say<'_>) -> anyhow::Result<()> {
    let pair = Pair::new(loopback(2))?;
    let connection = pair.exchange(300, 40)?;
    sockets::reset_on_close(&pair.server)?;
    drop(pair.server);
    expect_reset(pair.client)?;
    say(&connection.line())
}

/// The client ends its half at once; the server sends for long after.
pub fn half_close(say: Say<'_>) -> anyhow::Result<()> {
    let mut pair = Pair::new(loopback(3))?;
    let mut connection = pair.exchange(77, 0)?;
    pair.client.shutdown(Shutdown::Write)?;
    sockets::read_to_end(&mut pair.server, 0)?;
    connection.received = transfer(&mut pair.server, &mut pair.client, 300_000)?;
    drop(pair.server);
    sockets::read_to_end(&mut pair.client, 0)?;
    say(&connection.line())
}

/// Payload sizes of [`matrix`]: none, one byte, around a segment, many segments; all fit the buffers.
const SIZES: [u64; 6] = [0, 1, 2, 515, 1_500, 60_000];

/// A way to end a connection after an exchange that both sides have read; returns what was sent beyond it.
type Ending = fn(Pair) -> anyhow::Result<u64>;

/// Every way to end a connection with every size: what the kernel's counters must be right for.
pub fn matrix(say: Say<'_>) -> anyhow::Result<()> {
    const ENDINGS: [Ending; 8] = [
        client_first,
        server_first,
        both_at_once,
        client_resets,
        server_resets,
        fin_then_reset,
        unread_data,
        server_reads_no_more,
    ];
    for (way, ending) in ENDINGS.into_iter().enumerate() {
        for (step, size) in SIZES.into_iter().enumerate() {
            let pair = Pair::new(loopback(100 + way * SIZES.len() + step))?;
            let mut connection = pair.exchange(size, size / 2)?;
            connection.sent += ending(pair).with_context(|| format!("ending {way} after {size} bytes"))?;
            say(&connection.line())?;
        }
    }
    Ok(())
}

fn client_first(pair: Pair) -> anyhow::Result<u64> {
    pair.close()?;
    Ok(0)
}

fn server_first(mut pair: Pair) -> anyhow::Result<u64> {
    drop(pair.server);
    sockets::read_to_end(&mut pair.client, 0)?;
    Ok(0)
}

fn both_at_once(mut pair: Pair) -> anyhow::Result<u64> {
    pair.client.shutdown(Shutdown::Write)?;
    pair.server.shutdown(Shutdown::Write)?;
    sockets::read_to_end(&mut pair.client, 0)?;
    sockets::read_to_end(&mut pair.server, 0)?;
    Ok(0)
}

fn client_resets(pair: Pair) -> anyhow::Result<u64> {
    sockets::reset_on_close(&pair.client)?;
    drop(pair.client);
    expect_reset(pair.server)?;
    Ok(0)
}

fn server_resets(pair: Pair) -> anyhow::Result<u64> {
    sockets::reset_on_close(&pair.server)?;
    drop(pair.server);
    expect_reset(pair.client)?;
    Ok(0)
}

/// The client ends its half in order, then resets what is left.
fn fin_then_reset(mut pair: Pair) -> anyhow::Result<u64> {
    pair.client.shutdown(Shutdown::Write)?;
    sockets::read_to_end(&mut pair.server, 0)?;
    sockets::reset_on_close(&pair.client)?;
    Ok(0)
}

/// The server closes with bytes unread, which makes its close a reset.
fn unread_data(pair: Pair) -> anyhow::Result<u64> {
    const UNREAD: u64 = 7;
    sockets::write(&mut &pair.client, UNREAD)?;
    // All of it has arrived, and stays where it is.
    let mut byte = [0; UNREAD as usize];
    while pair.server.peek(&mut byte)? < byte.len() {}
    drop(pair.server);
    expect_reset(pair.client)?;
    Ok(UNREAD)
}

fn server_reads_no_more(pair: Pair) -> anyhow::Result<u64> {
    pair.server.shutdown(Shutdown::Read)?;
    drop(pair.client);
    drop(pair.server);
    Ok(0)
}

/// IPv6 over loopback.
pub fn v6(say: Say<'_>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0))?;
    let to = listener.local_addr()?;
    Pair::connect(&listener, to)?.finish(1_234, 5_678, say)
}

/// An IPv6 client socket that speaks IPv4.
pub fn v4_mapped(say: Say<'_>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), listener.local_addr()?.port()));
    Pair::connect(&listener, to)?.finish(4_321, 8_765, say)
}

/// An IPv4 client of an IPv6 listener: the accepted socket speaks IPv4 under v4-mapped addresses.
pub fn dual_stack(say: Say<'_>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr()?.port()));
    Pair::connect(&listener, to)?.finish(99, 101, say)
}

/// `bytes` one way and a thousandth of it back.
pub fn large(bytes: usize, say: Say<'_>) -> anyhow::Result<()> {
    let bytes = u64::try_from(bytes)?;
    let mut pair = Pair::new(loopback(4))?;
    let mut connection = pair.exchange(0, 0)?;
    connection.sent = transfer(&mut pair.client, &mut pair.server, bytes)?;
    connection.received = transfer(&mut pair.server, &mut pair.client, bytes / 1_000)?;
    pair.close()?;
    say(&connection.line())
}

/// Both ends of a connection of this process.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    destination: SocketAddr,
}

impl Pair {
    fn new(source: Ipv4Addr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let destination = listener.local_addr()?;
        let client = sockets::connect_from(source, destination)?;
        let server = sockets::patient(listener.accept()?.0)?;
        Ok(Self { client, server, destination })
    }

    fn connect(listener: &TcpListener, to: SocketAddr) -> anyhow::Result<Self> {
        let client = sockets::patient(TcpStream::connect(to)?)?;
        let server = sockets::patient(listener.accept()?.0)?;
        Ok(Self { client, server, destination: to })
    }

    /// Small enough for the socket buffers, so one thread can do both ends.
    fn exchange(&self, sent: u64, received: u64) -> anyhow::Result<Connection> {
        sockets::write(&mut &self.client, sent)?;
        sockets::read(&mut &self.server, sent)?;
        sockets::write(&mut &self.server, received)?;
        sockets::read(&mut &self.client, received)?;
        Ok(Connection { source: self.client.local_addr()?, destination: self.destination, sent, received })
    }

    /// The client closes, then the server.
    fn close(mut self) -> anyhow::Result<()> {
        self.client.shutdown(Shutdown::Write)?;
        sockets::read_to_end(&mut self.server, 0)?;
        drop(self.server);
        sockets::read_to_end(&mut self.client, 0)
    }

    fn finish(self, sent: u64, received: u64, say: Say<'_>) -> anyhow::Result<()> {
        let connection = self.exchange(sent, received)?;
        self.close()?;
        say(&connection.line())
    }
}

/// Sends `count` bytes through, however many the buffers hold.
fn transfer(from: &mut TcpStream, to: &mut TcpStream, count: u64) -> anyhow::Result<u64> {
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| sockets::write(from, count));
        sockets::read(to, count)?;
        match writer.join() {
            Ok(result) => result.map(|()| count),
            Err(_) => bail!("the writer panicked"),
        }
    })
}

fn expect_reset(mut stream: TcpStream) -> anyhow::Result<()> {
    match std::io::Read::read(&mut stream, &mut [0]) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        other => bail!("expected a reset, got {other:?}"),
    }
}
