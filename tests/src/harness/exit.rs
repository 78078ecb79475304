//! Waiting for a child process to end, as an event.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Waits until `child` ends; an error if it has not by then.
pub fn wait(child: &mut Child, deadline: Duration) -> anyhow::Result<ExitStatus> {
    let raw = i32::try_from(child.id()).context("pids fit in i32")?;
    let pid = Pid::from_raw(raw).context("a child has a pid")?;
    // The child is not reaped before `wait` below, so its pid cannot have gone to someone else.
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open")?;
    if !readable(&pidfd, PollFlags::IN, deadline)? {
        bail!("process {raw} is still running after {deadline:?}");
    }
    Ok(child.wait()?)
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
