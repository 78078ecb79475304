//! *Produced = exported + accounted*, stated: what the workload did, what the kernel programs counted, what
//! the agent says became of it, and what the server has.
//!
//! The terms come from four books that know nothing of each other: the workload's own ([`Done`]), the ledger
//! in the kernel, the agent's counters and the server's ([`Seen`]). [`Account::state`] writes the equations
//! between them, one line each on stderr, so that the log of a run shows them.

#![expect(clippy::print_stderr, reason = "the equations belong into the log of the run")]

use std::ops::{Add, AddAssign};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tarsier_abi::exec::{ARGS_CHUNK, ARGS_CHUNKS, ARGS_INLINE};
use tarsier_abi::{Loss, Sensor};

use super::agent::Agent;
use super::equation::Equation;
use super::ledger::{self, Ledger};
use super::receiver::Receiver;
use super::seen::Seen;

/// Retries back off and sweeps take their time: how long the agent may take to come to rest.
const REST: Duration = Duration::from_secs(60);

/// What workloads did in the scope, as they know it themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Processes made by processes of the scope.
    pub forks: u64,
    /// Programs started.
    pub execs: u64,
    /// Further records of their long command lines.
    pub arguments: u64,
    /// Processes that ended.
    pub exits: u64,
    /// TCP sockets that were opened or accepted, and are closed.
    pub sockets: u64,
    /// Groups made or removed in the scope.
    pub cgroups: u64,
}

impl Done {
    /// One command of the test, started in the scope from outside: its fork is not seen.
    pub const COMMAND: Self = Self { forks: 0, execs: 1, arguments: 0, exits: 1, sockets: 0, cgroups: 0 };

    /// `workload processes --count COUNT`.
    pub fn processes(count: usize) -> Self {
        let count = count as u64;
        Self { forks: count, execs: count, exits: count, ..Self::default() } + Self::COMMAND
    }

    /// `workload connections --count COUNT`.
    pub fn connections(count: usize) -> Self {
        Self { sockets: 2 * count as u64, ..Self::COMMAND }
    }

    /// `workload burst --count COUNT`: processes that start no program.
    pub fn burst(count: usize) -> Self {
        Self { forks: count as u64, exits: count as u64, ..Self::default() } + Self::COMMAND
    }

    /// Records beside the exec's own that a command line of `bytes` takes, the NULs included.
    pub fn argument_records(bytes: usize) -> u64 {
        bytes.saturating_sub(ARGS_INLINE).div_ceil(ARGS_CHUNK).min(ARGS_CHUNKS) as u64
    }
}

impl Add for Done {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            forks: self.forks + other.forks,
            execs: self.execs + other.execs,
            arguments: self.arguments + other.arguments,
            exits: self.exits + other.exits,
            sockets: self.sockets + other.sockets,
            cgroups: self.cgroups + other.cgroups,
        }
    }
}

impl AddAssign for Done {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The four books at one moment at which the agent is at rest.
#[derive(Debug)]
pub struct Account {
    equations: Vec<Equation>,
    /// The agent's page that it is made of.
    pub ledger: Ledger,
}

impl Account {
    /// Waits until nothing is under way (rings and queues are empty, no connection is held), and states the
    /// equations. An error names the one that does not hold.
    pub fn state(agent: &Agent, receiver: &Receiver, done: Done) -> anyhow::Result<Self> {
        let ledger = at_rest(agent)?;
        let account = receiver.look(|seen| Self::of(ledger, seen, done))?;
        account.say()?;
        Ok(account)
    }

    fn of(ledger: Ledger, seen: &Seen, done: Done) -> anyhow::Result<Self> {
        let mut equations = Vec::new();
        for sensor in Sensor::ALL {
            equations.extend(caused(&ledger, sensor, done)?);
            equations.push(carried(&ledger, sensor)?);
        }
        equations.push(processes(&ledger)?);
        equations.push(flows(&ledger)?);
        equations.push(sockets(&ledger, done)?);
        for (signal, kinds, items, again) in [
            ("logs", &["exec", "fork", "exit"][..], seen.logs.len(), seen.unanswered_logs),
            ("traces", &["flow"][..], seen.spans.len(), seen.unanswered_spans),
        ] {
            equations.push(enqueued(&ledger, signal, kinds)?);
            equations.push(settled(&ledger, signal)?);
            let sent = ledger.count(ledger::ITEMS, &[("signal", signal), ("outcome", "sent")])?;
            // What the server kept although the agent had no answer is sent again.
            let arrived = Equation::of(format!("{signal} at the server"))
                .left("kept", items as u64)
                .right("sent", sent)
                .right("unanswered and sent again", again as u64);
            equations.push(arrived);
        }
        if ledger.values(ledger::ITEMS, "exporter").contains("stdout") {
            equations.push(enqueued(&ledger, "lines", &["exec", "exit", "flow"])?);
            equations.push(settled(&ledger, "lines")?);
        }
        Ok(Self { equations, ledger })
    }

    fn say(&self) -> anyhow::Result<()> {
        // What did not take place is not worth a line.
        for equation in self.equations.iter().filter(|equation| !equation.is_empty()) {
            eprintln!("     = {equation}");
        }
        self.check()
    }

    fn check(&self) -> anyhow::Result<()> {
        self.equations.iter().try_for_each(Equation::check)?;
        // Neither may happen at all: the records are our own programs', and no stage may panic on them.
        for name in ["tarsier_records_malformed_total", "tarsier_records_panicked_total"] {
            let count = self.ledger.count(name, &[])?;
            ensure!(count == 0, "{name} is {count}");
        }
        for sensor in Sensor::ALL {
            let of = |name: &str| self.ledger.count(name, &[("sensor", sensor.name())]);
            let (gaps, lost) = (of("tarsier_sequence_gaps_total")?, of(ledger::LOST)?);
            // Fewer where the last records of a CPU were lost: no later one shows the gap.
            ensure!(gaps <= lost, "{gaps} gaps in the sequence of {}, and {lost} lost", sensor.name());
        }
        Ok(())
    }
}

/// Waits until nothing is under way.
pub fn at_rest(agent: &Agent) -> anyhow::Result<Ledger> {
    agent
        .wait_ledger("agent at rest", REST, |ledger| {
            let mut busy = 0;
            for name in [
                "tarsier_ring_used_bytes",
                "tarsier_process_waiting",
                "tarsier_flows_live",
                "tarsier_exporter_waiting_items",
            ] {
                busy += ledger.count(name, &[])?;
            }
            Ok(busy == 0)
        })
        .context("what was caused is over, and the agent still works on it")
}

/// What the workload caused is what a program set out to write. Of connections each makes several records;
/// see [`sockets`].
fn caused(ledger: &Ledger, sensor: Sensor, done: Done) -> anyhow::Result<Option<Equation>> {
    let equation = Equation::of(format!("{} caused", sensor.name()));
    let equation = match sensor {
        Sensor::Exec => equation.left("done", done.execs).left("argument records", done.arguments),
        Sensor::Fork => equation.left("done", done.forks),
        // Two threads that end at once may both be the last: see `exit` in the registry of sensors.
        Sensor::Exit => {
            let twice = ledger.count("tarsier_process_anomalies_total", &[("kind", "repeated_exit")])?;
            equation.left("done", done.exits).left("told twice", twice)
        }
        Sensor::Cgroup => equation.left("done", done.cgroups),
        _ => return Ok(None),
    };
    let produced = ledger.count(ledger::PRODUCED, &[("sensor", sensor.name())])?;
    let skipped = skipped(ledger, sensor)?;
    let equation = equation.right("produced", produced).right("skipped by the kernel", skipped);
    // Nobody says of whom a run was skipped: it may have been of a process outside the scope, or of a second last thread.
    let others = equation.more_on_the_right().min(skipped);
    Ok(Some(equation.left("skipped of others", others)))
}

/// Runs that the kernel skipped of the sensor's programs: one for each kind of hook that it can have.
pub fn skipped(ledger: &Ledger, sensor: Sensor) -> anyhow::Result<u64> {
    let mut sum = 0;
    for program in ledger.values(ledger::SKIPPED, "program") {
        let rest = program.strip_prefix(sensor.name());
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_')) {
            sum += ledger.count(ledger::SKIPPED, &[("program", &program)])?;
        }
    }
    Ok(sum)
}

/// What a program set out to write was read from a ring or lost, by reason.
fn carried(ledger: &Ledger, sensor: Sensor) -> anyhow::Result<Equation> {
    let name = sensor.name();
    let mut equation = Equation::of(format!("{name} records"))
        .left("produced", ledger.count(ledger::PRODUCED, &[("sensor", name)])?)
        .right("received", ledger.count(ledger::RECEIVED, &[("sensor", name)])?);
    for loss in Loss::ALL {
        let lost = ledger.count(ledger::LOST, &[("sensor", name), ("reason", loss.name())])?;
        equation = equation.right(loss.name(), lost);
    }
    Ok(equation)
}

/// Every record of a process became a report, or a part of one, or is counted under why not.
fn processes(ledger: &Ledger) -> anyhow::Result<Equation> {
    let mut equation = Equation::of("processes");
    for sensor in [Sensor::Exec, Sensor::Fork, Sensor::Exit] {
        let received = ledger.count(ledger::RECEIVED, &[("sensor", sensor.name())])?;
        equation = equation.left(sensor.name(), received);
    }
    for kind in ["exec", "fork", "exit"] {
        let reported = ledger.count(ledger::REPORTS, &[("kind", kind)])?;
        equation = equation.right(format!("reported {kind}"), reported);
    }
    equation =
        equation.right("argument records", ledger.count("tarsier_process_argument_records_total", &[])?);
    for kind in ["repeated_fork", "repeated_exec", "repeated_exit", "stray_args", "unreported"] {
        equation = equation.right(kind, ledger.count("tarsier_process_anomalies_total", &[("kind", kind)])?);
    }
    Ok(equation)
}

/// Every connection taken into the table was reported, or is counted under why not; none is held.
fn flows(ledger: &Ledger) -> anyhow::Result<Equation> {
    let mut equation = Equation::of("connections")
        .left("begun", ledger.count("tarsier_flows_begun_total", &[])?)
        .right("reported", ledger.count(ledger::REPORTS, &[("kind", "flow")])?);
    for kind in ["half_open", "orphan_owner"] {
        equation = equation.right(kind, ledger.count("tarsier_flow_anomalies_total", &[("kind", kind)])?);
    }
    Ok(equation)
}

/// Every socket was reported once. One is untold only if all of its records were lost: of each there are at
/// least two, that it is established and that it is closed.
fn sockets(ledger: &Ledger, done: Done) -> anyhow::Result<Equation> {
    let reported = ledger.count(ledger::REPORTS, &[("kind", "flow")])?;
    let lost = ledger.count(ledger::LOST, &[("sensor", Sensor::Tcp.name())])?;
    let skipped = skipped(ledger, Sensor::Tcp)?;
    let untold = done.sockets.saturating_sub(reported).min((lost + skipped) / 2);
    Ok(Equation::of("sockets")
        .left("done", done.sockets)
        .right("reported", reported)
        .right(format!("untold ({lost} lost records)"), untold))
}

/// What is reported goes to the exporter, or becomes a line.
fn enqueued(ledger: &Ledger, signal: &str, kinds: &[&str]) -> anyhow::Result<Equation> {
    let mut equation = Equation::of(format!("{signal} made"));
    for kind in kinds {
        let reported = ledger.count(ledger::REPORTS, &[("kind", kind)])?;
        equation = equation.left(format!("reported {kind}"), reported);
    }
    let items = ledger.count(ledger::ITEMS, &[("signal", signal), ("outcome", "enqueued")])?;
    Ok(equation.right("enqueued", items))
}

/// What the exporter was given was sent, or lost for a cause, or waits.
fn settled(ledger: &Ledger, signal: &str) -> anyhow::Result<Equation> {
    let of = |outcome| ledger.count(ledger::ITEMS, &[("signal", signal), ("outcome", outcome)]);
    let mut equation = Equation::of(format!("{signal} settled"))
        .left("enqueued", of("enqueued")?)
        .right("sent", of("sent")?)
        .right("rejected", of("rejected")?);
    for cause in ledger.values(ledger::ITEMS, "cause") {
        let labels = [("signal", signal), ("outcome", "dropped"), ("cause", cause.as_str())];
        equation = equation.right(format!("dropped {cause}"), ledger.count(ledger::ITEMS, &labels)?);
    }
    for place in ["queued", "in_flight"] {
        let labels = [("signal", signal), ("place", place)];
        equation = equation.right(place, ledger.count("tarsier_exporter_waiting_items", &labels)?);
    }
    Ok(equation)
}

#[cfg(test)]
mod tests;
