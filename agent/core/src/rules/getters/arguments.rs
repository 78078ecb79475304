//! `evt.arg`, `evt.args` and `evt.info`: arguments as text.
//!
//! An argument has a plain form, and one in words where there are words for it: `4097` is `O_RDONLY|O_CLOEXEC`. `evt.arg`
//! is the words, else the plain form; `evt.args` has both.

use std::cell::Cell;

use tarsier_abi::syscall::{Call, FMODE_CREATED, file_flag};

use super::parameters::{self, Exec, Exit, Parameter, Shown};
use super::words::{self, Words};
use super::{With, clock, descriptor, errors, event as events, file, path, process, put, socket, text, user};
use crate::event::exec::PathTail;
use crate::event::syscall::{Event, Name};
use crate::rules::facts::{Facts, What};
use crate::rules::typed::Argument;

/// Stands for what could not be read.
const ABSENT: &[u8] = b"<NA>";
/// Stands for data and addresses that are not there.
const NULL: &[u8] = b"NULL";
/// `AT_FDCWD`: the working directory in place of a descriptor.
const AT_FDCWD: i32 = -100;

pub(in crate::rules) fn one(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    let found = argument.and_then(|argument| named_by(argument, parameters::of(facts.what)));
    let Some(Parameter { shown, .. }) = found else { return };
    // What is compared most, and stands in the record as it is.
    if let (Some(event), Shown::Path | Shown::Path2 | Shown::Name) = (facts.syscall(), shown) {
        let name = if matches!(shown, Shown::Path2) { event.path2 } else { event.path };
        if let Some(Name { text: Some(written @ [b'/', ..]), .. }) = name {
            return text(written, with);
        }
    }
    let words_at = Cell::new(None);
    facts.cache.once(
        |out| words_at.set(write(facts, *shown, out)),
        |both| match words_at.get() {
            Some(at) if at < both.len() => text(&both[at..], with),
            Some(_) => text(both, with),
            None => {}
        },
    );
}

fn named_by<'a>(argument: &Argument, parameters: &'a [Parameter]) -> Option<&'a Parameter> {
    match argument {
        Argument::Index(index) => parameters.get(*index as usize),
        Argument::Key(name) => parameters.iter().find(|parameter| parameter.name == name),
    }
}

/// An argument that is told as one word of a list.
pub(in crate::rules) struct Choices {
    /// The call's own argument, from 0.
    pub index: u8,
    /// What the kernel takes, and the word for it: all of them.
    pub words: Vec<words::Choice>,
    /// The word for whatever else is passed. None: its digits.
    pub other: Option<String>,
}

/// What a call's argument can be told as. None: it is not told by one word, or is told as something else than the kernel takes.
pub(in crate::rules) fn choices(call: Call, argument: &Argument) -> Option<Choices> {
    let Some(Parameter { shown: Shown::Words(index, words), .. }) =
        named_by(argument, parameters::of_call(call))
    else {
        return None;
    };
    let (words, other) = words.choices()?;
    Some(Choices { index: *index, words, other })
}

pub(in crate::rules) fn all(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let write_all = |out: &mut Vec<u8>| {
        for Parameter { name, shown } in parameters::of(facts.what) {
            let before = out.len();
            put!(out, "{}{name}=", if before == 0 { "" } else { " " });
            match write(facts, *shown, out) {
                Some(at) if at < out.len() => {
                    out.insert(at, b'(');
                    out.push(b')');
                }
                Some(_) => {}
                None => out.truncate(before),
            }
        }
    };
    facts.cache.once(write_all, |arguments| text(arguments, with));
}

/// Appends both forms; returns where the words begin. None: it is not known.
fn write(facts: &Facts<'_>, shown: Shown, out: &mut Vec<u8>) -> Option<usize> {
    match (shown, facts.what) {
        (Shown::Missing, _) => None,
        (Shown::Result, What::Exec) => {
            out.push(b'0');
            Some(out.len())
        }
        (Shown::Exec(exec), _) => of_exec(facts, exec, out),
        (Shown::Exit(exit), What::Exit { status }) => Some(of_exit(exit, status, out)),
        (_, What::Syscall(event)) => of_call(facts, event, shown, out),
        _ => None,
    }
}

/// Appends what words stand for, and the words.
fn in_words(words: &Words, number: u32, out: &mut Vec<u8>) -> usize {
    put!(out, "{number}");
    let at = out.len();
    words.write(out, number);
    at
}

/// Appends a number, and its name if it has one.
fn named(number: impl std::fmt::Display, name: Option<&str>, out: &mut Vec<u8>) -> usize {
    put!(out, "{number}");
    let at = out.len();
    out.extend_from_slice(name.unwrap_or_default().as_bytes());
    at
}

fn of_call(facts: &Facts<'_>, event: &Event<'_>, shown: Shown, out: &mut Vec<u8>) -> Option<usize> {
    let number = |index: u8| event.number(usize::from(index));
    let int = |index: u8| event.int(usize::from(index));
    match shown {
        Shown::Result => return Some(named(event.ret, errors::error(event.ret), out)),
        Shown::Returned if event.ret < 0 => return Some(named(event.ret, errors::error(event.ret), out)),
        Shown::Returned => return Some(descriptor(facts, event, event.ret, out)),
        Shown::Descriptor(index) => return Some(descriptor(facts, event, int(index)?.into(), out)),
        Shown::Number(index) => return Some(directory(int(index)?, None, out)),
        Shown::Directory(index) => return Some(directory(int(index)?, event.path.as_ref(), out)),
        Shown::Directory2(index) => return Some(directory(int(index)?, event.path2.as_ref(), out)),
        Shown::Path => return Some(path(event.path.as_ref()?, out)),
        Shown::Path2 => return Some(path(event.path2.as_ref()?, out)),
        Shown::UpperWords(index, words) => {
            return Some(in_words(words, words.number(number(index)? >> 32), out));
        }
        Shown::Words(index, words) => return Some(in_words(words, words.number(number(index)?), out)),
        Shown::OpenFlags(index) => {
            return Some(in_words(&words::OPEN, open_flags(event, number(index)?), out));
        }
        Shown::CreatFlags => {
            return Some(in_words(&words::OPEN, open_flags(event, events::CREAT), out));
        }
        Shown::Mode(index) => {
            let mode = number(index)? as u32;
            octal(mode, out);
            let at = out.len();
            words::MODE.write(out, mode);
            return Some(at);
        }
        Shown::Signal(index) => {
            let signal = number(index)?;
            return Some(named(signal as u8, errors::signal(signal), out));
        }
        Shown::User(index) => {
            return Some(owner(number(index)? as u32, out, |id, out| {
                user::with_user(facts, id, |name| out.extend_from_slice(name.as_bytes()));
            }));
        }
        Shown::Group(index) => {
            return Some(owner(number(index)? as u32, out, |id, out| {
                user::with_group(facts, id, |name| out.extend_from_slice(name.as_bytes()));
            }));
        }
        Shown::Name => out.extend_from_slice(event.path?.text.unwrap_or(ABSENT)),
        Shown::FilePath => event.file?.path.write_into(out),
        Shown::Int(index) => put!(out, "{}", int(index)?),
        Shown::Long(index) => put!(out, "{}", number(index)? as i64),
        Shown::Unsigned(index) => put!(out, "{}", number(index)? as u32),
        Shown::Upper(index) => put!(out, "{}", (number(index)? >> 32) as u32),
        Shown::Length(index) => put!(out, "{}", number(index)?),
        Shown::Hex(index) => put!(out, "{:X}", number(index)? as u32),
        Shown::Pointer(index) => put!(out, "{:X}", number(index)?),
        Shown::OpenMode => octal(events::mode_of_opened(event)?, out),
        Shown::Tuple => tuple(facts, event, out),
        Shown::Address => address(event, out),
        Shown::Data => printable(event.data.unwrap_or_default(), out),
        Shown::Received => put!(out, "{}", u32::try_from(event.ret).unwrap_or(0)),
        Shown::Device => {
            let device = event.file.map_or(0, |file| file::encode_device(file.facts.dev));
            put!(out, "{device:X}");
        }
        Shown::Inode => {
            let inode = event.file.map_or(0, |file| file.facts.inode);
            put!(out, "{inode}");
        }
        Shown::Missing | Shown::Exec(_) | Shown::Exit(_) => return None,
    }
    Some(out.len())
}

/// As C prints octal numbers that should look like it.
fn octal(number: u32, out: &mut Vec<u8>) {
    put!(out, "{}{number:o}", if number == 0 { "" } else { "0" });
}

/// A descriptor: `3`, and `<f>/etc/passwd`.
fn descriptor(facts: &Facts<'_>, event: &Event<'_>, fd: i64, out: &mut Vec<u8>) -> usize {
    if fd < 0 {
        return named(fd, errors::error(fd), out);
    }
    put!(out, "{fd}");
    let at = out.len();
    socket::write_descriptor(out, facts, event);
    at
}

/// The descriptor of a directory that a path may be relative to.
fn directory(fd: i32, name: Option<&Name<'_>>, out: &mut Vec<u8>) -> usize {
    if fd < 0 {
        let word = if fd == AT_FDCWD { Some("AT_FDCWD") } else { errors::error(fd.into()) };
        return named(fd, word, out);
    }
    put!(out, "{fd}");
    let at = out.len();
    if let Some(dir) = name.and_then(|name| name.dir) {
        write_directory(dir, out);
    }
    at
}

fn write_directory(dir: PathTail<'_>, out: &mut Vec<u8>) {
    put!(out, "<{}>", descriptor::Kind::Directory.letter());
    dir.write_into(out);
}

/// A path as it was written, and one that is relative as an absolute one.
fn path(name: &Name<'_>, out: &mut Vec<u8>) -> usize {
    let Some(written) = name.text else {
        out.extend_from_slice(ABSENT);
        return out.len();
    };
    out.extend_from_slice(written);
    let at = out.len();
    if !written.is_empty() && !written.starts_with(b"/") {
        path::write_absolute(out, written, name.dir);
    }
    at
}

/// How a file was opened, with what the kernel found.
fn open_flags(event: &Event<'_>, flags: u64) -> u32 {
    let found = event.file.map_or(0, |file| {
        let has = |flag: u32| file.facts.flags & flag != 0;
        let layer = match (has(file_flag::UPPER_LAYER), has(file_flag::OVERLAY)) {
            (true, _) => words::FD_UPPER_LAYER,
            (false, true) => words::FD_LOWER_LAYER,
            (false, false) => 0,
        };
        let is_created = file.facts.file_mode & FMODE_CREATED != 0;
        layer | if is_created { words::F_CREATED } else { 0 }
    });
    words::OPEN.number(flags) | found
}

/// A user or group that is set: -1 leaves it as it is.
fn owner(id: u32, out: &mut Vec<u8>, write: impl FnOnce(u32, &mut Vec<u8>)) -> usize {
    if id == u32::MAX {
        return named(-1, Some("<NONE>"), out);
    }
    put!(out, "{}", id as i32);
    let at = out.len();
    write(id, out);
    at
}

fn tuple(facts: &Facts<'_>, event: &Event<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    if event.socket.is_some() {
        file::with_name(facts, |name| out.extend_from_slice(name));
    }
    if out.len() == start {
        out.extend_from_slice(NULL);
    }
}

fn address(event: &Event<'_>, out: &mut Vec<u8>) {
    match (event.ip_address(), event.unix_address(), event.address) {
        (Some(end), ..) => socket::write_end(out, end),
        (_, Some(name), _) => out.extend_from_slice(name),
        (_, _, Some([low, high, ..])) => put!(out, "family {}", u16::from_ne_bytes([*low, *high])),
        _ => out.extend_from_slice(ABSENT),
    }
}

/// The argument `args` of a program's start as `evt.args` has it; `arguments` are the command line, each ended by NUL.
pub fn shown_arguments(arguments: &[u8]) -> Vec<u8> {
    let mut shown = Vec::new();
    printable(process::behind_first(arguments), &mut shown);
    shown
}

/// Bytes as text: what cannot be printed is a dot.
fn printable(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        return out.extend_from_slice(NULL);
    }
    out.extend(bytes.iter().map(|byte| if matches!(byte, b' '..=b'~') { *byte } else { b'.' }));
}

fn of_exec(facts: &Facts<'_>, exec: Exec, out: &mut Vec<u8>) -> Option<usize> {
    let process = facts.process?;
    let (image, creds) = (&process.image, &process.image.creds);
    match exec {
        Exec::Tid | Exec::Pid => {
            let at = named(process.key.tgid, None, out);
            out.extend_from_slice(image.comm());
            return Some(at);
        }
        Exec::Parent => {
            let at = named(process::parent_pid(process)?, None, out);
            if let Some(parent) = facts.lineage.parent(process) {
                out.extend_from_slice(parent.image.comm());
            }
            return Some(at);
        }
        Exec::LoginUid | Exec::User => {
            let id = if matches!(exec, Exec::User) { creds.euid } else { creds.loginuid };
            return Some(owner(id, out, |id, out| {
                user::with_user(facts, id, |name| out.extend_from_slice(name.as_bytes()));
            }));
        }
        Exec::Group => {
            return Some(owner(creds.egid, out, |id, out| {
                user::with_group(facts, id, |name| out.extend_from_slice(name.as_bytes()));
            }));
        }
        Exec::Exe => out.extend_from_slice(image.args().first().unwrap_or_default()),
        Exec::Args => printable(process::behind_first(image.args().bytes()), out),
        Exec::Cwd => process::write_cwd(image, out),
        Exec::Comm => out.extend_from_slice(image.comm()),
        Exec::Tty => put!(out, "{}", file::encode_device(image.tty)),
        Exec::Inheritable => put!(out, "{:X}", creds.cap_inheritable),
        Exec::Permitted => put!(out, "{:X}", creds.cap_permitted),
        Exec::Effective => put!(out, "{:X}", creds.cap_effective),
        Exec::Inode => put!(out, "{}", image.exe_inode),
        Exec::ChangeTime => clock::write_with_zone(image.exe_ctime_ns, out),
        Exec::Path => out.extend_from_slice(image.exe()),
    }
    Some(out.len())
}

fn of_exit(exit: Exit, status: u32, out: &mut Vec<u8>) -> usize {
    // As wait(2) has it: the exit code in the second byte, or a signal in the first, with a bit for its core dump.
    match exit {
        Exit::Status => put!(out, "{status}"),
        Exit::Code => put!(out, "{}", status >> 8 & 0xff),
        Exit::Signal => {
            let signal = status & 0x7f;
            return named(signal, errors::signal(signal.into()), out);
        }
        Exit::Core => put!(out, "{}", status >> 7 & 1),
    }
    out.len()
}
