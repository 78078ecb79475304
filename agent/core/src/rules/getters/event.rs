//! `evt.*` but for times and arguments: what happened and how it ended.

use tarsier_abi::syscall::{CWD, Call, FMODE_CREATED, RECIPES, Recipe};

use super::descriptor::{self, Kind};
use super::words::{O_ACCMODE, O_CREAT, O_RDWR, O_TMPFILE, O_TRUNC, O_WRONLY};
use super::{With, errors, file, number, text, truth};
use crate::event::syscall::Event;
use crate::rules::facts::{Facts, What};
use crate::rules::typed::Argument;

pub(in crate::rules) fn num(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    number(facts.number, with);
}

pub(in crate::rules) fn kind(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    text(facts.what.name(), with);
}

pub(in crate::rules) fn kind_is(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    let is = matches!(argument, Some(Argument::Key(name)) if name == facts.what.name());
    number(u8::from(is), with);
}

pub(in crate::rules) fn syscall_kind(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if !matches!(facts.what, What::Exit { .. }) {
        text(facts.what.name(), with);
    }
}

pub(in crate::rules) fn direction(_: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    text("<", with);
}

pub(in crate::rules) fn source(_: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    text("syscall", with);
}

pub(in crate::rules) fn is_async(_: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    truth(false, with);
}

pub(in crate::rules) fn host_name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    text(facts.host_name, with);
}

pub(in crate::rules) fn cpu(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    number(facts.cpu, with);
}

/// What a call deals with (libs, driver/event_table.c). Of what reads and writes that is what is read from or written to.
pub(in crate::rules) fn category(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let Some(event) = facts.syscall() else { return text("process", with) };
    let category = match event.call {
        Call::dup
        | Call::dup2
        | Call::dup3
        | Call::sendto
        | Call::sendmsg
        | Call::recvfrom
        | Call::recvmsg
        | Call::sendmmsg
        | Call::recvmmsg => match descriptor::kind(event) {
            Some(Kind::File | Kind::Directory) => "file",
            Some(kind) if kind.is_ip() => "net",
            Some(Kind::Fifo | Kind::Unix | Kind::Event | Kind::Signal) => "ipc",
            _ => "unknown",
        },
        Call::socket | Call::bind | Call::connect | Call::listen | Call::accept | Call::accept4 => "net",
        Call::memfd_create => "memory",
        Call::kill | Call::tkill | Call::tgkill => "signal",
        Call::setuid | Call::setgid | Call::setresuid | Call::setresgid => "user",
        Call::execve
        | Call::execveat
        | Call::ptrace
        | Call::prctl
        | Call::setns
        | Call::unshare
        | Call::fork
        | Call::vfork
        | Call::clone
        | Call::clone3
        | Call::chroot => "process",
        Call::io_uring_setup | Call::io_uring_enter | Call::io_uring_register => "unknown",
        Call::setreuid
        | Call::setregid
        | Call::init_module
        | Call::finit_module
        | Call::delete_module
        | Call::bpf => "other",
        _ => "file",
    };
    text(category, with);
}

/// What the call returned; a program that has started returned 0.
fn returned(facts: &Facts<'_>) -> Option<i64> {
    match facts.what {
        What::Syscall(event) => Some(event.ret),
        What::Exec => Some(0),
        What::Exit { .. } => None,
    }
}

pub(in crate::rules) fn raw_result(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(ret) = returned(facts) {
        number(ret, with);
    }
}

pub(in crate::rules) fn result(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    match returned(facts) {
        Some(0..) => text("SUCCESS", with),
        Some(ret) => match errors::error(ret) {
            Some(name) => text(name, with),
            None => facts.cache.once(|out| super::put!(out, "{ret}"), |name| text(name, with)),
        },
        None => {}
    }
}

pub(in crate::rules) fn failed(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(ret) = returned(facts) {
        truth(ret < 0, with);
    }
}

/// The flags of `open` that `creat` stands for (open(2)).
pub(super) const CREAT: u64 = O_CREAT | O_WRONLY | O_TRUNC;

/// Flags and mode of a call that opens a file by name or handle.
fn opened(event: &Event<'_>) -> Option<(u64, u64)> {
    let number = |index: usize| event.number(index).unwrap_or(0);
    match event.call {
        Call::open => Some((number(1), number(2))),
        Call::openat | Call::openat2 => Some((number(2), number(3))),
        Call::creat => Some((CREAT, number(1))),
        // It takes a handle that exists, and no mode.
        Call::open_by_handle_at => Some((number(2) & !O_CREAT & !O_TMPFILE, 0)),
        _ => None,
    }
}

/// The permissions that a call which opens a file gives one that it makes; 0: it makes none.
pub(super) fn mode_of_opened(event: &Event<'_>) -> Option<u32> {
    let (flags, mode) = opened(event)?;
    Some(if makes_file(flags) { mode as u32 & 0o7777 } else { 0 })
}

fn makes_file(flags: u64) -> bool {
    flags & O_CREAT != 0 || flags & O_TMPFILE == O_TMPFILE
}

/// How a file was to be opened.
fn access(facts: &Facts<'_>) -> Option<u64> {
    Some(opened(facts.syscall()?)?.0 & O_ACCMODE)
}

pub(in crate::rules) fn is_open_read(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    truth(access(facts).is_some_and(|access| access != O_WRONLY), with);
}

pub(in crate::rules) fn is_open_write(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    truth(access(facts).is_some_and(|access| access == O_WRONLY || access == O_RDWR), with);
}

/// Whether opening was to make a file that anybody may execute.
pub(in crate::rules) fn is_open_exec(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let mode = facts.syscall().and_then(mode_of_opened);
    truth(mode.is_some_and(|mode| mode & 0o111 != 0), with);
}

/// Whether opening made a file: the kernel says so, or it has no name yet.
pub(in crate::rules) fn is_open_create(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let is = facts.syscall().is_some_and(|event| {
        let is_created = event.file.is_some_and(|file| file.facts.file_mode & FMODE_CREATED != 0);
        let is_nameless = |(flags, _)| flags & O_TMPFILE == O_TMPFILE && event.ret >= 0;
        opened(event).is_some_and(|opened| is_created || is_nameless(opened))
    });
    truth(is, with);
}

/// Which way bytes go.
fn way(facts: &Facts<'_>) -> Option<&'static str> {
    match facts.syscall()?.call {
        Call::sendto | Call::sendmsg | Call::sendmmsg => Some("write"),
        Call::recvfrom | Call::recvmsg | Call::recvmmsg | Call::finit_module => Some("read"),
        _ => None,
    }
}

pub(in crate::rules) fn is_io(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    truth(way(facts).is_some(), with);
}

pub(in crate::rules) fn is_io_read(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    truth(way(facts) == Some("read"), with);
}

pub(in crate::rules) fn is_io_write(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    truth(way(facts) == Some("write"), with);
}

pub(in crate::rules) fn io_direction(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(way) = way(facts) {
        text(way, with);
    }
}

pub(in crate::rules) fn is_syslog(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let mut is = false;
    if way(facts) == Some("write") {
        file::with_name(facts, |name| is = name.ends_with(b"/dev/log"));
    }
    truth(is, with);
}

pub(in crate::rules) fn buffer(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(data) = facts.syscall().and_then(|event| event.data) {
        text(data, with);
    }
}

pub(in crate::rules) fn buffer_len(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let Some(event) = facts.syscall() else { return };
    let is_io = !matches!(event.call, Call::finit_module) && way(facts).is_some();
    if is_io && event.ret >= 0 {
        number(event.ret, with);
    }
}

/// The path of an `…at` call; of two, the one that is renamed or linked.
pub(in crate::rules) fn absolute_path(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(event) = facts.syscall().filter(|event| is_at(event.call)) {
        match event.call {
            Call::symlinkat => file::second(facts, event, |path| text(path, with)),
            _ => file::first(facts, event, |path| text(path, with)),
        }
    }
}

/// Of a call with two paths the one that it is renamed or linked to.
pub(in crate::rules) fn absolute_target(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(event) = facts.syscall().filter(|event| is_at(event.call)) {
        match event.path2 {
            Some(_) => file::second(facts, event, |path| text(path, with)),
            None => file::first(facts, event, |path| text(path, with)),
        }
    }
}

/// Whether a call takes a descriptor of the directory that a path is relative to.
fn is_at(call: Call) -> bool {
    let Recipe { path, path2, .. } = RECIPES[call as usize];
    path.from < CWD || path2.from < CWD
}
