//! Opened files, as the sensor's records tell of them.

use std::sync::Arc;

use tarsier_abi::syscall::{Call, CallerCreds, FileFacts, Part, PartKind, SyscallRecord};
use tarsier_abi::{Header, Sensor};
use tarsier_core::event::{Image, Origin, Process, Strings, TaskKey, Workload, WorkloadKind, syscall};
use tarsier_core::rules::facts::{Cache, Facts, Lineage, NoLookups, Reading, What};
use zerocopy::IntoBytes;

/// Program, its path, its parents' names, whether it opens to write, and what.
pub(crate) type Row = (&'static str, &'static str, [&'static str; 3], bool, &'static str);

/// Opened files of programs on a usual node.
pub(crate) const OPENED: &[Row] = &[
    (
        "nginx",
        "/usr/sbin/nginx",
        ["nginx", "containerd-shim", "systemd"],
        false,
        "/usr/share/nginx/html/index.html",
    ),
    ("nginx", "/usr/sbin/nginx", ["nginx", "containerd-shim", "systemd"], true, "/var/log/nginx/access.log"),
    (
        "postgres",
        "/usr/lib/postgresql/16/bin/postgres",
        ["postgres", "containerd-shim", "systemd"],
        true,
        "/var/lib/postgresql/data/base/16384/2619",
    ),
    (
        "python3",
        "/usr/local/bin/python3.12",
        ["gunicorn", "containerd-shim", "systemd"],
        false,
        "/usr/local/lib/python3.12/site-packages/requests/__init__.py",
    ),
    (
        "java",
        "/opt/java/openjdk/bin/java",
        ["sh", "containerd-shim", "systemd"],
        false,
        "/app/lib/spring-core-6.1.jar",
    ),
    (
        "kubelet",
        "/usr/bin/kubelet",
        ["systemd", "", ""],
        false,
        "/sys/fs/cgroup/kubepods.slice/memory.current",
    ),
    (
        "node",
        "/usr/local/bin/node",
        ["npm", "containerd-shim", "systemd"],
        false,
        "/app/node_modules/express/lib/router/index.js",
    ),
    (
        "containerd",
        "/usr/bin/containerd",
        ["systemd", "", ""],
        true,
        "/run/containerd/io.containerd.runtime.v2.task/k8s.io/x/init.pid",
    ),
];

/// One of them: its record, the process and its surroundings.
pub(crate) struct Opened {
    record: Vec<u8>,
    process: Process,
    parents: Vec<Process>,
    workload: Workload,
}

impl Opened {
    pub(crate) fn new(&(name, path, parents, writes, file): &Row) -> Self {
        let process = |level: u32, name: &str, path: &str| {
            let key = |level: u32| TaskKey { start_boottime: 9, tgid: 700 - level, exec: 1 };
            let args = format!("{path}\0--config\0/etc/{name}.conf\0");
            let strings = Strings::of(path.as_bytes(), b"/", name.as_bytes(), args.as_bytes());
            Process {
                key: key(level),
                parent: key(level + 1),
                cgroup: 1,
                started_ns: 0,
                image: Arc::new(Image { strings, ..Image::default() }),
                vpid: 1,
                pid_ns: 1,
                origin: Origin::Unknown,
                seeded: false,
            }
        };
        let named = parents.iter().filter(|name| !name.is_empty()).zip(1..);
        Self {
            record: record(TaskKey { start_boottime: 9, tgid: 700, exec: 1 }, 0, writes, file),
            process: process(0, name, path),
            parents: named.map(|(name, level)| process(level, name, &format!("/usr/bin/{name}"))).collect(),
            workload: Workload {
                index: 0,
                kind: WorkloadKind::Container,
                name: "3f1c9a62d7b0".into(),
                container_id: "3f1c9a62d7b0".repeat(5).into(),
                runtime: Some("containerd"),
                pod_uid: None,
                cgroup_path: "/kubepods/x".into(),
            },
        }
    }

    /// Its record, decoded.
    pub(crate) fn event(&self) -> syscall::Event<'_> {
        syscall::decode(Call::openat as u8, &self.record).expect("a record")
    }

    pub(crate) fn facts<'a>(&'a self, event: &'a syscall::Event<'a>, cache: &'a Cache) -> Facts<'a> {
        Facts {
            number: 1,
            boot_ns: 2_000_000_000,
            unix_ns: 1_735_689_600_000_000_000,
            first_unix_ns: 0,
            cpu: 0,
            what: What::Syscall(event),
            process: Some(&self.process),
            lineage: self,
            workload: &self.workload,
            lookups: &NoLookups,
            reading: Reading::Written,
            host_name: "node-1",
            cache,
        }
    }
}

impl Lineage for Opened {
    fn parent(&self, process: &Process) -> Option<&Process> {
        self.parents.iter().find(|parent| parent.key == process.parent)
    }
}

/// `openat(AT_FDCWD, file, …) = 7`.
pub(crate) fn record(task: TaskKey, seq: u32, writes: bool, file: &str) -> Vec<u8> {
    let call = Call::openat as u8;
    let header = Header { sensor: Sensor::Syscall as u8, op: call, cpu: 0, seq, boot_ns: 8_000_000_000 };
    let mut bytes = SyscallRecord {
        header,
        task,
        ret: 7,
        tid: task.tgid,
        flags: 0,
        numbers: 4,
        creds: CallerCreds::default(),
    }
    .as_bytes()
    .to_vec();
    let flags = if writes { 0o101 } else { 0o2_000_000 };
    [-100_i64 as u64, 0, flags, 0o644].iter().for_each(|number| bytes.extend(number.to_ne_bytes()));
    let mut part = |kind: PartKind, of: &[u8]| {
        bytes.extend(Part { kind: kind as u8, flags: 0, len: of.len() as u16 }.as_bytes());
        bytes.extend(of);
    };
    part(PartKind::File, FileFacts { mode: 0o100_644, fd: 7, ..FileFacts::default() }.as_bytes());
    part(PartKind::Path, file.as_bytes());
    let components: Vec<u8> = file
        .rsplit('/')
        .filter(|name| !name.is_empty())
        .flat_map(|name| [name.as_bytes(), b"\0"].concat())
        .collect();
    part(PartKind::FilePath, &components);
    bytes
}
