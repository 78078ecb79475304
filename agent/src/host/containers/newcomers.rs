//! Tells when a runtime is making a container.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::host::HostConfig;
use crate::host::root::Root;

/// inotify(7) on the directories in which every container gets one of its own: that comes before its cgroup. Runtimes delete what
/// they have of a container with it, so whoever wants to know it has to look while it runs.
#[derive(Debug)]
pub struct Newcomers {
    inotify: OwnedFd,
    host: HostConfig,
}

impl Newcomers {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// The kernel gives no more instances (`fs.inotify.max_user_instances`).
    pub fn new(host: &HostConfig) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { inotify, host: host.clone() })
    }

    /// Watches the directories that are there now; those that are watched stay so.
    pub fn watch(&self) {
        let HostConfig { root, containerd, docker, storage, runc } = &self.host;
        let mut places: Vec<PathBuf> = runc.clone();
        places.extend(docker.iter().map(|place| place.join("containers")));
        places.extend(storage.iter().map(|place| place.join("overlay-containers")));
        if let Ok(host) = Root::open(root) {
            for place in containerd {
                let namespaces = host.list(place).unwrap_or_default();
                places.extend(namespaces.iter().map(|namespace| place.join(namespace)));
            }
        }
        // New namespaces are told of too.
        places.extend(containerd.iter().cloned());
        for place in places {
            let path = root.join(place.strip_prefix("/").unwrap_or(Path::new(&place)));
            let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
            // What is not there may be at the next time; without a watch the drain is as slow as without rules.
            if let Err(error) = inotify::add_watch(&self.inotify, &path, flags) {
                tracing::trace!(path = %path.display(), %error, "not watched");
            }
        }
    }

    /// Whether anything was made there since the last time.
    pub fn have_come(&self) -> bool {
        let mut room = [0; 4096];
        let mut any = false;
        while rustix::io::read(&self.inotify, &mut room).is_ok_and(|read| read > 0) {
            any = true;
        }
        any
    }
}

impl AsFd for Newcomers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_runtime_is_watched_and_later_namespaces_too() {
        let root = tempfile::tempdir().unwrap();
        let host = HostConfig { root: root.path().to_owned(), ..HostConfig::default() };
        let newcomers = Newcomers::new(&host).unwrap();
        let make = |path: &str| fs::create_dir_all(root.path().join(path)).unwrap();
        let task = "run/containerd/io.containerd.runtime.v2.task";
        let storage = "var/lib/containers/storage/overlay-containers";
        for place in ["var/lib/docker/containers", storage, "run/runc", task] {
            make(place);
        }
        newcomers.watch();
        assert!(!newcomers.have_come());
        for place in ["var/lib/docker/containers", storage, "run/runc"] {
            make(&format!("{place}/id"));
            assert!(newcomers.have_come(), "{place}");
            assert!(!newcomers.have_come());
        }
        make(&format!("{task}/k8s.io"));
        assert!(newcomers.have_come(), "a namespace");
        newcomers.watch();
        make(&format!("{task}/k8s.io/id"));
        assert!(newcomers.have_come());
    }
}
