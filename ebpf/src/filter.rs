//! The gate that every program passes first: is this cgroup in scope?

use crate::{
    access::{Access, Untyped},
    cgroup,
    kernel::{SCOPE_CGROUP, SCOPE_LEVEL, field},
};
use tarsier_abi::ABSENT;

/// Whether a cgroup of the v2 hierarchy is the scope or below it. Without a scope the verifier prunes
/// all of this; with one, most cgroups are decided by their level and id alone.
#[inline(always)]
pub fn in_scope(group: impl Access) -> bool {
    let scope = SCOPE_CGROUP.load();
    if scope == 0 {
        return true;
    }
    let level = SCOPE_LEVEL.load();
    let own: u32 = group.read(&field::CGROUP_LEVEL);
    if own < level {
        return false;
    }
    if own == level {
        return cgroup::id(group) == scope;
    }
    ancestor_id(group, level) == scope
}

/// The id of the ancestor at `level`, which must be above the group's own. The ancestors lie in an
/// array behind the structure: the verifier has no type for its elements.
#[inline(always)]
fn ancestor_id(group: impl Access, level: u32) -> u64 {
    let group = Untyped(group.address());
    let pointers = field::CGROUP_ANCESTORS.load();
    if pointers != ABSENT {
        return cgroup::id(group.to(group.read_at(pointers + level * 8)));
    }
    let ids = field::CGROUP_ANCESTOR_IDS.load();
    if ids == ABSENT { 0 } else { group.read_at(ids + level * 8) }
}
