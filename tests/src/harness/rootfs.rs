//! A container image and the layers over it: busybox, its applets as links, a few empty directories.
//! Every container gets an overlay of its own, as a runtime's snapshotter makes one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use super::jail::Jail;
use super::tool;

/// Applets that are links to `/bin/busybox`, as in the image `busybox`.
const APPLETS: &[&str] =
    &["sh", "cat", "cp", "chmod", "ip", "mv", "rm", "sleep", "touch", "true", "unshare", "usleep"];
/// An applet that is a file of its own in the image, to be changed by a test.
pub const TOOL: &str = "/opt/true";

/// The lower layer: what an image brings. Containers share it and cannot change it.
#[derive(Debug)]
pub struct Image {
    folder: TempDir,
}

impl Image {
    /// Unpacks the image.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        for name in ["bin", "dev", "opt", "proc", "tmp"] {
            fs::create_dir(root.join(name))?;
        }
        let busybox = tool::find("busybox").context("busybox is not installed")?;
        fs::copy(&busybox, root.join("bin/busybox"))?;
        fs::copy(&busybox, root.join(TOOL.trim_start_matches('/')))?;
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet))?;
        }
        Ok(Self { folder })
    }

    /// Its root directory, for what a test adds before the first container.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }
}

/// One container's directories: upper and work layer, the mount point, and room for what describes it.
#[derive(Debug)]
pub struct Layers {
    folder: TempDir,
    lower: PathBuf,
}

impl Layers {
    /// Empty layers over `image`.
    pub fn over(image: &Image) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        for name in ["upper", "work", "rootfs"] {
            fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self { folder, lower: image.folder.path().to_owned() })
    }

    /// Where they lie.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What was written.
    pub fn upper(&self) -> PathBuf {
        self.path().join("upper")
    }

    /// The mount point of the whole.
    pub fn root(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// Mounts the whole, for who is in the jail only: so nothing needs to be unmounted, ever.
    pub fn mount(&self, jail: Jail) -> Jail {
        jail.overlay(&self.lower, &self.upper(), &self.path().join("work"), &self.root())
    }
}
