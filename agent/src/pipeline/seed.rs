//! What was there before the agent: every process in scope, and the TCP sockets of every network
//! namespace that one of them is in.

use rustc_hash::{FxHashMap, FxHashSet};
use tarsier_abi::TaskKey;
use tarsier_core::decode::Decoder;
use tarsier_core::event::tcp::{TcpEvent, What};
use tarsier_core::event::{Body, Event, exec};

use super::Feed;
use crate::capture::Frame;
use crate::host::processes;
use crate::kernel::Kernel;
use crate::kernel::selftest::{Findings, SelfTest};

/// `Header::seq` of the record of the agent's own process.
const SELF: u32 = 1;

/// A socket that was found: its record, and the inode by which descriptor tables name it.
struct Found {
    inode: u64,
    record: Vec<u8>,
}

/// Fills the tables, and compares what the iterators say of the agent itself with what it knows.
/// An iterator that fails costs the past, not the agent.
pub(super) fn seed(kernel: &mut Kernel, feed: &mut Feed, selftest: &SelfTest, scoped: bool) -> Findings {
    let mut findings = Findings::default();
    // Looks at what the pipeline decodes, and counts, for itself.
    let mut decoder = Decoder::new(0);
    let tasks = kernel.seed_tasks(|record| {
        let mut own = false;
        if let Ok(Event { header, body: Body::Exec(exec::Event::Exec(exec)), .. }) =
            decoder.decode_seed(record)
            && header.seq == SELF
        {
            own = true;
            selftest.compare_process(&exec, &mut findings);
        }
        // Its own process passes the kernel's filter for the self-test only.
        if !(own && scoped) {
            feed.frame(&Frame::Process(record));
        }
    });
    if let Err(error) = tasks {
        tracing::warn!(%error, "processes older than the agent are not known");
    }
    fill_arguments(feed);
    let live = feed.engine.stages.processes.live();
    let mut namespaces =
        processes::network_namespaces(live.map(|process| (process.image.ns.net, process.key.tgid)));
    // The agent's own, for the self-test; in scope or not.
    if let Some((number, file)) = processes::own_network_namespace() {
        namespaces.entry(number).or_insert(file);
    }
    // In the iterator's order: listeners first, then what they have accepted.
    let (mut sockets, mut known) = (Vec::new(), FxHashSet::default());
    let mut failures = Vec::new();
    for file in namespaces.values() {
        let seeded = kernel.seed_sockets(file, |record| {
            let Ok(Event { body: Body::Tcp(event), .. }) = decoder.decode_seed(record) else { return };
            let TcpEvent::Socket { tuple, what: What::Seed { inode, .. }, .. } = &event else { return };
            if selftest.is_own(tuple) {
                selftest.compare_socket(&event, &mut findings);
            } else if known.insert(tuple.sock) {
                // Two processes may name one namespace by different files; a socket is taken once.
                sockets.push(Found { inode: *inode, record: record.to_vec() });
            }
        });
        failures.extend(seeded.err());
    }
    // One line, however many namespaces: the reason is rarely another one.
    if let Some(error) = failures.first() {
        let (failed, all) = (failures.len(), namespaces.len());
        tracing::warn!(%error, failed, all, "connections older than the agent are not known in some network namespaces");
    }
    let owners = owners(feed, &sockets);
    for Found { inode, record } in &sockets {
        let owner = owners.get(inode).copied().unwrap_or(TaskKey::NONE);
        feed.frame(&Frame::Socket { owner, record });
    }
    findings
}

/// Arguments of other processes cannot be read by the iterator; `/proc` has them.
fn fill_arguments(feed: &mut Feed) {
    let keys: Vec<_> = feed.engine.stages.processes.live().map(|process| process.key).collect();
    for task in keys {
        if let Some(bytes) = processes::arguments(&task) {
            feed.frame(&Frame::Arguments { task, bytes: &bytes });
        }
    }
}

/// A socket does not know its process; the descriptor tables do.
fn owners(feed: &Feed, sockets: &[Found]) -> FxHashMap<u64, TaskKey> {
    let wanted: FxHashSet<u64> =
        sockets.iter().map(|found| found.inode).filter(|inode| *inode != 0).collect();
    if wanted.is_empty() {
        return FxHashMap::default();
    }
    let tasks = feed.engine.stages.processes.live().map(|process| process.key);
    processes::socket_owners(tasks, &wanted)
}
