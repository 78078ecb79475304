//! Five hundred containers, all alive at once: every event belongs to the right one.

use std::collections::HashMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use tarsier_abi::Sensor;

use super::{RUNC, id, in_pod};
use crate::harness::accounts::{at_rest, skipped};
use crate::harness::ledger::PRODUCED;
use crate::harness::runc::{Runtime, kill};
use crate::harness::scene::Scene;
use crate::harness::seen::Seen;
use crate::harness::{exit, names};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] =
    &[Test { name: "containers/five_hundred_at_once", needs: RUNC, run: at_once }];

/// Containers alive at once.
const CONTAINERS: usize = 500;
/// In a guest runc takes seconds.
const CONTAINERS_EMULATED: usize = 10;
/// How many runcs at a time.
const STARTERS: usize = 4;
/// All of it has arrived by then.
const DEADLINE: Duration = Duration::from_secs(60);

fn at_once(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "crowd")?;
    let runtime = Runtime::new(context)?;
    let begin = Instant::now();
    let count = if context.emulated { CONTAINERS_EMULATED } else { CONTAINERS };
    let pids = start_all(&scene, &runtime, count)?;
    let started = begin.elapsed();
    for (pid, id) in &pids {
        let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).context("a container ended")?;
        ensure!(group.contains(id.as_str()), "{id} is in {group}");
    }
    // Started is not yet there: runc does not wait for what the shell does.
    pids.keys().try_for_each(|pid| stays(*pid))?;
    let processes: Vec<_> =
        pids.keys().map(|pid| exit::Process::open(*pid)).collect::<anyhow::Result<_>>()?;
    pids.keys().try_for_each(|pid| kill(*pid))?;
    processes.iter().try_for_each(|process| process.ended(DEADLINE))?;
    let ledger = at_rest(&scene.agent)?;
    ledger.nothing_lost()?;
    let of = |sensor| ledger.sum(PRODUCED, &[("sensor", sensor)]);
    let produced = (of("fork")? + of("exec")? + of("exit")?) as usize;
    let starts = if context.emulated { STARTS_EMULATED } else { STARTS };
    let skipped = [Sensor::Fork, Sensor::Exec, Sensor::Exit].map(|sensor| skipped(&ledger, sensor));
    let skipped = skipped.into_iter().sum::<anyhow::Result<u64>>()?;
    context.note(
        "crowd",
        json!({ "containers": pids.len(), "records": produced, "start_ms": started.as_millis() as u64 }),
    );
    scene.receiver.look(|seen| {
        ensure!(seen.logs.len() == produced, "{} logs for {produced} records", seen.logs.len());
        attributed(seen, &pids, starts, skipped)
    })
}

/// Waits until the shell has become the program that stays. The kernel tells nobody but the agent of an exec, so
/// this must look again and again.
fn stays(pid: u32) -> anyhow::Result<()> {
    let end = Instant::now() + DEADLINE;
    loop {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).context("a container ended")?;
        if name.trim_end() == "sleep" {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{pid} is {name} after {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts `count` containers; the pid of each one's first process, and its id.
fn start_all(scene: &Scene, runtime: &Runtime, count: usize) -> anyhow::Result<HashMap<u32, String>> {
    let (next, pids) = (AtomicUsize::new(0), Mutex::new(HashMap::new()));
    let starter = || -> anyhow::Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            let id = id(number);
            let group = scene.cgroup.path().join(in_pod(&id));
            // The shell runs a program that is told the id, then becomes the one that stays.
            let args = ["sh", "-c", "/bin/true $0; exec sleep 1000", &id];
            let pid = runtime.container(&id, &group, &args)?.start()?;
            pids.lock().map_err(|_| anyhow::anyhow!("another starter panicked"))?.insert(pid, id);
        }
    };
    std::thread::scope(|scope| {
        let starters: Vec<_> = (0..STARTERS).map(|_| scope.spawn(starter)).collect();
        for starter in starters {
            match starter.join() {
                Ok(result) => result?,
                Err(_) => bail!("a starter panicked"),
            }
        }
        anyhow::Ok(())
    })?;
    pids.into_inner().map_err(|_| anyhow::anyhow!("a starter panicked"))
}

type Log = crate::harness::seen::Item<opentelemetry_proto::tonic::logs::v1::LogRecord>;

fn pid_of(log: &Log) -> Option<u32> {
    log.attributes().int(names::PID).and_then(|pid| u32::try_from(pid).ok())
}

/// What came of one container's two processes, and of runc's helpers in its group.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Forks, execs, exits.
    own: [usize; 3],
    /// Execs of the program that was told the id.
    told: usize,
    helpers: [usize; 3],
}

/// How often `runc init` starts its program. It will not run from a file that the container could write, so it starts
/// again from a bind mount that is read-only. Where the file has no seals, it then finds that enough. Files
/// of a tmpfs have some, as a memfd has, but not those it asks for; so it starts a third time, from a sealed
/// copy (runc, libcontainer/nsenter/cloned_binary.c, `is_self_cloned` and `clone_binary`). The root of a guest is a tmpfs.
const STARTS: usize = 2;
const STARTS_EMULATED: usize = 3;

/// An error unless every record names a container, the first processes' records name theirs, and every
/// container has the same account, but for what the kernel's `skipped` runs explain. `starts`: of `runc init`.
fn attributed(seen: &Seen, pids: &HashMap<u32, String>, starts: usize, skipped: u64) -> anyhow::Result<()> {
    let mut accounts: HashMap<&str, Account> =
        pids.values().map(|id| (id.as_str(), Account::default())).collect();
    for log in &seen.logs {
        let found = log.attributes();
        let id = log.resource().text(names::CONTAINER_ID);
        let id = id.with_context(|| format!("no container: {log:?}"))?;
        let account = accounts.get_mut(id).with_context(|| format!("an unknown container: {log:?}"))?;
        let own = pid_of(log).and_then(|pid| pids.get(&pid));
        let parents = found.int(names::PARENT_PID).and_then(|pid| pids.get(&u32::try_from(pid).ok()?));
        let arguments = found.texts(names::ARGS).unwrap_or_default();
        if arguments.first() == Some(&"/bin/true") {
            ensure!(arguments == ["/bin/true", id], "{id} has an exec of {arguments:?}");
            account.told += 1;
        }
        let kind =
            [names::FORK, names::EXEC, names::EXIT].iter().position(|name| log.item.event_name == *name);
        let kind = kind.with_context(|| format!("not an event of a process: {log:?}"))?;
        match own.or(parents) {
            Some(owner) => {
                ensure!(owner == id, "a record of {owner} is told as {id}'s: {log:?}");
                account.own[kind] += 1;
            }
            None => account.helpers[kind] += 1,
        }
    }
    let mut missing = 0;
    for (id, account) in accounts {
        let Account { own: [forks, execs, exits], told, helpers } = account;
        // The first process and its child; shell, program, the one that stays. One helper is forked in the
        // group. Another is moved into it while runc starts.
        let found = [(2_usize, forks), (3, execs), (2, exits), (1, helpers[0]), (2, helpers[2])];
        let few = found.iter().map(|(due, found)| due.checked_sub(*found));
        let few: Option<usize> = few.sum();
        missing += few.with_context(|| format!("more than there was: {id}: {account:?}"))?;
        ensure!(told == 1 || (told == 0 && execs < 3), "{id}: {account:?}");
        // As many of its execs as come after that are inside.
        ensure!(helpers[1] <= starts, "{id}: {account:?}");
    }
    ensure!(
        missing as u64 <= skipped,
        "{missing} records are missing, and the kernel skipped {skipped} runs"
    );
    Ok(())
}
