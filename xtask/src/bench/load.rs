//! The agent under load: a burst (W8), a sustained rate, and sweeps of idle sockets (S1).

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::daemon::Agent;
use super::figures::{Run, time};
use super::workload_command;
use crate::demo::{Cgroup, Running};
use crate::shell::{capture, cargo, say};

/// Times that a socket of the burst listens and stops: 400,000 records.
const BURST: usize = 200_000;
/// Bursts, each with an agent of its own.
const BURSTS: usize = 5;
/// Records per second of the sustained load.
const RATE: u64 = 200_000;
/// Idle sockets swept.
const SOCKETS: [usize; 4] = [1_000, 10_000, 20_000, 50_000];
/// How long sweeps are watched: three rounds of the default interval.
const WATCHED: Duration = Duration::from_secs(30);

/// W8: as many records as the machine can make, into rings of the default size.
pub(super) fn burst(cgroup: &Cgroup) -> Result<String> {
    let mut out = String::from(
        "## W8, burst\n\n| burst | records | in | rate | lost | agent CPU/record |\n|---|---|---|---|---|---|\n",
    );
    for index in 1..=BURSTS {
        say(&format!("burst {index} of {BURSTS}"));
        let run = loaded(cgroup, "fixed-burst", BURST)?;
        let seconds = run.wall_ns as f64 / 1e9;
        writeln!(
            out,
            "| {index} | {} | {:.2} s | {:.0} records/s | {} | {} |",
            run.records,
            seconds,
            run.records as f64 / seconds,
            run.lost,
            time(run.agent_ns as f64 / run.records.max(1) as f64)
        )?;
    }
    out.push_str(
        "\nA socket begins and stops to listen, on every CPU at once; the agent gets what the scheduler leaves it. \
         Lost records are the kernel side's own count: records = received + lost, or the bench fails.\n\n",
    );
    Ok(out)
}

/// Connections of the mix: some ten seconds of work.
const MIX: usize = 300_000;

/// A rate that nodes do not exceed: ten seconds of it, made of records that are cheap to make; and as much as
/// the machine can do of processes and connections, without and with an exporter.
pub(super) fn sustained(cgroup: &Cgroup) -> Result<String> {
    let mut out = String::from(
        "## Sustained load\n\n| load | exporter | records | rate | lost | agent CPU/record | at 200k records/s | budget |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    say(&format!("{RATE} records/s for ten seconds"));
    let paced = || loaded(cgroup, "fixed-paced", usize::try_from(RATE / 2)?);
    row(&mut out, "listen and stop, paced", "none", &paced()?)?;
    say("as many processes and connections as the machine makes");
    row(&mut out, "connections and processes", "none", &loaded(cgroup, "fixed-mix", MIX)?)?;
    let (sink, endpoint) = sink()?;
    let agent = Agent::exporting(cgroup.path(), &endpoint)?;
    row(&mut out, "connections and processes", "OTLP", &under(cgroup, agent, "fixed-mix", MIX)?)?;
    drop(sink);
    out.push_str(
        "\nThe mix is a thread per CPU, each making connections (W2) and one process (W3) for 32 of them, as fast as \
         it goes while the agent, and with OTLP the receiver, want the same two CPUs. *At 200k records/s* is the cost of a \
         record times that rate; the rate itself is what this machine could make.\n\n",
    );
    Ok(out)
}

fn row(out: &mut String, load: &str, exporter: &str, run: &Run) -> Result<()> {
    let each = run.agent_ns as f64 / run.records.max(1) as f64;
    Ok(writeln!(
        out,
        "| {load} | {exporter} | {} | {:.0}/s | {} | {} | {:.3} cores | 0.15 cores, no loss |",
        run.records,
        run.records as f64 / (run.wall_ns as f64 / 1e9),
        run.lost,
        time(each),
        each * RATE as f64 / 1e9
    )?)
}

/// A receiver that throws everything away (that of R1), in a process of its own until it is dropped, and its
/// endpoint.
fn sink() -> Result<(Running, String)> {
    let mut command = cargo();
    command.args(["bench", "--locked", "--quiet", "-p", "tarsier", "--bench", "replay", "--", "--receiver"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Running(command.spawn().context("starting the receiver")?);
    let stdout = child.0.stdout.take().context("its output is piped")?;
    let mut endpoint = String::new();
    BufReader::new(stdout).read_line(&mut endpoint)?;
    Ok((child, endpoint.trim().to_owned()))
}

/// One run of a workload under an agent of its own.
fn loaded(cgroup: &Cgroup, workload: &str, count: usize) -> Result<Run> {
    under(cgroup, Agent::start(cgroup.path(), None)?, workload, count)
}

/// One run of a workload under `agent`, which then ends. Every record is accounted for, lost or not, and every
/// item is sent.
fn under(cgroup: &Cgroup, agent: Agent, workload: &str, count: usize) -> Result<Run> {
    let before = agent.look()?;
    let line = capture(&mut workload_command(cgroup, &[workload, "--count", &count.to_string()]))?;
    let mut run = Run::parse(&line)?;
    let after = agent.drained()?;
    run.agent_ns = after.cpu_ns - before.cpu_ns;
    run.records = after.records() - before.records();
    run.lost = after.lost() - before.lost();
    agent.stop()?;
    if run.records < 2 * run.operations {
        bail!("{workload}: {} operations made only {} records", run.operations, run.records);
    }
    let items = after.by_outcome("tarsier_exporter_items_total");
    if ["rejected", "dropped"].iter().any(|outcome| items.get(*outcome).is_some_and(|items| *items > 0)) {
        bail!("{workload}: items were not sent: {items:?}");
    }
    Ok(run)
}

/// S1: what looking at idle sockets costs, once per `flows.interval`.
pub(super) fn sweeps(cgroup: &Cgroup) -> Result<String> {
    let idle = watched(cgroup, None)?;
    let mut out = format!(
        "## S1, sweeps of idle sockets, {} s\n\n\
         | sockets | agent CPU above none | per socket and sweep | budget |\n|---|---|---|---|\n",
        WATCHED.as_secs()
    );
    for sockets in SOCKETS {
        say(&format!("{sockets} idle sockets for {} s", WATCHED.as_secs()));
        let ns = watched(cgroup, Some(sockets))?.saturating_sub(idle);
        let rounds = WATCHED.as_secs_f64() / 10.0;
        writeln!(
            out,
            "| {sockets} | {:.4} % of a core | {} | {} |",
            ns as f64 / WATCHED.as_nanos() as f64 * 100.0,
            time(ns as f64 / rounds / sockets as f64),
            if sockets == 20_000 { "0.2 %" } else { "" }
        )?;
    }
    out.push('\n');
    Ok(out)
}

/// CPU time of the agent, ns, while so many sockets do nothing.
fn watched(cgroup: &Cgroup, sockets: Option<usize>) -> Result<u64> {
    let agent = Agent::start(cgroup.path(), None)?;
    let holders = sockets.map(|sockets| hold_all(cgroup, sockets)).transpose()?;
    agent.drained()?;
    // The first round looks at sockets whose records have just come; the next ones are alike.
    std::thread::sleep(Duration::from_secs(10));
    let before: u64 = agent.threads()?.iter().map(|thread| thread.cpu_ns).sum();
    std::thread::sleep(WATCHED);
    let after: u64 = agent.threads()?.iter().map(|thread| thread.cpu_ns).sum();
    let live = agent.look()?.sum("tarsier_flows_live");
    if sockets.is_some_and(|sockets| live < sockets as u64) {
        bail!("only {live} connections are live");
    }
    drop(holders);
    agent.stop()?;
    Ok(after - before)
}

/// Most sockets of one process: below 4,096, the least hard limit of open files in use.
const PER_PROCESS: usize = 4_000;

/// The processes that hold so many sockets together.
fn hold_all(cgroup: &Cgroup, sockets: usize) -> Result<Vec<Running>> {
    (0..sockets).step_by(PER_PROCESS).map(|from| hold(cgroup, PER_PROCESS.min(sockets - from))).collect()
}

/// The process that holds the sockets, once they are all there; dropping it closes them.
fn hold(cgroup: &Cgroup, sockets: usize) -> Result<Running> {
    let mut command = workload_command(cgroup, &["idle-sockets", "--count", &sockets.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Running(Command::spawn(&mut command).context("starting the workload")?);
    let stdout = child.0.stdout.take().context("its output is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if !line.contains(&format!("\"sockets\":{sockets}")) {
        bail!("{sockets} sockets could not be had: {line}");
    }
    Ok(child)
}
