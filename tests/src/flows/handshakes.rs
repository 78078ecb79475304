//! Every way to begin: what is counted, and who is said to have connected.

use anyhow::ensure;

use super::SCENE;
use super::lab::{self, Case, Lab, Truth};
use super::steps::{exchange, finish, kernel_closes};
use crate::harness::peer::Peer;
use crate::harness::segment::flag;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "handshakes/plain", needs: SCENE, run: plain },
    Test { name: "handshakes/syn_cookies", needs: SCENE, run: syn_cookies },
    Test { name: "handshakes/fast_open", needs: SCENE, run: fast_open },
    Test { name: "handshakes/crossed", needs: SCENE, run: crossed },
    Test { name: "handshakes/restored", needs: SCENE, run: restored },
];

fn plain(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, Case); 7] = [
        ("client", client),
        ("client whose SYN is lost", client_syn_lost),
        ("client that is refused", client_refused),
        ("client that gives up", client_gives_up),
        ("client that connects again", client_again),
        ("server", server),
        ("server that is not answered", server_half_open),
    ];
    lab::run(context, &[], &cases)
}

/// Every SYN is answered with a cookie: the socket is made of the ACK alone.
fn syn_cookies(context: &Context) -> anyhow::Result<()> {
    lab::run(context, &[("tcp_syncookies", "2")], &[("server", server)])
}

fn client(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = lab.connect("a", port)?;
    exchange(lab, "a", &mut peer, 100, 50)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::client(&peer).bytes(100, 50).segments(peer.tally))
}

fn client_syn_lost(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    lab.tell("open a")?;
    lab.tell(&format!("connect a {}", Lab::peer(port)))?;
    let (mut peer, _) = Peer::called(&lab.tun, Lab::peer(port))?;
    peer.take(flag::SYN, 0)?;
    peer.send(flag::SYN | flag::ACK, 0)?;
    peer.take(flag::ACK, 0)?;
    exchange(lab, "a", &mut peer, 3, 2)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::client(&peer).bytes(3, 2).segments(peer.tally))
}

fn client_refused(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    lab.tell("open a")?;
    lab.tell(&format!("connect a {}", Lab::peer(port)))?;
    let (mut peer, _) = Peer::called(&lab.tun, Lab::peer(port))?;
    peer.send(flag::RST | flag::ACK, 0)?;
    let (errno, _) = lab.ask("connected a")?;
    ensure!(errno == libc::ECONNREFUSED, "connect ended with {errno}");
    lab.tell("close a")?;
    Ok(Truth::client(&peer).segments(peer.tally).reason("refused"))
}

fn client_gives_up(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    lab.tell("open a")?;
    lab.tell(&format!("connect a {}", Lab::peer(port)))?;
    let (peer, _) = Peer::called(&lab.tun, Lab::peer(port))?;
    lab.tell("close a")?;
    Ok(Truth::client(&peer).segments(peer.tally))
}

/// One socket, two connections: the second counts from nothing.
fn client_again(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut first = lab.connect("a", port + 1_000)?;
    exchange(lab, "a", &mut first, 70, 80)?;
    lab.tell("disconnect a")?;
    lab.tell(&format!("connect a {}", Lab::peer(port)))?;
    let (mut peer, _) = Peer::called(&lab.tun, Lab::peer(port))?;
    peer.send(flag::SYN | flag::ACK, 0)?;
    peer.take(flag::ACK, 0)?;
    exchange(lab, "a", &mut peer, 1, 2)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::client(&peer).bytes(1, 2).segments(peer.tally))
}

fn server(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = lab.accept("a", port)?;
    exchange(lab, "a", &mut peer, 200, 300)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::server(&peer).bytes(200, 300).segments(peer.tally))
}

fn server_half_open(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    lab.listen(port)?;
    let mut peer = lab.caller(port);
    peer.send(flag::SYN, 0)?;
    lab.answered(&mut peer)?;
    peer.send(flag::RST, 0)?;
    lab.tell("close listener")?;
    Ok(Truth { role: None, ..Truth::server(&peer) })
}

/// Both directions of fast open on, without cookies (Documentation/networking/ip-sysctl.rst): data in a
/// SYN is sent and taken at once.
const FAST_OPEN: &[(&str, &str)] = &[("tcp_fastopen", "1543"), ("tcp_fastopen_blackhole_timeout_sec", "0")];

fn fast_open(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, Case); 9] = [
        ("client whose data is taken", data_taken),
        ("client whose data is left", data_left),
        ("client whose data is taken in part", data_taken_in_part),
        ("client whose SYN is lost", data_lost),
        ("client that is refused", data_refused),
        ("server that answers before the handshake is over", answers_early),
        ("server that is reset before the handshake is over", reset_early),
        ("server that closes before the handshake is over", closes_early),
        ("server without data in the SYN", server),
    ];
    lab::run(context, FAST_OPEN, &cases)
}

const SYN_DATA: u32 = 40;

fn fast_client<'a>(lab: &'a Lab, port: u16) -> anyhow::Result<Peer<'a>> {
    lab.tell("open a")?;
    let count = lab.tell(&format!("fastopen a {} {SYN_DATA}", Lab::peer(port)))?;
    let (peer, syn) = Peer::called(&lab.tun, Lab::peer(port))?;
    let in_syn = (count, syn.payload.len());
    ensure!(in_syn == (u64::from(SYN_DATA), SYN_DATA as usize), "bytes taken and sent: {in_syn:?}");
    Ok(peer)
}

fn data_taken(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = fast_client(lab, port)?;
    peer.expected = peer.expected.wrapping_add(SYN_DATA);
    peer.send(flag::SYN | flag::ACK, 0)?;
    peer.take(flag::ACK, 0)?;
    exchange(lab, "a", &mut peer, 5, 6)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::client(&peer).bytes(45, 6).segments(peer.tally))
}

fn data_left(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = fast_client(lab, port)?;
    peer.send(flag::SYN | flag::ACK, 0)?;
    peer.take_bytes(SYN_DATA as usize)?;
    peer.ack()?;
    exchange(lab, "a", &mut peer, 5, 6)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::client(&peer).bytes(45, 6).segments(peer.tally))
}

fn data_taken_in_part(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = fast_client(lab, port)?;
    peer.expected = peer.expected.wrapping_add(13);
    peer.send(flag::SYN | flag::ACK, 0)?;
    // The kernel sends all of it again or only the rest: what counts is that it ends there.
    let end = peer.expected.wrapping_add(SYN_DATA - 13);
    while peer.expected != end {
        peer.expected = peer.hear()?.end();
    }
    peer.ack()?;
    exchange(lab, "a", &mut peer, 5, 6)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::client(&peer).bytes(45, 6).segments(peer.tally))
}

fn data_lost(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = fast_client(lab, port)?;
    peer.take(flag::SYN, 0)?;
    peer.send(flag::SYN | flag::ACK, 0)?;
    peer.take_bytes(SYN_DATA as usize)?;
    peer.ack()?;
    exchange(lab, "a", &mut peer, 5, 6)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::client(&peer).bytes(45, 6).segments(peer.tally))
}

fn data_refused(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = fast_client(lab, port)?;
    peer.send(flag::RST | flag::ACK, 0)?;
    let (errno, _) = lab.ask("connected a")?;
    ensure!(errno == libc::ECONNREFUSED, "connect ended with {errno}");
    lab.tell("close a")?;
    Ok(Truth::client(&peer).bytes(i64::from(SYN_DATA), 0).reason("refused"))
}

/// The kernel takes the data of the SYN at once, and its socket begins its life with it.
fn fast_server<'a>(lab: &'a Lab, port: u16) -> anyhow::Result<Peer<'a>> {
    lab.listen(port)?;
    let mut peer = lab.caller(port);
    peer.send(flag::SYN, SYN_DATA as usize)?;
    lab.answered(&mut peer)?;
    lab.tell("accept a listener")?;
    lab.tell("close listener")?;
    Ok(peer)
}

fn answers_early(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = fast_server(lab, port)?;
    lab.tell(&format!("read a {SYN_DATA}"))?;
    lab.tell("write a 21")?;
    peer.take_bytes(21)?;
    peer.ack()?;
    exchange(lab, "a", &mut peer, 5, 6)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::server(&peer).bytes(26, 46))
}

fn reset_early(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = fast_server(lab, port)?;
    peer.send(flag::RST, 0)?;
    lab.tell("close a")?;
    Ok(Truth::server(&peer).bytes(0, i64::from(SYN_DATA)).reason("reset"))
}

fn closes_early(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = fast_server(lab, port)?;
    lab.tell(&format!("read a {SYN_DATA}"))?;
    kernel_closes(lab, "a", &mut peer)?;
    peer.send(flag::FIN | flag::ACK, 0)?;
    peer.acknowledged()?;
    Ok(Truth::server(&peer).bytes(0, i64::from(SYN_DATA)))
}

fn crossed(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, Case); 2] = [("both connect", both_connect), ("both connect, one resets", both_reset)];
    lab::run(context, &[], &cases)
}

/// Two SYNs that cross: each end connects, neither accepts (RFC 9293 §3.5).
fn crossing<'a>(lab: &'a Lab, port: u16) -> anyhow::Result<Peer<'a>> {
    lab.tell("open a")?;
    lab.tell(&format!("connect a {}", Lab::peer(port)))?;
    let (mut peer, _) = Peer::called(&lab.tun, Lab::peer(port))?;
    peer.send(flag::SYN, 0)?;
    lab.answered(&mut peer)?;
    Ok(peer)
}

fn both_connect(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = crossing(lab, port)?;
    peer.ack()?;
    lab.tell("connected a")?;
    exchange(lab, "a", &mut peer, 5, 6)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::client(&peer).of_unknown_role().bytes(5, 6).segments(peer.tally))
}

fn both_reset(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = crossing(lab, port)?;
    peer.send(flag::RST, 0)?;
    lab.tell("close a")?;
    Ok(Truth::client(&peer).of_unknown_role().reason("reset"))
}

fn restored(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, Case); 2] = [("empty", restored_empty), ("with data on its way", restored_full)];
    lab::run(context, &[], &cases)
}

/// A socket put back as it was elsewhere (`TCP_REPAIR`, as CRIU does): it never had a handshake.
fn restore<'a>(lab: &'a Lab, port: u16, queued: usize) -> anyhow::Result<Peer<'a>> {
    /// Values of `TCP_REPAIR_QUEUE` (include/uapi/linux/tcp.h), and where each queue starts.
    const RECEIVING: (i64, u32) = (1, 2_000_000);
    const SENDING: (i64, u32) = (2, 1_000_000);
    let set = |option: i32, value: i64| lab.tell(&format!("set a {} {option} {value}", libc::IPPROTO_TCP));
    lab.tell("open a")?;
    set(libc::TCP_REPAIR, 1)?;
    let kernel = std::net::SocketAddrV4::new(lab.tun.address, port);
    lab.tell(&format!("bind a {kernel}"))?;
    for (queue, seq) in [RECEIVING, SENDING] {
        set(libc::TCP_REPAIR_QUEUE, queue)?;
        set(libc::TCP_QUEUE_SEQ, seq.into())?;
    }
    lab.tell(&format!("connect a {}", Lab::peer(port)))?;
    if queued > 0 {
        lab.tell(&format!("write a {queued}"))?;
    }
    // On again, without a probe of the peer's window.
    set(libc::TCP_REPAIR, -1)?;
    let mut peer = Peer::new(&lab.tun, Lab::peer(port), kernel);
    (peer.next, peer.expected) = (RECEIVING.1, SENDING.1);
    Ok(peer)
}

fn restored_empty(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = restore(lab, port, 0)?;
    // It knows no window yet.
    peer.ack()?;
    exchange(lab, "a", &mut peer, 25, 15)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::client(&peer).of_unknown_role().bytes(25, 15).segments(peer.tally))
}

/// What its former self had sent and nobody has acknowledged is sent again, and is this one's to count.
fn restored_full(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = restore(lab, port, 10)?;
    peer.take_bytes(10)?;
    peer.ack()?;
    exchange(lab, "a", &mut peer, 25, 15)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::client(&peer).of_unknown_role().bytes(35, 15))
}
