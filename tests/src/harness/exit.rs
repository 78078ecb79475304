//! Waiting for a process to end, as an event.

use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Waits until `child` ends; an error if it has not by then.
pub fn wait(child: &mut Child, deadline: Duration) -> anyhow::Result<ExitStatus> {
    // The child is not reaped before `wait` below, so its pid cannot have gone to someone else.
    Process::open(child.id())?.ended(deadline)?;
    Ok(child.wait()?)
}

/// A process, whoever's child it is.
pub struct Process {
    pid: u32,
    descriptor: OwnedFd,
}

impl Process {
    /// The one that has `pid` now.
    pub fn open(pid: u32) -> anyhow::Result<Self> {
        let raw = i32::try_from(pid).context("pids fit in i32")?;
        let raw = Pid::from_raw(raw).context("0 is no process")?;
        let descriptor = pidfd_open(raw, PidfdFlags::empty()).context("pidfd_open")?;
        Ok(Self { pid, descriptor })
    }

    /// Waits until it ends; an error if it has not by then.
    pub fn ended(&self, deadline: Duration) -> anyhow::Result<()> {
        if readable(&self.descriptor, PollFlags::IN, deadline)? {
            return Ok(());
        }
        bail!("process {} is still running after {deadline:?}", self.pid)
    }
}

/// Waits until one of `flags` holds on `fd`; false at the deadline.
pub fn readable(fd: impl std::os::fd::AsFd, flags: PollFlags, deadline: Duration) -> anyhow::Result<bool> {
    let end = Instant::now() + deadline;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut fds = [PollFd::new(&fd, flags)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
    }
}
