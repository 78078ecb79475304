//! What names a workload: paths of cgroups, records about them, and the files of `/proc`.

use tarsier_abi::Header;
use tarsier_abi::cgroup::Op;
use tarsier_core::enrich::{self, CgroupTable, Limits, owner};
use tarsier_core::event::{WorkloadKind, cgroup};
use zerocopy::FromBytes;

use super::frames;
use crate::host::{cgroups, processes};

/// A cgroup's path: whose it is. The owner's own group has the same owner as what is below it.
pub(super) fn container_id(input: &[u8]) {
    let path = String::from_utf8_lossy(input);
    let found = owner(&path);
    assert!(!found.name.is_empty());
    assert_eq!(found.container_id.is_empty(), found.kind != WorkloadKind::Container);
    if found.kind == WorkloadKind::Host {
        assert_eq!((found.path, found.pod_uid), ("/", None));
        return;
    }
    assert!(path.starts_with(found.path));
    let above = owner(found.path);
    assert_eq!((above.kind, above.name, above.path), (found.kind, found.name, found.path));
    assert_eq!((above.container_id, above.runtime), (found.container_id, found.runtime));
}

/// Records of groups made and removed, in a small table that stays within its bounds.
pub(super) fn records(input: &[u8]) {
    let limits = Limits { groups: 6, removed: 3, linger_ns: 1_000 };
    let mut table = CgroupTable::new(limits);
    for record in frames(input) {
        let Ok((header, _)) = Header::read_from_prefix(record) else { continue };
        let Ok(group) = cgroup::decode(header.op, record) else { continue };
        match group.op {
            Op::Mkdir => table.insert(group.cgroup, group.parent, group.path),
            Op::Rmdir => table.remove(group.cgroup, header.boot_ns),
        }
        let workload = table.lookup(group.cgroup);
        assert!(!workload.name.is_empty());
        assert!(table.len() <= limits.groups);
        // The host is always there; every other workload has a group.
        assert!(table.workloads().count() <= table.len() + 1);
    }
}

/// Files of `/proc`, with NUL between them: `mountinfo`, `cgroups`, `PID/cgroup`, `PID/stat`.
pub(super) fn proc(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut files = text.split('\0').chain(std::iter::repeat(""));
    let mut file = || files.next().unwrap_or_default();
    let (mountinfo, controllers) = (file(), file());
    if let Some(found) = cgroups::Hierarchy::choose(mountinfo, controllers) {
        let mount = found.mount.to_str().expect("it is a part of a text");
        assert!(mountinfo.contains(mount));
    }
    let groups = file();
    for line in enrich::lines(groups) {
        assert!(groups.contains(line.path));
    }
    for hierarchy in [enrich::Hierarchy::V2, enrich::Hierarchy::V1("memory")] {
        if let Some(path) = enrich::path_in(groups, hierarchy) {
            owner(path);
        }
    }
    processes::start_ticks(file());
}
