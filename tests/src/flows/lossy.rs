//! Two kernel sockets on a cable that loses, repeats and reorders: what each of them counts.

use anyhow::ensure;

use super::SCENE;
use super::wired::{self, Case, Places, Told, Wired};
use crate::harness::cable::{Fate, Passage, Seen as Truth};
use crate::harness::names;
use crate::harness::segment::flag;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[Test { name: "lossy/both_ends_are_exact", needs: SCENE, run: exact }];

fn exact(context: &Context) -> anyhow::Result<()> {
    let case = |name, judge, play| Case { name, judge, play, connections: 1 };
    let cases = [
        case("nothing lost", |_| Fate::Arrives, bulk),
        case("one in eleven lost each way", one_in_eleven, bulk),
        case("bursts lost", |passage| lost_if(passage.is_new && passage.before % 60 >= 54), bulk),
        case("acknowledgements lost", acknowledgements, bulk),
        case("out of order and twice", disorder, bulk),
        case("every segment of the handshake lost once", first_ones, little),
        case("both FINs lost once", fins, little),
        case("one in eleven lost, then a reset", one_in_eleven, |wired, port| {
            wired.connect("tcp", "tcp", port)?;
            wired.trade(40_000, 30_000)?;
            let taken = |seen: &[Truth]| seen.iter().all(Truth::is_acknowledged);
            wired.cable.wait("acknowledgements", port, taken)?;
            wired.near.tell("abort a")?;
            wired.far.tell("close b")?;
            wired.over(port)
        }),
    ];
    let outcome = wired::run(context, &Places::default(), &cases)?;
    let mut wrong = Vec::new();
    for (at, (name, connections)) in outcome.cases.iter().enumerate() {
        for Told { truth: Truth { up, down, .. }, client, server } in connections {
            let untouched = (up.sent, down.sent) == (up.arrived, down.arrived);
            ensure!((at == 0) == untouched, "{name}: {up:?}, {down:?}");
            // Each end counts what it sent again itself; nothing is not said.
            let found = [client, server].map(|span| span.attributes().int(names::RETRANSMITS).unwrap_or(0));
            let truth = [up, down].map(|course| i64::from(course.again));
            if found != truth {
                wrong.push(format!("{name}: sent again {found:?}, not {truth:?}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn bulk(wired: &Wired<'_>, port: u16) -> anyhow::Result<()> {
    wired.connect("tcp", "tcp", port)?;
    wired.trade(200_000, 150_000)?;
    wired.close(port)
}

fn little(wired: &Wired<'_>, port: u16) -> anyhow::Result<()> {
    wired.connect("tcp", "tcp", port)?;
    wired.trade(20, 30)?;
    wired.close(port)
}

fn lost_if(is: bool) -> Fate {
    if is { Fate::Lost } else { Fate::Arrives }
}

pub(super) fn one_in_eleven(passage: &Passage<'_>) -> Fate {
    lost_if(passage.before % 11 == 7)
}

fn acknowledgements(passage: &Passage<'_>) -> Fate {
    let is_empty = passage.segment.end() == passage.segment.seq;
    lost_if(is_empty && passage.before > 5 && !passage.before.is_multiple_of(3))
}

fn first_ones(passage: &Passage<'_>) -> Fate {
    // The client's SYN, the answer to the next one, and the acknowledgement of the answer to that.
    let acknowledgement = passage.segment.is(flag::ACK) && passage.before == 2;
    lost_if(passage.before == 0 || (passage.up && acknowledgement))
}

fn fins(passage: &Passage<'_>) -> Fate {
    lost_if(passage.is_new && passage.segment.flags & flag::FIN != 0)
}

fn disorder(passage: &Passage<'_>) -> Fate {
    match passage.before % 10 {
        4 => Fate::Late,
        7 => Fate::Twice,
        _ => Fate::Arrives,
    }
}
