//! A thousand processes and ten thousand connections arrive, each exactly once and exactly right.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::Value;

use super::SCENE;
use crate::harness::accounts::at_rest;
use crate::harness::agent::FLUSH_DEADLINE;
use crate::harness::ledger::SKIPPED;
use crate::harness::scene::{ARRIVAL, Scene};
use crate::harness::seen::{Item, Seen};
use crate::harness::{names, pair, pairs};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "exactly_once/processes", needs: SCENE, run: processes },
    Test { name: "exactly_once/connections", needs: SCENE, run: connections },
];

/// Processes started by a script.
const PROCESSES: usize = 1_000;
/// Connections made by a script.
const CONNECTIONS: usize = 10_000;
/// All of it has arrived by then, in an emulated guest too.
const DEADLINE: Duration = Duration::from_secs(90);

/// The container that the script runs in.
const CONTAINER: &str = "9a1f8ac05b6e7923d1c0b2a3948576665f4e3d2c1b0a998877665544332211ff";

fn in_container<T>(item: &Item<T>) -> bool {
    item.resource().text(names::CONTAINER_ID) == Some(CONTAINER)
}

fn processes(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "once")?;
    let count = context.many(PROCESSES);
    let script = ["processes", "--count", &count.to_string(), "--marker", "once"];
    let lines = scene.workload_in_container(CONTAINER, &script)?;
    ensure!(lines.len() == count, "the script started {} processes", lines.len());
    // The script itself execs and exits in the scope, and is forked outside of it.
    let expected = 3 * count + 2;
    scene
        .receiver
        .wait("log of every event", DEADLINE, |seen| (seen.logs.len() >= expected).then_some(()))?;
    balanced(&scene)?;
    scene.agent.terminate(FLUSH_DEADLINE)?;
    scene.receiver.look(|seen| {
        ensure!(seen.logs.len() == expected, "{} logs for {expected} events", seen.logs.len());
        ensure!(seen.logs.iter().all(in_container), "a log without its container");
        let by_process = index(seen);
        lines.iter().try_for_each(|line| one_process(line, &by_process).with_context(|| line.to_string()))
    })
}

/// The ledger shows no loss, and every record produced as received once the rings are drained.
fn balanced(scene: &Scene) -> anyhow::Result<()> {
    scene
        .agent
        .wait_ledger("balanced ledger", ARRIVAL, |ledger| ledger.nothing_lost().map(|()| true))
        .map(drop)
}

type ByProcess<'a> = HashMap<(&'a str, i64), Vec<&'a Item<LogRecord>>>;

fn index(seen: &Seen) -> ByProcess<'_> {
    let mut by_process = ByProcess::new();
    for log in &seen.logs {
        let pid = log.attributes().int(names::PID).unwrap_or(0);
        by_process.entry((&log.item.event_name, pid)).or_default().push(log);
    }
    by_process
}

fn one_process(line: &Value, by_process: &ByProcess<'_>) -> anyhow::Result<()> {
    let pid = i64::from(pair::pid(line)?);
    let only = |event| match by_process.get(&(event, pid)).map(Vec::as_slice) {
        Some([log]) => Ok(log.attributes()),
        other => Err(anyhow::anyhow!("{} of {event}", other.map_or(0, <[_]>::len))),
    };
    let (fork, exec, exit) = (only(names::FORK)?, only(names::EXEC)?, only(names::EXIT)?);
    for found in [fork, exec, exit] {
        let parent = found.int(names::PARENT_PID);
        ensure!(parent == line["parent"].as_i64(), "the parent is {parent:?}");
    }
    let arguments: Vec<_> =
        line["arguments"].as_array().context("arguments")?.iter().filter_map(Value::as_str).collect();
    let found = exec.texts(names::ARGS);
    ensure!(found.as_ref() == Some(&arguments), "the arguments are {found:?}");
    let code = exit.int(names::EXIT_CODE);
    ensure!(code == line["exit"].as_i64(), "the exit code is {code:?}");
    Ok(())
}

fn connections(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "once")?;
    let count = context.many(CONNECTIONS);
    let script = ["connections", "--count", &count.to_string()];
    let lines = scene.workload_in_container(CONTAINER, &script)?;
    ensure!(lines.len() == count, "the script made {} connections", lines.len());
    let ledger = at_rest(&scene.agent)?;
    ledger.nothing_lost()?;
    let skipped = ledger.count(SKIPPED, &[("program", "tcp")])?;
    scene.agent.terminate(FLUSH_DEADLINE)?;
    scene.receiver.look(|seen| {
        pairs::prove(seen, &lines, skipped)?;
        ensure!(seen.spans.iter().all(in_container), "a span without its container");
        let mut ids: Vec<_> = seen.spans.iter().map(|span| &span.item.span_id).collect();
        ids.sort_unstable();
        ids.dedup();
        ensure!(ids.len() == seen.spans.len(), "only {} different span ids", ids.len());
        Ok(())
    })
}
