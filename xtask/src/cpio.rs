//! Writes an initramfs: a cpio archive in the `newc` format, the only one that the kernel reads.
//! Every entry is a header of ASCII hexadecimal, the name and the content, each padded to 4 bytes.

use std::collections::BTreeSet;

/// File type bits of `mode`.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// An archive in the making. Paths are absolute in the guest; folders above them are made.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    folders: BTreeSet<String>,
}

impl Archive {
    /// An executable file.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        self.parents(path);
        self.entry(path, REGULAR | 0o755, content, (0, 0));
    }

    /// A symbolic link at `path`.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path, SYMLINK | 0o777, target.as_bytes(), (0, 0));
    }

    /// A character device: init has no standard output without `/dev/console`.
    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.parents(path);
        self.entry(path, CHARACTER | 0o600, &[], (major, minor));
    }

    /// A folder.
    pub(crate) fn folder(&mut self, path: &str) {
        self.parents(path);
        if self.folders.insert(path.to_owned()) {
            self.entry(path, DIRECTORY | 0o755, &[], (0, 0));
        }
    }

    /// The archive, closed by its trailer.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        let above: Vec<usize> = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).collect();
        for at in above {
            let folder = path[..at].to_owned();
            if self.folders.insert(folder.clone()) {
                self.entry(&folder, DIRECTORY | 0o755, &[], (0, 0));
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8], (major, minor): (u32, u32)) {
        let name = path.trim_start_matches('/');
        self.inode += 1;
        let size = u32::try_from(content.len()).expect("files of a guest are far below 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("names are short");
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        // inode, mode, uid, gid, links, mtime, size, device (2), device named by the node (2), name, check
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::Archive;

    /// busybox or GNU cpio is the judge where one is installed; the layout is checked in any case.
    #[test]
    fn another_program_reads_the_archive() {
        let mut archive = Archive::default();
        archive.file("/bin/init", b"hello");
        archive.link("/init", "bin/init");
        archive.folder("/proc");
        archive.device("/dev/console", 5, 1);
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(&bytes[..6], b"070701");
        let programs = [("/bin/busybox", vec!["cpio", "-t"]), ("/bin/cpio", vec!["-t", "--quiet"])];
        for (program, arguments) in programs {
            let started = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            let Ok(mut child) = started else { continue };
            child.stdin.take().unwrap().write_all(&bytes).unwrap();
            let listing = child.wait_with_output().unwrap();
            let names = String::from_utf8(listing.stdout).unwrap();
            assert_eq!(names, "bin\nbin/init\ninit\nproc\ndev\ndev/console\n", "{program}");
        }
    }
}
