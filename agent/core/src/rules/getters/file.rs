//! `fd.*` of whatever a descriptor stands for, and `fs.path.*`.

use tarsier_abi::syscall::{Call, FileFacts, NOT_A_PATH, RECIPES, file_flag};

use super::descriptor::{self, Kind, is_open};
use super::{With, container, number, path, put, socket, text, truth};
use crate::event::exec::PathForm;
use crate::event::syscall::{Event, File, Name};
use crate::rules::facts::{Facts, Reading};
use crate::rules::typed::Argument;

pub(in crate::rules) fn num(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(fd) = facts.syscall().and_then(descriptor::number) {
        number(fd, with);
    }
}

pub(in crate::rules) fn kind(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(kind) = facts.syscall().and_then(descriptor::kind) {
        text(kind.name(), with);
    }
}

/// Of a descriptor that there was to be and is not, what it was to be.
pub(in crate::rules) fn letter(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let Some(event) = facts.syscall() else { return };
    match descriptor::kind(event) {
        Some(kind) => text(kind.letter(), with),
        None if descriptor::number(event).is_none() => {}
        None if is_open(event.call) || event.call == Call::open_by_handle_at => text("f", with),
        None if matches!(event.call, Call::socket | Call::accept | Call::accept4) => text("4", with),
        None => text("o", with),
    }
}

/// The file that a call opened by a path, if it has a path of its own.
fn opened<'a>(event: &Event<'a>) -> Option<File<'a>> {
    let has_path =
        |file: &File<'_>| file.path.form() != PathForm::Absent && descriptor::lonely_name(file).is_none();
    event.file.filter(|file| is_open(event.call) && has_path(file))
}

/// See [`Facts::has_own_path`].
pub(in crate::rules) fn has_own_path(facts: &Facts<'_>) -> bool {
    let Some(event) = facts.syscall() else { return false };
    let (Some(name), Some(file)) = (&event.path, opened(event)) else { return false };
    let mut is_same = name.text.is_none();
    path::absolute(name, &facts.cache.name, |written| {
        facts.cache.own_name.get(|out| file.path.write_into(out), |own| is_same = own == written);
    });
    !is_same
}

/// Gives the name of the descriptor that a call is about.
///
/// Of one that was opened by a path it is that path, made absolute without a look at the file system, whether or not it
/// was opened; of any other file, and in the other reading, the kernel's own path.
pub(super) fn with_name(facts: &Facts<'_>, with: impl FnOnce(&[u8])) {
    let Some(event) = facts.syscall() else { return };
    if let Some(socket) = &event.socket {
        return socket::with_name(facts, event, socket, with);
    }
    if facts.reading == Reading::Own
        && let Some(file) = opened(event)
    {
        return facts.cache.own_name.get(|out| file.path.write_into(out), with);
    }
    match (&event.path, &event.file) {
        (Some(name), _) if is_open(event.call) && name.text.is_some() => {
            path::absolute(name, &facts.cache.name, with);
        }
        (Some(name), Some(_)) if event.call == Call::memfd_create => {
            if let Some(name) = name.text {
                with(name);
            }
        }
        (_, Some(file)) => match descriptor::lonely_name(file) {
            Some(name) => with(name),
            None => facts.cache.name.get(|out| file.path.write_into(out), with),
        },
        _ => {}
    }
}

pub(in crate::rules) fn name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    with_name(facts, |name| text(name, with));
}

/// The path as it was written; slashes that stand together are one.
pub(in crate::rules) fn raw_name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let Some(event) = facts.syscall().filter(|event| is_open(event.call)) else { return };
    let Some(written) = event.path.and_then(|name| name.text) else { return };
    // What is clean, which others ask too, has none.
    if !facts.cache.name.is_needed(|| !path::is_clean(written)) || !path::has_double_slash(written) {
        return text(written, with);
    }
    let once = |out: &mut Vec<u8>| {
        out.extend_from_slice(written);
        out.dedup_by(|byte, before| *byte == b'/' && *before == b'/');
    };
    facts.cache.once(once, |name| text(name, with));
}

/// Thread id and number of the descriptor.
pub(in crate::rules) fn uid(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let Some(event) = facts.syscall() else { return };
    if let Some(fd) = descriptor::number(event) {
        facts.cache.once(|out| put!(out, "{}{fd}", event.tid), |uid| text(uid, with));
    }
}

/// Gives `fd.directory`.
fn with_directory(facts: &Facts<'_>, with: impl FnOnce(&[u8])) {
    match facts.syscall().map(descriptor::kind) {
        Some(Some(Kind::Directory)) => with_name(facts, with),
        Some(None | Some(Kind::File)) => with_name(facts, |name| with(path::split(name).0)),
        _ => {}
    }
}

pub(in crate::rules) fn directory(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    with_directory(facts, |directory| text(directory, with));
}

pub(in crate::rules) fn file_name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if matches!(facts.syscall().map(descriptor::kind), Some(None | Some(Kind::File))) {
        with_name(facts, |name| text(path::split(name).1, with));
    }
}

pub(in crate::rules) fn container_name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    with_name(facts, |name| in_container(facts, name, with));
}

pub(in crate::rules) fn container_directory(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    with_directory(facts, |directory| in_container(facts, directory, with));
}

fn in_container(facts: &Facts<'_>, name: &[u8], with: With<'_>) {
    let join = |out: &mut Vec<u8>| {
        out.extend_from_slice(container::short_id(facts.workload).as_bytes());
        out.push(b':');
        out.extend_from_slice(name);
    };
    facts.cache.once(join, |joined| text(joined, with));
}

/// What is known of the file itself.
fn file_facts(facts: &Facts<'_>) -> Option<FileFacts> {
    Some(facts.syscall()?.file?.facts)
}

/// A device number as `stat(2)` encodes it (include/linux/kdev_t.h, `new_encode_dev`), from the kernel's own major << 20 |
/// minor.
pub(super) fn encode_device(device: u32) -> u32 {
    let (major, minor) = (device >> 20, device & 0xf_ffff);
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}

pub(in crate::rules) fn device(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(file) = file_facts(facts) {
        number(encode_device(file.dev), with);
    }
}

pub(in crate::rules) fn device_major(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(file) = file_facts(facts) {
        number(file.dev >> 20, with);
    }
}

pub(in crate::rules) fn device_minor(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(file) = file_facts(facts) {
        number(file.dev & 0xf_ffff, with);
    }
}

pub(in crate::rules) fn inode(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(file) = file_facts(facts) {
        number(file.inode, with);
    }
}

pub(in crate::rules) fn is_upper_layer(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(file) = file_facts(facts) {
        truth(file.flags & file_flag::UPPER_LAYER != 0, with);
    }
}

pub(in crate::rules) fn is_lower_layer(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(file) = file_facts(facts) {
        truth(file.flags & (file_flag::OVERLAY | file_flag::UPPER_LAYER) == file_flag::OVERLAY, with);
    }
}

/// Gives the first path of a call, made absolute.
pub(super) fn first(facts: &Facts<'_>, event: &Event<'_>, with: impl FnOnce(&[u8])) {
    match &event.path {
        // What a descriptor is opened by is its name.
        Some(_) if is_open(event.call) => with_name(facts, with),
        // A device to be mounted is a path or any word.
        Some(Name { text: Some(written), .. })
            if RECIPES[event.call as usize].path.from == NOT_A_PATH && !written.starts_with(b"/") =>
        {
            with(written);
        }
        Some(name) => absolute_once(facts, name, with),
        None => {}
    }
}

/// Gives the second path of a call, made absolute.
pub(super) fn second(facts: &Facts<'_>, event: &Event<'_>, with: impl FnOnce(&[u8])) {
    if let Some(name) = &event.path2 {
        path::absolute(name, &facts.cache.second_path, with);
    }
}

fn absolute_once(facts: &Facts<'_>, name: &Name<'_>, with: impl FnOnce(&[u8])) {
    if let Some(written) = name.text {
        facts.cache.once(|out| path::write_absolute(out, written, name.dir), with);
    }
}

/// Which of a call's paths a field is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Only,
    Source,
    Target,
}

/// Gives a path of a call that worked, as it was written or made absolute.
fn with_path(facts: &Facts<'_>, which: Which, is_raw: bool, with: With<'_>) {
    let Some(event) = facts.syscall() else { return };
    // Opening says why it did not work by the path.
    if event.ret < 0 && !is_open(event.call) {
        return;
    }
    use Call as C;
    let is_first = match (event.call, which) {
        (C::rename | C::renameat | C::renameat2 | C::mount, Which::Source) => true,
        (C::rename | C::renameat | C::renameat2 | C::mount, Which::Target) => false,
        // A link is made from its new path; where it leads is its target.
        (C::link | C::linkat | C::symlink | C::symlinkat, Which::Source) => false,
        (C::link | C::linkat | C::symlink | C::symlinkat, Which::Target) => true,
        (
            C::open
            | C::openat
            | C::openat2
            | C::mkdir
            | C::mkdirat
            | C::rmdir
            | C::unlink
            | C::unlinkat
            | C::chmod
            | C::fchmodat
            | C::fchmodat2
            | C::umount2,
            Which::Only,
        ) => true,
        (C::fchmod | C::open_by_handle_at, Which::Only) => return with_name(facts, |name| text(name, with)),
        (C::creat, Which::Only) => true,
        _ => return,
    };
    let name = if is_first { event.path } else { event.path2 };
    match (name.and_then(|name| name.text), is_raw) {
        (Some(written), true) => text(written, with),
        (Some(written), false) if matches!(event.call, C::symlink | C::symlinkat) && is_first => {
            follow(facts, event, written, with);
        }
        (Some(_), false) if is_first => first(facts, event, |path| text(path, with)),
        (Some(_), false) => second(facts, event, |path| text(path, with)),
        (None, _) => {}
    }
}

/// Where a symbolic link leads: from its own directory.
fn follow(facts: &Facts<'_>, event: &Event<'_>, target: &[u8], with: With<'_>) {
    if target.starts_with(b"/") {
        return first(facts, event, |path| text(path, with));
    }
    second(facts, event, |link| {
        let join = |out: &mut Vec<u8>| path::write_below(out, path::split(link).0, target);
        facts.cache.once(join, |path| text(path, with));
    });
}

pub(in crate::rules) fn path_name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    with_path(facts, Which::Only, false, with);
}

pub(in crate::rules) fn path_raw_name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    with_path(facts, Which::Only, true, with);
}

pub(in crate::rules) fn path_source(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    with_path(facts, Which::Source, false, with);
}

pub(in crate::rules) fn path_raw_source(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    with_path(facts, Which::Source, true, with);
}

pub(in crate::rules) fn path_target(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    with_path(facts, Which::Target, false, with);
}

pub(in crate::rules) fn path_raw_target(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    with_path(facts, Which::Target, true, with);
}
