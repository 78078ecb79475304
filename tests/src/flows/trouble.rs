//! What is sent more than once, late, in pieces, or not at all for a while.

use anyhow::ensure;

use super::SCENE;
use super::lab::{self, Case, Lab, Truth};
use super::steps::{exchange, finish, offer};
use crate::harness::peer::Peer;
use crate::harness::segment::{Segment, flag};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "trouble/loss_and_order", needs: SCENE, run: loss },
    Test { name: "trouble/closed_windows", needs: SCENE, run: windows },
    Test { name: "trouble/a_device_that_refuses", needs: SCENE, run: refusals },
];

fn loss(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, Case); 5] = [
        ("a lost segment", |lab, port| {
            let mut peer = lab.connect("a", port)?;
            lab.tell("write a 100")?;
            peer.hear()?;
            // It comes again.
            peer.take_bytes(100)?;
            peer.ack()?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::client(&peer).bytes(100, 0).segments(peer.tally))
        }),
        ("a segment lost many times", |lab, port| {
            let mut peer = lab.accept("a", port)?;
            lab.tell("write a 1")?;
            for _ in 0..4 {
                peer.hear()?;
            }
            peer.take_bytes(1)?;
            peer.ack()?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::server(&peer).bytes(1, 0).segments(peer.tally))
        }),
        ("a segment acknowledged in part", |lab, port| {
            let mut peer = lab.connect("a", port)?;
            lab.tell("write a 1000")?;
            let segment = peer.take(flag::ACK, 1_000)?;
            let end = std::mem::replace(&mut peer.expected, segment.seq.wrapping_add(300));
            peer.ack()?;
            while peer.expected != end {
                peer.expected = peer.hear()?.end();
            }
            peer.ack()?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::client(&peer).bytes(1_000, 0).segments(peer.tally))
        }),
        ("data out of order, twice, and overlapping", |lab, port| {
            let mut peer = lab.connect("a", port)?;
            let data = |peer: &Peer<'_>, offset: u32, length: usize| Segment {
                source: peer.own,
                destination: peer.kernel,
                seq: peer.next.wrapping_add(offset),
                ack: peer.expected,
                flags: flag::ACK,
                window: peer.window,
                options: Vec::new(),
                payload: vec![0x55; length],
            };
            for (offset, length) in [(20, 30), (20, 30), (10, 15), (45, 15), (0, 12), (0, 60)] {
                let segment = data(&peer, offset, length);
                peer.say(&segment)?;
            }
            peer.next = peer.next.wrapping_add(60);
            lab.tell("read a 60")?;
            // The last of them made no difference, and its answer may be held back.
            exchange(lab, "a", &mut peer, 5, 6)?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::client(&peer).bytes(5, 66).segments(peer.tally))
        }),
        ("data beyond the window", |lab, port| {
            let mut peer = lab.accept("a", port)?;
            let far = Segment {
                source: peer.own,
                destination: peer.kernel,
                seq: peer.next.wrapping_add(1 << 29),
                ack: peer.expected,
                flags: flag::ACK,
                window: peer.window,
                options: Vec::new(),
                payload: vec![0x55; 700],
            };
            peer.say(&far)?;
            ensure!(peer.hear()?.ack == peer.next, "data beyond the window is taken");
            exchange(lab, "a", &mut peer, 5, 6)?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::server(&peer).bytes(5, 6).segments(peer.tally))
        }),
    ];
    lab::run(context, &[], &cases)
}

fn windows(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, Case); 4] = [
        ("closed, probed, opened", |lab, port| {
            let mut peer = lab.connect("a", port)?;
            offer(lab, "a", &mut peer, 0)?;
            lab.tell("write a 500")?;
            // A probe is an empty segment before what is acknowledged already.
            for _ in 0..3 {
                let probe = peer.take(flag::ACK, 0)?;
                ensure!(probe.seq == peer.expected.wrapping_sub(1), "no probe: {probe:?}");
                peer.ack()?;
            }
            open_window(&mut peer)?;
            peer.take_bytes(500)?;
            peer.ack()?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::client(&peer).bytes(500, 1).segments(peer.tally))
        }),
        ("closed while data is on its way", |lab, port| {
            let mut peer = lab.accept("a", port)?;
            lab.tell("write a 800")?;
            let segment = peer.take(flag::ACK, 800)?;
            // Taken in part; for the rest there is no room, and it is sent again all the same.
            let end = std::mem::replace(&mut peer.expected, segment.seq.wrapping_add(100));
            peer.window = 0;
            peer.ack()?;
            peer.hear()?;
            peer.ack()?;
            open_window(&mut peer)?;
            while peer.expected != end {
                peer.expected = peer.hear()?.end();
            }
            peer.ack()?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::server(&peer).bytes(800, 0).segments(peer.tally))
        }),
        ("smaller than a segment", |lab, port| {
            let mut peer = lab.connect("a", port)?;
            offer(lab, "a", &mut peer, 100)?;
            lab.tell("write a 250")?;
            for part in [100, 100, 50] {
                peer.take_bytes(part)?;
                peer.ack()?;
            }
            open_window(&mut peer)?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::client(&peer).bytes(250, 1).segments(peer.tally))
        }),
        ("smaller than a segment, then reset", |lab, port| {
            let mut peer = lab.accept("a", port)?;
            // A smaller window must come with a later sequence number than the handshake's.
            exchange(lab, "a", &mut peer, 1, 1)?;
            offer(lab, "a", &mut peer, 100)?;
            lab.tell("write a 250")?;
            peer.take_bytes(100)?;
            peer.send(flag::RST | flag::ACK, 0)?;
            lab.tell("close a")?;
            Ok(Truth::server(&peer).bytes(101, 2).segments(peer.tally).reason("reset"))
        }),
    ];
    lab::run(context, &[], &cases)
}

fn open_window(peer: &mut Peer<'_>) -> anyhow::Result<()> {
    peer.window = 60_000;
    peer.ack()
}

/// The kernel counts a segment as sent before the way out is known to work, and again when it tries again.
fn refusals(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, Case); 5] = [
        ("ten bytes of a client", |lab, port| {
            let mut peer = lab.connect("a", port)?;
            refused(lab, &mut peer, 10)?;
            exchange(lab, "a", &mut peer, 7, 8)?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::client(&peer).bytes(17, 8))
        }),
        // By its sums this client was accepted: its SYN and the byte counted twice cancel out.
        ("one byte of a client", |lab, port| {
            let mut peer = lab.connect("a", port)?;
            refused(lab, &mut peer, 1)?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::client(&peer).bytes(1, 0))
        }),
        ("ten bytes of a server", |lab, port| {
            let mut peer = lab.accept("a", port)?;
            refused(lab, &mut peer, 10)?;
            exchange(lab, "a", &mut peer, 7, 8)?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::server(&peer).bytes(17, 8))
        }),
        ("one byte of a server", |lab, port| {
            let mut peer = lab.accept("a", port)?;
            refused(lab, &mut peer, 1)?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::server(&peer).bytes(1, 0))
        }),
        ("bytes that never leave", |lab, port| {
            let peer = lab.connect("a", port)?;
            lab.tun.link(false)?;
            lab.tell("write a 33")?;
            lab.tell("abort a")?;
            lab.tun.link(true)?;
            Ok(Truth::client(&peer).reason("reset"))
        }),
    ];
    lab::run(context, &[], &cases)
}

/// `count` bytes are written while there is no way to the peer; then there is one again, and they arrive.
fn refused(lab: &Lab, peer: &mut Peer<'_>, count: usize) -> anyhow::Result<()> {
    lab.tun.link(false)?;
    lab.tell(&format!("write a {count}"))?;
    // The first try has failed by now; the next one comes by a timer.
    lab.tun.link(true)?;
    peer.take_bytes(count)?;
    peer.ack()
}
