//! `proc.*` and `thread.*` of the process itself, as of when its program started; capabilities as of the event.

use tarsier_abi::exec::flag;
use tarsier_abi::syscall::CallerCreds;

use super::{With, file, number, put, text, truth};
use crate::event::{Image, Process};
use crate::rules::facts::Facts;
use crate::rules::typed::Argument;

/// Names of capabilities (include/uapi/linux/capability.h), by number, without `CAP_`.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Whether the arguments of a process are known.
pub(super) fn has_arguments(image: &Image) -> bool {
    image.flags & flag::ARGS_UNREADABLE == 0
}

/// The arguments behind the first: each ended by NUL.
pub(super) fn behind_first(bytes: &[u8]) -> &[u8] {
    memchr::memchr(0, bytes).map_or(&[], |end| &bytes[end + 1..])
}

/// Appends the arguments behind the first, with blanks between.
pub(super) fn write_arguments(image: &Image, out: &mut Vec<u8>) {
    let bytes = behind_first(image.args().bytes());
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let start = out.len();
    out.extend_from_slice(bytes);
    out[start..].iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
}

/// Appends name and arguments.
pub(super) fn write_command_line(image: &Image, out: &mut Vec<u8>) {
    out.extend_from_slice(image.comm());
    write_behind(image, out);
}

fn write_behind(image: &Image, out: &mut Vec<u8>) {
    if !behind_first(image.args().bytes()).is_empty() {
        out.push(b' ');
        write_arguments(image, out);
    }
}

/// Appends the working directory, with a slash at its end.
pub(super) fn write_cwd(image: &Image, out: &mut Vec<u8>) {
    out.extend_from_slice(image.cwd());
    if !image.cwd().ends_with(b"/") {
        out.push(b'/');
    }
}

/// The parent's process id, if it has one.
pub(super) fn parent_pid(process: &Process) -> Option<u32> {
    (!process.parent.is_none()).then_some(process.parent.tgid)
}

pub(in crate::rules) fn name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(process) = facts.process {
        text(process.image.comm(), with);
    }
}

fn image<'a>(facts: &Facts<'a>) -> Option<&'a Image> {
    facts.process.map(|process| &*process.image)
}

/// The image of a process whose arguments are known.
fn argued<'a>(facts: &Facts<'a>) -> Option<&'a Image> {
    image(facts).filter(|image| has_arguments(image))
}

pub(in crate::rules) fn exe(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(image) = argued(facts) {
        text(image.args().first().unwrap_or_default(), with);
    }
}

pub(in crate::rules) fn exe_path(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(image) = image(facts) {
        text(image.exe(), with);
    }
}

pub(in crate::rules) fn args(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    let Some(image) = argued(facts) else { return };
    if let Some(Argument::Index(index)) = argument {
        if let Some(argument) = image.args().iter().skip(1).nth(*index as usize) {
            text(argument, with);
        }
        return;
    }
    let bytes = behind_first(image.args().bytes());
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    // One word, or none, stands there as it is.
    match memchr::memchr(0, bytes) {
        None => text(bytes, with),
        Some(_) => facts.cache.arguments.get(|out| write_arguments(image, out), |args| text(args, with)),
    }
}

pub(in crate::rules) fn command_line(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let Some(image) = argued(facts) else { return };
    facts.cache.command_line.get(|out| write_command_line(image, out), |line| text(line, with));
}

pub(in crate::rules) fn exe_line(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let Some(image) = argued(facts) else { return };
    let write = |out: &mut Vec<u8>| {
        out.extend_from_slice(image.args().first().unwrap_or_default());
        write_behind(image, out);
    };
    facts.cache.once(write, |line| text(line, with));
}

pub(in crate::rules) fn args_count(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(image) = argued(facts) {
        number(image.args().iter().skip(1).count() as u64, with);
    }
}

pub(in crate::rules) fn args_len(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(image) = argued(facts) {
        number(image.args().iter().skip(1).map(<[u8]>::len).sum::<usize>() as u64, with);
    }
}

pub(in crate::rules) fn cwd(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let Some(image) = image(facts).filter(|image| !image.cwd().is_empty()) else { return };
    facts.cache.once(|out| write_cwd(image, out), |cwd| text(cwd, with));
}

pub(in crate::rules) fn tty(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(image) = image(facts) {
        number(file::encode_device(image.tty), with);
    }
}

pub(in crate::rules) fn is_exe_upper_layer(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(image) = image(facts) {
        truth(image.flags & flag::EXE_UPPER_LAYER != 0, with);
    }
}

pub(in crate::rules) fn is_exe_lower_layer(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(image) = image(facts) {
        truth(image.flags & (flag::EXE_OVERLAY | flag::EXE_UPPER_LAYER) == flag::EXE_OVERLAY, with);
    }
}

pub(in crate::rules) fn is_exe_from_memfd(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(image) = image(facts) {
        truth(image.flags & flag::EXE_MEMFD != 0, with);
    }
}

pub(in crate::rules) fn exe_inode(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(image) = image(facts) {
        number(image.exe_inode, with);
    }
}

pub(in crate::rules) fn exe_ctime(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(image) = image(facts) {
        number(image.exe_ctime_ns, with);
    }
}

/// Not of a program file that was changed after the process began, or has no such time.
pub(in crate::rules) fn ctime_to_start(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let Some(process) = facts.process.filter(|process| process.image.exe_ctime_ns != 0) else { return };
    let start = facts.unix_of(process.key.start_boottime);
    if let Some(duration) = start.checked_sub(process.image.exe_ctime_ns) {
        number(duration, with);
    }
}

pub(in crate::rules) fn pid(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(process) = facts.process {
        number(process.key.tgid, with);
    }
}

pub(in crate::rules) fn vpid(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(process) = facts.process.filter(|process| process.vpid != 0) {
        number(process.vpid, with);
    }
}

pub(in crate::rules) fn start(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(process) = facts.process {
        number(facts.unix_of(process.key.start_boottime), with);
    }
}

pub(in crate::rules) fn duration(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(process) = facts.process {
        number(facts.boot_ns.saturating_sub(process.key.start_boottime), with);
    }
}

/// The thread's id: a program starts in the first thread, and ends when the last one does.
fn thread(facts: &Facts<'_>) -> Option<u32> {
    match facts.syscall() {
        Some(event) => Some(event.tid),
        None => facts.process.map(|process| process.key.tgid),
    }
}

pub(in crate::rules) fn tid(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(tid) = thread(facts) {
        number(tid, with);
    }
}

/// Of the first thread it is the process's; of others no record tells it.
pub(in crate::rules) fn vtid(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    if facts.process.map(|process| process.key.tgid) == thread(facts) {
        vpid(facts, argument, with);
    }
}

pub(in crate::rules) fn is_main_thread(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    match (facts.syscall(), thread(facts)) {
        (Some(event), Some(tid)) => truth(tid == event.task.tgid, with),
        (None, Some(_)) => truth(true, with),
        _ => {}
    }
}

fn capabilities(facts: &Facts<'_>, of: impl FnOnce(CallerCreds) -> u64, with: With<'_>) {
    let Some(set) = facts.creds().map(of) else { return };
    let write = |out: &mut Vec<u8>| {
        let mut between = "";
        for (_, name) in CAPABILITIES.iter().enumerate().filter(|(number, _)| set >> number & 1 != 0) {
            put!(out, "{between}CAP_{name}");
            between = " ";
        }
    };
    facts.cache.once(write, |names| text(names, with));
}

pub(in crate::rules) fn cap_effective(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    capabilities(facts, |creds| creds.cap_effective, with);
}

pub(in crate::rules) fn cap_permitted(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    capabilities(facts, |creds| creds.cap_permitted, with);
}

pub(in crate::rules) fn cap_inheritable(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    capabilities(facts, |creds| creds.cap_inheritable, with);
}
