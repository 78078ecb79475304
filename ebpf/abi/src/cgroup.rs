//! Sensor `cgroup`: groups made and removed, with their path, so that a container that lives for
//! five milliseconds still has a name.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Attach, Entry, Header, HookKind, Tail};

/// `cgroup_mkdir` and `cgroup_rmdir(struct cgroup *cgrp, const char *path)`.
pub const ATTACH: &[Attach] = &[
    Attach { entries: &[Entry::new("cgroup_mkdir", HookKind::BtfTracepoint, "cgroup_mkdir")] },
    Attach { entries: &[Entry::new("cgroup_rmdir", HookKind::BtfTracepoint, "cgroup_rmdir")] },
];

/// The records of this sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// A group was made.
    Mkdir = 0,
    /// A group was removed. Its id may still be seen in records of sockets and zombies.
    Rmdir = 1,
}

impl TryFrom<u8> for Op {
    type Error = u8;
    fn try_from(op: u8) -> Result<Self, u8> {
        match op {
            0 => Ok(Self::Mkdir),
            1 => Ok(Self::Rmdir),
            other => Err(other),
        }
    }
}

/// Longest path carried, bytes.
pub const PATH_MAX: usize = 1024;

/// A group made or removed; the path is a tail.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CgroupRecord {
    /// `op` is an [`Op`].
    pub header: Header,
    /// kernfs node id: the inode number of its directory.
    pub cgroup: u64,
    /// The parent's id; 0 at a root.
    pub parent: u64,
    /// `cgroup_root.hierarchy_id`: 0 is the v2 hierarchy.
    pub hierarchy: u32,
    /// Path from the hierarchy's root, no NUL. Cut at [`PATH_MAX`] − 1 bytes.
    pub path: Tail,
}

const _: () = assert!(size_of::<CgroupRecord>() == 40);
