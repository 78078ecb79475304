//! A cgroup with a memory limit, in whichever hierarchy has the memory controller.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, bail};

use super::cgroup;
use crate::runner::Skip;

/// An empty group below the test's own. Whatever is inside must have ended before it is dropped.
#[derive(Debug)]
pub struct MemoryGroup {
    path: PathBuf,
    v2: bool,
}

impl MemoryGroup {
    /// Makes one that may hold `limit` bytes. Skips where no hierarchy has the controller.
    pub fn new(limit: u64) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (parent, v2) = parent()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("tarsier-test-memory-{}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let group = Self { path, v2 };
        let file = if v2 { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(group.path.join(file), limit.to_string()).with_context(|| format!("cannot set {file}"))?;
        Ok(group)
    }

    /// Makes `command` start inside.
    pub fn hold(&self, command: &mut Command) -> anyhow::Result<()> {
        cgroup::enter(command, &self.path)
    }

    /// Processes inside that the kernel has killed for want of memory (v1: since 4.13).
    pub fn killed(&self) -> anyhow::Result<u64> {
        let file = if self.v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.path.join(file))?;
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(line.with_context(|| format!("{file} tells of no oom_kill: {text}"))?.parse()?)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // An empty directory is all that stays if this fails.
        drop(fs::remove_dir(&self.path));
    }
}

/// The test's own group in the hierarchy that has the controller, and whether that is v2.
fn parent() -> anyhow::Result<(PathBuf, bool)> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let own = |is_it: fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            is_it(controllers).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let v1 = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - cgroup ")?;
        let has = after.split([' ', ',']).any(|option| option == "memory");
        has.then(|| before.split(' ').nth(4).map(PathBuf::from))?
    });
    if let Some((mount, path)) =
        v1.zip(own(|controllers| controllers.split(',').any(|name| name == "memory")))
    {
        return Ok((mount.join(path), false));
    }
    let path = own(str::is_empty).context("this process is in no v2 group")?;
    let parent = cgroup::mount()?.join(path);
    let controllers = fs::read_to_string(parent.join("cgroup.controllers"))?;
    if !controllers.split_whitespace().any(|name| name == "memory") {
        bail!(Skip("no hierarchy has the memory controller".to_owned()));
    }
    enable(&parent)?;
    Ok((parent, true))
}

/// Has the groups below count memory. Only the root may do that with processes inside.
fn enable(group: &Path) -> anyhow::Result<()> {
    fs::write(group.join("cgroup.subtree_control"), "+memory").context("cgroup.subtree_control")
}
