//! What happens on the node: supervisors fork children, those exec, connect and exit; servers accept.

use std::cmp::Reverse;

use tarsier_abi::TaskKey;
use tarsier_abi::tcp::{Counters, Tuple, role};

use super::record::{Program, Socket, Writer};
use super::{Agenda, Due, Random, Records};

/// Containers on the node; beside them, groups of the host's own units.
const CONTAINERS: u64 = 36;
const UNITS: u64 = 8;
/// Processes of each group that live on, fork and accept.
const SUPERVISORS: u64 = 4;
/// Mean time between two new processes.
const PAUSE_NS: u64 = 1_200_000;

/// Path, `comm`, usual arguments.
const PROGRAMS: &[(&str, &str, &[&str])] = &[
    ("/usr/bin/sh", "sh", &["sh", "-c", "exec /app/healthcheck --quiet --timeout 5s"]),
    (
        "/app/healthcheck",
        "healthcheck",
        &["/app/healthcheck", "--quiet", "--timeout", "5s", "--url", "http://127.0.0.1:8080/healthz"],
    ),
    (
        "/usr/bin/curl",
        "curl",
        &["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://10.96.14.2:9090/metrics"],
    ),
    (
        "/usr/local/bin/python3.11",
        "python3",
        &["python3", "-m", "worker.run", "--queue", "orders", "--batch", "50", "--log-level", "info"],
    ),
    (
        "/usr/local/bin/node",
        "node",
        &["node", "--enable-source-maps", "dist/tasks/cleanup.js", "--older-than", "7d"],
    ),
    (
        "/opt/lib/java/openjdk/17/bin/java",
        "java",
        &[
            "java",
            "-Xmx512m",
            "-XX:+UseG1GC",
            "-Dapp.region=eu-1",
            "-jar",
            "/srv/app/app.jar",
            "--spring.profiles.active=prod",
        ],
    ),
    ("/usr/bin/git", "git", &["git", "-c", "core.quotepath=false", "fetch", "--depth=1", "origin", "main"]),
    ("/usr/bin/sed", "sed", &["sed", "-e", "s/[0-9]\\{4\\}/####/g", "/var/log/app/current"]),
    ("/usr/bin/true", "true", &["true"]),
    (
        "/usr/lib/gcc/x86_64-linux-gnu/13/cc1",
        "cc1",
        &[
            "/usr/lib/gcc/x86_64-linux-gnu/13/cc1",
            "-quiet",
            "-imultiarch",
            "x86_64-linux-gnu",
            "-D_GNU_SOURCE",
            "src/table.c",
            "-O2",
            "-o",
            "/tmp/ccq3XkQa.s",
        ],
    ),
    ("/usr/local/bin/redis-cli", "redis-cli", &["redis-cli", "-h", "cache.svc", "-p", "6379", "ping"]),
    ("/usr/bin/date", "date", &["date", "+%s"]),
];

/// Working directories.
const FOLDERS: &[&str] = &["/", "/srv/app", "/home/ci/workspace", "/var/lib/app"];

/// What a process does next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Spawn,
    Exec(usize),
    Connect(usize),
    Establish(usize),
    Disconnect(usize),
    Exit(usize),
}

/// A process with an end.
#[derive(Clone, Copy)]
struct Child {
    key: TaskKey,
    parent: TaskKey,
    group: u64,
    socket: Option<(Socket, Socket)>,
}

/// The node: a clock, what lives, what is to happen.
pub(crate) struct Node {
    random: Random,
    writer: Writer,
    agenda: Agenda<Step>,
    supervisors: Vec<TaskKey>,
    children: Vec<Child>,
    free: Vec<usize>,
    now_ns: u64,
    next_pid: u32,
}

impl Node {
    /// A node whose supervisors start with its first records.
    pub(crate) fn new(seed: u64) -> Self {
        let mut node = Self {
            random: Random(seed),
            writer: Writer::default(),
            agenda: Agenda::new(),
            supervisors: Vec::new(),
            children: Vec::new(),
            free: Vec::new(),
            now_ns: 1_000_000_000_000,
            next_pid: 1000,
        };
        for group in 0..CONTAINERS + UNITS {
            for _ in 0..SUPERVISORS {
                node.now_ns += 50_000;
                let key = node.new_task();
                node.supervisors.push(key);
                node.exec(key, TaskKey::NONE, group, 3);
            }
        }
        node.after(PAUSE_NS, Step::Spawn);
        node
    }

    /// id, parent's id and path of every cgroup.
    pub(crate) fn cgroups() -> impl Iterator<Item = (u64, u64, String)> {
        (0..CONTAINERS + UNITS).map(|group| {
            let id = Random(group).next();
            let path = if group < CONTAINERS {
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{:08x}_{:04x}_4a53_9c5c_{:012x}.slice/cri-containerd-{:016x}{id:016x}{:016x}{:016x}.scope",
                    id as u32, id >> 32 & 0xFFFF, id & 0xFFFF_FFFF_FFFF, id ^ 7, id ^ 77, id ^ 777,
                )
            } else {
                format!("/system.slice/unit-{group}.service")
            };
            (cgroup(group), 1, path)
        })
    }

    /// The next `count` records or a few more.
    pub(crate) fn records(&mut self, count: usize) -> Records {
        while self.writer.records.len() < count {
            let Some(Due { at_ns: Reverse(at_ns), what }) = self.agenda.pop() else { break };
            self.now_ns = self.now_ns.max(at_ns) + 1 + self.random.below(900);
            self.step(what);
        }
        std::mem::take(&mut self.writer.records)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Spawn => self.spawn(),
            Step::Exec(at) => {
                let Child { mut key, parent, group, .. } = self.children[at];
                key.exec += 1;
                self.children[at].key = key;
                let program = self.random.below(PROGRAMS.len() as u64) as usize;
                self.exec(key, parent, group, program);
                let connects = self.random.below(100) < 45;
                self.after(2_000_000, if connects { Step::Connect(at) } else { Step::Exit(at) });
            }
            Step::Connect(at) => {
                let sockets = self.sockets(self.children[at].group);
                self.children[at].socket = Some(sockets);
                self.writer.open(self.now_ns, &sockets.0, self.children[at].key);
                self.after(200_000, Step::Establish(at));
            }
            Step::Establish(at) => {
                if let Some((client, server)) = self.children[at].socket {
                    self.writer.established(self.now_ns, &server);
                    self.writer.established(self.now_ns + 300, &client);
                }
                self.after(5_000_000, Step::Disconnect(at));
            }
            Step::Disconnect(at) => {
                self.disconnect(at);
                self.after(1_000_000, Step::Exit(at));
            }
            Step::Exit(at) => {
                let Child { key, parent, group, .. } = self.children[at];
                let status = if self.random.below(10) == 0 { 1 << 8 } else { 0 };
                self.writer.exit(self.now_ns, key, parent, cgroup(group), status);
                self.free.push(at);
            }
        }
    }

    fn spawn(&mut self) {
        let supervisor = self.random.below(self.supervisors.len() as u64);
        let parent = self.supervisors[supervisor as usize];
        let group = supervisor / SUPERVISORS;
        let key = TaskKey { exec: parent.exec, ..self.new_task() };
        self.writer.fork(self.now_ns, key, parent, cgroup(group));
        let child = Child { key, parent, group, socket: None };
        let at = self.free.pop().unwrap_or(self.children.len());
        if at == self.children.len() {
            self.children.push(child);
        }
        self.children[at] = child;
        self.after(400_000, Step::Exec(at));
        self.after(PAUSE_NS, Step::Spawn);
    }

    /// The server's side is another supervisor's, on this node.
    fn disconnect(&mut self, at: usize) {
        let Child { key, socket, .. } = self.children[at];
        let Some((client, server)) = socket else { return };
        let (sent, magnitude) = (self.random.below(2_000), self.random.below(20));
        let received = self.random.below(1 << magnitude);
        let counters = Counters {
            bytes_sent: sent,
            bytes_received: received,
            segments_sent: 4 + (sent / 1448) as u32,
            segments_received: 4 + (received / 1448) as u32,
            srtt_us: 180 + self.random.below(900) as u32,
            min_rtt_us: 90,
            extra: 1,
            ..Counters::default()
        };
        let other = Counters {
            bytes_sent: received,
            bytes_received: sent,
            segments_sent: counters.segments_received,
            segments_received: counters.segments_sent,
            extra: 0,
            ..counters
        };
        let owner = *self.random.of(&self.supervisors);
        self.writer.close(self.now_ns, &client, Some(key), counters);
        self.writer.owner(self.now_ns + 400, &server, owner);
        self.writer.close(self.now_ns + 800, &server, None, other);
    }

    fn sockets(&mut self, group: u64) -> (Socket, Socket) {
        let [client, server] = [0, 1].map(|_| 0xFFFF_8880_0000_0000 | self.random.below(1 << 20) << 12);
        let addresses = [0x0A, 0x0A].map(|net| net | (self.random.next() as u32 & 0x00FF_FFFF) << 8);
        let client_port = 32_768 + self.random.below(28_000) as u16;
        let server_port = *self.random.of(&[80_u16, 443, 5432, 6379, 8080, 9090]);
        let isn = [self.random.next() as u32 | 1, self.random.next() as u32 | 1];
        let base = Tuple {
            cgroup: cgroup(group),
            net_ns: 4_026_532_000 + 8 * group as u32 + 2,
            family: 4,
            ..Tuple::default()
        };
        let other_group = self.random.below(CONTAINERS);
        let one = Tuple {
            sock: client,
            base: isn[0],
            isn_peer: isn[1],
            local_port: client_port,
            peer_port: server_port,
            role: role::CLIENT,
            ..base
        };
        let two = Tuple {
            sock: server,
            cgroup: cgroup(other_group),
            net_ns: 4_026_532_000 + 8 * other_group as u32 + 2,
            base: isn[1].wrapping_add(1),
            isn_peer: isn[0],
            local_port: server_port,
            peer_port: client_port,
            role: role::SERVER,
            ..base
        };
        let [own, peer] = addresses;
        (Socket { tuple: one, addresses: [own, peer] }, Socket { tuple: two, addresses: [peer, own] })
    }

    fn exec(&mut self, key: TaskKey, parent: TaskKey, group: u64, program: usize) {
        let (exe, comm, arguments) = PROGRAMS[program];
        let mut args = Vec::new();
        for argument in arguments {
            args.extend_from_slice(argument.as_bytes());
            args.push(0);
        }
        let (exe, cwd) = (components(exe), components(FOLDERS[(group % FOLDERS.len() as u64) as usize]));
        let program = Program {
            exe: &exe,
            cwd: &cwd,
            args: &args,
            comm,
            inode: 0x10_0000 + program as u64 * 977 + group % 5,
            uid: if group.is_multiple_of(3) { 0 } else { 1000 + group as u32 },
            namespaces: group as u32,
        };
        self.writer.exec(self.now_ns, key, parent, cgroup(group), &program);
    }

    fn new_task(&mut self) -> TaskKey {
        self.next_pid = if self.next_pid >= 4_000_000 { 1000 } else { self.next_pid + 1 };
        TaskKey { start_boottime: self.now_ns, tgid: self.next_pid, exec: 3 }
    }

    /// `step`, after between a half and three halves of `mean_ns`.
    fn after(&mut self, mean_ns: u64, step: Step) {
        let at_ns = self.now_ns + mean_ns / 2 + self.random.below(mean_ns);
        self.agenda.push(Due { at_ns: Reverse(at_ns), what: step });
    }
}

/// A path as the kernel side writes it: its components, the last first, each with its NUL.
fn components(path: &str) -> Vec<u8> {
    let mut components = Vec::new();
    for component in path.rsplit('/').filter(|component| !component.is_empty()) {
        components.extend_from_slice(component.as_bytes());
        components.push(0);
    }
    components
}

fn cgroup(group: u64) -> u64 {
    10_000 + 41 * group
}
