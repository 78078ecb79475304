//! What an encoder keeps from one item to the next must not show in what it writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message as _;

use super::entities::{Happening, flow, happenings, process, workloads};
use super::*;
use crate::encode::batch::Batch;
use crate::encode::redact::{RedactConfig, Redactor};
use crate::event::{Flow, FlowKind, Image, Process, Report, TaskKey, What};

/// Processes of few keys, so that one key has several images, few paths, so that one path has several
/// processes, and few arguments: pids used again, execs that came late, commands run again.
fn colliding_process() -> impl Strategy<Value = Process> {
    let exe = select(vec![&b"/bin/sh"[..], b"/bin/sl", b"/bin/s", b"/bin/", b"", b"/bin/\xFF"]);
    let comm = select(vec![&b"one"[..], b"two", b""]);
    let args = select(vec![&b"mysql\0--password\0s3cret\0"[..], b"mysql\0-e\0\xFF\0", b"\0", b""]);
    (process(), exe, comm, args, 1_u64..3, 1_u32..3, 0_u32..2).prop_map(
        |(process, exe, comm, args, start, tgid, exec)| {
            let key = TaskKey { start_boottime: start, tgid, exec };
            let mut image = Image::clone(&process.image);
            let cwd = image.cwd().to_vec();
            let text = |bytes: &'static [u8]| move |text: &mut Vec<u8>| text.extend_from_slice(bytes);
            image.exe_inode %= 3;
            image.exe_dev %= 2;
            image.exe_ctime_ns %= 2;
            image.strings.write(text(exe), |text| text.extend_from_slice(&cwd), comm, args);
            Process { key, image: Arc::new(image), ..process }
        },
    )
}

fn clock() -> impl Strategy<Value = Clock> {
    let offset = prop_oneof![Just(0), Just(1), Just(CLOCK.boot_to_unix_ns)];
    offset.prop_map(|boot_to_unix_ns| Clock { boot_to_unix_ns, now_unix_ns: boot_to_unix_ns + 5 })
}

fn owned_flow() -> impl Strategy<Value = (Flow, Process, Clock)> {
    let closed = flow().prop_map(|flow| Flow { kind: FlowKind::Closed, ..flow });
    (closed, colliding_process(), clock())
}

/// On and off.
static REDACTORS: LazyLock<[Redactor; 2]> = LazyLock::new(|| {
    [true, false].map(|enabled| Redactor::new(&RedactConfig { enabled, ..RedactConfig::default() }).unwrap())
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn a_span_does_not_depend_on_the_spans_before(flows in vec(owned_flow(), 1..30)) {
        let workloads = workloads();
        let mut reused = TracesEncoder::new(&agent(), usize::MAX);
        for (flow, process, clock) in &flows {
            let report =
                Report { at_ns: 0, workload: &workloads[0], what: What::Flow { flow, process: Some(process) } };
            let mut fresh = TracesEncoder::new(&agent(), usize::MAX);
            for encoder in [&mut reused, &mut fresh] {
                prop_assert_eq!(encoder.push(&report, *clock), None);
            }
            prop_assert_eq!(reused.finish(), fresh.finish());
        }
    }

    #[test]
    fn a_log_record_does_not_depend_on_those_before(
        processes in vec((colliding_process(), clock(), 0_usize..4, 0_u32..3), 1..30),
    ) {
        let workloads = workloads();
        let new = |redactor: &Redactor| LogsEncoder::new(&agent(), redactor.clone(), usize::MAX);
        let mut reused = REDACTORS.each_ref().map(new);
        for (process, clock, workload, what) in &processes {
            let what = match what {
                0 => What::Exec { process },
                1 => What::Fork { process },
                _ => What::Exit { process, status: 256 },
            };
            let report = Report { at_ns: 0, workload: &workloads[*workload], what };
            for (reused, redactor) in reused.iter_mut().zip(REDACTORS.iter()) {
                let mut fresh = new(redactor);
                for encoder in [&mut *reused, &mut fresh] {
                    prop_assert_eq!(encoder.push(&report, *clock), None);
                }
                prop_assert_eq!(reused.finish(), fresh.finish());
            }
        }
    }

    #[test]
    fn an_encoder_that_panics_leaves_the_batch_as_it_was(happenings in happenings(), max_bytes in 0_usize..6000) {
        let workloads = workloads();
        let item = |happening: &Happening| format!("{happening:?}").into_bytes();
        let mut batches = [(); 2].map(|()| Batch::new(&agent(), max_bytes));
        let mut requests = [Vec::new(), Vec::new()];
        for (workload, _, happening) in &happenings {
            let workload = &workloads[*workload];
            let hurt = catch_unwind(AssertUnwindSafe(|| {
                batches[1].push::<6>(workload, |record| {
                    record.append(&item(happening));
                    std::panic::resume_unwind(Box::new(()));
                })
            }));
            prop_assert!(hurt.is_err());
            for (batch, requests) in batches.iter_mut().zip(&mut requests) {
                requests.extend(batch.push::<6>(workload, |record| record.append(&item(happening))));
            }
            prop_assert_eq!(batches[0].len(), batches[1].len());
        }
        for (batch, requests) in batches.iter_mut().zip(&mut requests) {
            requests.extend(batch.finish());
        }
        prop_assert_eq!(&requests[0], &requests[1]);
    }
}

#[test]
fn requests_are_whole_while_their_memory_goes_round() {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    let workloads = workloads();
    let mut encoder = LogsEncoder::new(&agent(), REDACTORS[0].clone(), usize::MAX);
    let mut out = std::collections::VecDeque::new();
    for number in 1..200_u32 {
        let key = TaskKey { start_boottime: 1, tgid: number, exec: 0 };
        let process = Process {
            key,
            parent: TaskKey::NONE,
            cgroup: 0,
            started_ns: 0,
            image: Arc::default(),
            vpid: 0,
            pid_ns: 0,
            origin: crate::event::Origin::Unknown,
            seeded: false,
        };
        let what = What::Fork { process: &process };
        let report = Report { at_ns: number.into(), workload: &workloads[0], what };
        for _ in 0..number % 70 {
            assert_eq!(encoder.push(&report, CLOCK), None);
        }
        out.extend(encoder.finish().map(|request| (number, request)));
        // Between none and eight requests are out.
        while out.len() > (number / 10 % 9) as usize {
            let (number, request) = out.pop_front().unwrap();
            let decoded = ExportLogsServiceRequest::decode(request.body).unwrap();
            let records = &decoded.resource_logs[0].scope_logs[0].log_records;
            assert_eq!(records.len(), (number % 70) as usize);
            let pid = int("process.pid", number);
            assert!(records.iter().all(|record| record.attributes.contains(&pid)));
        }
    }
}
