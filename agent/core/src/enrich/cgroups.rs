//! Whose a cgroup is: from the id that records carry to the workload.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashMap;

use super::container_id::{Owner, owner};
use crate::event::{Workload, WorkloadKind};

/// What bounds the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most cgroups held, present and removed.
    pub groups: usize,
    /// Most removed cgroups held.
    pub removed: usize,
    /// How long a removed cgroup is held, ns of boot time: its sockets and zombies outlive it.
    pub linger_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { groups: 65_536, removed: 16_384, linger_ns: 60_000_000_000 }
    }
}

/// What the table had to put up with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Look-ups of ids that the table did not hold: answered with the host.
    pub unattributed: u64,
    /// Removed cgroups forgotten early for room.
    pub evicted: u64,
    /// Cgroups not taken in, since all held ones are present.
    pub refused: u64,
}

/// Cgroup ids and their workloads. Ids are of one hierarchy.
#[derive(Debug)]
pub struct CgroupTable {
    limits: Limits,
    groups: FxHashMap<u64, Group>,
    /// Removal time and id, oldest in front; one whose group says otherwise by now is void.
    removed: VecDeque<(u64, u64)>,
    /// Every workload but the host, by [`identity`].
    workloads: FxHashMap<Box<str>, Interned>,
    host: Arc<Workload>,
    next_index: u32,
    counters: Counters,
    /// Apart from the others so that looking up needs no exclusive access.
    unattributed: AtomicU64,
}

#[derive(Debug)]
struct Group {
    workload: Arc<Workload>,
    removed_ns: Option<u64>,
}

#[derive(Debug)]
struct Interned {
    workload: Arc<Workload>,
    groups: u32,
}

impl CgroupTable {
    /// An empty table: everything is the host's, whose index is 0.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            groups: FxHashMap::default(),
            removed: VecDeque::new(),
            workloads: FxHashMap::default(),
            host: Arc::new(workload(0, &owner("/"))),
            next_index: 1,
            counters: Counters::default(),
            unattributed: AtomicU64::new(0),
        }
    }

    /// The workload of a cgroup; the host (counted) if the id is not known, or 0.
    pub fn lookup(&self, id: u64) -> &Arc<Workload> {
        match self.groups.get(&id) {
            Some(group) => &group.workload,
            None => {
                self.unattributed.fetch_add(1, Ordering::Relaxed);
                &self.host
            }
        }
    }

    /// Takes in a cgroup: from the walk at start, or made just now. `path` is from the hierarchy's
    /// root, `parent` is 0 if not known. Telling the same again changes nothing.
    pub fn insert(&mut self, id: u64, parent: u64, path: &[u8]) {
        let path = String::from_utf8_lossy(path);
        let owner = owner(&path);
        let known = self.groups.contains_key(&id);
        if !known && !self.make_room() {
            self.counters.refused += 1;
            return;
        }
        let workload = match owner.kind {
            WorkloadKind::Host => self.above(parent),
            _ => self.intern(&owner),
        };
        self.hold(&workload);
        let group = Group { workload, removed_ns: None };
        if let Some(before) = self.groups.insert(id, group) {
            // The walk may tell of a group after its removal was recorded.
            if let Some(group) = self.groups.get_mut(&id).filter(|now| now.same_workload(&before)) {
                group.removed_ns = before.removed_ns;
            }
            self.release(&before.workload);
        }
    }

    /// A cgroup was removed, at `boot_ns`. It is still found for a while.
    pub fn remove(&mut self, id: u64, boot_ns: u64) {
        if let Some(group) = self.groups.get_mut(&id).filter(|group| group.removed_ns.is_none()) {
            group.removed_ns = Some(boot_ns);
            self.removed.push_back((boot_ns, id));
        }
        while self.removed.len() > self.limits.removed {
            self.forget_oldest();
        }
        self.expire(boot_ns);
    }

    /// Forgets what was removed long enough before `now_ns` (boot time). Removing does it too.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some(&(removed_ns, id)) = self.removed.front() {
            if removed_ns.saturating_add(self.limits.linger_ns) > now_ns {
                break;
            }
            self.removed.pop_front();
            self.forget(id, removed_ns);
        }
    }

    /// The workload of a container, by its whole id.
    pub fn container(&self, id: &str) -> Option<&Arc<Workload>> {
        self.workloads.get(id).map(|interned| &interned.workload)
    }

    /// The host's workload, index 0.
    pub fn host(&self) -> &Arc<Workload> {
        &self.host
    }

    /// Every workload held, the host first, else in no order. Indexes are never given twice, so what
    /// was built for an index that is not among them (any more) can be dropped.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        std::iter::once(&self.host).chain(self.workloads.values().map(|interned| &interned.workload))
    }

    /// Cgroups held, present and removed.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// What has been counted so far.
    pub fn counters(&self) -> Counters {
        Counters { unattributed: self.unattributed.load(Ordering::Relaxed), ..self.counters }
    }

    /// The workload of a group whose own path tells nothing: its parent's, if that is a container (the
    /// path was cut), else the host.
    fn above(&self, parent: u64) -> Arc<Workload> {
        let parent = self.groups.get(&parent).map(|group| &group.workload);
        let container = parent.filter(|workload| workload.kind == WorkloadKind::Container);
        Arc::clone(container.unwrap_or(&self.host))
    }

    fn intern(&mut self, owner: &Owner<'_>) -> Arc<Workload> {
        let identity = if owner.container_id.is_empty() { owner.path } else { owner.container_id };
        if let Some(interned) = self.workloads.get(identity) {
            return Arc::clone(&interned.workload);
        }
        let workload = Arc::new(workload(self.next_index, owner));
        self.next_index += 1;
        self.workloads.insert(identity.into(), Interned { workload: Arc::clone(&workload), groups: 0 });
        workload
    }

    fn hold(&mut self, workload: &Workload) {
        if let Some(interned) = self.workloads.get_mut(identity(workload)) {
            interned.groups += 1;
        }
    }

    fn release(&mut self, workload: &Workload) {
        let Some(interned) = self.workloads.get_mut(identity(workload)) else { return };
        interned.groups -= 1;
        if interned.groups == 0 {
            self.workloads.remove(identity(workload));
        }
    }

    /// Whether there is room for one more.
    fn make_room(&mut self) -> bool {
        while self.groups.len() >= self.limits.groups {
            if self.removed.is_empty() {
                return false;
            }
            self.forget_oldest();
        }
        true
    }

    fn forget_oldest(&mut self) {
        if let Some((removed_ns, id)) = self.removed.pop_front() {
            self.counters.evicted += u64::from(self.forget(id, removed_ns));
        }
    }

    /// Forgets a group if it is still the one removed then.
    fn forget(&mut self, id: u64, removed_ns: u64) -> bool {
        if self.groups.get(&id).is_none_or(|group| group.removed_ns != Some(removed_ns)) {
            return false;
        }
        if let Some(group) = self.groups.remove(&id) {
            self.release(&group.workload);
        }
        true
    }
}

impl Group {
    fn same_workload(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.workload, &other.workload)
    }
}

/// What a workload is interned by: the container's id, wherever its groups are, else its own group's
/// path. The two cannot be confused: ids hold no slash.
fn identity(workload: &Workload) -> &str {
    if workload.container_id.is_empty() { &workload.cgroup_path } else { &workload.container_id }
}

fn workload(index: u32, owner: &Owner<'_>) -> Workload {
    Workload {
        index,
        kind: owner.kind,
        name: owner.name.into(),
        container_id: owner.container_id.into(),
        runtime: owner.runtime,
        pod_uid: owner.pod_uid.as_deref().map(Box::from),
        cgroup_path: owner.path.into(),
    }
}

#[cfg(test)]
mod tests;
