//! Log requests.

use std::sync::{Arc, LazyLock};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use proptest::prelude::*;
use prost::Message as _;
use tarsier_abi::exec::flag;

use super::entities::{Happening, happenings, workloads};
use super::*;
use crate::encode::redact::{RedactConfig, Redactor, Scratch};
use crate::encode::text::{Second, in_string};
use crate::event::{Image, Origin, Process, Report, Strings, TaskKey};

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(&RedactConfig::default()).unwrap());

/// All that `happenings` make, in requests of at most `max_bytes`.
fn requests(happenings: &[(usize, u64, Happening)], max_bytes: usize) -> Vec<Encoded> {
    let workloads = workloads();
    let mut encoder = LogsEncoder::new(&agent(), REDACTOR.clone(), max_bytes);
    let mut requests = Vec::new();
    for (workload, at_ns, happening) in happenings {
        let report = Report { at_ns: *at_ns, workload: &workloads[*workload], what: happening.what() };
        requests.extend(encoder.push(&report, CLOCK));
    }
    let promised = encoder.len();
    let last = encoder.finish();
    if let Some(last) = &last {
        let slack = promised - last.body.len();
        assert!(slack <= 12 * workloads.len(), "{slack} bytes promised too many");
    }
    assert_eq!((encoder.is_empty(), encoder.len()), (true, 0));
    requests.extend(last);
    requests
}

fn expected(happenings: &[(usize, u64, Happening)]) -> ExportLogsServiceRequest {
    let workloads = workloads();
    let mut order = Vec::new();
    let mut groups: Vec<Vec<LogRecord>> = vec![Vec::new(); workloads.len()];
    for (workload, at_ns, happening) in happenings {
        if let Some(record) = record(*at_ns, &workloads[*workload], happening) {
            if !order.contains(workload) {
                order.push(*workload);
            }
            groups[*workload].push(record);
        }
    }
    let resource_logs = order.into_iter().map(|workload| ResourceLogs {
        resource: Some(resource(&workloads[workload])),
        scope_logs: vec![ScopeLogs {
            scope: Some(scope()),
            log_records: std::mem::take(&mut groups[workload]),
            ..Default::default()
        }],
        ..Default::default()
    });
    ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
}

fn record(at_ns: u64, workload: &Workload, happening: &Happening) -> Option<LogRecord> {
    let (verb, process, end) = match happening {
        Happening::Exec(process) => ("exec", process, String::new()),
        Happening::Fork(process) => ("fork", process, String::new()),
        Happening::Exit(process, status) => ("exit", process, exit_words(*status)),
        Happening::Flow(..) => return None,
    };
    let image = &process.image;
    let program = String::from_utf8_lossy(if image.exe().is_empty() { image.comm() } else { image.exe() });
    let mut attributes = common(process, workload);
    match happening {
        Happening::Exec(process) => {
            let created = traces::unix(process.key.start_boottime);
            attributes.push(text(
                "process.creation.time",
                in_string(|text| text.rfc3339(created, &mut Second::default())),
            ));
            exec(&mut attributes, image);
        }
        Happening::Exit(_, status) if status & 127 == 0 => {
            attributes.push(int("process.exit.code", status / 256 % 256));
        }
        Happening::Exit(_, status) => {
            attributes.push(int("tarsier.process.exit.signal", status % 128));
            attributes.extend((status / 128 % 2 == 1).then(|| truth("tarsier.process.exit.core_dumped")));
        }
        _ => {}
    }
    Some(LogRecord {
        time_unix_nano: CLOCK.boot_to_unix_ns.saturating_add(at_ns),
        observed_time_unix_nano: CLOCK.now_unix_ns,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(format!("{verb} {program}{end}"))) }),
        attributes,
        event_name: format!("tarsier.process.{verb}"),
        ..Default::default()
    })
}

fn exit_words(status: u32) -> String {
    match status & 127 {
        0 => format!(" (code {})", status / 256 % 256),
        signal => format!(" (signal {signal})"),
    }
}

pub(super) fn common(process: &Process, workload: &Workload) -> Vec<KeyValue> {
    let mut attributes = traces::identity(process);
    if process.parent.tgid != 0 {
        let parent = process.parent;
        attributes.push(int("process.parent_pid", parent.tgid));
        let id = format!("{:x}-{}-{}", parent.start_boottime, parent.tgid, parent.exec);
        attributes.push(text("tarsier.parent_exec_id", id));
    }
    if process.vpid != 0 && process.vpid != process.key.tgid {
        attributes.push(int("process.vpid", process.vpid));
    }
    if !workload.container_id.is_empty() {
        attributes.push(text("tarsier.process.origin", process.origin.name()));
    }
    attributes.extend(process.seeded.then(|| truth("tarsier.process.seeded")));
    attributes
}

fn exec(attributes: &mut Vec<KeyValue>, image: &Image) {
    let mut scratch = Scratch::default();
    let argv: Vec<String> = REDACTOR
        .redact(image.args(), &mut scratch)
        .iter()
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect();
    if let Some(command) = argv.first() {
        attributes.push(text("process.command", command.as_str()));
        attributes.push(texts("process.command_args", argv.iter().cloned()));
    }
    if image.args_truncated {
        attributes.push(truth("tarsier.process.args.truncated"));
        attributes.push(int("tarsier.process.args.bytes", image.args_bytes));
    }
    let has = |bit, key| (image.flags & bit != 0).then(|| truth(key));
    attributes.extend(has(flag::ARGS_UNREADABLE, "tarsier.process.args.unreadable"));
    if !image.cwd().is_empty() {
        attributes.push(lossy("process.working_directory", image.cwd()));
    }
    if !image.comm().is_empty() && image.comm() != traces::name(image) {
        attributes.push(lossy("tarsier.process.comm", image.comm()));
    }
    let creds = &image.creds;
    attributes.push(int("process.user.id", creds.euid));
    let other = |key, id, than| (id != than).then(|| int(key, id));
    attributes.extend(other("process.real_user.id", creds.uid, creds.euid));
    attributes.extend(other("process.saved_user.id", creds.suid, creds.euid));
    attributes.push(int("tarsier.process.group.id", creds.egid));
    attributes.extend(other("tarsier.process.real_group.id", creds.gid, creds.egid));
    if creds.loginuid != u32::MAX {
        attributes.push(int("tarsier.process.loginuid", creds.loginuid));
    }
    let mask =
        |name, mask: u64| text(&format!("tarsier.process.capabilities.{name}"), format!("{mask:016x}"));
    attributes.extend((creds.cap_effective != 0).then(|| mask("effective", creds.cap_effective)));
    let others = creds.cap_permitted != creds.cap_effective;
    attributes.extend(others.then(|| mask("permitted", creds.cap_permitted)));
    attributes.extend((creds.cap_inheritable != 0).then(|| mask("inheritable", creds.cap_inheritable)));
    attributes.extend((creds.cap_ambient != 0).then(|| mask("ambient", creds.cap_ambient)));
    let ns = image.ns;
    let user = if ns.user == 4_026_531_837 { 0 } else { ns.user };
    let told = [("mnt", ns.mnt), ("pid", ns.pid), ("net", ns.net), ("user", user)];
    for (name, inode) in told.into_iter().filter(|(_, inode)| *inode != 0) {
        attributes.push(int(&format!("tarsier.process.namespace.{name}"), inode));
    }
    let device = |device: u32| format!("{}:{}", device >> 20, device % (1 << 20));
    attributes.extend((image.tty != 0).then(|| text("tarsier.process.tty", device(image.tty))));
    if image.exe_inode != 0 {
        attributes.push(count("tarsier.exe.inode", image.exe_inode));
        attributes.push(text("tarsier.exe.device", device(image.exe_dev)));
        attributes.push(count("tarsier.exe.ctime", image.exe_ctime_ns));
    }
    attributes.extend(has(flag::EXE_UPPER_LAYER, "tarsier.exe.upper_layer"));
    attributes.extend(has(flag::EXE_MEMFD, "tarsier.exe.memfd"));
    attributes.extend(has(flag::EXE_UNLINKED, "tarsier.exe.unlinked"));
    attributes.extend(has(flag::EXE_DETACHED, "tarsier.exe.detached"));
    attributes.extend(has(flag::EXE_TRUNCATED, "tarsier.exe.truncated"));
    attributes.extend(has(flag::CWD_DETACHED, "tarsier.cwd.detached"));
    attributes.extend(has(flag::CWD_TRUNCATED, "tarsier.cwd.truncated"));
    attributes.extend(has(flag::KERNEL_THREAD, "tarsier.process.kernel_thread"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn a_request_decodes_to_what_happened(happenings in happenings()) {
        let requests = requests(&happenings, usize::MAX);
        let want = expected(&happenings);
        let items: usize = want.resource_logs.iter().map(|group| group.scope_logs[0].log_records.len()).sum();
        prop_assert_eq!(requests.len(), usize::from(items > 0));
        for request in &requests {
            prop_assert_eq!(request.items as usize, items);
            prop_assert_eq!(&ExportLogsServiceRequest::decode(request.body.clone()).unwrap(), &want);
            prop_assert_eq!(request.body.len(), want.encoded_len());
        }
    }

    #[test]
    fn requests_stay_within_the_limit_and_lose_nothing(happenings in happenings(), max_bytes in 0_usize..6000) {
        let mut taken = 0;
        let logged: Vec<_> =
            happenings.into_iter().filter(|(.., what)| !matches!(what, Happening::Flow(..))).collect();
        for request in requests(&logged, max_bytes) {
            prop_assert!(request.items == 1 || request.body.len() <= max_bytes);
            let part = &logged[taken..taken + request.items as usize];
            prop_assert_eq!(ExportLogsServiceRequest::decode(request.body).unwrap(), expected(part));
            taken += part.len();
        }
        prop_assert_eq!(taken, logged.len());
    }
}

#[test]
fn a_secret_among_the_arguments_is_nowhere_in_the_request() {
    let arguments = ["mysql", "--host=db", "--password", "hunter2", "-e", "ALTER USER me PASSWORD 'hunter2'"];
    let args = arguments.map(|argument| format!("{argument}\0")).concat();
    let strings = Strings::of(b"/usr/bin/mysql", b"/", b"mysql", args.as_bytes());
    let image = Arc::new(Image { strings, ..Image::default() });
    let key = TaskKey { start_boottime: 1, tgid: 2, exec: 3 };
    let process = Process {
        key,
        parent: TaskKey::NONE,
        cgroup: 0,
        started_ns: 1,
        image,
        vpid: 2,
        pid_ns: 1,
        origin: Origin::Unknown,
        seeded: false,
    };
    let requests = requests(&[(0, 1, Happening::Exec(process))], usize::MAX);
    let bytes = String::from_utf8_lossy(&requests[0].body);
    assert!(!bytes.contains("hunter2") && bytes.contains("--host=db"), "{bytes}");
}
