//! `fd.*` of sockets: who talks to whom.
//!
//! Addresses and roles are the kernel's: whoever connected is the client, whoever accepted the server. Of datagrams, the
//! one whose port was chosen by `bind` is the server. A socket without a peer has the one that this call named.

use std::net::IpAddr;

use tarsier_abi::syscall::Call;

use super::{With, descriptor, number, put, text, truth};
use crate::event::syscall::{AF_INET, AF_INET6, AF_UNIX, Event, Socket};
use crate::rules::check::services;
use crate::rules::compare::Value;
use crate::rules::facts::Facts;
use crate::rules::typed::Argument;

/// Address and port.
type End = (IpAddr, u16);

/// `SOCK_STREAM`, `SOCK_DGRAM`, `SOCK_RAW` (include/linux/net.h).
const STREAM: u16 = 1;
const DATAGRAM: u16 = 2;
const RAW: u16 = 3;
/// `IPPROTO_ICMP` and `IPPROTO_ICMPV6`.
const ICMP: [u16; 2] = [1, 58];
/// `TCP_ESTABLISHED` (include/net/tcp_states.h); of other protocols too it says that there is a peer.
const ESTABLISHED: u8 = 1;
/// States of a connection that was established and is being closed: FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE_WAIT, LAST_ACK
/// and CLOSING.
const CLOSING: [u8; 6] = [4, 5, 6, 8, 9, 11];
/// `TCP_LISTEN`.
const LISTEN: u8 = 10;

/// Both ends of a socket of IP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// This one.
    pub local: End,
    /// The other one, if there is one.
    pub peer: Option<End>,
    /// Which of them is the server; none: nobody knows.
    role: Option<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

impl Ends {
    /// Whether this end is the server's, or waits for whoever comes.
    pub(super) fn is_server(&self) -> bool {
        self.role == Some(Role::Server)
    }

    /// Client and server.
    fn ordered(&self) -> Option<(End, End)> {
        let peer = self.peer?;
        Some(match self.role? {
            Role::Client => (self.local, peer),
            Role::Server => (peer, self.local),
        })
    }

    fn server(&self) -> Option<End> {
        match (self.ordered(), self.role) {
            (Some((_, server)), _) => Some(server),
            (None, Some(Role::Server)) => Some(self.local),
            _ => None,
        }
    }
}

/// Both ends of the socket that a call is about, if it is one of IP.
pub(super) fn ends(event: &Event<'_>) -> Option<Ends> {
    let socket = event.socket.as_ref()?;
    let local = socket.local()?;
    // A connection that was refused leaves the address behind, without the port; raw sockets have no ports.
    let has_peer =
        |(address, port): &End| *port != 0 || socket.facts.kind == RAW && !address.is_unspecified();
    let own_peer = socket.peer().filter(has_peer);
    // What bind and listen are told is this end.
    let names_peer = !matches!(event.call, Call::bind | Call::listen);
    let peer = own_peer.or_else(|| event.ip_address().filter(|_| names_peer));
    let role = match event.call {
        Call::connect => Some(Role::Client),
        Call::accept | Call::accept4 => Some(Role::Server),
        _ if socket.is_accepted() || socket.facts.state == LISTEN => Some(Role::Server),
        // A stream has a peer that it was accepted from or connected to.
        _ if socket.facts.kind == STREAM && own_peer.is_some() => Some(Role::Client),
        _ if socket.is_bound() => Some(Role::Server),
        _ => peer.map(|_| Role::Client),
    };
    Some(Ends { local, peer, role })
}

fn ends_of(facts: &Facts<'_>) -> Option<Ends> {
    ends(facts.syscall()?)
}

/// Gives the name of a socket: `client->server`, or this end; of a unix socket its path. One that has neither has an empty
/// name.
pub(super) fn with_name(facts: &Facts<'_>, event: &Event<'_>, socket: &Socket<'_>, with: impl FnOnce(&[u8])) {
    match socket.facts.family {
        AF_INET | AF_INET6 => {
            facts.cache.name.get(|out| ends(event).into_iter().for_each(|ends| write(out, &ends)), with);
        }
        AF_UNIX => match event.unix_address().filter(|name| !name.is_empty()).unwrap_or(socket.unix_name) {
            // An abstract name, as ss(8) writes it.
            [0, name @ ..] => facts.cache.name.get(
                |out| {
                    out.push(b'@');
                    out.extend_from_slice(name);
                },
                with,
            ),
            path => with(path),
        },
        _ => with(b""),
    }
}

fn write(out: &mut Vec<u8>, ends: &Ends) {
    match (ends.ordered(), ends.peer) {
        (Some((client, server)), _) => write_pair(out, client, server),
        (None, Some(peer)) => write_pair(out, ends.local, peer),
        (None, None) if ends.is_server() => write_end(out, ends.local),
        (None, None) => {}
    }
}

fn write_pair(out: &mut Vec<u8>, (from, from_port): End, (to, to_port): End) {
    put!(out, "{from}:{from_port}->{to}:{to_port}");
}

/// Appends one end: `address:port`, without brackets around an IPv6 address.
pub(super) fn write_end(out: &mut Vec<u8>, (address, port): End) {
    put!(out, "{address}:{port}");
}

/// The protocol in words, and in one letter as arguments have it.
pub(super) fn protocol(socket: &Socket<'_>) -> Option<(&'static str, &'static str)> {
    if !matches!(socket.facts.family, AF_INET | AF_INET6) {
        return None;
    }
    match socket.facts.kind {
        RAW => Some(("raw", "r")),
        DATAGRAM if ICMP.contains(&socket.facts.protocol) => Some(("icmp", "i")),
        DATAGRAM => Some(("udp", "u")),
        STREAM => Some(("tcp", "t")),
        _ => None,
    }
}

/// Whatever is no socket of IP has no protocol, and says so.
pub(in crate::rules) fn l4_protocol(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let Some(event) = facts.syscall() else { return };
    match &event.socket {
        Some(socket) => text(protocol(socket).map_or("<NA>", |(name, _)| name), with),
        None if event.file.is_some() => text("<NA>", with),
        None => {}
    }
}

pub(in crate::rules) fn family(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    match facts.syscall().and_then(|event| event.socket).map(|socket| socket.facts.family) {
        Some(AF_INET | AF_INET6) => text("ip", with),
        Some(AF_UNIX) => text("unix", with),
        _ => {}
    }
}

pub(in crate::rules) fn is_connected(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(socket) = facts.syscall().and_then(|event| event.socket) {
        let state = socket.facts.state;
        truth(state == ESTABLISHED || socket.facts.kind == STREAM && CLOSING.contains(&state), with);
    }
}

pub(in crate::rules) fn is_server(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(ends) = ends_of(facts) {
        truth(ends.is_server(), with);
    }
}

/// Whether this call told the socket's peer or port. That it is another one than the call before had is not known.
pub(in crate::rules) fn is_name_changed(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let Some(event) = facts.syscall().filter(|event| event.socket.is_some()) else { return };
    let is = match event.call {
        Call::connect | Call::accept | Call::accept4 | Call::bind => true,
        Call::sendto | Call::sendmsg | Call::sendmmsg | Call::recvfrom | Call::recvmsg | Call::recvmmsg => {
            let has_peer = event.socket.and_then(|socket| socket.peer()).is_some_and(|(_, port)| port != 0);
            !has_peer && event.ip_address().is_some()
        }
        _ => false,
    };
    truth(is, with);
}

fn addresses(facts: &Facts<'_>, end: impl FnOnce(&Ends) -> Option<End>, with: With<'_>) {
    if let Some((address, _)) = ends_of(facts).as_ref().and_then(end) {
        with(Value::Address(address));
    }
}

fn ports(facts: &Facts<'_>, end: impl FnOnce(&Ends) -> Option<End>, with: With<'_>) {
    if let Some((_, port)) = ends_of(facts).as_ref().and_then(end) {
        number(port, with);
    }
}

/// The client's end.
fn client(ends: &Ends) -> Option<End> {
    ends.ordered().map(|(client, _)| client)
}

/// This end, of a connection.
fn local(ends: &Ends) -> Option<End> {
    ends.peer.map(|_| ends.local)
}

/// Both ends, client first; of a socket that waits for whoever comes, its own.
fn both(facts: &Facts<'_>) -> [Option<End>; 2] {
    let Some(ends) = ends_of(facts) else { return [None, None] };
    match (ends.ordered(), ends.peer) {
        (Some((client, server)), _) => [Some(client), Some(server)],
        (None, Some(peer)) => [Some(ends.local), Some(peer)],
        (None, None) => [ends.server(), None],
    }
}

pub(in crate::rules) fn any_ip(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    both(facts).into_iter().flatten().for_each(|(address, _)| with(Value::Address(address)));
}

pub(in crate::rules) fn any_port(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    both(facts).into_iter().flatten().for_each(|(_, port)| with(Value::Number(port.into())));
}

pub(in crate::rules) fn client_ip(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    addresses(facts, client, with);
}

pub(in crate::rules) fn server_ip(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    addresses(facts, Ends::server, with);
}

pub(in crate::rules) fn local_ip(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    addresses(facts, local, with);
}

pub(in crate::rules) fn remote_ip(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    addresses(facts, |ends| ends.peer, with);
}

pub(in crate::rules) fn client_port(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    ports(facts, client, with);
}

pub(in crate::rules) fn server_port(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    ports(facts, Ends::server, with);
}

pub(in crate::rules) fn local_port(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    ports(facts, local, with);
}

pub(in crate::rules) fn remote_port(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    ports(facts, |ends| ends.peer, with);
}

/// The name of a port's service, else its number.
fn services_of(facts: &Facts<'_>, end: impl FnOnce(&Ends) -> Option<End>, with: With<'_>) {
    let Some((_, port)) = ends_of(facts).as_ref().and_then(end) else { return };
    match services::name(port) {
        Some(name) => text(name, with),
        None => facts.cache.once(|out| put!(out, "{port}"), |port| text(port, with)),
    }
}

pub(in crate::rules) fn client_service(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    services_of(facts, client, with);
}

pub(in crate::rules) fn server_service(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    services_of(facts, Ends::server, with);
}

pub(in crate::rules) fn local_service(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    services_of(facts, local, with);
}

pub(in crate::rules) fn remote_service(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    services_of(facts, |ends| ends.peer, with);
}

/// Appends the kind and name of a descriptor's socket or file, as arguments have them: `<4t>1.2.3.4:5->6.7.8.9:10`.
pub(super) fn write_descriptor(out: &mut Vec<u8>, facts: &Facts<'_>, event: &Event<'_>) {
    let Some(kind) = descriptor::kind(event) else { return };
    let protocol = event.socket.as_ref().and_then(protocol).map_or("", |(_, letter)| letter);
    put!(out, "<{}{protocol}>", kind.letter());
    super::file::with_name(facts, |name| out.extend_from_slice(name));
}
