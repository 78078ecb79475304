//! One JSON object a line, flat, keys named like the OTLP attributes.

use std::fmt;
use std::net::IpAddr;

use tarsier_core::event::{CloseReason, Flow, FlowKind, Process, Report, Role, TaskKey, What, Workload};

use super::{Context, Scratch, escape, put};

pub(super) fn line(out: &mut Vec<u8>, scratch: &mut Scratch, report: &Report<'_>, context: Context<'_>) {
    let name = match report.what {
        What::Exec { .. } => "tarsier.process.exec",
        What::Fork { .. } => "tarsier.process.fork",
        What::Exit { .. } => "tarsier.process.exit",
        What::Flow { flow, .. } if flow.kind == FlowKind::Live => "tarsier.flow.live",
        What::Flow { .. } => "tarsier.flow.closed",
    };
    let mut object = Object { out, first: true };
    object.out.push(b'{');
    object.time("timestamp", context.boot_to_unix_ns.saturating_add(report.at_ns));
    object.text("event.name", name.as_bytes());
    workload(&mut object, report.workload);
    if let (false, What::Exec { process } | What::Fork { process } | What::Exit { process, .. }) =
        (report.workload.container_id.is_empty(), report.what)
    {
        object.text("tarsier.process.origin", process.origin.name().as_bytes());
    }
    match report.what {
        What::Exec { process: of } => {
            process(&mut object, of);
            image(&mut object, scratch, of, context);
        }
        What::Fork { process: of } => process(&mut object, of),
        What::Exit { process: of, status } => {
            process(&mut object, of);
            exit(&mut object, status);
        }
        What::Flow { flow, process: owner } => {
            connection(&mut object, flow, context);
            match owner {
                Some(owner) => process(&mut object, owner),
                None if !flow.owner.is_none() => object.number("process.pid", flow.owner.tgid),
                None => {}
            }
        }
    }
    out.extend_from_slice(b"}\n");
}

fn workload(object: &mut Object<'_>, workload: &Workload) {
    object.text("service.name", workload.name.as_bytes());
    object.some_text("container.id", workload.container_id.as_bytes());
    object.some_text("container.runtime.name", workload.runtime.unwrap_or_default().as_bytes());
    object.some_text("k8s.pod.uid", workload.pod_uid.as_deref().unwrap_or_default().as_bytes());
}

fn process(object: &mut Object<'_>, process: &Process) {
    object.number("process.pid", process.key.tgid);
    if !process.parent.is_none() {
        object.number("process.parent_pid", process.parent.tgid);
    }
    object.some_text("process.executable.path", process.image.exe());
    if process.image.exe().is_empty() {
        object.some_text("tarsier.process.comm", process.image.comm());
    }
    let TaskKey { start_boottime, tgid, exec } = process.key;
    object.raw("tarsier.exec_id", format_args!("\"{start_boottime:x}-{tgid}-{exec}\""));
}

fn image(object: &mut Object<'_>, scratch: &mut Scratch, process: &Process, context: Context<'_>) {
    let image = &process.image;
    object.key("process.command_args");
    object.out.push(b'[');
    for (index, argument) in context.redactor.redact(image.args(), &mut scratch.arguments).iter().enumerate()
    {
        if index > 0 {
            object.out.push(b',');
        }
        escape::json(object.out, argument);
    }
    object.out.push(b']');
    if image.args_truncated {
        object.raw("tarsier.process.args.truncated", format_args!("true"));
        object.number("tarsier.process.args.bytes", image.args_bytes);
    }
    object.some_text("process.working_directory", image.cwd());
    object.number("process.user.id", image.creds.euid);
    object.number("process.real_user.id", image.creds.uid);
}

fn exit(object: &mut Object<'_>, status: u32) {
    match status & 0x7f {
        0 => object.number("process.exit.code", status >> 8 & 0xff),
        signal => {
            object.number("tarsier.process.exit.signal", signal);
            if status & 0x80 != 0 {
                object.raw("tarsier.process.exit.core_dumped", format_args!("true"));
            }
        }
    }
}

fn connection(object: &mut Object<'_>, flow: &Flow, context: Context<'_>) {
    let local_first = flow.role != Role::Server;
    let (source, destination) = if local_first { (flow.local, flow.peer) } else { (flow.peer, flow.local) };
    let counters = &flow.counters;
    let sent = (counters.bytes_sent, counters.segments_sent);
    let received = (counters.bytes_received, counters.segments_received);
    let (forward, reverse) = if local_first { (sent, received) } else { (received, sent) };
    object.time("tarsier.flow.start", context.boot_to_unix_ns.saturating_add(flow.start_ns));
    object.raw("source.address", format_args!("\"{}\"", source.0));
    object.number("source.port", source.1);
    object.raw("destination.address", format_args!("\"{}\"", destination.0));
    object.number("destination.port", destination.1);
    object.text("network.transport", b"tcp");
    object.text("network.type", if matches!(flow.local.0, IpAddr::V4(_)) { b"ipv4" } else { b"ipv6" });
    object.text(
        "tarsier.flow.role",
        match flow.role {
            Role::Client => b"client",
            Role::Server => b"server",
            Role::Unknown => b"unknown",
        },
    );
    object.number("flow.bytes.total", forward.0);
    object.number("flow.packets.total", forward.1);
    object.number("flow.reverse.bytes.total", reverse.0);
    object.number("flow.reverse.packets.total", reverse.1);
    object.number("tarsier.flow.retransmits", counters.retransmits);
    if flow.start_observed {
        object.raw("tarsier.flow.start_observed", format_args!("true"));
    }
    if flow.kind == FlowKind::Closed {
        object.text("tarsier.flow.close_reason", close_reason(flow.reason).as_bytes());
    }
    if flow.errno != 0 {
        object.number("tarsier.flow.errno", flow.errno);
    }
}

fn close_reason(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Closed => "closed",
        CloseReason::Reset => "reset",
        CloseReason::Refused => "refused",
        CloseReason::Timeout => "timeout",
        CloseReason::Error => "error",
        CloseReason::Lost => "lost",
    }
}

/// Writes the members of an object. Keys are our own and need no escaping.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Object<'_> {
    fn key(&mut self, key: &'static str) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        put!(self.out, "\"{key}\":");
    }

    fn raw(&mut self, key: &'static str, value: fmt::Arguments<'_>) {
        self.key(key);
        put!(self.out, "{value}");
    }

    fn number(&mut self, key: &'static str, value: impl Into<u64>) {
        self.raw(key, format_args!("{}", value.into()));
    }

    fn text(&mut self, key: &'static str, value: &[u8]) {
        self.key(key);
        escape::json(self.out, value);
    }

    fn some_text(&mut self, key: &'static str, value: &[u8]) {
        if !value.is_empty() {
            self.text(key, value);
        }
    }

    /// Unix ns as RFC 3339 in UTC.
    fn time(&mut self, key: &'static str, unix_ns: u64) {
        let time = jiff::Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
        self.raw(key, format_args!("\"{time:.9}\""));
    }
}
