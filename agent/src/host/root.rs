//! Files below a directory that is taken as root: the host's, or a container's, whose owner is not to be trusted.

use std::fs::{File, read_dir};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

/// A directory that is `/` to all that is opened through it: neither `..` nor a symbolic link leads out of it.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: i64,
    /// Last change of contents, ns since 1970.
    pub modified_ns: i128,
    /// Last change of the inode, ns since 1970.
    changed_ns: i128,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It is not there.
    #[error("it is not there")]
    Absent,
    /// It is larger than what is asked for can be.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// It is a directory, a device or a pipe.
    #[error("it is no file")]
    NoFile,
    /// The kernel refuses.
    #[error(transparent)]
    Refused(#[from] io::Error),
}

impl From<Errno> for Unread {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Self::Absent,
            other => Self::Refused(other.into()),
        }
    }
}

impl Root {
    /// The directory at `path`, which may lead through magic links such as `/proc/PID/root`.
    ///
    /// # Errors
    /// There is none, or the kernel refuses.
    pub fn open(path: &Path) -> Result<Self, Unread> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { directory: open(path, flags, Mode::empty())? })
    }

    /// Whether it is the same directory as another one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn is(&self, other: &Self) -> Result<bool, Unread> {
        let [own, other] = [fstat(&self.directory)?, fstat(&other.directory)?];
        Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
    }

    /// The whole of a file of at most `limit` bytes, as it was when it was opened.
    ///
    /// # Errors
    /// See [`Unread`].
    pub fn read(&self, path: &Path, limit: u64) -> Result<(Vec<u8>, Stamp), Unread> {
        let (handle, stamp) = self.find(path)?;
        // By its handle: what is opened is what was looked at. Files cannot block on being opened, unlike pipes and devices.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = open(format!("/proc/self/fd/{}", handle.as_raw_fd()), flags, Mode::empty())?;
        let mut bytes = Vec::new();
        File::from(file).take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(Unread::TooLarge(limit));
        }
        Ok((bytes, stamp))
    }

    /// The state of a file.
    ///
    /// # Errors
    /// See [`Unread`].
    pub fn stamp(&self, path: &Path) -> Result<Stamp, Unread> {
        self.find(path).map(|(_, stamp)| stamp)
    }

    /// Names in a directory, those that are UTF-8.
    ///
    /// # Errors
    /// See [`Unread`].
    pub fn list(&self, path: &Path) -> Result<Vec<String>, Unread> {
        let directory = self.handle(path, OFlags::DIRECTORY)?;
        let entries = read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.collect())
    }

    fn find(&self, path: &Path) -> Result<(OwnedFd, Stamp), Unread> {
        let handle = self.handle(path, OFlags::empty())?;
        let stat = fstat(&handle)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Unread::NoFile);
        }
        let ns = |seconds: i64, ns: u64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        let stamp = Stamp {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified_ns: ns(stat.st_mtime, stat.st_mtime_nsec),
            changed_ns: ns(stat.st_ctime, stat.st_ctime_nsec),
        };
        Ok((handle, stamp))
    }

    fn handle(&self, path: &Path, more: OFlags) -> Result<OwnedFd, Unread> {
        /// The kernel gives up where a directory is moved while it walks (openat2(2), EAGAIN).
        const TRIES: usize = 8;
        let flags = OFlags::PATH | OFlags::CLOEXEC | more;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 1..TRIES {
            match openat2(&self.directory, path.as_os_str().as_bytes(), flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn nothing_leads_out_of_it() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "outside").unwrap();
        let inside = tempfile::tempdir_in(outside.path()).unwrap();
        let path = |name: &str| inside.path().join(name);
        fs::create_dir(path("etc")).unwrap();
        fs::write(path("secret"), "inside").unwrap();
        fs::write(path("etc/real"), "real").unwrap();
        symlink("/etc/real", path("etc/absolute")).unwrap();
        symlink("../../secret", path("etc/above")).unwrap();
        symlink(outside.path().join("secret"), path("etc/away")).unwrap();
        symlink("loop", path("etc/loop")).unwrap();
        symlink("/proc/self/exe", path("etc/magic")).unwrap();
        let root = Root::open(inside.path()).unwrap();
        let read = |name: &str| root.read(Path::new(name), 10).map(|(bytes, _)| bytes);
        assert_eq!(read("/etc/absolute").unwrap(), b"real");
        assert_eq!(read("/etc/above").unwrap(), b"inside");
        assert_eq!(read("../secret").unwrap(), b"inside");
        for absent in ["/etc/away", "/etc/loop", "/etc/magic", "/etc/none", "/etc/real/x"] {
            assert!(matches!(read(absent), Err(Unread::Absent)), "{absent}: {:?}", read(absent));
        }
        assert_eq!(root.list(Path::new("/etc/..")).unwrap().len(), 2);
    }

    #[test]
    fn only_files_are_read_and_only_small_ones() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "12345").unwrap();
        let root = Root::open(directory.path()).unwrap();
        assert!(matches!(root.read(Path::new("pipe"), 9), Err(Unread::NoFile)), "a pipe would block");
        assert!(matches!(root.read(Path::new("."), 9), Err(Unread::NoFile)));
        assert!(matches!(root.read(Path::new("file"), 4), Err(Unread::TooLarge(4))));
        let (bytes, stamp) = root.read(Path::new("file"), 5).unwrap();
        assert_eq!((bytes.as_slice(), root.stamp(Path::new("file")).unwrap()), (&b"12345"[..], stamp));
        let next = directory.path().join("next");
        fs::write(&next, "12345").unwrap();
        fs::rename(next, file).unwrap();
        assert_ne!(root.stamp(Path::new("file")).unwrap(), stamp, "another one in its place");
    }
}
