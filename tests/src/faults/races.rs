//! Records that race each other: each process still begins, runs and ends once, as itself.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};

use super::{SCENE, workload};
use crate::harness::accounts::{Account, Done};
use crate::harness::names;
use crate::harness::pair;
use crate::harness::scene::Scene;
use crate::harness::seen::Seen;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "races/exit_and_exec", needs: SCENE, run: exit_and_exec },
    Test { name: "races/programs_that_replace_each_other", needs: SCENE, run: chains },
    Test { name: "races/a_pid_given_again_and_again", needs: SCENE, run: pid_reuse },
];

/// The exec ids of `event` of a process, in order of arrival.
fn ids<'a>(seen: &'a Seen, event: &str, pid: u32) -> Vec<&'a str> {
    let those = seen.logs.iter().filter(|log| log.is(event, pid));
    those.filter_map(|log| log.attributes().text(names::EXEC_ID)).collect()
}

fn exit_and_exec(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "races")?;
    let count = context.many(600);
    let lines = scene.workload(&["exit-and-exec", "--count", &count.to_string()])?;
    let programs = lines.iter().filter(|line| line["program"] == true).count() as u64;
    let processes = count as u64;
    let done = Done { forks: processes, execs: programs, exits: processes, ..Done::default() };
    Account::state(&scene.agent, &scene.receiver, done + Done::COMMAND)?;
    scene.receiver.look(|seen| {
        for line in &lines {
            let exit =
                seen.event(names::EXIT, pair::pid(line)?).with_context(|| format!("no exit of {line}"))?;
            let code = exit.attributes().int(names::EXIT_CODE);
            ensure!(code == line["exit"].as_i64(), "the exit code is {code:?}, not that of {line}");
            // The process that ends is the one that was started last.
            let last = ids(seen, names::EXEC, pair::pid(line)?).last().copied();
            let ended = exit.attributes().text(names::EXEC_ID);
            ensure!(last.is_none() || last == ended, "{line} began as {last:?} and ended as {ended:?}");
        }
        Ok(())
    })
}

fn chains(context: &Context) -> anyhow::Result<()> {
    const CHAINS: usize = 2;
    let scene = Scene::new(context, "races")?;
    let count = context.many(500);
    let pids = std::thread::scope(|scope| {
        let run = || workload(context, &scene.cgroup, &["chain", "--count", &count.to_string()]);
        let chains = [(); CHAINS].map(|()| scope.spawn(run));
        let said = chains.map(|chain| chain.join().map_err(|_| anyhow::anyhow!("a chain panicked"))?);
        said.into_iter().collect::<anyhow::Result<Vec<_>>>()
    })?;
    let execs = count as u64 * CHAINS as u64;
    let mut done = Done { execs, ..Done::default() };
    for _ in 0..CHAINS {
        done += Done::COMMAND;
    }
    Account::state(&scene.agent, &scene.receiver, done)?;
    scene.receiver.look(|seen| {
        for line in pids.iter().flatten() {
            let ids = ids(seen, names::EXEC, pair::pid(line)?);
            let different: BTreeSet<_> = ids.iter().collect();
            ensure!(different.len() == count + 1 && ids.len() == count + 1, "{} ids", different.len());
        }
        Ok(())
    })
}

fn pid_reuse(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "races")?;
    let count = context.many(300);
    let lines = scene.workload(&["pid-reuse", "--count", &count.to_string()])?;
    ensure!(lines.len() == count, "the workload started {} processes", lines.len());
    let lives = count as u64;
    // And the one that had the pid first.
    let done = Done { forks: lives + 1, execs: lives, exits: lives + 1, ..Done::default() };
    let account = Account::state(&scene.agent, &scene.receiver, done + Done::COMMAND)?;
    let anomalies = account.ledger.count("tarsier_process_anomalies_total", &[])?;
    ensure!(anomalies == 0, "{anomalies} anomalies:\n{}", account.ledger);
    let pid = pair::pid(&lines[0])?;
    scene.receiver.look(|seen| {
        let (execs, exits) = (ids(seen, names::EXEC, pid), ids(seen, names::EXIT, pid));
        let different: BTreeSet<_> = execs.iter().collect();
        ensure!(different.len() == count, "{} different executions of {count}", different.len());
        // The first exit is of the process that had the pid before.
        ensure!(exits.get(1..) == Some(&execs[..]), "what ends is not what began, one after the other");
        let codes = seen.logs.iter().filter(|log| log.is(names::EXIT, pid));
        let codes: Vec<_> = codes.skip(1).map(|log| log.attributes().int(names::EXIT_CODE)).collect();
        let expected: Vec<_> = lines.iter().map(|line| line["exit"].as_i64()).collect();
        ensure!(codes == expected, "exit codes {codes:?}");
        Ok(())
    })
}
