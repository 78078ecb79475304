//! Tells when files may have changed, and whether somebody is writing one.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

/// Changes come in bursts, such as one file after the other: one is told of when there was none for so long.
const QUIET: Duration = Duration::from_millis(200);
/// But not later than this: folders have other files, too.
const PATIENCE: Duration = Duration::from_secs(2);

/// inotify(7) on the folders in which files are. What is watched is never a file: editors and Kubernetes put a new one in
/// its place.
pub struct Watch {
    inotify: AsyncFd<OwnedFd>,
    /// The folders, by the number of their watch.
    folders: HashMap<i32, PathBuf>,
    /// What files and folders are called that are asked for by name.
    names: BTreeSet<OsString>,
    /// Files that somebody writes: what they say is not all yet. By the number of their folder's watch.
    written: BTreeSet<(i32, OsString)>,
}

impl Watch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// The kernel gives no more (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // SAFETY: an `OwnedFd` is the same descriptor for as long as it lives.
        let inotify = unsafe { AsyncFd::register(inotify) }?;
        Ok(Self { inotify, folders: HashMap::new(), names: BTreeSet::new(), written: BTreeSet::new() })
    }

    /// Watches what these paths lead to now, beside what is watched already. Where one leads nowhere, the nearest folder that
    /// is there is watched.
    ///
    /// # Errors
    /// The kernel gives no more watches (`fs.inotify.max_user_watches`).
    pub fn add(&mut self, paths: &[PathBuf]) -> io::Result<()> {
        let flags = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::CLOSE_NOWRITE
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        for path in paths {
            let target = path.canonicalize().ok();
            let both = [Some(path), target.as_ref()].into_iter().flatten();
            // Those of folders too: one that is not there yet may be made.
            self.names.extend(both.flat_map(|path| path.iter().map(OsStr::to_owned)));
            for folder in folders(path) {
                let there = folder.ancestors().find_map(|folder| {
                    let result = inotify::add_watch(self.inotify.get_ref(), folder, flags);
                    (!matches!(result, Err(Errno::NOENT | Errno::NOTDIR))).then_some((folder, result))
                });
                if let Some((folder, result)) = there {
                    self.folders.insert(result?, folder.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Waits for a change, until there has been none for a while, and until nobody writes any of the files: who opened one to
    /// write closes it, and then it is whole.
    ///
    /// # Errors
    /// The descriptor cannot be waited for.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.next().await?;
        self.settled().await
    }

    /// The same, of a change that was told of already.
    ///
    /// # Errors
    /// The descriptor cannot be waited for.
    pub async fn settled(&mut self) -> io::Result<()> {
        let last = Instant::now() + PATIENCE;
        loop {
            if !self.written.is_empty() {
                self.wait().await?;
            } else if let Ok(more) = timeout_at(last.min(Instant::now() + QUIET), self.next()).await {
                more?;
            } else {
                return Ok(());
            }
        }
    }

    /// Whether something has changed since the last look, or somebody writes one of the files: what was read meanwhile may be
    /// half of it.
    ///
    /// # Errors
    /// The descriptor cannot be read.
    pub fn is_disturbed(&mut self) -> io::Result<bool> {
        Ok(self.take()? || !self.written.is_empty())
    }

    /// Waits for a change.
    async fn next(&mut self) -> io::Result<()> {
        while !self.wait().await? {}
        Ok(())
    }

    /// Waits until there is something to be told, and takes it. Whether it is a change.
    async fn wait(&mut self) -> io::Result<bool> {
        let mut ready = self.inotify.readable().await?;
        // All is taken, so the descriptor is to be waited for again.
        ready.clear_ready();
        drop(ready);
        self.take()
    }

    /// Takes all that is told of, without waiting. Whether it is a change of what is watched for.
    fn take(&mut self) -> io::Result<bool> {
        let Self { inotify, folders, names, written } = self;
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify.get_ref(), &mut room);
        let mut is_change = false;
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK) => return Ok(is_change),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let (flags, watch) = (event.events(), event.wd());
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                // Who closed what is not known any more.
                written.clear();
                is_change = true;
                continue;
            }
            if flags.contains(ReadFlags::IGNORED) {
                folders.remove(&watch);
                written.retain(|(folder, _)| *folder != watch);
            }
            // Reading is no change, of a folder neither, which has no name here.
            let is_change_of_it = !flags.contains(ReadFlags::CLOSE_NOWRITE);
            let Some(name) = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes())) else {
                is_change |= is_change_of_it;
                continue;
            };
            if !is_asked_for(names, name) {
                continue;
            }
            let place = (watch, name.to_owned());
            if flags.contains(ReadFlags::MODIFY) {
                written.insert(place);
            } else if flags.contains(ReadFlags::CREATE) {
                // A file that was just made is empty, and is written next. One that was linked is whole.
                let path = folders.get(&watch).map(|folder| folder.join(name));
                let about = path.and_then(|path| fs::symlink_metadata(path).ok());
                if about.is_some_and(|about| about.is_file() && about.len() == 0 && about.nlink() == 1) {
                    written.insert(place);
                }
            } else if flags.intersects(
                ReadFlags::CLOSE_WRITE
                    | ReadFlags::CLOSE_NOWRITE
                    | ReadFlags::DELETE
                    | ReadFlags::MOVED_FROM
                    | ReadFlags::MOVED_TO,
            ) {
                written.remove(&place);
            }
            is_change |= is_change_of_it;
        }
    }
}

/// Whether a name in a folder has to do with what is watched for: it is asked for by name, it is a file of rules, or
/// Kubernetes' own (`..data`), by way of which its links lead.
fn is_asked_for(names: &BTreeSet<OsString>, name: &OsStr) -> bool {
    let ends_right = Path::new(name).extension().is_some_and(|end| end == "yaml" || end == "yml");
    ends_right || names.contains(name) || name.as_bytes().starts_with(b"..")
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

    fn watch(path: &Path) -> Watch {
        let mut watch = Watch::new().unwrap();
        watch.add(&[path.to_owned()]).unwrap();
        watch
    }

    /// Whether a watch on `path` tells of what `change` does.
    async fn tells(path: &Path, change: impl FnOnce()) -> bool {
        let mut watch = watch(path);
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

    #[tokio::test]
    async fn a_file_is_whole_once_who_writes_it_has_closed_it() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.yaml");
        fs::write(&path, "before").unwrap();
        // Cut, and then written; and made anew.
        for anew in [false, true] {
            if anew {
                fs::remove_file(&path).unwrap();
            }
            let mut watch = watch(folder.path());
            assert!(!watch.is_disturbed().unwrap());
            let mut file = fs::File::create(&path).unwrap();
            assert!(watch.is_disturbed().unwrap() && watch.is_disturbed().unwrap(), "as long as it is open");
            let mut told = Box::pin(watch.settled());
            // It is asked again and again, and does not answer before the file is closed.
            assert!(tokio::time::timeout(PATIENCE + QUIET, &mut told).await.is_err());
            file.write_all(b"after").unwrap();
            drop(file);
            told.await.unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"after");
            assert!(!watch.is_disturbed().unwrap(), "reading it is no change");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_linked_is_whole_and_others_do_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut watch = watch(folder.path());
        let log = fs::File::create(at("a.log")).unwrap();
        assert!(!watch.is_disturbed().unwrap(), "no file of rules");
        fs::write(at("other"), "").unwrap();
        fs::hard_link(at("other"), at("r.yaml")).unwrap();
        assert!(watch.is_disturbed().unwrap() && !watch.is_disturbed().unwrap());
        // Whoever writes a file that is then replaced no longer matters.
        let open = fs::File::create(at("s.yaml")).unwrap();
        assert!(watch.is_disturbed().unwrap() && watch.is_disturbed().unwrap());
        fs::rename(at("other"), at("s.yaml")).unwrap();
        assert!(watch.is_disturbed().unwrap() && !watch.is_disturbed().unwrap());
        drop((log, open));
    }
}
