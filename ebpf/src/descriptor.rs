//! Descriptors: what file or socket a number stands for.

use tarsier_abi::{
    ABSENT,
    syscall::{ConnectionFacts, FileFacts, Known, SocketFacts, file_flag, socket_flag, socket_head},
    tcp::{role, state},
};

use crate::{
    access::{Access, Untyped},
    kernel::{Ptr, SOCK_BOUND_BIT, field},
    path::Place,
    process::{self, OVERLAYFS_MAGIC},
    sequence::{self, Identity, Sent},
    sock::AF_INET6,
};

const S_IFMT: u32 = 0o170_000;
const S_IFSOCK: u32 = 0o140_000;

/// The file of a descriptor of `task`; null if there is none. Its table cannot go away: the task is the one that runs.
#[inline(always)]
pub fn file(task: impl Access, fd: u32) -> Ptr {
    let files = task.follow(&field::TASK_FILES).address();
    let table = Untyped(files).follow(&field::FILES_TABLE);
    // Of a table that could not be read this is zero.
    if fd >= table.read::<u32>(&field::TABLE_MAX) {
        return core::ptr::null();
    }
    let array = table.follow(&field::TABLE_FILES);
    array.read_at((fd & 0x0fff_ffff) * 8)
}

/// Where a file is.
#[inline(always)]
pub fn place(file: Ptr) -> Place {
    let file = Untyped(file);
    Place { dentry: file.read(&field::FILE_DENTRY), mnt: file.read(&field::FILE_MNT) }
}

/// Writes what a file and its inode say.
#[inline(always)]
pub fn facts(file: Ptr, fd: i32, out: *mut FileFacts) {
    let file = Untyped(file);
    let inode = file.follow(&field::FILE_INODE);
    let sb = inode.follow(&field::INODE_SB);
    let mut flags = 0;
    if inode.read::<u32>(&field::INODE_NLINK) == 0 {
        flags |= file_flag::UNLINKED;
    }
    if sb.read::<u64>(&field::SB_MAGIC) == OVERLAYFS_MAGIC {
        flags |= file_flag::OVERLAY;
        if process::is_upper_layer(inode.address()) {
            flags |= file_flag::UPPER_LAYER;
        }
    }
    // SAFETY (each write): the caller's room, in which a field is as aligned as its type says.
    unsafe {
        (&raw mut (*out).inode).write_unaligned(inode.read(&field::INODE_INO));
        (&raw mut (*out).dev).write(sb.read(&field::SB_DEV));
        (&raw mut (*out).mode).write(mode(file));
        (&raw mut (*out).open_flags).write(file.read(&field::FILE_FLAGS));
        (&raw mut (*out).file_mode).write(file.read(&field::FILE_MODE));
        (&raw mut (*out).flags).write(flags);
        (&raw mut (*out).fd).write(fd);
    }
}

#[inline(always)]
fn mode(file: Untyped) -> u32 {
    u32::from(file.follow(&field::FILE_INODE).read::<u16>(&field::INODE_MODE))
}

/// Whether a file is a socket: its inode is one of sockfs, and `private_data` the `struct socket` (net/socket.c).
#[inline(always)]
pub fn is_socket(file: Ptr) -> bool {
    mode(Untyped(file)) & S_IFMT == S_IFSOCK
}

/// What filters look at of a file.
#[inline(always)]
pub fn head(file: Ptr) -> Known {
    if !is_socket(file) {
        return socket_head(0, 0);
    }
    let sock = sock(file);
    socket_head(family(sock), sequence::peer_port(Untyped(sock)))
}

/// The `struct sock` of a socket's file; null if it has been let go.
#[inline(always)]
pub fn sock(file: Ptr) -> Ptr {
    Untyped(file).follow(&field::FILE_PRIVATE).read(&field::SOCKET_SOCK)
}

/// Its family, `AF_*`.
#[inline(always)]
pub fn family(sock: Ptr) -> u16 {
    Untyped(sock).read(&field::SOCK_FAMILY)
}

/// Writes what a socket says. Addresses and ports are those of IP; of any other family they mean nothing.
#[inline(always)]
pub fn socket_facts(sock: Ptr, fd: i32, out: *mut SocketFacts) {
    let at = Untyped(sock);
    let family = family(sock);
    let mut flags = 0;
    if at.read::<u32>(&field::SOCK_MAX_BACKLOG) != 0 {
        flags |= socket_flag::ACCEPTED;
    }
    let bit = SOCK_BOUND_BIT.load();
    if bit != ABSENT && at.read_at::<u8>(bit / 8) >> (bit % 8) & 1 != 0 {
        flags |= socket_flag::BOUND;
    }
    let (local_port, peer_port) = sequence::ports(at);
    // SAFETY (each write): the caller's room, in which a field is as aligned as its type says.
    unsafe {
        let local = (&raw mut (*out).local).cast::<u32>();
        let peer = (&raw mut (*out).peer).cast::<u32>();
        if family == AF_INET6 {
            let (own_at, peer_at) = (field::SOCK_V6_RCV_SADDR.load(), field::SOCK_V6_DADDR.load());
            for word in 0..4 {
                local.add(word).write(at.read_at(own_at + word as u32 * 4));
                peer.add(word).write(at.read_at(peer_at + word as u32 * 4));
            }
        } else {
            local.write(at.read(&field::SOCK_RCV_SADDR));
            peer.write(at.read(&field::SOCK_DADDR));
            for word in 1..4 {
                local.add(word).write(0);
                peer.add(word).write(0);
            }
        }
        (&raw mut (*out).local_port).write(local_port);
        (&raw mut (*out).peer_port).write(peer_port);
        (&raw mut (*out).family).write(family);
        (&raw mut (*out).kind).write(at.read(&field::SOCK_TYPE));
        (&raw mut (*out).protocol).write(at.read(&field::SOCK_PROTOCOL));
        (&raw mut (*out).state).write(at.read(&field::SOCK_STATE));
        (&raw mut (*out).flags).write(flags);
        (&raw mut (*out).fd).write(fd);
    }
}

/// Whether a socket is one of TCP that has been established and is open still, in this kernel's words.
#[inline(always)]
pub fn is_connected(sock: Ptr) -> bool {
    const STREAM: u16 = 1;
    const TCP: u16 = 6;
    const AF_INET: u16 = 2;
    const CONNECTED: u32 = 1 << state::ESTABLISHED
        | 1 << state::FIN_WAIT1
        | 1 << state::FIN_WAIT2
        | 1 << state::CLOSING
        | 1 << state::CLOSE_WAIT
        | 1 << state::LAST_ACK;
    let at = Untyped(sock);
    let family = family(sock);
    field::TCP_SND_UNA.load() != ABSENT
        && (family == AF_INET || family == AF_INET6)
        && at.read::<u16>(&field::SOCK_TYPE) == STREAM
        && at.read::<u16>(&field::SOCK_PROTOCOL) == TCP
        && CONNECTED >> (at.read::<u8>(&field::SOCK_STATE) & 31) & 1 != 0
}

/// Writes what names a connection. Nobody holds its lock here: what was not the same before and after is no name.
#[inline(always)]
pub fn connection_facts(sock: Ptr, out: *mut ConnectionFacts) {
    let at = Untyped(sock);
    let identity = Identity::read(at);
    let sent = Sent::read(at, identity.base, || at.read(&field::SOCK_STATE));
    let proven = sent.role(at);
    let role = if Identity::read(at).is(&identity) { proven } else { role::UNKNOWN };
    // SAFETY (each write): the caller's room, in which a field is as aligned as its type says.
    unsafe {
        (&raw mut (*out).base).write(identity.base);
        (&raw mut (*out).isn_peer).write(identity.peer);
        (&raw mut (*out).role).write(role.into());
    }
}

/// The name that a unix socket goes by, and its length: its own, else its peer's. Null: neither has one.
#[inline(always)]
pub fn unix_name(sock: Ptr) -> (Ptr, u64) {
    let mut address = Untyped(sock).follow(&field::UNIX_ADDRESS);
    if address.is_null() {
        // Of no peer this reads as null again.
        address = Untyped(sock).follow(&field::UNIX_PEER).follow(&field::UNIX_ADDRESS);
    }
    // `sun_family` stands before the path.
    let name = address.address().wrapping_add(field::UNIX_ADDRESS_NAME.load() as usize + 2);
    let len = u64::from(address.read::<u32>(&field::UNIX_ADDRESS_LEN));
    if address.is_null() || len <= 2 { (core::ptr::null(), 0) } else { (name, len - 2) }
}
