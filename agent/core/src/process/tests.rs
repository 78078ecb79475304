//! The table against a naive model, its bounds and its own bookkeeping, and long arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use tarsier_abi::exec::{ArgsRecord, ExecRecord};
use tarsier_abi::exit::ExitRecord;
use tarsier_abi::fork::ForkRecord;
use tarsier_abi::{Header, Sensor, Tail};
use zerocopy::{FromZeros, IntoBytes};

use super::*;
use crate::event::{Image, Strings};

mod model;

use model::{Model, Naive, Step, exe_name};

const FOREVER: Limits = Limits { processes: usize::MAX, image_bytes: usize::MAX, linger_ns: u64::MAX };

fn key(tgid: u32, start_boottime: u64, exec: u32) -> TaskKey {
    TaskKey { start_boottime, tgid, exec }
}

fn header(sensor: Sensor, op: u8, boot_ns: u64) -> Header {
    Header { sensor: sensor as u8, op, cpu: 0, seq: 0, boot_ns }
}

/// Applies a record's bytes as the pipeline would.
fn apply(table: &mut ProcessTable, record: &[u8]) -> Vec<Change> {
    let event = crate::decode::Decoder::new(1).decode(record).map(|event| {
        let mut out = Vec::new();
        table.apply(&event, &mut out);
        out
    });
    event.unwrap()
}

fn fork(at_ns: u64, child: TaskKey, parent: TaskKey) -> Vec<u8> {
    let mut record = ForkRecord::new_zeroed();
    record.header = header(Sensor::Fork, 0, at_ns);
    (record.child, record.parent) = (child, parent);
    record.as_bytes().to_vec()
}

fn exit(at_ns: u64, task: TaskKey, parent: TaskKey, status: u32) -> Vec<u8> {
    let mut record = ExitRecord::new_zeroed();
    record.header = header(Sensor::Exit, 0, at_ns);
    (record.task, record.parent, record.status) = (task, parent, status);
    record.as_bytes().to_vec()
}

struct ExecSpec<'a> {
    seed: bool,
    task: TaskKey,
    parent: TaskKey,
    exe: &'a str,
    args: &'a [u8],
    args_bytes: usize,
}

fn exec(at_ns: u64, spec: &ExecSpec<'_>) -> Vec<u8> {
    let mut record = ExecRecord::new_zeroed();
    record.header = header(Sensor::Exec, if spec.seed { 2 } else { 0 }, at_ns);
    (record.task, record.parent) = (spec.task, spec.parent);
    record.args_bytes = u32::try_from(spec.args_bytes).unwrap();
    let (offset, len) = (size_of::<ExecRecord>(), spec.exe.len());
    let tail = |offset: usize, len: usize| Tail { offset: offset as u16, len: len as u16 };
    record.exe = tail(offset, len);
    record.args = tail(offset + len, spec.args.len());
    [record.as_bytes(), spec.exe.as_bytes(), spec.args].concat()
}

fn simple_exec(at_ns: u64, seed: bool, task: TaskKey, parent: TaskKey, exe: &str) -> Vec<u8> {
    exec(at_ns, &ExecSpec { seed, task, parent, exe, args: b"", args_bytes: 0 })
}

fn args(task: TaskKey, position: usize, bytes: &[u8]) -> Vec<u8> {
    let mut record = ArgsRecord::new_zeroed();
    record.header = header(Sensor::Exec, 1, 1);
    (record.task, record.position) = (task, u32::try_from(position).unwrap());
    record.len = u32::try_from(bytes.len()).unwrap();
    [record.as_bytes(), bytes].concat()
}

impl Step {
    fn record(&self, step: u64) -> Vec<u8> {
        match *self {
            Self::Fork { child, parent } => fork(step, child, parent),
            Self::Exec { task, parent, seed } => simple_exec(step, seed, task, parent, &exe_name(step)),
            Self::Exit { task, parent } => exit(step, task, parent, u32::try_from(step).unwrap()),
        }
    }
}

fn some_key() -> impl Strategy<Value = TaskKey> {
    (1_u32..5, 1_u64..3, 0_u32..3).prop_map(|(tgid, start, exec)| key(tgid, start, exec))
}

fn some_step() -> impl Strategy<Value = Step> {
    let parent = || prop_oneof![1 => Just(TaskKey::NONE), 6 => some_key()];
    prop_oneof![
        (some_key(), parent()).prop_map(|(child, parent)| Step::Fork { child, parent }),
        (some_key(), parent(), prop::bool::weighted(0.3)).prop_map(|(task, parent, seed)| Step::Exec {
            task,
            parent,
            seed
        }),
        (some_key(), parent()).prop_map(|(task, parent)| Step::Exit { task, parent }),
    ]
}

fn seen(table: &ProcessTable) -> BTreeMap<TaskKey, Naive> {
    let naive = |entry: &Entry| Naive {
        parent: entry.process.parent,
        exe: String::from_utf8_lossy(entry.process.image.exe()).into_owned(),
        source: entry.source,
        forked: entry.forked,
        seeded: entry.process.seeded,
        started_ns: entry.process.started_ns,
        ended: entry.ended_ns.is_some(),
        status: entry.status,
    };
    table.entries.iter().map(|(_, entry)| (entry.process.key, naive(entry))).collect()
}

/// The table's own bookkeeping: every ended entry waits exactly once, every image is counted once, every pid
/// leads to its newest execution and from there to the others.
fn check(table: &ProcessTable) {
    let entries = || table.entries.iter().map(|(_, entry)| entry);
    let queued: BTreeSet<TaskKey> = table
        .room
        .ended
        .iter()
        .map(|&(_, at)| table.entries.get(at).expect("what waits is there").process.key)
        .collect();
    assert_eq!(queued.len(), table.room.ended.len(), "queued twice");
    let held: BTreeSet<TaskKey> =
        entries().filter(|entry| entry.held).map(|entry| entry.process.key).collect();
    assert_eq!(held.len(), table.room.held);
    assert!(queued.is_disjoint(&held));
    let ended: BTreeSet<TaskKey> =
        entries().filter(|entry| entry.ended_ns.is_some()).map(|entry| entry.process.key).collect();
    assert_eq!(&queued | &held, ended);
    check_images(table);
    let mut newest = BTreeMap::new();
    for (at, entry) in table.entries.iter() {
        let key = entry.process.key;
        assert_eq!(table.entries.find(&key), Some(at));
        let known = newest.entry(key.tgid).or_insert(key);
        *known = key.max(*known);
    }
    let pids: BTreeMap<u32, TaskKey> =
        table.entries.pids().map(|(tgid, at)| (tgid, table.entries.get(at).unwrap().process.key)).collect();
    assert_eq!(pids, newest);
    assert!(table.waiting.keys().all(|key| table.get(key).is_some()));
}

fn check_images(table: &ProcessTable) {
    // One entry more holds the image of the unknown: the table itself.
    let mut uses = BTreeMap::from([(table.unknown.number, 1)]);
    let mut images = BTreeMap::new();
    for (_, entry) in table.entries.iter() {
        *uses.entry(entry.image).or_default() += 1;
        let address = Arc::as_ptr(&entry.process.image);
        assert_eq!(*images.entry(entry.image).or_insert(address), address, "one number, one image");
    }
    assert_eq!(uses, table.images.held().collect());
    let known = images.iter().filter(|(number, _)| **number != table.unknown.number);
    assert!(table.images.bytes() >= known.count() * size_of::<Image>());
    assert!(table.images.bytes() == 0 || images.keys().any(|number| *number != table.unknown.number));
}

proptest! {
    #[test]
    fn any_order_agrees_with_the_model(steps in prop::collection::vec(some_step(), 1..60)) {
        let (mut table, mut model) = (ProcessTable::new(FOREVER), Model::default());
        for (step, at_ns) in steps.iter().zip(10..) {
            let changes = apply(&mut table, &step.record(at_ns));
            let expected = model.apply(step, at_ns).map(|(key, kind)| Change { at_ns, key, kind });
            prop_assert_eq!(changes, Vec::from_iter(expected), "{:?}", step);
            prop_assert_eq!(seen(&table), model.0.clone(), "{:?}", step);
            for tgid in 1..5 {
                prop_assert_eq!(table.by_tgid(tgid).map(|process| process.key), model.newest(tgid));
            }
            check(&table);
            if at_ns % 3 == 0 {
                table.compact();
                check(&table);
                prop_assert_eq!(table.entries.places(), table.len());
                prop_assert_eq!(seen(&table), model.0.clone(), "after {:?}, compacted", step);
            }
        }
        for key in model.0.keys() {
            prop_assert!(table.ancestors(key).count() <= 128, "a circle of parents ends");
        }
    }

    #[test]
    fn it_never_exceeds_its_bounds(
        steps in prop::collection::vec((some_step(), 0_u64..20), 1..120),
        processes in 1_usize..24, linger_ns in 0_u64..60, image_bytes in 0_usize..20_000,
    ) {
        let mut table = ProcessTable::new(Limits { processes, image_bytes, linger_ns });
        let mut at_ns = 100;
        for (step, pause) in &steps {
            at_ns += pause;
            apply(&mut table, &step.record(at_ns));
            prop_assert!(table.len() <= processes);
            prop_assert!(table.images.bytes() <= image_bytes + 1_000);
            check(&table);
        }
        let live: Vec<TaskKey> = table.live().map(|process| process.key).collect();
        for key in live {
            apply(&mut table, &exit(at_ns, key, TaskKey::NONE, 0));
        }
        // One wait, and one more for each generation that was held for its children.
        for _ in 0..=processes {
            at_ns += linger_ns;
            table.expire(at_ns);
        }
        prop_assert!(table.is_empty(), "{:?}", table);
        prop_assert_eq!(table.images.bytes(), 0);
    }

    /// Images are used again: nothing of what they were shows in what they are.
    #[test]
    fn an_image_is_what_its_exec_said(
        execs in prop::collection::vec(("[a-z]{0,9}", "[a-z ]{0,400}", any::<u32>()), 1..40), processes in 1_usize..5,
    ) {
        let mut table = ProcessTable::new(Limits { processes, ..FOREVER });
        let mut kept: Vec<(Arc<Image>, Image)> = Vec::new();
        for ((exe, args, inode), tgid) in execs.iter().zip(1..) {
            let task = key(tgid, 1, 1);
            let args = format!("{}\0", args.replace(' ', "\0"));
            let spec = ExecSpec {
                seed: false, task, parent: TaskKey::NONE, exe: &format!("{exe}x\0"), args: args.as_bytes(),
                args_bytes: args.len(),
            };
            let mut record = exec(1, &spec);
            let at = std::mem::offset_of!(ExecRecord, exe_inode);
            record[at..at + 8].copy_from_slice(&u64::from(*inode).to_ne_bytes());
            apply(&mut table, &record);
            let image = &table.get(&task).unwrap().image;
            let want = Image {
                exe_inode: u64::from(*inode),
                args_bytes: u32::try_from(args.len()).unwrap(),
                strings: Strings::of(format!("/{exe}x").as_bytes(), b"/", b"", args.as_bytes()),
                ..Image::default()
            };
            prop_assert_eq!(&**image, &want);
            // Who holds one beyond its time holds it unchanged.
            if inode % 3 == 0 {
                kept.push((Arc::clone(image), want));
            }
            check(&table);
        }
        for (image, want) in kept {
            prop_assert_eq!(&*image, &want);
        }
    }

    /// Side records of two execs interleave; one may be lost.
    #[test]
    fn arguments_are_put_together(
        first in prop::collection::vec("[a-z]{0,30}", 1..40),
        second in prop::collection::vec("[a-z]{0,30}", 1..40),
        chunk in 1_usize..50, lost in 0_usize..30,
    ) {
        let tasks = [key(1, 1, 1), key(2, 1, 1)];
        let bytes = [&first, &second].map(|args| args.iter().fold(Vec::new(), |mut all, arg| {
            all.extend_from_slice(arg.as_bytes());
            all.push(0);
            all
        }));
        let mut table = ProcessTable::new(FOREVER);
        let mut reported = Vec::new();
        for (task, bytes) in tasks.iter().zip(&bytes) {
            let inline = &bytes[..chunk.min(bytes.len())];
            let spec = ExecSpec {
                seed: false, task: *task, parent: TaskKey::NONE, exe: "x\0", args: inline,
                args_bytes: bytes.len(),
            };
            reported.extend(apply(&mut table, &exec(1, &spec)));
        }
        let mut carried = bytes.each_ref().map(Vec::len);
        for position in (chunk..1_300).step_by(chunk) {
            for ((task, bytes), carried) in tasks.iter().zip(&bytes).zip(&mut carried) {
                let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) else { continue };
                if task.tgid == 2 && position == chunk * lost {
                    *carried = position;
                    continue;
                }
                let part = &rest[..chunk.min(rest.len())];
                reported.extend(apply(&mut table, &args(*task, position, part)));
            }
        }
        table.flush_pending(&mut reported);
        table.flush_pending(&mut reported);
        for ((task, bytes), carried) in tasks.iter().zip(&bytes).zip(carried) {
            let of_task: Vec<_> = reported.iter().filter(|change| change.key == *task).collect();
            prop_assert_eq!(of_task, [&Change { at_ns: 1, key: *task, kind: ChangeKind::Exec }]);
            let image = &table.get(task).unwrap().image;
            prop_assert_eq!(image.args().bytes(), &bytes[..carried]);
            prop_assert_eq!(image.args_truncated, carried < bytes.len());
        }
        check(&table);
    }
}

#[test]
fn a_shell_runs_a_program_that_forks() {
    let (init, shell, child, program) = (key(1, 1, 1), key(20, 5, 4), key(30, 9, 4), key(30, 9, 5));
    let mut table = ProcessTable::new(Limits::default());
    for (task, parent, exe) in [(init, TaskKey::NONE, "init\0"), (shell, init, "sh\0bin\0")] {
        assert_eq!(apply(&mut table, &simple_exec(10, true, task, parent, exe)), []);
    }
    assert!(table.set_args(&shell, b"sh\0-c\0"));
    apply(&mut table, &fork(20, child, shell));
    let forked = table.get(&child).unwrap();
    assert_eq!((forked.image.exe(), forked.image.args().iter().count()), (&b"/bin/sh"[..], 2));
    assert!(Arc::ptr_eq(&forked.image, &table.get(&shell).unwrap().image));
    // The shell dies first: the record names init, the table still knows better.
    apply(&mut table, &exit(25, shell, init, 0));
    let changes = apply(&mut table, &simple_exec(30, false, program, init, "true\0bin\0"));
    let Some(What::Exec { process }) = table.what(&changes[0]) else { panic!("{changes:?}") };
    assert_eq!((process.parent, process.image.exe()), (shell, &b"/bin/true"[..]));
    let ancestors: Vec<TaskKey> = table.ancestors(&program).map(|process| process.key).collect();
    assert_eq!(ancestors, [shell, init]);
    assert!(!table.set_args(&program, b""), "its arguments came with its exec");
}

#[test]
fn a_hole_in_the_arguments_ends_the_wait_at_once() {
    let task = key(1, 1, 1);
    let mut table = ProcessTable::new(Limits::default());
    let spec =
        ExecSpec { seed: false, task, parent: TaskKey::NONE, exe: "x\0", args: b"one\0", args_bytes: 12 };
    assert_eq!(apply(&mut table, &exec(1, &spec)), []);
    assert_eq!(apply(&mut table, &args(task, 8, b"two\0")).len(), 1);
    assert_eq!(apply(&mut table, &args(task, 4, b"late")), []);
    let counters = table.counters();
    assert_eq!((counters.stray_args, counters.cut_args), (2, 1));
}

#[test]
fn a_parent_is_held_for_its_children_and_then_forgotten() {
    let (parent, child) = (key(1, 1, 1), key(2, 2, 1));
    let mut table = ProcessTable::new(Limits { linger_ns: 100, ..Limits::default() });
    apply(&mut table, &simple_exec(1, false, parent, TaskKey::NONE, "p\0"));
    apply(&mut table, &fork(2, child, parent));
    apply(&mut table, &fork(3, key(3, 3, 1), parent));
    apply(&mut table, &exit(10, parent, TaskKey::NONE, 0));
    table.expire(400);
    apply(&mut table, &exit(500, key(3, 3, 1), parent, 0));
    table.expire(1_000);
    assert!(table.get(&parent).is_some() && table.ended_ns(&parent) == Some(10));
    apply(&mut table, &exit(2_000, child, parent, 0));
    table.expire(2_099);
    assert_eq!(table.len(), 2);
    table.expire(2_100);
    assert!(table.is_empty());
}

#[test]
fn ended_processes_are_evicted_before_live_ones_and_old_before_new() {
    let mut table = ProcessTable::new(Limits { processes: 3, ..Limits::default() });
    for tgid in 1..=3 {
        apply(&mut table, &fork(tgid.into(), key(tgid, tgid.into(), 0), TaskKey::NONE));
    }
    apply(&mut table, &exit(5, key(2, 2, 0), TaskKey::NONE, 0));
    apply(&mut table, &fork(6, key(4, 6, 0), TaskKey::NONE));
    assert!(table.by_tgid(2).is_none() && table.by_tgid(1).is_some());
    apply(&mut table, &fork(7, key(5, 7, 0), TaskKey::NONE));
    assert!(table.by_tgid(1).is_none() && table.by_tgid(3).is_some());
    let counters = table.counters();
    assert_eq!((counters.evicted_ended, counters.evicted_live, counters.orphans), (1, 1, 5));
}

#[test]
fn one_held_for_its_children_is_evicted_before_the_live() {
    let mut table = ProcessTable::new(Limits { processes: 8, linger_ns: 0, ..Limits::default() });
    let parent = key(1, 1, 0);
    apply(&mut table, &fork(1, parent, TaskKey::NONE));
    apply(&mut table, &fork(2, key(2, 2, 0), parent));
    apply(&mut table, &exit(3, parent, TaskKey::NONE, 0));
    for tgid in 3..=8 {
        apply(&mut table, &fork(tgid.into(), key(tgid, tgid.into(), 0), TaskKey::NONE));
    }
    assert!(table.len() == 8 && table.get(&parent).is_some());
    apply(&mut table, &fork(9, key(9, 9, 0), TaskKey::NONE));
    check(&table);
    assert!(table.len() == 8 && table.get(&parent).is_none());
    assert_eq!((table.counters().evicted_ended, table.counters().evicted_live), (1, 0));
}

#[test]
fn what_a_process_does_next_is_reported_after_its_exec() {
    let (task, child) = (key(1, 1, 1), key(2, 2, 1));
    let spec =
        ExecSpec { seed: false, task, parent: TaskKey::NONE, exe: "x\0", args: b"x\0", args_bytes: 50 };
    let kinds = |changes: Vec<Change>| changes.iter().map(|change| change.kind).collect::<Vec<_>>();
    let next = [
        (fork(2, child, task), ChangeKind::Fork),
        (exit(2, task, TaskKey::NONE, 7), ChangeKind::Exit { status: 7 }),
        (simple_exec(2, false, key(1, 1, 2), TaskKey::NONE, "y\0"), ChangeKind::Exec),
    ];
    for (record, kind) in next {
        let mut table = ProcessTable::new(Limits::default());
        assert_eq!(apply(&mut table, &exec(1, &spec)), []);
        assert_eq!(kinds(apply(&mut table, &record)), [ChangeKind::Exec, kind]);
        assert!(table.get(&task).unwrap().image.args_truncated);
    }
}

#[test]
fn a_reused_pid_ends_its_former_owner() {
    let mut table = ProcessTable::new(Limits::default());
    apply(&mut table, &fork(1, key(7, 1, 0), TaskKey::NONE));
    apply(&mut table, &fork(9, key(7, 9, 0), TaskKey::NONE));
    assert_eq!(table.ended_ns(&key(7, 1, 0)), Some(9));
    assert_eq!(table.counters().missed_exits, 1);
    assert!(table.resolve(&key(7, 5, 0)).is_none(), "another process of that pid is not the same one");
}

#[test]
fn memory_of_a_burst_is_given_back_once_it_is_over() {
    let mut table = ProcessTable::new(Limits { linger_ns: 10, ..Limits::default() });
    let many = 10_000;
    for tgid in 1..=many {
        apply(&mut table, &fork(tgid.into(), key(tgid, tgid.into(), 0), TaskKey::NONE));
    }
    for tgid in 2..=many {
        apply(&mut table, &exit(20_000, key(tgid, tgid.into(), 0), TaskKey::NONE, 0));
    }
    table.expire(30_000);
    assert!(!table.tidy(), "it was all needed a moment ago");
    assert!(table.tidy());
    assert_eq!((table.len(), table.entries.places()), (1, 1));
    check(&table);
}

#[test]
fn what_is_shed_has_ended_and_is_counted() {
    let mut table = ProcessTable::new(Limits::default());
    for tgid in 1..=9 {
        apply(&mut table, &fork(tgid.into(), key(tgid, tgid.into(), 0), TaskKey::NONE));
    }
    for tgid in 1..=4 {
        apply(&mut table, &exit(20, key(tgid, tgid.into(), 0), TaskKey::NONE, 0));
    }
    table.shed(30);
    check(&table);
    assert_eq!((table.len(), table.counters().shed), (5, 4));
}
