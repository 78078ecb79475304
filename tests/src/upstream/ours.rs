//! Our own rules (deploy/rules), each held to an action as Falco's are.

use super::network::connects;
use super::row::{Row, calls, capable, container, host};

/// The rules.
pub(super) const RULES: &str = include_str!("../../../deploy/rules/tarsier.yaml");

/// What a site would write beside them: the rule that is off runs.
pub(super) const SITE: &str =
    "- rule: Container connects to unexpected network\n  enabled: true\n  override: { enabled: replace }\n";

/// Rules that nothing can be done for here: no test may load a module into the machine's kernel.
pub(super) const UNTRIED: &[&str] = &["Container loads a kernel module"];

/// Makes a file beside a service account's token, and reads it.
macro_rules! read_beside_token {
    ($name:literal) => {
        concat!(
            "/bin/mkdir -p /var/run/secrets/kubernetes.io/serviceaccount; ",
            "echo none > /var/run/secrets/kubernetes.io/serviceaccount/",
            $name,
            "; /bin/cat /var/run/secrets/kubernetes.io/serviceaccount/",
            $name
        )
    };
}

/// Listens at the path of a `sockaddr_un` and connects to it.
macro_rules! connects_unix {
    ($caller:ident, $address:literal, $length:literal) => {
        calls!(
            $caller,
            concat!("a=hex:", $address),
            "s=socket 1 1 0",
            concat!("bind @s &a ", $length),
            "listen @s 1",
            "c=socket 1 1 0",
            concat!("connect @c &a ", $length)
        )
    };
}

pub(super) const ROWS: &[Row] = &[
    Row::new(
        "New program is run in container",
        container("/bin/cp /bin/busybox /tmp/true; /tmp/true"),
        container("/bin/busybox true"),
        &[("proc.exepath", "/tmp/true"), ("proc.cmdline", "true"), ("proc.pname", "sh")],
    ),
    Row::new(
        "Program is run from memory",
        container(concat!(
            calls!(
                tool,
                r#"f=openat -100 "/bin/busybox" 0"#,
                r#"m=memfd_create "runc_cloned" 0"#,
                "sendfile @m @f 0 100000000",
                r#"execveat @m "" 0 0 0x1000"#
            ),
            "; true"
        )),
        container(concat!(
            calls!(tool, r#"f=openat -100 "/bin/busybox" 0"#, r#"execveat @f "" 0 0 0x1000"#),
            "; true"
        )),
        &[("proc.exepath", "memfd:runc_cloned"), ("proc.pname", "sh")],
    ),
    Row::new(
        "Package manager is run in container",
        container("/bin/rpm -qa; true"),
        host("/bin/rpm -qa; true"),
        &[("proc.cmdline", "rpm -qa"), ("proc.pname", "sh")],
    ),
    Row::new(
        "Standard input becomes outgoing connection",
        capable(connects!(tool, "127.0.0.1:5101", "dup3 @c 0 0")),
        // What was connected to, and another stream.
        capable(connects!(tool, "127.0.0.1:5102", "a=accept @s 0 0", "dup3 @a 0 0", "dup3 @c 1 0")),
        &[("fd.name", "127.0.0.1:*->127.0.0.1:5101"), ("proc.exepath", "/opt/itest")],
    ),
    Row::new(
        "Password hashes are read",
        container("/bin/cat /etc/shadow"),
        container("/bin/cat /etc/passwd"),
        &[("fd.name", "/etc/shadow"), ("proc.cmdline", "cat /etc/shadow")],
    )
    .also(&[(host("/bin/cat /etc/../etc/shadow"), &[("fd.name", "/etc/shadow")])]),
    Row::new(
        "Service account token is read by hand",
        container(read_beside_token!("token")),
        container(read_beside_token!("namespace")),
        &[("fd.name", "/var/run/secrets/kubernetes.io/serviceaccount/token"), ("proc.pname", "sh")],
    ),
    Row::new(
        "Instance metadata is asked by hand",
        capable(connects!(curl, "169.254.169.254:5103")),
        capable(connects!(tool, "169.254.169.254:5104")),
        &[("fd.name", "169.254.169.254:*->169.254.169.254:5103"), ("proc.cmdline", "curl *")],
    ),
    Row::new(
        "Process in container takes over another",
        container("/bin/sleep 100 & /calls/tool workload calls \"ptrace 16 $! 0 0\"; kill -9 $!"),
        // PTRACE_ATTACH by a debugger's name would be a way, too; PTRACE_PEEKDATA takes nothing over.
        container("/bin/sleep 100 & /calls/tool workload calls \"ptrace 2 $! 0 0\"; kill -9 $!"),
        &[("evt.arg.request", "PTRACE_ATTACH"), ("proc.exepath", "/opt/itest")],
    ),
    Row::new(
        "Container enters other namespaces",
        capable("/bin/nsenter -n/proc/self/ns/net /bin/true"),
        host("/bin/nsenter -n/proc/self/ns/net /bin/true"),
        &[("proc.cmdline", "nsenter -n/proc/self/ns/net /bin/true")],
    ),
    Row::new(
        "Container chooses a program for the kernel to run",
        // Not the kernel's: what such a file is called is enough for the rule.
        container(calls!(tool, r#"openat -100 "/tmp/release_agent" 0x41 0o644"#)),
        container(calls!(tool, r#"openat -100 "/tmp/release_agent" 0x40 0o644"#)),
        &[("fd.name", "/tmp/release_agent")],
    ),
    Row::new(
        "Container talks to the container runtime",
        // "/run/docker.sock", and "/run/docker.sick".
        container(concat!(
            "/bin/mkdir -p /run; ",
            connects_unix!(tool, "01002f72756e2f646f636b65722e736f636b00", "19")
        )),
        container(concat!(
            "/bin/mkdir -p /run; ",
            connects_unix!(tool, "01002f72756e2f646f636b65722e7369636b00", "19")
        )),
        &[("fd.name", "/run/docker.sock")],
    ),
    Row::new(
        "Container opens a disk or memory of the host",
        // A file in the container's own root of such a name.
        container(calls!(tool, r#"openat -100 "/dev/sdzz" 0x42 0o600"#)),
        container(calls!(tool, r#"openat -100 "/dev/shy" 0x42 0o600"#)),
        &[("fd.name", "/dev/sdzz")],
    ),
    Row::new(
        "Container mounts a file system",
        capable("/bin/mount -t tmpfs none /srv"),
        // It lacks the capability.
        container("! /bin/mount -t tmpfs none /srv"),
        &[("evt.arg.dir", "/srv"), ("evt.arg.dev", "none"), ("proc.cmdline", "mount -t tmpfs none /srv")],
    ),
    Row::new(
        "Container uses io_uring",
        container(calls!(tool, "io_uring_setup 8 zero:120")),
        host(calls!(tool, "io_uring_setup 8 zero:120")),
        &[("evt.arg.entries", "8"), ("proc.exepath", "/opt/itest")],
    )
    .nor(&[container(calls!(tool, "io_uring_setup 0 zero:120"))]),
    Row::new(
        "Command line of a miner",
        host("/bin/true -o stratum+tcp://pool.invalid:3333"),
        host("/bin/true -o https://pool.invalid:3333"),
        &[("proc.cmdline", "true -o stratum+tcp://pool.invalid:3333")],
    ),
    Row::new(
        "Connection to port of mining pools",
        capable(connects!(tool, "203.0.113.7:3333")),
        capable(concat!(connects!(tool, "203.0.113.7:3334"), "; ", connects!(tool, "127.0.0.1:3333"))),
        &[("fd.name", "203.0.113.7:*->203.0.113.7:3333")],
    ),
    Row::new(
        "New program in container connects outside",
        capable(concat!("/bin/cp /opt/itest /calls/own; ", connects!(own, "203.0.113.7:5105"))),
        capable(concat!("/bin/cp /opt/itest /calls/own; ", connects!(own, "127.0.0.1:5107"))),
        &[("proc.exepath", "/calls/own"), ("fd.name", "203.0.113.7:*->203.0.113.7:5105")],
    ),
    Row::new(
        "Container connects to unexpected network",
        capable(connects!(tool, "203.0.113.7:5106")),
        host(connects!(tool, "203.0.113.7:5106")),
        &[("fd.name", "203.0.113.7:*->203.0.113.7:5106")],
    ),
];
