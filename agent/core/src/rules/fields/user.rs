//! `user.*` and `group.*`: whom the process runs as.

use super::Feed::{Process, Users};
use super::Kind::{Path, Signed, Text, Unsigned};
use super::{Field, field};

pub(super) const FIELDS: &[Field] = &[
    field("user.uid", Unsigned(32), Process, "Effective user id.").otel("process.user.id"),
    field("user.name", Text, Users, "Name of the effective user.").otel("process.user.name"),
    field("user.homedir", Path, Users, "Home directory of the effective user."),
    field("user.shell", Path, Users, "Login shell of the effective user."),
    field(
        "user.loginuid",
        Signed,
        Process,
        "User id that logged in, kept through su and sudo; -1 if none did.",
    )
    .otel("tarsier.process.loginuid"),
    field("user.loginname", Text, Users, "Name of the user that logged in."),
    field("group.gid", Unsigned(32), Process, "Effective group id.").otel("tarsier.process.group.id"),
    field("group.name", Text, Users, "Name of the effective group."),
];
