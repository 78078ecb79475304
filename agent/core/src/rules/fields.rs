//! The field table: everything that a rule can ask of an event.
//!
//! A row is a field: its name (Falco's), what kind of value it has, what its argument is, what feeds it, the
//! getter that gives it (or what would have to be known), the OpenTelemetry attribute that says the same, and one sentence. `tarsier fields`, the reference
//! and the checks of the loader all read these rows.

mod container;
mod event;
mod fd;
mod process;
mod user;

use super::getters::{self, Getter};

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name as rules write it, without the argument.
    pub name: &'static str,
    /// What kind of value it has.
    pub kind: Kind,
    /// What stands in brackets behind it.
    pub argument: Argument,
    /// Several values at once.
    pub is_list: bool,
    /// Where rules may write it.
    pub place: Place,
    /// Where its value comes from.
    pub feed: Feed,
    /// Gives it.
    pub getter: Getter,
    /// What would have to be known to give it; none: it is given.
    pub lacks: Option<&'static str>,
    /// The OpenTelemetry attribute of the same meaning.
    pub attribute: Option<&'static str>,
    /// What it says, in one sentence.
    pub doc: &'static str,
}

/// Kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A path: text whose components `pmatch` looks at.
    Path,
    /// A whole number with a sign.
    Signed,
    /// A whole number without one; a negative literal wraps, as in Falco. The bits it has.
    Unsigned(u32),
    /// True or false.
    Bool,
    /// A port: a number, or a service's name in a rule.
    Port,
    /// An IPv4 or IPv6 address.
    Address,
    /// An address in a rule's network.
    Network,
    /// Bytes.
    Bytes,
    /// Nanoseconds between two moments.
    Duration,
    /// Nanoseconds since 1970.
    Time,
}

impl Kind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Path => "path",
            Self::Signed | Self::Unsigned(_) => "number",
            Self::Bool => "true or false",
            Self::Port => "port",
            Self::Address => "address",
            Self::Network => "network",
            Self::Bytes => "bytes",
            Self::Duration => "duration in ns",
            Self::Time => "time in ns",
        }
    }
}

/// What a field takes in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// A number, or nothing.
    MayBeIndex,
    /// A number.
    Index,
    /// A number or a key, or nothing.
    MayBeIndexOrKey,
    /// A number or a key.
    IndexOrKey,
    /// A key.
    Key,
    /// A name behind a dot (`evt.arg.flags`), or a number or name in brackets.
    Name,
}

/// Where rules may write a field. Some have no one value: `fd.ip` is both ends, `proc.aname` any ancestor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Anywhere.
    Anywhere,
    /// Left of an operator and in outputs, but not in `val(…)` or a transformer.
    LeftOrOutput,
    /// Left of an operator.
    Left,
}

/// Where the value of a field comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feed {
    /// The event itself.
    Event,
    /// The file or socket that the event is about.
    File,
    /// The process table.
    Process,
    /// The process table's parents.
    Ancestors,
    /// The users and groups of the process's root.
    Users,
    /// The cgroup.
    Container,
    /// What the container's runtime has on disk.
    Runtime,
    /// The same, of the pod.
    Kubernetes,
}

/// The tables of all namespaces.
const TABLES: [&[Field]; 5] = [event::FIELDS, process::FIELDS, fd::FIELDS, user::FIELDS, container::FIELDS];

/// Every field, by namespace.
pub fn all() -> impl Iterator<Item = &'static Field> {
    TABLES.into_iter().flatten()
}

/// The field of this name with its place in [`all`], and the argument that is part of the name (`evt.arg.flags`).
pub fn find(name: &str) -> Option<(usize, &'static Field, Option<&str>)> {
    if let Some((place, field)) = all().enumerate().find(|(_, field)| field.name == name) {
        return Some((place, field, None));
    }
    all().enumerate().filter(|(_, field)| field.argument == Argument::Name).find_map(|(place, field)| {
        let argument = name.strip_prefix(field.name)?.strip_prefix('.')?;
        Some((place, field, Some(argument)))
    })
}

/// Rows are written with these.
const fn field(name: &'static str, kind: Kind, feed: Feed, getter: Getter, doc: &'static str) -> Field {
    let (argument, place) = (Argument::None, Place::Anywhere);
    Field { name, kind, argument, is_list: false, place, feed, getter, lacks: None, attribute: None, doc }
}

/// A field that nothing is known of yet: it has no value.
const fn lacking(
    name: &'static str,
    kind: Kind,
    feed: Feed,
    lacks: &'static str,
    doc: &'static str,
) -> Field {
    Field { lacks: Some(lacks), ..field(name, kind, feed, getters::nothing, doc) }
}

impl Field {
    const fn with(self, argument: Argument) -> Self {
        Self { argument, ..self }
    }

    const fn list(self) -> Self {
        Self { is_list: true, ..self }
    }

    const fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    const fn otel(self, attribute: &'static str) -> Self {
        Self { attribute: Some(attribute), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of Falco's rules (falcosecurity/rules, 5.1.0), in conditions and outputs.
    const UPSTREAM: &str = "
        evt.arg.cmd evt.arg.domain evt.arg.fd evt.arg.filename evt.arg.flags evt.arg.linkpath evt.arg.mode
        evt.arg.name evt.arg.newpath evt.arg.oldpath evt.arg.path evt.arg.request evt.arg.target evt.arg.uid
        evt.args evt.buffer evt.is_open_exec evt.is_open_read evt.is_open_write evt.num evt.rawres evt.res
        evt.type proc.aexe proc.aexepath proc.aname proc.args proc.cmdline proc.cwd proc.duration proc.env
        proc.exe proc.exe_ino.ctime proc.exe_ino.ctime_duration_proc_start proc.exe_ino.mtime proc.exepath
        proc.is_exe_from_memfd proc.is_exe_upper_layer proc.is_vpgid_leader proc.name proc.pcmdline proc.pexe
        proc.pexepath proc.pname proc.sname proc.tty proc.vpid thread.cap_effective thread.cap_permitted
        fd.cip fd.cip.name fd.cnet fd.connected fd.directory fd.filename fd.ip fd.l4proto fd.lip.name fd.lport
        fd.name fd.name_changed fd.nameraw fd.net fd.num fd.port fd.rip fd.rip.name fd.rnet fd.rport fd.sip
        fd.sip.name fd.snet fd.sockfamily fd.sport fd.type fd.typechar user.loginname user.loginuid user.name
        user.uid group.gid group.name container.id container.image.repository container.mount.dest
        container.mounts container.privileged container.start_ts k8s.ns.name k8s.pod.name";

    #[test]
    fn fields_of_upstream_rules_are_there() {
        assert_eq!(UPSTREAM.split_whitespace().count(), 90);
        for name in UPSTREAM.split_whitespace() {
            assert!(find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_has_no_one_value_is_only_compared() {
        for field in all() {
            let may_be_one = matches!(field.place, Place::Anywhere);
            assert!(!may_be_one || !field.is_list && field.kind != Kind::Network, "{}", field.name);
        }
    }

    #[test]
    fn names_are_unlike_and_found() {
        let mut seen = std::collections::BTreeSet::new();
        for field in all() {
            assert!(seen.insert(field.name), "{} is there twice", field.name);
            assert_eq!(find(field.name).map(|(_, found, _)| found.name), Some(field.name));
            let is_sentence = field.doc.ends_with('.') && !field.doc.contains('\n');
            assert!(is_sentence, "{}: {}", field.name, field.doc);
        }
        assert_eq!(
            find("evt.arg.flags").map(|(_, field, argument)| (field.name, argument)),
            Some(("evt.arg", Some("flags")))
        );
        assert!(find("proc.nam").is_none());
    }
}
