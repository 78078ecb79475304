//! Processes, users and containers.

use std::sync::Arc;

use tarsier_abi::exec::flag;

use super::sample::{World, check, image};
use crate::event::{ContainerFacts, ImageFacts, Mount, PodFacts};
use crate::rules::facts::{Facts, NoLookups, What};

#[test]
fn a_program_starts() {
    let world = World::new();
    check(
        &world.facts(),
        "an exec",
        &[
            ("evt.num", "9"),
            ("evt.type", "execve"),
            ("evt.type.is.execve", "1"),
            ("evt.type.is.open", "0"),
            ("syscall.type", "execve"),
            ("evt.category", "process"),
            ("evt.dir", "<"),
            ("evt.source", "syscall"),
            ("evt.is_async", "false"),
            ("evt.hostname", "node-1"),
            ("evt.cpu", "3"),
            ("evt.time", "00:00:00.000000012"),
            ("evt.time.s", "00:00:00"),
            ("evt.time.iso8601", "2025-01-01T00:00:00.000000012+0000"),
            ("evt.datetime", "2025-01-01 00:00:00.000000012"),
            ("evt.datetime.s", "2025-01-01 00:00:00"),
            ("evt.rawtime", "1735689600000000012"),
            ("evt.rawtime.s", "1735689600"),
            ("evt.rawtime.ns", "12"),
            ("evt.reltime", "2000000012"),
            ("evt.reltime.s", "2"),
            ("evt.reltime.ns", "12"),
            ("evt.res", "SUCCESS"),
            ("evt.rawres", "0"),
            ("evt.failed", "false"),
            ("evt.is_open_read", "false"),
            ("fd.num", "-"),
            ("fd.typechar", "-"),
            ("proc.name", "cat"),
            ("proc.exe", "cat"),
            ("proc.exepath", "/usr/bin/cat"),
            ("proc.args", "-n /etc/my file"),
            ("proc.args[1]", "/etc/my file"),
            ("proc.args[2]", "-"),
            ("proc.cmdline", "cat -n /etc/my file"),
            ("proc.exeline", "cat -n /etc/my file"),
            ("proc.cmdnargs", "2"),
            ("proc.cmdlenargs", "14"),
            ("proc.cwd", "/home/x/"),
            ("proc.tty", "34817"),
            ("proc.is_exe_upper_layer", "true"),
            ("proc.is_exe_lower_layer", "false"),
            ("proc.is_exe_from_memfd", "false"),
            ("proc.exe_ino", "77"),
            ("proc.exe_ino.ctime", "1700000000000000000"),
            // It began at boot time 700,000 ns.
            ("proc.exe_ino.ctime_duration_proc_start", "35687600000700012"),
            ("proc.pid", "700"),
            ("proc.vpid", "100"),
            ("proc.pid.ts", "1735687600000700012"),
            ("proc.duration", "1999999300000"),
            ("thread.tid", "700"),
            ("thread.vtid", "100"),
            ("thread.ismain", "true"),
            ("thread.cap_effective", "CAP_CHOWN CAP_SYS_ADMIN"),
            ("thread.cap_inheritable", ""),
            ("user.uid", "0"),
            ("user.name", "root"),
            ("user.homedir", "-"),
            ("user.loginuid", "1000"),
            ("user.loginname", "ada"),
            ("group.gid", "33"),
            ("group.name", "www-data"),
            ("evt.arg.args", "-n./etc/my file."),
            ("evt.arg.pid", "cat"),
            ("evt.arg.ptid", "sh"),
            ("evt.arg.uid", "root"),
            ("evt.arg.loginuid", "ada"),
            ("evt.arg.cwd", "/home/x/"),
            ("evt.arg.exe_ino_ctime", "2023-11-14 22:13:20.000000000 +0000"),
            ("evt.arg[27]", "/usr/bin/cat"),
            ("evt.arg.filename", "-"),
            ("proc.env", "-"),
            ("proc.sname", "-"),
        ],
    );
}

#[test]
fn ancestors_from_the_parent_up() {
    let world = World::new();
    check(
        &world.facts(),
        "an exec",
        &[
            ("proc.ppid", "650"),
            ("proc.pvpid", "50"),
            ("proc.pname", "sh"),
            ("proc.pexe", "sh"),
            ("proc.pexepath", "/bin/bash"),
            ("proc.pcmdline", "sh -c cat"),
            ("proc.ppid.ts", "1735687600000650012"),
            ("proc.ppid.duration", "1999999350000"),
            ("proc.aname", "sh|sshd"),
            ("proc.aname[0]", "cat"),
            ("proc.aname[1]", "sh"),
            ("proc.aname[2]", "sshd"),
            ("proc.aname[3]", "-"),
            ("proc.aexe[2]", "sshd: x"),
            ("proc.aexe", "sh|sshd: x"),
            ("proc.aexepath", "/bin/bash|/usr/sbin/sshd"),
            ("proc.acmdline", "sh -c cat|sshd"),
            ("proc.acmdline[1]", "sh -c cat"),
            ("proc.aargs[1]", "-c cat"),
            ("proc.apid", "650|620"),
            ("proc.loginshellid", "650"),
        ],
    );
}

#[test]
fn what_is_not_known_gives_nothing() {
    let mut world = World::new();
    let unreadable = flag::ARGS_UNREADABLE;
    world.process.image = Arc::new(crate::event::Image { flags: unreadable, ..image("", "kthreadd", "") });
    check(
        &world.facts(),
        "a process without arguments",
        &[
            ("proc.name", "kthreadd"),
            ("proc.args", "-"),
            ("proc.cmdline", "-"),
            ("proc.exe", "-"),
            ("proc.exepath", ""),
        ],
    );
    world.process.image = Arc::new(image("/bin/true", "true", "true\0"));
    check(&world.facts(), "a process with one argument", &[("proc.args", ""), ("proc.cmdline", "true")]);
    let nobody = Facts { process: None, lookups: &NoLookups, ..world.facts() };
    for field in
        ["proc.name", "proc.cmdline", "proc.pname", "proc.aname", "user.name", "user.loginuid", "thread.tid"]
    {
        check(&nobody, "nobody", &[(field, "-")]);
    }
}

#[test]
fn a_process_ends() {
    let world = World::new();
    let exit = |status| Facts { what: What::Exit { status }, ..world.facts() };
    check(
        &exit(3 << 8),
        "an exit",
        &[
            ("evt.type", "procexit"),
            ("syscall.type", "-"),
            ("evt.rawres", "-"),
            ("evt.res", "-"),
            ("evt.args", "status=768 ret=3 sig=0 core=0"),
            ("proc.name", "cat"),
        ],
    );
    check(&exit(0x8b), "a crash", &[("evt.args", "status=139 ret=0 sig=11(SIGSEGV) core=1")]);
}

#[test]
fn a_container_of_which_little_is_known() {
    let world = World::new();
    check(
        &world.facts(),
        "an exec",
        &[
            ("container.id", "0123456789ab"),
            ("container.type", "containerd"),
            ("container.name", "-"),
            ("container.privileged", "-"),
            ("container.image.repository", "-"),
            ("container.mounts", "-"),
            ("container.mount.dest[/proc]", "-"),
            ("k8s.pod.name", "web-0"),
            ("k8s.pod.uid", "d00d"),
            ("k8s.ns.name", "-"),
        ],
    );
    let mut host = World::new();
    host.workload.container_id = "".into();
    check(
        &host.facts(),
        "an exec",
        &[
            ("container.id", "host"),
            ("container.name", "host"),
            ("container.type", "host"),
            ("container.full_id", "-"),
            ("container.image", "-"),
        ],
    );
}

#[test]
fn a_container_that_all_is_known_of() {
    let mut world = World::new();
    let mount = |source: &str, destination: &str, is_writable| Mount {
        source: source.into(),
        destination: destination.into(),
        mode: "".into(),
        is_writable,
        propagation: "rprivate".into(),
    };
    // Of some runtimes the cgroup's path does not tell.
    world.workload.pod_uid = None;
    world.container = ContainerFacts {
        name: Some("web".into()),
        started_unix_ns: Some(1_735_689_500_000_000_012),
        is_privileged: Some(true),
        image: ImageFacts {
            reference: Some("docker.io/library/nginx:1.27".into()),
            id: Some("abc".into()),
            repository: Some("docker.io/library/nginx".into()),
            tag: Some("1.27".into()),
            digest: Some("sha256:00".into()),
        },
        mounts: Some([mount("/proc", "/host/proc", true), mount("/var/lib/x", "/data", false)].into()),
        labels: [("app".into(), "web".into()), ("empty".into(), "".into())].into(),
        has_host_pid: Some(false),
        has_host_network: Some(true),
        has_host_ipc: Some(false),
        ip: Some("10.1.0.9".into()),
        pod: Some(PodFacts {
            name: Some("web-0".into()),
            namespace: Some("shop".into()),
            uid: Some("beef".into()),
            sandbox_id: Some("fedcba9876543210".into()),
            labels: [("tier".into(), "front".into())].into(),
            ip: Some("10.1.0.9".into()),
            network_json: Some("{}".into()),
        }),
    };
    check(
        &world.facts(),
        "an exec",
        &[
            ("container.name", "web"),
            ("container.start_ts", "1735689500000000012"),
            ("container.duration", "100000000000"),
            ("container.privileged", "true"),
            ("container.image", "docker.io/library/nginx:1.27"),
            ("container.image.id", "abc"),
            ("container.image.repository", "docker.io/library/nginx"),
            ("container.image.tag", "1.27"),
            ("container.image.digest", "sha256:00"),
            ("container.mounts", "/proc:/host/proc::true:rprivate,/var/lib/x:/data::false:rprivate"),
            ("container.mount[1]", "/var/lib/x:/data::false:rprivate"),
            ("container.mount.dest[/proc]", "/host/proc"),
            ("container.mount.dest[/var/lib/*]", "/data"),
            ("container.mount.source[/data]", "/var/lib/x"),
            ("container.mount.rdwr[/proc]", "true"),
            ("container.mount.mode[/proc]", ""),
            ("container.mount.propagation[0]", "rprivate"),
            ("container.host_pid", "false"),
            ("container.host_network", "true"),
            ("container.host_ipc", "false"),
            ("container.ip", "10.1.0.9"),
            ("container.cni.json", "{}"),
            ("container.label.app", "web"),
            ("container.label[app]", "web"),
            ("container.labels", "app:web, empty"),
            ("k8s.ns.name", "shop"),
            ("k8s.pod.uid", "beef"),
            ("k8s.pod.id", "beef"),
            ("k8s.pod.sandbox_id", "fedcba987654"),
            ("k8s.pod.full_sandbox_id", "fedcba9876543210"),
            ("k8s.pod.label.tier", "front"),
            ("k8s.pod.labels", "tier:front"),
            ("k8s.pod.ip", "10.1.0.9"),
            ("k8s.pod.cni.json", "{}"),
        ],
    );
}
