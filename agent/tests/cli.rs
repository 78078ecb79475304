//! The built binary as users and scripts meet it: exit codes, messages, pipes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use tarsier::ops::admin::{AdminServer, Connection, TopState};

fn tarsier(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarsier"));
    // The variables of whoever runs the test are not part of it.
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("tarsier.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn wrong_usage_is_64_and_names_the_mistake() {
    for (args, says) in [
        (&["rum"][..], "run"),
        (&["run", "--outputt", "json"], "--output"),
        (&["run", "--output", "xml"], "possible values: auto, human, json, none"),
        (&["run", "--sensors", "exec,tpc"], "did you mean `tcp`?"),
        (&["run", "--for", "10"], "has no unit"),
        (&["run", "--scope-cgroup", "here"], "whole path"),
        (&["run", "--listen", "nowhere"], "IP:PORT"),
        (&["run", "--otlp-endpoint", "collector"], "--otlp-endpoint: otlp.endpoint: "),
        (&["run", "--log-level", "loud"], "possible values: off, error"),
        (&["record"], "<FILE>"),
        (&["record", "x", "--max-size", "10"], "has no unit"),
        (&["record", "x", "--max-size", "1KiB"], "less than 64KiB"),
        (&["record", "-", "--output", "json"], "cannot take both"),
        (&["replay"], "<FILE>"),
        (&["replay", "x", "--speed", "fast"], "1x, 0.5x or 10x"),
        (&["completions", "tcsh"], "bash"),
        (&["config", "check"], "<FILE>"),
        (&["rules", "test"], "<PATH>"),
        (&["rules", "test", ".", "--min-coverage", "101"], "a number from 0 to 100"),
        (&[], "Usage: tarsier"),
    ] {
        let output = tarsier(args);
        assert_eq!(code(&output), 64, "{args:?}: {}", err(&output));
        assert!(err(&output).contains(says), "{args:?}: {}", err(&output));
        assert!(output.stdout.is_empty() && !err(&output).contains('\x1b'), "{args:?}");
    }
}

#[test]
fn a_file_with_five_mistakes_shows_all_five() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(
        dir.path(),
        "sensors:\n  tpc: true\nflows:\n  interval: 10\nrings:\n  bulk_bytes: 3MB\nlog:\n  level: loud\nmetric: {}\n",
    );
    let path = path.to_str().unwrap();
    for args in [&["config", "check", path][..], &["run", "--config", path], &["config", "print", "-c", path]]
    {
        let output = tarsier(args);
        assert_eq!(code(&output), 64, "{args:?}");
        assert!(output.stdout.is_empty());
        let text = err(&output);
        for place in [
            "2:3: sensors.tpc",
            "4:13: flows.interval",
            "6:15: rings.bulk_bytes",
            "8:10: log.level",
            "9:1: metric",
        ] {
            assert!(text.contains(&format!("{path}:{place}: ")), "{place}: {text}");
        }
        assert_eq!(text.matches("    fix: ").count(), 5, "{text}");
        assert!(text.contains("5 problems in the configuration"), "{text}");
    }
}

#[test]
fn files_that_cannot_be_read_or_are_not_yaml() {
    let output = tarsier(&["config", "check", "/nowhere.yaml"]);
    assert_eq!(code(&output), 64);
    assert!(err(&output).contains("/nowhere.yaml: cannot be read: No such file"), "{}", err(&output));
    let dir = tempfile::tempdir().unwrap();
    let output = tarsier(&["config", "check", file(dir.path(), "flows: [\nlog: }").to_str().unwrap()]);
    assert_eq!(code(&output), 64);
    assert!(err(&output).contains("tarsier.yaml:1:8: mismatched bracket"), "{}", err(&output));
}

#[test]
fn captures_that_are_none_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    std::fs::write(&text, "exec 1 2 3\n").unwrap();
    let cut = dir.path().join("cut");
    std::fs::write(&cut, b"\x89TSR\r\n\x1a\n\x01\0\0\0half a block").unwrap();
    for (path, says) in [
        (dir.path().join("nowhere"), "No such file"),
        (text, "not a capture: `tarsier record` makes one"),
        (cut, "cut at its very start"),
    ] {
        let path = path.to_str().unwrap();
        for args in [&["replay", path][..], &["replay", path, "--info"]] {
            let output = tarsier(args);
            assert_eq!(code(&output), 1, "{args:?}");
            let text = err(&output);
            assert!(text.contains(path) && text.contains(says) && text.lines().count() == 1, "{text}");
        }
    }
    // A file that is there is not overwritten by accident, whatever the machine allows.
    let there = dir.path().join("there");
    std::fs::write(&there, "precious").unwrap();
    let output = tarsier(&["record", there.to_str().unwrap()]);
    assert_ne!(code(&output), 0);
    assert_eq!(std::fs::read(&there).unwrap(), b"precious");
}

#[test]
fn a_good_file_is_ok_and_prints_with_origins() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "flows:\n  interval: 30s\n");
    let path = path.to_str().unwrap();
    let output = tarsier(&["config", "check", path]);
    assert_eq!((code(&output), out(&output)), (0, format!("{path}: ok\n")));

    let mut print = command(&["config", "print", "--config", path, "--output", "json"]);
    let output = print.env("OTEL_RESOURCE_ATTRIBUTES", "team=a%20b").output().unwrap();
    let text = out(&output);
    let line =
        |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap().to_owned();
    assert!(line("interval: 30s").ends_with(&format!("# {path}:2")), "{text}");
    assert!(line("format: json").ends_with("# --output"), "{text}");
    assert!(line("team: \"a b\"").ends_with("# OTEL_RESOURCE_ATTRIBUTES"), "{text}");
    let again = file(dir.path(), &text);
    assert_eq!(code(&tarsier(&["config", "check", again.to_str().unwrap()])), 0, "{text}");
}

#[test]
fn rule_files_are_checked_listed_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "- list: shells\n  items: [bash, sh]
- rule: Shell
  desc: d
  output: shell %proc.name
  priority: notice
  condition: evt.type = execve and proc.name in (shells)
- rule: Wrong
  desc: d
  output: o
  priority: info
  condition: evt.type = execve and proc.nmae = cat
";
    let path = file(dir.path(), rules);
    let path = path.to_str().unwrap();
    let said = |args: &[&str]| -> (i32, String, String) {
        let output = tarsier(&[&["rules"], args].concat());
        (code(&output), out(&output), err(&output))
    };
    let (exit, text, _) = said(&["check", path]);
    assert!(exit == 64 && text.contains(":12:36\n") && text.contains("did you mean `proc.name`?"), "{text}");
    assert!(text.ends_with("1 rule of 1 file: 1 error, 0 warnings\n"), "{text}");
    let (exit, text, _) = said(&["check", path, "--output", "json"]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((exit, &document["problems"][0]["place"]["line"]), (64, &serde_json::json!(12)));
    // What did not load is told apart from what is asked for.
    let (exit, text, errors) = said(&["list", path, "--output", "json"]);
    let rules: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((exit, rules.as_array().unwrap().len()), (64, 1));
    assert_eq!(
        (&rules[0]["rule"], &rules[0]["event_types"]),
        (&"Shell".into(), &serde_json::json!(["execve"]))
    );
    assert!(errors.contains("there is no field `proc.nmae`"), "{errors}");
    let (_, text, _) = said(&["list", path]);
    assert_eq!(text, "Notice        on    Shell\n");
    let (_, text, _) = said(&["show", "--rule", "Shell", path]);
    assert!(text.contains("condition evt.type = execve and proc.name in (bash, sh)\n"), "{text}");
    let (exit, _, errors) = said(&["show", "--rule", "Shel", path]);
    assert!(exit == 64 && errors.contains("there is no rule `Shel`: did you mean `Shell`?"), "{errors}");
    let (exit, _, errors) = said(&["check", "nowhere.yaml"]);
    assert!(exit == 64 && errors.contains("nowhere.yaml: No such file"), "{errors}");
}

#[test]
fn a_falco_yaml_comes_to_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let falco = dir.path().join("falco.yaml");
    std::fs::write(&falco, "rules_files: [/etc/r.yaml]\npriority: Warning\ngrpc: {enabled: true}\n").unwrap();
    let output = tarsier(&["config", "import-falco", falco.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = out(&output);
    assert!(text.contains("# priority\n") && text.contains("#   grpc: there is no gRPC server"), "{text}");
    let path = file(dir.path(), &text);
    assert_eq!(code(&tarsier(&["config", "check", path.to_str().unwrap()])), 0, "{text}");
    std::fs::write(&falco, "priority: loud").unwrap();
    let output = tarsier(&["config", "import-falco", falco.to_str().unwrap()]);
    assert!(
        code(&output) == 64 && err(&output).contains("alerts.priority: `loud` is not a choice"),
        "{}",
        err(&output)
    );
}

#[test]
fn what_rules_came_to_is_told_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("r.yaml");
    let rule = |name: &str, priority: &str, condition: &str| {
        format!("- rule: {name}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: {priority}\n")
    };
    let all = rule("Ended", "NOTICE", "evt.type = procexit") + &rule("Started", "ERROR", "evt.type = execve");
    std::fs::write(&rules, all + &rule("Never", "ALERT", "evt.type = execve and proc.name = nobody"))
        .unwrap();
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/6.12.tarsier");
    let replay = |config: &str| {
        let config = file(dir.path(), config);
        let (rules, config) = (rules.to_str().unwrap(), config.to_str().unwrap());
        let output = tarsier(&["replay", capture, "--rules", rules, "--config", config]);
        assert_eq!(code(&output), 0, "{}", err(&output));
        (out(&output).lines().count(), err(&output))
    };
    let (told, text) = replay("{}");
    assert!(text.contains(&format!(" and {told} alerts of 2 rules\n  by priority: Error ")), "{text}");
    let (error, notice) = (text.find("  Error          Started\n"), text.find("  Notice         Ended\n"));
    assert!(error.is_some() && error < notice && !text.contains("Never"), "{text}");
    // Of what is withheld there is no line.
    let (fewer, text) = replay("alerts: {throttle: {rate_per_minute: 1, burst: 1}}\nlog: {format: json}");
    let lines: Vec<serde_json::Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |message: &str| lines.iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    assert_eq!(of("matched").len(), 2, "{text}");
    assert_eq!(of("matched")[0]["rule"], "Started");
    let sum = of("rules")[0];
    assert_eq!((&sum["alerts"], &sum["throttled"]), (&fewer.into(), &(told - fewer).into()), "{text}");
    assert!(fewer < told && !replay("log: {level: warn}").1.contains("alerts of"));
}

#[test]
fn tests_of_rules_pass_fail_and_want_coverage() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let case = |name: &str, program: &str, alerts: &str| {
        format!(
            "- {{name: {name}, events: [{{evt.type: execve, proc.name: {program}}}], alerts: {alerts}}}\n"
        )
    };
    let rules = "- rule: Shell\n  desc: d\n  condition: evt.type = execve and proc.name = sh\n  output: o\n  priority: INFO\n";
    std::fs::write(at("r.yaml"), rules).unwrap();
    let tests = |cases: &str| std::fs::write(at("a.test.yaml"), format!("cases:\n{cases}")).unwrap();
    let folder = at("");
    let said = |args: &[&str]| -> (i32, String, String) {
        let output = tarsier(&[&["rules", "test", &folder], args].concat());
        (code(&output), out(&output), err(&output))
    };
    tests(&case("one", "sh", "[Shell]"));
    let (exit, text, errors) = said(&[]);
    assert!(
        exit == 0 && errors.is_empty() && text.ends_with("(1 of 2 outcomes of 1 comparison)\n"),
        "{text}{errors}"
    );
    let (exit, text, errors) = said(&["--min-coverage", "51"]);
    assert!(exit == 1 && text.contains("r.yaml:3:36: never false: proc.name = sh"), "{text}");
    assert_eq!(errors, "tarsier: coverage is 50.0 %, and 51 % is wanted\n");
    tests(&(case("one", "sh", "[Shell]") + &case("two", "cat", "[]")));
    assert_eq!(said(&["--min-coverage", "100%"]).0, 0);
    tests(&(case("one", "sh", "[]") + &case("two", "cat", "[]")));
    let junit = at("junit.xml");
    let (exit, text, _) = said(&["--output", "json", "--junit", &junit]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((exit, &document["failed"], &document["coverage"]["percent"]), (1, &1.into(), &100.0.into()));
    assert_eq!(
        document["suites"][0]["cases"][0]["faults"][0]["message"],
        "an alert of `Shell` came, and none was expected"
    );
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(
        xml.contains(r#"<testsuites name="tarsier rules test" tests="2" failures="1" errors="0">"#),
        "{xml}"
    );
    tests(&case("one", "sh", "[Shel]"));
    let (exit, text, _) = said(&[]);
    assert!(
        exit == 64 && text.contains("did you mean `Shell`?") && text.contains("a.test.yaml:2:"),
        "{text}"
    );
    std::fs::remove_file(at("a.test.yaml")).unwrap();
    let (exit, _, errors) = said(&[]);
    assert!(
        exit == 64 && errors.contains("no file here or below ends in .test.yaml or .test.yml"),
        "{errors}"
    );
    // A folder of rules is loaded without the tests in it.
    tests(&case("one", "sh", "[Shell]"));
    assert_eq!(code(&tarsier(&["rules", "check", &folder])), 0);
}

#[test]
fn a_plan_is_explained_without_a_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let rule = |name: &str, priority: &str, condition: &str| {
        format!("- rule: {name}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: {priority}\n")
    };
    let rules = rule(
        "Written",
        "ERROR",
        "evt.type = openat and evt.is_open_write = true and fd.name startswith /etc/",
    ) + &rule("Costly", "DEBUG", "evt.type = openat and (fd.name = /a or proc.name = cat)")
        + &rule("Started", "ERROR", "evt.type = execve and proc.name = sh");
    let path = dir.path().join("r.yaml");
    std::fs::write(&path, rules).unwrap();
    let path = path.to_str().unwrap();
    let explain = |args: &[&str]| {
        let output = tarsier(&[&["rules", "explain-plan"], args].concat());
        assert_eq!(code(&output), 0, "{}", err(&output));
        out(&output)
    };
    let text = explain(&[path]);
    for says in [
        "3 of 3 rules run.\n",
        "syscall  for rules alone; asked for by 3 rules\n           by fexit/sys_* else tp_btf/sys_exit\n",
        &format!(
            "\nopenat\n  everything passes\n  of `Costly` nothing can be filtered:\n      proc.name = cat\n        {path}:8:"
        ),
        "\nexecve, told by the sensor exec\n",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    let document: serde_json::Value = serde_json::from_str(&explain(&[path, "--output", "json"])).unwrap();
    let openat = |document: &serde_json::Value| document["calls"][0].clone();
    assert_eq!(openat(&document)["untested"][0]["branches"][0][0]["place"]["line"], 8);
    assert_eq!((&openat(&document)["filtered"], &openat(&document)["passes"]), (&false.into(), &().into()));
    // Without that rule, which a configuration leaves out.
    let config = file(dir.path(), "alerts: {priority: error}\nsensors: {tcp: false}\n");
    let config = ["--config", config.to_str().unwrap(), path];
    let text = explain(&config);
    for says in [
        "2 of 3 rules run.\n",
        "\nopenat\n  passes if opened for writing and path begins with /etc/\n",
        "  tcp      off in the configuration\n",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    let document: serde_json::Value =
        serde_json::from_str(&explain(&[&config[..], &["--output", "json"]].concat())).unwrap();
    let expected = serde_json::json!({
        "text": "opened for writing and path begins with /etc/", "outcome": null,
        "opened": ["write", "read_write", "neither"], "path_begins_with": "/etc/", "path_ends_with": "",
    });
    assert_eq!(openat(&document)["passes"], serde_json::json!([expected]));
    let wrong = tarsier(&["rules", "explain-plan"]);
    assert!(code(&wrong) == 64 && err(&wrong).contains("<FILE>"), "{}", err(&wrong));
}

#[test]
fn help_version_and_completions() {
    let help = tarsier(&["--help"]);
    assert_eq!(code(&help), 0);
    for says in ["Examples:", "Exit codes:", "doctor", "  77  "] {
        assert!(out(&help).contains(says), "{says}: {}", out(&help));
    }
    assert!(out(&tarsier(&["run", "--help"])).contains("\n  SIGHUP "), "signals are part of the usage");
    let version = tarsier(&["--version"]);
    assert!(
        out(&version).starts_with(concat!("tarsier ", env!("CARGO_PKG_VERSION"), "\ncommit: ")),
        "{}",
        out(&version)
    );
    assert_eq!(out(&tarsier(&["-V"])), concat!("tarsier ", env!("CARGO_PKG_VERSION"), "\n"));
    for shell in ["bash", "zsh", "fish"] {
        let script = tarsier(&["completions", shell]);
        assert!(code(&script) == 0 && out(&script).contains("scope-cgroup"), "{shell}");
    }
    let script = out(&tarsier(&["completions", "bash"]));
    let check = Command::new("bash").args(["-n", "-c", &script]).output().expect("bash is everywhere");
    assert!(check.status.success() && check.stderr.is_empty(), "{}", err(&check));
    let sensors = out(&tarsier(&["sensors"]));
    for sensor in tarsier_abi::Sensor::ALL {
        assert!(sensors.contains(sensor.doc()), "{sensors}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let mut child =
        command(&["completions", "zsh"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(code(&output) == 0 && output.stderr.is_empty(), "{}", err(&output));
}

#[test]
fn doctor_reports_and_its_exit_code_agrees() {
    let output = tarsier(&["doctor", "--output", "json"]);
    let report: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(report["exit_code"], code(&output));
    let checks = report["checks"].as_array().unwrap();
    for name in ["kernel", "btf", "CAP_BPF", "CAP_PERFMON", "bpf()", "cgroups", "jit"] {
        assert!(checks.iter().any(|check| check["name"] == name), "{name}");
    }
    let human = tarsier(&["doctor"]);
    assert_eq!(code(&human), code(&output));
    assert!(out(&human).trim_end().lines().last().unwrap().starts_with("The agent can"), "{}", out(&human));
}

#[test]
fn without_privileges_doctor_and_run_name_what_is_missing() {
    // Whoever runs the test, `nobody` runs the copy: exec as another user clears every capability.
    // The build directory may be closed to others, so the copy stands in a directory that is not.
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("tarsier");
    // By another process: a child that a parallel test forks now must not inherit the file open for
    // writing, or it could not be executed (ETXTBSY).
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_tarsier")).arg(&copy).status().unwrap();
    assert!(copied.success());
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut doctor = Command::new(&copy);
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        doctor.uid(65534);
    }
    let run = doctor.args(["run", "--for", "1s"]).output().unwrap();
    assert_eq!(code(&run), 77, "{}", err(&run));
    assert!(err(&run).contains("tarsier: CAP_BPF: missing: it loads programs and maps; "), "{}", err(&run));
    assert!(err(&run).contains("\nCAP_PERFMON: missing: "), "{}", err(&run));

    let mut doctor = Command::new(&copy);
    if is_root {
        doctor.uid(65534);
    }
    let output = doctor.arg("doctor").output().unwrap();
    assert_eq!(code(&output), 77, "{}{}", out(&output), err(&output));
    let last = out(&output).trim_end().lines().last().unwrap().to_owned();
    assert!(last.contains("CAP_BPF, CAP_PERFMON"), "{last}");
}

#[test]
fn top_without_an_agent_says_how_to_start_one() {
    let output = tarsier(&["top", "--socket", "/nowhere/tarsier.sock"]);
    assert_eq!(code(&output), 1);
    assert!(
        err(&output).contains("no agent listens at /nowhere/tarsier.sock; start one with"),
        "{}",
        err(&output)
    );
}

#[test]
fn top_once_prints_the_state_of_a_served_agent() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock");
    let connection =
        Connection { process: "curl".into(), pid: 99, peer: "192.0.2.1:80".into(), ..Connection::default() };
    let state = TopState { node: "node-a".into(), connections: vec![connection], ..TopState::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let output = runtime.block_on(async {
        let server = AdminServer::start(&socket, Arc::new(move || state.clone())).unwrap();
        let socket = socket.to_str().unwrap().to_owned();
        let output = tokio::task::spawn_blocking(move || tarsier(&["top", "--once", "--socket", &socket]));
        let output = output.await.unwrap();
        drop(server);
        output
    });
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = out(&output);
    assert!(
        text.contains("on node-a") && text.contains("curl 99") && text.contains("192.0.2.1:80"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "no colour in a pipe");
}
