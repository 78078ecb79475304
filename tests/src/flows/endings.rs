//! Every way to end, in every state: what was sent and taken in by then, and how it is called.

use anyhow::ensure;

use super::SCENE;
use super::lab::{self, Case, Lab, Truth};
use super::steps::{exchange, finish, kernel_closes, kernel_shuts, offer};
use crate::harness::peer::Peer;
use crate::harness::segment::flag;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "endings/reset_in_every_state", needs: SCENE, run: resets },
    Test { name: "endings/fin_in_every_order", needs: SCENE, run: fins },
    Test { name: "endings/what_was_not_taken", needs: SCENE, run: not_taken },
];

/// Bytes that every connection here moves before its end, (sent, received) by the kernel's end.
const MOVED: (usize, usize) = (11, 13);

fn client(lab: &Lab, port: u16) -> anyhow::Result<Peer<'_>> {
    let mut peer = lab.connect("a", port)?;
    exchange(lab, "a", &mut peer, MOVED.0, MOVED.1)?;
    Ok(peer)
}

fn server(lab: &Lab, port: u16) -> anyhow::Result<Peer<'_>> {
    let mut peer = lab.accept("a", port)?;
    exchange(lab, "a", &mut peer, MOVED.0, MOVED.1)?;
    Ok(peer)
}

fn client_truth(peer: &Peer<'_>) -> Truth {
    Truth::client(peer).bytes(11, 13).segments(peer.tally)
}

fn server_truth(peer: &Peer<'_>) -> Truth {
    Truth::server(peer).bytes(11, 13).segments(peer.tally)
}

fn resets(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, Case); 9] = [
        ("ESTABLISHED, client", |lab, port| reset(lab, client(lab, port)?, client_truth)),
        ("ESTABLISHED, server", |lab, port| reset(lab, server(lab, port)?, server_truth)),
        ("CLOSE_WAIT", |lab, port| {
            let mut peer = client(lab, port)?;
            peer.send(flag::FIN | flag::ACK, 0)?;
            peer.acknowledged()?;
            reset(lab, peer, client_truth)
        }),
        ("FIN_WAIT1", |lab, port| {
            let mut peer = server(lab, port)?;
            let before = peer.expected;
            kernel_shuts(lab, "a", &mut peer)?;
            // Its FIN is not acknowledged.
            peer.expected = before;
            reset(lab, peer, server_truth)
        }),
        ("FIN_WAIT2", |lab, port| {
            let mut peer = client(lab, port)?;
            kernel_shuts(lab, "a", &mut peer)?;
            peer.ack()?;
            reset(lab, peer, client_truth)
        }),
        ("CLOSING", |lab, port| {
            let mut peer = server(lab, port)?;
            closing(lab, &mut peer)?;
            reset(lab, peer, server_truth)
        }),
        ("LAST_ACK", |lab, port| {
            let mut peer = client(lab, port)?;
            peer.send(flag::FIN | flag::ACK, 0)?;
            peer.acknowledged()?;
            kernel_shuts(lab, "a", &mut peer)?;
            reset(lab, peer, client_truth)
        }),
        ("by the kernel's end, client", |lab, port| abort(lab, client(lab, port)?, client_truth)),
        ("by the kernel's end, server", |lab, port| abort(lab, server(lab, port)?, server_truth)),
    ];
    lab::run(context, &[], &cases)
}

/// The peer resets; the kernel's end is told, and is gone.
fn reset(lab: &Lab, mut peer: Peer<'_>, truth: fn(&Peer<'_>) -> Truth) -> anyhow::Result<Truth> {
    peer.send(flag::RST | flag::ACK, 0)?;
    lab.tell("close a")?;
    Ok(truth(&peer).reason("reset"))
}

/// The kernel's end resets: the segment that tells it comes after its counters are final.
fn abort(lab: &Lab, mut peer: Peer<'_>, truth: fn(&Peer<'_>) -> Truth) -> anyhow::Result<Truth> {
    let truth = truth(&peer).reason("reset");
    lab.tell("abort a")?;
    let segment = peer.hear()?;
    ensure!(segment.is(flag::RST | flag::ACK), "no reset but {segment:?}");
    Ok(truth)
}

/// Both FINs are on their way, neither is acknowledged by the peer.
fn closing(lab: &Lab, peer: &mut Peer<'_>) -> anyhow::Result<()> {
    let before = peer.expected;
    kernel_shuts(lab, "a", peer)?;
    let taken = std::mem::replace(&mut peer.expected, before);
    peer.send(flag::FIN | flag::ACK, 0)?;
    peer.acknowledged()?;
    peer.expected = taken;
    Ok(())
}

fn fins(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, Case); 8] = [
        ("the peer's first", |lab, port| {
            let mut peer = server(lab, port)?;
            peer.send(flag::FIN | flag::ACK, 0)?;
            peer.acknowledged()?;
            lab.tell("end a")?;
            kernel_closes(lab, "a", &mut peer)?;
            peer.ack()?;
            Ok(server_truth(&peer))
        }),
        ("both at once", |lab, port| {
            let mut peer = client(lab, port)?;
            closing(lab, &mut peer)?;
            peer.ack()?;
            lab.tell("close a")?;
            Ok(client_truth(&peer))
        }),
        ("the kernel's end goes on to receive", |lab, port| {
            let mut peer = client(lab, port)?;
            kernel_shuts(lab, "a", &mut peer)?;
            peer.send(flag::ACK, 900)?;
            lab.tell("read a 900")?;
            peer.acknowledged()?;
            peer.send(flag::FIN | flag::ACK, 0)?;
            peer.acknowledged()?;
            lab.tell("close a")?;
            Ok(client_truth(&peer).bytes(11, 913))
        }),
        ("the kernel's end goes on to send", |lab, port| {
            let mut peer = server(lab, port)?;
            peer.send(flag::FIN | flag::ACK, 0)?;
            peer.acknowledged()?;
            lab.tell("write a 700")?;
            peer.take_bytes(700)?;
            peer.ack()?;
            kernel_closes(lab, "a", &mut peer)?;
            peer.ack()?;
            Ok(server_truth(&peer).bytes(711, 13))
        }),
        ("with data, from the peer", |lab, port| {
            let mut peer = client(lab, port)?;
            peer.send(flag::FIN | flag::ACK, 50)?;
            lab.tell("read a 50")?;
            peer.acknowledged()?;
            kernel_closes(lab, "a", &mut peer)?;
            peer.ack()?;
            Ok(client_truth(&peer).bytes(11, 63))
        }),
        ("lost", |lab, port| {
            let mut peer = client(lab, port)?;
            let before = peer.expected;
            kernel_shuts(lab, "a", &mut peer)?;
            peer.expected = before;
            // It comes again.
            peer.take(flag::FIN | flag::ACK, 0)?;
            peer.send(flag::FIN | flag::ACK, 0)?;
            peer.acknowledged()?;
            lab.tell("close a")?;
            Ok(client_truth(&peer))
        }),
        ("before anything was sent", |lab, port| {
            let mut peer = lab.connect("a", port)?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::client(&peer).segments(peer.tally))
        }),
        ("before anything was sent, server", |lab, port| {
            let mut peer = lab.accept("a", port)?;
            finish(lab, "a", &mut peer)?;
            Ok(Truth::server(&peer).segments(peer.tally))
        }),
    ];
    lab::run(context, &[], &cases)
}

fn not_taken(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, Case); 6] = [
        ("sent, never acknowledged", |lab, port| {
            let mut peer = client(lab, port)?;
            lab.tell("write a 1000")?;
            peer.take(flag::ACK, 1_000)?;
            Ok(Truth { sent: 1_011, ..abort(lab, peer, client_truth)? })
        }),
        ("received, never read", |lab, port| {
            let mut peer = server(lab, port)?;
            peer.send(flag::ACK, 9)?;
            peer.acknowledged()?;
            let truth = server_truth(&peer).bytes(11, 22).reason("reset");
            lab.tell("close a")?;
            ensure!(peer.hear()?.is(flag::RST | flag::ACK), "the close is no reset");
            Ok(truth)
        }),
        ("written, never sent: the window is closed", |lab, port| {
            let mut peer = client(lab, port)?;
            offer(lab, "a", &mut peer, 0)?;
            lab.tell("write a 500")?;
            Ok(Truth { received: 14, ..abort(lab, peer, client_truth)? })
        }),
        ("written and ended, never sent, reset", |lab, port| {
            let mut peer = server(lab, port)?;
            offer(lab, "a", &mut peer, 0)?;
            lab.tell("write a 500")?;
            lab.tell("shut a")?;
            Ok(Truth { received: 14, ..reset(lab, peer, server_truth)? })
        }),
        ("reset while data is on its way", |lab, port| {
            let mut peer = client(lab, port)?;
            lab.tell("write a 600")?;
            peer.take(flag::ACK, 600)?;
            Ok(Truth { sent: 611, ..reset(lab, peer, client_truth)? })
        }),
        ("after the end of a socket that reads no more", |lab, port| {
            let mut peer = client(lab, port)?;
            kernel_closes(lab, "a", &mut peer)?;
            // Nobody will read it: the kernel resets, and its bytes count for nothing.
            peer.send(flag::ACK, 40)?;
            let truth = client_truth(&peer);
            ensure!(peer.hear()?.is(flag::RST), "data after the end is taken");
            Ok(truth)
        }),
    ];
    lab::run(context, &[], &cases)
}
