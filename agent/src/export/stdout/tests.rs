//! Lines by example, and that no bytes of a process can break out of one.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use tarsier_core::encode::redact::RedactConfig;
use tarsier_core::event::{
    CloseReason, Flow, Image, Origin, Process, Role, Strings, TaskKey, Workload, WorkloadKind,
};

use super::*;

const BOOT_TO_UNIX_NS: u64 = 1_700_000_000_000_000_000;

fn workload(name: &str) -> Workload {
    Workload {
        index: 0,
        kind: WorkloadKind::Container,
        name: name.into(),
        container_id: "3fa9c1d2e4b5".repeat(5).into(),
        runtime: Some("containerd"),
        pod_uid: None,
        cgroup_path: "/x".into(),
    }
}

fn process(exe: &[u8], args: &[&[u8]]) -> Process {
    let args: Vec<u8> = args.iter().flat_map(|argument| [argument, &b"\0"[..]].concat()).collect();
    let image = Image { strings: Strings::of(exe, b"", b"comm", &args), ..Image::default() };
    Process {
        key: TaskKey { start_boottime: 0xabc, tgid: 4312, exec: 7 },
        parent: TaskKey { start_boottime: 1, tgid: 4300, exec: 2 },
        cgroup: 1,
        started_ns: 1_000_000_000,
        image: Arc::new(image),
        vpid: 1,
        pid_ns: 7,
        origin: Origin::Entry,
        seeded: false,
    }
}

fn flow(role: Role, reason: CloseReason) -> Flow {
    let counters = tarsier_abi::tcp::Counters {
        bytes_sent: 2_100,
        bytes_received: 13_000,
        segments_sent: 5,
        segments_received: 6,
        ..Default::default()
    };
    Flow {
        kind: FlowKind::Closed,
        role,
        local: ([10, 0, 0, 1].into(), 4000),
        peer: ([10, 0, 0, 2].into(), 80),
        net_ns: 1,
        cgroup: 1,
        owner: TaskKey { start_boottime: 0xabc, tgid: 4312, exec: 7 },
        owner_from_listener: false,
        isn: (1, 2),
        start_ns: 1_000_000_000,
        start_observed: false,
        established_ns: 0,
        end_ns: 1_012_000_000,
        counters,
        delta: counters,
        handshake_rtt_us: 0,
        reason,
        errno: 0,
        state: 1,
    }
}

/// Hides `s3cret`, besides what it always hides.
static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| {
    Redactor::new(&RedactConfig { patterns: vec!["s3cret".to_owned()], ..RedactConfig::default() }).unwrap()
});

fn print(style: Style, workload: &Workload, what: What<'_>) -> String {
    let config = StdoutConfig { forks: true, ..StdoutConfig::default() };
    let mut printer = Printer::new(Vec::new(), Some(style), None, &config);
    let report = Report { at_ns: 3_500_000_000, workload, what };
    printer.print(&report, BOOT_TO_UNIX_NS, &REDACTOR).unwrap();
    printer.flush().unwrap();
    String::from_utf8(printer.out).unwrap()
}

const PLAIN: Style = Style::Human { colour: false };

#[test]
fn lines_for_people() {
    let web = workload("3fa9c1d2e4b5");
    let curl = process(b"/usr/bin/curl", &[b"curl", b"-H", b"a b", b"s3cret", b""]);
    assert_eq!(
        print(PLAIN, &web, What::Exec { process: &curl }),
        "22:13:23.500Z exec  3fa9c1d2e4b5        4312 /usr/bin/curl -H 'a b' [REDACTED] ''\n"
    );
    assert_eq!(
        print(PLAIN, &web, What::Fork { process: &process(b"", &[]) }),
        "22:13:23.500Z fork  3fa9c1d2e4b5        4312 [comm] forked by 4300\n"
    );
    assert_eq!(
        print(PLAIN, &web, What::Exit { process: &curl, status: 3 << 8 }),
        "22:13:23.500Z exit  3fa9c1d2e4b5        4312 /usr/bin/curl exit 3 after 2.5 s\n"
    );
    assert_eq!(
        print(PLAIN, &web, What::Exit { process: &curl, status: 11 | 0x80 }),
        "22:13:23.500Z exit  3fa9c1d2e4b5        4312 /usr/bin/curl killed by SIGSEGV (core dumped) after 2.5 s\n"
    );
    assert_eq!(
        print(
            PLAIN,
            &web,
            What::Flow { flow: &flow(Role::Client, CloseReason::Refused), process: Some(&curl) }
        ),
        "22:13:23.500Z tcp   3fa9c1d2e4b5        4312 curl client 10.0.0.1:4000 -> 10.0.0.2:80 \
         2.1 kB / 13 kB in 12 ms refused\n"
    );
    assert_eq!(
        print(PLAIN, &web, What::Flow { flow: &flow(Role::Server, CloseReason::Closed), process: None }),
        "22:13:23.500Z tcp   3fa9c1d2e4b5        4312 server 10.0.0.2:80 -> 10.0.0.1:4000 \
         13 kB / 2.1 kB in 12 ms\n"
    );
}

#[test]
fn colours_only_if_told() {
    let (web, shell) = (workload("web"), process(b"/bin/sh", &[]));
    let coloured = print(Style::Human { colour: true }, &web, What::Exit { process: &shell, status: 9 });
    assert!(coloured.contains("\x1b[31mkilled by SIGKILL\x1b[0m"), "{coloured:?}");
    let config = StdoutConfig::default();
    assert_eq!(config.style(true, true, false), Some(Style::Human { colour: true }));
    assert_eq!(config.style(true, false, false), Some(PLAIN));
    assert_eq!(config.style(false, true, false), Some(Style::Json));
    assert_eq!(config.style(true, true, true), None, "with rules, events only if asked for");
    let human = StdoutConfig { format: Format::Human, ..config };
    assert_eq!(human.style(false, true, false), Some(PLAIN));
    assert_eq!(human.style(false, true, true), Some(PLAIN));
}

#[test]
fn json_lines_have_the_names_of_otlp() {
    let web = workload("web");
    let curl = process(b"/usr/bin/curl", &[b"curl", b"s3cret", b"\xff\"\x1b"]);
    let parse = |what| serde_json::from_str::<serde_json::Value>(&print(Style::Json, &web, what)).unwrap();
    let exec = parse(What::Exec { process: &curl });
    assert_eq!(exec["timestamp"], "2023-11-14T22:13:23.500000000Z");
    assert_eq!(exec["event.name"], "tarsier.process.exec");
    assert_eq!(exec["container.id"].as_str().unwrap().len(), 60);
    assert_eq!(exec["process.pid"], 4312);
    assert_eq!(exec["process.parent_pid"], 4300);
    assert_eq!(exec["process.command_args"], serde_json::json!(["curl", "[REDACTED]", "\u{fffd}\"\u{1b}"]));
    assert_eq!(exec["tarsier.exec_id"], "abc-4312-7");
    let exit = parse(What::Exit { process: &curl, status: 256 });
    assert_eq!((&exit["process.exit.code"], &exit["process.command_args"]), (&1.into(), &().into()));
    let flow = parse(What::Flow { flow: &flow(Role::Server, CloseReason::Reset), process: None });
    assert_eq!((&flow["source.address"], &flow["source.port"]), (&"10.0.0.2".into(), &80.into()));
    assert_eq!(flow["flow.bytes.total"], 13_000);
    assert_eq!(flow["flow.reverse.packets.total"], 5);
    assert_eq!(flow["tarsier.flow.close_reason"], "reset");
    assert_eq!(flow["process.pid"], 4312);
}

#[test]
fn forks_and_live_connections_are_printed_on_request_only() {
    let (web, shell) = (workload("web"), process(b"/bin/sh", &[]));
    let mut live = flow(Role::Client, CloseReason::Closed);
    live.kind = FlowKind::Live;
    for (config, lines) in [
        (StdoutConfig::default(), 0),
        (StdoutConfig { forks: true, live: true, ..StdoutConfig::default() }, 2),
    ] {
        let mut printer = Printer::new(Vec::new(), Some(PLAIN), None, &config);
        for what in [What::Fork { process: &shell }, What::Flow { flow: &live, process: None }] {
            printer.print(&Report { at_ns: 0, workload: &web, what }, 0, &REDACTOR).unwrap();
        }
        printer.flush().unwrap();
        assert_eq!(printer.out.iter().filter(|&&byte| byte == b'\n').count(), lines);
    }
}

#[test]
fn a_reader_that_is_gone_is_told_apart() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut printer = Printer::new(writer, Some(Style::Json), None, &StdoutConfig::default());
    let report =
        Report { at_ns: 0, workload: &workload("web"), what: What::Exec { process: &process(b"/a", &[]) } };
    printer.print(&report, 0, &REDACTOR).unwrap();
    assert!(matches!(printer.flush(), Err(PrintError::Closed)));
}

#[test]
fn hostile_names_are_harmless() {
    let human = |bytes: &[u8]| {
        let mut out = Vec::new();
        escape::argument(&mut out, bytes);
        String::from_utf8(out).unwrap()
    };
    // Clear screen, set the title, 8-bit CSI, a forged second line, text turned around, a cut character.
    assert_eq!(human(b"\x1b[2J"), "\\u{1b}[2J");
    assert_eq!(human(b"\x1b]0;x\x07"), "\\u{1b}]0;x\\u{7}");
    assert_eq!(human("\u{9b}31m".as_bytes()), "\\u{9b}31m");
    assert_eq!(human(b"a\n12:00 exec"), "'a\\n12:00 exec'");
    assert_eq!(human("gpj.\u{202e}exe".as_bytes()), "gpj.\\u{202e}exe");
    assert_eq!(human(b"\xe2\x82"), "\\xe2\\x82");
    assert_eq!(human(b"it's \\n"), "'it\\'s \\\\n'");
    assert_eq!(human("zażółć 🦀".as_bytes()), "'zażółć 🦀'");
    let mut json = Vec::new();
    escape::json(&mut json, "\u{9b}\u{e0041}\u{7f}".as_bytes());
    assert_eq!(json, br#""\u009b\udb40\udc41\u007f""#);
}

#[test]
fn sizes_and_times() {
    let size = |bytes| human::Size(bytes).to_string();
    assert_eq!([0, 999, 1000, 9_949, 999_499].map(size), ["0 B", "999 B", "1.0 kB", "9.9 kB", "999 kB"]);
    assert_eq!([999_999, 1_500_000_000, u64::MAX].map(size), ["1.0 MB", "1.5 GB", "18 EB"]);
    let time = |ns| human::Elapsed(ns).to_string();
    assert_eq!([0, 12_345, 999_999_999, 99_000_000_000].map(time), ["0.0 µs", "12 µs", "1.0 s", "99 s"]);
    assert_eq!([125_000_000_000, 7_265_000_000_000].map(time), ["2 min 5 s", "2 h 1 min"]);
}

proptest! {
    /// Whatever a process is called: one line, no control character, no change of direction; and JSON that
    /// parses back to the lossy text.
    #[test]
    fn no_escape_from_a_line(
        exe in proptest::collection::vec(any::<u8>(), 0..40),
        arguments in proptest::collection::vec(any::<String>(), 0..4),
        name in any::<String>(),
    ) {
        let args: Vec<&[u8]> = arguments.iter().map(String::as_bytes).chain([&exe[..]]).collect();
        let (workload, process) = (workload(&name), process(&exe, &args));
        for what in [What::Exec { process: &process }, What::Exit { process: &process, status: 0 }] {
            for style in [PLAIN, Style::Json] {
                let line = print(style, &workload, what);
                let text = line.strip_suffix('\n').unwrap();
                prop_assert!(!text.chars().any(|character| character.is_control()
                    || ('\u{200b}'..='\u{200f}').contains(&character)
                    || ('\u{2028}'..='\u{202e}').contains(&character)
                    || ('\u{2066}'..='\u{2069}').contains(&character)), "{:?}", text);
            }
        }
        let line = print(Style::Json, &workload, What::Exec { process: &process });
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        let mut scratch = redact::Scratch::default();
        let redacted = REDACTOR.redact(process.image.args(), &mut scratch);
        let expected: Vec<String> =
            redacted.iter().map(|argument| String::from_utf8_lossy(argument).into_owned()).collect();
        prop_assert_eq!(&parsed["process.command_args"], &serde_json::json!(expected));
        prop_assert_eq!(&parsed["service.name"], &name);
    }
}
