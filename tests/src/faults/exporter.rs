//! Endpoints that are away, slow, full or broken: the agent lives on, what can arrive does, and the
//! rest is in the ledger under its cause.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tonic::Code;

use super::{SCENE_HERE, processes};
use crate::harness::accounts::{Account, Done};
use crate::harness::agent::Agent;
use crate::harness::cgroup::Cgroup;
use crate::harness::ledger;
use crate::harness::receiver::{Behaviour, Receiver};
use crate::harness::tool;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "exporter/absent_endpoint_gets_what_was_queued", needs: SCENE_HERE, run: absent_then_there },
    Test { name: "exporter/unavailable_is_retried", needs: SCENE_HERE, run: unavailable_is_retried },
    Test { name: "exporter/throttled_is_retried", needs: SCENE_HERE, run: throttled_is_retried },
    Test { name: "exporter/silent_is_retried", needs: SCENE_HERE, run: silent_is_retried },
    Test { name: "exporter/half_closed_is_retried", needs: SCENE_HERE, run: half_closed_is_retried },
    Test { name: "exporter/unanswered_is_sent_again", needs: SCENE_HERE, run: unanswered_is_sent_again },
    Test { name: "exporter/reset_in_mid_message_is_sent_again", needs: SCENE_HERE, run: reset_is_sent_again },
    Test { name: "exporter/slow_endpoint_gets_everything", needs: SCENE_HERE, run: slow_gets_everything },
    Test { name: "exporter/refused_is_accounted_for", needs: SCENE_HERE, run: refused_is_accounted_for },
    Test {
        name: "exporter/retried_too_long_is_accounted_for",
        needs: SCENE_HERE,
        run: exhausted_is_accounted_for,
    },
    Test {
        name: "exporter/partial_success_is_accounted_for",
        needs: SCENE_HERE,
        run: partial_is_accounted_for,
    },
    Test { name: "exporter/full_queue_drops_by_cause", needs: SCENE_HERE, run: full_queue_drops_by_cause },
];

/// Retries back off, so what was queued may take a while to arrive.
const RECOVERY: Duration = Duration::from_secs(60);
/// Short back-off, so that the tests are about what happens and not about waiting for it.
const EAGER: &str = "otlp:\n  timeout: 2s\n  retry:\n    initial: 100ms\n    max: 1s\n";
/// Processes of one workload.
const COUNT: usize = 200;

/// An agent, a group that it looks at, and a server that can misbehave.
struct Outage<'a> {
    context: &'a Context,
    agent: Agent,
    receiver: Receiver,
    cgroup: Cgroup,
    done: Done,
}

impl<'a> Outage<'a> {
    /// With eager retries, and further lines of the section `otlp`.
    fn new(context: &'a Context, config: &str) -> anyhow::Result<Self> {
        let (cgroup, receiver) = (Cgroup::new("exporter")?, Receiver::start()?);
        let agent = Agent::start(context, cgroup.path(), &receiver.endpoint(), &format!("{EAGER}{config}"))?;
        Ok(Self { context, agent, receiver, cgroup, done: Done::default() })
    }

    /// Has something to tell.
    fn cause(&mut self) -> anyhow::Result<()> {
        self.done += processes(self.context, &self.cgroup, COUNT)?;
        Ok(())
    }

    /// The agent lives on and its books balance; what it sent of all logs.
    fn account(mut self) -> anyhow::Result<(Account, f64)> {
        self.agent.assert_running()?;
        let account = Account::state(&self.agent, &self.receiver, self.done)?;
        let sent = account.ledger.sent("logs")?;
        Ok((account, sent))
    }

    /// As [`Outage::account`], and nothing was given up.
    fn everything_arrived(self) -> anyhow::Result<()> {
        let (account, sent) = self.account()?;
        let given_up = account.ledger.given_up("logs")?;
        ensure!(given_up == 0.0 && sent > 0.0, "{given_up} logs were given up, {sent} were sent");
        Ok(())
    }
}

fn absent_then_there(context: &Context) -> anyhow::Result<()> {
    let cgroup = Cgroup::new("exporter")?;
    let address = tool::free_address()?;
    let agent = Agent::start(context, cgroup.path(), &format!("http://{address}"), EAGER)?;
    let done = processes(context, &cgroup, COUNT)?;
    agent.wait_ledger("waiting batch", RECOVERY, |ledger| Ok(ledger.sum(ledger::QUEUE_BYTES, &[])? > 0.0))?;
    let receiver = Receiver::start_at(address).context("the endpoint that appears")?;
    Outage { context, agent, receiver, cgroup, done }.everything_arrived()
}

fn unavailable_is_retried(context: &Context) -> anyhow::Result<()> {
    retried(context, Behaviour::Refuse(Code::Unavailable))
}

fn throttled_is_retried(context: &Context) -> anyhow::Result<()> {
    retried(context, Behaviour::Throttle(Duration::from_millis(300)))
}

fn silent_is_retried(context: &Context) -> anyhow::Result<()> {
    retried(context, Behaviour::Silent)
}

fn half_closed_is_retried(context: &Context) -> anyhow::Result<()> {
    retried(context, Behaviour::HalfClose)
}

/// While the endpoint behaves so nothing is lost; once it accepts, everything arrives.
fn retried(context: &Context, behaviour: Behaviour) -> anyhow::Result<()> {
    let mut outage = Outage::new(context, "")?;
    outage.receiver.behave(behaviour);
    outage.cause()?;
    outage.receiver.wait("second attempt", RECOVERY, |seen| (seen.refused >= 2).then_some(()))?;
    outage.receiver.behave(Behaviour::Accept);
    outage.everything_arrived()
}

/// The server has the request, and the connection breaks before the agent hears of it: nobody can tell, so
/// it is sent again, and the server has it twice.
fn unanswered_is_sent_again(context: &Context) -> anyhow::Result<()> {
    let mut outage = Outage::new(context, "")?;
    outage.receiver.behave(Behaviour::KeepUnanswered);
    outage.cause()?;
    outage.receiver.wait("unanswered log", RECOVERY, |seen| (seen.unanswered_logs > 0).then_some(()))?;
    outage.receiver.behave(Behaviour::Accept);
    outage.everything_arrived()
}

fn reset_is_sent_again(context: &Context) -> anyhow::Result<()> {
    let mut outage = Outage::new(context, "")?;
    // Less than one batch of these events: the connection breaks in the middle of a request.
    outage.receiver.fuse().light(3_000);
    outage.cause()?;
    ensure!(outage.receiver.fuse().wait_burnt(RECOVERY), "nothing was sent that could be cut");
    outage.receiver.fuse().put_out();
    outage.everything_arrived()
}

fn slow_gets_everything(context: &Context) -> anyhow::Result<()> {
    let mut outage = Outage::new(context, "")?;
    outage.receiver.behave(Behaviour::Slow(Duration::from_secs(1)));
    outage.cause()?;
    outage.everything_arrived()
}

/// Without RetryInfo the specification does not allow a retry: the batch is lost, and counted.
fn refused_is_accounted_for(context: &Context) -> anyhow::Result<()> {
    let mut outage = Outage::new(context, "")?;
    outage.receiver.behave(Behaviour::Refuse(Code::ResourceExhausted));
    outage.cause()?;
    let refused = [("signal", "logs"), ("cause", "refused")];
    outage
        .agent
        .wait_ledger("log refused", RECOVERY, |ledger| Ok(ledger.sum(ledger::ITEMS, &refused)? > 0.0))?;
    outage.receiver.behave(Behaviour::Accept);
    outage.cause()?;
    let (_, sent) = outage.account()?;
    ensure!(sent > 0.0, "nothing arrived after the refusals");
    Ok(())
}

fn exhausted_is_accounted_for(context: &Context) -> anyhow::Result<()> {
    let mut outage = Outage::new(context, "    max_elapsed: 500ms\n")?;
    outage.receiver.behave(Behaviour::Refuse(Code::Unavailable));
    outage.cause()?;
    let exhausted = [("signal", "logs"), ("cause", "retry_exhausted")];
    outage
        .agent
        .wait_ledger("log given up", RECOVERY, |ledger| Ok(ledger.sum(ledger::ITEMS, &exhausted)? > 0.0))?;
    outage.receiver.behave(Behaviour::Accept);
    outage.cause()?;
    let (_, sent) = outage.account()?;
    ensure!(sent > 0.0, "nothing arrived after the outage");
    Ok(())
}

fn partial_is_accounted_for(context: &Context) -> anyhow::Result<()> {
    let mut outage = Outage::new(context, "")?;
    outage.receiver.behave(Behaviour::RejectOne);
    outage.cause()?;
    outage.receiver.wait("rejection", RECOVERY, |seen| (seen.refused > 0).then_some(()))?;
    let receiver = &outage.receiver;
    let rejected = outage.agent.wait_ledger("rejected log", RECOVERY, |ledger| {
        let rejected = ledger.sum(ledger::ITEMS, &[("signal", "logs"), ("outcome", "rejected")])?;
        Ok(rejected > 0.0 && rejected == receiver.look(|seen| seen.refused) as f64)
    });
    rejected.context("one log of each request was rejected")?;
    outage.account().map(drop)
}

fn full_queue_drops_by_cause(context: &Context) -> anyhow::Result<()> {
    const QUEUE: usize = 60_000;
    /// Rings and tables are touched for the first time too.
    const GROWTH: u64 = 32 << 20;
    let count = context.many(1_000);
    let cgroup = Cgroup::new("exporter")?;
    let address = tool::free_address()?;
    let config = format!("{EAGER}  queue:\n    max_bytes: {QUEUE}\n  max_request_bytes: 20000\n");
    let agent = Agent::start(context, cgroup.path(), &format!("http://{address}"), &config)?;
    let before = agent.resident_bytes()?;
    let done = processes(context, &cgroup, count)?;
    let full = [("signal", "logs"), ("outcome", "dropped"), ("cause", "queue_full")];
    let ledger = agent.wait_ledger("drop for want of room", RECOVERY, |ledger| {
        Ok(ledger.sum(ledger::ITEMS, &full)? > 0.0)
    })?;
    let held = ledger.sum(ledger::QUEUE_BYTES, &[])?;
    ensure!(held <= QUEUE as f64, "the queue holds {held} bytes, its bound is {QUEUE}");
    let grown = agent.resident_bytes()?.saturating_sub(before);
    ensure!(grown <= GROWTH, "memory grew by {grown} bytes while the endpoint was away");
    let receiver = Receiver::start_at(address).context("the endpoint that appears")?;
    let (_, sent) = Outage { context, agent, receiver, cgroup, done }.account()?;
    ensure!(sent > 0.0, "nothing was kept");
    Ok(())
}
