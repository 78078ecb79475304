//! `user.*` and `group.*`. Who is not in the tables is `<NA>`; user and group 0 are root everywhere.

use super::{With, number, text};
use crate::event::User;
use crate::rules::facts::Facts;
use crate::rules::typed::Argument;

const NO_NAME: &str = "<NA>";
/// Nobody logged in.
const UNSET: u32 = u32::MAX;

/// Gives the name of a user.
pub(super) fn with_user(facts: &Facts<'_>, uid: u32, with: impl FnOnce(&str)) {
    let known = facts.process.and_then(|_| facts.lookups.user(uid));
    with(known.map_or(if uid == 0 { "root" } else { NO_NAME }, |user| user.name));
}

/// Gives the name of a group.
pub(super) fn with_group(facts: &Facts<'_>, gid: u32, with: impl FnOnce(&str)) {
    let known = facts.process.and_then(|_| facts.lookups.group(gid));
    with(known.unwrap_or(if gid == 0 { "root" } else { NO_NAME }));
}

pub(in crate::rules) fn uid(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(creds) = facts.creds() {
        number(creds.euid, with);
    }
}

pub(in crate::rules) fn name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(creds) = facts.creds() {
        with_user(facts, creds.euid, |name| text(name, with));
    }
}

fn line<'a>(facts: &Facts<'a>) -> Option<User<'a>> {
    facts.process?;
    facts.lookups.user(facts.creds()?.euid)
}

pub(in crate::rules) fn home(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(user) = line(facts) {
        text(user.home, with);
    }
}

pub(in crate::rules) fn shell(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(user) = line(facts) {
        text(user.shell, with);
    }
}

pub(in crate::rules) fn login_uid(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    match facts.process.map(|process| process.image.creds.loginuid) {
        Some(UNSET) => number(-1, with),
        Some(uid) => number(uid, with),
        None => {}
    }
}

pub(in crate::rules) fn login_name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    match facts.process.map(|process| process.image.creds.loginuid) {
        Some(UNSET) => text(NO_NAME, with),
        Some(uid) => with_user(facts, uid, |name| text(name, with)),
        None => {}
    }
}

pub(in crate::rules) fn gid(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(creds) = facts.creds() {
        number(creds.egid, with);
    }
}

pub(in crate::rules) fn group_name(facts: &Facts<'_>, _: Option<&Argument>, with: With<'_>) {
    if let Some(creds) = facts.creds() {
        with_group(facts, creds.egid, |name| text(name, with));
    }
}
