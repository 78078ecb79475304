//! Logs: one record per exec, fork and exit, under the subject workload's resource.
//!
//! A process's strings travel once, at exec; fork and exit carry its identity (`tarsier.exec_id`).

use tarsier_abi::exec::flag;

use crate::event::{Image, Process, Report, What, Workload};

use super::attributes::Writer;
use super::batch::{Batch, Encoded};
use super::redact::Redactor;
use super::resource::Identity;
use super::text::{Device, ExecId, Text};
use super::{Clock, process, wire};

/// Field number of a `LogRecord`'s attributes.
const ATTRIBUTES: u32 = 6;
/// `SEVERITY_NUMBER_INFO`.
const INFO: u64 = 9;

/// Builds `ExportLogsServiceRequest`s.
#[derive(Debug)]
pub struct LogsEncoder {
    batch: Batch,
    redactor: Redactor,
    scratch: Vec<u8>,
}

impl LogsEncoder {
    /// Requests of at most `max_bytes` (a single larger record goes alone).
    pub fn new(identity: &Identity, redactor: Redactor, max_bytes: usize) -> Self {
        Self { batch: Batch::new(identity, max_bytes), redactor, scratch: Vec::new() }
    }

    /// Adds the record of an exec, a fork or an exit; flows are spans and are ignored here. If the
    /// request is full, it comes back without this record, which begins the next one.
    pub fn push(&mut self, report: &Report<'_>, clock: Clock) -> Option<Encoded> {
        let (name, process) = match report.what {
            What::Exec { process } => ("tarsier.process.exec", process),
            What::Fork { process } => ("tarsier.process.fork", process),
            What::Exit { process, .. } => ("tarsier.process.exit", process),
            What::Flow { .. } => return None,
        };
        let Self { batch, redactor, scratch } = self;
        batch.push(report.workload, |out| {
            wire::fixed64(out, 1, clock.unix_ns(report.at_ns));
            wire::uint(out, 2, INFO);
            wire::bytes(out, 3, b"INFO");
            body(out, report.what, process);
            wire::fixed64(out, 11, clock.now_unix_ns);
            wire::bytes(out, 12, name.as_bytes());
            let mut attributes = Writer::new(out, ATTRIBUTES);
            common(&mut attributes, process, report.workload, clock);
            match report.what {
                What::Exec { .. } => {
                    arguments(&mut attributes, &process.image, redactor, scratch);
                    image(&mut attributes, &process.image);
                }
                What::Exit { status, .. } => exit(&mut attributes, status),
                What::Fork { .. } | What::Flow { .. } => {}
            }
        })
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

/// A line for people: what happened to which program.
fn body(out: &mut Vec<u8>, what: What<'_>, process: &Process) {
    let verb = match what {
        What::Exec { .. } => "exec ",
        What::Fork { .. } => "fork ",
        What::Exit { .. } | What::Flow { .. } => "exit ",
    };
    let image = &*process.image;
    let program = if image.exe.is_empty() { &*image.comm } else { &*image.exe };
    let end = match what {
        What::Exit { status, .. } if status & 0x7F != 0 => {
            Text::new(format_args!(" (signal {})", status & 0x7F))
        }
        What::Exit { status, .. } => Text::new(format_args!(" (code {})", status >> 8 & 0xFF)),
        _ => Text::new(format_args!("")),
    };
    let length = verb.len() + wire::text_len(program) + end.as_str().len();
    wire::header(out, 5, wire::header_len(length) + length);
    wire::header(out, 1, length);
    out.extend_from_slice(verb.as_bytes());
    wire::text_bytes(out, program);
    out.extend_from_slice(end.as_str().as_bytes());
}

fn common(attributes: &mut Writer<'_>, process: &Process, workload: &Workload, clock: Clock) {
    process::identity(attributes, process, clock);
    if !process.parent.is_none() {
        attributes.int("process.parent_pid", i64::from(process.parent.tgid));
        attributes.format("tarsier.parent_exec_id", format_args!("{}", ExecId(process.parent)));
    }
    if process.vpid != 0 && process.vpid != process.key.tgid {
        attributes.int("process.vpid", i64::from(process.vpid));
    }
    // Also on the record, for backends that keep resource attributes apart.
    attributes.some_bytes("container.id", workload.container_id.as_bytes());
    attributes.when("tarsier.process.seeded", process.seeded);
}

fn arguments(attributes: &mut Writer<'_>, image: &Image, redactor: &Redactor, scratch: &mut Vec<u8>) {
    if !image.args.is_empty() {
        scratch.clear();
        redactor.argument(&image.args, 0, scratch);
        attributes.bytes("process.command", scratch);
        attributes.texts("process.command_args", image.args.len(), scratch, |index, out| {
            redactor.argument(&image.args, index, out);
        });
    }
    if image.args_truncated {
        attributes.bool("tarsier.process.args.truncated", true);
        attributes.int("tarsier.process.args.bytes", i64::from(image.args_bytes));
    }
    attributes.when("tarsier.process.args.unreadable", image.flags & flag::ARGS_UNREADABLE != 0);
}

fn image(attributes: &mut Writer<'_>, image: &Image) {
    attributes.some_bytes("process.working_directory", &image.cwd);
    if *image.comm != *process::executable_name(image) {
        attributes.some_bytes("tarsier.process.comm", &image.comm);
    }
    credentials(attributes, &image.creds);
    for (key, inode) in [
        ("tarsier.process.namespace.mnt", image.ns.mnt),
        ("tarsier.process.namespace.pid", image.ns.pid),
        ("tarsier.process.namespace.net", image.ns.net),
        ("tarsier.process.namespace.user", image.ns.user),
    ] {
        if inode != 0 {
            attributes.int(key, i64::from(inode));
        }
    }
    if image.tty != 0 {
        attributes.format("tarsier.process.tty", format_args!("{}", Device(image.tty)));
    }
    if image.exe_inode != 0 {
        attributes.count("tarsier.exe.inode", image.exe_inode);
        attributes.format("tarsier.exe.device", format_args!("{}", Device(image.exe_dev)));
        attributes.count("tarsier.exe.ctime", image.exe_ctime_ns);
    }
    for (key, bit) in [
        ("tarsier.exe.upper_layer", flag::EXE_UPPER_LAYER),
        ("tarsier.exe.memfd", flag::EXE_MEMFD),
        ("tarsier.exe.unlinked", flag::EXE_UNLINKED),
        ("tarsier.exe.detached", flag::EXE_DETACHED),
        ("tarsier.exe.truncated", flag::EXE_TRUNCATED),
        ("tarsier.cwd.detached", flag::CWD_DETACHED),
        ("tarsier.cwd.truncated", flag::CWD_TRUNCATED),
        ("tarsier.process.kernel_thread", flag::KERNEL_THREAD),
    ] {
        attributes.when(key, image.flags & bit != 0);
    }
}

/// User and group ids, and the capabilities as hexadecimal masks as in `/proc/PID/status`.
fn credentials(attributes: &mut Writer<'_>, creds: &tarsier_abi::exec::Creds) {
    attributes.int("process.user.id", i64::from(creds.euid));
    attributes.int("process.real_user.id", i64::from(creds.uid));
    attributes.int("process.saved_user.id", i64::from(creds.suid));
    attributes.int("tarsier.process.group.id", i64::from(creds.egid));
    attributes.int("tarsier.process.real_group.id", i64::from(creds.gid));
    if creds.loginuid != u32::MAX {
        attributes.int("tarsier.process.loginuid", i64::from(creds.loginuid));
    }
    let always = [
        ("tarsier.process.capabilities.effective", creds.cap_effective),
        ("tarsier.process.capabilities.permitted", creds.cap_permitted),
    ];
    let rare = [
        ("tarsier.process.capabilities.inheritable", creds.cap_inheritable),
        ("tarsier.process.capabilities.ambient", creds.cap_ambient),
    ];
    for (key, mask) in always.into_iter().chain(rare.into_iter().filter(|(_, mask)| *mask != 0)) {
        attributes.format(key, format_args!("{mask:016x}"));
    }
}

/// An exit code, or else the signal that ended the process.
fn exit(attributes: &mut Writer<'_>, status: u32) {
    let signal = status & 0x7F;
    if signal == 0 {
        attributes.int("process.exit.code", i64::from(status >> 8 & 0xFF));
        return;
    }
    attributes.int("tarsier.process.exit.signal", i64::from(signal));
    attributes.when("tarsier.process.exit.core_dumped", status & 0x80 != 0);
}
