//! Eyes on the kernel: which BPF programs a process holds, and whether they are still there.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// `enum bpf_cmd` of include/uapi/linux/bpf.h.
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;

/// The ids of the BPF programs that process `pid` holds, by its descriptors of programs and links.
/// Only its own: other agents on this machine are none of the test's business.
pub fn held_by(pid: u32) -> anyhow::Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
        // A descriptor may be closed while we look.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        let id: Option<u32> =
            text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok());
        ids.extend(id);
    }
    Ok(ids)
}

/// Whether the kernel still has program `id`.
pub fn exists(id: u32) -> anyhow::Result<bool> {
    // The head of `union bpf_attr` for this command: prog_id, next_id, open_flags.
    let attr = [id, 0, 0];
    let size = size_of_val(&attr);
    // SAFETY: the kernel reads `size` bytes of `attr` during the call and keeps no reference.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_GET_FD_BY_ID, attr.as_ptr(), size) };
    if result >= 0 {
        let fd = libc::c_int::try_from(result).context("a descriptor")?;
        // SAFETY: the kernel has just opened `fd` for us; nobody else owns it.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOENT) => Ok(false),
        _ => Err(error).context("BPF_PROG_GET_FD_BY_ID"),
    }
}

/// Waits until none of `ids` exists. The kernel frees programs after a grace period and tells nobody,
/// so this is one of the few places that must look again and again.
pub fn wait_gone(ids: &BTreeSet<u32>, deadline: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + deadline;
    for &id in ids {
        while exists(id)? {
            if Instant::now() >= end {
                bail!("BPF program {id} is still there after {deadline:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}
