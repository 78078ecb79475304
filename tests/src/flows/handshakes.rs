//! Every way to begin: what is counted, and who is said to have connected.

use anyhow::{bail, ensure};

use super::SCENE;
use super::lab::{self, Case, Lab, Truth};
use super::steps::{exchange, finish};
use crate::harness::agent::Agent;
use crate::harness::cgroup::Cgroup;
use crate::harness::netns;
use crate::harness::peer::Peer;
use crate::harness::receiver::Receiver;
use crate::harness::scene::{self, ARRIVAL};
use crate::harness::segment::flag;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "handshakes/plain", needs: SCENE, run: plain },
    Test { name: "handshakes/syn_cookies", needs: SCENE, run: syn_cookies },
    Test { name: "handshakes/crossed", needs: SCENE, run: crossed },
    Test { name: "handshakes/restored", needs: SCENE, run: restored },
    Test { name: "handshakes/before_the_agent", needs: SCENE, run: older },
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

pub(super) fn server(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
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

fn crossed(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, Case); 2] = [("both connect", both_connect), ("both connect, one resets", both_reset)];
    lab::run(context, &[], &cases)
}

/// Two SYNs that cross: each end connects, neither accepts (RFC 9293 §3.5).
fn crossing<'a>(lab: &'a Lab, port: u16) -> anyhow::Result<Peer<'a>> {
    lab.tell("open a")?;
    cross(lab, "a", port)
}

/// The same of an open socket.
fn cross<'a>(lab: &'a Lab, name: &str, port: u16) -> anyhow::Result<Peer<'a>> {
    lab.tell(&format!("connect {name} {}", Lab::peer(port)))?;
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

/// Nobody saw their handshakes: a client, one from a port that it chose, which may have been connected to and
/// was, a server, and one whose listener has no backlog to be known by.
fn older(context: &Context) -> anyhow::Result<()> {
    let (cgroup, receiver) = (Cgroup::new("older")?, Receiver::start()?);
    let puppet = scene::itest(&context.itest, cgroup.path(), lab::PUPPET)?;
    let lab = netns::within(|| Lab::new(puppet))?;
    let mut client = lab.connect("client", 7_000)?;
    lab.tell("open crossed")?;
    lab.tell(&format!("bind crossed {}", std::net::SocketAddrV4::new(lab.tun.address, 7_003)))?;
    let mut crossed = cross(&lab, "crossed", 7_004)?;
    crossed.ack()?;
    lab.tell("connected crossed")?;
    let mut servers = Vec::new();
    for (name, port, backlog) in [("server", 7_001, 16), ("without", 7_002, 0)] {
        lab.listen_by("tcp", port, backlog)?;
        let mut peer = lab.caller(port);
        peer.send(flag::SYN, 0)?;
        lab.answered(&mut peer)?;
        peer.ack()?;
        lab.tell(&format!("accept {name} listener"))?;
        // Two sockets of one name are two.
        lab.tell(&format!("rename listener {name}-listener"))?;
        servers.push((name, peer));
    }
    exchange(&lab, "client", &mut client, 100, 50)?;
    let agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), "")?;
    exchange(&lab, "client", &mut client, 5, 6)?;
    finish(&lab, "client", &mut client)?;
    exchange(&lab, "crossed", &mut crossed, 9, 10)?;
    finish(&lab, "crossed", &mut crossed)?;
    let mut truths =
        vec![Truth::client(&client).bytes(5, 6), Truth::client(&crossed).of_unknown_role().bytes(9, 10)];
    for (name, peer) in &mut servers {
        exchange(&lab, name, peer, 7, 8)?;
        finish(&lab, name, peer)?;
        truths.push(Truth::server(peer).bytes(7, 8));
    }
    for truth in truths {
        let span = receiver.wait("span", ARRIVAL, |seen| truth.find(seen).next().cloned())?;
        if let Some(wrong) = truth.differs(&span) {
            bail!("{}: {wrong}", truth.kernel);
        }
    }
    agent.wait_ledger("balanced ledger", ARRIVAL, |ledger| ledger.nothing_lost().map(|()| true)).map(drop)
}
