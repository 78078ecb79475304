//! A tun device: a network interface whose far side is this program.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::segment::Segment;
use crate::runner::Skip;

/// Largest packet, bytes.
const MTU: usize = 1_500;

/// A device in the network namespace of the thread that made it; it goes when this is dropped.
#[derive(Debug)]
pub struct Tun {
    file: File,
    name: [libc::c_char; libc::IFNAMSIZ],
    /// Configures it; a socket of its namespace.
    control: UdpSocket,
    /// The kernel's address on it.
    pub address: Ipv4Addr,
}

impl Tun {
    /// A device that is up, has `address`, and to which the other addresses of its /24 are routed.
    pub fn new(address: Ipv4Addr) -> anyhow::Result<Self> {
        let file = File::options().read(true).write(true).open("/dev/net/tun");
        let file = file.map_err(|error| Skip(format!("this kernel has no tun device: {error}")))?;
        let control = UdpSocket::bind("0.0.0.0:0")?;
        let mut tun = Self { file, name: [0; libc::IFNAMSIZ], control, address };
        let mut request = tun.request();
        for (to, from) in request.ifr_name.iter_mut().zip(*b"tun%d\0") {
            *to = from as libc::c_char;
        }
        let flags = libc::IFF_TUN | libc::IFF_NO_PI;
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        ioctl(tun.file.as_raw_fd(), libc::TUNSETIFF, &mut request).context("cannot make a tun device")?;
        tun.name = request.ifr_name;
        rustix::fs::fcntl_setfl(&tun.file, rustix::fs::OFlags::NONBLOCK)?;
        for (what, value) in
            [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, Ipv4Addr::new(255, 255, 255, 0))]
        {
            let mut request = tun.request();
            request.ifr_ifru.ifru_addr = socket_address(value);
            ioctl(tun.control.as_raw_fd(), what, &mut request).context("cannot give it an address")?;
        }
        tun.link(true)?;
        Ok(tun)
    }

    /// Takes the device up or down; down, the kernel has no way to the other addresses.
    pub fn link(&self, up: bool) -> anyhow::Result<()> {
        let mut request = self.request();
        let flags = if up { libc::IFF_UP | libc::IFF_RUNNING } else { 0 };
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        ioctl(self.control.as_raw_fd(), libc::SIOCSIFFLAGS, &mut request).context("cannot set the link")
    }

    /// The next TCP segment that the kernel sends here; `None` if there is none within `patience`.
    pub fn receive(&self, patience: Duration) -> anyhow::Result<Option<Segment>> {
        let end = Instant::now() + patience;
        loop {
            match self.take()? {
                Some(packet) => {
                    if let Some(segment) = Segment::parse(&packet)? {
                        return Ok(Some(segment));
                    }
                }
                None => {
                    let Some(left) = end.checked_duration_since(Instant::now()) else { return Ok(None) };
                    self.wait(left)?;
                }
            }
        }
    }

    /// The next packet that the kernel sends here, if there is one.
    pub fn take(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut buffer = [0; MTU];
        match (&self.file).read(&mut buffer) {
            Ok(length) => Ok(Some(buffer[..length].to_vec())),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("reading the tun device"),
        }
    }

    fn wait(&self, patience: Duration) -> anyhow::Result<()> {
        let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
        let patience = Timespec::try_from(patience)?;
        poll(&mut fds, Some(&patience)).context("waiting for the tun device")?;
        Ok(())
    }

    /// Has the kernel receive a segment.
    pub fn send(&self, segment: &Segment) -> anyhow::Result<()> {
        self.put(&segment.packet())
    }

    /// Has the kernel receive a packet.
    pub fn put(&self, packet: &[u8]) -> anyhow::Result<()> {
        let written = (&self.file).write(packet).context("writing to the tun device")?;
        anyhow::ensure!(written == packet.len(), "the tun device took {written} of {} bytes", packet.len());
        Ok(())
    }

    /// Gives it a further address of its /24.
    pub fn add(&self, address: Ipv4Addr) -> anyhow::Result<()> {
        let name = self.name.map(libc::c_char::cast_unsigned);
        let name = std::ffi::CStr::from_bytes_until_nul(&name)?.to_str()?;
        super::netns::configure("ip", &["addr", "add", &format!("{address}/24"), "dev", name])
    }

    /// Its descriptor, to be polled.
    pub fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn request(&self) -> libc::ifreq {
        // SAFETY: ifreq is plain integers and a union of them; all zero is a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = self.name;
        request
    }
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut bytes = [0 as libc::c_char; 14];
    // `sockaddr_in`: the port, then the address in network order.
    for (to, from) in bytes[2..6].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: bytes }
}

fn ioctl(fd: i32, what: libc::c_ulong, request: &mut libc::ifreq) -> std::io::Result<()> {
    // SAFETY: all requests used here read or write one ifreq, which `request` is, during the call only.
    match unsafe { libc::ioctl(fd, what as _, &raw mut *request) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
