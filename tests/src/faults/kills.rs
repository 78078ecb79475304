//! SIGKILL at any point of the agent's life, again and again: nothing stays in the kernel, the next start is
//! clean, and nothing is told twice.

#![expect(clippy::print_stderr, reason = "the seed and the sum belong into the log of the run")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::{SCENE, connections, processes};
use crate::harness::accounts::{Account, Done};
use crate::harness::agent::{Agent, READY_DEADLINE};
use crate::harness::cgroup::Cgroup;
use crate::harness::names;
use crate::harness::programs;
use crate::harness::receiver::Receiver;
use crate::harness::scene::ARRIVAL;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[Test {
    name: "kills/sigkill_at_any_point_again_and_again",
    needs: SCENE,
    run: sigkill_again_and_again,
}];

/// How often. A guest, where a start takes ten times as long, only shows that its kernel keeps nothing.
const ROUNDS: usize = 100;
const ROUNDS_EMULATED: usize = 2;
/// The agent is killed this long after its start at the latest: at most about as long as it takes to be ready,
/// but in every fourth round, which is once it has told something and this much later.
const EARLY: Duration = Duration::from_millis(400);
const EARLY_EMULATED: Duration = Duration::from_secs(3);
const LATE: Duration = Duration::from_secs(1);
/// From the kill to the last program's end, and to the end of the whole test.
const DEADLINE: Duration = Duration::from_secs(150);

/// Numbers that only look random, so that a failure can be repeated (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        limit.mul_f64((self.0 >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

fn sigkill_again_and_again(context: &Context) -> anyhow::Result<()> {
    let (cgroup, receiver) = (Cgroup::new("kills")?, Receiver::start()?);
    let seed = u64::from(std::process::id()) << 32 | 0x5eed;
    eprintln!("     = seed {seed:#x}");
    let (mut dice, end) = (Dice(seed), Instant::now() + DEADLINE);
    let over = AtomicBool::new(false);
    let (rounds, held) = std::thread::scope(|scope| -> anyhow::Result<_> {
        // Something is always going on.
        let load = scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                processes(context, &cgroup, 10)?;
                connections(context, &cgroup, 10)?;
            }
            anyhow::Ok(())
        });
        let killed = (|| {
            let (mut rounds, mut held) = (0, 0);
            let (most, early) =
                if context.emulated { (ROUNDS_EMULATED, EARLY_EMULATED) } else { (ROUNDS, EARLY) };
            for _ in 0..most {
                ensure!(Instant::now() < end, "{rounds} rounds took {DEADLINE:?}");
                let late = rounds % 4 == 1;
                let after = dice.below(if late { LATE } else { early });
                held += one_round(context, &cgroup, &receiver, late, after)?;
                rounds += 1;
            }
            anyhow::Ok((rounds, held))
        })();
        over.store(true, Ordering::Release);
        match load.join() {
            Ok(loaded) => loaded.and(killed),
            Err(_) => bail!("the load panicked"),
        }
    })?;
    eprintln!("     = killed: rounds {rounds}, BPF programs held at the kill {held}, left 0");
    ensure!(held > 0, "no agent was far enough to hold a program");

    // The next one starts as if nothing had been.
    let before = receiver.look(|seen| (seen.logs.len(), seen.spans.len()));
    told_once(&receiver)?;
    let last = Receiver::start()?;
    let agent = Agent::start(context, cgroup.path(), &last.endpoint(), "")?;
    let done: Done = processes(context, &cgroup, 20)? + connections(context, &cgroup, 20)?;
    Account::state(&agent, &last, done)?;
    ensure!(before.0 > 0, "no agent lived long enough to tell anything");
    Ok(())
}

/// Starts an agent and kills it `after` that, or, if `late`, after it told something; how many programs it held.
/// One that is gone has no link either.
fn one_round(
    context: &Context,
    cgroup: &Cgroup,
    receiver: &Receiver,
    late: bool,
    after: Duration,
) -> anyhow::Result<usize> {
    let told = receiver.look(|seen| seen.logs.len());
    let agent = Agent::spawn(context, cgroup.path(), &receiver.endpoint())?;
    if late {
        receiver.wait("a log", READY_DEADLINE, |seen| (seen.logs.len() > told).then_some(()))?;
    }
    // The one thing that is about time: when it is hit.
    std::thread::sleep(after);
    // It must not load another program while what it holds is read.
    agent.pause()?;
    let held = programs::held_by(agent.pid())?;
    agent.kill()?;
    programs::wait_gone(&held, ARRIVAL).with_context(|| format!("killed {after:?} after its start"))?;
    Ok(held.len())
}

/// No log and no span came twice, from whichever agent.
fn told_once(receiver: &Receiver) -> anyhow::Result<()> {
    receiver.look(|seen| {
        let mut events = BTreeSet::new();
        for log in &seen.logs {
            let id = log.attributes().text(names::EXEC_ID).context("a log without exec id")?;
            ensure!(
                events.insert((&log.item.event_name, id)),
                "{} of {id} is told twice",
                log.item.event_name
            );
        }
        let spans: BTreeSet<_> = seen.spans.iter().map(|span| &span.item.span_id).collect();
        ensure!(spans.len() == seen.spans.len(), "{} spans are told twice", seen.spans.len() - spans.len());
        eprintln!("     = told: {} logs and {} spans, each once", seen.logs.len(), seen.spans.len());
        Ok(())
    })
}
