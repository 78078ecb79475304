//! What was there before the agent: processes from the task iterator, sockets from the tcp iterator of
//! each network namespace.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use tarsier_abi::tcp::SeedRecord;

use super::load::Kernel;
use super::refusal::chain;

/// A seed pass failed; what it would have told is not known.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct SeedError {
    what: &'static str,
    reason: String,
}

impl SeedError {
    fn new(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Self { what, reason: reason.to_string() }
    }
}

impl Kernel {
    /// Calls `each` with one exec record (`Op::Seed`) per process in scope.
    pub fn seed_tasks(&mut self, mut each: impl FnMut(&[u8])) -> Result<(), SeedError> {
        let bytes = self.iterate("seed_tasks").map_err(|reason| SeedError::new("task iterator", reason))?;
        let mut rest = bytes.as_slice();
        while let Some((len, after)) = rest.split_first_chunk::<8>() {
            let len = usize::try_from(u64::from_ne_bytes(*len)).unwrap_or(usize::MAX);
            let Some((record, after)) = after.split_at_checked(len) else { break };
            each(record);
            rest = after;
        }
        Ok(())
    }

    /// Calls `each` with one record (`Op::Seed`) per TCP socket in scope of the network namespace
    /// that `namespace` (an open `/proc/PID/ns/net`) names.
    pub fn seed_sockets(&mut self, namespace: &File, mut each: impl FnMut(&[u8])) -> Result<(), SeedError> {
        // The iterator's file belongs to the namespace of the thread that makes it; a thread of its own
        // enters it, so that the agent's threads stay where they are.
        let bytes = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    // Entering takes CAP_SYS_ADMIN, which being there already does not.
                    if !is_own(namespace) {
                        // SAFETY: an open descriptor; changes this thread only.
                        if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                            return Err(std::io::Error::last_os_error().to_string());
                        }
                    }
                    self.iterate("seed_sockets")
                })
                .join()
                .unwrap_or_else(|_| Err("the thread panicked".to_owned()))
        });
        let bytes = bytes.map_err(|reason| SeedError::new("tcp iterator", reason))?;
        bytes.chunks_exact(size_of::<SeedRecord>()).for_each(&mut each);
        Ok(())
    }

    /// Runs an iterator to its end.
    fn iterate(&mut self, name: &str) -> Result<Vec<u8>, String> {
        let program = self.iterator(name).ok_or("not in the object")?;
        let link = program.attach().map_err(|error| chain(&error))?;
        let link = program.take_link(link).map_err(|error| chain(&error))?;
        let mut file = link.into_file().map_err(|error| chain(&error))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

/// Whether `namespace` is the one that this process is in. Not known counts as no.
fn is_own(namespace: &File) -> bool {
    let place = |file: std::io::Result<std::fs::Metadata>| file.ok().map(|file| (file.dev(), file.ino()));
    let own = place(std::fs::metadata("/proc/self/ns/net"));
    own.is_some() && own == place(namespace.metadata())
}
