//! Whoever reads the agent's lines stops reading, for a while, for ever, or goes away: OTLP goes on as if
//! nothing were, each line is written whole or counted, and the agent ends in time.

#![expect(clippy::print_stderr, reason = "the equations belong into the log of the run")]

use std::io::{BufRead as _, BufReader, PipeReader, Read as _};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{SCENE_HERE, processes};
use crate::harness::accounts::{Account, Done};
use crate::harness::agent::{Agent, FLUSH_DEADLINE};
use crate::harness::cgroup::Cgroup;
use crate::harness::equation::Equation;
use crate::harness::ledger::{self, Ledger};
use crate::harness::names;
use crate::harness::receiver::Receiver;
use crate::harness::scene::ARRIVAL;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "stdout/reader_that_stops_for_a_while", needs: SCENE_HERE, run: stops_for_a_while },
    Test { name: "stdout/reader_that_never_reads_again", needs: SCENE_HERE, run: never_reads_again },
    Test { name: "stdout/one_pipe_with_the_log_that_nobody_reads", needs: SCENE_HERE, run: one_pipe },
    Test { name: "stdout/reader_that_goes_away_ends_the_agent", needs: SCENE_HERE, run: goes_away },
];

/// The smallest buffer.
const SMALL: &str = "output: {buffer_bytes: 256KiB}\n";
/// Processes of one round.
const COUNT: usize = 100;
/// More than enough for a pipe and the smallest buffer.
const ROUNDS: usize = 40;

/// An agent that prints into a pipe.
struct Printing {
    agent: Agent,
    receiver: Receiver,
    cgroup: Cgroup,
    reader: PipeReader,
    done: Done,
}

impl Printing {
    /// `with_log`: its log goes into the same pipe.
    fn new(context: &Context, with_log: bool) -> anyhow::Result<Self> {
        let (cgroup, receiver) = (Cgroup::new("stdout")?, Receiver::start()?);
        let (reader, writer) = std::io::pipe()?;
        let (scope, endpoint) = (cgroup.path(), receiver.endpoint());
        let agent = if with_log {
            Agent::start_into_one_pipe(context, scope, &endpoint, SMALL, writer)?
        } else {
            Agent::start_printing(context, scope, &endpoint, SMALL, "json", writer.into())?
        };
        Ok(Self { agent, receiver, cgroup, reader, done: Done::default() })
    }

    fn cause(&mut self, context: &Context) -> anyhow::Result<()> {
        self.done += processes(context, &self.cgroup, COUNT)?;
        Ok(())
    }

    /// Causes more than the pipe and the buffer hold, while nobody reads. All of it arrives at the server,
    /// and the rings lose nothing.
    fn fill(&mut self, context: &Context) -> anyhow::Result<()> {
        let full = [("signal", "lines"), ("outcome", "dropped"), ("cause", "queue_full")];
        for round in 1.. {
            self.cause(context)?;
            let logs = usize::try_from(self.done.forks + self.done.execs + self.done.exits)?;
            self.receiver
                .wait("log of every event", ARRIVAL, |seen| (seen.logs.len() == logs).then_some(()))?;
            if self.agent.ledger()?.count(ledger::ITEMS, &full)? > 0 {
                break;
            }
            ensure!(round < ROUNDS, "a pipe and the smallest buffer held {ROUNDS} rounds");
        }
        let ledger = self.agent.ledger()?;
        let lost = ledger.count(ledger::LOST, &[])?;
        ensure!(lost == 0, "{lost} records were lost in the rings while nobody read the lines");
        Ok(())
    }
}

fn lines_sent(ledger: &Ledger) -> anyhow::Result<u64> {
    ledger.count(ledger::ITEMS, &[("signal", "lines"), ("outcome", "sent")])
}

/// Every line that comes until the agent ends, each a JSON object.
fn read(reader: PipeReader) -> anyhow::Result<Vec<Value>> {
    let lines = BufReader::new(reader).lines();
    lines.map(|line| serde_json::from_str(&line?).context("a line that is no JSON object")).collect()
}

fn stops_for_a_while(context: &Context) -> anyhow::Result<()> {
    let mut printing = Printing::new(context, false)?;
    printing.fill(context)?;
    let reader = printing.reader.try_clone()?;
    let reading = std::thread::spawn(|| read(reader));
    // The agent's end is the only other one, so that the reader sees the end.
    let Printing { agent, receiver, cgroup, mut done, reader } = printing;
    drop(reader);
    let before = agent.wait_ledger("outbox that is empty", ARRIVAL, |ledger| {
        Ok(ledger.count("tarsier_exporter_waiting_items", &[("signal", "lines")])? == 0)
    })?;
    done += processes(context, &cgroup, COUNT)?;
    let account = Account::state(&agent, &receiver, done)?;
    let sent = lines_sent(&account.ledger)?;
    // An exec and an exit of each.
    let after = 2 * (COUNT as u64 + 1);
    ensure!(sent - lines_sent(&before)? == after, "of {after} lines after it read again some were not sent");
    agent.terminate(FLUSH_DEADLINE)?;
    let lines = reading.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    let read = Equation::of("lines at the reader").left("read", lines.len() as u64).right("sent", sent);
    eprintln!("     = {read}");
    read.check()?;
    let dropped = account.ledger.count(ledger::ITEMS, &[("signal", "lines"), ("outcome", "dropped")])?;
    ensure!(dropped > 0, "nothing was dropped");
    Ok(())
}

fn never_reads_again(context: &Context) -> anyhow::Result<()> {
    let mut printing = Printing::new(context, false)?;
    printing.fill(context)?;
    printing.cause(context)?;
    let Printing { agent, receiver, mut reader, done, .. } = printing;
    let ended = agent.terminate(FLUSH_DEADLINE)?;
    ensure!(ended.status.success(), "the agent ended with {}", ended.status);
    let logs = receiver.look(|seen| seen.logs.len() as u64);
    ensure!(logs == done.forks + done.execs + done.exits, "only {logs} logs arrived: {done:?}");

    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    ensure!(text.ends_with('\n'), "the last line is torn: {:?}", text.lines().last());
    for line in text.lines() {
        let _: Value = serde_json::from_str(line).with_context(|| format!("a line that is torn: {line}"))?;
    }
    let said = context.log.tail(60).into_iter().find(|line| line.contains("signal=\"lines\""));
    let said = said.context("the agent does not say what became of the lines")?;
    let count = |cause: &str| {
        let before = said.split(&format!(" {cause}")).next().filter(|before| before.len() < said.len())?;
        before.rsplit(['"', ' ']).next()?.parse::<u64>().ok()
    };
    let (full, left) = (count("queue_full"), count("shutdown"));
    let (full, left) = full.zip(left).with_context(|| format!("it says: {said}"))?;
    let equation = Equation::of("lines")
        .left("execs", done.execs)
        .left("exits", done.exits)
        .right("in the pipe", text.lines().count() as u64)
        .right("dropped queue_full", full)
        .right("dropped shutdown", left);
    eprintln!("     = {equation}");
    ensure!(full > 0 && left > 0, "it says: {said}");
    equation.check()
}

/// As a container's output may be: what the agent logs waits for the same reader, who never reads.
fn one_pipe(context: &Context) -> anyhow::Result<()> {
    let mut printing = Printing::new(context, true)?;
    printing.fill(context)?;
    let Printing { agent, receiver, done, reader, .. } = printing;
    let ended = agent.terminate(FLUSH_DEADLINE)?;
    ensure!(ended.status.success(), "the agent ended with {}", ended.status);
    let logs = receiver.look(|seen| seen.logs.len() as u64);
    ensure!(logs == done.forks + done.execs + done.exits, "only {logs} logs arrived: {done:?}");
    // Until here: with it goes the last reader.
    drop(reader);
    Ok(())
}

/// As `tarsier run | head` is over when `head` has seen enough.
fn goes_away(context: &Context) -> anyhow::Result<()> {
    let mut printing = Printing::new(context, false)?;
    printing.cause(context)?;
    let mut first = BufReader::new(&printing.reader);
    let mut line = String::new();
    first.read_line(&mut line)?;
    let line: Value = serde_json::from_str(&line)?;
    ensure!(line["event.name"] == names::EXEC, "the first line is {line}");
    let Printing { agent, reader, cgroup, .. } = printing;
    drop(reader);
    processes(context, &cgroup, 1)?;
    let status = agent.wait_ended(FLUSH_DEADLINE + ARRIVAL)?;
    ensure!(status.success(), "the agent ended with {status}");
    Ok(())
}
