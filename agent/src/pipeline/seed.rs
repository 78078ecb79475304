//! What was there before the agent: every process in scope, and the TCP sockets of every network
//! namespace that one of them is in.

use rustc_hash::{FxHashMap, FxHashSet};
use tarsier_core::event::tcp::{TcpEvent, What};
use tarsier_core::event::{Body, Event, exec};

use super::outlet::Outlet;
use super::stages::Stages;
use crate::host::processes;
use crate::kernel::Kernel;
use crate::kernel::selftest::{Findings, SelfTest};

/// `Header::seq` of the record of the agent's own process.
const SELF: u32 = 1;

/// Fills the tables, and compares what the iterators say of the agent itself with what it knows.
/// An iterator that fails costs the past, not the agent.
pub(super) fn seed(
    kernel: &mut Kernel,
    stages: &mut Stages,
    outlet: &mut Outlet,
    selftest: &SelfTest,
    scoped: bool,
) -> Findings {
    let mut findings = Findings::default();
    let tasks = kernel.seed_tasks(|record| {
        let Ok(event) = stages.decoder.decode_seed(record) else { return };
        let own = event.header.seq == SELF;
        if own && let Body::Exec(exec::Event::Exec(exec)) = &event.body {
            selftest.compare_process(exec, &mut findings);
        }
        // Its own process passes the kernel's filter for the self-test only.
        if !(own && scoped) {
            stages.apply(&event, outlet);
        }
    });
    if let Err(error) = tasks {
        tracing::warn!(%error, "processes older than the agent are not known");
    }
    fill_arguments(stages);
    let mut namespaces = processes::network_namespaces(
        stages.processes.live().map(|process| (process.image.ns.net, process.key.tgid)),
    );
    // The agent's own, for the self-test; in scope or not.
    if let Some((number, file)) = processes::own_network_namespace() {
        namespaces.entry(number).or_insert(file);
    }
    let mut sockets = FxHashMap::default();
    let mut failures = Vec::new();
    for file in namespaces.values() {
        let seeded = kernel.seed_sockets(file, |record| {
            let Ok(Event { header, body: Body::Tcp(event), .. }) = stages.decoder.decode_seed(record) else {
                return;
            };
            let TcpEvent::Socket { tuple, .. } = &event else { return };
            if selftest.is_own(tuple) {
                selftest.compare_socket(&event, &mut findings);
            } else {
                // Two processes may name one namespace by different files; a socket is taken once.
                sockets.entry(tuple.sock).or_insert((header.boot_ns, event));
            }
        });
        failures.extend(seeded.err());
    }
    // One line, however many namespaces: the reason is rarely another one.
    if let Some(error) = failures.first() {
        let (failed, all) = (failures.len(), namespaces.len());
        tracing::warn!(%error, failed, all, "connections older than the agent are not known in some network namespaces");
    }
    let mut sockets: Vec<(u64, TcpEvent)> = sockets.into_values().collect();
    name_owners(stages, &mut sockets);
    stages.seed_sockets(&sockets);
    findings
}

/// Arguments of other processes cannot be read by the iterator; `/proc` has them.
fn fill_arguments(stages: &mut Stages) {
    let keys: Vec<_> = stages.processes.live().map(|process| process.key).collect();
    for key in keys {
        if let Some(args) = processes::arguments(&key) {
            stages.processes.set_args(&key, args);
        }
    }
}

/// A socket does not know its process; the descriptor tables do.
fn name_owners(stages: &Stages, sockets: &mut [(u64, TcpEvent)]) {
    let wanted: FxHashSet<u64> = sockets.iter().filter_map(|(_, event)| inode_of(event)).collect();
    if wanted.is_empty() {
        return;
    }
    let tasks = stages.processes.live().map(|process| process.key);
    let owners = processes::socket_owners(tasks, &wanted);
    for (_, event) in sockets {
        let owner = inode_of(event).and_then(|inode| owners.get(&inode));
        if let (Some(owner), TcpEvent::Socket { what: What::Seed { task, .. }, .. }) = (owner, event) {
            *task = *owner;
        }
    }
}

fn inode_of(event: &TcpEvent) -> Option<u64> {
    match event {
        TcpEvent::Socket { what: What::Seed { inode, .. }, .. } if *inode != 0 => Some(*inode),
        _ => None,
    }
}
