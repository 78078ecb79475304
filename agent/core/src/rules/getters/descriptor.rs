//! What kind of thing a descriptor stands for.

use tarsier_abi::syscall::{Call, Fd, RECIPES};

use super::socket;
use super::words::O_DIRECTORY;
use crate::event::exec::{PathForm, split_args};
use crate::event::syscall::{AF_INET, AF_INET6, AF_UNIX, Event, File, Socket};

/// `AF_NETLINK`.
const AF_NETLINK: u16 = 16;
/// The type in `i_mode` (include/uapi/linux/stat.h).
const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFIFO: u32 = 0o010_000;

/// Kinds of descriptors, as Falco tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file of any kind that has a name.
    File,
    Directory,
    Ipv4,
    /// A socket of IPv4 that has no peer, but a port or address that was chosen for it.
    Ipv4Server,
    Ipv6,
    Ipv6Server,
    Unix,
    Netlink,
    Fifo,
    Event,
    Signal,
    Poll,
    Inotify,
    Timer,
    Bpf,
    UserFault,
    Ring,
    Memory,
    Process,
    Unknown,
}

impl Kind {
    /// As `fd.typechar` has it.
    pub(super) fn letter(self) -> &'static str {
        match self {
            Self::File => "f",
            Self::Directory => "d",
            Self::Ipv4 => "4",
            Self::Ipv4Server => "2",
            Self::Ipv6 => "6",
            Self::Ipv6Server => "3",
            Self::Unix | Self::UserFault => "u",
            Self::Netlink => "n",
            Self::Fifo => "p",
            Self::Event => "e",
            Self::Signal => "s",
            Self::Poll => "l",
            Self::Inotify => "i",
            Self::Timer => "t",
            Self::Bpf => "b",
            Self::Ring => "r",
            Self::Memory => "m",
            Self::Process => "P",
            Self::Unknown => "o",
        }
    }

    /// As `fd.type` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Ipv4 | Self::Ipv4Server => "ipv4",
            Self::Ipv6 | Self::Ipv6Server => "ipv6",
            Self::Unix => "unix",
            Self::Netlink => "netlink",
            Self::Fifo => "pipe",
            Self::Event => "event",
            Self::Signal => "signalfd",
            Self::Poll => "eventpoll",
            Self::Inotify => "inotify",
            Self::Timer => "timerfd",
            Self::Bpf => "bpf",
            Self::UserFault => "userfaultfd",
            Self::Ring => "io_uring",
            Self::Memory => "memfd",
            Self::Process => "pidfd",
            Self::Unknown => "<NA>",
        }
    }

    /// Whether it is a socket of IP.
    pub(super) fn is_ip(self) -> bool {
        matches!(self, Self::Ipv4 | Self::Ipv4Server | Self::Ipv6 | Self::Ipv6Server)
    }
}

/// Whether a call opens what its path names.
pub(super) fn is_open(call: Call) -> bool {
    matches!(call, Call::open | Call::openat | Call::openat2 | Call::creat)
}

/// The number of the descriptor that a call is about: -1 if there was to be one and is not.
pub(super) fn number(event: &Event<'_>) -> Option<i64> {
    match RECIPES[event.call as usize].fd {
        Fd::None => None,
        Fd::Returned => Some(event.ret.max(-1)),
        Fd::First => event.int(0).map(i64::from),
    }
}

/// The kind of the descriptor that a call is about, if there is one.
pub(super) fn kind(event: &Event<'_>) -> Option<Kind> {
    if let Some(socket) = &event.socket {
        return Some(kind_of_socket(event, socket));
    }
    let file = event.file.as_ref()?;
    Some(match event.call {
        // What a path leads to is a file, unless the caller asks for a directory.
        call if is_open(call) => match flags(event) & O_DIRECTORY {
            0 => Kind::File,
            _ => Kind::Directory,
        },
        Call::memfd_create => Kind::Memory,
        Call::userfaultfd => Kind::UserFault,
        _ => kind_of_file(file),
    })
}

fn flags(event: &Event<'_>) -> u64 {
    let index = match event.call {
        Call::open => 1,
        Call::openat | Call::openat2 => 2,
        _ => return 0,
    };
    event.number(index).unwrap_or(0)
}

fn kind_of_file(file: &File<'_>) -> Kind {
    match file.facts.mode & S_IFMT {
        S_IFDIR => Kind::Directory,
        S_IFIFO => Kind::Fifo,
        // Files without a type are those of anon_inodefs (fs/anon_inodes.c), by their names.
        0 => match lonely_name(file) {
            Some(b"[eventfd]") => Kind::Event,
            Some(b"[signalfd]") => Kind::Signal,
            Some(b"[eventpoll]") => Kind::Poll,
            Some(b"inotify") => Kind::Inotify,
            Some(b"[timerfd]") => Kind::Timer,
            Some(b"bpf-map" | b"bpf-prog" | b"bpf_link" | b"bpf_btf") => Kind::Bpf,
            Some(b"[userfaultfd]") => Kind::UserFault,
            Some(b"[io_uring]") => Kind::Ring,
            Some(b"[pidfd]") => Kind::Process,
            _ => Kind::Unknown,
        },
        _ if lonely_name(file).is_some_and(|name| name.starts_with(b"memfd:")) => Kind::Memory,
        _ => Kind::File,
    }
}

/// The name of a file that is in no directory: what an anonymous one is called.
pub(super) fn lonely_name<'a>(file: &File<'a>) -> Option<&'a [u8]> {
    let mut components = split_args(file.path.components());
    let name = (file.path.form() == PathForm::Detached).then(|| components.next())?;
    components.next().is_none().then(|| name.unwrap_or_default())
}

fn kind_of_socket(event: &Event<'_>, socket: &Socket<'_>) -> Kind {
    match socket.facts.family {
        AF_INET | AF_INET6 => {
            let ends = socket::ends(event);
            // What talks to an IPv4 peer is one of IPv4, whatever it was made as.
            let shown = ends.and_then(|ends| ends.peer.or(ends.is_server().then_some(ends.local)));
            let is_v4 = shown.map_or(socket.facts.family == AF_INET, |(address, _)| address.is_ipv4());
            let has_peer = ends.is_none_or(|ends| ends.peer.is_some() || !ends.is_server());
            match (is_v4, has_peer) {
                (true, true) => Kind::Ipv4,
                (true, false) => Kind::Ipv4Server,
                (false, true) => Kind::Ipv6,
                (false, false) => Kind::Ipv6Server,
            }
        }
        AF_UNIX => Kind::Unix,
        AF_NETLINK => Kind::Netlink,
        _ => Kind::Unknown,
    }
}
