//! Attributes of a process that several signals share.

use rustc_hash::FxHashMap;
use tarsier_abi::TaskKey;

use crate::event::{Image, Process};

use super::Clock;
use super::attributes::Writer;
use super::text::{ExecId, Rfc3339};

/// What identifies a process on every record about it: fixed from its exec to its exit.
pub(super) fn identity(attributes: &mut Writer<'_>, process: &Process, clock: Clock) {
    let image = &*process.image;
    attributes.int("process.pid", i64::from(process.key.tgid));
    attributes.some_bytes("process.executable.path", &image.exe);
    attributes.some_bytes("process.executable.name", executable_name(image));
    let created = clock.unix_ns(process.key.start_boottime);
    attributes.format("process.creation.time", format_args!("{}", Rfc3339(created)));
    attributes.format("tarsier.exec_id", format_args!("{}", ExecId(process.key)));
}

/// Last component of the executable's path; `comm` for what has none.
pub(super) fn executable_name(image: &Image) -> &[u8] {
    match image.exe.rsplit(|byte| *byte == b'/').next() {
        Some(name) if !name.is_empty() => name,
        _ => &image.comm,
    }
}

/// [`identity`] encoded once per process, for signals with many records of the same process.
#[derive(Debug)]
pub(super) struct Identities {
    field: u32,
    by_key: FxHashMap<TaskKey, Box<[u8]>>,
}

impl Identities {
    /// Most processes remembered. Exits are not seen here; when it is full it starts anew, which
    /// costs one encoding per process still alive.
    const MAX: usize = 8192;

    /// `field` is the attributes' field number in the messages they are appended to.
    pub(super) fn new(field: u32) -> Self {
        Self { field, by_key: FxHashMap::default() }
    }

    pub(super) fn append_to(&mut self, out: &mut Vec<u8>, process: &Process, clock: Clock) {
        if let Some(known) = self.by_key.get(&process.key) {
            out.extend_from_slice(known);
            return;
        }
        let start = out.len();
        identity(&mut Writer::new(out, self.field), process, clock);
        // A process whose exec record was lost may yet be completed from elsewhere: not kept.
        if process.image.exe.is_empty() {
            return;
        }
        if self.by_key.len() >= Self::MAX {
            self.by_key.clear();
        }
        self.by_key.insert(process.key, out[start..].into());
    }
}
