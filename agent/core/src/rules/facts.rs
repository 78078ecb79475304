//! What there is to know of a happening: all that rules can ask of it.

use tarsier_abi::syscall::Call;

use super::compare::Value;
use super::evaluate::Event;
use super::event_types;
use super::typed::FieldRef;
use crate::event::{Process, Workload, syscall};

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
    /// `host.name`.
    pub host_name: &'a str,
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

/// Who is whose parent.
pub trait Lineage {
    /// The parent, if it is known.
    fn parent(&self, process: &Process) -> Option<&Process>;
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

/// The types of events that a call is, by position in [`event_types::NAMES`]: its own, and that of the older call that does the
/// same, so that rules which name only that one see it.
pub fn kinds(call: Call) -> impl Iterator<Item = usize> {
    let older = match call {
        Call::creat | Call::open_by_handle_at => Some("open"),
        Call::fchmodat2 => Some("fchmodat"),
        _ => None,
    };
    std::iter::once(call.name()).chain(older).filter_map(event_types::find)
}

impl Event for Facts<'_> {
    fn visit(&self, field: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        match field.field.name {
            "evt.type" => with(Value::Text(self.what.name().as_bytes())),
            "proc.name" => {
                if let Some(process) = self.process {
                    with(Value::Text(process.image.comm()));
                }
            }
            _ => {}
        }
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
