//! Cgroups of the test's own: whatever a test starts lives in one, so that the agent under test can
//! be told to look at nothing else.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::event::PollFlags;
use rustix::process::{Pid, Signal, kill_process};

use super::exit;

/// Every group of ours begins so; the pid of the test process follows.
const PREFIX: &str = "tarsier-test-";
/// How long killed processes may take to leave their group.
const EMPTY_DEADLINE: Duration = Duration::from_secs(10);

/// A group at the root of the v2 hierarchy. Dropping it kills what is inside and removes it, with
/// all groups below.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes an empty group; `stem` shows in its name.
    pub fn new(stem: &str) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = mount()?.join(format!("{PREFIX}{}-{stem}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a group below, parents included; it goes with this one.
    pub fn below(&self, path: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(path);
        fs::create_dir_all(&path).with_context(|| format!("cannot make cgroup {}", path.display()))?;
        Ok(path)
    }

    /// The kernel's id of the group: the inode number of its directory.
    pub fn id(&self) -> io::Result<u64> {
        use std::os::unix::fs::MetadataExt as _;
        Ok(fs::metadata(&self.path)?.ino())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Nothing to be done about a failure here; the next run's janitor tries again.
        drop(remove(&self.path));
    }
}

/// Makes `command` start in the group at `path`: the child enters it between fork and exec, so its
/// exec, and not its fork, happens inside.
pub fn enter(command: &mut Command, path: &Path) -> anyhow::Result<()> {
    Door::of(path)?.lead(command);
    Ok(())
}

/// The way into a group for any number of commands.
#[derive(Clone, Debug)]
pub struct Door(Arc<File>);

impl Door {
    /// That of the group at `path`.
    pub fn of(path: &Path) -> anyhow::Result<Self> {
        let procs = File::options().write(true).open(path.join("cgroup.procs"));
        Ok(Self(Arc::new(procs.with_context(|| format!("cannot open {}/cgroup.procs", path.display()))?)))
    }

    /// As [`enter`].
    pub fn lead(&self, command: &mut Command) {
        let procs = Arc::clone(&self.0);
        // SAFETY: between fork and exec the closure only makes one write system call, on a descriptor that
        // it owns a share of, with a constant buffer: nothing that could take a lock or allocate.
        unsafe { command.pre_exec(move || Ok(rustix::io::write(&*procs, b"0").map(drop)?)) };
    }
}

/// Where the v2 hierarchy is mounted, found by file system type.
pub fn mount() -> anyhow::Result<PathBuf> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").context("cannot read mountinfo")?;
    parse_mountinfo(&mountinfo).context("no cgroup v2 hierarchy is mounted")
}

fn parse_mountinfo(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let is_v2 = after.split(' ').next() == Some("cgroup2");
        is_v2.then(|| before.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

/// The janitor: removes the groups of test runs that did not live to do it themselves.
pub fn remove_leftovers() {
    let Ok(entries) = mount().and_then(|root| Ok(fs::read_dir(root)?)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        let Some(pid) = pid else { continue };
        if !Path::new("/proc").join(pid).exists() {
            drop(remove(&entry.path()));
        }
    }
}

/// Kills everything in the group at `path` and below, then removes the directories, deepest first.
fn remove(path: &Path) -> anyhow::Result<()> {
    let groups = tree(path)?;
    let end = Instant::now() + EMPTY_DEADLINE;
    for group in groups.iter().rev() {
        empty(group, end)?;
        fs::remove_dir(group)?;
    }
    Ok(())
}

/// The group and all below, parents first.
fn tree(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut groups = vec![path.to_owned()];
    let mut next = 0;
    while let Some(group) = groups.get(next).cloned() {
        for entry in fs::read_dir(group)?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                groups.push(entry.path());
            }
        }
        next += 1;
    }
    Ok(groups)
}

/// Kills until nothing is left, woken by the group's own event file. `cgroup.kill` would be simpler
/// but is not there before 5.14.
fn empty(group: &Path, end: Instant) -> anyhow::Result<()> {
    loop {
        let events = File::open(group.join("cgroup.events"))?;
        if !io::read_to_string(&events)?.contains("populated 1") {
            return Ok(());
        }
        for pid in fs::read_to_string(group.join("cgroup.procs"))?.lines() {
            if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                // A process that is gone already is what we want.
                kill_process(pid, Signal::KILL).ok();
            }
        }
        let left = end.saturating_duration_since(Instant::now());
        // A child forked while we killed its parent makes no new event: look again soon.
        let step = left.min(Duration::from_millis(100));
        exit::readable(events.as_fd(), PollFlags::PRI, step)?;
        if left.is_zero() {
            bail!("{} still has processes", group.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_v2_mount_by_type_wherever_it_is() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 any-name rw\n";
        assert_eq!(parse_mountinfo(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(parse_mountinfo("31 23 0:28 / /sys/fs/cgroup2 rw - tmpfs cgroup2 rw\n"), None);
    }
}
