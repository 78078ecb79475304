//! Sockets.

use tarsier_abi::syscall::{Call, PartKind, SocketFacts, socket_flag};

use super::sample::record;

const ESTABLISHED: u8 = 1;
const CLOSED: u8 = 7;
const LISTEN: u8 = 10;

fn v4(kind: u16, local: ([u8; 4], u16), peer: ([u8; 4], u16)) -> SocketFacts {
    let wide = |address: [u8; 4]| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&address);
        bytes
    };
    SocketFacts {
        local: wide(local.0),
        peer: wide(peer.0),
        local_port: local.1,
        peer_port: peer.1,
        family: 2,
        kind,
        protocol: if kind == 1 { 6 } else { 17 },
        state: if peer.1 == 0 { CLOSED } else { ESTABLISHED },
        fd: 3,
        ..SocketFacts::default()
    }
}

const OWN: ([u8; 4], u16) = ([10, 0, 0, 5], 40_000);
const FAR: ([u8; 4], u16) = ([1, 2, 3, 4], 443);
const NONE: ([u8; 4], u16) = ([0; 4], 0);

/// `struct sockaddr_in` of `FAR`.
const FAR_ADDRESS: [u8; 16] = [2, 0, 1, 0xbb, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn who_connects_is_the_client() {
    record(Call::connect, 0, &[3, 0, 16]).socket(v4(1, OWN, FAR)).part(PartKind::Address, &FAR_ADDRESS).gives(&[
        ("fd.type", "ipv4"),
        ("fd.typechar", "4"),
        ("fd.l4proto", "tcp"),
        ("fd.sockfamily", "ip"),
        ("fd.name", "10.0.0.5:40000->1.2.3.4:443"),
        ("fd.connected", "true"),
        ("fd.name_changed", "true"),
        ("fd.is_server", "false"),
        ("fd.cip", "10.0.0.5"),
        ("fd.sip", "1.2.3.4"),
        ("fd.lip", "10.0.0.5"),
        ("fd.rip", "1.2.3.4"),
        ("fd.cport", "40000"),
        ("fd.sport", "443"),
        ("fd.lport", "40000"),
        ("fd.rport", "443"),
        ("fd.ip", "10.0.0.5|1.2.3.4"),
        ("fd.port", "40000|443"),
        ("fd.snet", "1.2.3.4"),
        ("fd.net", "10.0.0.5|1.2.3.4"),
        ("fd.sproto", "https"),
        ("fd.cproto", "40000"),
        ("fd.directory", "-"),
        ("evt.category", "net"),
        ("evt.arg.tuple", "10.0.0.5:40000->1.2.3.4:443"),
        (
            "evt.args",
            "res=0 tuple=10.0.0.5:40000->1.2.3.4:443 fd=3(<4t>10.0.0.5:40000->1.2.3.4:443) addr=1.2.3.4:443",
        ),
    ]);
    // It is under way: the kernel's peer is set, the connection is not.
    let pending = SocketFacts { state: 2, ..v4(1, OWN, FAR) };
    record(Call::connect, -115, &[3, 0, 16]).socket(pending).gives(&[
        ("evt.res", "EINPROGRESS"),
        ("fd.connected", "false"),
        ("fd.name", "10.0.0.5:40000->1.2.3.4:443"),
    ]);
    // It was refused, which leaves an address without its port: the peer is what was asked for.
    let refused = v4(1, ([0; 4], 40_000), ([1, 2, 3, 4], 0));
    record(Call::connect, -111, &[3, 0, 16])
        .socket(refused)
        .part(PartKind::Address, &FAR_ADDRESS)
        .gives(&[("fd.name", "0.0.0.0:40000->1.2.3.4:443"), ("fd.sport", "443")]);
    record(Call::connect, -111, &[3, 0, 16])
        .socket(v4(1, OWN, NONE))
        .part(PartKind::Address, &FAR_ADDRESS)
        .gives(&[("fd.sip", "1.2.3.4"), ("fd.connected", "false")]);
}

#[test]
fn who_accepts_is_the_server() {
    let accepted = SocketFacts { flags: socket_flag::ACCEPTED, ..v4(1, FAR, OWN) };
    let expected = [
        ("fd.name", "10.0.0.5:40000->1.2.3.4:443"),
        ("fd.is_server", "true"),
        ("fd.cip", "10.0.0.5"),
        ("fd.sip", "1.2.3.4"),
        ("fd.lip", "1.2.3.4"),
        ("fd.rport", "40000"),
    ];
    record(Call::accept, 4, &[3, 0, 0]).socket(v4(1, FAR, OWN)).gives(&expected);
    record(Call::recvfrom, 1, &[4, 0, 10, 0, 0, 0]).socket(accepted).gives(&expected);
    record(Call::accept4, -11, &[3, 0, 0, 0]).gives(&[
        ("fd.num", "-1"),
        ("fd.typechar", "4"),
        ("fd.type", "-"),
        ("fd.name", "-"),
        ("evt.arg.fd", "EAGAIN"),
        ("evt.arg.tuple", "NULL"),
    ]);
    let listening = SocketFacts { state: LISTEN, flags: socket_flag::BOUND, ..v4(1, FAR, NONE) };
    record(Call::listen, 0, &[3, 128]).socket(listening).gives(&[
        ("fd.typechar", "2"),
        ("fd.type", "ipv4"),
        ("fd.name", "1.2.3.4:443"),
        ("fd.sip", "1.2.3.4"),
        ("fd.cip", "-"),
        ("fd.lip", "-"),
        ("fd.sport", "443"),
        ("fd.ip", "1.2.3.4"),
        ("fd.is_server", "true"),
        ("evt.args", "res=0 fd=3(<2t>1.2.3.4:443) backlog=128"),
    ]);
}

#[test]
fn datagrams_have_the_peer_that_a_call_names() {
    record(Call::sendto, 12, &[3, 0, 12, 0, 0, 16])
        .socket(v4(2, OWN, NONE))
        .part(PartKind::Address, &FAR_ADDRESS)
        .part(PartKind::Data, b"GET /\0")
        .gives(&[
            ("fd.l4proto", "udp"),
            ("fd.connected", "false"),
            ("fd.name_changed", "true"),
            ("fd.name", "10.0.0.5:40000->1.2.3.4:443"),
            ("fd.is_server", "false"),
            ("fd.typechar", "4"),
            ("evt.is_io_write", "true"),
            ("evt.io_dir", "write"),
            ("evt.category", "net"),
            ("evt.buflen", "12"),
            ("evt.buffer", "GET /\0"),
            ("evt.arg.data", "GET /."),
            ("evt.arg.size", "12"),
        ]);
    let connected = v4(2, OWN, FAR);
    record(Call::sendto, 12, &[3, 0, 12, 0, 0, 0]).socket(connected).gives(&[
        ("fd.name_changed", "false"),
        ("fd.connected", "true"),
        ("fd.sip", "1.2.3.4"),
    ]);
    // Whose port was chosen answers.
    let bound = SocketFacts { flags: socket_flag::BOUND, ..v4(2, FAR, NONE) };
    let client = [2, 0, 0x9c, 0x40, 10, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
    record(Call::recvfrom, 5, &[3, 0, 12, 0, 0, 0]).socket(bound).part(PartKind::Address, &client).gives(&[
        ("fd.name", "10.0.0.5:40000->1.2.3.4:443"),
        ("fd.is_server", "true"),
        ("fd.cip", "10.0.0.5"),
        ("evt.io_dir", "read"),
    ]);
}

#[test]
fn sockets_that_have_no_peer_yet() {
    record(Call::socket, 3, &[2, 1, 0]).socket(v4(1, NONE, NONE)).gives(&[
        ("fd.name", ""),
        ("fd.typechar", "4"),
        ("fd.ip", "-"),
        ("fd.is_server", "false"),
        ("evt.arg.domain", "AF_INET"),
        ("evt.args", "fd=3(<4t>) domain=2(AF_INET) type=1 proto=0"),
    ]);
    let bound = SocketFacts { flags: socket_flag::BOUND, ..v4(1, FAR, NONE) };
    record(Call::bind, 0, &[3, 0, 16]).socket(bound).part(PartKind::Address, &FAR_ADDRESS).gives(&[
        ("fd.name", "1.2.3.4:443"),
        ("fd.typechar", "2"),
        ("fd.sport", "443"),
        ("evt.arg.addr", "1.2.3.4:443"),
    ]);
}

#[test]
fn addresses_of_ipv6() {
    let mut local = [0; 16];
    local[15] = 1;
    let facts = SocketFacts { family: 10, local, peer: local, ..v4(1, OWN, FAR) };
    record(Call::connect, 0, &[3])
        .socket(facts)
        .gives(&[("fd.typechar", "6"), ("fd.name", "::1:40000->::1:443")]);
    // An IPv4 peer of such a socket is one of IPv4.
    let mut mapped = [0; 16];
    (mapped[10], mapped[11]) = (0xff, 0xff);
    mapped[12..].copy_from_slice(&[1, 2, 3, 4]);
    let facts = SocketFacts { family: 10, local: mapped, peer: mapped, ..v4(1, OWN, FAR) };
    record(Call::connect, 0, &[3]).socket(facts).gives(&[
        ("fd.typechar", "4"),
        ("fd.type", "ipv4"),
        ("fd.sip", "1.2.3.4"),
    ]);
}

#[test]
fn sockets_of_the_host() {
    let unix = SocketFacts { family: 1, kind: 1, state: ESTABLISHED, fd: 3, ..SocketFacts::default() };
    record(Call::connect, 0, &[3]).socket(unix).part(PartKind::Address, b"\x01\0/run/docker.sock\0").gives(
        &[
            ("fd.typechar", "u"),
            ("fd.type", "unix"),
            ("fd.sockfamily", "unix"),
            ("fd.name", "/run/docker.sock"),
            ("fd.l4proto", "<NA>"),
            ("fd.ip", "-"),
            ("fd.connected", "true"),
            ("evt.is_syslog", "false"),
        ],
    );
    record(Call::sendmsg, 3, &[3, 0, 0]).socket(unix).part(PartKind::UnixPath, b"/dev/log\0").gives(&[
        ("fd.name", "/dev/log"),
        ("evt.is_syslog", "true"),
        ("evt.category", "ipc"),
    ]);
    record(Call::connect, 0, &[3])
        .socket(unix)
        .part(PartKind::UnixPath, b"\0bus")
        .gives(&[("fd.name", "@bus"), ("fd.name", "@bus")]);
    let netlink = SocketFacts { family: 16, kind: 3, fd: 3, ..SocketFacts::default() };
    record(Call::socket, 3, &[16, 3, 0]).socket(netlink).gives(&[
        ("fd.type", "netlink"),
        ("fd.typechar", "n"),
        ("evt.arg.domain", "AF_ROUTE|AF_NETLINK"),
    ]);
}
