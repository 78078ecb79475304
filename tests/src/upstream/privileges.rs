//! Rules about namespaces, users, other processes and the kernel itself.

use super::row::{Row, calls, capable, container, host};

pub(super) const ROWS: &[Row] = &[
    Row::new(
        "Linux Kernel Module Injection Detected",
        // No kernel takes the file for a module.
        capable("! /bin/insmod /etc/module.ko"),
        container("! /bin/insmod /etc/module.ko"),
        &[
            ("evt.type", "finit_module"),
            ("proc.name", "insmod"),
            ("proc.args", "/etc/module.ko"),
            ("proc.aname[2]", "sh"),
            ("evt.res", "E*"),
        ],
    )
    .also(&[(capable(calls!(tool, r#"init_module 0 0 """#)), &[("evt.type", "init_module")])])
    .nor(&[host("! /bin/insmod /etc/module.ko")]),
    Row::new(
        "PTRACE attached to process",
        // PTRACE_ATTACH to a child of the shell; near is PTRACE_PEEKDATA.
        host("/bin/sleep 100 & /calls/tool workload calls \"ptrace 16 $! 0 0\"; kill -9 $!"),
        host("/bin/sleep 100 & /calls/tool workload calls \"ptrace 2 $! 0 0\"; kill -9 $!"),
        &[("evt.type", "ptrace"), ("proc.name", "tool"), ("proc.pcmdline", "sh")],
    )
    .also(&[
        (
            host("/bin/sleep 100 & /calls/tool workload calls \"ptrace 0x4206 $! 0 0\"; kill -9 $!"),
            &[("proc.name", "tool")],
        ),
        (host(calls!(tool, "ptrace 4 1 0 0")), &[("proc.cmdline", "*ptrace 4 *")]),
        (host(calls!(tool, "ptrace 5 1 0 0")), &[("proc.cmdline", "*ptrace 5 *")]),
        (host(calls!(tool, "ptrace 13 1 0 0")), &[("proc.cmdline", "*ptrace 13 *")]),
    ]),
    Row::new(
        "PTRACE anti-debug attempt",
        // PTRACE_TRACEME; near is PTRACE_DETACH.
        host(calls!(tool, "ptrace 0 0 0 0")),
        host(calls!(tool, "ptrace 17 1 0 0")),
        &[
            ("evt.type", "ptrace"),
            ("proc.name", "tool"),
            ("proc.cmdline", "tool workload calls ptrace 0 0 0 0"),
        ],
    ),
    Row::new(
        "Change thread namespace",
        capable("/bin/nsenter -n/proc/self/ns/net /bin/true"),
        host("/bin/nsenter -n/proc/self/ns/net /bin/true"),
        &[
            ("evt.type", "setns"),
            ("proc.name", "nsenter"),
            ("proc.cmdline", "nsenter -n/proc/self/ns/net /bin/true"),
        ],
    ),
    Row::new(
        "Change namespace privileges via unshare",
        container("/bin/unshare -U /bin/true"),
        capable("/bin/unshare -U /bin/true"),
        &[("evt.type", "unshare"), ("proc.name", "unshare"), ("evt.res", "SUCCESS")],
    )
    .also(&[(
        // It has given up what its container has; version 3 of the header (capget(2)), then six empty sets.
        capable(calls!(tool, "capset hex:2205082000000000 zero:24", "unshare 0x20000")),
        &[("evt.type", "unshare"), ("proc.name", "tool"), ("evt.res", "EPERM")],
    )]),
    Row::new(
        "Non sudo setuid",
        host(concat!("/bin/su -s /bin/sh daemon -c \"", calls!(tool, "setuid 0"), "\"")),
        host(calls!(tool, "setuid 0")),
        &[("evt.type", "setuid"), ("evt.arg.uid", "root"), ("user.uid", "1"), ("proc.name", "tool")],
    )
    .also(&[
        // What was root when its program started.
        (
            container(calls!(tool, "setresuid 1 1 1", "setuid 0")),
            &[("user.uid", "1"), ("user.name", "daemon"), ("evt.arg.uid", "root")],
        ),
        (host(calls!(tool, "setuid 12345")), &[("user.uid", "12345"), ("evt.arg.uid", "<NA>")]),
    ]),
    Row::new(
        "BPF Program Not Profiled",
        // BPF_PROG_LOAD of nothing; near is BPF_MAP_CREATE of nothing.
        host(calls!(tool, "bpf 5 zero:128 128")),
        host(calls!(tool, "bpf 0 zero:128 128")),
        &[("evt.type", "bpf"), ("evt.arg.cmd", "BPF_PROG_LOAD"), ("proc.name", "tool")],
    )
    .nor(&[host(calls!(bpftool, "bpf 5 zero:128 128"))]),
];
