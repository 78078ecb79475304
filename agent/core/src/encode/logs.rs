//! Logs: one record per exec, fork, exit and alert, under the subject workload's resource.
//!
//! What is new of a process is told once, at exec; fork and exit carry its identity (`tarsier.exec_id`). What
//! the resource says is not said again on its records, and what is as usual is not said at all
//! (docs/adr/0010).

use tarsier_abi::exec::flag;

use crate::event::alert::Alert;
use crate::event::{Image, Process, Report, What};

use super::arguments::Arguments;
use super::batch::{Batch, Encoded};
use super::image::Images;
use super::prefix::{formatted, int, text, when};
use super::process::{Identities, Parents};
use super::record::Record;
use super::redact::Redactor;
use super::resource::Identity;
use super::text::{ROOM, Second, Text};
use super::{Clock, alert, wire};

/// Field number of a `LogRecord`'s attributes.
pub(super) const ATTRIBUTES: u8 = 6;
/// `SEVERITY_NUMBER_INFO`.
const INFO: u8 = 9;

/// Builds `ExportLogsServiceRequest`s.
#[derive(Debug)]
pub struct LogsEncoder {
    batch: Batch,
    identities: Identities<ATTRIBUTES>,
    parents: Parents<ATTRIBUTES>,
    arguments: Arguments,
    images: Images,
    second: Second,
}

impl LogsEncoder {
    /// Requests of at most `max_bytes` (a single larger record goes alone).
    pub fn new(identity: &Identity, redactor: Redactor, max_bytes: usize) -> Self {
        Self {
            batch: Batch::new(identity, max_bytes),
            identities: Identities::new(),
            parents: Parents::new(),
            arguments: Arguments::new(redactor),
            images: Images::new(),
            second: Second::default(),
        }
    }

    /// Hides other secrets from the next record on.
    pub fn set_redactor(&mut self, redactor: Redactor) {
        self.arguments.set_redactor(redactor);
    }

    /// Adds the record of an exec, a fork or an exit; flows are spans and are ignored here. If the
    /// request is full, it comes back without this record, which begins the next one.
    pub fn push(&mut self, report: &Report<'_>, clock: Clock) -> Option<Encoded> {
        let (What::Exec { process } | What::Fork { process } | What::Exit { process, .. }) = report.what
        else {
            return None;
        };
        let Self { batch, identities, parents, arguments, images, second } = self;
        batch.push(report.workload, |record| {
            head(record, report, clock);
            body(record, report.what, process);
            identities.append_to(record, process);
            parents.append_to(record, process.parent);
            if process.vpid != 0 && process.vpid != process.key.tgid {
                int!(record, "process.vpid", process.vpid.into());
            }
            if !report.workload.container_id.is_empty() {
                text!(record, "tarsier.process.origin", process.origin.name());
            }
            when!(record, "tarsier.process.seeded", process.seeded);
            match report.what {
                What::Exec { .. } => {
                    let image = &*process.image;
                    let created = clock.unix_ns(process.key.start_boottime);
                    formatted!(record, "process.creation.time", |text| text.rfc3339(created, second));
                    arguments.append_to(record, image.args());
                    about_arguments(record, image);
                    images.append_to(record, image);
                }
                What::Exit { status, .. } => exit(record, status),
                What::Fork { .. } | What::Flow { .. } => {}
            }
        })
    }

    /// Adds the record of an alert; as [`Self::push`].
    pub fn push_alert(&mut self, alert: &Alert<'_>, clock: Clock) -> Option<Encoded> {
        let Self { batch, identities, parents, second, .. } = self;
        batch.push(alert.workload, |record| alert::write(record, alert, clock, identities, parents, second))
    }

    /// The request so far, if it has any record.
    pub fn finish(&mut self) -> Option<Encoded> {
        self.batch.finish()
    }

    /// Bytes of the request so far, rounded up by a few per workload.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Records in the request so far.
    pub fn items(&self) -> u32 {
        self.batch.items()
    }

    /// Whether the request has no record yet.
    pub fn is_empty(&self) -> bool {
        self.items() == 0
    }
}

/// Times, severity and name: all that is as long as it always is.
#[inline]
fn head(record: &mut Record<'_, ATTRIBUTES>, report: &Report<'_>, clock: Clock) {
    let head = match report.what {
        What::Exec { .. } => const { &Head::of(b"tarsier.process.exec") },
        What::Fork { .. } => const { &Head::of(b"tarsier.process.fork") },
        What::Exit { .. } | What::Flow { .. } => const { &Head::of(b"tarsier.process.exit") },
    };
    record.place(&head.0, |head| {
        head[1..9].copy_from_slice(&clock.unix_ns(report.at_ns).to_le_bytes());
        head[10..18].copy_from_slice(&clock.now_unix_ns.to_le_bytes());
        Head::LEN
    });
}

/// Both times (zero here, behind their tags), severity and name.
struct Head([u8; Self::LEN]);

impl Head {
    const LEN: usize = 48;

    const fn of(name: &[u8; 20]) -> Self {
        let mut head = [0; Self::LEN];
        head[0] = 1 << 3 | wire::FIXED64;
        head[9] = 11 << 3 | wire::FIXED64;
        let severity = [2 << 3 | wire::VARINT, INFO, 3 << 3 | wire::LENGTH, 4, b'I', b'N', b'F', b'O'];
        let mut at = 18;
        while at < 26 {
            head[at] = severity[at - 18];
            at += 1;
        }
        head[26] = 12 << 3 | wire::LENGTH;
        head[27] = name.len() as u8;
        while at < Self::LEN - 2 {
            head[at + 2] = name[at - 26];
            at += 1;
        }
        Self(head)
    }
}

/// A line for people: what happened to which program.
fn body(record: &mut Record<'_, ATTRIBUTES>, what: What<'_>, process: &Process) {
    let verb = match what {
        What::Exec { .. } => b"exec ",
        What::Fork { .. } => b"fork ",
        What::Exit { .. } | What::Flow { .. } => b"exit ",
    };
    let image = &*process.image;
    let program = if image.exe().is_empty() { image.comm() } else { image.exe() };
    let mut room = [0; ROOM];
    let mut end = Text::new(&mut room);
    if let What::Exit { status, .. } = what {
        let signal = status & 0x7F;
        match signal {
            0 => end.put(*b" (code ", 7),
            _ => end.put(*b" (signal ", 9),
        }
        end.decimal(if signal == 0 { status >> 8 & 0xFF } else { signal });
        end.byte(b')');
    }
    let end_len = end.len();
    // Bytes that are not UTF-8 become others.
    let program_len = if image.is_ascii() { program.len() } else { wire::text_len(program) };
    let length = verb.len() + program_len + end_len;
    if length < 0x7E {
        record.put([5 << 3 | wire::LENGTH, 2 + length as u8, 1 << 3 | wire::LENGTH, length as u8]);
    } else {
        record.header(5, wire::header_len(length) + length);
        record.header(1, length);
    }
    record.put(*verb);
    if program_len == program.len() {
        record.append(program);
    } else {
        record.text(program);
    }
    record.put_part(&room, end_len);
}

/// What is not told of the arguments.
fn about_arguments(record: &mut Record<'_, ATTRIBUTES>, image: &Image) {
    if image.args_truncated {
        when!(record, "tarsier.process.args.truncated", true);
        int!(record, "tarsier.process.args.bytes", image.args_bytes.into());
    }
    when!(record, "tarsier.process.args.unreadable", image.flags & flag::ARGS_UNREADABLE != 0);
}

/// An exit code, or else the signal that ended the process.
fn exit(record: &mut Record<'_, ATTRIBUTES>, status: u32) {
    let signal = status & 0x7F;
    if signal == 0 {
        int!(record, "process.exit.code", (status >> 8 & 0xFF).into());
        return;
    }
    int!(record, "tarsier.process.exit.signal", signal.into());
    when!(record, "tarsier.process.exit.core_dumped", status & 0x80 != 0);
}
