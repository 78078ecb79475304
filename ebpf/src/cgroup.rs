//! `struct cgroup`: its id, its parent, its hierarchy.

use crate::{access::Access, kernel::field};
use tarsier_abi::ABSENT;

/// The kernfs id: the inode number of the group's directory.
#[inline(always)]
pub fn id(group: impl Access) -> u64 {
    group.follow(&field::CGROUP_KN).read(&field::KERNFS_ID)
}

/// The parent's id; 0 at a root.
#[inline(always)]
pub fn parent_id(group: impl Access) -> u64 {
    let embedded = field::CGROUP_SELF.load();
    let parent = group.to(group.read_at(embedded + field::CSS_PARENT.load()));
    if parent.is_null() || field::CSS_CGROUP.load() == ABSENT {
        return 0;
    }
    parent.follow_optional(&field::CSS_CGROUP).map_or(0, id)
}

/// `hierarchy_id` of the group's root: 0 is v2.
#[inline(always)]
pub fn hierarchy(group: impl Access) -> u32 {
    group.follow(&field::CGROUP_ROOT).read(&field::CGROUP_ROOT_ID)
}
