//! Sweeps read sockets while they are being changed: none is taken for gone, and none counts wrong.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::ScopedJoinHandle;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::SCENE;
use crate::harness::accounts::at_rest;
use crate::harness::agent::Agent;
use crate::harness::cgroup::Cgroup;
use crate::harness::ledger::SKIPPED;
use crate::harness::pairs;
use crate::harness::receiver::Receiver;
use crate::harness::scene::{self, ARRIVAL};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] =
    &[Test { name: "sweep/busy_connections_are_never_taken_for_gone", needs: SCENE, run: busy }];

/// Short connections made meanwhile.
const SHORT: usize = 10_000;
/// Bytes that each of the long ones sends: several seconds' worth.
const LONG: usize = 8_000_000_000;
/// As often as the agent can be told to look on its own.
const OFTEN: &str = "flows: {interval: 1s}";

fn busy(context: &Context) -> anyhow::Result<()> {
    let (cgroup, receiver, folder) = (Cgroup::new("sweep")?, Receiver::start()?, tempfile::tempdir()?);
    let socket = folder.path().join("tarsier.sock");
    let agent = Agent::start_with(context, Some(cgroup.path()), &receiver.endpoint(), OFTEN, |command| {
        command.arg("--admin-socket").arg(&socket);
    })?;
    let work = |words: &[&str]| -> anyhow::Result<Vec<Value>> {
        scene::lines(scene::itest(&context.itest, cgroup.path(), &[&["workload"], words].concat())?)
    };
    let (short, long) = (context.many(SHORT).to_string(), context.many(LONG).to_string());
    let (short, long) = std::thread::scope(|scope| -> anyhow::Result<_> {
        let short = scope.spawn(|| work(&["connections", "--count", &short]));
        let long = [0, 1].map(|_| scope.spawn(|| work(&["large", "--bytes", &long])));
        while !long.iter().chain([&short]).all(ScopedJoinHandle::is_finished) {
            sweep(&socket)?;
        }
        let said = |work: ScopedJoinHandle<'_, anyhow::Result<Vec<Value>>>| match work.join() {
            Ok(said) => said,
            Err(_) => bail!("a workload panicked"),
        };
        let [first, second] = long.map(said);
        Ok((said(short)?, [first?, second?].concat()))
    })?;
    let ledger = at_rest(&agent)?;
    ledger.nothing_lost()?;
    let skipped = ledger.count(SKIPPED, &[("program", "tcp")])?;
    receiver.look(|seen| pairs::prove(seen, &[short, long].concat(), skipped))
}

/// Has the agent look at every connection: it does so for whoever asks, though not more often than it
/// makes an answer.
fn sweep(socket: &Path) -> anyhow::Result<()> {
    let stream = UnixStream::connect(socket).context("cannot connect to the admin socket")?;
    stream.set_read_timeout(Some(ARRIVAL))?;
    let length = BufReader::new(stream).read_line(&mut String::new())?;
    ensure!(length > 0, "the admin socket says nothing");
    Ok(())
}
