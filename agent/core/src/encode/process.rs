//! Attributes of a process that several records share, encoded once.
//!
//! The caches are direct-mapped: a process has one place in them, and takes it from whoever had it. A
//! place holds the bytes and all that they depend on, and is checked against it.

use tarsier_abi::TaskKey;

use crate::event::Process;

use super::prefix::{formatted, int, some_bytes};
use super::record::Record;

/// What identifies a process on every record about it: fixed from its exec to its exit. `FIELD` is that
/// of attributes in the records.
#[derive(Debug)]
pub(super) struct Identities<const FIELD: u8> {
    places: Box<[IdentityPlace]>,
}

#[derive(Clone, Debug, Default)]
struct IdentityPlace {
    /// [`None`]: empty.
    key: Option<TaskKey>,
    /// Where in `bytes` the executable's path is: of one key it changes when an exec record comes late.
    exe_start: usize,
    exe_end: usize,
    bytes: Vec<u8>,
}

impl<const FIELD: u8> Identities<FIELD> {
    /// As many processes as have their records mixed, within a second-level cache: 512 × 300 bytes.
    const PLACES_LOG2: u32 = 9;

    pub(super) fn new() -> Self {
        Self { places: vec![IdentityPlace::default(); 1 << Self::PLACES_LOG2].into() }
    }

    pub(super) fn append_to(&mut self, record: &mut Record<'_, FIELD>, process: &Process) {
        // One place for all executions of a process: after a fork comes an exec.
        let number = spread(process.key.start_boottime ^ u64::from(process.key.tgid) << 40);
        let Some(place) = self.places.get_mut((number >> (64 - Self::PLACES_LOG2)) as usize) else { return };
        if place.is_of(process) {
            record.append(&place.bytes);
            return;
        }
        // What is interrupted here is not to be found later.
        place.key = None;
        let bytes = &mut place.bytes;
        let mut exe_end = 0;
        let mut whole = false;
        record.keep(
            |record| {
                record.keep(|record| pid_and_path(record, process), |written| exe_end = written.len());
                let image = &*process.image;
                some_bytes!(record, "process.executable.name", image.name(), image.is_ascii());
                formatted!(record, "tarsier.exec_id", |text| text.exec_id(process.key));
            },
            |written| {
                bytes.clear();
                bytes.extend_from_slice(written);
                whole = true;
            },
        );
        if whole {
            place.key = Some(process.key);
            (place.exe_start, place.exe_end) = (exe_end.saturating_sub(process.image.exe().len()), exe_end);
        }
    }
}

fn pid_and_path<const FIELD: u8>(record: &mut Record<'_, FIELD>, process: &Process) {
    int!(record, "process.pid", process.key.tgid.into());
    some_bytes!(record, "process.executable.path", process.image.exe(), process.image.is_ascii());
}

impl IdentityPlace {
    /// Whether these are the attributes of `process`. A path that is not UTF-8 was written as
    /// another, and a name from elsewhere is not told by the path: both are encoded anew.
    #[inline]
    fn is_of(&self, process: &Process) -> bool {
        let exe = process.image.exe();
        self.key == Some(process.key)
            && self.bytes.get(self.exe_start..self.exe_end) == Some(exe)
            && exe.last().is_some_and(|last| *last != b'/')
    }
}

/// What tells the parent: few processes have many children.
#[derive(Debug)]
pub(super) struct Parents<const FIELD: u8> {
    places: Box<[ParentPlace]>,
}

/// Longest form of both attributes: a pid of 5 bytes, an exec id of 38.
const PARENT: usize = "process.parent_pid".len() + 7 + 5 + "tarsier.parent_exec_id".len() + 8 + 38;

#[derive(Clone, Debug)]
struct ParentPlace {
    /// [`TaskKey::NONE`]: empty.
    key: TaskKey,
    len: usize,
    bytes: [u8; PARENT],
}

impl<const FIELD: u8> Parents<FIELD> {
    /// 256 × 128 bytes.
    const PLACES_LOG2: u32 = 8;

    pub(super) fn new() -> Self {
        let empty = ParentPlace { key: TaskKey::NONE, len: 0, bytes: [0; PARENT] };
        Self { places: vec![empty; 1 << Self::PLACES_LOG2].into() }
    }

    pub(super) fn append_to(&mut self, record: &mut Record<'_, FIELD>, parent: TaskKey) {
        if parent.is_none() {
            return;
        }
        let key = parent.start_boottime ^ u64::from(parent.tgid) << 40 ^ u64::from(parent.exec) << 32;
        let number = (spread(key) >> (64 - Self::PLACES_LOG2)) as usize;
        let Some(place) = self.places.get_mut(number) else { return };
        if place.key == parent {
            record.put_part(&place.bytes, place.len);
            return;
        }
        place.key = TaskKey::NONE;
        record.keep(
            |record| {
                int!(record, "process.parent_pid", parent.tgid.into());
                formatted!(record, "tarsier.parent_exec_id", |text| text.exec_id(parent));
            },
            |written| {
                if let Some(room) = place.bytes.get_mut(..written.len()) {
                    room.copy_from_slice(written);
                    (place.key, place.len) = (parent, written.len());
                }
            },
        );
    }
}

/// Fibonacci hashing: the high bits depend on all of the key.
#[inline]
pub(super) fn spread(key: u64) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
