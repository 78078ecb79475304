//! Cgroup records decoded: a group made or removed, with its path.

use tarsier_abi::cgroup::{CgroupRecord, Op, PATH_MAX};
use zerocopy::FromBytes;

use super::{Malformed, tail};

/// A cgroup made or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Made or removed.
    pub op: Op,
    /// The group's id.
    pub cgroup: u64,
    /// Its parent's id; 0 at a root.
    pub parent: u64,
    /// The hierarchy it belongs to; 0 is v2.
    pub hierarchy: u32,
    /// Path from the hierarchy's root, as the kernel spelled it.
    pub path: &'a [u8],
}

impl Event<'_> {
    /// Whether the path may have been cut: it fills all the room that the kernel side has.
    pub fn path_truncated(&self) -> bool {
        self.path.len() >= PATH_MAX - 1
    }
}

/// Decodes a whole record (header included).
pub fn decode(op: u8, record: &[u8]) -> Result<Event<'_>, Malformed> {
    let op = Op::try_from(op).map_err(|_| Malformed::Op)?;
    let (fixed, _) = CgroupRecord::read_from_prefix(record).map_err(|_| Malformed::Short)?;
    Ok(Event {
        op,
        cgroup: fixed.cgroup,
        parent: fixed.parent,
        hierarchy: fixed.hierarchy,
        path: tail(record, fixed.path)?,
    })
}
