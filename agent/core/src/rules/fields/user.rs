//! `user.*` and `group.*`: whom the process runs as.

use super::Feed::{Process, Users};
use super::Kind::{Path, Signed, Text, Unsigned};
use super::{Field, field};
use crate::rules::getters::user;

pub(super) const FIELDS: &[Field] = &[
    field("user.uid", Unsigned(32), Process, user::uid, "Effective user id, as the call returned.")
        .otel("process.user.id"),
    field("user.name", Text, Users, user::name, "Name of the effective user.").otel("process.user.name"),
    field("user.homedir", Path, Users, user::home, "Home directory of the effective user."),
    field("user.shell", Path, Users, user::shell, "Login shell of the effective user."),
    field(
        "user.loginuid",
        Signed,
        Process,
        user::login_uid,
        "User id that logged in, kept through su and sudo; -1 if none did.",
    )
    .otel("tarsier.process.loginuid"),
    field("user.loginname", Text, Users, user::login_name, "Name of the user that logged in."),
    field("group.gid", Unsigned(32), Process, user::gid, "Effective group id, as the call returned.")
        .otel("tarsier.process.group.id"),
    field("group.name", Text, Users, user::group_name, "Name of the effective group."),
];
