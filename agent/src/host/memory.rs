//! How much memory the agent uses, against what it may: its own limit and its cgroup's.

use std::fs;
use std::path::{Path, PathBuf};

/// What is used of what may be, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Used.
    pub used: u64,
    /// The limit.
    pub limit: u64,
}

impl Reading {
    /// Whether more than so many percent of the limit are used.
    pub fn exceeds(self, percent: u64) -> bool {
        u128::from(self.used) * 100 > u128::from(self.limit) * u128::from(percent)
    }
}

/// Reads usage against every limit there is. A look costs two small reads of `/proc` or a cgroup.
#[derive(Debug)]
pub struct Meter {
    own: Option<u64>,
    group: Option<Group>,
    /// Memory that is not the process's own but kept by it: the rings.
    rings: u64,
}

/// The cgroup whose limit is the nearest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    directory: PathBuf,
    files: &'static Files,
    limit: u64,
}

/// The memory controller's files, in v2 and in v1 (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
#[derive(Debug, PartialEq, Eq)]
struct Files {
    limit: &'static str,
    usage: &'static str,
    /// Lines of `memory.stat` that tell of file pages: the kernel takes them back before it kills.
    file_pages: [&'static str; 2],
}

const V2: Files =
    Files { limit: "memory.max", usage: "memory.current", file_pages: ["active_file", "inactive_file"] };
const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    file_pages: ["total_active_file", "total_inactive_file"],
};
/// v1 says "no limit" by a number close to 2^63.
const NO_LIMIT: u64 = 1 << 60;

impl Meter {
    /// Against `own`, a limit of the agent's own, and against its cgroup's, whichever there is. `rings` are the
    /// bytes of its rings.
    pub fn new(own: Option<u64>, rings: u64) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self { own, group: Group::find(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup")), rings }
    }

    /// Usage now against the limit that is the closest; `None` if there is none, or it cannot be read.
    pub fn look(&self) -> Option<Reading> {
        let own = self.own.and_then(|limit| Some(Reading { used: anonymous()? + self.rings, limit }));
        let group = self.group.as_ref().and_then(Group::look);
        let part = |reading: &Reading| reading.used as f64 / reading.limit as f64;
        own.into_iter().chain(group).max_by(|a, b| part(a).total_cmp(&part(b)))
    }
}

/// Heap and stacks of this process, bytes: resident pages that no file is behind.
fn anonymous() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split(' ').skip(1).map(|pages| pages.parse::<u64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    Some(resident.saturating_sub(shared) * super::usage::page_bytes())
}

impl Group {
    /// The group of this process, or the one above it, that has the lowest limit.
    fn find(mountinfo: &str, cgroup: &str) -> Option<Self> {
        let (mount, path, files) = locate(mountinfo, cgroup)?;
        let mut nearest: Option<Self> = None;
        for path in Path::new(&path).ancestors() {
            let directory = mount.join(path.strip_prefix("/").unwrap_or(path));
            let limit = number(&directory.join(files.limit)).filter(|limit| *limit < NO_LIMIT);
            if let Some(limit) = limit
                && nearest.as_ref().is_none_or(|nearest| limit < nearest.limit)
            {
                nearest = Some(Self { directory, files, limit });
            }
        }
        nearest
    }

    fn look(&self) -> Option<Reading> {
        // It may have been changed: a limit is raised in place.
        let limit = number(&self.directory.join(self.files.limit)).unwrap_or(self.limit).max(1);
        let used = number(&self.directory.join(self.files.usage))?;
        let reading = Reading { used, limit };
        // The statistics cost more: only where it matters.
        if !reading.exceeds(50) {
            return Some(reading);
        }
        let stat = fs::read_to_string(self.directory.join("memory.stat")).unwrap_or_default();
        let pages = stat.lines().filter_map(|line| line.split_once(' '));
        let pages = pages.filter(|(name, _)| self.files.file_pages.contains(name));
        let file = pages.filter_map(|(_, bytes)| bytes.parse::<u64>().ok()).sum();
        Some(Reading { used: used.saturating_sub(file), limit })
    }
}

/// Where the memory controller is mounted, and which of its groups this process is in: v2 where v2 has it.
fn locate(mountinfo: &str, cgroup: &str) -> Option<(PathBuf, String, &'static Files)> {
    let group = |is_it: fn(&str) -> bool| {
        cgroup.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            is_it(controllers).then(|| fields.next().map(str::to_owned))?
        })
    };
    // (root within the hierarchy, mount point) of the first mount of a type, with a super option.
    let mount = |wanted: &str, option: Option<&str>| {
        mountinfo.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut before = before.split(' ').skip(3);
            let (root, point) = (before.next()?, before.next()?);
            let mut after = after.split(' ');
            let kind = after.next()?;
            let options = after.nth(1)?;
            let has = option.is_none_or(|option| options.split(',').any(|known| known == option));
            (kind == wanted && has).then_some((root, point))
        })
    };
    let v1 = mount("cgroup", Some("memory"))
        .zip(group(|controllers| controllers.split(',').any(|name| name == "memory")))
        .map(|found| (found, &V1));
    let v2 = mount("cgroup2", None).zip(group(str::is_empty)).map(|found| (found, &V2));
    // Where v1 has the controller, v2 does not.
    let (((root, point), path), files) = v1.or(v2)?;
    // In a container, what is mounted may begin at its own group.
    let path = path.strip_prefix(root.trim_end_matches('/')).unwrap_or(&path).to_owned();
    Some((PathBuf::from(point), path, files))
}

/// A number in a file; `None` for `max`.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Gives memory that was freed back to the kernel. glibc keeps it otherwise, in the midst of its heap too.
#[cfg(target_env = "gnu")]
pub fn give_back() {
    // SAFETY: no precondition; it takes the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give it back by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}

/// What the allocator keeps of the memory that was freed, bytes, as far as it says.
#[cfg(target_env = "gnu")]
pub fn kept() -> usize {
    // SAFETY: no precondition; it takes the allocator's own locks.
    unsafe { libc::mallinfo2() }.fordblks
}

/// What the allocator keeps of the memory that was freed, bytes, as far as it says.
#[cfg(not(target_env = "gnu"))]
pub fn kept() -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2_MOUNT: &str = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1_MOUNT: &str = "32 24 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                            33 24 0:29 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    #[test]
    fn the_controller_is_found_where_it_is() {
        let found = |mounts: &str, groups: &str| {
            locate(mounts, groups)
                .map(|(mount, path, files)| (mount.display().to_string(), path, files.usage))
        };
        let v2 = found(V2_MOUNT, "0::/kubepods/pod1/c1\n");
        assert_eq!(v2, Some(("/sys/fs/cgroup".into(), "/kubepods/pod1/c1".into(), "memory.current")));
        let hybrid = found(&format!("{V1_MOUNT}{V2_MOUNT}"), "9:pids:/a\n4:memory:/docker/x/y\n0::/b\n");
        assert_eq!(
            hybrid,
            Some(("/sys/fs/cgroup/memory".into(), "/y".into(), "memory.usage_in_bytes")),
            "v1 has the controller"
        );
        assert_eq!(found("", "0::/\n"), None);
    }

    #[test]
    fn the_nearest_limit_counts_and_file_pages_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::write(folder.path().join("a/memory.max"), "1000\n").unwrap();
        fs::write(folder.path().join("a/memory.current"), "900\n").unwrap();
        fs::write(folder.path().join("a/memory.stat"), "anon 500\nactive_file 100\ninactive_file 250\n")
            .unwrap();
        fs::write(below.join("memory.max"), "max\n").unwrap();
        let mount = format!("30 23 0:26 / {} rw - cgroup2 none rw\n", folder.path().display());
        let group = Group::find(&mount, "0::/a/b\n").unwrap();
        assert_eq!(group.look(), Some(Reading { used: 550, limit: 1000 }));
        assert_eq!(Group::find(&mount, "0::/\n"), None);
    }

    #[test]
    fn a_limit_of_its_own_is_measured_by_what_it_allocates() {
        let meter = Meter { own: Some(1 << 40), group: None, rings: 7 << 20 };
        let before = meter.look().unwrap();
        let block = std::hint::black_box(vec![1_u8; 32 << 20]);
        let after = meter.look().unwrap();
        assert!(after.used >= before.used + (24 << 20), "{before:?}, then {after:?}");
        drop(block);
        assert!(before.used > 7 << 20);
    }
}
