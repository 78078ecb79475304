//! Memory: the agent stays within its limit while nobody takes what it has, counts what it gives up, and is
//! itself again afterwards; and what a burst took is given back.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::{FAST_SCENE, SCENE, processes, workload};
use crate::harness::accounts::{Account, Done};
use crate::harness::agent::Agent;
use crate::harness::cgroup::{self, Cgroup};
use crate::harness::ledger::{self, Ledger};
use crate::harness::memory_group::MemoryGroup;
use crate::harness::receiver::Receiver;
use crate::harness::scene::{Dialogue, Scene};
use crate::harness::{netns, tool};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "memory/limit_of_the_cgroup_is_kept", needs: SCENE, run: |context| kept(context, true) },
    Test {
        name: "memory/limit_of_the_agent_is_kept",
        needs: FAST_SCENE,
        run: |context| kept(context, false),
    },
    Test { name: "memory/of_a_burst_is_given_back", needs: FAST_SCENE, run: given_back },
];

/// More than the agent takes when it has nothing to do, and not much more.
const LIMIT: u64 = 64 << 20;
/// Rings that leave most of the limit to the rest. A queue that would never be full, and a backend that is
/// waited for without end.
const CONFIG: &str = "rings: {priority_bytes: 1MiB, bulk_bytes: 1MiB}\n\
                      otlp:\n  timeout: 2s\n  retry: {initial: 100ms, max: 1s, max_elapsed: 0s}\n  \
                      queue: {max_bytes: 1073741824}\n";
/// Of one command line.
const ARGUMENTS: usize = 30_000;
/// Commands between two looks.
const COUNT: usize = 50;
/// Far more than the limit.
const ROUNDS: usize = 100;
/// A long queue takes a while to be sent, in an emulated guest above all.
const RECOVERY: Duration = Duration::from_secs(60);

/// Whether memory is short.
fn short(ledger: &Ledger) -> anyhow::Result<bool> {
    Ok(ledger.count("tarsier_memory_short", &[])? == 1)
}

/// A program with a long command line, whose log is as long.
fn long(context: &Context, scope: &Cgroup) -> anyhow::Result<Done> {
    let argument = "x".repeat(ARGUMENTS);
    let mut command = Command::new(&context.itest);
    command.args(["child", "--exit", "0", &argument]);
    cgroup::enter(&mut command, scope.path())?;
    ensure!(command.status()?.success(), "the process of the test failed");
    let words = [context.itest.as_os_str().len(), "child".len(), "--exit".len(), 1, ARGUMENTS];
    let bytes = words.iter().map(|word| word + 1).sum();
    Ok(Done { arguments: Done::argument_records(bytes), ..Done::COMMAND })
}

fn kept(context: &Context, by_group: bool) -> anyhow::Result<()> {
    let scope = Cgroup::new("memory")?;
    // Far above what the agent is to stay below, if it is to do so by itself.
    let group = MemoryGroup::new(if by_group { LIMIT } else { 1 << 30 })?;
    let own = if by_group { String::new() } else { format!("memory: {{limit: {LIMIT}B}}\n") };
    let address = tool::free_address()?;
    let mut held = Ok(());
    let endpoint = format!("http://{address}");
    let config = format!("{CONFIG}{own}");
    let agent = Agent::start_with(context, Some(scope.path()), &endpoint, &config, |command| {
        held = group.hold(command);
    })?;
    held?;
    let start = agent.ledger()?;
    let [limit, used] =
        ["limit", "used"].map(|name| start.count(&format!("tarsier_memory_{name}_bytes"), &[]));
    let (limit, used) = (limit?, used?);
    ensure!(limit == LIMIT, "the limit is {limit}, not {LIMIT}");
    ensure!(used < LIMIT / 2 && !short(&start)?, "{used} bytes are used to begin with");

    let mut done = Done::default();
    let memory = [("signal", "logs"), ("outcome", "dropped"), ("cause", "memory")];
    for round in 1.. {
        for _ in 0..COUNT {
            done += long(context, &scope)?;
        }
        let ledger = agent.ledger()?;
        let used = ledger.count("tarsier_memory_used_bytes", &[])?;
        ensure!(used < LIMIT, "{used} bytes are used of {LIMIT}");
        if short(&ledger)? && ledger.count(ledger::ITEMS, &memory)? > 0 {
            break;
        }
        ensure!(round < ROUNDS, "{ROUNDS} rounds fit into the limit:\n{ledger}");
    }
    let health = agent.health()?;
    ensure!(health.contains("memory: short") && health.contains("live: ok"), "/healthz says: {health}");

    let receiver = Receiver::start_at(address).context("the endpoint that appears")?;
    agent.wait_ledger("memory that is enough again", RECOVERY, |ledger| Ok(!short(ledger)?))?;
    let before = Account::state(&agent, &receiver, done)?.ledger;
    done += processes(context, &scope, COUNT)?;
    let after = Account::state(&agent, &receiver, done)?.ledger;
    let more = after.sent("logs")? - before.sent("logs")?;
    ensure!(more == 3.0 * COUNT as f64 + 2.0, "{more} of {} logs after the outage were sent", 3 * COUNT + 2);
    ensure!(agent.health()?.contains("memory: ok"), "/healthz still says that memory is short");
    let killed = group.killed()?;
    ensure!(killed == 0, "the kernel killed {killed} processes of the group");
    // Before its group goes.
    drop(agent);
    Ok(())
}

/// Resident memory of the agent by itself.
fn resident(ledger: &Ledger) -> anyhow::Result<u64> {
    ledger.count("tarsier_process_resident_memory_bytes", &[])
}

fn given_back(context: &Context) -> anyhow::Result<()> {
    /// One process may not have so many descriptors.
    const WORKERS: usize = 10;
    /// The table of processes forgets after the linger, and memory is looked at every ten seconds.
    const PATIENCE: Duration = Duration::from_secs(60);
    let scene = Scene::configured(context, "memory", "process: {linger: 1s}\n")?;
    // Everything has been used once: rings are mapped, buffers have their size.
    let mut done = Done::default();
    let burst = |count: usize| workload(context, &scene.cgroup, &["burst", "--count", &count.to_string()]);
    burst(2_000)?;
    done += Done::burst(2_000);
    let before = resident(&Account::state(&scene.agent, &scene.receiver, done)?.ledger)?;

    let (forks, each) = (20_000, 50_000 / WORKERS);
    let mut crowds = netns::within(|| {
        let mut crowds = Vec::new();
        for worker in 0..WORKERS {
            let (first, count) = ((worker * each).to_string(), each.to_string());
            let words = ["workload", "crowd", "--first", &first, "--count", &count];
            let mut crowd = Dialogue::start(scene.itest(&words)?)?;
            crowd.hear()?;
            crowds.push(crowd);
        }
        Ok(crowds)
    })?;
    burst(forks)?;
    let all = (2 * each * WORKERS) as u64;
    let full = scene.agent.wait_ledger("every socket held", PATIENCE, |ledger| {
        Ok(ledger.count("tarsier_flows_live", &[])? == all)
    })?;
    let most = resident(&full)?;
    crowds.iter_mut().try_for_each(|crowd| crowd.say("close").map(drop))?;
    crowds.into_iter().try_for_each(Dialogue::wait)?;
    done += Done::burst(forks);
    done = (0..WORKERS).fold(done, |done, _| done + Done::connections(each));
    Account::state(&scene.agent, &scene.receiver, done)?;
    ensure!(most > before + before / 10, "a burst took {most} bytes, {before} were in use before");
    let is_back = |ledger: &Ledger| Ok(resident(ledger)? < before + (most - before) / 4);
    let after = scene
        .agent
        .wait_ledger("memory given back", PATIENCE, is_back)
        .with_context(|| format!("{before} bytes before the burst, {most} at its height"))?;
    context.note("memory", serde_json::json!({ "before": before, "most": most, "after": resident(&after)? }));
    Ok(())
}
