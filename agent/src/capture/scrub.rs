//! What must not leave the machine, overwritten in a frame before it is written.
//!
//! Kernel addresses of sockets become a keyed hash: the same address is the same number within one
//! capture, and nothing else. Secrets in arguments become as many bytes of
//! [`HIDDEN`](tarsier_core::encode::redact::HIDDEN): lengths stay, and the redactor of a replay prints
//! its mark for them, as it would have live.
//!
//! Long arguments come in several records. A secret may lie across two of them, so what has come of an
//! argument list is masked anew with each part, as long as its parts are in the block under construction.

use std::hash::Hasher;
use std::mem::offset_of;
use std::ops::Range;

use rustc_hash::FxHashMap;
use siphasher::sip::SipHasher13;
use tarsier_abi::exec::{ARGS_CHUNK, ARGS_CHUNKS, ARGS_INLINE, ArgsRecord, flag};
use tarsier_abi::tcp::{
    CloseRecord, EstablishedRecord, OpenRecord, OwnerRecord, SeedRecord, SweepSlot, Tuple,
};
use tarsier_abi::{Sensor, TaskKey};
use tarsier_core::encode::redact::{HIDDEN, Redactor, Scratch};
use tarsier_core::event::{Argv, exec};

use super::Frame;

/// Most argument bytes that records carry.
const CARRIED: usize = ARGS_INLINE + ARGS_CHUNK * ARGS_CHUNKS;
/// Most argument lists that wait for further parts. Of those beyond, later parts are hidden whole.
const WAITING: usize = 256;
/// Where every tcp record has its socket's address.
const SOCK: usize = offset_of!(OwnerRecord, sock);

const _: () = {
    assert!(offset_of!(Tuple, sock) == 0 && offset_of!(SweepSlot, tuple) == 0);
    assert!(offset_of!(OpenRecord, tuple) == SOCK && offset_of!(EstablishedRecord, tuple) == SOCK);
    assert!(offset_of!(CloseRecord, tuple) == SOCK && offset_of!(SeedRecord, tuple) == SOCK);
};

pub(super) struct Scrubber {
    key: SipHasher13,
    redactor: Option<Redactor>,
    waiting: FxHashMap<TaskKey, Waiting>,
    scratch: Scratch,
    masked: Vec<u8>,
}

/// An argument list of which more will come.
struct Waiting {
    /// What has come, secrets hidden.
    text: Vec<u8>,
    /// Where its parts are in the block under construction: (in the block, in the text).
    parts: Vec<(Range<usize>, usize)>,
    /// How much will come in all.
    expected: usize,
}

impl Scrubber {
    /// Hashes under a key of its own; hides what `redactor` does, if there is one.
    pub(super) fn new(redactor: Option<Redactor>) -> Self {
        let key = SipHasher13::new_with_keys(fastrand::u64(..), fastrand::u64(..));
        Self { key, redactor, waiting: FxHashMap::default(), scratch: Scratch::default(), masked: Vec::new() }
    }

    /// Scrubs `frame`, whose copy is at the end of `block`, its payload from `start` on.
    pub(super) fn frame(&mut self, frame: &Frame<'_>, block: &mut [u8], start: usize) {
        match frame {
            Frame::Process(record) | Frame::Record(record) => self.record(record, block, start),
            Frame::Socket { .. } => self.address(block, start + SOCK),
            Frame::Sweep { slots, .. } => {
                for index in 0..slots.len() {
                    self.address(block, start + index * size_of::<SweepSlot>());
                }
            }
            Frame::Arguments { .. } => {
                let mut text = block.get(start..).unwrap_or_default().to_vec();
                self.mask(&mut text);
                if let Some(place) = block.get_mut(start..) {
                    place.copy_from_slice(&text);
                }
            }
            Frame::Cgroup { .. } | Frame::Begin(_) | Frame::End | Frame::Shed { .. } | Frame::Finish(_) => {}
            // Cut down by whoever read them.
            Frame::Container { .. } | Frame::Accounts { .. } | Frame::NoAccounts { .. } => {}
        }
    }

    /// The block is written: what it holds can no longer be masked anew.
    pub(super) fn sealed(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.parts.clear();
        }
        if self.waiting.len() > WAITING {
            self.waiting.clear();
        }
    }

    fn record(&mut self, record: &[u8], block: &mut [u8], start: usize) {
        match record.first().copied().map(Sensor::try_from) {
            Some(Ok(Sensor::Tcp)) => self.address(block, start + SOCK),
            Some(Ok(Sensor::Exec)) => {
                // What does not decode is refused by the replay's decoder too: none of it is kept.
                match record.get(1).map(|op| exec::decode(*op, record)) {
                    Some(Ok(exec::Event::Exec(exec))) => self.exec(&exec, record, block, start),
                    Some(Ok(exec::Event::Args(args))) => self.args(&args, block, start),
                    _ => block.get_mut(start + 2..).unwrap_or_default().fill(0),
                }
            }
            _ => {}
        }
    }

    fn address(&self, block: &mut [u8], at: usize) {
        // A record that is too short for one has none.
        let Some(place) = block.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<8>()) else { return };
        if *place != [0; 8] {
            let mut hasher = self.key;
            hasher.write(place);
            *place = (hasher.finish() | 1).to_ne_bytes();
        }
    }

    fn exec(&mut self, exec: &exec::Exec<'_>, record: &[u8], block: &mut [u8], start: usize) {
        if self.redactor.is_none() || exec.args.is_empty() {
            return;
        }
        let offset = exec.args.as_ptr().addr() - record.as_ptr().addr();
        let place = start + offset..start + offset + exec.args.len();
        let fixed = exec.record();
        let expected = usize::try_from(fixed.args_bytes).unwrap_or(usize::MAX).min(CARRIED);
        let mut waiting = Waiting { text: exec.args.to_vec(), parts: vec![(place, 0)], expected };
        self.mask(&mut waiting.text);
        waiting.write_to(block);
        if exec.args.len() < expected && fixed.flags & flag::ARGS_UNREADABLE == 0 {
            self.waiting.insert(fixed.task, waiting);
        }
    }

    fn args(&mut self, args: &exec::Args<'_>, block: &mut [u8], start: usize) {
        if self.redactor.is_none() {
            return;
        }
        let start = start + size_of::<ArgsRecord>();
        let place = start..start + args.bytes.len();
        let follows = |waiting: &Waiting| args.position as usize == waiting.text.len();
        let Some(mut waiting) = self.waiting.remove(&args.task).filter(follows) else {
            // Without what stood before it, nobody can tell whether it is a secret.
            for byte in block.get_mut(place).unwrap_or_default() {
                *byte = if *byte == 0 { 0 } else { HIDDEN };
            }
            return;
        };
        waiting.parts.push((place, waiting.text.len()));
        waiting.text.extend_from_slice(args.bytes);
        self.mask(&mut waiting.text);
        waiting.write_to(block);
        if waiting.text.len() < waiting.expected {
            self.waiting.insert(args.task, waiting);
        }
    }

    /// Hides the secrets of NUL-ended arguments in place.
    fn mask(&mut self, text: &mut [u8]) {
        let Some(redactor) = &self.redactor else { return };
        self.masked.clear();
        self.masked.extend_from_slice(redactor.mask(Argv::new(text), &mut self.scratch).bytes());
        if self.masked.len() == text.len() {
            text.copy_from_slice(&self.masked);
        }
    }
}

impl Waiting {
    /// Overwrites the parts that can still be overwritten.
    fn write_to(&self, block: &mut [u8]) {
        for (place, from) in &self.parts {
            let text = self.text.get(*from..*from + place.len()).unwrap_or_default();
            if let Some(place) = block.get_mut(place.clone()) {
                place.copy_from_slice(text);
            }
        }
    }
}
