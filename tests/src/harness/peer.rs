//! The far end of a TCP connection, played segment by segment by a test.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::segment::{Segment, flag};
use super::tun::Tun;

/// Retransmissions and probes of the kernel come within it, in an emulated guest too.
const PATIENCE: Duration = Duration::from_secs(15);
/// Maximum segment size, the one option of our SYN: no timestamps, no window scale, no selective
/// acknowledgements, so that every number is in plain sight.
const MSS: [u8; 4] = [2, 4, 0x05, 0xb4];

/// How many segments went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// From the kernel, retransmissions included.
    pub heard: u32,
    /// To the kernel.
    pub said: u32,
}

/// One end of a connection. It acknowledges what it takes, and only when it is told to send.
#[derive(Debug)]
pub struct Peer<'a> {
    tun: &'a Tun,
    /// Its own address.
    pub own: SocketAddrV4,
    /// That of the kernel's end.
    pub kernel: SocketAddrV4,
    /// Next sequence number of its own.
    pub next: u32,
    /// Next sequence number of the kernel's end: what it acknowledges.
    pub expected: u32,
    /// The window that it offers.
    pub window: u16,
    /// What went by.
    pub tally: Tally,
}

impl<'a> Peer<'a> {
    /// An end that has sent and heard nothing. Its numbers are about to wrap around.
    pub fn new(tun: &'a Tun, own: SocketAddrV4, kernel: SocketAddrV4) -> Self {
        let next = u32::MAX - u32::from(own.port() % 64);
        Self { tun, own, kernel, next, expected: 0, window: 60_000, tally: Tally::default() }
    }

    /// Waits until the kernel connects to `own`: the end, and the SYN, which is taken without its data.
    pub fn called(tun: &'a Tun, own: SocketAddrV4) -> anyhow::Result<(Self, Segment)> {
        let nobody = SocketAddrV4::new(tun.address, 0);
        let mut peer = Self::new(tun, own, nobody);
        let syn = peer.hear()?;
        ensure!(syn.is(flag::SYN), "no SYN but {syn:?}");
        peer.kernel = syn.source;
        peer.expected = syn.seq.wrapping_add(1);
        Ok((peer, syn))
    }

    /// The next segment of this connection that the kernel sends, whatever it is. Segments of others are
    /// passed over: connections of earlier tests may still say their last.
    pub fn hear(&mut self) -> anyhow::Result<Segment> {
        loop {
            let segment = self.tun.receive(PATIENCE)?.context("the kernel sends nothing")?;
            let known = self.kernel.port() == 0 || segment.source == self.kernel;
            if known && segment.destination == self.own {
                self.tally.heard += 1;
                return Ok(segment);
            }
        }
    }

    /// The next segment, which must have these flags and `length` bytes; its sequence numbers are taken
    /// if they are the next.
    pub fn take(&mut self, flags: u8, length: usize) -> anyhow::Result<Segment> {
        let segment = self.hear()?;
        let found = (segment.flags & flag::ALL, segment.payload.len());
        ensure!(found == (flags, length), "flags {flags:#x} and {length} bytes expected, not {segment:?}");
        if segment.seq == self.expected {
            self.expected = segment.end();
        }
        Ok(segment)
    }

    /// Takes segments until `count` bytes came; those that carry none are passed over.
    pub fn take_bytes(&mut self, count: usize) -> anyhow::Result<()> {
        let mut total = 0;
        while total < count {
            let segment = self.hear()?;
            ensure!(!segment.is(flag::RST | flag::ACK), "reset after {total} of {count} bytes");
            if segment.seq == self.expected {
                total += segment.payload.len();
                self.expected = segment.end();
            }
        }
        ensure!(total == count, "{total} bytes came, not {count}");
        Ok(())
    }

    /// Waits until the kernel has acknowledged all that was sent; anything else it says meanwhile must be
    /// empty.
    pub fn acknowledged(&mut self) -> anyhow::Result<()> {
        loop {
            let segment = self.hear()?;
            if !segment.is(flag::ACK) || !segment.payload.is_empty() {
                bail!("waiting for an acknowledgement: {segment:?}");
            }
            if segment.ack == self.next {
                return Ok(());
            }
        }
    }

    /// Sends a segment with these flags and `length` bytes, in sequence.
    pub fn send(&mut self, flags: u8, length: usize) -> anyhow::Result<()> {
        let options = if flags & flag::SYN != 0 { MSS.to_vec() } else { Vec::new() };
        self.send_with(flags, length, options)
    }

    /// The same with options, a multiple of four bytes.
    pub fn send_with(&mut self, flags: u8, length: usize, options: Vec<u8>) -> anyhow::Result<()> {
        let segment = Segment {
            source: self.own,
            destination: self.kernel,
            seq: self.next,
            ack: if flags & flag::ACK == 0 { 0 } else { self.expected },
            flags,
            window: self.window,
            options,
            payload: vec![0x55; length],
        };
        self.next = segment.end();
        self.say(&segment)
    }

    /// Sends a segment as it is.
    pub fn say(&mut self, segment: &Segment) -> anyhow::Result<()> {
        self.tally.said += 1;
        self.tun.send(segment)
    }

    /// Sends an acknowledgement of all that was taken.
    pub fn ack(&mut self) -> anyhow::Result<()> {
        self.send(flag::ACK, 0)
    }
}
