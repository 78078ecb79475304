//! `proc.*` and `thread.*`: the process that the event is of, and those above it.

use super::Argument::{MayBeIndex, MayBeIndexOrKey, Name};
use super::Feed::{Ancestors, Container, Event, Process};
use super::Kind::{Bool, Duration, Path, Signed, Text, Time, Unsigned};
use super::{Field, Place, field};

pub(super) const FIELDS: &[Field] = &[
    // What it runs.
    field("proc.name", Text, Process, "Name of the process, 15 bytes at most: the kernel's `comm`.")
        .otel("tarsier.process.comm"),
    field("proc.exe", Text, Process, "First word of the command line, whatever the caller made it.")
        .otel("process.command"),
    field("proc.exepath", Path, Process, "Path of the program file, symbolic links resolved.")
        .otel("process.executable.path"),
    field(
        "proc.args",
        Text,
        Process,
        "Command line without its first word; with a number, that argument from 0.",
    )
    .with(MayBeIndex),
    field("proc.cmdline", Text, Process, "`proc.name` and `proc.args` with a blank between."),
    field("proc.exeline", Text, Process, "`proc.exe` and `proc.args` with a blank between.")
        .otel("process.command_line"),
    field("proc.cmdnargs", Unsigned(64), Process, "How many words `proc.args` has."),
    field(
        "proc.cmdlenargs",
        Unsigned(64),
        Process,
        "How many bytes the words of `proc.args` have, blanks left out.",
    ),
    field(
        "proc.env",
        Text,
        Process,
        "Environment variables, `NAME=value` with blanks between, or the one named.",
    )
    .with(MayBeIndexOrKey)
    .otel("process.environment_variable.<key>"),
    field("proc.cwd", Path, Process, "Working directory, with a slash at its end.")
        .otel("process.working_directory"),
    field("proc.tty", Unsigned(32), Process, "Device number of its terminal, 0 without one.")
        .otel("tarsier.process.tty"),
    // Its program file.
    field(
        "proc.is_exe_writable",
        Bool,
        Process,
        "Whether the user it runs as may write to its program file.",
    ),
    field(
        "proc.is_exe_upper_layer",
        Bool,
        Process,
        "Whether its program file was made or changed in the container.",
    )
    .otel("tarsier.exe.upper_layer"),
    field("proc.is_exe_lower_layer", Bool, Process, "Whether its program file is the image's, unchanged."),
    field(
        "proc.is_exe_from_memfd",
        Bool,
        Process,
        "Whether its program is in memory only, made by memfd_create.",
    )
    .otel("tarsier.exe.memfd"),
    field("proc.exe_ino", Signed, Process, "Inode number of its program file.").otel("tarsier.exe.inode"),
    field("proc.exe_ino.ctime", Time, Process, "When the inode of its program file last changed.")
        .otel("tarsier.exe.ctime"),
    field("proc.exe_ino.mtime", Time, Process, "When its program file was last written to."),
    field(
        "proc.exe_ino.ctime_duration_proc_start",
        Duration,
        Process,
        "From the change of the inode to its start.",
    ),
    field(
        "proc.exe_ino.ctime_duration_pidns_start",
        Duration,
        Process,
        "From the start of its PID namespace to the change of the inode.",
    ),
    // Its numbers.
    field("proc.pid", Signed, Process, "Process id, as the host sees it.").otel("process.pid"),
    field("proc.vpid", Signed, Process, "Process id, as its own PID namespace sees it.").otel("process.vpid"),
    field("proc.sid", Signed, Process, "Session id, as its own PID namespace sees it."),
    field("proc.pgid", Signed, Process, "Process group, as the host sees it.")
        .otel("process.group_leader.pid"),
    field("proc.vpgid", Signed, Process, "Process group, as its own PID namespace sees it."),
    field("proc.is_sid_leader", Bool, Process, "Whether it leads its session."),
    field(
        "proc.is_pgid_leader",
        Bool,
        Process,
        "Whether it leads its process group: `proc.pgid` is `proc.pid`.",
    ),
    field(
        "proc.is_vpgid_leader",
        Bool,
        Process,
        "Whether it leads its process group: `proc.vpgid` is `proc.vpid`.",
    ),
    // When.
    field("proc.pid.ts", Time, Process, "When it started.").otel("process.creation.time"),
    field("proc.duration", Duration, Process, "How long it has run."),
    field("proc.pidns_init_start_ts", Time, Process, "When the first process of its PID namespace started."),
    // What is open.
    field("proc.stdin.type", Text, Process, "Type of descriptor 0, as `fd.type` has it."),
    field("proc.stdout.type", Text, Process, "Type of descriptor 1."),
    field("proc.stderr.type", Text, Process, "Type of descriptor 2."),
    field("proc.stdin.name", Text, Process, "Name of descriptor 0, as `fd.name` has it."),
    field("proc.stdout.name", Text, Process, "Name of descriptor 1."),
    field("proc.stderr.name", Text, Process, "Name of descriptor 2."),
    // Its thread.
    field("thread.tid", Signed, Event, "Thread id, as the host sees it.").otel("thread.id"),
    field("thread.vtid", Signed, Event, "Thread id, as its own PID namespace sees it."),
    field("thread.ismain", Bool, Event, "Whether the thread is the first of its process."),
    field("thread.cap_effective", Text, Process, "Capabilities in effect, by name, with blanks between.")
        .otel("tarsier.process.capabilities.effective"),
    field("thread.cap_permitted", Text, Process, "Capabilities it may put into effect.")
        .otel("tarsier.process.capabilities.permitted"),
    field("thread.cap_inheritable", Text, Process, "Capabilities that can pass on to the next program.")
        .otel("tarsier.process.capabilities.inheritable"),
    field("thread.cgroups", Text, Container, "Its cgroups, `controller=path` with blanks between.")
        .otel("process.linux.cgroup"),
    field(
        "thread.cgroup",
        Text,
        Container,
        "Path of its cgroup under the controller named: `thread.cgroup.memory`.",
    )
    .with(Name),
    // Its parent.
    field("proc.ppid", Signed, Ancestors, "Process id of the parent.").otel("process.parent_pid"),
    field(
        "proc.pvpid",
        Signed,
        Ancestors,
        "Process id of the parent, as the parent's PID namespace sees it.",
    ),
    field("proc.pname", Text, Ancestors, "`proc.name` of the parent."),
    field("proc.pexe", Text, Ancestors, "`proc.exe` of the parent."),
    field("proc.pexepath", Path, Ancestors, "`proc.exepath` of the parent."),
    field("proc.pcmdline", Text, Ancestors, "`proc.cmdline` of the parent."),
    field("proc.ppid.ts", Time, Ancestors, "When the parent started."),
    field("proc.ppid.duration", Duration, Ancestors, "How long the parent has run."),
    // Its ancestors: [0] is the process itself, [1] its parent; without a number, any from the parent up.
    field("proc.aname", Text, Ancestors, "`proc.name` of an ancestor.")
        .with(MayBeIndex)
        .at(Place::LeftOrOutput),
    field("proc.aexe", Text, Ancestors, "`proc.exe` of an ancestor.")
        .with(MayBeIndex)
        .at(Place::LeftOrOutput),
    field("proc.aexepath", Path, Ancestors, "`proc.exepath` of an ancestor.")
        .with(MayBeIndex)
        .at(Place::LeftOrOutput),
    field("proc.acmdline", Text, Ancestors, "`proc.cmdline` of an ancestor.")
        .with(MayBeIndex)
        .at(Place::LeftOrOutput),
    field("proc.aargs", Text, Ancestors, "`proc.args` of an ancestor.")
        .with(MayBeIndex)
        .at(Place::LeftOrOutput),
    field("proc.apid", Signed, Ancestors, "Process id of an ancestor.")
        .with(MayBeIndex)
        .at(Place::LeftOrOutput),
    field(
        "proc.aenv",
        Text,
        Ancestors,
        "`proc.env` of an ancestor, or the nearest value of the variable named.",
    )
    .with(MayBeIndexOrKey)
    .at(Place::LeftOrOutput),
    // The leaders of its session and group.
    field("proc.sname", Text, Ancestors, "`proc.name` of the leader of its session."),
    field("proc.sid.exe", Text, Ancestors, "`proc.exe` of the leader of its session."),
    field("proc.sid.exepath", Path, Ancestors, "`proc.exepath` of the leader of its session."),
    field("proc.pgid.name", Text, Ancestors, "`proc.name` of the leader of its process group."),
    field("proc.pgid.exe", Text, Ancestors, "`proc.exe` of the leader of its process group."),
    field("proc.pgid.exepath", Path, Ancestors, "`proc.exepath` of the leader of its process group."),
    field(
        "proc.vpgid.name",
        Text,
        Ancestors,
        "`proc.name` of the process whose `proc.vpid` is its `proc.vpgid`.",
    ),
    field(
        "proc.vpgid.exe",
        Text,
        Ancestors,
        "`proc.exe` of the process whose `proc.vpid` is its `proc.vpgid`.",
    ),
    field(
        "proc.vpgid.exepath",
        Path,
        Ancestors,
        "`proc.exepath` of the process whose `proc.vpid` is its `proc.vpgid`.",
    ),
    field("proc.loginshellid", Signed, Ancestors, "Process id of the topmost shell among its ancestors."),
];
