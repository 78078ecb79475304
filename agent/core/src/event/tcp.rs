//! TCP records decoded: a socket opened, established, closed, its owner, its listener, its baseline.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tarsier_abi::TaskKey;
use tarsier_abi::tcp::{
    Addresses, CloseRecord, Counters, EstablishedRecord, Op, OpenRecord, OwnerRecord, SeedRecord, Tuple,
};
use zerocopy::FromBytes;

use super::Malformed;

/// The two ends of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Own address and port.
    pub local: (IpAddr, u16),
    /// The peer's.
    pub peer: (IpAddr, u16),
}

/// What a TCP record says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// `connect` begins; `task` connects.
    Open {
        /// The process that connects.
        task: TaskKey,
    },
    /// The handshake is done.
    Established {
        /// Round-trip time of the handshake, µs; 0 = not measured.
        srtt_us: u32,
    },
    /// The connection is over.
    Close {
        /// Who closed it, if the kernel told.
        task: Option<TaskKey>,
        /// Final counters.
        counters: Counters,
    },
    /// A socket starts listening.
    Listen {
        /// The process that listens.
        task: TaskKey,
    },
    /// Found by the iterator at start.
    Seed {
        /// Counters before the agent.
        counters: Counters,
        /// Inode number of its file; 0 = none.
        inode: u64,
        /// Its owner. The record does not tell: whoever finds the inode in a descriptor table fills it
        /// in.
        task: TaskKey,
    },
}

/// A TCP event as the registry names it; it borrows nothing.
pub type Event<'a> = TcpEvent;

/// A TCP event. `Owner` and `Unlisten` carry a socket address only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TcpEvent {
    /// A record with identity and addresses.
    Socket {
        /// Identity as the kernel gave it.
        tuple: Tuple,
        /// Addresses and ports.
        ends: Ends,
        /// What happened.
        what: What,
    },
    /// Who closes an accepted socket.
    Owner {
        /// Kernel address of the socket.
        sock: u64,
        /// The process.
        task: TaskKey,
    },
    /// A listener is gone.
    Unlisten {
        /// Kernel address of the socket.
        sock: u64,
    },
}

/// Decodes a whole record (header included).
pub fn decode(op: u8, record: &[u8]) -> Result<TcpEvent, Malformed> {
    let op = Op::try_from(op).map_err(|_| Malformed::Op)?;
    Ok(match op {
        Op::Open | Op::Listen => {
            let (fixed, addresses) = split::<OpenRecord>(record)?;
            let what = match op {
                Op::Open => What::Open { task: fixed.task },
                _ => What::Listen { task: fixed.task },
            };
            socket(fixed.tuple, addresses, what)?
        }
        Op::Established => {
            let (fixed, addresses) = split::<EstablishedRecord>(record)?;
            socket(fixed.tuple, addresses, What::Established { srtt_us: fixed.srtt_us })?
        }
        Op::Close => {
            let (fixed, addresses) = split::<CloseRecord>(record)?;
            let owned = fixed.tuple.flags & tarsier_abi::tcp::flag::OWNED != 0;
            let task = (owned && !fixed.task.is_none()).then_some(fixed.task);
            socket(fixed.tuple, addresses, What::Close { task, counters: fixed.counters })?
        }
        Op::Seed => {
            let (fixed, addresses) = split::<SeedRecord>(record)?;
            socket(
                fixed.tuple,
                addresses,
                What::Seed { counters: fixed.counters, inode: fixed.inode, task: TaskKey::NONE },
            )?
        }
        Op::Owner | Op::Unlisten => {
            let (fixed, _) = OwnerRecord::read_from_prefix(record).map_err(|_| Malformed::Short)?;
            match op {
                Op::Owner => TcpEvent::Owner { sock: fixed.sock, task: fixed.task },
                _ => TcpEvent::Unlisten { sock: fixed.sock },
            }
        }
    })
}

/// The fixed part of a record whose last field is [`Addresses`], cut short for IPv4.
fn split<T: FromBytes>(record: &[u8]) -> Result<(T, &[u8]), Malformed> {
    let without = size_of::<T>() - Addresses::V6_BYTES;
    let addresses = record.get(without..).ok_or(Malformed::Short)?;
    if addresses.len() >= Addresses::V6_BYTES {
        let (fixed, _) = T::read_from_prefix(record).map_err(|_| Malformed::Short)?;
        return Ok((fixed, addresses));
    }
    // Zero-fill the addresses that an IPv4 record leaves out, so that one fixed type serves both.
    let mut whole = [0_u8; 256];
    let (fixed_bytes, _) = record.split_at(without);
    whole.get_mut(..without).ok_or(Malformed::Value)?.copy_from_slice(fixed_bytes);
    let (fixed, _) = T::read_from_prefix(&whole).map_err(|_| Malformed::Value)?;
    Ok((fixed, addresses))
}

fn socket(tuple: Tuple, addresses: &[u8], what: What) -> Result<TcpEvent, Malformed> {
    let address = |bytes: &[u8]| -> Option<IpAddr> {
        match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes).ok().map(|octets| Ipv4Addr::from(octets).into()),
            _ => <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into()),
        }
    };
    let width = match tuple.family {
        4 => 4,
        6 => 16,
        _ => return Err(Malformed::Value),
    };
    let local = addresses.get(..width).ok_or(Malformed::Short)?;
    let peer = addresses.get(width..2 * width).ok_or(Malformed::Short)?;
    let (Some(local), Some(peer)) = (address(local), address(peer)) else {
        return Err(Malformed::Value);
    };
    let ends = Ends { local: (local, tuple.local_port), peer: (peer, tuple.peer_port) };
    Ok(TcpEvent::Socket { tuple, ends, what })
}
