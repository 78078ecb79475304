//! Less for a child: a mount namespace of its own (what it finds missing, read-only or elsewhere, nobody
//! else does, and it goes with the child), or fewer capabilities.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change};
use rustix::thread::{CapabilitySet, UnshareFlags, remove_capability_from_bounding_set};

/// What is done in the namespace, in this order: mounts, then the change of root.
#[derive(Debug, Default)]
pub struct Jail {
    mounts: Vec<Mount>,
    root: Option<CString>,
}

#[derive(Debug)]
enum Mount {
    /// A tree that is there already, at a second place.
    Bind { source: CString, target: CString },
    /// A new file system of a kind that needs no source.
    New { kind: &'static CStr, target: CString, flags: MountFlags },
    /// Layers, as overlayfs takes them in its options.
    Overlay { options: CString, target: CString },
}

impl Jail {
    /// Shows the tree at `source` at `target` too.
    #[must_use]
    pub fn bind(mut self, source: &Path, target: &Path) -> Self {
        self.mounts.push(Mount::Bind { source: c_path(source), target: c_path(target) });
        self
    }

    /// Hides what is at `target` behind an empty directory.
    #[must_use]
    pub fn empty(self, target: &Path) -> Self {
        self.mount(c"tmpfs", target, MountFlags::empty())
    }

    /// Hides what is at `target` behind an empty directory that cannot be written to.
    #[must_use]
    pub fn read_only(self, target: &Path) -> Self {
        self.mount(c"tmpfs", target, MountFlags::RDONLY)
    }

    /// Mounts a file system of a kind that needs no source.
    #[must_use]
    pub fn mount(mut self, kind: &'static CStr, target: &Path, flags: MountFlags) -> Self {
        self.mounts.push(Mount::New { kind, target: c_path(target), flags });
        self
    }

    /// Mounts a writable overlay. Its layers' paths hold neither comma nor colon.
    #[must_use]
    pub fn overlay(mut self, lower: &Path, upper: &Path, work: &Path, target: &Path) -> Self {
        let (lower, upper, work) = (lower.display(), upper.display(), work.display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        self.mounts.push(Mount::Overlay { options: c_path(Path::new(&options)), target: c_path(target) });
        self
    }

    /// Makes `root` the root directory, last of all.
    #[must_use]
    pub fn root(mut self, root: &Path) -> Self {
        self.root = Some(c_path(root));
        self
    }

    /// Puts `command` in it. Its program is looked for inside.
    pub fn hold(self, command: &mut Command) {
        // SAFETY: between fork and exec the closure makes system calls with arguments that were made
        // before, and nothing that could take a lock or allocate.
        unsafe { command.pre_exec(move || self.enter()) };
    }

    fn enter(&self) -> io::Result<()> {
        // SAFETY: the child has one thread, and a mount namespace changes no memory or descriptor of it.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        for one in &self.mounts {
            match one {
                Mount::Bind { source, target } => mount_bind_recursive(source.as_c_str(), target.as_c_str())?,
                Mount::New { kind, target, flags } => mount(*kind, target.as_c_str(), *kind, *flags, None)?,
                Mount::Overlay { options, target } => {
                    let (kind, options) = (c"overlay", options.as_c_str());
                    mount(kind, target.as_c_str(), kind, MountFlags::empty(), options)?;
                }
            }
        }
        if let Some(root) = &self.root {
            rustix::process::chroot(root.as_c_str())?;
            rustix::process::chdir(c"/")?;
        }
        Ok(())
    }
}

/// Runs `command` as root without some capabilities: exec gives root what is in the bounding set.
pub fn without(command: &mut Command, dropped: &[CapabilitySet]) {
    let dropped = dropped.to_vec();
    let drop_all =
        move || Ok(dropped.iter().try_for_each(|one| remove_capability_from_bounding_set(*one))?);
    // SAFETY: between fork and exec the closure makes system calls and nothing else.
    unsafe { command.pre_exec(drop_all) };
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("paths of the tests hold no NUL")
}
