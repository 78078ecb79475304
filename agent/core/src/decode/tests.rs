//! Properties of the decoder: total on any bytes, exact on what is missing.

use proptest::prelude::*;
use tarsier_abi::exec::{ArgsRecord, ExecRecord, flag};
use tarsier_abi::exit::ExitRecord;
use tarsier_abi::fork::ForkRecord;
use tarsier_abi::{Header, Sensor, Tail, TaskKey};
use zerocopy::{FromZeros, IntoBytes};

use super::*;
use crate::event::Body;
use crate::event::exec::{Event as ExecEvent, PathForm};

const TASK: TaskKey = TaskKey { start_boottime: 77, tgid: 42, exec: 3 };

fn header(sensor: Sensor, op: u8, cpu: u16, seq: u32) -> Header {
    Header { sensor: sensor as u8, op, cpu, seq, boot_ns: 1 }
}

/// An exec record with the given tails.
fn exec_bytes(flags: u32, exe: &[u8], cwd: &[u8], args: &[u8]) -> Vec<u8> {
    let mut record = ExecRecord::new_zeroed();
    record.header = header(Sensor::Exec, 0, 0, 0);
    record.task = TASK;
    record.flags = flags;
    let mut tails = Vec::new();
    let mut place = |bytes: &[u8]| {
        let offset = u16::try_from(size_of::<ExecRecord>() + tails.len()).unwrap();
        tails.extend_from_slice(bytes);
        Tail { offset, len: u16::try_from(bytes.len()).unwrap() }
    };
    (record.exe, record.cwd, record.args) = (place(exe), place(cwd), place(args));
    [record.as_bytes(), &tails].concat()
}

fn exit_bytes(cpu: u16, seq: u32) -> Vec<u8> {
    let mut record = ExitRecord::new_zeroed();
    record.header = header(Sensor::Exit, 0, cpu, seq);
    record.task = TASK;
    record.as_bytes().to_vec()
}

#[test]
fn an_exec_record_is_read_whole() {
    let bytes = exec_bytes(flag::CWD_TRUNCATED, b"true\0bin\0", b"deep\0", b"true\0-x\0\0");
    let mut decoder = Decoder::new(1);
    let event = decoder.decode(&bytes).unwrap();
    let Body::Exec(ExecEvent::Exec(exec)) = event.body else { panic!("{event:?}") };
    assert_eq!(exec.record().task, TASK);
    assert_eq!(exec.exe.to_bytes(), b"/bin/true");
    assert_eq!(exec.cwd.to_bytes(), b".../deep");
    assert_eq!(exec.args, b"true\0-x\0\0");
    assert!(!exec.seed);
}

#[test]
fn a_kernel_thread_has_no_paths_and_a_root_directory_is_a_path() {
    let form = |bytes: &[u8]| match Decoder::new(1).decode(bytes).unwrap().body {
        Body::Exec(ExecEvent::Exec(exec)) => (exec.exe.form(), exec.cwd.form()),
        other => panic!("{other:?}"),
    };
    let kernel_thread = exec_bytes(flag::KERNEL_THREAD, b"", b"", b"");
    assert_eq!(form(&kernel_thread), (PathForm::Absent, PathForm::Absent));
    let at_root = exec_bytes(flag::EXE_DETACHED | flag::EXE_MEMFD, b"memfd:x\0", b"", b"");
    assert_eq!(form(&at_root), (PathForm::Memfd, PathForm::Absolute));
}

#[test]
fn damage_is_named_and_counted_and_is_not_also_a_loss() {
    let mut decoder = Decoder::new(2);
    assert_eq!(decoder.decode(&[1; 15]).unwrap_err(), Malformed::Short);
    let mut bytes = exit_bytes(0, 0);
    bytes[0] = 200;
    assert_eq!(decoder.decode(&bytes).unwrap_err(), Malformed::Sensor);
    let mut bytes = exit_bytes(0, 0);
    bytes[1] = 9;
    assert_eq!(decoder.decode(&bytes).unwrap_err(), Malformed::Op);
    assert_eq!(decoder.decode(&exit_bytes(2, 0)).unwrap_err(), Malformed::Value, "CPU 2 of 2");
    decoder.decode(&exit_bytes(0, 1)).unwrap();
    let counters = decoder.counters();
    assert!(Malformed::ALL.iter().all(|&kind| counters.malformed(kind) == 1));
    assert_eq!(*counters.sensor(Sensor::Exit), SensorCounters { received: 1, ..Default::default() });
}

#[test]
fn iterator_records_are_outside_of_the_account() {
    let mut decoder = Decoder::new(1);
    decoder.decode_seed(&exit_bytes(0, 4_000)).unwrap();
    decoder.decode(&exit_bytes(0, 0)).unwrap();
    assert_eq!(
        *decoder.counters().sensor(Sensor::Exit),
        SensorCounters { received: 1, ..Default::default() }
    );
}

#[test]
fn sequences_wrap_and_old_numbers_make_no_gap() {
    let mut sequence = Sequence { next: u32::MAX, seen: u64::MAX };
    assert_eq!(sequence.arrive(u32::MAX), Arrival::InOrder { missing: 0 });
    assert_eq!(sequence.arrive(1), Arrival::InOrder { missing: 1 });
    assert_eq!(sequence.arrive(0), Arrival::Late);
    assert_eq!(sequence.arrive(0), Arrival::Repeated);
    assert_eq!(sequence.arrive(u32::MAX - 500), Arrival::Repeated);
    assert_eq!(sequence.arrive(2), Arrival::InOrder { missing: 0 });
}

/// Bytes that look like records often enough to reach every decoder.
fn nearly_record() -> impl Strategy<Value = Vec<u8>> {
    (0_u8..7, 0_u8..9, prop::collection::vec(any::<u8>(), 0..400), any::<[u16; 6]>()).prop_map(
        |(sensor, op, mut bytes, tails)| {
            if bytes.len() >= 2 {
                bytes[..2].copy_from_slice(&[sensor, op]);
            }
            if bytes.len() >= 224 {
                // Small tails are in range now and then, so that the paths are walked too.
                for (slot, value) in bytes[212..224].chunks_exact_mut(2).zip(tails) {
                    slot.copy_from_slice(&(value % 420).to_ne_bytes());
                }
            }
            bytes
        },
    )
}

/// Reads everything an event borrows.
fn touch(event: &Event<'_>) {
    let _ = format!("{event:?}");
    if let Body::Exec(ExecEvent::Exec(exec)) = &event.body {
        let _ = (exec.exe.to_bytes(), exec.cwd.to_bytes());
        let _ = crate::event::exec::split_args(exec.args).count();
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_counted(records in prop::collection::vec(nearly_record(), 1..20)) {
        let mut decoder = Decoder::new(65_536);
        for record in &records {
            if let Ok(event) = decoder.decode(record) {
                touch(&event);
            }
        }
        let counters = decoder.counters();
        let received: u64 = Sensor::ALL.iter().map(|&sensor| counters.sensor(sensor).received).sum();
        let malformed: u64 = Malformed::ALL.iter().map(|&kind| counters.malformed(kind)).sum();
        prop_assert_eq!(received + malformed, records.len() as u64);
    }

    #[test]
    fn a_record_cut_anywhere_is_malformed(
        exe in "([a-z]{1,8}\0){1,5}", cwd in "([a-z]{1,8}\0){1,5}", args in "([a-z]{0,8}\0){1,5}",
    ) {
        let exec = exec_bytes(0, exe.as_bytes(), cwd.as_bytes(), args.as_bytes());
        let mut fork = ForkRecord::new_zeroed();
        (fork.header, fork.child) = (header(Sensor::Fork, 0, 0, 0), TASK);
        let mut more = ArgsRecord::new_zeroed();
        (more.header, more.task, more.len) = (header(Sensor::Exec, 1, 0, 0), TASK, 5);
        let more = [more.as_bytes(), b"after"].concat();
        for whole in [&exec[..], fork.as_bytes(), &more, &exit_bytes(0, 0)] {
            let mut decoder = Decoder::new(1);
            prop_assert!(decoder.decode(whole).is_ok());
            for len in 0..whole.len() {
                prop_assert!(decoder.decode(&whole[..len]).is_err(), "{} of {} bytes", len, whole.len());
            }
        }
    }

    /// Against a set of the numbers that came: nothing lost or found that the set does not say.
    #[test]
    fn losses_are_what_never_came(
        steps in prop::collection::vec((0_u32..40, 0_usize..8), 1..200), repeats in any::<bool>(),
    ) {
        let mut produced = Vec::new();
        let mut next = 0_u32;
        for &(skip, _) in &steps {
            // Two numbers in three follow at once; the rest skip some.
            next += if skip % 3 == 0 { skip } else { 0 };
            produced.push(next);
            next += 1;
        }
        // Neighbours change places, never by more than the window.
        for (index, &(_, swap)) in steps.iter().enumerate() {
            if swap == 7 && index + 1 < produced.len() && produced[index + 1] - produced[index] < 40 {
                produced.swap(index, index + 1);
            }
        }
        let mut decoder = Decoder::new(1);
        for &seq in &produced {
            decoder.decode(&exit_bytes(0, seq)).unwrap();
            if repeats {
                decoder.decode(&exit_bytes(0, seq)).unwrap();
            }
        }
        let came: std::collections::BTreeSet<u32> = produced.iter().copied().collect();
        let newest = u64::from(*came.last().unwrap());
        let counters = *decoder.counters().sensor(Sensor::Exit);
        prop_assert_eq!(counters.lost, newest + 1 - came.len() as u64);
        prop_assert_eq!(counters.repeated, if repeats { produced.len() as u64 } else { 0 });
        let late = produced.iter().scan(None, |max, &seq| {
            let late = max.is_some_and(|max| seq < max);
            *max = (*max).max(Some(seq));
            Some(late)
        });
        prop_assert_eq!(counters.late, late.filter(|&late| late).count() as u64);
    }
}
