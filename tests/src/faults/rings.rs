//! Rings that overflow: by a burst, and because the agent does not run. What is lost is counted by the
//! kernel programs, and everything after it is whole again. And one that does not: it wakes the agent in time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use anyhow::{Context as _, bail, ensure};
use tarsier_abi::Sensor;

use super::{FAST_SCENE, SCENE, connections, processes, workload};
use crate::harness::accounts::{Account, Done};
use crate::harness::agent::Agent;
use crate::harness::cgroup::Cgroup;
use crate::harness::ledger::{self, Ledger};
use crate::harness::pair;
use crate::harness::receiver::Receiver;
use crate::harness::scene::ARRIVAL;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "rings/overflow_by_burst", needs: FAST_SCENE, run: overflow_by_burst },
    Test { name: "rings/agent_stopped_under_load", needs: SCENE, run: agent_stopped },
    Test { name: "rings/a_filling_ring_wakes", needs: FAST_SCENE, run: a_filling_ring_wakes },
];

/// The smallest rings; sweeps that soon find connections whose close record was lost; requests that may take longer
/// than an agent is stopped, so that none is sent twice.
const SMALL: &str =
    "rings: {priority_bytes: 64KiB, bulk_bytes: 64KiB}\nflows: {interval: 1s}\notlp: {timeout: 2m}\n";
/// Processes and connections that a load makes at a time.
const STEP: usize = 25;

fn lost(ledger: &Ledger, sensor: Sensor) -> anyhow::Result<u64> {
    ledger.count(ledger::LOST, &[("sensor", sensor.name()), ("reason", "ring_full")])
}

/// Everything that happens from now on arrives: connections byte by byte.
fn whole_again(
    context: &Context,
    agent: &Agent,
    receiver: &Receiver,
    cgroup: &Cgroup,
) -> anyhow::Result<Done> {
    let before = agent.ledger()?;
    let line = workload(context, cgroup, &["half-close"])?.pop().context("a connection")?;
    let done = processes(context, cgroup, 20)? + Done { sockets: 2, ..Done::COMMAND };
    let (client, server) =
        receiver.wait("pair of spans after the loss", ARRIVAL, |seen| pair::find(seen, &line))?;
    pair::prove(&line, &client, &server)?;
    let after = agent.ledger()?;
    for sensor in Sensor::ALL {
        ensure!(lost(&before, sensor)? == lost(&after, sensor)?, "{} still loses records", sensor.name());
    }
    Ok(done)
}

/// More than the agent, which only gets what time nobody else wants, can read in time.
fn overflow_by_burst(context: &Context) -> anyhow::Result<()> {
    const ROUNDS: usize = 30;
    let (cgroup, receiver) = (Cgroup::new("rings")?, Receiver::start()?);
    let agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), SMALL)?;
    agent.set_idle(true)?;
    let (forks, sockets) = (context.many(2_000), context.many(1_000));
    let mut done = Done::default();
    for round in 1.. {
        done += std::thread::scope(|scope| {
            let forks = [0; 3].map(|_| {
                scope.spawn(|| workload(context, &cgroup, &["burst", "--count", &forks.to_string()]))
            });
            let sockets = scope.spawn(|| connections(context, &cgroup, sockets));
            for fork in forks {
                fork.join().map_err(|_| anyhow::anyhow!("a burst panicked"))??;
            }
            sockets.join().map_err(|_| anyhow::anyhow!("the connections panicked"))?
        })?;
        for _ in 0..3 {
            done += Done::burst(forks);
        }
        let ledger = agent.ledger()?;
        if lost(&ledger, Sensor::Fork)? > 0 && lost(&ledger, Sensor::Tcp)? > 0 {
            break;
        }
        ensure!(round < ROUNDS, "the smallest rings held {ROUNDS} bursts");
    }
    agent.set_idle(false)?;
    done += whole_again(context, &agent, &receiver, &cgroup)?;
    Account::state(&agent, &receiver, done).map(drop)
}

fn agent_stopped(context: &Context) -> anyhow::Result<()> {
    let (cgroup, receiver) = (Cgroup::new("rings")?, Receiver::start()?);
    let agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), SMALL)?;
    let over = AtomicBool::new(false);
    let mut done = std::thread::scope(|scope| -> anyhow::Result<Done> {
        // Before it is stopped, all the while, and after: as long as the load lasts.
        let load = |cause: fn(&Context, &Cgroup, usize) -> anyhow::Result<Done>, most: usize| {
            let (over, cgroup, (count, counted)) = (&over, &cgroup, channel());
            let thread = scope.spawn(move || {
                let mut done = Done::default();
                while !over.load(Ordering::Acquire) {
                    done += cause(context, cgroup, STEP)?;
                    // Nobody may be waiting for it.
                    let _ = count.send(());
                }
                anyhow::Ok(done)
            });
            (thread, counted, most / STEP)
        };
        // By the size of their records, each fills its rings, of which there is one for each of four CPUs.
        let most = if context.emulated { (150, 400) } else { (400, 1_200) };
        let loads = [load(processes, most.0), load(connections, most.1)];
        let all = agent
            .wait_ledger("beginning of the load", ARRIVAL, |ledger| Ok(ledger.sent("logs")? > 0.0))
            .and_then(|_| agent.pause())
            .and_then(|()| {
                loads.iter().try_for_each(|(_, counted, steps)| {
                    counted.try_iter().for_each(drop);
                    (0..*steps).try_for_each(|_| counted.recv().context("a load ended"))
                })
            })
            .and_then(|()| agent.resume());
        over.store(true, Ordering::Release);
        let mut done = Done::default();
        for (load, ..) in loads {
            match load.join() {
                Ok(part) => done += part?,
                Err(_) => bail!("the load panicked"),
            }
        }
        all.map(|()| done)
    })?;
    let ledger = agent.ledger()?;
    for sensor in [Sensor::Exec, Sensor::Tcp] {
        ensure!(lost(&ledger, sensor)? > 0, "the ring of {} took all of the load", sensor.name());
    }
    done += whole_again(context, &agent, &receiver, &cgroup)?;
    Account::state(&agent, &receiver, done).map(drop)
}

/// Between two looks of the slowest timer come several times as many records as the ring holds; nothing is
/// lost, because the ring wakes: once in a quarter, and no oftener.
fn a_filling_ring_wakes(context: &Context) -> anyhow::Result<()> {
    const RING: u64 = 1 << 20;
    const SLOW: &str = "rings: {bulk_bytes: 1MiB, drain_min: 1s, drain_max: 10s}\n";
    /// In a ring, with its own 8 bytes: the least is of the owner, the longest of the end over IPv4.
    const RECORD: std::ops::RangeInclusive<u64> = 48..=128;
    let (cgroup, receiver) = (Cgroup::new("rings")?, Receiver::start()?);
    let agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), SLOW)?;
    let before = agent.ledger()?;
    connections(context, &cgroup, 10_000)?;
    let after = agent.ledger()?;
    ensure!(lost(&after, Sensor::Tcp)? == 0, "the ring was full before the agent woke");
    let grown = |name, labels: &[_]| anyhow::Ok(after.count(name, labels)? - before.count(name, labels)?);
    let records = grown(ledger::PRODUCED, &[("sensor", Sensor::Tcp.name())])?;
    let woken = grown("tarsier_drain_wakeups_total", &[("cause", "threshold")])?;
    let (least, most) = (records * RECORD.start() / RING, records * RECORD.end() / (RING / 4));
    // A quarter may have been begun in each ring before, and both questions wake.
    let begun = tarsier_abi::BULK_RINGS as u64 + 2;
    ensure!(least >= 2, "{records} records do not fill the ring twice");
    ensure!(
        (least..=most + begun).contains(&woken),
        "{records} records woke {woken} times, not {least} to {}",
        most + begun
    );
    Ok(())
}
