//! Happenings to ask for fields: a record of a system call, decoded, of a process with two ancestors in a container.

use std::sync::Arc;

use tarsier_abi::exec::{Creds, flag};
use tarsier_abi::syscall::{Call, CallerCreds, FileFacts, Part, PartKind, SocketFacts, SyscallRecord};
use tarsier_abi::{Header, Sensor};
use zerocopy::IntoBytes;

use crate::event::{
    ContainerFacts, Image, Origin, PodFacts, Process, Strings, TaskKey, User, Workload, WorkloadKind, syscall,
};
use crate::rules::compare::Value;
use crate::rules::evaluate::Event;
use crate::rules::facts::{Cache, Facts, Lineage, Lookups, Reading, What};
use crate::rules::fields;
use crate::rules::typed::{Argument, FieldRef};

/// A record under construction.
#[derive(Debug)]
pub(in crate::rules) struct Record {
    fixed: SyscallRecord,
    numbers: Vec<u64>,
    parts: Vec<u8>,
}

/// A record of a call that returned `ret`.
pub(in crate::rules) fn record(call: Call, ret: i64, numbers: &[i64]) -> Record {
    let header = Header { sensor: Sensor::Syscall as u8, op: call as u8, cpu: 0, seq: 0, boot_ns: 1 };
    let task = TaskKey { start_boottime: 5, tgid: 700, exec: 2 };
    // It has given up what its program was started with.
    let creds = CallerCreds { euid: 1000, egid: 1000, cap_permitted: 1 << 10, ..CallerCreds::default() };
    let numbers_len = numbers.len() as u16;
    let fixed = SyscallRecord { header, task, ret, tid: 701, flags: 0, numbers: numbers_len, creds };
    Record { fixed, numbers: numbers.iter().map(|number| *number as u64).collect(), parts: Vec::new() }
}

impl Record {
    pub(in crate::rules) fn flagged(mut self, kind: PartKind, flags: u8, bytes: &[u8]) -> Self {
        let part = Part { kind: kind as u8, flags, len: bytes.len() as u16 };
        self.parts.extend(part.as_bytes());
        self.parts.extend(bytes);
        self
    }

    pub(in crate::rules) fn part(self, kind: PartKind, bytes: &[u8]) -> Self {
        self.flagged(kind, 0, bytes)
    }

    pub(in crate::rules) fn path(self, path: &str) -> Self {
        self.part(PartKind::Path, path.as_bytes())
    }

    pub(in crate::rules) fn file(self, mode: u32, path: &[u8]) -> Self {
        let facts = FileFacts { inode: 42, dev: 8 << 20 | 1, mode, fd: 3, ..FileFacts::default() };
        self.part(PartKind::File, facts.as_bytes()).part(PartKind::FilePath, path)
    }

    pub(in crate::rules) fn socket(self, facts: SocketFacts) -> Self {
        self.part(PartKind::Socket, facts.as_bytes())
    }

    pub(in crate::rules) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.fixed.as_bytes().to_vec();
        self.numbers.iter().for_each(|number| bytes.extend(number.to_ne_bytes()));
        bytes.extend(&self.parts);
        bytes
    }

    /// What it gives for each field, one after the other of one event.
    pub(in crate::rules) fn gives(&self, expected: &[(&str, &str)]) {
        let bytes = self.bytes();
        let call = self.fixed.header.op;
        let event = syscall::decode(call, &bytes).expect("a record");
        let world = World::new();
        let facts = Facts { what: What::Syscall(&event), ..world.facts() };
        check(&facts, event.call.name(), expected);
    }
}

/// What fields give of a happening.
pub(in crate::rules) fn check(facts: &Facts<'_>, of: &str, expected: &[(&str, &str)]) {
    for (field, expected) in expected {
        assert_eq!(given(facts, field), *expected, "{field} of {of}");
    }
}

/// What a field gives: its values with `|` between, or `-`.
fn given(facts: &Facts<'_>, written: &str) -> String {
    let (name, key) = match written.split_once('[') {
        Some((name, key)) => (name, key.strip_suffix(']')),
        None => (written, None),
    };
    let (place, field, behind) = fields::find(name).expect(name);
    let argument = key.or(behind).map(|key| match key.parse() {
        Ok(index) => Argument::Index(index),
        Err(_) => Argument::Key(key.to_owned()),
    });
    let mut values = Vec::new();
    facts.visit(&FieldRef { field, place: place as u16, argument }, &mut |value| {
        values.push(match value {
            Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Address(address) => address.to_string(),
        });
    });
    if values.is_empty() { "-".to_owned() } else { values.join("|") }
}

/// A process with its surroundings. The parent is `sh`, and its parent `sshd`.
pub(in crate::rules) struct World {
    pub(in crate::rules) process: Process,
    parents: [Process; 2],
    pub(in crate::rules) workload: Workload,
    pub(in crate::rules) container: ContainerFacts,
    cache: Cache,
}

pub(in crate::rules) fn image(exe: &str, comm: &str, args: &str) -> Image {
    Image {
        strings: Strings::of(exe.as_bytes(), b"/home/x", comm.as_bytes(), args.as_bytes()),
        flags: flag::EXE_OVERLAY | flag::EXE_UPPER_LAYER,
        creds: Creds {
            uid: 1000,
            euid: 0,
            egid: 33,
            loginuid: 1000,
            cap_effective: 1 | 1 << 21,
            cap_permitted: (1 << 41) - 1,
            ..Creds::default()
        },
        tty: 136 << 20 | 1,
        exe_inode: 77,
        exe_ctime_ns: 1_700_000_000_000_000_000,
        ..Image::default()
    }
}

fn process(tgid: u32, parent: u32, image: Image) -> Process {
    let key = |tgid| TaskKey { start_boottime: u64::from(tgid) * 1_000, tgid, exec: 1 };
    Process {
        key: key(tgid),
        parent: if parent == 0 { TaskKey::NONE } else { key(parent) },
        cgroup: 1,
        started_ns: 0,
        image: Arc::new(image),
        vpid: tgid - 600,
        pid_ns: 9,
        origin: Origin::Unknown,
        seeded: false,
    }
}

impl World {
    pub(in crate::rules) fn new() -> Self {
        let id = "0123456789abcdef".repeat(4);
        Self {
            process: process(700, 650, image("/usr/bin/cat", "cat", "cat\0-n\0/etc/my file\0")),
            parents: [
                process(650, 620, image("/bin/bash", "sh", "sh\0-c\0cat\0")),
                process(620, 0, image("/usr/sbin/sshd", "sshd", "sshd: x\0")),
            ],
            workload: Workload {
                index: 0,
                kind: WorkloadKind::Container,
                name: "0123456789ab".into(),
                container_id: id.into(),
                runtime: Some("containerd"),
                pod_uid: Some("d00d".into()),
                cgroup_path: "/kubepods/x".into(),
            },
            container: ContainerFacts {
                pod: Some(PodFacts { name: Some("web-0".into()), ..PodFacts::default() }),
                ..ContainerFacts::default()
            },
            cache: Cache::default(),
        }
    }

    /// A program starts, at 2,000 s of boot time, which is the first second of 2025.
    pub(in crate::rules) fn facts(&self) -> Facts<'_> {
        Facts {
            number: 9,
            boot_ns: 2_000_000_000_000,
            unix_ns: 1_735_689_600_000_000_012,
            first_unix_ns: 1_735_689_598_000_000_000,
            cpu: 3,
            what: What::Exec,
            process: Some(&self.process),
            lineage: self,
            workload: &self.workload,
            lookups: self,
            reading: Reading::Written,
            host_name: "node-1",
            cache: &self.cache,
        }
    }
}

impl Lineage for World {
    fn parent(&self, process: &Process) -> Option<&Process> {
        self.parents.iter().find(|parent| parent.key == process.parent)
    }
}

impl Lookups for World {
    fn container(&self) -> Option<&ContainerFacts> {
        Some(&self.container)
    }
    fn user(&self, uid: u32) -> Option<User<'_>> {
        (uid == 1000).then_some(User { name: "ada", home: "/home/ada", shell: "/bin/zsh" })
    }
    fn group(&self, gid: u32) -> Option<&str> {
        (gid == 33).then_some("www-data")
    }
}
