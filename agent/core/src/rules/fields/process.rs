//! `proc.*` and `thread.*`: the process that the event is of, and those above it.

use super::Argument::{MayBeIndex, MayBeIndexOrKey, Name};
use super::Feed::{Ancestors, Container, Event, Process};
use super::Kind::{Bool, Duration, Path, Signed, Text, Time, Unsigned};
use super::{Field, Place, field, lacking};
use crate::rules::getters::{ancestors, process};

pub(super) const FIELDS: &[Field] = &[
    // What it runs.
    field(
        "proc.name",
        Text,
        Process,
        process::name,
        "Name of the process, 15 bytes at most: the kernel's `comm`.",
    )
    .otel("tarsier.process.comm"),
    field(
        "proc.exe",
        Text,
        Process,
        process::exe,
        "First word of the command line, whatever the caller made it.",
    )
    .otel("process.command"),
    field(
        "proc.exepath",
        Path,
        Process,
        process::exe_path,
        "Path of the program file, symbolic links resolved.",
    )
    .otel("process.executable.path"),
    field(
        "proc.args",
        Text,
        Process,
        process::args,
        "Command line without its first word; with a number, that argument from 0.",
    )
    .with(MayBeIndex),
    field(
        "proc.cmdline",
        Text,
        Process,
        process::command_line,
        "`proc.name` and `proc.args` with a blank between.",
    ),
    field(
        "proc.exeline",
        Text,
        Process,
        process::exe_line,
        "`proc.exe` and `proc.args` with a blank between.",
    )
    .otel("process.command_line"),
    field("proc.cmdnargs", Unsigned(64), Process, process::args_count, "How many words `proc.args` has."),
    field(
        "proc.cmdlenargs",
        Unsigned(64),
        Process,
        process::args_len,
        "How many bytes the words of `proc.args` have, blanks left out.",
    ),
    lacking(
        "proc.env",
        Text,
        Process,
        "the environment at exec",
        "Environment variables, `NAME=value` with blanks between, or the one named.",
    )
    .with(MayBeIndexOrKey)
    .otel("process.environment_variable.<key>"),
    field(
        "proc.cwd",
        Path,
        Process,
        process::cwd,
        "Working directory when its program started, with a slash at its end.",
    )
    .otel("process.working_directory"),
    field("proc.tty", Unsigned(32), Process, process::tty, "Device number of its terminal, 0 without one.")
        .otel("tarsier.process.tty"),
    // Its program file.
    lacking(
        "proc.is_exe_writable",
        Bool,
        Process,
        "the owner and permissions of the program file",
        "Whether the user it runs as may write to its program file.",
    ),
    field(
        "proc.is_exe_upper_layer",
        Bool,
        Process,
        process::is_exe_upper_layer,
        "Whether its program file was made or changed in the container.",
    )
    .otel("tarsier.exe.upper_layer"),
    field(
        "proc.is_exe_lower_layer",
        Bool,
        Process,
        process::is_exe_lower_layer,
        "Whether its program file is the image's, unchanged.",
    ),
    field(
        "proc.is_exe_from_memfd",
        Bool,
        Process,
        process::is_exe_from_memfd,
        "Whether its program is in memory only, made by memfd_create.",
    )
    .otel("tarsier.exe.memfd"),
    field("proc.exe_ino", Signed, Process, process::exe_inode, "Inode number of its program file.")
        .otel("tarsier.exe.inode"),
    field(
        "proc.exe_ino.ctime",
        Time,
        Process,
        process::exe_ctime,
        "When the inode of its program file last changed.",
    )
    .otel("tarsier.exe.ctime"),
    lacking(
        "proc.exe_ino.mtime",
        Time,
        Process,
        "mtime of the program file",
        "When its program file was last written to.",
    ),
    field(
        "proc.exe_ino.ctime_duration_proc_start",
        Duration,
        Process,
        process::ctime_to_start,
        "From the change of the inode to its start.",
    ),
    lacking(
        "proc.exe_ino.ctime_duration_pidns_start",
        Duration,
        Process,
        "the start of the PID namespace",
        "From the start of its PID namespace to the change of the inode.",
    ),
    // Its numbers.
    field("proc.pid", Signed, Process, process::pid, "Process id, as the host sees it.").otel("process.pid"),
    field("proc.vpid", Signed, Process, process::vpid, "Process id, as its own PID namespace sees it.")
        .otel("process.vpid"),
    lacking("proc.sid", Signed, Process, "the session", "Session id, as its own PID namespace sees it."),
    lacking("proc.pgid", Signed, Process, "the process group", "Process group, as the host sees it.")
        .otel("process.group_leader.pid"),
    lacking(
        "proc.vpgid",
        Signed,
        Process,
        "the process group in the PID namespace",
        "Process group, as its own PID namespace sees it.",
    ),
    lacking("proc.is_sid_leader", Bool, Process, "the session", "Whether it leads its session."),
    lacking(
        "proc.is_pgid_leader",
        Bool,
        Process,
        "the process group",
        "Whether it leads its process group: `proc.pgid` is `proc.pid`.",
    ),
    lacking(
        "proc.is_vpgid_leader",
        Bool,
        Process,
        "the process group in the PID namespace",
        "Whether it leads its process group: `proc.vpgid` is `proc.vpid`.",
    ),
    // When.
    field("proc.pid.ts", Time, Process, process::start, "When it started.").otel("process.creation.time"),
    field("proc.duration", Duration, Process, process::duration, "How long it has run."),
    lacking(
        "proc.pidns_init_start_ts",
        Time,
        Process,
        "the start of the PID namespace",
        "When the first process of its PID namespace started.",
    ),
    // What is open.
    lacking(
        "proc.stdin.type",
        Text,
        Process,
        "the process's descriptors",
        "Type of descriptor 0, as `fd.type` has it.",
    ),
    lacking("proc.stdout.type", Text, Process, "the process's descriptors", "Type of descriptor 1."),
    lacking("proc.stderr.type", Text, Process, "the process's descriptors", "Type of descriptor 2."),
    lacking(
        "proc.stdin.name",
        Text,
        Process,
        "the process's descriptors",
        "Name of descriptor 0, as `fd.name` has it.",
    ),
    lacking("proc.stdout.name", Text, Process, "the process's descriptors", "Name of descriptor 1."),
    lacking("proc.stderr.name", Text, Process, "the process's descriptors", "Name of descriptor 2."),
    // Its thread.
    field("thread.tid", Signed, Event, process::tid, "Thread id, as the host sees it.").otel("thread.id"),
    field(
        "thread.vtid",
        Signed,
        Event,
        process::vtid,
        "Thread id, as its own PID namespace sees it; of the first thread only.",
    ),
    field(
        "thread.ismain",
        Bool,
        Event,
        process::is_main_thread,
        "Whether the thread is the first of its process.",
    ),
    field(
        "thread.cap_effective",
        Text,
        Process,
        process::cap_effective,
        "Capabilities in effect as the call returned, by name, with blanks between; of a call that may have entered another user namespace, when its program started.",
    )
    .otel("tarsier.process.capabilities.effective"),
    field(
        "thread.cap_permitted",
        Text,
        Process,
        process::cap_permitted,
        "Capabilities it may put into effect.",
    )
    .otel("tarsier.process.capabilities.permitted"),
    field(
        "thread.cap_inheritable",
        Text,
        Process,
        process::cap_inheritable,
        "Capabilities that can pass on to the next program.",
    )
    .otel("tarsier.process.capabilities.inheritable"),
    lacking(
        "thread.cgroups",
        Text,
        Container,
        "the path under each controller",
        "Its cgroups, `controller=path` with blanks between.",
    )
    .otel("process.linux.cgroup"),
    lacking(
        "thread.cgroup",
        Text,
        Container,
        "the path under each controller",
        "Path of its cgroup under the controller named: `thread.cgroup.memory`.",
    )
    .with(Name),
    // Its parent.
    field("proc.ppid", Signed, Ancestors, ancestors::parent_pid, "Process id of the parent.")
        .otel("process.parent_pid"),
    field(
        "proc.pvpid",
        Signed,
        Ancestors,
        ancestors::parent_vpid,
        "Process id of the parent, as the parent's PID namespace sees it.",
    ),
    field("proc.pname", Text, Ancestors, ancestors::parent_name, "`proc.name` of the parent."),
    field("proc.pexe", Text, Ancestors, ancestors::parent_exe, "`proc.exe` of the parent."),
    field("proc.pexepath", Path, Ancestors, ancestors::parent_exe_path, "`proc.exepath` of the parent."),
    field("proc.pcmdline", Text, Ancestors, ancestors::parent_command_line, "`proc.cmdline` of the parent."),
    field("proc.ppid.ts", Time, Ancestors, ancestors::parent_start, "When the parent started."),
    field(
        "proc.ppid.duration",
        Duration,
        Ancestors,
        ancestors::parent_duration,
        "How long the parent has run.",
    ),
    // Its ancestors: [0] is the process itself, [1] its parent; without a number, any from the parent up.
    field("proc.aname", Text, Ancestors, ancestors::name, "`proc.name` of an ancestor.")
        .with(MayBeIndex)
        .at(Place::LeftOrOutput),
    field("proc.aexe", Text, Ancestors, ancestors::exe, "`proc.exe` of an ancestor.")
        .with(MayBeIndex)
        .at(Place::LeftOrOutput),
    field("proc.aexepath", Path, Ancestors, ancestors::exe_path, "`proc.exepath` of an ancestor.")
        .with(MayBeIndex)
        .at(Place::LeftOrOutput),
    field("proc.acmdline", Text, Ancestors, ancestors::command_line, "`proc.cmdline` of an ancestor.")
        .with(MayBeIndex)
        .at(Place::LeftOrOutput),
    field("proc.aargs", Text, Ancestors, ancestors::args, "`proc.args` of an ancestor.")
        .with(MayBeIndex)
        .at(Place::LeftOrOutput),
    field("proc.apid", Signed, Ancestors, ancestors::pid, "Process id of an ancestor.")
        .with(MayBeIndex)
        .at(Place::LeftOrOutput),
    lacking(
        "proc.aenv",
        Text,
        Ancestors,
        "the environment at exec",
        "`proc.env` of an ancestor, or the nearest value of the variable named.",
    )
    .with(MayBeIndexOrKey)
    .at(Place::LeftOrOutput),
    // The leaders of its session and group.
    lacking("proc.sname", Text, Ancestors, "the session", "`proc.name` of the leader of its session."),
    lacking("proc.sid.exe", Text, Ancestors, "the session", "`proc.exe` of the leader of its session."),
    lacking(
        "proc.sid.exepath",
        Path,
        Ancestors,
        "the session",
        "`proc.exepath` of the leader of its session.",
    ),
    lacking(
        "proc.pgid.name",
        Text,
        Ancestors,
        "the process group",
        "`proc.name` of the leader of its process group.",
    ),
    lacking(
        "proc.pgid.exe",
        Text,
        Ancestors,
        "the process group",
        "`proc.exe` of the leader of its process group.",
    ),
    lacking(
        "proc.pgid.exepath",
        Path,
        Ancestors,
        "the process group",
        "`proc.exepath` of the leader of its process group.",
    ),
    lacking(
        "proc.vpgid.name",
        Text,
        Ancestors,
        "the process group in the PID namespace",
        "`proc.name` of the process whose `proc.vpid` is its `proc.vpgid`.",
    ),
    lacking(
        "proc.vpgid.exe",
        Text,
        Ancestors,
        "the process group in the PID namespace",
        "`proc.exe` of the process whose `proc.vpid` is its `proc.vpgid`.",
    ),
    lacking(
        "proc.vpgid.exepath",
        Path,
        Ancestors,
        "the process group in the PID namespace",
        "`proc.exepath` of the process whose `proc.vpid` is its `proc.vpgid`.",
    ),
    field(
        "proc.loginshellid",
        Signed,
        Ancestors,
        ancestors::login_shell,
        "Process id of the topmost shell among its ancestors.",
    ),
];
