//! One line for people:
//! `12:03:04.123Z tcp   3fa9c1d2e4b5        4312 curl client 10.0.0.1:4000 -> 10.0.0.2:80 2.1 kB / 13 kB in 12 ms`.

use std::fmt;
use std::net::SocketAddr;

use tarsier_core::event::{CloseReason, Flow, FlowKind, Process, Report, Role, What};

use super::{Context, Scratch, escape, put};

const GREEN: &str = "\x1b[32m";
const CYAN: &str = "\x1b[36m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// Columns of the workload's name; container ids are shown with 12 digits.
const WORKLOAD_WIDTH: usize = 16;

pub(super) fn line(
    out: &mut Vec<u8>,
    scratch: &mut Scratch,
    report: &Report<'_>,
    context: Context<'_>,
    colour: bool,
) {
    let (kind, tint, pid) = match report.what {
        What::Exec { process } => ("exec", GREEN, process.key.tgid),
        What::Fork { process } => ("fork", DIM, process.key.tgid),
        What::Exit { process, .. } => ("exit", DIM, process.key.tgid),
        What::Flow { flow, .. } => ("tcp", CYAN, flow.owner.tgid),
    };
    let paint = Paint { colour };
    put!(
        out,
        "{} {}{kind:<5}{}",
        Clock(context.boot_to_unix_ns.saturating_add(report.at_ns)),
        paint.on(tint),
        paint.off()
    );
    workload(out, &mut scratch.text, &report.workload.name);
    match pid {
        0 => put!(out, " {:>7} ", "-"),
        _ => put!(out, " {pid:>7} "),
    }
    match report.what {
        What::Exec { process } => command(out, scratch, process, context),
        What::Fork { process } => {
            executable(out, process);
            put!(out, " forked by {}", process.parent.tgid);
        }
        What::Exit { process, status } => {
            executable(out, process);
            exit(out, status, paint);
            put!(out, " after {}", Elapsed(report.at_ns.saturating_sub(process.started_ns)));
        }
        What::Flow { flow, process } => connection(out, flow, process, paint),
    }
    out.push(b'\n');
}

fn workload(out: &mut Vec<u8>, scratch: &mut Vec<u8>, name: &str) {
    scratch.clear();
    escape::human(scratch, name.as_bytes());
    // Escaping leaves whole characters, so this is the text itself.
    let name = String::from_utf8_lossy(scratch);
    put!(out, " {name:<WORKLOAD_WIDTH$.24}");
}

fn command(out: &mut Vec<u8>, scratch: &mut Scratch, process: &Process, context: Context<'_>) {
    executable(out, process);
    let image = &process.image;
    for argument in context.redactor.redact(image.args(), &mut scratch.arguments).iter().skip(1) {
        out.push(b' ');
        escape::argument(out, argument);
    }
    if image.args_truncated {
        out.extend_from_slice(" …".as_bytes());
    }
}

fn executable(out: &mut Vec<u8>, process: &Process) {
    if process.image.exe().is_empty() && process.image.comm().is_empty() {
        // No record told what it runs: it was outside the scope then, or the record was lost.
        out.push(b'?');
    } else if process.image.exe().is_empty() {
        out.push(b'[');
        escape::human(out, process.image.comm());
        out.push(b']');
    } else {
        escape::argument(out, process.image.exe());
    }
}

fn exit(out: &mut Vec<u8>, status: u32, paint: Paint) {
    let signal = status & 0x7f;
    let code = status >> 8 & 0xff;
    let tint = if signal == 0 && code == 0 { "" } else { paint.on(RED) };
    let off = if tint.is_empty() { "" } else { paint.off() };
    match (signal, signal_name(signal)) {
        (0, _) => put!(out, " {tint}exit {code}{off}"),
        (_, Some(name)) => put!(out, " {tint}killed by SIG{name}{off}"),
        (_, None) => put!(out, " {tint}killed by signal {signal}{off}"),
    }
    if signal != 0 && status & 0x80 != 0 {
        out.extend_from_slice(b" (core dumped)");
    }
}

fn connection(out: &mut Vec<u8>, flow: &Flow, process: Option<&Process>, paint: Paint) {
    if let Some(process) = process {
        let image = &process.image;
        let path = if image.exe().is_empty() { image.comm() } else { image.exe() };
        escape::argument(out, path.rsplit(|&byte| byte == b'/').next().unwrap_or_default());
        out.push(b' ');
    }
    let address = |(address, port)| SocketAddr::new(address, port);
    let (local, peer) = (address(flow.local), address(flow.peer));
    let (sent, received) = (Size(flow.counters.bytes_sent), Size(flow.counters.bytes_received));
    // As in the span: from the client to the server where the role is known, else from here to there.
    match flow.role {
        Role::Client => put!(out, "client {local} -> {peer} {sent} / {received}"),
        Role::Server => put!(out, "server {peer} -> {local} {received} / {sent}"),
        Role::Unknown => put!(out, "{local} -- {peer} {sent} / {received}"),
    }
    put!(out, " in {}", Elapsed(flow.end_ns.saturating_sub(flow.start_ns)));
    let (on, off) = (paint.on(RED), paint.off());
    match (flow.kind, flow.reason) {
        (FlowKind::Live, _) => out.extend_from_slice(b" live"),
        (FlowKind::Closed, CloseReason::Closed) => {}
        (FlowKind::Closed, CloseReason::Reset) => put!(out, " {on}reset{off}"),
        (FlowKind::Closed, CloseReason::Refused) => put!(out, " {on}refused{off}"),
        (FlowKind::Closed, CloseReason::Timeout) => put!(out, " {on}timed out{off}"),
        (FlowKind::Closed, CloseReason::Error) => put!(out, " {on}error {}{off}", flow.errno),
        (FlowKind::Closed, CloseReason::Lost) => out.extend_from_slice(b" gone"),
    }
}

#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn on(self, sequence: &'static str) -> &'static str {
        if self.colour { sequence } else { "" }
    }

    fn off(self) -> &'static str {
        self.on(RESET)
    }
}

/// The time of day (UTC) of Unix ns.
struct Clock(u64);

impl fmt::Display for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0 / 1_000_000;
        let (hours, minutes) = (milliseconds / 3_600_000 % 24, milliseconds / 60_000 % 60);
        let (seconds, milliseconds) = (milliseconds / 1000 % 60, milliseconds % 1000);
        write!(formatter, "{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}Z")
    }
}

/// Bytes in decimal units, two digits or more.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1000 {
            return write!(formatter, "{} B", self.0);
        }
        scaled(formatter, self.0 as f64 / 1e3, 1e3, &["kB", "MB", "GB", "TB", "PB", "EB"])
    }
}

/// A time span of so many ns.
pub(super) struct Elapsed(pub(super) u64);

impl fmt::Display for Elapsed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        match seconds {
            0..100 => scaled(formatter, self.0 as f64 / 1e3, 1e3, &["µs", "ms", "s"]),
            100..6000 => write!(formatter, "{} min {} s", seconds / 60, seconds % 60),
            _ => write!(formatter, "{} h {} min", seconds / 3600, seconds / 60 % 60),
        }
    }
}

fn scaled(formatter: &mut fmt::Formatter<'_>, mut value: f64, step: f64, units: &[&str]) -> fmt::Result {
    let mut units = units.iter().peekable();
    let mut unit = units.next().copied().unwrap_or_default();
    // What would be rounded to a full step belongs to the next unit.
    while value >= step - 0.5 && units.peek().is_some() {
        value /= step;
        unit = units.next().copied().unwrap_or_default();
    }
    if value < 9.95 { write!(formatter, "{value:.1} {unit}") } else { write!(formatter, "{value:.0} {unit}") }
}

/// Names of the signals that end processes (the numbers are the same on x86-64 and arm64).
fn signal_name(signal: u32) -> Option<&'static str> {
    Some(match i32::try_from(signal).ok()? {
        libc::SIGHUP => "HUP",
        libc::SIGINT => "INT",
        libc::SIGQUIT => "QUIT",
        libc::SIGILL => "ILL",
        libc::SIGTRAP => "TRAP",
        libc::SIGABRT => "ABRT",
        libc::SIGBUS => "BUS",
        libc::SIGFPE => "FPE",
        libc::SIGKILL => "KILL",
        libc::SIGUSR1 => "USR1",
        libc::SIGSEGV => "SEGV",
        libc::SIGUSR2 => "USR2",
        libc::SIGPIPE => "PIPE",
        libc::SIGALRM => "ALRM",
        libc::SIGTERM => "TERM",
        libc::SIGXCPU => "XCPU",
        libc::SIGXFSZ => "XFSZ",
        libc::SIGSYS => "SYS",
        _ => return None,
    })
}
