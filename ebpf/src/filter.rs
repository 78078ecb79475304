//! The gate that every program passes first: is this cgroup in scope?

use crate::{
    cgroup,
    kernel::{Ptr, SCOPE_CGROUP, SCOPE_LEVEL, field, get, peek, peek_ptr},
};
use tarsier_abi::ABSENT;

/// Whether a cgroup (typed pointer) of the v2 hierarchy is the scope or below it. Without a scope
/// the verifier prunes all of this; with one, most cgroups are decided by their level and id alone.
#[inline(always)]
pub fn in_scope(group: Ptr) -> bool {
    let scope = SCOPE_CGROUP.load();
    if scope == 0 {
        return true;
    }
    let level = SCOPE_LEVEL.load();
    let own: u32 = get(group, &field::CGROUP_LEVEL);
    if own < level {
        return false;
    }
    if own == level {
        return cgroup::id(group) == scope;
    }
    ancestor_id(group, level) == scope
}

/// The id of the ancestor at `level`, which must be above the group's own.
#[inline(always)]
fn ancestor_id(group: Ptr, level: u32) -> u64 {
    let pointers = field::CGROUP_ANCESTORS.load();
    if pointers != ABSENT {
        let ancestor = peek_ptr(group, pointers + level * 8);
        let node = peek_ptr(ancestor, field::CGROUP_KN.load());
        return peek(node, field::KERNFS_ID.load());
    }
    let ids = field::CGROUP_ANCESTOR_IDS.load();
    if ids == ABSENT { 0 } else { peek(group, ids + level * 8) }
}

/// Whether a cgroup at an untyped address (a socket's, before 5.15) is in scope.
#[inline(always)]
pub fn in_scope_untyped(group: Ptr) -> bool {
    let scope = SCOPE_CGROUP.load();
    if scope == 0 {
        return true;
    }
    let level = SCOPE_LEVEL.load();
    let own: u32 = peek(group, field::CGROUP_LEVEL.load());
    if own < level {
        return false;
    }
    if own == level {
        return cgroup::id_untyped(group) == scope;
    }
    ancestor_id(group, level) == scope
}
