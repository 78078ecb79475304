//! The cgroup tree: which hierarchy names containers here, its groups by id, and scopes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which kinds of hierarchy are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// v2 only.
    Unified,
    /// v1 controllers beside a v2 tree that processes are in as well.
    Hybrid,
    /// v1 only.
    Legacy,
}

impl Layout {
    /// The layout's name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unified => "v2",
            Self::Hybrid => "hybrid",
            Self::Legacy => "v1",
        }
    }
}

/// The hierarchy that names containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// What is mounted.
    pub layout: Layout,
    /// Its mount point.
    pub mount: PathBuf,
    /// The v1 controller whose tree it is; `None` = v2.
    pub controller: Option<String>,
    /// `hierarchy_id`: 0 for v2, as in `/proc/cgroups` for v1.
    pub id: u32,
}

/// A cgroup found by walking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// kernfs id: the directory's inode number.
    pub id: u64,
    /// The parent's; 0 at the root.
    pub parent: u64,
    /// Path from the hierarchy's root, with a leading slash.
    pub path: String,
}

/// What cannot be had from the cgroup file systems.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No cgroup file system at all.
    #[error("no cgroup file system is mounted: mount cgroup2 on /sys/fs/cgroup")]
    NotMounted,
    /// `/proc/self/mountinfo` or `/proc/cgroups` is not readable.
    #[error("{path}: {error}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A scope that is no cgroup of the v2 hierarchy.
    #[error(
        "scope {path}: not a cgroup below {mount}: give a path such as {mount}/system.slice or /system.slice"
    )]
    BadScope {
        /// As given.
        path: PathBuf,
        /// The v2 mount point.
        mount: PathBuf,
    },
    /// Scopes are tested on the v2 hierarchy in the kernel.
    #[error("a scope needs the v2 hierarchy, and none is mounted here")]
    ScopeNeedsV2,
}

/// v1 controllers that container runtimes always join, best first.
const CONTROLLERS: [&str; 5] = ["memory", "pids", "devices", "freezer", "cpu"];

impl Hierarchy {
    /// Finds it from what is mounted.
    pub fn find() -> Result<Self, CgroupError> {
        let mounts = read("/proc/self/mountinfo")?;
        let controllers = read("/proc/cgroups").unwrap_or_default();
        Self::choose(&mounts, &controllers).ok_or(CgroupError::NotMounted)
    }

    pub(crate) fn choose(mountinfo: &str, controllers: &str) -> Option<Self> {
        let mounts: Vec<(&str, &str, &str)> = mountinfo.lines().filter_map(mount).collect();
        let v1 = |name: &str| {
            mounts.iter().find(|(_, kind, options)| {
                *kind == "cgroup" && options.split(',').any(|option| option == name)
            })
        };
        let unified = mounts.iter().find(|(_, kind, _)| *kind == "cgroup2");
        if let Some((path, _, _)) = unified {
            let any_v1 = mounts.iter().any(|(_, kind, _)| *kind == "cgroup");
            let layout = if any_v1 { Layout::Hybrid } else { Layout::Unified };
            return Some(Self { layout, mount: PathBuf::from(path), controller: None, id: 0 });
        }
        let (name, (path, _, _)) = CONTROLLERS.iter().find_map(|name| Some((*name, v1(name)?)))?;
        let id = controllers.lines().find_map(|line| {
            let mut fields = line.split_whitespace();
            (fields.next() == Some(name)).then(|| fields.next()?.parse().ok())?
        })?;
        let controller = Some(name.to_owned());
        Some(Self { layout: Layout::Legacy, mount: PathBuf::from(path), controller, id })
    }

    /// Every group there is now, parents before children. Groups that vanish meanwhile are left out.
    pub fn walk(&self) -> Vec<Group> {
        let Ok(root) = fs::metadata(&self.mount) else { return Vec::new() };
        let mut found = vec![Group { id: root.ino(), parent: 0, path: "/".to_owned() }];
        let mut next = 0;
        while let Some(Group { id, path, .. }) = found.get(next).cloned() {
            next += 1;
            let directory = self.mount.join(path.trim_start_matches('/'));
            let Ok(entries) = fs::read_dir(directory) else { continue };
            for entry in entries.flatten() {
                let is_group = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let Ok(metadata) = entry.metadata() else { continue };
                if is_group {
                    let name = entry.file_name();
                    let path = format!("{}/{}", path.trim_end_matches('/'), name.to_string_lossy());
                    found.push(Group { id: metadata.ino(), parent: id, path });
                }
            }
        }
        found
    }

    /// Id and level of a scope, given as a directory below the mount or a path within the hierarchy.
    pub fn scope(&self, path: &Path) -> Result<(u64, u32), CgroupError> {
        if self.controller.is_some() {
            return Err(CgroupError::ScopeNeedsV2);
        }
        let bad = || CgroupError::BadScope { path: path.to_owned(), mount: self.mount.clone() };
        let within = match path.strip_prefix(&self.mount) {
            Ok(within) => within,
            Err(_) => path.strip_prefix("/").unwrap_or(path),
        };
        let metadata = fs::metadata(self.mount.join(within)).map_err(|_| bad())?;
        let inside_root = within.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !metadata.is_dir() || !inside_root {
            return Err(bad());
        }
        Ok((metadata.ino(), within.components().count() as u32))
    }
}

/// (mount point, file system type, super options) of a mountinfo line.
fn mount(line: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let point = before.split(' ').nth(4)?;
    let mut after = after.split(' ');
    let kind = after.next()?;
    Some((point, kind, after.nth(1)?))
}

fn read(path: &str) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|error| CgroupError::Read { path: path.into(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "31 24 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                      32 24 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      33 24 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    const UNIFIED: &str = "34 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n";
    const NUMBERS: &str = "#subsys_name\thierarchy\tnum_cgroups\tenabled\npids\t7\t1\t1\nmemory\t9\t1\t1\n";

    #[test]
    fn layouts_are_told_apart() {
        let choose = |mounts: &str| {
            Hierarchy::choose(mounts, NUMBERS)
                .map(|found| (found.layout, found.mount.display().to_string(), found.controller, found.id))
        };
        assert_eq!(choose(V2), Some((Layout::Unified, "/sys/fs/cgroup".into(), None, 0)));
        let hybrid = format!("{V1}{UNIFIED}");
        assert_eq!(choose(&hybrid), Some((Layout::Hybrid, "/sys/fs/cgroup/unified".into(), None, 0)));
        let memory = Some("memory".to_owned());
        assert_eq!(choose(V1), Some((Layout::Legacy, "/sys/fs/cgroup/memory".into(), memory, 9)));
        assert_eq!(choose("1 1 0:1 / / rw - ext4 /dev/vda rw\n"), None);
    }

    #[test]
    fn walks_this_machine_and_scopes_to_its_root() {
        let hierarchy = Hierarchy::find().expect("cgroups are mounted");
        let groups = hierarchy.walk();
        assert_eq!(groups.first().map(|group| group.path.as_str()), Some("/"));
        assert!(hierarchy.scope(Path::new("/no/such/group")).is_err());
        assert!(hierarchy.scope(Path::new("/../etc")).is_err());
    }
}
