//! Two sockets of the kernel with a cable between them, and the proof of what is told of both.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::harness::cable::{self, Cable, Course, Judge, Seen as Truth};
use crate::harness::puppet::Puppet;
use crate::harness::scene::{ARRIVAL, Scene};
use crate::harness::seen::{Item, Seen};
use crate::harness::{names, pair};
use crate::runner::Context;

/// The cable, and a process in the scene's cgroup at each end of it.
pub(super) struct Wired<'a> {
    pub(super) cable: &'a Cable,
    /// The one that connects.
    pub(super) near: Puppet,
    /// The one that accepts.
    pub(super) far: Puppet,
}

/// What a case does: it brings connections to a port of its own to their ends.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What the cable does to its segments.
    pub(super) judge: Judge,
    pub(super) play: fn(&Wired<'_>, u16) -> anyhow::Result<()>,
    /// How many connections that makes.
    pub(super) connections: usize,
}

/// What is told of a connection.
pub(super) struct Told {
    pub(super) truth: Truth,
    pub(super) client: Item<Span>,
    pub(super) server: Item<Span>,
}

/// What is told of every case, and who played.
pub(super) struct Outcome {
    pub(super) cases: Vec<(&'static str, Vec<Told>)>,
    pub(super) near_pid: u32,
    pub(super) far_pid: u32,
}

/// What the two namespaces are like.
#[derive(Default)]
pub(super) struct Places {
    /// Settings of both, `net.ipv4.NAME`.
    pub(super) settings: &'static [(&'static str, &'static str)],
    /// Called in the far one.
    pub(super) far: Option<fn() -> anyhow::Result<()>>,
    /// Called in the near one.
    pub(super) near: Option<fn(&Cable) -> anyhow::Result<()>>,
}

/// Plays `cases`. Bytes, roles and ids are proven; an error names every case in which they are told wrong.
pub(super) fn run(context: &Context, places: &Places, cases: &[Case]) -> anyhow::Result<Outcome> {
    let scene = Scene::new(context, "wired")?;
    let puppet = || Puppet::start(scene.itest(&["workload", "puppet"])?);
    let far = || {
        places.far.map_or(Ok(()), |prepare| prepare())?;
        puppet()
    };
    let (truths, near_pid, far_pid) = cable::between(places.settings, far, |cable, far| {
        places.near.map_or(Ok(()), |prepare| prepare(cable))?;
        let wired = Wired { cable, near: puppet()?, far };
        let truth_of = |(at, case): (usize, &Case)| {
            let port = 7_000 + u16::try_from(at)?;
            cable.judge(case.judge);
            (case.play)(&wired, port).with_context(|| format!("playing {}", case.name))?;
            wired.far.tell("close listener")?;
            let seen = cable.seen(port);
            ensure!(seen.len() == case.connections, "{}: not {}: {seen:#?}", case.name, case.connections);
            Ok(seen)
        };
        let truths = cases.iter().enumerate().map(truth_of).collect::<anyhow::Result<Vec<_>>>()?;
        Ok((truths, wired.near.pid(), wired.far.pid()))
    })?;
    let mut wrong = Vec::new();
    let mut told = Vec::new();
    for (case, truths) in cases.iter().zip(truths) {
        let mut those = Vec::new();
        for truth in truths {
            let found = scene.receiver.wait(case.name, ARRIVAL, |seen| find(seen, &truth));
            match found.and_then(|(client, server)| Told { truth, client, server }.prove()) {
                Ok(told) => those.push(told),
                Err(error) => wrong.push(format!("{}: {error:#}", case.name)),
            }
        }
        told.push((case.name, those));
    }
    scene.agent.wait_ledger("balanced ledger", ARRIVAL, |ledger| ledger.nothing_lost().map(|()| true))?;
    let expected: usize = cases.iter().map(|case| 2 * case.connections).sum();
    let spans = scene.receiver.look(|seen| seen.spans.len());
    if spans != expected {
        wrong.push(format!("{spans} spans, not {expected}"));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(Outcome { cases: told, near_pid, far_pid })
}

/// Both ends of a connection: the one span of each.
fn find(seen: &Seen, truth: &Truth) -> Option<(Item<Span>, Item<Span>)> {
    let of = |kind: SpanKind| {
        let is_it = |span: &&Item<Span>| {
            let found = span.attributes();
            let end = |address, port| -> Option<SocketAddrV4> {
                let address: Ipv4Addr = found.text(address)?.parse().ok()?;
                Some(SocketAddrV4::new(address, u16::try_from(found.int(port)?).ok()?))
            };
            span.kind() == Some(kind)
                && end(names::SOURCE_ADDRESS, names::SOURCE_PORT) == Some(truth.client)
                && end(names::DESTINATION_ADDRESS, names::DESTINATION_PORT) == Some(truth.server)
        };
        let mut spans = seen.spans.iter().filter(is_it);
        spans.next().cloned().filter(|_| spans.next().is_none())
    };
    Some((of(SpanKind::Client)?, of(SpanKind::Server)?))
}

impl Told {
    /// Bytes and ids are right: at each end what it sent, and what it took.
    fn prove(self) -> anyhow::Result<Self> {
        let (up, down) = (&self.truth.up, &self.truth.down);
        for (end, span, bounds) in [
            ("client", &self.client, [sent(up), taken(down)]),
            ("server", &self.server, [taken(up), sent(down)]),
        ] {
            for (name, bounds) in [names::BYTES, names::REVERSE_BYTES].into_iter().zip(bounds) {
                let found = span.attributes().int(name).and_then(|count| u32::try_from(count).ok());
                let is_right = found.is_some_and(|count| bounds.contains(&count));
                ensure!(is_right, "{end}: {name} is {found:?}, not {bounds:?}: {:#?}", self.truth);
            }
        }
        pair::prove_ids(&self.client.item, &self.server.item)?;
        Ok(self)
    }
}

fn sent(course: &Course) -> RangeInclusive<u32> {
    course.payload()..=course.payload()
}

/// What came just before a reset need not have been acknowledged.
fn taken(course: &Course) -> RangeInclusive<u32> {
    course.taken()..=if course.reset { course.payload() } else { course.taken() }
}

impl Wired<'_> {
    /// Socket `a` of the near end connects, by `protocol` (`tcp` or `mptcp`), and becomes `b` of the far end.
    pub(super) fn connect(&self, near: &str, far: &str, port: u16) -> anyhow::Result<()> {
        let address = SocketAddrV4::new(cable::FAR, port);
        self.far.tell(&format!("open listener {far}"))?;
        self.far.tell(&format!("bind listener {address}"))?;
        self.far.tell("listen listener 16")?;
        self.near.tell(&format!("open a {near}"))?;
        self.near.tell(&format!("connect a {address}"))?;
        self.near.tell("connected a")?;
        self.far.tell("accept b listener").map(drop)
    }

    /// Both ends send at the same time, and take what the other one sent.
    pub(super) fn trade(&self, up: u64, down: u64) -> anyhow::Result<()> {
        let line = format!("trade a {up} {down}");
        self.near.begin(&line)?;
        self.far.tell(&format!("trade b {down} {up}"))?;
        self.near.end(&line).map(drop)
    }

    /// The near end closes first.
    pub(super) fn close(&self, port: u16) -> anyhow::Result<()> {
        self.near.tell("close a")?;
        self.far.tell("end b")?;
        self.far.tell("close b")?;
        self.over(port)
    }

    /// Every connection to `port` has ended, one way or the other.
    pub(super) fn over(&self, port: u16) -> anyhow::Result<()> {
        self.cable.wait("the end", port, |seen| seen.iter().all(Truth::is_over))
    }
}
