//! Sockets with the details that `std::net` does not offer, and their line of JSON.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

/// A peer that has not answered by then is a failed test, not a slow one.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection as the workload made it.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The connecting end.
    pub source: SocketAddr,
    /// The accepting end.
    pub destination: SocketAddr,
    /// Payload bytes that the source wrote and the destination read.
    pub sent: u64,
    /// Payload bytes the other way.
    pub received: u64,
}

impl Connection {
    /// `{pid, source, source_port, destination, destination_port, sent, received}`. Addresses are
    /// canonical: a v4-mapped one is shown as the IPv4 address that it is.
    pub fn line(&self) -> Value {
        json!({
            "pid": std::process::id(),
            "source": self.source.ip().to_canonical().to_string(), "source_port": self.source.port(),
            "destination": self.destination.ip().to_canonical().to_string(),
            "destination_port": self.destination.port(),
            "sent": self.sent, "received": self.received,
        })
    }
}

/// A loopback address for the `index`-th connection: its own for the first 64,516, so that an address
/// alone says which connection a span is about, even when the kernel gives a port twice.
pub fn loopback(index: usize) -> Ipv4Addr {
    let low = u8::try_from(index % 254 + 1).unwrap_or(1);
    let high = u8::try_from(index / 254 % 254 + 1).unwrap_or(1);
    Ipv4Addr::new(127, 7, high, low)
}

/// Connects from `source` (port chosen by the kernel at connect, as for an unbound socket) to `to`.
pub fn connect_from(source: Ipv4Addr, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    leave_port_to_connect(&socket)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&to.into()).with_context(|| format!("cannot connect to {to}"))?;
    patient(socket.into())
}

/// `IP_BIND_ADDRESS_NO_PORT`: bind fixes the address only.
fn leave_port_to_connect(socket: &Socket) -> std::io::Result<()> {
    let on: libc::c_int = 1;
    let fd = std::os::fd::AsRawFd::as_raw_fd(socket);
    let (level, option) = (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
    // SAFETY: the kernel reads one int, which `on` is, during the call only.
    match unsafe { libc::setsockopt(fd, level, option, (&raw const on).cast(), 4) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Gives a stream its deadline.
pub fn patient(stream: TcpStream) -> anyhow::Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Makes the stream's close a reset instead of a FIN.
pub fn reset_on_close(stream: &TcpStream) -> anyhow::Result<()> {
    Ok(socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?)
}

/// Writes `count` bytes.
pub fn write(stream: &mut impl Write, count: u64) -> anyhow::Result<()> {
    let copied = std::io::copy(&mut std::io::repeat(0x54).take(count), stream)?;
    if copied != count {
        bail!("wrote {copied} of {count} bytes");
    }
    Ok(())
}

/// Reads exactly `count` bytes.
pub fn read(stream: &mut impl Read, count: u64) -> anyhow::Result<()> {
    let copied = std::io::copy(&mut stream.take(count), &mut std::io::sink())?;
    if copied != count {
        bail!("read {copied} of {count} bytes");
    }
    Ok(())
}

/// Reads until the peer's FIN; an error unless `count` bytes came before it.
pub fn read_to_end(stream: &mut impl Read, count: u64) -> anyhow::Result<()> {
    let copied = std::io::copy(stream, &mut std::io::sink())?;
    if copied != count {
        bail!("read {copied} bytes up to the end, not {count}");
    }
    Ok(())
}
