//! Whether files have changed.

use std::path::PathBuf;
use std::time::SystemTime;

/// What files looked like when they were read: tells whether any has changed since. Certificates and
/// tokens in Kubernetes are swapped by symlink, so the target is looked at, not the link.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<(u64, u64, u64, SystemTime)>>);

impl Stamps {
    /// The files as they are now; one that cannot be looked at counts as a state of its own.
    pub(super) fn of(files: &[PathBuf]) -> Self {
        use std::os::unix::fs::MetadataExt;
        let stamp = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.modified().ok()?))
        };
        Self(files.iter().map(stamp).collect())
    }
}
