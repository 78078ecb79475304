//! Attributes of a process that several signals share.

use tarsier_abi::TaskKey;

use crate::event::{Image, Process};

use super::Clock;
use super::attributes::Writer;
use super::prefix::{bytes, formatted, int};

/// What identifies a process on every record about it: fixed from its exec to its exit.
pub(super) fn identity(attributes: &mut Writer<'_>, process: &Process, clock: Clock) {
    pid_and_path(attributes, process);
    name_and_birth(attributes, process, clock);
}

fn pid_and_path(attributes: &mut Writer<'_>, process: &Process) {
    int!(attributes, "process.pid", process.key.tgid.into());
    bytes!(attributes, "process.executable.path", &process.image.exe);
}

fn name_and_birth(attributes: &mut Writer<'_>, process: &Process, clock: Clock) {
    bytes!(attributes, "process.executable.name", executable_name(&process.image));
    let created = clock.unix_ns(process.key.start_boottime);
    formatted!(attributes, "process.creation.time", |text| text.rfc3339(created));
    formatted!(attributes, "tarsier.exec_id", |text| text.exec_id(process.key));
}

/// Last component of the executable's path; `comm` for what has none.
pub(super) fn executable_name(image: &Image) -> &[u8] {
    match image.exe.rsplit(|byte| *byte == b'/').next() {
        Some(name) if !name.is_empty() => name,
        _ => &image.comm,
    }
}

/// [`identity`] encoded once per process, for signals with many records of the same process: a cache
/// in which every process has one place, and takes it from whoever had it.
#[derive(Debug)]
pub(super) struct Identities {
    /// The attributes' field number in the messages they are appended to.
    field: u8,
    slots: Box<[Slot]>,
}

/// Encoded attributes and all that they depend on.
#[derive(Clone, Debug, Default)]
struct Slot {
    key: TaskKey,
    /// The wall clock may have stepped since.
    boot_to_unix_ns: u64,
    /// Where in `bytes` the executable's path is: of one key it changes when an exec record comes late.
    exe_start: usize,
    exe_end: usize,
    bytes: Vec<u8>,
}

impl Identities {
    /// As many processes as have their records mixed, within a second-level cache: 512 × 400 bytes.
    const SLOTS_LOG2: u32 = 9;

    pub(super) fn new(field: u8) -> Self {
        Self { field, slots: vec![Slot::default(); 1 << Self::SLOTS_LOG2].into() }
    }

    pub(super) fn append_to(&mut self, out: &mut Vec<u8>, process: &Process, clock: Clock) {
        let field = self.field;
        let Some(slot) = self.slots.get_mut(place(&process.key)) else { return };
        if slot.is_of(process, clock) {
            out.extend_from_slice(&slot.bytes);
            return;
        }
        let start = out.len();
        pid_and_path(&mut Writer::new(out, field), process);
        let exe_end = out.len() - start;
        name_and_birth(&mut Writer::new(out, field), process, clock);
        slot.key = process.key;
        slot.boot_to_unix_ns = clock.boot_to_unix_ns;
        (slot.exe_start, slot.exe_end) = (exe_end.saturating_sub(process.image.exe.len()), exe_end);
        slot.bytes.clear();
        slot.bytes.extend_from_slice(out.get(start..).unwrap_or_default());
    }
}

impl Slot {
    /// Whether these are the attributes of `process` as of now. A path that is not UTF-8 was written as
    /// another, and a name from elsewhere is not told by the path: both are encoded anew.
    #[inline]
    fn is_of(&self, process: &Process, clock: Clock) -> bool {
        let exe = &*process.image.exe;
        self.key == process.key
            && self.boot_to_unix_ns == clock.boot_to_unix_ns
            && self.bytes.get(self.exe_start..self.exe_end) == Some(exe)
            && exe.last().is_some_and(|last| *last != b'/')
    }
}

/// Where a process's slot is.
#[inline]
fn place(key: &TaskKey) -> usize {
    // Fibonacci hashing: the high bits of the product depend on all of the key.
    let key = key.start_boottime ^ u64::from(key.tgid).rotate_left(20) ^ u64::from(key.exec).rotate_left(40);
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - Identities::SLOTS_LOG2)) as usize
}
