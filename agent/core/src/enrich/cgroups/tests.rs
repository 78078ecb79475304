//! The cgroup table: sharing, lingering, and its bounds against a naive model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const ID: &str = "3f1c7c1de1c2d6d6c4e0a8f3d1b9d4c6a0e2f4b6c8dae0f2143658a7c9ebfd01";

#[test]
fn a_container_is_one_workload_however_many_groups_it_has() {
    let mut table = CgroupTable::new(Limits::default());
    table.insert(1, 0, b"/");
    table.insert(2, 1, b"/system.slice/nginx.service");
    table.insert(10, 1, format!("/docker/{ID}").as_bytes());
    table.insert(11, 10, format!("/docker/{ID}/init.scope").as_bytes());
    table.insert(12, 11, b"/a path cut before it says anything");
    table.insert(13, 2, b"/a plain group below a unit");
    assert_eq!(table.lookup(1).index, 0);
    assert_eq!((&*table.lookup(2).name, table.lookup(2).kind), ("nginx", WorkloadKind::Unit));
    let container = table.lookup(10);
    assert_eq!((&*container.name, &*container.container_id), (&ID[..12], ID));
    assert_eq!(&*container.cgroup_path, format!("/docker/{ID}"));
    assert!(Arc::ptr_eq(container, table.lookup(11)) && Arc::ptr_eq(container, table.lookup(12)));
    assert_eq!(table.lookup(13).index, 0);
    assert_eq!(table.counters().unattributed, 0);
    assert_eq!((table.lookup(99).index, table.lookup(0).index), (0, 0));
    assert_eq!(table.counters().unattributed, 2);
    let indexes: BTreeSet<u32> = table.workloads().map(|workload| workload.index).collect();
    assert_eq!(indexes, BTreeSet::from([0, 1, 2]));
}

#[test]
fn a_removed_group_is_found_for_a_while_and_its_index_is_never_given_again() {
    let mut table = CgroupTable::new(Limits { linger_ns: 100, ..Limits::default() });
    let path = format!("/docker/{ID}");
    table.insert(1, 0, path.as_bytes());
    table.insert(2, 1, format!("{path}/a").as_bytes());
    table.remove(2, 10);
    table.remove(1, 50);
    table.insert(1, 0, path.as_bytes());
    table.expire(120);
    assert_eq!((table.len(), table.lookup(1).index), (1, 1), "told again, it stays removed, for a while");
    table.expire(150);
    assert!(table.is_empty());
    assert_eq!(table.workloads().count(), 1);
    table.insert(3, 0, path.as_bytes());
    assert_eq!(table.lookup(3).index, 2);
}

proptest! {
    #[test]
    fn it_agrees_with_a_naive_table(
        steps in prop::collection::vec((1_u64..12, 0_usize..6, 0_u8..3, 0_u64..30), 1..150),
        linger_ns in 0_u64..100,
    ) {
        let paths = ["/", "/a.service", "/a.service/x", "/b.service", "/lxc/one", "/lxc/one/b.service"];
        let owners = ["/", "/a.service", "/a.service", "/b.service", "one", "one"];
        let mut table = CgroupTable::new(Limits { linger_ns, ..Limits::default() });
        // id → (owner, removed at); an index belongs to one owner for ever.
        let mut naive: BTreeMap<u64, (&str, Option<u64>)> = BTreeMap::new();
        let mut owner_of_index = BTreeMap::from([(0, "/")]);
        let mut now = 0;
        for (id, path, what, pause) in steps {
            now += pause;
            if what == 0 {
                table.remove(id, now);
                if let Some((_, removed)) = naive.get_mut(&id) {
                    *removed = Some(removed.unwrap_or(now));
                }
            } else {
                table.insert(id, 0, paths[path].as_bytes());
                let removed = naive.get(&id).filter(|(owner, _)| *owner == owners[path]);
                let removed = removed.and_then(|&(_, removed)| removed);
                naive.insert(id, (owners[path], removed));
                table.expire(now);
            }
            naive.retain(|_, (_, removed)| removed.is_none_or(|removed| removed + linger_ns > now));
            prop_assert_eq!(table.len(), naive.len());
            for (id, (owner, _)) in &naive {
                let workload = table.lookup(*id);
                prop_assert_eq!(identity(workload), *owner);
                let known = owner_of_index.entry(workload.index).or_insert(owner);
                prop_assert_eq!(known, owner);
            }
            let owners: BTreeSet<&str> = naive.values().map(|(owner, _)| *owner).chain(["/"]).collect();
            prop_assert_eq!(table.workloads().count(), owners.len());
        }
        prop_assert_eq!(table.counters(), Counters::default());
    }

    #[test]
    fn it_never_exceeds_its_bounds(
        steps in prop::collection::vec((1_u64..40, any::<bool>()), 1..150),
        groups in 1_usize..12, removed in 0_usize..12,
    ) {
        let mut table = CgroupTable::new(Limits { groups, removed, linger_ns: u64::MAX });
        for ((id, insert), now) in steps.into_iter().zip(0..) {
            if insert {
                table.insert(id, 0, format!("/{id}.service").as_bytes());
            } else {
                table.remove(id, now);
            }
            prop_assert!(table.len() <= groups && table.removed.len() <= removed);
            prop_assert!(table.workloads().count() <= groups + 1);
        }
    }
}
