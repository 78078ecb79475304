//! The decision by cases, and that the table hands it what it needs.

use tarsier_abi::fork::ForkRecord;
use zerocopy::IntoBytes as _;

use super::*;
use crate::decode::Decoder;
use crate::event::Sensor;
use crate::process::Limits;
use tarsier_abi::Header;

/// PID namespaces of the host, the container, one made in it, and the pod that a container shares one with.
const HOST: u32 = INITIAL;
const OWN: u32 = 7;
const INNER: u32 = 8;
/// cgroups of the runtime, the container, and the pod's other container.
const RUNTIME: u64 = 1;
const GROUP: u64 = 2;
const OTHER: u64 = 3;

fn place(vpid: u32, pid_ns: u32, cgroup: u64, origin: Origin) -> Place {
    Place { vpid, pid_ns, cgroup, origin }
}

fn inside(vpid: u32) -> Place {
    place(vpid, OWN, GROUP, Origin::Unknown)
}

#[test]
fn each_case_has_its_origin() {
    use Origin::{Entry, EntryDescendant, Joined, JoinedDescendant, Unknown};
    use Parent::{Known, Missing, Outside};
    let runc = Known(place(900, HOST, RUNTIME, Unknown));
    let known = |vpid, origin| Known(place(vpid, OWN, GROUP, origin));
    let shell_in_kind = Known(place(40, INNER, RUNTIME, EntryDescendant));
    let (seen, unseen) = (true, false);
    let cases = [
        ("the first process", inside(1), seen, runc, None, Entry),
        ("the same, its parent out of scope", inside(1), seen, Outside, None, Entry),
        ("the same, found at start", inside(1), unseen, Outside, None, Entry),
        ("the same, its parent perhaps inside", inside(1), seen, Missing, None, Unknown),
        ("of a container in a container", inside(1), seen, shell_in_kind, None, Entry),
        ("forked by the first", inside(5), seen, known(1, Entry), Some(GROUP), EntryDescendant),
        ("further down", inside(6), seen, known(5, EntryDescendant), Some(GROUP), EntryDescendant),
        (
            "found at start, a child of the first or an orphan",
            inside(5),
            unseen,
            known(1, Entry),
            Some(GROUP),
            Unknown,
        ),
        (
            "found at start, a child of a child",
            inside(6),
            unseen,
            known(5, EntryDescendant),
            Some(GROUP),
            EntryDescendant,
        ),
        ("an exec session", inside(9), seen, runc, Some(GROUP), Joined),
        ("the same, its parent out of scope", inside(9), seen, Outside, Some(GROUP), Joined),
        ("the same, found at start", inside(9), unseen, Outside, Some(GROUP), Joined),
        ("the same, its parent perhaps inside", inside(9), seen, Missing, Some(GROUP), Unknown),
        ("from a container around it", inside(9), seen, shell_in_kind, Some(GROUP), Joined),
        ("forked in an exec session", inside(10), seen, known(9, Joined), Some(GROUP), JoinedDescendant),
        ("further down", inside(11), seen, known(10, JoinedDescendant), Some(GROUP), JoinedDescendant),
        (
            "of a line whose beginning was not seen",
            inside(11),
            seen,
            known(10, Unknown),
            Some(GROUP),
            Unknown,
        ),
        ("a pod's shared namespace", inside(9), seen, Outside, Some(OTHER), Unknown),
        ("a namespace whose first process is not known", inside(9), seen, Outside, None, Unknown),
        (
            "unshare --pid --fork in the container",
            place(1, INNER, GROUP, Unknown),
            seen,
            known(5, EntryDescendant),
            None,
            EntryDescendant,
        ),
        (
            "the same in an exec session",
            place(1, INNER, GROUP, Unknown),
            seen,
            known(9, Joined),
            None,
            JoinedDescendant,
        ),
    ];
    for (what, own, forked, parent, first, wanted) in cases {
        assert_eq!(of(own, forked, parent, || first), wanted, "{what}");
    }
}

fn key(tgid: u32) -> TaskKey {
    TaskKey { start_boottime: 100 + u64::from(tgid), tgid, exec: 1 }
}

/// Applies the fork of `child`, whose pid inside is `vpid`; the origin that the table holds then.
fn fork(table: &mut ProcessTable, child: u32, parent: u32, vpid: u32) -> Origin {
    let record = ForkRecord {
        header: Header { sensor: Sensor::Fork as u8, op: 0, cpu: 0, seq: 0, boot_ns: 100 + u64::from(child) },
        child: key(child),
        parent: key(parent),
        cgroup: GROUP,
        vpid,
        pid_ns: OWN,
    };
    let mut decoder = Decoder::new(1);
    let event = decoder.decode(record.as_bytes()).unwrap();
    table.apply(&event, &mut Vec::new());
    table.get(&key(child)).unwrap().origin
}

#[test]
fn the_table_traces_every_line() {
    let mut table = ProcessTable::new(Limits::default());
    assert_eq!(fork(&mut table, 10, 5, 1), Origin::Entry);
    assert_eq!(fork(&mut table, 11, 10, 2), Origin::EntryDescendant);
    assert_eq!(fork(&mut table, 12, 6, 3), Origin::Joined);
    assert_eq!(fork(&mut table, 13, 12, 4), Origin::JoinedDescendant);
}

#[test]
fn after_a_loss_a_parent_that_is_not_held_may_be_anywhere() {
    let mut table = ProcessTable::new(Limits::default());
    assert_eq!(fork(&mut table, 10, 5, 1), Origin::Entry);
    table.lost(120);
    // Began at 115, before the loss was noticed; and at 130, after it.
    assert_eq!(fork(&mut table, 21, 15, 2), Origin::Unknown);
    assert_eq!(fork(&mut table, 31, 30, 3), Origin::Joined);
}

#[test]
fn what_is_dropped_for_room_is_forgotten_and_counts_as_lost() {
    let mut table = ProcessTable::new(Limits { processes: 2, ..Limits::default() });
    assert_eq!(fork(&mut table, 10, 5, 1), Origin::Entry);
    assert_eq!(table.origins.first.len(), 1);
    fork(&mut table, 11, 10, 2);
    // The first process makes room for this one, and is then a parent that is not held.
    assert_eq!(fork(&mut table, 12, 10, 3), Origin::Unknown);
    assert!(table.origins.first.is_empty());
}
