//! What `/proc` adds to processes that were there before the agent.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

/// The arguments of a running process, boundaries kept; `None` if it is gone or is not ours to read.
pub fn arguments(tgid: u32) -> Option<Vec<Box<[u8]>>> {
    let bytes = fs::read(format!("/proc/{tgid}/cmdline")).ok()?;
    let body = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    Some(body.split(|byte| *byte == 0).map(Into::into).collect())
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

/// The agent's own network namespace: inode number and handle.
pub fn own_network_namespace() -> Option<(u32, File)> {
    let file = File::open("/proc/self/ns/net").ok()?;
    let number = u32::try_from(file.metadata().ok()?.ino()).ok()?;
    Some((number, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_arguments() {
        let mine: Vec<Vec<u8>> = std::env::args_os().map(|arg| arg.into_encoded_bytes()).collect();
        let read = arguments(std::process::id()).expect("own cmdline");
        assert_eq!(read.iter().map(|arg| arg.to_vec()).collect::<Vec<_>>(), mine);
        assert_eq!(arguments(u32::MAX), None);
    }
}
