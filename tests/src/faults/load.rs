//! Many at once: twenty thousand processes, a hundred thousand sockets. All of them are told, once.

use super::{SCENE, workload};
use crate::harness::accounts::{Account, Done};
use crate::harness::netns;
use crate::harness::scene::{ARRIVAL, Dialogue, Scene};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "load/burst_of_20k_processes", needs: SCENE, run: processes },
    Test { name: "load/100k_sockets_at_once", needs: SCENE, run: sockets },
];

fn processes(context: &Context) -> anyhow::Result<()> {
    const WORKERS: usize = 4;
    let scene = Scene::new(context, "load")?;
    let each = context.many(20_000) / WORKERS;
    std::thread::scope(|scope| {
        let burst = || workload(context, &scene.cgroup, &["burst", "--count", &each.to_string()]);
        let bursts = [(); WORKERS].map(|()| scope.spawn(burst));
        bursts
            .into_iter()
            .try_for_each(|burst| burst.join().map_err(|_| anyhow::anyhow!("a burst panicked"))?.map(drop))
    })?;
    let done = (0..WORKERS).fold(Done::default(), |done, _| done + Done::burst(each));
    Account::state(&scene.agent, &scene.receiver, done).map(drop)
}

fn sockets(context: &Context) -> anyhow::Result<()> {
    // One process may not have so many descriptors.
    const WORKERS: usize = 10;
    let scene = Scene::new(context, "load")?;
    let each = context.many(50_000) / WORKERS;
    // Addresses and ports of a namespace of its own.
    let mut workers = netns::within(|| {
        let mut workers = Vec::new();
        for worker in 0..WORKERS {
            let (first, count) = ((worker * each).to_string(), each.to_string());
            let words = ["workload", "crowd", "--first", &first, "--count", &count];
            let mut worker = Dialogue::start(scene.itest(&words)?)?;
            worker.hear()?;
            workers.push(worker);
        }
        Ok(workers)
    })?;
    let all = (2 * each * WORKERS) as u64;
    scene.agent.wait_ledger("every socket held", ARRIVAL, |ledger| {
        Ok(ledger.count("tarsier_flows_live", &[])? == all)
    })?;
    workers.iter_mut().try_for_each(|worker| worker.say("close").map(drop))?;
    workers.into_iter().try_for_each(Dialogue::wait)?;
    let done = (0..WORKERS).fold(Done::default(), |done, _| done + Done::connections(each));
    Account::state(&scene.agent, &scene.receiver, done).map(drop)
}
