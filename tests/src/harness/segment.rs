//! IPv4 packets with TCP segments, written and read byte by byte.

use std::net::SocketAddrV4;

use anyhow::{Context as _, ensure};

/// Flags of a segment (RFC 9293 §3.1).
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronises sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Resets the connection.
    pub const RST: u8 = 0x04;
    /// Asks for delivery; says nothing that matters here.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement is valid.
    pub const ACK: u8 = 0x10;
    /// What [`super::Segment::is`] compares.
    pub const ALL: u8 = FIN | SYN | RST | ACK;
}

/// Length of an IPv4 header and of a TCP header without options, bytes.
const HEADER: usize = 20;
const PROTOCOL_TCP: u8 = 6;

/// One TCP segment over IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Who sends it.
    pub source: SocketAddrV4,
    /// Who receives it.
    pub destination: SocketAddrV4,
    /// Sequence number of its first byte (or SYN).
    pub seq: u32,
    /// Next sequence number expected from the other end, if [`flag::ACK`].
    pub ack: u32,
    /// See [`flag`].
    pub flags: u8,
    /// Window as in the header: not scaled.
    pub window: u16,
    /// Options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// Data.
    pub payload: Vec<u8>,
}

impl Segment {
    /// Reads a packet; `None` if it is not TCP over IPv4 (a tun device also shows what IPv6 says).
    pub fn parse(packet: &[u8]) -> anyhow::Result<Option<Self>> {
        if packet.first().is_none_or(|byte| byte >> 4 != 4) || packet.get(9) != Some(&PROTOCOL_TCP) {
            return Ok(None);
        }
        let header = usize::from(packet[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        let tcp = packet.get(header..total).context("a packet shorter than it says")?;
        ensure!(tcp.len() >= HEADER, "{} bytes are no TCP header", tcp.len());
        let offset = usize::from(tcp[12] >> 4) * 4;
        ensure!((HEADER..=tcp.len()).contains(&offset), "a data offset of {offset}");
        let address = |at: usize| [packet[at], packet[at + 1], packet[at + 2], packet[at + 3]].into();
        let short = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        Ok(Some(Self {
            source: SocketAddrV4::new(address(12), short(0)),
            destination: SocketAddrV4::new(address(16), short(2)),
            seq: long(4),
            ack: long(8),
            flags: tcp[13],
            window: short(14),
            options: tcp[HEADER..offset].to_vec(),
            payload: tcp[offset..].to_vec(),
        }))
    }

    /// The packet, with both checksums.
    pub fn packet(&self) -> Vec<u8> {
        let mut tcp = Vec::with_capacity(HEADER + self.options.len() + self.payload.len());
        tcp.extend_from_slice(&self.source.port().to_be_bytes());
        tcp.extend_from_slice(&self.destination.port().to_be_bytes());
        tcp.extend_from_slice(&self.seq.to_be_bytes());
        tcp.extend_from_slice(&self.ack.to_be_bytes());
        let words = u8::try_from((HEADER + self.options.len()) / 4).unwrap_or(15);
        tcp.extend_from_slice(&[words << 4, self.flags]);
        tcp.extend_from_slice(&self.window.to_be_bytes());
        tcp.extend_from_slice(&[0; 4]);
        tcp.extend_from_slice(&self.options);
        tcp.extend_from_slice(&self.payload);
        let (from, to) = (self.source.ip().octets(), self.destination.ip().octets());
        let length = u16::try_from(tcp.len()).unwrap_or(u16::MAX);
        let pseudo = [&from[..], &to[..], &[0, PROTOCOL_TCP], &length.to_be_bytes()].concat();
        let sum = checksum(&[&pseudo, &tcp]);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());

        let total = u16::try_from(HEADER + tcp.len()).unwrap_or(u16::MAX);
        let mut packet = vec![0x45, 0];
        packet.extend_from_slice(&total.to_be_bytes());
        // Identification 0, do not fragment, 64 hops.
        packet.extend_from_slice(&[0, 0, 0x40, 0, 64, PROTOCOL_TCP, 0, 0]);
        packet.extend_from_slice(&from);
        packet.extend_from_slice(&to);
        let sum = checksum(&[&packet]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend_from_slice(&tcp);
        packet
    }

    /// Whether these are its flags, [`flag::PSH`] and those of congestion control aside.
    pub fn is(&self, flags: u8) -> bool {
        self.flags & flag::ALL == flags
    }

    /// The sequence number after it: SYN and FIN take one each.
    pub fn end(&self) -> u32 {
        let marks = (self.flags & flag::SYN != 0) as u32 + (self.flags & flag::FIN != 0) as u32;
        self.seq.wrapping_add(u32::try_from(self.payload.len()).unwrap_or(u32::MAX)).wrapping_add(marks)
    }
}

/// The Internet checksum (RFC 1071) of `parts` one after the other; all but the last are of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 =
        words.map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_reads_as_it_was_written_with_right_checksums() {
        let segment = Segment {
            source: "10.9.0.2:80".parse().unwrap(),
            destination: "10.9.0.1:40000".parse().unwrap(),
            seq: 0xffff_fff0,
            ack: 7,
            flags: flag::ACK | flag::FIN | flag::PSH,
            window: 512,
            options: vec![1, 1, 1, 0],
            payload: b"odd".to_vec(),
        };
        let packet = segment.packet();
        assert_eq!(Segment::parse(&packet).unwrap(), Some(segment.clone()));
        // What a checksum is in sums up to zero.
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let length = u16::try_from(packet.len() - 20).unwrap().to_be_bytes();
        assert_eq!(checksum(&[&packet[12..20], &[0, 6], &length, &packet[20..]]), 0);
        assert_eq!(segment.end(), 0xffff_fff0_u32.wrapping_add(4));
        assert!(segment.is(flag::ACK | flag::FIN) && !segment.is(flag::ACK));
        assert_eq!(Segment::parse(&[0x60; 40]).unwrap(), None, "IPv6");
        assert!(Segment::parse(&packet[..30]).is_err());
    }
}
