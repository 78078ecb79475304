//! A kernel socket with a hand-written peer, and the proof of what is told of it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::harness::peer::{Peer, Tally};
use crate::harness::puppet::Puppet;
use crate::harness::scene::{ARRIVAL, Scene};
use crate::harness::seen::{Item, Seen};
use crate::harness::segment::flag;
use crate::harness::tun::Tun;
use crate::harness::{names, netns};
use crate::runner::Context;

/// The kernel's address.
const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// Everybody else's.
const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// What the test binary is told to become the process that holds sockets.
pub(super) const PUPPET: &[&str] = &["workload", "puppet"];

/// What a case does: it brings one connection to its end on a port of its own, and says what is true.
pub(super) type Case = fn(&Lab, u16) -> anyhow::Result<Truth>;

/// A network namespace with a tun device, and a process in the scene's cgroup that holds sockets there.
pub(super) struct Lab {
    /// The device: whoever plays a peer reads and writes it.
    pub(super) tun: Tun,
    puppet: Puppet,
}

/// What is true of a connection, from the kernel socket's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Truth {
    /// The kernel's end.
    pub(super) kernel: SocketAddrV4,
    /// The other.
    pub(super) peer: SocketAddrV4,
    /// `Internal` = the role cannot be known. `None`: there was no connection, and none must be told.
    pub(super) role: Option<SpanKind>,
    /// Payload bytes that left the kernel's end, each once.
    pub(super) sent: i64,
    /// Payload bytes that it took in, in order.
    pub(super) received: i64,
    /// Segments (sent, received), where they can be counted from outside.
    pub(super) segments: Option<(i64, i64)>,
    /// `tarsier.flow.close_reason`.
    pub(super) reason: &'static str,
}

/// Runs `cases` in a namespace whose settings (`net.ipv4.NAME`) are `settings`; an error names every case
/// that is told wrong.
pub(super) fn run(
    context: &Context,
    settings: &[(&str, &str)],
    cases: &[(&'static str, Case)],
) -> anyhow::Result<()> {
    let scene = Scene::new(context, "flows")?;
    let truths = netns::within(|| {
        netns::set(settings)?;
        let lab = Lab::new(scene.itest(PUPPET)?)?;
        let of = |(at, (name, case)): (usize, &(&'static str, Case))| {
            let truth = case(&lab, 7_000 + u16::try_from(at)?).with_context(|| format!("playing {name}"))?;
            Ok((*name, truth))
        };
        cases.iter().enumerate().map(of).collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mut wrong = Vec::new();
    for (name, truth) in truths.iter().filter(|(_, truth)| truth.role.is_some()) {
        let what = format!("span of {name}");
        match scene.receiver.wait(&what, ARRIVAL, |seen| truth.find(seen).next().cloned()) {
            Ok(span) => wrong.extend(truth.differs(&span).map(|text| format!("{name}: {text}"))),
            Err(error) => wrong.push(format!("{name}: {error:#}")),
        }
    }
    scene.agent.wait_ledger("balanced ledger", ARRIVAL, |ledger| ledger.nothing_lost().map(|()| true))?;
    scene.receiver.look(|seen| {
        for (name, truth) in &truths {
            let (found, expected) = (truth.find(seen).count(), usize::from(truth.role.is_some()));
            if found != expected {
                wrong.push(format!("{name}: {found} spans, not {expected}"));
            }
        }
    });
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

impl Lab {
    /// In the calling thread's network namespace; `puppet` is the command [`PUPPET`].
    pub(super) fn new(puppet: Command) -> anyhow::Result<Self> {
        Ok(Self { tun: Tun::new(KERNEL)?, puppet: Puppet::start(puppet)? })
    }

    /// Has the process do something (see [`puppet`](crate::workload::puppet)); how many bytes it moved.
    pub(super) fn tell(&self, line: &str) -> anyhow::Result<u64> {
        self.puppet.tell(line)
    }

    /// The same; what it fails with, and how many bytes it moved.
    pub(super) fn ask(&self, line: &str) -> anyhow::Result<(i32, u64)> {
        self.puppet.ask(line)
    }

    /// The peer's address with this port.
    pub(super) fn peer(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(PEER, port)
    }

    /// Socket `name` connects to a peer at `port`, the plain way.
    pub(super) fn connect(&self, name: &str, port: u16) -> anyhow::Result<Peer<'_>> {
        self.tell(&format!("open {name}"))?;
        self.tell(&format!("connect {name} {}", Self::peer(port)))?;
        let (mut peer, _) = Peer::called(&self.tun, Self::peer(port))?;
        peer.send(flag::SYN | flag::ACK, 0)?;
        peer.take(flag::ACK, 0)?;
        self.tell(&format!("connected {name}"))?;
        Ok(peer)
    }

    /// Begins to listen at `port`, as socket `listener`.
    pub(super) fn listen(&self, port: u16) -> anyhow::Result<()> {
        self.listen_by("tcp", port, 16)
    }

    /// The same by another protocol (`mptcp`), or with another backlog.
    pub(super) fn listen_by(&self, protocol: &str, port: u16, backlog: u32) -> anyhow::Result<()> {
        self.tell(&format!("open listener {protocol}"))?;
        self.tell(&format!("bind listener {KERNEL}:{port}"))?;
        self.tell(&format!("listen listener {backlog}")).map(drop)
    }

    /// A peer that has not said anything to the kernel's `port` yet.
    pub(super) fn caller(&self, port: u16) -> Peer<'_> {
        Peer::new(&self.tun, Self::peer(port), SocketAddrV4::new(KERNEL, port))
    }

    /// A peer connects to `port`, the plain way; the kernel's end becomes socket `name`.
    pub(super) fn accept(&self, name: &str, port: u16) -> anyhow::Result<Peer<'_>> {
        self.listen(port)?;
        let mut peer = self.caller(port);
        peer.send(flag::SYN, 0)?;
        self.answered(&mut peer)?;
        peer.ack()?;
        self.tell(&format!("accept {name} listener"))?;
        self.tell("close listener")?;
        Ok(peer)
    }

    /// The kernel answers the peer's SYN.
    pub(super) fn answered(&self, peer: &mut Peer<'_>) -> anyhow::Result<()> {
        let answer = peer.hear()?;
        ensure!(answer.is(flag::SYN | flag::ACK), "no answer to SYN but {answer:?}");
        peer.expected = answer.end();
        Ok(())
    }
}

impl Truth {
    /// A connection that the kernel opened and that ended in order, before anything was sent.
    pub(super) fn client(peer: &Peer<'_>) -> Self {
        Self {
            kernel: peer.kernel,
            peer: peer.own,
            role: Some(SpanKind::Client),
            sent: 0,
            received: 0,
            segments: None,
            reason: "closed",
        }
    }

    /// The same, accepted by the kernel.
    pub(super) fn server(peer: &Peer<'_>) -> Self {
        Self { role: Some(SpanKind::Server), ..Self::client(peer) }
    }

    /// With payload bytes.
    pub(super) fn bytes(self, sent: i64, received: i64) -> Self {
        Self { sent, received, ..self }
    }

    /// With the segments that the peer counted. The SYN-ACK of an accepted connection comes before there
    /// is a socket; the SYN is counted all the same.
    pub(super) fn segments(self, tally: Tally) -> Self {
        let syn_ack = i64::from(self.role == Some(SpanKind::Server));
        let segments = (i64::from(tally.heard) - syn_ack, i64::from(tally.said));
        Self { segments: Some(segments), ..self }
    }

    /// With another end than an orderly one.
    pub(super) fn reason(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    /// With a role that cannot be known.
    pub(super) fn of_unknown_role(self) -> Self {
        Self { role: Some(SpanKind::Internal), ..self }
    }

    /// Every span between the two ends, whoever is said to be the source.
    pub(super) fn find<'a>(&self, seen: &'a Seen) -> impl Iterator<Item = &'a Item<Span>> {
        let ends = [end_of(self.kernel), end_of(self.peer)];
        seen.spans.iter().filter(move |span| {
            let found = [source(span), destination(span)];
            found == ends || (found[1] == ends[0] && found[0] == ends[1])
        })
    }

    /// What the span tells otherwise.
    pub(super) fn differs(&self, span: &Item<Span>) -> Option<String> {
        let found = span.attributes();
        let number = |name| found.int(name).unwrap_or(-1);
        let mut sent = (number(names::BYTES), number(names::PACKETS));
        let mut received = (number(names::REVERSE_BYTES), number(names::REVERSE_PACKETS));
        if source(span) != end_of(self.kernel) {
            (sent, received) = (received, sent);
        }
        let told = Self {
            role: span.kind(),
            sent: sent.0,
            received: received.0,
            segments: self.segments.map(|_| (sent.1, received.1)),
            reason: self.reason,
            ..self.clone()
        };
        let reason = Some(found.text(names::CLOSE_REASON).unwrap_or("closed"));
        (told != *self || reason != Some(self.reason)).then(|| {
            format!(
                "told as {:?}, {} and {} bytes, {:?} segments, {reason:?}; it is {:?}, {} and {}, {:?}, {}",
                told.role,
                told.sent,
                told.received,
                told.segments,
                self.role,
                self.sent,
                self.received,
                self.segments,
                self.reason
            )
        })
    }
}

type End = (Option<String>, Option<i64>);

fn end_of(address: SocketAddrV4) -> End {
    (Some(address.ip().to_string()), Some(i64::from(address.port())))
}

fn source(span: &Item<Span>) -> End {
    let found = span.attributes();
    (found.text(names::SOURCE_ADDRESS).map(str::to_owned), found.int(names::SOURCE_PORT))
}

fn destination(span: &Item<Span>) -> End {
    let found = span.attributes();
    (found.text(names::DESTINATION_ADDRESS).map(str::to_owned), found.int(names::DESTINATION_PORT))
}
