//! What `/proc` adds to processes that were there before the agent.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustc_hash::{FxHashMap, FxHashSet};
use tarsier_abi::TaskKey;

use super::root::Root;

/// The arguments of a running process, each ended by NUL; `None` if it is gone, is not ours to read, or
/// if `/proc` shows another process of that number: one that took it since, or, in a PID namespace
/// below the initial one, a stranger.
pub fn arguments(process: &TaskKey) -> Option<Vec<u8>> {
    let bytes = fs::read(format!("/proc/{}/cmdline", process.tgid)).ok()?;
    // Asked after reading: what was read is of no other process then.
    is_shown(process).then_some(bytes)
}

/// The root directory of a running process, by the `proc` of its PID namespace; `None` as for [`arguments`].
pub fn root(proc: &Path, process: &TaskKey) -> Option<Root> {
    let root = Root::open(&proc.join(format!("{}/root", process.tgid))).ok()?;
    is_shown_in(proc, process).then_some(root)
}

/// Whether `/proc` shows this process under its number.
fn is_shown(process: &TaskKey) -> bool {
    is_shown_in(Path::new("/proc"), process)
}

fn is_shown_in(proc: &Path, process: &TaskKey) -> bool {
    let stat = fs::read_to_string(proc.join(format!("{}/stat", process.tgid))).unwrap_or_default();
    // Field 22 counts clock ticks of 10 ms; the kernel rounds down.
    start_ticks(&stat).is_some_and(|ticks| ticks.abs_diff(process.start_boottime / 10_000_000) <= 1)
}

/// Field 22 of a `stat` file: start time in clock ticks since boot.
pub(crate) fn start_ticks(stat: &str) -> Option<u64> {
    // The name may hold anything; the fields count from its closing parenthesis.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// One open handle per network namespace, given each process's namespace inode number and pid.
pub fn network_namespaces(processes: impl Iterator<Item = (u32, u32)>) -> HashMap<u32, File> {
    let mut found = HashMap::new();
    for (namespace, tgid) in processes {
        if namespace == 0 || found.contains_key(&namespace) {
            continue;
        }
        // The process may be gone or replaced; the next one of the same namespace is tried then.
        if let Ok(file) = File::open(format!("/proc/{tgid}/ns/net"))
            && file.metadata().is_ok_and(|metadata| metadata.ino() == u64::from(namespace))
        {
            found.insert(namespace, file);
        }
    }
    found
}

/// Which process has each of the `wanted` sockets (inode numbers) open; the first one found, where
/// several share it.
pub fn socket_owners(
    processes: impl Iterator<Item = TaskKey>,
    wanted: &FxHashSet<u64>,
) -> FxHashMap<u64, TaskKey> {
    let mut owners = FxHashMap::default();
    for process in processes {
        if !is_shown(&process) {
            continue;
        }
        // Gone, or not ours to look at.
        let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", process.tgid)) else { continue };
        for descriptor in descriptors.flatten() {
            if let Some(inode) = socket_inode(&descriptor.path())
                && wanted.contains(&inode)
            {
                owners.entry(inode).or_insert(process);
            }
        }
        if owners.len() == wanted.len() {
            break;
        }
    }
    owners
}

/// `socket:[12345]` → 12345.
fn socket_inode(descriptor: &Path) -> Option<u64> {
    let target = fs::read_link(descriptor).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The agent's own network namespace: inode number and handle.
pub fn own_network_namespace() -> Option<(u32, File)> {
    let file = File::open("/proc/self/ns/net").ok()?;
    let number = u32::try_from(file.metadata().ok()?.ino()).ok()?;
    Some((number, file))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    fn own_key() -> TaskKey {
        let stat = fs::read_to_string("/proc/self/stat").expect("own stat");
        let start_boottime = start_ticks(&stat).expect("own start") * 10_000_000;
        TaskKey { start_boottime, tgid: std::process::id(), exec: 0 }
    }

    #[test]
    fn finds_who_holds_a_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let descriptor = format!("/proc/self/fd/{}", listener.as_raw_fd());
        let inode = socket_inode(Path::new(&descriptor)).expect("a socket");
        let me = own_key();
        let owners = socket_owners([me].into_iter(), &[inode, u64::MAX].into_iter().collect());
        assert_eq!(owners.into_iter().collect::<Vec<_>>(), [(inode, me)]);
    }

    #[test]
    fn reads_its_own_arguments() {
        let mine: Vec<u8> = std::env::args_os()
            .flat_map(|argument| [argument.into_encoded_bytes(), vec![0]].concat())
            .collect();
        assert_eq!(arguments(&own_key()), Some(mine));
        assert_eq!(arguments(&TaskKey { tgid: u32::MAX, ..own_key() }), None, "no such process");
        let stranger = TaskKey { start_boottime: 1, ..own_key() };
        assert_eq!(arguments(&stranger), None, "another process of that number");
    }
}
