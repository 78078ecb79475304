//! MPTCP: every subflow is a TCP connection of its own, whose counters are its own.

use std::net::Ipv4Addr;

use anyhow::ensure;

use super::SCENE;
use super::lab::{self, Lab, Truth};
use super::lossy::one_in_eleven;
use super::steps::{exchange, finish};
use super::wired::{self, Case, Outcome, Places, Wired};
use crate::harness::cable::{Cable, Fate};
use crate::harness::multipath::{PathManager, required};
use crate::harness::names;
use crate::harness::peer::Peer;
use crate::harness::segment::flag;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "multipath/one_subflow", needs: SCENE, run: one_subflow },
    Test { name: "multipath/two_subflows", needs: SCENE, run: two_subflows },
    Test { name: "multipath/falls_back", needs: SCENE, run: falls_back },
];

/// The kind of TCP option that MPTCP's are (RFC 8684 §3).
const MULTIPATH: u8 = 30;
/// A further address of the near end.
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);

fn one_subflow(context: &Context) -> anyhow::Result<()> {
    required()?;
    let case = |name, play| Case { name, judge: |_| Fate::Arrives, play, connections: 1 };
    let cases = [
        case("the client closes first", |wired, port| {
            wired.connect("mptcp", "mptcp", port)?;
            wired.trade(300_000, 200_000)?;
            wired.close(port)
        }),
        case("the server closes first", |wired, port| {
            wired.connect("mptcp", "mptcp", port)?;
            wired.trade(3_000, 2_000)?;
            wired.far.tell("close b")?;
            wired.near.tell("end a")?;
            wired.near.tell("close a")?;
            wired.over(port)
        }),
        case("the client resets", |wired, port| {
            wired.connect("mptcp", "mptcp", port)?;
            wired.trade(30, 20)?;
            wired.near.tell("abort a")?;
            wired.far.tell("close b")?;
            wired.over(port)
        }),
        case("a client of plain TCP", |wired, port| {
            wired.connect("tcp", "mptcp", port)?;
            wired.trade(300, 200)?;
            wired.close(port)
        }),
        case("a server of plain TCP", |wired, port| {
            wired.connect("mptcp", "tcp", port)?;
            wired.trade(300, 200)?;
            wired.close(port)
        }),
    ];
    let outcome = wired::run(context, &Places::default(), &cases)?;
    prove_owners(&outcome)
}

fn two_subflows(context: &Context) -> anyhow::Result<()> {
    required()?;
    let case = |name, play| Case { name, judge: |_| Fate::Arrives, play, connections: 2 };
    let cases = [
        case("the client closes first", |wired, port| {
            connect_twice(wired, port)?;
            wired.trade(2_000_000, 1_000_000)?;
            wired.close(port)
        }),
        case("the server closes first", |wired, port| {
            connect_twice(wired, port)?;
            wired.trade(2_000, 1_000)?;
            wired.far.tell("close b")?;
            wired.near.tell("end a")?;
            wired.near.tell("close a")?;
            wired.over(port)
        }),
        // What is lost on one subflow may be sent again on the other.
        Case {
            judge: one_in_eleven,
            ..case("both subflows lose segments", |wired, port| {
                connect_twice(wired, port)?;
                wired.trade(200_000, 100_000)?;
                wired.close(port)
            })
        },
    ];
    let near = |cable: &Cable| {
        cable.near.add(SECOND)?;
        let manager = PathManager::open()?;
        manager.limit(1, 0)?;
        manager.add_subflow(1, SECOND)
    };
    let places =
        Places { near: Some(near), far: Some(|| PathManager::open()?.limit(1, 0)), ..Places::default() };
    let outcome = wired::run(context, &places, &cases)?;
    prove_owners(&outcome)
}

/// The second subflow comes once the first has carried data both ways.
fn connect_twice(wired: &Wired<'_>, port: u16) -> anyhow::Result<()> {
    wired.connect("mptcp", "mptcp", port)?;
    wired.trade(10, 10)?;
    wired.cable.wait("second subflow", port, |seen| seen.len() == 2 && seen[1].up.sent >= 2)
}

/// The other end speaks plain TCP, and so does the one subflow then.
fn falls_back(context: &Context) -> anyhow::Result<()> {
    required()?;
    let cases: [(&str, lab::Case); 2] = [("client", client), ("server", server)];
    lab::run(context, &[], &cases)
}

fn client(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    lab.tell("open a mptcp")?;
    lab.tell(&format!("connect a {}", Lab::peer(port)))?;
    let (mut peer, syn) = Peer::called(&lab.tun, Lab::peer(port))?;
    ensure!(syn.options.contains(&MULTIPATH), "a SYN without MPTCP: {syn:?}");
    peer.send(flag::SYN | flag::ACK, 0)?;
    peer.take(flag::ACK, 0)?;
    lab.tell("connected a")?;
    exchange(lab, "a", &mut peer, 100, 50)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::client(&peer).bytes(100, 50).segments(peer.tally))
}

fn server(lab: &Lab, port: u16) -> anyhow::Result<Truth> {
    lab.listen_by("mptcp", port, 16)?;
    let mut peer = lab.caller(port);
    peer.send(flag::SYN, 0)?;
    lab.answered(&mut peer)?;
    peer.ack()?;
    lab.tell("accept a listener")?;
    lab.tell("close listener")?;
    exchange(lab, "a", &mut peer, 200, 300)?;
    finish(lab, "a", &mut peer)?;
    Ok(Truth::server(&peer).bytes(200, 300).segments(peer.tally))
}

/// Who works on a subflow may be a thread of the kernel, and such a one is never told as its owner. Whose the
/// first one is, is known.
fn prove_owners(outcome: &Outcome) -> anyhow::Result<()> {
    for (name, connections) in &outcome.cases {
        for (at, told) in connections.iter().enumerate() {
            for (span, pid) in [(&told.client, outcome.near_pid), (&told.server, outcome.far_pid)] {
                let owner = span.attributes().int(names::PID);
                let right = owner == Some(i64::from(pid)) || (owner.is_none() && at > 0);
                ensure!(right, "{name}: owner {owner:?}, not {pid}: {:?}", span.item.attributes);
            }
        }
    }
    Ok(())
}
