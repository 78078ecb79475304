//! `struct cgroup`: its id, its parent, its hierarchy.

use crate::kernel::{Ptr, field, follow, get, get_at, peek, peek_ptr};
use tarsier_abi::ABSENT;

/// The kernfs id: the inode number of the group's directory.
#[inline(always)]
pub fn id(group: Ptr) -> u64 {
    let node: Ptr = get(group, &field::CGROUP_KN);
    get(node, &field::KERNFS_ID)
}

/// As [`id`], for an address the verifier has no type for.
#[inline(always)]
pub fn id_untyped(group: Ptr) -> u64 {
    let node = peek_ptr(group, field::CGROUP_KN.load());
    peek(node, field::KERNFS_ID.load())
}

/// The parent's id; 0 at a root.
#[inline(always)]
pub fn parent_id(group: Ptr) -> u64 {
    let embedded = field::CGROUP_SELF.load();
    let parent: Ptr = get_at(group, embedded + field::CSS_PARENT.load());
    if parent.is_null() || field::CSS_CGROUP.load() == ABSENT {
        return 0;
    }
    follow(parent, &field::CSS_CGROUP).map_or(0, id)
}

/// `hierarchy_id` of the group's root: 0 is v2.
#[inline(always)]
pub fn hierarchy(group: Ptr) -> u32 {
    let root: Ptr = get(group, &field::CGROUP_ROOT);
    get(root, &field::CGROUP_ROOT_ID)
}
