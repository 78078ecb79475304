//! The arguments of a program, secrets hidden. A node runs few commands and those again and again (probes,
//! workers, compilers), so what became of arguments is kept with them: looking for secrets costs several times
//! what the rest of a record does.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::event::Argv;

use super::logs::ATTRIBUTES;
use super::prefix::bytes;
use super::record::Record;
use super::redact::{Redactor, Scratch};

/// Writes arguments. The cache is direct-mapped, as those of `process.rs` are.
#[derive(Debug)]
pub(super) struct Arguments {
    redactor: Redactor,
    scratch: Scratch,
    places: Box<[Place]>,
}

#[derive(Clone, Debug, Default)]
struct Place {
    /// As the program got them; empty: there is nothing here.
    args: Vec<u8>,
    /// The attributes that say them.
    written: Vec<u8>,
}

impl Arguments {
    /// 256 × 1.2 KiB at most.
    const PLACES_LOG2: u32 = 8;
    /// Longer ones (compilers and linkers with their lists of files) seldom come again.
    const LONGEST: usize = 512;

    pub(super) fn new(redactor: Redactor) -> Self {
        Self {
            redactor,
            scratch: Scratch::default(),
            places: vec![Place::default(); 1 << Self::PLACES_LOG2].into(),
        }
    }

    /// Hides other secrets from here on.
    pub(super) fn set_redactor(&mut self, redactor: Redactor) {
        // What was kept is what the one before made of it.
        *self = Self::new(redactor);
    }

    pub(super) fn append_to(&mut self, record: &mut Record<'_, ATTRIBUTES>, args: Argv<'_>) {
        let Self { redactor, scratch, places } = self;
        let mut hasher = FxHasher::default();
        hasher.write(args.bytes());
        let number = (hasher.finish() >> (64 - Self::PLACES_LOG2)) as usize;
        let place = places.get_mut(number).filter(|_| args.bytes().len() <= Self::LONGEST);
        let Some(place) = place else {
            return write(record, redactor.redact(args, scratch));
        };
        if place.args == args.bytes() {
            record.append(&place.written);
            return;
        }
        // What is interrupted here is not to be found later.
        place.args.clear();
        record.keep(
            |record| write(record, redactor.redact(args, scratch)),
            |written| {
                place.written.clear();
                place.written.extend_from_slice(written);
                place.args.extend_from_slice(args.bytes());
            },
        );
    }
}

fn write(record: &mut Record<'_, ATTRIBUTES>, argv: Argv<'_>) {
    let Some(command) = argv.first() else { return };
    let ascii = argv.bytes().is_ascii();
    bytes!(record, "process.command", command, ascii);
    record.put_texts("process.command_args", |record| {
        for argument in argv.iter() {
            record.element(argument, ascii);
        }
    });
}
