//! Arguments of calls that are about no file or socket.

use tarsier_abi::syscall::Call;

use super::sample::record;

/// A call, what it returned, its numbers, and what it gives.
type Row = (Call, i64, &'static [i64], &'static [(&'static str, &'static str)]);

#[test]
fn arguments_in_words() {
    let table: &[Row] = &[
        (
            Call::ptrace,
            0,
            &[16, 55, 0, 0],
            &[
                ("evt.arg.request", "PTRACE_ATTACH"),
                ("evt.args", "res=0 addr=0 data=0 request=11(PTRACE_ATTACH) pid=55"),
                ("evt.category", "process"),
                ("fd.num", "-"),
            ],
        ),
        (
            Call::setuid,
            0,
            &[1000],
            &[
                ("evt.arg.uid", "ada"),
                ("evt.args", "res=0 uid=1000(ada)"),
                ("user.uid", "1000"),
                ("user.name", "ada"),
                ("group.gid", "1000"),
                ("thread.cap_permitted", "CAP_NET_BIND_SERVICE"),
                ("thread.cap_effective", ""),
            ],
        ),
        (Call::setuid, -1, &[0], &[("evt.arg.uid", "root"), ("evt.res", "EPERM")]),
        (Call::setuid, 0, &[5], &[("evt.arg.uid", "<NA>")]),
        (
            Call::setresuid,
            0,
            &[-1, 0, 1000],
            &[("evt.args", "res=0 ruid=-1(<NONE>) euid=0(root) suid=1000(ada)")],
        ),
        (Call::setgid, 0, &[33], &[("evt.arg.gid", "www-data")]),
        (Call::bpf, 7, &[5, 0, 0], &[("evt.arg.cmd", "BPF_PROG_LOAD"), ("fd.num", "-")]),
        (
            Call::unshare,
            0,
            &[0x1000_0000],
            // Those from before: in the new namespace it has all.
            &[("evt.arg.flags", "CLONE_NEWUSER"), ("thread.cap_effective", "CAP_CHOWN CAP_SYS_ADMIN")],
        ),
        (Call::unshare, -1, &[0x1000_0000], &[("thread.cap_permitted", "CAP_NET_BIND_SERVICE")]),
        (
            Call::setns,
            0,
            &[3, 0x4000_0000],
            &[("evt.arg.nstype", "CLONE_NEWNET"), ("fd.num", "3"), ("fd.typechar", "o")],
        ),
        (
            Call::kill,
            0,
            &[-1, 9],
            &[("evt.arg.sig", "SIGKILL"), ("evt.arg.pid", "-1"), ("evt.category", "signal")],
        ),
        (Call::prctl, 0, &[22, 2], &[("evt.args", "res=0 option=22(PR_SET_SECCOMP) arg2_int=2")]),
        (
            Call::socket,
            -97,
            &[1, 1, 0],
            &[
                ("evt.args", "fd=-97(EAFNOSUPPORT) domain=1(AF_LOCAL|AF_UNIX) type=1 proto=0"),
                ("fd.typechar", "4"),
                ("fd.num", "-1"),
            ],
        ),
        (Call::userfaultfd, 5, &[0o2_000_000], &[("evt.arg.flags", "O_CLOEXEC")]),
        (Call::init_module, -1, &[0, 4096], &[("evt.arg.length", "4096")]),
        (Call::execveat, -2, &[], &[("evt.res", "ENOENT"), ("evt.type", "execveat")]),
        (
            Call::io_uring_setup,
            4,
            &[8, 16 << 32 | 8, 3 << 32 | 6, 5 << 32 | 1000],
            &[
                (
                    "evt.args",
                    concat!(
                        "res=4 entries=8 sq_entries=8 cq_entries=16 flags=10(IORING_SETUP_SQPOLL|IORING_SETUP_SQ_AFF) ",
                        "sq_thread_cpu=3 sq_thread_idle=1000 features=5(IORING_FEAT_SINGLE_MMAP|IORING_FEAT_SUBMIT_STABLE)"
                    ),
                ),
                ("evt.category", "unknown"),
            ],
        ),
        (
            Call::io_uring_register,
            0,
            &[3, 2, 0, 4],
            &[("evt.arg.opcode", "IORING_REGISTER_FILES"), ("fd.num", "3")],
        ),
        (Call::clone, 55, &[0x1000_0000], &[("evt.arg.flags", "CLONE_NEWUSER"), ("evt.arg.res", "55")]),
        (Call::fork, 55, &[], &[("evt.type", "fork"), ("evt.arg.flags", "-"), ("evt.category", "process")]),
        // What a record does not carry has its place, and no value.
        (Call::accept, 3, &[], &[("evt.arg[2]", "-"), ("evt.arg.queuepct", "-"), ("evt.arg.nonsense", "-")]),
        (Call::dup, -200, &[9], &[("evt.res", "-200"), ("evt.args", "res=-200 oldfd=9")]),
    ];
    for (call, ret, numbers, expected) in table {
        record(*call, *ret, numbers).gives(expected);
    }
}

#[test]
fn a_program_that_does_not_start() {
    record(Call::execve, -13, &[]).path("/tmp/x").gives(&[
        ("evt.arg.filename", "/tmp/x"),
        ("evt.arg.res", "EACCES"),
        ("evt.arg.exe", "cat"),
        ("proc.name", "cat"),
        ("fd.name", "-"),
        ("fd.num", "-"),
    ]);
}
