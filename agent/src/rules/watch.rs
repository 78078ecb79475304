//! Tells when rule files may have changed.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

/// Changes come in bursts, and a file that is being written is not whole: one is told of when there was none for so long.
const QUIET: Duration = Duration::from_millis(200);
/// But not later than this: folders have other files, too.
const PATIENCE: Duration = Duration::from_secs(2);

/// inotify(7) on the folders in which rule files are. What is watched is never a file: editors and Kubernetes put a new one in
/// its place.
pub(super) struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    /// Watches what these paths lead to now. Where one leads nowhere, the nearest folder that is there is watched.
    ///
    /// # Errors
    /// The kernel gives no more watches (`fs.inotify.max_user_instances`, `max_user_watches`).
    pub(super) fn new(paths: &[PathBuf]) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        for folder in paths.iter().flat_map(|path| folders(path)) {
            let there = folder.ancestors().find_map(|folder| {
                let result = inotify::add_watch(&inotify, folder, flags);
                (!matches!(result, Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR)))
                    .then_some(result)
            });
            there.transpose()?;
        }
        // SAFETY: an `OwnedFd` is the same descriptor for as long as it lives.
        Ok(Self(unsafe { AsyncFd::register(inotify) }?))
    }

    /// Waits for a change, and until there has been none for a while.
    ///
    /// # Errors
    /// The descriptor cannot be waited for.
    pub(super) async fn changed(&self) -> io::Result<()> {
        self.empty().await?;
        let last = Instant::now() + PATIENCE;
        while let Ok(more) = timeout_at(last.min(Instant::now() + QUIET), self.empty()).await {
            more?;
        }
        Ok(())
    }

    /// Waits for a change and takes all that is told of.
    async fn empty(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut room = [0; 4096];
        // It ends where a read would block: then the descriptor is waited for again.
        while let Ok(read) = ready.try_io(|inotify| Ok(rustix::io::read(inotify, &mut room)?)) {
            read?;
        }
        Ok(())
    }
}

/// The folders in which something happens when what this path leads to changes: that of each link on the way to a file or
/// folder, and of the file itself. A ConfigMap's files are links by way of `..data`, a link beside them, which is replaced.
fn folders(path: &Path) -> Vec<PathBuf> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut folders = Vec::new();
    let is_link = path.is_symlink();
    let around = path.parent().unwrap_or(&path).to_owned();
    if path.is_dir() {
        if is_link {
            folders.push(around);
        }
        folders.push(path);
    } else {
        let target = if is_link { path.canonicalize().ok() } else { None };
        folders.push(around);
        folders.extend(target.and_then(|target| Some(target.parent()?.to_owned())));
    }
    folders
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Whether a watch on `path` tells of what `change` does.
    async fn tells(path: &Path, change: impl FnOnce()) -> bool {
        let watch = Watch::new(&[path.to_owned()]).unwrap();
        change();
        // An event is there as soon as the call that makes it returns: no need to wait for what does not come.
        tokio::time::timeout(PATIENCE / 2, watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.yaml"), "a").unwrap();
        assert!(tells(&at("a.yaml"), || fs::write(at("a.yaml"), "b").unwrap()).await);
        fs::write(at("new"), "c").unwrap();
        assert!(tells(&at("a.yaml"), || fs::rename(at("new"), at("a.yaml")).unwrap()).await);
        assert!(tells(&at("a.yaml"), || fs::remove_file(at("a.yaml")).unwrap()).await);
        assert!(tells(&at("a.yaml"), || fs::write(at("a.yaml"), "d").unwrap()).await);
        assert!(tells(folder.path(), || fs::write(at("b.yaml"), "b").unwrap()).await);
        assert!(
            !tells(folder.path(), || drop(fs::read(at("b.yaml")).unwrap())).await,
            "reading is no change"
        );
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("x/rules");
        assert!(tells(&inside, || fs::create_dir_all(&inside).unwrap()).await);
    }

    #[tokio::test]
    async fn a_config_map_whose_data_is_swapped() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("r.yaml"), version).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/r.yaml", at("r.yaml")).unwrap();
        for (path, to) in [(folder.path().to_owned(), "..2"), (at("r.yaml"), "..1")] {
            let swap = || {
                symlink(to, at("..data_tmp")).unwrap();
                fs::rename(at("..data_tmp"), at("..data")).unwrap();
            };
            assert!(tells(&path, swap).await, "{}", path.display());
        }
        fs::create_dir(at("apart")).unwrap();
        fs::write(at("apart/r.yaml"), "r").unwrap();
        symlink("apart/r.yaml", at("link.yaml")).unwrap();
        assert!(tells(&at("link.yaml"), || fs::write(at("apart/r.yaml"), "s").unwrap()).await);
    }
}
