//! What there is to know of a happening: all that rules can ask of it.
//!
//! The fields of the table are read off it by the getters in their rows ([`super::getters`]).

use tarsier_abi::exec::Creds;
use tarsier_abi::syscall::{Call, CallerCreds};

use super::compare::Value;
use super::evaluate::Event;
use super::event_types;
use super::getters;
use super::typed::FieldRef;
use crate::event::{ContainerFacts, Process, User, Workload, syscall};

mod cache;

pub use cache::Cache;
pub(super) use cache::Kept;

/// A happening.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Running number, from 1.
    pub number: u64,
    /// When, ns of boot time.
    pub boot_ns: u64,
    /// When, ns since 1970.
    pub unix_ns: u64,
    /// When the first one was, ns since 1970.
    pub first_unix_ns: u64,
    /// The CPU that told.
    pub cpu: u16,
    /// What happened.
    pub what: What<'a>,
    /// Whose doing it was, if that is known.
    pub process: Option<&'a Process>,
    /// Who its ancestors are.
    pub lineage: &'a dyn Lineage,
    /// Where it belongs.
    pub workload: &'a Workload,
    /// What no record says.
    pub lookups: &'a dyn Lookups,
    /// Which path of a file that was opened is its name.
    pub reading: Reading,
    /// `host.name`.
    pub host_name: &'a str,
    /// Memory for texts of this event: cleared since the one before.
    pub cache: &'a Cache,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// A system call returned.
    Syscall(&'a syscall::Event<'a>),
    /// The process started its program.
    Exec,
    /// The process ended, with what `wait(2)` gives.
    Exit {
        /// As `wait(2)` gives it.
        status: u32,
    },
}

/// Which path of a file that was opened rules take for its name. A rule is tried with one of them at a time, so that its
/// comparisons, those behind `not` too, are all about the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// The path as the program wrote it, made absolute without a look at the file system, as in Falco.
    #[default]
    Written,
    /// The kernel's own path of what was opened: symbolic links are followed.
    Own,
}

/// Who is whose parent.
pub trait Lineage {
    /// The parent, if it is known.
    fn parent(&self, process: &Process) -> Option<&Process>;
}

/// What no record says and has to be looked up on the node, as far as it has been.
pub trait Lookups {
    /// What the runtime of the event's container says of it.
    fn container(&self) -> Option<&ContainerFacts>;
    /// The user with this id where the event's process runs: in its container's `passwd`, or the host's.
    fn user(&self, uid: u32) -> Option<User<'_>>;
    /// The name of the group with this id, likewise.
    fn group(&self, gid: u32) -> Option<&str>;
}

/// Nothing is looked up.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLookups;

impl Lookups for NoLookups {
    fn container(&self) -> Option<&ContainerFacts> {
        None
    }
    fn user(&self, _: u32) -> Option<User<'_>> {
        None
    }
    fn group(&self, _: u32) -> Option<&str> {
        None
    }
}

impl What<'_> {
    /// Its type, as `evt.type` says it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Syscall(event) => event.call.name(),
            Self::Exec => "execve",
            Self::Exit { .. } => "procexit",
        }
    }
}

/// The types of events that a call is, by position in [`NAMES`](event_types::NAMES): its own, and that of the older call
/// that does the same, so that rules which name only that one see it.
pub fn kinds(call: Call) -> impl Iterator<Item = usize> {
    let older = match call {
        Call::creat | Call::open_by_handle_at => Some("open"),
        Call::fchmodat2 => Some("fchmodat"),
        _ => None,
    };
    std::iter::once(call.name()).chain(older).filter_map(event_types::find)
}

/// Whether a call may have brought its caller into another user namespace, in which it has every capability. Rules ask with
/// what it could bring that about: as far as is known, with what its program was started with.
fn gives_capabilities(event: &syscall::Event<'_>) -> bool {
    // include/uapi/linux/sched.h
    const CLONE_NEWUSER: u64 = 0x1000_0000;
    match event.call {
        Call::unshare => event.ret >= 0 && event.number(0).is_some_and(|flags| flags & CLONE_NEWUSER != 0),
        Call::setns => event.ret >= 0,
        _ => false,
    }
}

impl<'a> Facts<'a> {
    /// The system call, if it is one.
    pub(super) fn syscall(&self) -> Option<&'a syscall::Event<'a>> {
        match self.what {
            What::Syscall(event) => Some(event),
            _ => None,
        }
    }

    /// Whether it opened a file whose own path is another than the one that was written: then there are two readings of it.
    pub fn has_own_path(&self) -> bool {
        getters::has_own_path(self)
    }

    /// The TCP connection that it is about, if it is about one that is named.
    pub fn connection(&self) -> Option<syscall::Connection> {
        self.syscall()?.connection()
    }

    /// Whose doing it was: of a system call those of that moment, else those that the program started with.
    pub(super) fn creds(&self) -> Option<CallerCreds> {
        let of_program = self.process.map(|process| {
            let Creds { cap_inheritable, cap_permitted, cap_effective, euid, egid, .. } = process.image.creds;
            CallerCreds { cap_inheritable, cap_permitted, cap_effective, euid, egid }
        });
        let Some(event) = self.syscall() else { return of_program };
        match of_program {
            Some(before) if gives_capabilities(event) => {
                let CallerCreds { euid, egid, .. } = event.creds;
                Some(CallerCreds { euid, egid, ..before })
            }
            _ => Some(event.creds),
        }
    }

    /// Parent, grandparent and so on, as far as they are known.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &'a Process> {
        // Identities are the kernel's claim: a depth bounds what a circle of them could do.
        const DEPTH: usize = 128;
        let lineage = self.lineage;
        let first = self.process.and_then(|process| lineage.parent(process));
        std::iter::successors(first, move |process| lineage.parent(process)).take(DEPTH)
    }

    /// A moment of boot time, ns since 1970.
    pub(super) fn unix_of(&self, boot_ns: u64) -> u64 {
        self.unix_ns.wrapping_sub(self.boot_ns).wrapping_add(boot_ns)
    }
}

impl Event for Facts<'_> {
    fn visit(&self, field: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        (field.field.getter)(self, field.argument.as_ref(), with);
    }
}

#[cfg(test)]
mod tests {
    use super::event_types::NAMES;
    use super::*;

    #[test]
    fn every_call_is_of_a_known_type() {
        for call in Call::ALL {
            let kinds: Vec<_> = kinds(call).map(|kind| NAMES[kind]).collect();
            assert_eq!(kinds.first(), Some(&call.name()));
        }
        assert_eq!(kinds(Call::fchmodat2).count(), 2);
    }
}
