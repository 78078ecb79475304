//! What a report says, told attribute by attribute to whoever builds structures of it: the plain way, as
//! one would write it over any API.

use std::net::IpAddr;

use tarsier_abi::exec::flag;
use tarsier_abi::tcp::state;
use tarsier_core::event::{CloseReason, Flow, Image, Process, Role, TaskKey, What, Workload, WorkloadKind};

use crate::CLOCK;

/// Takes attributes.
pub(crate) trait Sink {
    fn text(&mut self, key: &'static str, value: String);
    fn word(&mut self, key: &'static str, value: &'static str);
    fn int(&mut self, key: &'static str, value: i64);
    fn bool(&mut self, key: &'static str, value: bool);
    fn double(&mut self, key: &'static str, value: f64);
    fn texts(&mut self, key: &'static str, values: Vec<String>);
}

pub(crate) fn unix_ns(boot_ns: u64) -> u64 {
    CLOCK.boot_to_unix_ns + boot_ns
}

/// Attributes of a resource, or of a record where there is no resource for each workload.
pub(crate) fn workload(sink: &mut impl Sink, name: &'static str, workload: &Workload) {
    sink.text(name, workload.name.to_string());
    let kind = match workload.kind {
        WorkloadKind::Container => "container",
        WorkloadKind::Unit => "unit",
        WorkloadKind::Host => "host",
    };
    sink.word("tarsier.workload.kind", kind);
    if !workload.container_id.is_empty() {
        sink.text("container.id", workload.container_id.to_string());
    }
    if let Some(runtime) = workload.runtime {
        sink.word("container.runtime.name", runtime);
    }
    if let Some(uid) = &workload.pod_uid {
        sink.text("k8s.pod.uid", uid.to_string());
    }
    sink.text("process.linux.cgroup", workload.cgroup_path.to_string());
}

/// Name, body and process of a log record.
pub(crate) fn log<'a>(what: &What<'a>) -> Option<(&'static str, String, &'a Process)> {
    let (name, process, end) = match *what {
        What::Exec { process } => ("tarsier.process.exec", process, String::new()),
        What::Fork { process } => ("tarsier.process.fork", process, String::new()),
        What::Exit { process, status } if status & 127 == 0 => {
            ("tarsier.process.exit", process, format!(" (code {})", status >> 8 & 255))
        }
        What::Exit { process, status } => {
            ("tarsier.process.exit", process, format!(" (signal {})", status & 127))
        }
        What::Flow { .. } => return None,
    };
    let program = if process.image.exe().is_empty() { process.image.comm() } else { process.image.exe() };
    let verb = name.trim_start_matches("tarsier.process.");
    Some((name, format!("{verb} {}{end}", String::from_utf8_lossy(program)), process))
}

pub(crate) fn log_attributes(sink: &mut impl Sink, what: &What<'_>, process: &Process, workload: &Workload) {
    identity(sink, process);
    if !process.parent.is_none() {
        sink.int("process.parent_pid", process.parent.tgid.into());
        sink.text("tarsier.parent_exec_id", exec_id(process.parent));
    }
    if process.vpid != 0 && process.vpid != process.key.tgid {
        sink.int("process.vpid", process.vpid.into());
    }
    if !workload.container_id.is_empty() {
        sink.text("tarsier.process.origin", process.origin.name().to_owned());
    }
    match *what {
        What::Exec { .. } => {
            sink.text("process.creation.time", rfc3339(unix_ns(process.key.start_boottime)));
            exec(sink, &process.image);
        }
        What::Exit { status, .. } if status & 127 == 0 => {
            sink.int("process.exit.code", (status >> 8 & 255).into());
        }
        What::Exit { status, .. } => {
            sink.int("tarsier.process.exit.signal", (status & 127).into());
            if status & 128 != 0 {
                sink.bool("tarsier.process.exit.core_dumped", true);
            }
        }
        What::Fork { .. } | What::Flow { .. } => {}
    }
}

fn exec(sink: &mut impl Sink, image: &Image) {
    let mut args = image.args().iter().map(lossy).peekable();
    if let Some(command) = args.peek() {
        sink.text("process.command", command.clone());
        sink.texts("process.command_args", args.collect());
    }
    if !image.cwd().is_empty() {
        sink.text("process.working_directory", lossy(image.cwd()));
    }
    if image.comm() != name(image) {
        sink.text("tarsier.process.comm", lossy(image.comm()));
    }
    let creds = &image.creds;
    sink.int("process.user.id", creds.euid.into());
    for (key, id, effective) in [
        ("process.real_user.id", creds.uid, creds.euid),
        ("process.saved_user.id", creds.suid, creds.euid),
        ("tarsier.process.real_group.id", creds.gid, creds.egid),
    ] {
        if id != effective {
            sink.int(key, id.into());
        }
    }
    sink.int("tarsier.process.group.id", creds.egid.into());
    if creds.loginuid != u32::MAX {
        sink.int("tarsier.process.loginuid", creds.loginuid.into());
    }
    if creds.cap_effective != 0 {
        sink.text("tarsier.process.capabilities.effective", format!("{:016x}", creds.cap_effective));
    }
    if creds.cap_permitted != creds.cap_effective {
        sink.text("tarsier.process.capabilities.permitted", format!("{:016x}", creds.cap_permitted));
    }
    sink.int("tarsier.process.namespace.mnt", image.ns.mnt.into());
    sink.int("tarsier.process.namespace.pid", image.ns.pid.into());
    sink.int("tarsier.process.namespace.net", image.ns.net.into());
    if image.ns.user != 4_026_531_837 {
        sink.int("tarsier.process.namespace.user", image.ns.user.into());
    }
    sink.int("tarsier.exe.inode", image.exe_inode as i64);
    sink.text("tarsier.exe.device", format!("{}:{}", image.exe_dev >> 20, image.exe_dev & 0xF_FFFF));
    sink.int("tarsier.exe.ctime", image.exe_ctime_ns as i64);
    if image.flags & flag::EXE_UPPER_LAYER != 0 {
        sink.bool("tarsier.exe.upper_layer", true);
    }
}

/// What identifies a process on every record about it.
fn identity(sink: &mut impl Sink, process: &Process) {
    sink.int("process.pid", process.key.tgid.into());
    sink.text("process.executable.path", lossy(process.image.exe()));
    sink.text("process.executable.name", lossy(name(&process.image)));
    sink.text("tarsier.exec_id", exec_id(process.key));
}

pub(crate) fn flow_attributes(sink: &mut impl Sink, flow: &Flow, process: Option<&Process>) {
    let counters = &flow.counters;
    let server = flow.role == Role::Server;
    let (source, destination) = if server { (flow.peer, flow.local) } else { (flow.local, flow.peer) };
    let sent = (counters.bytes_sent as i64, i64::from(counters.segments_sent));
    let received = (counters.bytes_received as i64, i64::from(counters.segments_received));
    let (forward, reverse) = if server { (received, sent) } else { (sent, received) };
    sink.text("source.address", source.0.to_string());
    sink.int("source.port", source.1.into());
    sink.text("destination.address", destination.0.to_string());
    sink.int("destination.port", destination.1.into());
    sink.word("network.transport", "tcp");
    sink.word("network.type", if matches!(flow.local.0, IpAddr::V4(_)) { "ipv4" } else { "ipv6" });
    sink.int("flow.bytes.total", forward.0);
    sink.int("flow.packets.total", forward.1);
    sink.int("flow.reverse.bytes.total", reverse.0);
    sink.int("flow.reverse.packets.total", reverse.1);
    if counters.retransmits != 0 {
        sink.int("tarsier.flow.retransmits", counters.retransmits.into());
    }
    for (key, micros) in [
        ("tarsier.tcp.rtt.smoothed", counters.srtt_us),
        ("tarsier.tcp.rtt.min", counters.min_rtt_us),
        ("tarsier.tcp.handshake.duration", flow.handshake_rtt_us),
    ] {
        if micros != 0 && micros != u32::MAX {
            sink.double(key, f64::from(micros) / 1e6);
        }
    }
    if flow.role == Role::Unknown {
        sink.word("flow.role.source", "unknown");
    }
    let lost = flow.reason == CloseReason::Lost;
    sink.word("flow.end_reason", if lost { "lack_of_resources" } else { "end_of_flow_detected" });
    let close_reason = match flow.reason {
        CloseReason::Closed => "",
        CloseReason::Reset => "reset",
        CloseReason::Refused => "refused",
        CloseReason::Timeout => "timeout",
        CloseReason::Error => "error",
        CloseReason::Lost => "lost",
    };
    if !close_reason.is_empty() {
        sink.word("tarsier.flow.close_reason", close_reason);
    }
    if flow.state == state::FIN_WAIT2 {
        sink.word("flow.connection.state", "fin_wait2");
    }
    if flow.start_observed {
        sink.bool("tarsier.flow.start_observed", true);
    }
    if flow.net_ns != 0 {
        sink.int("tarsier.flow.net_ns", flow.net_ns.into());
    }
    if let Some(process) = process {
        identity(sink, process);
    }
    if flow.owner_from_listener {
        sink.bool("tarsier.flow.owner_from_listener", true);
    }
}

/// A span's name.
pub(crate) fn span_name(flow: &Flow) -> String {
    match flow.role {
        Role::Client => format!("TCP {}", flow.peer.1),
        Role::Server => format!("TCP {}", flow.local.1),
        Role::Unknown => "TCP".to_owned(),
    }
}

fn name(image: &Image) -> &[u8] {
    image.exe().rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty()).unwrap_or(image.comm())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn exec_id(key: TaskKey) -> String {
    format!("{:x}-{}-{}", key.start_boottime, key.tgid, key.exec)
}

/// A time in this century as RFC 3339.
fn rfc3339(unix_ns: u64) -> String {
    let (seconds, nanos) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
    let (mut days, second) = (seconds / 86_400 - 10_957, seconds % 86_400);
    let mut year = 2000;
    let leap = |year: u64| u64::from(year.is_multiple_of(4));
    while days >= 365 + leap(year) {
        days -= 365 + leap(year);
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        (days, month) = (days - length, month + 1);
    }
    let (hour, minute, second, day) = (second / 3600, second / 60 % 60, second % 60, days + 1);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}
