//! When a connection began and ended, held against when the segments that did it were sent. Most of these records
//! carry the time that the kernel took for the segment, and not that of a clock read for them: it must be of that segment,
//! and not of an earlier one.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};

use super::SCENE;
use super::lab::{Lab, PUPPET, Truth};
use super::steps::{exchange, kernel_closes, kernel_shuts};
use crate::harness::netns;
use crate::harness::peer::Peer;
use crate::harness::scene::{ARRIVAL, Scene};
use crate::harness::segment::flag;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[Test { name: "times/of_the_segments", needs: SCENE, run }];

/// Between a segment and the next one that matters passes at least this.
const PAUSE: Duration = Duration::from_millis(2);
/// Less than that: by how much the clocks of the test and of the agent can be apart, each looked at from outside.
const CLOCKS_NS: u64 = 200_000;

/// Unix time, ns, before something can have happened and after it has.
type Bounds = RangeInclusive<u64>;

/// The connection's ends, and when it must be told to have begun and ended.
struct Times {
    truth: Truth,
    began: Bounds,
    ended: Bounds,
}

type Case = fn(&Lab, u16) -> anyhow::Result<Times>;

fn now() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos())?)
}

/// Runs `step`, which does one thing and sees that it was done, some time after all that was before; when that was.
fn at<T>(lab: &Lab, step: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(Bounds, T)> {
    let begun = Instant::now();
    while begun.elapsed() < PAUSE {
        // Work that has nothing to do with the connection.
        lab.tell("open other")?;
        lab.tell("close other")?;
    }
    let before = now()?;
    let done = step()?;
    Ok((before - CLOCKS_NS..=now()? + CLOCKS_NS, done))
}

fn run(context: &Context) -> anyhow::Result<()> {
    let cases: [(&str, Case); 7] = [
        ("accepted; LAST_ACK, by the last ACK", last_ack),
        ("FIN_WAIT2, by the ACK of the FIN", fin_wait2),
        ("FIN_WAIT2, by close", fin_wait2_by_close),
        ("FIN_WAIT2, by the peer's FIN", fin_wait2_by_fin),
        ("CLOSING, by the last ACK", closing),
        ("ESTABLISHED, by a reset", reset),
        ("never accepted, by the end of its listener", orphan),
    ];
    let scene = Scene::new(context, "times")?;
    let told = netns::within(|| {
        let lab = Lab::new(scene.itest(PUPPET)?)?;
        let of = |(index, (name, case)): (usize, &(&'static str, Case))| {
            let times =
                case(&lab, 7_000 + u16::try_from(index)?).with_context(|| format!("playing {name}"))?;
            Ok((*name, times))
        };
        cases.iter().enumerate().map(of).collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mut wrong = Vec::new();
    for (name, Times { truth, began, ended }) in &told {
        let span = scene.receiver.wait(name, ARRIVAL, |seen| truth.find(seen).next().cloned())?;
        let (start, end) = (span.item.start_time_unix_nano, span.item.end_time_unix_nano);
        for (what, bounds, time) in [("began", began, start), ("ended", ended, end)] {
            if !bounds.contains(&time) {
                let off = i128::from(time) - i128::from(*bounds.start());
                let long = bounds.end() - bounds.start();
                wrong.push(format!("{name}: {what} {off} ns after it can have, in {long} ns"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// A peer connects: its ACK begins the connection, long after its SYN.
fn accept<'a>(lab: &'a Lab, port: u16) -> anyhow::Result<(Bounds, Peer<'a>)> {
    lab.listen(port)?;
    let mut peer = lab.caller(port);
    peer.send(flag::SYN, 0)?;
    lab.answered(&mut peer)?;
    let (began, ()) = at(lab, || {
        peer.ack()?;
        lab.tell("accept a listener").map(drop)
    })?;
    lab.tell("close listener")?;
    exchange(lab, "a", &mut peer, 5, 7)?;
    Ok((began, peer))
}

/// The kernel connects: that begins the connection, long before the answer.
fn connect<'a>(lab: &'a Lab, port: u16) -> anyhow::Result<(Bounds, Peer<'a>)> {
    lab.tell("open a")?;
    let (began, mut peer) = at(lab, || {
        lab.tell(&format!("connect a {}", Lab::peer(port)))?;
        Ok(Peer::called(&lab.tun, Lab::peer(port))?.0)
    })?;
    at(lab, || {
        peer.send(flag::SYN | flag::ACK, 0)?;
        peer.take(flag::ACK, 0)
    })?;
    lab.tell("connected a")?;
    exchange(lab, "a", &mut peer, 5, 7)?;
    Ok((began, peer))
}

/// The peer acknowledges all; then what it sends once more is for nobody, or for what the kernel keeps in TIME_WAIT: the
/// answer shows that the socket is gone.
fn acknowledge_and_ask(peer: &mut Peer<'_>, again: u8) -> anyhow::Result<()> {
    peer.ack()?;
    peer.send(again, 0)?;
    peer.hear().map(drop)
}

fn last_ack(lab: &Lab, port: u16) -> anyhow::Result<Times> {
    let (began, mut peer) = accept(lab, port)?;
    peer.send(flag::FIN | flag::ACK, 0)?;
    peer.acknowledged()?;
    lab.tell("end a")?;
    kernel_closes(lab, "a", &mut peer)?;
    let (ended, ()) = at(lab, || acknowledge_and_ask(&mut peer, flag::ACK))?;
    Ok(Times { truth: Truth::server(&peer), began, ended })
}

fn fin_wait2(lab: &Lab, port: u16) -> anyhow::Result<Times> {
    let (began, mut peer) = connect(lab, port)?;
    kernel_closes(lab, "a", &mut peer)?;
    let (ended, ()) = at(lab, || acknowledge_and_ask(&mut peer, flag::FIN | flag::ACK))?;
    Ok(Times { truth: Truth::client(&peer), began, ended })
}

fn fin_wait2_by_close(lab: &Lab, port: u16) -> anyhow::Result<Times> {
    let (began, mut peer) = connect(lab, port)?;
    kernel_shuts(lab, "a", &mut peer)?;
    peer.ack()?;
    let (ended, _) = at(lab, || lab.tell("close a"))?;
    Ok(Times { truth: Truth::client(&peer), began, ended })
}

fn fin_wait2_by_fin(lab: &Lab, port: u16) -> anyhow::Result<Times> {
    let (began, mut peer) = accept(lab, port)?;
    kernel_shuts(lab, "a", &mut peer)?;
    peer.ack()?;
    let (ended, ()) = at(lab, || {
        peer.send(flag::FIN | flag::ACK, 0)?;
        peer.acknowledged()
    })?;
    at(lab, || lab.tell("close a"))?;
    Ok(Times { truth: Truth::server(&peer), began, ended })
}

fn closing(lab: &Lab, port: u16) -> anyhow::Result<Times> {
    let (began, mut peer) = accept(lab, port)?;
    let before = peer.expected;
    kernel_shuts(lab, "a", &mut peer)?;
    let taken = std::mem::replace(&mut peer.expected, before);
    peer.send(flag::FIN | flag::ACK, 0)?;
    peer.acknowledged()?;
    peer.expected = taken;
    let (ended, ()) = at(lab, || {
        peer.ack()?;
        lab.tell("end a").map(drop)
    })?;
    at(lab, || lab.tell("close a"))?;
    Ok(Times { truth: Truth::server(&peer), began, ended })
}

fn reset(lab: &Lab, port: u16) -> anyhow::Result<Times> {
    let (began, mut peer) = connect(lab, port)?;
    let (ended, _) = at(lab, || {
        peer.send(flag::RST | flag::ACK, 0)?;
        lab.ask("read a 1")
    })?;
    lab.tell("close a")?;
    Ok(Times { truth: Truth::client(&peer), began, ended })
}

/// Closed with its listener, in a system call that does not hold the child.
fn orphan(lab: &Lab, port: u16) -> anyhow::Result<Times> {
    lab.listen(port)?;
    let mut peer = lab.caller(port);
    peer.send(flag::SYN, 0)?;
    lab.answered(&mut peer)?;
    let (began, ()) = at(lab, || {
        peer.ack()?;
        peer.send(flag::ACK, 1)?;
        peer.acknowledged()
    })?;
    let (ended, _) = at(lab, || lab.tell("close listener"))?;
    Ok(Times { truth: Truth::server(&peer), began, ended })
}
