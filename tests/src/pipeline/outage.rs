//! Endpoints that are away, slow, full or broken: the agent lives on, what can arrive does, and the
//! rest is in the ledger under its cause.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tonic::Code;

use super::SCENE;
use crate::harness::agent::Agent;
use crate::harness::cgroup::Cgroup;
use crate::harness::ledger;
use crate::harness::receiver::{Behaviour, Receiver};
use crate::harness::scene;
use crate::harness::tool;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "outage/absent_endpoint_gets_what_was_queued", needs: SCENE, run: absent_then_there },
    Test { name: "outage/unavailable_is_retried", needs: SCENE, run: unavailable_is_retried },
    Test { name: "outage/throttled_is_retried", needs: SCENE, run: throttled_is_retried },
    Test { name: "outage/exhausted_is_accounted_for", needs: SCENE, run: exhausted_is_accounted_for },
    Test { name: "outage/partial_success_is_accounted_for", needs: SCENE, run: partial_is_accounted_for },
    Test { name: "outage/slow_endpoint_gets_everything", needs: SCENE, run: slow_gets_everything },
    Test { name: "outage/cut_in_mid_batch_is_sent_again", needs: SCENE, run: cut_is_sent_again },
    Test { name: "outage/full_queue_drops_by_cause", needs: SCENE, run: full_queue_drops_by_cause },
];

/// Retries back off, so what was queued may take a while to arrive.
const RECOVERY: Duration = Duration::from_secs(60);
/// Short back-off, so that the tests are about what happens and not about waiting for it.
const EAGER: &str = "otlp:\n  retry:\n    initial: 100ms\n    max: 1s\n";
/// Processes of one workload.
const COUNT: usize = 200;
/// Their events: fork, exec, exit of each; exec and exit of the script.
const EVENTS: usize = 3 * COUNT + 2;

fn cause(context: &Context, cgroup: &Cgroup, count: usize) -> anyhow::Result<()> {
    let arguments = ["workload", "processes", "--count", &count.to_string(), "--marker", "outage"];
    scene::lines(scene::itest(&context.itest, cgroup.path(), &arguments)?).map(drop)
}

/// Waits for all `events` logs and proves that none came twice.
fn all_once(receiver: &Receiver, agent: &Agent, events: usize) -> anyhow::Result<()> {
    receiver.wait("log of every event", RECOVERY, |seen| (seen.logs.len() >= events).then_some(()))?;
    agent.wait_ledger("end of sending", RECOVERY, |ledger| Ok(ledger.sent("logs")? >= events as f64))?;
    receiver.look(|seen| {
        ensure!(seen.logs.len() == events, "{} logs for {events} events", seen.logs.len());
        Ok(())
    })
}

/// Waits until every one of `events` logs is either sent or given up, and proves that the receiver saw
/// what was sent. The number given up.
fn all_accounted(receiver: &Receiver, agent: &Agent, events: usize) -> anyhow::Result<f64> {
    let ledger = agent.wait_ledger("account of every log", RECOVERY, |ledger| {
        Ok(ledger.sent("logs")? + ledger.given_up("logs")? >= events as f64)
    })?;
    let (sent, given_up) = (ledger.sent("logs")?, ledger.given_up("logs")?);
    ensure!(sent + given_up == events as f64, "{sent} sent and {given_up} given up of {events}");
    let arrived = receiver.look(|seen| seen.logs.len());
    ensure!(arrived as f64 == sent, "{arrived} arrived, {sent} are said to be sent");
    Ok(given_up)
}

fn absent_then_there(context: &Context) -> anyhow::Result<()> {
    let cgroup = Cgroup::new("outage")?;
    let address = tool::free_address()?;
    let mut agent = Agent::start(context, cgroup.path(), &format!("http://{address}"), EAGER)?;
    cause(context, &cgroup, COUNT)?;
    agent.wait_ledger("waiting batch", RECOVERY, |ledger| Ok(ledger.sum(ledger::QUEUE_BYTES, &[])? > 0.0))?;
    agent.assert_running()?;
    let receiver = Receiver::start_at(address).context("the endpoint that appears")?;
    all_once(&receiver, &agent, EVENTS)
}

/// A scene with eager retries.
fn eager(context: &Context) -> anyhow::Result<(Cgroup, Receiver, Agent)> {
    let cgroup = Cgroup::new("outage")?;
    let receiver = Receiver::start()?;
    let agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), EAGER)?;
    Ok((cgroup, receiver, agent))
}

fn unavailable_is_retried(context: &Context) -> anyhow::Result<()> {
    retried(context, Behaviour::Refuse(Code::Unavailable))
}

fn throttled_is_retried(context: &Context) -> anyhow::Result<()> {
    retried(context, Behaviour::Throttle(Duration::from_millis(300)))
}

/// While the endpoint behaves so nothing is lost; once it accepts, everything arrives.
fn retried(context: &Context, behaviour: Behaviour) -> anyhow::Result<()> {
    let (cgroup, receiver, agent) = eager(context)?;
    receiver.behave(behaviour);
    cause(context, &cgroup, COUNT)?;
    receiver.wait("second attempt", RECOVERY, |seen| (seen.refused >= 2).then_some(()))?;
    receiver.behave(Behaviour::Accept);
    all_once(&receiver, &agent, EVENTS)?;
    let given_up = agent.ledger()?.given_up("logs")?;
    ensure!(given_up == 0.0, "{given_up} logs were given up although all arrived");
    Ok(())
}

/// Without RetryInfo the specification does not allow a retry: the batch is lost, and counted.
fn exhausted_is_accounted_for(context: &Context) -> anyhow::Result<()> {
    let (cgroup, receiver, mut agent) = eager(context)?;
    receiver.behave(Behaviour::Refuse(Code::ResourceExhausted));
    cause(context, &cgroup, COUNT)?;
    receiver.wait("refusal", RECOVERY, |seen| (seen.refused >= 1).then_some(()))?;
    agent.wait_ledger("log given up", RECOVERY, |ledger| Ok(ledger.given_up("logs")? > 0.0))?;
    receiver.behave(Behaviour::Accept);
    cause(context, &cgroup, COUNT)?;
    all_accounted(&receiver, &agent, 2 * EVENTS)?;
    agent.assert_running()
}

fn partial_is_accounted_for(context: &Context) -> anyhow::Result<()> {
    let (cgroup, receiver, agent) = eager(context)?;
    receiver.behave(Behaviour::RejectOne);
    cause(context, &cgroup, COUNT)?;
    let rejected = all_accounted(&receiver, &agent, EVENTS)?;
    let requests = receiver.look(|seen| seen.refused);
    ensure!(
        rejected > 0.0 && rejected == requests as f64,
        "{rejected} counted as rejected in {requests} requests"
    );
    Ok(())
}

fn slow_gets_everything(context: &Context) -> anyhow::Result<()> {
    let (cgroup, receiver, agent) = eager(context)?;
    receiver.behave(Behaviour::Slow(Duration::from_secs(1)));
    cause(context, &cgroup, COUNT)?;
    all_once(&receiver, &agent, EVENTS)
}

fn cut_is_sent_again(context: &Context) -> anyhow::Result<()> {
    let (cgroup, receiver, mut agent) = eager(context)?;
    // Less than one batch of these events: the connection breaks in the middle of a request.
    receiver.fuse().light(3_000);
    cause(context, &cgroup, COUNT)?;
    ensure!(receiver.fuse().wait_burnt(RECOVERY), "nothing was sent that could be cut");
    receiver.fuse().put_out();
    all_once(&receiver, &agent, EVENTS)?;
    agent.assert_running()
}

fn full_queue_drops_by_cause(context: &Context) -> anyhow::Result<()> {
    const QUEUE: usize = 60_000;
    /// Rings and tables are touched for the first time too.
    const GROWTH: u64 = 32 << 20;
    let count = context.many(1_000);
    let events = 3 * count + 2;
    let cgroup = Cgroup::new("outage")?;
    let address = tool::free_address()?;
    let config = format!("{EAGER}  queue:\n    max_bytes: {QUEUE}\n  max_request_bytes: 20000\n");
    let mut agent = Agent::start(context, cgroup.path(), &format!("http://{address}"), &config)?;
    let before = agent.resident_bytes()?;
    cause(context, &cgroup, count)?;
    let full = [("signal", "logs"), ("outcome", "dropped"), ("cause", "queue_full")];
    let ledger = agent.wait_ledger("drop for want of room", RECOVERY, |ledger| {
        Ok(ledger.sum(ledger::ITEMS, &full)? > 0.0)
    })?;
    let held = ledger.sum(ledger::QUEUE_BYTES, &[])?;
    ensure!(held <= QUEUE as f64, "the queue holds {held} bytes, its bound is {QUEUE}");
    agent.assert_running()?;
    let grown = agent.resident_bytes()?.saturating_sub(before);
    ensure!(grown <= GROWTH, "memory grew by {grown} bytes while the endpoint was away");
    let receiver = Receiver::start_at(address).context("the endpoint that appears")?;
    let given_up = all_accounted(&receiver, &agent, events)?;
    ensure!(given_up < events as f64, "nothing was kept");
    Ok(())
}
