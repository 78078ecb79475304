//! Logs: one record per exec, fork and exit, under the subject workload's resource.
//!
//! A process's strings travel once, at exec; fork and exit carry its identity (`tarsier.exec_id`).

use tarsier_abi::exec::{Creds, flag};

use crate::event::{Image, Namespaces, Process, Report, What, Workload};

use super::attributes::Writer;
use super::batch::{Batch, Encoded};
use super::prefix::{bytes, formatted, int, text, when};
use super::redact::Redactor;
use super::resource::Identity;
use super::text::{ROOM, Text};
use super::{Clock, process, wire};

/// Field number of a `LogRecord`'s attributes.
const ATTRIBUTES: u8 = 6;
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
        let (What::Exec { process } | What::Fork { process } | What::Exit { process, .. }) = report.what
        else {
            return None;
        };
        let Self { batch, redactor, scratch } = self;
        batch.push(report.workload, |out| {
            head(out, report, clock);
            body(out, report.what, process);
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

/// Times, severity and name: all that is as long as it always is.
fn head(out: &mut Vec<u8>, report: &Report<'_>, clock: Clock) {
    let name = match report.what {
        What::Exec { .. } => b"tarsier.process.exec",
        What::Fork { .. } => b"tarsier.process.fork",
        What::Exit { .. } | What::Flow { .. } => b"tarsier.process.exit",
    };
    wire::fixed64(out, 1, clock.unix_ns(report.at_ns));
    wire::fixed64(out, 11, clock.now_unix_ns);
    wire::uint(out, 2, INFO);
    wire::bytes(out, 3, b"INFO");
    wire::bytes(out, 12, name);
}

/// A line for people: what happened to which program.
fn body(out: &mut Vec<u8>, what: What<'_>, process: &Process) {
    let verb = match what {
        What::Exec { .. } => b"exec ",
        What::Fork { .. } => b"fork ",
        What::Exit { .. } | What::Flow { .. } => b"exit ",
    };
    let image = &*process.image;
    let program = if image.exe.is_empty() { &*image.comm } else { &*image.exe };
    let mut room = [0; ROOM];
    let mut end = Text::new(&mut room);
    if let What::Exit { status, .. } = what {
        let signal = status & 0x7F;
        end.str(if signal == 0 { " (code " } else { " (signal " });
        end.decimal(if signal == 0 { status >> 8 & 0xFF } else { signal });
        end.byte(b')');
    }
    let end_len = end.len();
    let length = verb.len() + wire::text_len(program) + end_len;
    wire::header(out, 5, wire::header_len(length) + length);
    wire::header(out, 1, length);
    out.extend_from_slice(verb);
    wire::text_bytes(out, program);
    let after = out.len() + end_len;
    out.extend_from_slice(&room);
    out.truncate(after);
}

fn common(attributes: &mut Writer<'_>, process: &Process, workload: &Workload, clock: Clock) {
    process::identity(attributes, process, clock);
    if !process.parent.is_none() {
        int!(attributes, "process.parent_pid", process.parent.tgid.into());
        formatted!(attributes, "tarsier.parent_exec_id", |text| text.exec_id(process.parent));
    }
    if process.vpid != 0 && process.vpid != process.key.tgid {
        int!(attributes, "process.vpid", process.vpid.into());
    }
    // Also on the record, for backends that keep resource attributes apart.
    if !workload.container_id.is_empty() {
        text!(attributes, "container.id", &workload.container_id);
    }
    when!(attributes, "tarsier.process.seeded", process.seeded);
}

fn arguments(attributes: &mut Writer<'_>, image: &Image, redactor: &Redactor, scratch: &mut Vec<u8>) {
    if !image.args.is_empty() {
        scratch.clear();
        redactor.argument(&image.args, 0, scratch);
        attributes.text("process.command", scratch);
        attributes.texts("process.command_args", image.args.len(), scratch, |index, out| {
            redactor.argument(&image.args, index, out);
        });
    }
    if image.args_truncated {
        when!(attributes, "tarsier.process.args.truncated", true);
        int!(attributes, "tarsier.process.args.bytes", image.args_bytes.into());
    }
    when!(attributes, "tarsier.process.args.unreadable", image.flags & flag::ARGS_UNREADABLE != 0);
}

fn image(attributes: &mut Writer<'_>, image: &Image) {
    bytes!(attributes, "process.working_directory", &image.cwd);
    if *image.comm != *process::executable_name(image) {
        bytes!(attributes, "tarsier.process.comm", &image.comm);
    }
    credentials(attributes, &image.creds);
    namespaces(attributes, &image.ns);
    if image.tty != 0 {
        formatted!(attributes, "tarsier.process.tty", |text| text.device(image.tty));
    }
    if image.exe_inode != 0 {
        int!(attributes, "tarsier.exe.inode", image.exe_inode);
        formatted!(attributes, "tarsier.exe.device", |text| text.device(image.exe_dev));
        int!(attributes, "tarsier.exe.ctime", image.exe_ctime_ns);
    }
    flags(attributes, image.flags);
}

fn namespaces(attributes: &mut Writer<'_>, ns: &Namespaces) {
    if ns.mnt != 0 {
        int!(attributes, "tarsier.process.namespace.mnt", ns.mnt.into());
    }
    if ns.pid != 0 {
        int!(attributes, "tarsier.process.namespace.pid", ns.pid.into());
    }
    if ns.net != 0 {
        int!(attributes, "tarsier.process.namespace.net", ns.net.into());
    }
    if ns.user != 0 {
        int!(attributes, "tarsier.process.namespace.user", ns.user.into());
    }
}

fn flags(attributes: &mut Writer<'_>, flags: u32) {
    // Most processes have none of them.
    const TOLD: u32 = flag::EXE_UPPER_LAYER
        | flag::EXE_MEMFD
        | flag::EXE_UNLINKED
        | flag::EXE_DETACHED
        | flag::EXE_TRUNCATED
        | flag::CWD_DETACHED
        | flag::CWD_TRUNCATED
        | flag::KERNEL_THREAD;
    if flags & TOLD == 0 {
        return;
    }
    when!(attributes, "tarsier.exe.upper_layer", flags & flag::EXE_UPPER_LAYER != 0);
    when!(attributes, "tarsier.exe.memfd", flags & flag::EXE_MEMFD != 0);
    when!(attributes, "tarsier.exe.unlinked", flags & flag::EXE_UNLINKED != 0);
    when!(attributes, "tarsier.exe.detached", flags & flag::EXE_DETACHED != 0);
    when!(attributes, "tarsier.exe.truncated", flags & flag::EXE_TRUNCATED != 0);
    when!(attributes, "tarsier.cwd.detached", flags & flag::CWD_DETACHED != 0);
    when!(attributes, "tarsier.cwd.truncated", flags & flag::CWD_TRUNCATED != 0);
    when!(attributes, "tarsier.process.kernel_thread", flags & flag::KERNEL_THREAD != 0);
}

/// User and group ids, and the capabilities as hexadecimal masks as in `/proc/PID/status`.
fn credentials(attributes: &mut Writer<'_>, creds: &Creds) {
    int!(attributes, "process.user.id", creds.euid.into());
    int!(attributes, "process.real_user.id", creds.uid.into());
    int!(attributes, "process.saved_user.id", creds.suid.into());
    int!(attributes, "tarsier.process.group.id", creds.egid.into());
    int!(attributes, "tarsier.process.real_group.id", creds.gid.into());
    if creds.loginuid != u32::MAX {
        int!(attributes, "tarsier.process.loginuid", creds.loginuid.into());
    }
    formatted!(attributes, "tarsier.process.capabilities.effective", |text| text.hex16(creds.cap_effective));
    formatted!(attributes, "tarsier.process.capabilities.permitted", |text| text.hex16(creds.cap_permitted));
    if creds.cap_inheritable != 0 {
        formatted!(attributes, "tarsier.process.capabilities.inheritable", |text| {
            text.hex16(creds.cap_inheritable);
        });
    }
    if creds.cap_ambient != 0 {
        formatted!(attributes, "tarsier.process.capabilities.ambient", |text| text.hex16(creds.cap_ambient));
    }
}

/// An exit code, or else the signal that ended the process.
fn exit(attributes: &mut Writer<'_>, status: u32) {
    let signal = status & 0x7F;
    if signal == 0 {
        int!(attributes, "process.exit.code", (status >> 8 & 0xFF).into());
        return;
    }
    int!(attributes, "tarsier.process.exit.signal", signal.into());
    when!(attributes, "tarsier.process.exit.core_dumped", status & 0x80 != 0);
}
