//! System call records decoded: what was called, with what, on which file or socket, and how it ended.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tarsier_abi::TaskKey;
use tarsier_abi::syscall::{
    Call, CallerCreds, ConnectionFacts, FileFacts, Part, PartKind, SocketFacts, SyscallRecord, flag,
    part_flag, socket_flag,
};
use zerocopy::FromBytes;

use tarsier_abi::tcp::role;

use super::Malformed;
use super::entity::Role;
use super::exec::{PathForm, PathTail};

/// A system call that returned.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Which.
    pub call: Call,
    /// The process.
    pub task: TaskKey,
    /// The thread, in the initial PID namespace.
    pub tid: u32,
    /// What it returned: a negative error number if it failed.
    pub ret: i64,
    /// A 32-bit call of a 64-bit kernel.
    pub is_compat: bool,
    /// It was no call, but a request of io_uring.
    pub is_request: bool,
    /// How it ended is not known: `ret` is 0.
    pub is_open_ended: bool,
    /// Whose call it was.
    pub creds: CallerCreds,
    numbers: &'a [u8],
    /// The first path or name.
    pub path: Option<Name<'a>>,
    /// The second one.
    pub path2: Option<Name<'a>>,
    /// The file that the call's descriptor stands for.
    pub file: Option<File<'a>>,
    /// The socket that it stands for.
    pub socket: Option<Socket<'a>>,
    /// The `struct sockaddr` that was passed or filled in, as bytes.
    pub address: Option<&'a [u8]>,
    /// First bytes of what was sent or received.
    pub data: Option<&'a [u8]>,
}

/// A path or name as the task passed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// Its bytes; none: the task's memory could not be read.
    pub text: Option<&'a [u8]>,
    /// There was more.
    pub is_truncated: bool,
    /// The directory it is relative to, if it is relative to one that is known.
    pub dir: Option<PathTail<'a>>,
}

/// A descriptor's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// What file and inode say.
    pub facts: FileFacts,
    /// Its path as the kernel has it, seen from the task's root.
    pub path: PathTail<'a>,
}

/// A descriptor's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket<'a> {
    /// What the socket says.
    pub facts: SocketFacts,
    /// The name of a unix socket: its own, else its peer's. A path, or a name that begins with NUL.
    pub unix_name: &'a [u8],
    /// What names its connection, if it is one of TCP.
    pub connection: Option<ConnectionFacts>,
}

/// What names a TCP connection at both of its ends, and which end is meant: what ids of spans are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Initial sequence numbers: the client's, the server's.
    pub isn: (u32, u32),
    /// Which of them this end is: one of the two.
    pub role: Role,
}

/// `AF_INET` (include/linux/socket.h).
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;
/// `AF_UNIX`.
pub const AF_UNIX: u16 = 1;

impl<'a> Event<'a> {
    /// An argument that is carried as a number, from 0.
    pub fn number(&self, index: usize) -> Option<u64> {
        let bytes = self.numbers.get(index * 8..index * 8 + 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// An argument that is an `int`.
    pub fn int(&self, index: usize) -> Option<i32> {
        self.number(index).map(|number| number as i32)
    }

    /// The address that was passed or filled in, if it is one of IP.
    pub fn ip_address(&self) -> Option<(IpAddr, u16)> {
        ip_of(self.address?)
    }

    /// The TCP connection that the call is about, once there is one and the kernel proves who connected.
    pub fn connection(&self) -> Option<Connection> {
        let facts = self.socket?.connection?;
        match u8::try_from(facts.role).ok()? {
            role::CLIENT => Some(Connection { isn: (facts.base, facts.isn_peer), role: Role::Client }),
            // Of an accepted socket the base is the number behind its own.
            role::SERVER => {
                Some(Connection { isn: (facts.isn_peer, facts.base.wrapping_sub(1)), role: Role::Server })
            }
            _ => None,
        }
    }

    /// The path in the address that was passed or filled in, if it is one of a unix socket.
    pub fn unix_address(&self) -> Option<&'a [u8]> {
        let bytes = self.address?;
        let (family, path) = bytes.split_at_checked(2)?;
        (u16::from_ne_bytes(family.try_into().ok()?) == AF_UNIX).then(|| until_nul(path))
    }
}

impl Socket<'_> {
    /// Own address and port; none: it is not one of IP.
    pub fn local(&self) -> Option<(IpAddr, u16)> {
        Some((self.address(self.facts.local)?, self.facts.local_port))
    }

    /// The peer's; the port is 0 if it has none.
    pub fn peer(&self) -> Option<(IpAddr, u16)> {
        Some((self.address(self.facts.peer)?, self.facts.peer_port))
    }

    /// Whether it was accepted.
    pub fn is_accepted(&self) -> bool {
        self.facts.flags & socket_flag::ACCEPTED != 0
    }

    /// Whether its port was chosen by bind.
    pub fn is_bound(&self) -> bool {
        self.facts.flags & socket_flag::BOUND != 0
    }

    fn address(&self, bytes: [u8; 16]) -> Option<IpAddr> {
        let [a, b, c, d, ..] = bytes;
        match self.facts.family {
            AF_INET => Some(Ipv4Addr::new(a, b, c, d).into()),
            // An IPv4 peer of a socket of either family is one of IPv4.
            AF_INET6 => Some(Ipv6Addr::from(bytes).to_canonical()),
            _ => None,
        }
    }
}

/// Address and port of a `struct sockaddr_in` or `sockaddr_in6`.
fn ip_of(bytes: &[u8]) -> Option<(IpAddr, u16)> {
    let field = |at: usize, len: usize| bytes.get(at..at + len);
    let family = u16::from_ne_bytes(field(0, 2)?.try_into().ok()?);
    let port = u16::from_be_bytes(field(2, 2)?.try_into().ok()?);
    match family {
        AF_INET => Some((Ipv4Addr::from(<[u8; 4]>::try_from(field(4, 4)?).ok()?).into(), port)),
        AF_INET6 => Some((Ipv6Addr::from(<[u8; 16]>::try_from(field(8, 16)?).ok()?).to_canonical(), port)),
        _ => None,
    }
}

/// A path ends at its NUL; an abstract name, which begins with one, does not.
fn until_nul(path: &[u8]) -> &[u8] {
    match memchr::memchr(0, path) {
        Some(end) if end > 0 => &path[..end],
        _ => path,
    }
}

/// Decodes a whole record (header included).
pub fn decode(op: u8, record: &[u8]) -> Result<Event<'_>, Malformed> {
    let call = Call::try_from(op).map_err(|_| Malformed::Op)?;
    let (fixed, rest) = SyscallRecord::read_from_prefix(record).map_err(|_| Malformed::Short)?;
    if fixed.task.is_none() {
        return Err(Malformed::Value);
    }
    let (numbers, mut rest) =
        rest.split_at_checked(usize::from(fixed.numbers) * 8).ok_or(Malformed::Short)?;
    let mut event = Event {
        call,
        task: fixed.task,
        tid: fixed.tid,
        ret: fixed.ret,
        is_compat: fixed.flags & flag::COMPAT != 0,
        is_request: fixed.flags & flag::REQUEST != 0,
        is_open_ended: fixed.flags & flag::OPEN_ENDED != 0,
        creds: fixed.creds,
        numbers,
        path: None,
        path2: None,
        file: None,
        socket: None,
        address: None,
        data: None,
    };
    while !rest.is_empty() {
        let (part, behind) = Part::read_from_prefix(rest).map_err(|_| Malformed::Short)?;
        let (bytes, behind) = behind.split_at_checked(usize::from(part.len)).ok_or(Malformed::Short)?;
        event.add(part, bytes)?;
        rest = behind;
    }
    Ok(event)
}

impl<'a> Event<'a> {
    /// Takes in a part. What a part belongs to comes before it.
    fn add(&mut self, part: Part, bytes: &'a [u8]) -> Result<(), Malformed> {
        let kind = PartKind::try_from(part.kind).map_err(|_| Malformed::Value)?;
        let has = |flag: u8| part.flags & flag != 0;
        let name = || Name {
            text: (!has(part_flag::UNREADABLE)).then_some(bytes),
            is_truncated: has(part_flag::TRUNCATED),
            dir: None,
        };
        let components = || {
            PathTail::new(
                bytes,
                match (has(part_flag::TRUNCATED), has(part_flag::DETACHED)) {
                    (true, _) => PathForm::Truncated,
                    (false, true) => PathForm::Detached,
                    (false, false) => PathForm::Absolute,
                },
            )
        };
        match kind {
            PartKind::Path => self.path = Some(name()),
            PartKind::Path2 => self.path2 = Some(name()),
            PartKind::Dir => self.path.as_mut().ok_or(Malformed::Value)?.dir = Some(components()),
            PartKind::Dir2 => self.path2.as_mut().ok_or(Malformed::Value)?.dir = Some(components()),
            PartKind::File => {
                let facts = FileFacts::read_from_bytes(bytes).map_err(|_| Malformed::Value)?;
                self.file = Some(File { facts, path: PathTail::new(&[], PathForm::Absent) });
            }
            PartKind::FilePath => self.file.as_mut().ok_or(Malformed::Value)?.path = components(),
            PartKind::Socket => {
                let facts = SocketFacts::read_from_bytes(bytes).map_err(|_| Malformed::Value)?;
                self.socket = Some(Socket { facts, unix_name: &[], connection: None });
            }
            PartKind::UnixPath => {
                self.socket.as_mut().ok_or(Malformed::Value)?.unix_name = until_nul(bytes);
            }
            PartKind::Connection => {
                let facts = ConnectionFacts::read_from_bytes(bytes).map_err(|_| Malformed::Value)?;
                self.socket.as_mut().ok_or(Malformed::Value)?.connection = Some(facts);
            }
            PartKind::Address => self.address = Some(bytes),
            PartKind::Data => self.data = Some(bytes),
            PartKind::Nothing => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tarsier_abi::{Header, Sensor};
    use zerocopy::IntoBytes;

    use super::*;

    /// A record of `call`, with numbers and parts.
    fn record(call: Call, numbers: &[u64], parts: &[(PartKind, u8, &[u8])]) -> Vec<u8> {
        let header = Header { sensor: Sensor::Syscall as u8, op: call as u8, cpu: 0, seq: 0, boot_ns: 1 };
        let task = TaskKey { start_boottime: 5, tgid: 7, exec: 2 };
        let numbers_len = numbers.len() as u16;
        let creds = CallerCreds { euid: 5, ..CallerCreds::default() };
        let fixed = SyscallRecord { header, task, ret: -2, tid: 8, flags: 0, numbers: numbers_len, creds };
        let mut bytes = fixed.as_bytes().to_vec();
        numbers.iter().for_each(|number| bytes.extend(number.to_ne_bytes()));
        for (kind, flags, text) in parts {
            bytes.extend(Part { kind: *kind as u8, flags: *flags, len: text.len() as u16 }.as_bytes());
            bytes.extend(*text);
        }
        bytes
    }

    #[test]
    fn parts_find_their_places() {
        let facts = FileFacts { inode: 9, mode: 0o100_644, fd: 3, ..FileFacts::default() };
        let bytes = record(
            Call::openat,
            &[(-100_i32) as u32 as u64, 0, 0o102],
            &[
                (PartKind::File, 0, facts.as_bytes()),
                (PartKind::Path, 0, b"shadow"),
                (PartKind::Dir, 0, b"etc\0"),
                (PartKind::FilePath, part_flag::DETACHED, b"shadow\0etc\0"),
            ],
        );
        let event = decode(Call::openat as u8, &bytes).unwrap();
        assert_eq!((event.call, event.ret, event.tid, event.creds.euid), (Call::openat, -2, 8, 5));
        assert_eq!((event.int(0), event.number(2), event.number(3)), (Some(-100), Some(0o102), None));
        let path = event.path.unwrap();
        assert_eq!((path.text, path.dir.unwrap().to_bytes()), (Some(&b"shadow"[..]), b"/etc".to_vec()));
        let file = event.file.unwrap();
        assert_eq!((file.facts, file.path.to_bytes()), (facts, b"(unreachable)/etc/shadow".to_vec()));
        assert!(event.socket.is_none() && event.address.is_none());
    }

    #[test]
    fn addresses_are_read_by_their_family() {
        let of = |bytes: &[u8]| {
            let bytes = record(Call::connect, &[3], &[(PartKind::Address, 0, bytes)]);
            let event = decode(Call::connect as u8, &bytes).unwrap();
            (
                event.ip_address().map(|(ip, port)| format!("{ip} {port}")),
                event.unix_address().map(<[u8]>::to_vec),
            )
        };
        let v4 = [2, 0, 0x1f, 0x90, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(of(&v4), (Some("10.0.0.7 8080".to_owned()), None));
        let mut v6 = [0; 28];
        (v6[0], v6[3], v6[23]) = (10, 53, 1);
        assert_eq!(of(&v6), (Some("::1 53".to_owned()), None));
        assert_eq!(of(b"\x01\0/run/a.sock\0rest"), (None, Some(b"/run/a.sock".to_vec())));
        assert_eq!(of(b"\x01\0\0abstract"), (None, Some(b"\0abstract".to_vec())));
        assert_eq!(of(b"\x02\0\x1f"), (None, None), "too short");
        assert_eq!(of(b""), (None, None));
    }

    #[test]
    fn parts_are_numbered_up_to_the_last() {
        let known = (0..=u8::MAX).filter(|number| PartKind::try_from(*number).is_ok());
        assert_eq!(known.collect::<Vec<_>>(), (1..=PartKind::LAST).collect::<Vec<_>>());
    }

    #[test]
    fn a_connection_is_named_by_the_clients_number_and_the_servers() {
        let socket = SocketFacts::default();
        let of = |role: u8| {
            let facts = ConnectionFacts { base: 101, isn_peer: 500, role: role.into() };
            let parts =
                [(PartKind::Socket, 0, socket.as_bytes()), (PartKind::Connection, 0, facts.as_bytes())];
            let bytes = record(Call::sendto, &[3], &parts);
            decode(Call::sendto as u8, &bytes).unwrap().connection()
        };
        assert_eq!(of(role::CLIENT), Some(Connection { isn: (101, 500), role: Role::Client }));
        assert_eq!(of(role::SERVER), Some(Connection { isn: (500, 100), role: Role::Server }));
        assert_eq!((of(role::UNKNOWN), of(7)), (None, None));
        let without_socket = record(Call::sendto, &[3], &[(PartKind::Connection, 0, &[0; 12])]);
        assert_eq!(decode(Call::sendto as u8, &without_socket).err(), Some(Malformed::Value));
    }

    #[test]
    fn what_is_broken_is_said() {
        let decoded = |call: u8, bytes: &[u8]| decode(call, bytes).err();
        let good = record(Call::mkdir, &[1, 2], &[(PartKind::Path, 0, b"/x")]);
        assert_eq!(decoded(Call::mkdir as u8, &good), None);
        assert_eq!(decoded(200, &good), Some(Malformed::Op));
        for len in 0..good.len() {
            // Cut just between two parts, it is whole.
            let whole = len == size_of::<SyscallRecord>() + 16;
            assert_eq!(decoded(Call::mkdir as u8, &good[..len]).is_none(), whole, "{len}");
        }
        let dir_first = record(Call::mkdir, &[], &[(PartKind::Dir, 0, b"etc\0")]);
        assert_eq!(decoded(Call::mkdir as u8, &dir_first), Some(Malformed::Value));
        let short_facts = record(Call::fchmod, &[], &[(PartKind::File, 0, b"123")]);
        assert_eq!(decoded(Call::fchmod as u8, &short_facts), Some(Malformed::Value));
    }
}
