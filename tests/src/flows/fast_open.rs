//! Fast open: data in the SYN, which the other end takes, leaves, or never sees.

use std::net::SocketAddrV4;

use anyhow::ensure;

use super::SCENE;
use super::handshakes::server;
use super::lab::{self, Lab, Truth};
use super::steps::{exchange, finish, kernel_closes};
use super::wired::{self, Case, Places, Wired};
use crate::harness::cable::{self, Fate};
use crate::harness::peer::Peer;
use crate::harness::segment::flag;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "fast_open/without_cookies", needs: SCENE, run: without },
    Test { name: "fast_open/with_cookies", needs: SCENE, run: with },
];

/// Both directions of fast open on, without cookies (Documentation/networking/ip-sysctl.rst): data in a
/// SYN is sent and taken at once.
const WITHOUT: &[(&str, &str)] = &[("tcp_fastopen", "1543"), ("tcp_fastopen_blackhole_timeout_sec", "0")];

fn without(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, lab::Case); 9] = [
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
    lab::run(context, WITHOUT, &cases)
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

/// What the data of the SYN is followed by.
fn goes_on(lab: &Lab, mut peer: Peer<'_>) -> anyhow::Result<Truth> {
    exchange(lab, "a", &mut peer, 5, 6)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::client(&peer).bytes(i64::from(SYN_DATA) + 5, 6).segments(peer.tally))
}

fn data_taken(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = fast_client(lab, port)?;
    peer.expected = peer.expected.wrapping_add(SYN_DATA);
    peer.send(flag::SYN | flag::ACK, 0)?;
    peer.take(flag::ACK, 0)?;
    goes_on(lab, peer)
}

fn data_left(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = fast_client(lab, port)?;
    peer.send(flag::SYN | flag::ACK, 0)?;
    peer.take_bytes(SYN_DATA as usize)?;
    peer.ack()?;
    goes_on(lab, peer)
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
    goes_on(lab, peer)
}

fn data_lost(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    let mut peer = fast_client(lab, port)?;
    peer.take(flag::SYN, 0)?;
    peer.send(flag::SYN | flag::ACK, 0)?;
    peer.take_bytes(SYN_DATA as usize)?;
    peer.ack()?;
    goes_on(lab, peer)
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

/// Both directions on, with cookies: the first connection gets one, later ones have their data in the SYN.
const WITH: &[(&str, &str)] = &[("tcp_fastopen", "3"), ("tcp_fastopen_blackhole_timeout_sec", "0")];

fn with(context: &Context) -> anyhow::Result<()> {
    let case = |name, play| Case { name, judge: |_| Fate::Arrives, play, connections: 1 };
    let cases = [
        case("no cookie yet", |wired, port| fast(wired, port, TAKES, 0)),
        case("data is taken", |wired, port| fast(wired, port, TAKES, SYN_DATA)),
        case("data is left", |wired, port| fast(wired, port, LEAVES, SYN_DATA)),
        case("data by connect and write", |wired, port| {
            listen(wired, port, TAKES)?;
            wired.near.tell("open a")?;
            wired.near.tell(&format!("set a {} {} 1", libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT))?;
            wired.near.tell(&format!("connect a {}", SocketAddrV4::new(cable::FAR, port)))?;
            wired.near.tell(&format!("write a {SYN_DATA}"))?;
            talk(wired, port, SYN_DATA)
        }),
        Case {
            judge: |passage| if passage.up && passage.before == 0 { Fate::Lost } else { Fate::Arrives },
            ..case("the SYN is lost", |wired, port| fast(wired, port, TAKES, SYN_DATA))
        },
    ];
    let places = Places { settings: WITH, ..Places::default() };
    wired::run(context, &places, &cases).map(drop)
}

/// Requests that a listener holds at most whose data was taken; 0 = it leaves data.
const TAKES: u32 = 16;
const LEAVES: u32 = 0;

fn listen(wired: &Wired<'_>, port: u16, takes: u32) -> anyhow::Result<()> {
    wired.far.tell("open listener")?;
    wired.far.tell(&format!("bind listener {}", SocketAddrV4::new(cable::FAR, port)))?;
    wired.far.tell(&format!("set listener {} {} {takes}", libc::IPPROTO_TCP, libc::TCP_FASTOPEN))?;
    wired.far.tell("listen listener 16").map(drop)
}

/// A connection to a listener of its own, whose SYN must have `in_syn` bytes.
fn fast(wired: &Wired<'_>, port: u16, takes: u32, in_syn: u32) -> anyhow::Result<()> {
    listen(wired, port, takes)?;
    wired.near.tell("open a")?;
    let address = SocketAddrV4::new(cable::FAR, port);
    let taken = wired.near.tell(&format!("fastopen a {address} {SYN_DATA}"))?;
    ensure!(taken == u64::from(in_syn), "the kernel took {taken} bytes for the SYN");
    wired.near.tell("connected a")?;
    talk(wired, port, in_syn)
}

fn talk(wired: &Wired<'_>, port: u16, in_syn: u32) -> anyhow::Result<()> {
    wired.far.tell("accept b listener")?;
    wired.far.tell(&format!("read b {in_syn}"))?;
    wired.trade(30, 20)?;
    wired.close(port)?;
    let with_syn: Vec<_> = wired.cable.seen(port).iter().map(|seen| seen.up.with_syn).collect();
    ensure!(with_syn == [in_syn], "bytes in the SYN: {with_syn:?}");
    Ok(())
}
