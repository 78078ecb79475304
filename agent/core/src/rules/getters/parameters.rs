//! Which arguments each call has: names, order and form are Falco's (libs, driver/event_table.c). What a record does not
//! carry has its place all the same, since rules may count.

use tarsier_abi::syscall::Call;

use super::words::{self, Words};
use crate::rules::facts::What;

/// An argument.
pub(super) struct Parameter {
    /// As `evt.arg` takes it.
    pub name: &'static str,
    /// What it shows.
    pub shown: Shown,
}

/// What an argument shows. Numbers are places of the call's own arguments, from 0.
#[derive(Clone, Copy)]
pub(super) enum Shown {
    /// What no record carries.
    Missing,
    /// What the call returned, or its error.
    Result,
    /// The descriptor that it returned.
    Returned,
    /// The descriptor that the call is about.
    Descriptor(u8),
    /// A descriptor of which no more than the number is known.
    Number(u8),
    /// The directory that the first path is relative to.
    Directory(u8),
    /// The directory that the second path is relative to.
    Directory2(u8),
    /// The first path.
    Path,
    /// The second path.
    Path2,
    /// The first name, which is no path.
    Name,
    /// The kernel's path of the file.
    FilePath,
    /// A number with a sign, of 32 bits.
    Int(u8),
    /// As `Int`, of 64 bits.
    Long(u8),
    /// A number without a sign, of 32 bits.
    Unsigned(u8),
    /// As `Unsigned`, the upper 32 bits of 64.
    Upper(u8),
    /// As `Unsigned`, of 64 bits.
    Length(u8),
    /// In hexadecimal digits, of 32 bits.
    Hex(u8),
    /// As `Hex`, of 64 bits.
    Pointer(u8),
    /// The permissions that a file which is made gets, in octal digits.
    OpenMode,
    /// Permissions.
    Mode(u8),
    /// In words.
    Words(u8, &'static Words),
    /// As `Words`, of the upper 32 bits of 64.
    UpperWords(u8, &'static Words),
    /// How a file is opened.
    OpenFlags(u8),
    /// How `creat` opens a file.
    CreatFlags,
    /// A signal.
    Signal(u8),
    /// A user.
    User(u8),
    /// A group.
    Group(u8),
    /// Both ends of the socket.
    Tuple,
    /// The address that was passed.
    Address,
    /// First bytes of what was sent or received.
    Data,
    /// How many bytes were received.
    Received,
    /// Device of the file.
    Device,
    /// Inode number of the file.
    Inode,
    /// Of a process that starts a program.
    Exec(Exec),
    /// Of a process that ends.
    Exit(Exit),
}

/// What is told of a process that starts a program.
#[derive(Clone, Copy)]
pub(super) enum Exec {
    Exe,
    Args,
    Tid,
    Pid,
    Parent,
    Cwd,
    Comm,
    Tty,
    LoginUid,
    Inheritable,
    Permitted,
    Effective,
    Inode,
    ChangeTime,
    User,
    Path,
    Group,
}

/// What is told of a process that ends.
#[derive(Clone, Copy)]
pub(super) enum Exit {
    Status,
    Code,
    Signal,
    Core,
}

/// The arguments of an event, in order.
pub(super) fn of(what: What<'_>) -> &'static [Parameter] {
    match what {
        What::Exec => EXEC,
        What::Exit { .. } => EXIT,
        What::Syscall(event) => of_call(event.call),
    }
}

const fn p(name: &'static str, shown: Shown) -> Parameter {
    Parameter { name, shown }
}

use Shown as S;

const RES: Parameter = p("res", S::Result);
const FD: Parameter = p("fd", S::Returned);
const DEV: Parameter = p("dev", S::Device);
const INO: Parameter = p("ino", S::Inode);
const THIS: Parameter = p("fd", S::Descriptor(0));

/// The arguments of a program's start.
const EXEC: &[Parameter] = &[
    RES,
    p("exe", S::Exec(Exec::Exe)),
    p("args", S::Exec(Exec::Args)),
    p("tid", S::Exec(Exec::Tid)),
    p("pid", S::Exec(Exec::Pid)),
    p("ptid", S::Exec(Exec::Parent)),
    p("cwd", S::Exec(Exec::Cwd)),
    p("fdlimit", S::Missing),
    p("pgft_maj", S::Missing),
    p("pgft_min", S::Missing),
    p("vm_size", S::Missing),
    p("vm_rss", S::Missing),
    p("vm_swap", S::Missing),
    p("comm", S::Exec(Exec::Comm)),
    p("cgroups", S::Missing),
    p("env", S::Missing),
    p("tty", S::Exec(Exec::Tty)),
    p("vpgid", S::Missing),
    p("loginuid", S::Exec(Exec::LoginUid)),
    p("flags", S::Missing),
    p("cap_inheritable", S::Exec(Exec::Inheritable)),
    p("cap_permitted", S::Exec(Exec::Permitted)),
    p("cap_effective", S::Exec(Exec::Effective)),
    p("exe_ino", S::Exec(Exec::Inode)),
    p("exe_ino_ctime", S::Exec(Exec::ChangeTime)),
    p("exe_ino_mtime", S::Missing),
    p("uid", S::Exec(Exec::User)),
    p("trusted_exepath", S::Exec(Exec::Path)),
    p("pgid", S::Missing),
    p("gid", S::Exec(Exec::Group)),
    // Of a program that did not start: what it was to be.
    p("filename", S::Path),
];

/// As [`EXEC`], with what `execveat` has beside.
const EXECVEAT: &[Parameter] =
    &[RES, p("dirfd", S::Directory(0)), p("pathname", S::Path), p("flags", S::Missing)];

const EXIT: &[Parameter] = &[
    p("status", S::Exit(Exit::Status)),
    p("ret", S::Exit(Exit::Code)),
    p("sig", S::Exit(Exit::Signal)),
    p("core", S::Exit(Exit::Core)),
    p("reaper_tid", S::Missing),
];

/// The arguments of a call that makes a process: of whoever makes it.
const MAKING: &[Parameter] = making(Shown::Missing).as_slice();
/// Those of one that is passed flags.
const CLONING: &[Parameter] = making(Shown::Words(0, &words::CLONE)).as_slice();

const fn making(flags: Shown) -> [Parameter; 21] {
    [
        RES,
        p("exe", S::Exec(Exec::Exe)),
        p("args", S::Exec(Exec::Args)),
        p("tid", S::Exec(Exec::Tid)),
        p("pid", S::Exec(Exec::Pid)),
        p("ptid", S::Exec(Exec::Parent)),
        p("cwd", S::Exec(Exec::Cwd)),
        p("fdlimit", S::Missing),
        p("pgft_maj", S::Missing),
        p("pgft_min", S::Missing),
        p("vm_size", S::Missing),
        p("vm_rss", S::Missing),
        p("vm_swap", S::Missing),
        p("comm", S::Exec(Exec::Comm)),
        p("cgroups", S::Missing),
        p("flags", flags),
        p("uid", S::Exec(Exec::User)),
        p("gid", S::Exec(Exec::Group)),
        p("vtid", S::Missing),
        p("vpid", S::Missing),
        p("pidns_init_start_ts", S::Missing),
    ]
}

/// The arguments of a call, in order.
pub(super) fn of_call(call: Call) -> &'static [Parameter] {
    match call {
        Call::open => {
            const { &[FD, p("name", S::Path), p("flags", S::OpenFlags(1)), p("mode", S::OpenMode), DEV, INO] }
        }
        Call::openat => {
            const {
                &[
                    FD,
                    p("dirfd", S::Directory(0)),
                    p("name", S::Path),
                    p("flags", S::OpenFlags(2)),
                    p("mode", S::OpenMode),
                    DEV,
                    INO,
                ]
            }
        }
        Call::openat2 => {
            const {
                &[
                    FD,
                    p("dirfd", S::Directory(0)),
                    p("name", S::Path),
                    p("flags", S::OpenFlags(2)),
                    p("mode", S::OpenMode),
                    p("resolve", S::Words(4, &words::RESOLVE)),
                    DEV,
                    INO,
                ]
            }
        }
        // It is passed no flags; those that it stands for are what rules about `open` ask for.
        Call::creat => {
            const { &[FD, p("name", S::Path), p("mode", S::OpenMode), DEV, INO, p("flags", S::CreatFlags)] }
        }
        Call::open_by_handle_at => {
            const {
                &[
                    FD,
                    p("mountfd", S::Number(0)),
                    p("flags", S::OpenFlags(2)),
                    p("path", S::FilePath),
                    DEV,
                    INO,
                ]
            }
        }
        Call::mkdir => const { &[RES, p("path", S::Path), p("mode", S::Hex(1))] },
        Call::mkdirat => {
            const { &[RES, p("dirfd", S::Directory(0)), p("path", S::Path), p("mode", S::Hex(2))] }
        }
        Call::rmdir | Call::unlink | Call::chroot => const { &[RES, p("path", S::Path)] },
        Call::unlinkat => {
            const {
                &[
                    RES,
                    p("dirfd", S::Directory(0)),
                    p("name", S::Path),
                    p("flags", S::Words(2, &words::UNLINKAT)),
                ]
            }
        }
        Call::rename | Call::link => const { &[RES, p("oldpath", S::Path), p("newpath", S::Path2)] },
        Call::renameat => {
            const {
                &[
                    RES,
                    p("olddirfd", S::Directory(0)),
                    p("oldpath", S::Path),
                    p("newdirfd", S::Directory2(2)),
                    p("newpath", S::Path2),
                ]
            }
        }
        Call::renameat2 => {
            const {
                &[
                    RES,
                    p("olddirfd", S::Directory(0)),
                    p("oldpath", S::Path),
                    p("newdirfd", S::Directory2(2)),
                    p("newpath", S::Path2),
                    p("flags", S::Words(4, &words::RENAMEAT2)),
                ]
            }
        }
        Call::linkat => {
            const {
                &[
                    RES,
                    p("olddir", S::Directory(0)),
                    p("oldpath", S::Path),
                    p("newdir", S::Directory2(2)),
                    p("newpath", S::Path2),
                    p("flags", S::Words(4, &words::LINKAT)),
                ]
            }
        }
        Call::symlink => const { &[RES, p("target", S::Name), p("linkpath", S::Path2)] },
        Call::symlinkat => {
            const { &[RES, p("target", S::Name), p("linkdirfd", S::Directory2(1)), p("linkpath", S::Path2)] }
        }
        Call::chmod => const { &[RES, p("filename", S::Path), p("mode", S::Mode(1))] },
        Call::fchmod => const { &[RES, THIS, p("mode", S::Mode(1))] },
        Call::fchmodat | Call::fchmodat2 => {
            const { &[RES, p("dirfd", S::Directory(0)), p("filename", S::Path), p("mode", S::Mode(2))] }
        }
        Call::mount => {
            const {
                &[
                    RES,
                    p("dev", S::Name),
                    p("dir", S::Path2),
                    p("type", S::Missing),
                    p("flags", S::Words(3, &words::MOUNT)),
                ]
            }
        }
        Call::umount2 => const { &[RES, p("name", S::Path), p("flags", S::Words(1, &words::UMOUNT))] },
        Call::dup => const { &[p("res", S::Returned), p("oldfd", S::Descriptor(0))] },
        Call::dup2 => {
            const { &[p("res", S::Returned), p("oldfd", S::Descriptor(0)), p("newfd", S::Descriptor(1))] }
        }
        Call::dup3 => {
            const {
                &[
                    p("res", S::Returned),
                    p("oldfd", S::Descriptor(0)),
                    p("newfd", S::Descriptor(1)),
                    p("flags", S::Words(2, &words::DESCRIPTOR)),
                ]
            }
        }
        Call::memfd_create => const { &[FD, p("name", S::Name), p("flags", S::Words(1, &words::MEMFD))] },
        Call::userfaultfd => const { &[RES, p("flags", S::Words(0, &words::DESCRIPTOR))] },
        Call::socket => {
            const {
                &[
                    FD,
                    p("domain", S::Words(0, &words::FAMILY)),
                    p("type", S::Unsigned(1)),
                    p("proto", S::Unsigned(2)),
                ]
            }
        }
        Call::bind => const { &[RES, p("addr", S::Address), THIS] },
        Call::connect => const { &[RES, p("tuple", S::Tuple), THIS, p("addr", S::Address)] },
        Call::listen => const { &[RES, THIS, p("backlog", S::Int(1))] },
        Call::accept => {
            const {
                &[
                    FD,
                    p("tuple", S::Tuple),
                    p("queuepct", S::Missing),
                    p("queuelen", S::Missing),
                    p("queuemax", S::Missing),
                ]
            }
        }
        Call::accept4 => {
            const {
                &[
                    FD,
                    p("tuple", S::Tuple),
                    p("queuepct", S::Missing),
                    p("queuelen", S::Missing),
                    p("queuemax", S::Missing),
                    p("flags", S::Hex(3)),
                ]
            }
        }
        Call::sendto => {
            const { &[RES, p("data", S::Data), THIS, p("size", S::Unsigned(2)), p("tuple", S::Tuple)] }
        }
        Call::sendmsg => {
            const { &[RES, p("data", S::Missing), THIS, p("size", S::Missing), p("tuple", S::Tuple)] }
        }
        Call::recvfrom => {
            const { &[RES, p("data", S::Data), p("tuple", S::Tuple), THIS, p("size", S::Unsigned(2))] }
        }
        Call::recvmsg => {
            const {
                &[
                    RES,
                    p("size", S::Received),
                    p("data", S::Missing),
                    p("tuple", S::Tuple),
                    p("msgcontrol", S::Missing),
                    THIS,
                ]
            }
        }
        Call::execve => EXEC,
        Call::execveat => EXECVEAT,
        Call::ptrace => {
            const {
                &[
                    RES,
                    p("addr", S::Pointer(2)),
                    p("data", S::Pointer(3)),
                    p("request", S::Words(0, &words::PTRACE)),
                    p("pid", S::Int(1)),
                ]
            }
        }
        Call::kill => const { &[RES, p("pid", S::Int(0)), p("sig", S::Signal(1))] },
        Call::tkill => const { &[RES, p("tid", S::Int(0)), p("sig", S::Signal(1))] },
        Call::tgkill => const { &[RES, p("pid", S::Int(0)), p("tid", S::Int(1)), p("sig", S::Signal(2))] },
        Call::prctl => {
            const {
                &[
                    RES,
                    p("option", S::Words(0, &words::PRCTL)),
                    p("arg2_str", S::Missing),
                    p("arg2_int", S::Long(1)),
                ]
            }
        }
        Call::setuid => const { &[RES, p("uid", S::User(0))] },
        Call::setgid => const { &[RES, p("gid", S::Group(0))] },
        Call::setreuid => const { &[RES, p("ruid", S::User(0)), p("euid", S::User(1))] },
        Call::setregid => const { &[RES, p("rgid", S::Group(0)), p("egid", S::Group(1))] },
        Call::setresuid => {
            const { &[RES, p("ruid", S::User(0)), p("euid", S::User(1)), p("suid", S::User(2))] }
        }
        Call::setresgid => {
            const { &[RES, p("rgid", S::Group(0)), p("egid", S::Group(1)), p("sgid", S::Group(2))] }
        }
        Call::setns => const { &[RES, THIS, p("nstype", S::Words(1, &words::CLONE))] },
        Call::unshare => const { &[RES, p("flags", S::Words(0, &words::CLONE))] },
        Call::init_module => {
            const { &[RES, p("img", S::Missing), p("length", S::Length(1)), p("uargs", S::Missing)] }
        }
        Call::finit_module => const { &[RES, THIS, p("uargs", S::Missing), p("flags", S::Unsigned(2))] },
        Call::delete_module => {
            const { &[RES, p("name", S::Name), p("flags", S::Words(1, &words::DELETE_MODULE))] }
        }
        Call::bpf => const { &[FD, p("cmd", S::Words(0, &words::BPF))] },
        Call::sendmmsg => {
            const { &[RES, THIS, p("size", S::Missing), p("data", S::Missing), p("tuple", S::Tuple)] }
        }
        Call::recvmmsg => {
            const {
                &[
                    RES,
                    THIS,
                    p("size", S::Missing),
                    p("data", S::Missing),
                    p("tuple", S::Tuple),
                    p("msgcontrol", S::Missing),
                ]
            }
        }
        Call::fork | Call::vfork => MAKING,
        Call::clone | Call::clone3 => CLONING,
        Call::io_uring_setup => {
            const {
                &[
                    RES,
                    p("entries", S::Unsigned(0)),
                    p("sq_entries", S::Unsigned(1)),
                    p("cq_entries", S::Upper(1)),
                    p("flags", S::Words(2, &words::RING)),
                    p("sq_thread_cpu", S::Upper(2)),
                    p("sq_thread_idle", S::Unsigned(3)),
                    p("features", S::UpperWords(3, &words::RING_FEATURES)),
                ]
            }
        }
        Call::io_uring_enter => {
            const {
                &[
                    RES,
                    THIS,
                    p("to_submit", S::Unsigned(1)),
                    p("min_complete", S::Unsigned(2)),
                    p("flags", S::Words(3, &words::RING_ENTER)),
                    p("sig", S::Missing),
                ]
            }
        }
        Call::io_uring_register => {
            const {
                &[
                    RES,
                    THIS,
                    p("opcode", S::Words(1, &words::RING_REGISTER)),
                    p("arg", S::Pointer(2)),
                    p("nr_args", S::Unsigned(3)),
                ]
            }
        }
    }
}
