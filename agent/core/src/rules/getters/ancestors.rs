//! `proc.*` of those above the process: `[0]` is the process itself, `[1]` its parent; without a number, each of them from the
//! parent up.

use super::{With, number, process, text};
use crate::event::Process;
use crate::rules::facts::Facts;
use crate::rules::typed::Argument;

/// Gives what `of` says of the process that the argument means, or of each ancestor.
fn each<'a>(facts: &Facts<'a>, argument: Option<&Argument>, mut of: impl FnMut(&'a Process)) {
    match argument {
        Some(Argument::Index(0)) => facts.process.into_iter().for_each(of),
        Some(Argument::Index(index)) => facts.ancestors().nth(*index as usize - 1).into_iter().for_each(of),
        Some(Argument::Key(_)) => {}
        None => facts.ancestors().for_each(&mut of),
    }
}

fn parent<'a>(facts: &Facts<'a>) -> Option<&'a Process> {
    facts.ancestors().next()
}

pub(in crate::rules) fn name(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    each(facts, argument, |process| text(process.image.comm(), &mut *with));
}

pub(in crate::rules) fn exe(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    each(facts, argument, |process| one_exe(process, &mut *with));
}

pub(in crate::rules) fn exe_path(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    each(facts, argument, |process| text(process.image.exe(), &mut *with));
}

pub(in crate::rules) fn command_line(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    each(facts, argument, |process| one_command_line(facts, process, &mut *with));
}

pub(in crate::rules) fn args(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    each(facts, argument, |process| {
        if process::has_arguments(&process.image) {
            let write = |out: &mut Vec<u8>| process::write_arguments(&process.image, out);
            facts.cache.once(write, |args| text(args, &mut *with));
        }
    });
}

pub(in crate::rules) fn pid(facts: &Facts<'_>, argument: Option<&Argument>, with: With<'_>) {
    each(facts, argument, |process| number(process.key.tgid, &mut *with));
}

fn one_exe(process: &Process, with: With<'_>) {
    if process::has_arguments(&process.image) {
        text(process.image.args().first().unwrap_or_default(), with);
    }
}

fn one_command_line(facts: &Facts<'_>, process: &Process, with: With<'_>) {
    if process::has_arguments(&process.image) {
        let write = |out: &mut Vec<u8>| process::write_command_line(&process.image, out);
        facts.cache.once(write, |line| text(line, with));
    }
}

pub(in crate::rules) fn parent_pid(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(pid) = facts.process.and_then(process::parent_pid) {
        number(pid, with);
    }
}

pub(in crate::rules) fn parent_vpid(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(parent) = parent(facts).filter(|parent| parent.vpid != 0) {
        number(parent.vpid, with);
    }
}

pub(in crate::rules) fn parent_name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(parent) = parent(facts) {
        text(parent.image.comm(), with);
    }
}

pub(in crate::rules) fn parent_exe(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(parent) = parent(facts) {
        one_exe(parent, with);
    }
}

pub(in crate::rules) fn parent_exe_path(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(parent) = parent(facts) {
        text(parent.image.exe(), with);
    }
}

pub(in crate::rules) fn parent_command_line(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(parent) = parent(facts) {
        one_command_line(facts, parent, with);
    }
}

pub(in crate::rules) fn parent_start(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(parent) = parent(facts) {
        number(facts.unix_of(parent.key.start_boottime), with);
    }
}

pub(in crate::rules) fn parent_duration(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(parent) = parent(facts) {
        number(facts.boot_ns.saturating_sub(parent.key.start_boottime), with);
    }
}

/// The topmost shell among the process and those above it: what is called something with `sh` at its end.
pub(in crate::rules) fn login_shell(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    let all = facts.process.into_iter().chain(facts.ancestors());
    if let Some(shell) = all.filter(|process| process.image.comm().ends_with(b"sh")).last() {
        number(shell.key.tgid, with);
    }
}
