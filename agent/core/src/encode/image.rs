//! Attributes of what a process runs, beside its arguments: told at exec.

use tarsier_abi::exec::{Creds, flag};

use crate::event::{Image, Namespaces};

use super::prefix::{formatted, int, some_bytes, when};
use super::process::spread;
use super::record::Record;

/// Field of attributes in a `LogRecord`.
const FIELD: u8 = super::logs::ATTRIBUTES;

/// Writes them all.
#[derive(Debug)]
pub(super) struct Images {
    contexts: Box<[Context]>,
    files: Box<[File]>,
}

/// Credentials and namespaces: the processes of a container have few combinations of them. Encoded once;
/// direct-mapped as the caches of `process.rs`.
#[derive(Clone, Debug, Default)]
struct Context {
    /// What `bytes` say; [`None`]: empty.
    of: Option<(Creds, Namespaces)>,
    bytes: Vec<u8>,
}

/// What tells the executable's file, once for all that run it; direct-mapped likewise.
#[derive(Clone, Debug)]
struct File {
    /// Inode, device and ctime; an inode of 0: empty.
    of: (u64, u32, u64),
    len: usize,
    bytes: [u8; FILE],
}

/// Longest form of its three attributes: integers of 9 bytes, a device of 4 + 1 + 7 digits.
const FILE: usize =
    "tarsier.exe.inode".len() + "tarsier.exe.device".len() + "tarsier.exe.ctime".len() + 16 + 20 + 16;

impl Images {
    /// 128 × 600 bytes.
    const CONTEXTS_LOG2: u32 = 7;
    /// 256 × 136 bytes.
    const FILES_LOG2: u32 = 8;

    pub(super) fn new() -> Self {
        let empty = File { of: (0, 0, 0), len: 0, bytes: [0; FILE] };
        Self {
            contexts: vec![Context::default(); 1 << Self::CONTEXTS_LOG2].into(),
            files: vec![empty; 1 << Self::FILES_LOG2].into(),
        }
    }

    pub(super) fn append_to(&mut self, record: &mut Record<'_, FIELD>, image: &Image) {
        some_bytes!(record, "process.working_directory", image.cwd(), image.is_ascii());
        if image.comm() != image.name() {
            some_bytes!(record, "tarsier.process.comm", image.comm(), image.is_ascii());
        }
        self.context(record, image);
        if image.tty != 0 {
            formatted!(record, "tarsier.process.tty", |text| text.device(image.tty));
        }
        if image.exe_inode != 0 {
            self.file(record, (image.exe_inode, image.exe_dev, image.exe_ctime_ns));
        }
        if image.flags != 0 {
            flags(record, image.flags);
        }
    }

    fn context(&mut self, record: &mut Record<'_, FIELD>, image: &Image) {
        let (creds, ns) = (&image.creds, &image.ns);
        let number = spread(u64::from(ns.mnt) << 32 ^ u64::from(creds.euid) << 8 ^ creds.cap_effective);
        let Some(place) = self.contexts.get_mut((number >> (64 - Self::CONTEXTS_LOG2)) as usize) else {
            return;
        };
        if place.of.as_ref().is_some_and(|(known, of)| known == creds && of == ns) {
            record.append(&place.bytes);
            return;
        }
        place.of = None;
        record.keep(
            |record| {
                credentials(record, creds);
                namespaces(record, ns);
            },
            |written| {
                place.bytes.clear();
                place.bytes.extend_from_slice(written);
                place.of = Some((*creds, *ns));
            },
        );
    }

    fn file(&mut self, record: &mut Record<'_, FIELD>, of: (u64, u32, u64)) {
        let number = (spread(of.0) >> (64 - Self::FILES_LOG2)) as usize;
        let Some(place) = self.files.get_mut(number) else { return };
        if place.of == of {
            record.put_part(&place.bytes, place.len);
            return;
        }
        let (inode, device, ctime) = of;
        place.of.0 = 0;
        record.keep(
            |record| {
                int!(record, "tarsier.exe.inode", inode);
                formatted!(record, "tarsier.exe.device", |text| text.device(device));
                int!(record, "tarsier.exe.ctime", ctime);
            },
            |written| {
                if let Some(room) = place.bytes.get_mut(..written.len()) {
                    room.copy_from_slice(written);
                    (place.of, place.len) = (of, written.len());
                }
            },
        );
    }
}

/// User and group ids, and the capabilities as hexadecimal masks as in `/proc/PID/status`, but for empty sets.
/// Real and saved ids and permitted capabilities are told where they differ from the effective ones.
fn credentials(record: &mut Record<'_, FIELD>, creds: &Creds) {
    int!(record, "process.user.id", creds.euid.into());
    if creds.uid != creds.euid {
        int!(record, "process.real_user.id", creds.uid.into());
    }
    if creds.suid != creds.euid {
        int!(record, "process.saved_user.id", creds.suid.into());
    }
    int!(record, "tarsier.process.group.id", creds.egid.into());
    if creds.gid != creds.egid {
        int!(record, "tarsier.process.real_group.id", creds.gid.into());
    }
    if creds.loginuid != u32::MAX {
        int!(record, "tarsier.process.loginuid", creds.loginuid.into());
    }
    if creds.cap_effective != 0 {
        formatted!(record, "tarsier.process.capabilities.effective", |text| text.hex16(creds.cap_effective));
    }
    if creds.cap_permitted != creds.cap_effective {
        formatted!(record, "tarsier.process.capabilities.permitted", |text| text.hex16(creds.cap_permitted));
    }
    if creds.cap_inheritable != 0 {
        formatted!(record, "tarsier.process.capabilities.inheritable", |text| {
            text.hex16(creds.cap_inheritable);
        });
    }
    if creds.cap_ambient != 0 {
        formatted!(record, "tarsier.process.capabilities.ambient", |text| text.hex16(creds.cap_ambient));
    }
}

/// Inode number of the initial user namespace (`PROC_USER_INIT_INO`, include/linux/proc_ns.h; since 6.17
/// `USER_NS_INIT_INO` of uapi/linux/nsfs.h), which container runtimes let everybody be in.
const INITIAL_USER: u32 = 0xEFFF_FFFD;

fn namespaces(record: &mut Record<'_, FIELD>, ns: &Namespaces) {
    if ns.mnt != 0 {
        int!(record, "tarsier.process.namespace.mnt", ns.mnt.into());
    }
    if ns.pid != 0 {
        int!(record, "tarsier.process.namespace.pid", ns.pid.into());
    }
    if ns.net != 0 {
        int!(record, "tarsier.process.namespace.net", ns.net.into());
    }
    if ns.user != 0 && ns.user != INITIAL_USER {
        int!(record, "tarsier.process.namespace.user", ns.user.into());
    }
}

fn flags(record: &mut Record<'_, FIELD>, flags: u32) {
    when!(record, "tarsier.exe.upper_layer", flags & flag::EXE_UPPER_LAYER != 0);
    when!(record, "tarsier.exe.memfd", flags & flag::EXE_MEMFD != 0);
    when!(record, "tarsier.exe.unlinked", flags & flag::EXE_UNLINKED != 0);
    when!(record, "tarsier.exe.detached", flags & flag::EXE_DETACHED != 0);
    when!(record, "tarsier.exe.truncated", flags & flag::EXE_TRUNCATED != 0);
    when!(record, "tarsier.cwd.detached", flags & flag::CWD_DETACHED != 0);
    when!(record, "tarsier.cwd.truncated", flags & flag::CWD_TRUNCATED != 0);
    when!(record, "tarsier.process.kernel_thread", flags & flag::KERNEL_THREAD != 0);
}
