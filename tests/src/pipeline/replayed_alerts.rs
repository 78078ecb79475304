//! What rules say of a replay is what they said live, byte for byte: tree of processes, containers, users, files, sockets.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::SCENE_OF_CONTAINERS;
use super::capture::{first_difference, scene_holder, telling_process};
use crate::containers::{id, in_pod};
use crate::harness::alerts::Caller;
use crate::harness::recorder::{Studio, bytes, replay};
use crate::harness::runc::{Runtime, Shape};
use crate::harness::scene::{ARRIVAL, itest};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[Test {
    name: "replayed_alerts/are_those_told_live",
    needs: SCENE_OF_CONTAINERS,
    run: are_those_told_live,
}];

/// Of everything that the test does, and of what cannot be decided before it has been looked up.
const RULES: &str = "
- rule: call
  desc: what a program did
  condition: >
    evt.type in (openat, unlinkat, symlinkat, memfd_create, dup, socket, connect, accept, accept4, sendto, setuid, ptrace)
  output: \"%evt.type %evt.args on %fd.name by %user.name in %container.name\"
  priority: NOTICE
- rule: program
  desc: a program started
  condition: evt.type = execve and user.name exists and (container.id = host or container.image exists)
  output: \"%proc.cmdline of %proc.aname[1] below %proc.aname[2] by %user.name in %container.image\"
  priority: NOTICE
- rule: end
  desc: a process ended
  condition: evt.type = procexit
  output: \"%proc.name after %proc.duration\"
  priority: DEBUG
";
/// Who runs the programs of the container.
const UID: u32 = 1234;

fn are_those_told_live(context: &Context) -> anyhow::Result<()> {
    let studio = Studio::new("replayed")?;
    let runtime = Runtime::new(context)?;
    let files = studio.directory.path();
    // The replay is nobody's.
    fs::set_permissions(files, Permissions::from_mode(0o755))?;
    let rules = files.join("rules.yaml");
    fs::write(&rules, RULES)?;
    let fields = every_field(context)?;
    let config = |name: &str, more: Value| {
        let mut config = json!({
            "rules": { "files": [rules] },
            "alerts": { "append_output": [{ "suggested_output": true, "extra_fields": fields }] },
            "host": { "runc": [runtime.state()] },
        });
        config["alerts"]
            .as_object_mut()
            .context("a section")?
            .extend(more.as_object().cloned().unwrap_or_default());
        let path = files.join(name);
        fs::write(&path, config.to_string())?;
        path.into_os_string().into_string().ok().context("a path of the test is text")
    };
    let as_json = config("json.yaml", json!({}))?;
    let as_text = config("text.yaml", json!({ "time_format_iso_8601": true }))?;

    // One that is there before the recorder.
    let held = scene_holder(&studio, &context.itest)?;
    let recorder = studio.record(context, &["--alerts", "--config", &as_text])?;
    calls(&studio, &context.itest)?;
    studio.workload(context, &["processes", "--count", "20", "--marker", "m"])?;
    studio.workload(context, &["connections", "--count", "20"])?;
    telling_process(&studio, &context.itest)?;
    container(&studio, &runtime, &recorder.lines)?;
    drop(held);
    let (capture, lines) = (recorder.capture.clone(), recorder.lines.clone());
    let ended = recorder.terminate()?;
    ensure!(ended.status.success(), "the recorder ended with {}", ended.status);

    let live = bytes(&lines)?;
    let again = replayed(context, &capture, &["--output", "json", "--config", &as_text])?;
    if let Some(line) = first_difference(&live, &again) {
        bail!("the replay differs: {line}");
    }
    let alerts = alerts_in(&live)?;
    holds_what_is_compared(&alerts)?;

    // Alerts alone, as text: what their JSON says that the text is.
    let text = replayed(context, &capture, &["--output", "none", "--config", &as_text])?;
    let told: String = alerts
        .iter()
        .filter_map(|alert| alert["output"].as_str())
        .map(|line| line.to_owned() + "\n")
        .collect();
    if let Some(line) = first_difference(told.as_bytes(), &text) {
        bail!("as text the replay differs: {line}");
    }
    // The time of day in place of the date: the same alerts, whose other lines are the same.
    let other = alerts_in(&replayed(context, &capture, &["--output", "json", "--config", &as_json])?)?;
    ensure!(
        other.len() == alerts.len(),
        "{} alerts, {} with another form of time",
        alerts.len(),
        other.len()
    );
    Ok(())
}

fn replayed(context: &Context, capture: &Path, more: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = replay(context, capture, more)?;
    ensure!(output.status.success(), "replay: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// Every field that an alert can have: those with a number are asked for one, those of a name for none.
fn every_field(context: &Context) -> anyhow::Result<Vec<String>> {
    // What stands for several values at once is only compared.
    let output = Command::new(&context.agent).args(["fields", "--json"]).output()?;
    let listed = String::from_utf8(output.stdout)?;
    let mut fields = Vec::new();
    for line in listed.lines() {
        let field: Value = serde_json::from_str(line)?;
        let name = field["name"].as_str().context("a name")?.to_owned();
        match field["argument"].as_str() {
            _ if field["printed"] == false => {}
            None => fields.push(name),
            Some("[N]?") => fields.extend([format!("{name}[1]"), name]),
            Some(_) => {}
        }
    }
    ensure!(fields.len() > 180, "only {} fields", fields.len());
    Ok(fields)
}

/// System calls on files and sockets, some of which fail, and one that changes who makes the next.
fn calls(studio: &Studio, program: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut caller = Caller::start(itest(program, studio.cgroup.path(), &["workload", "calls"])?)?;
    let connect = format!("connect @tcp inet:{} 16", listener.local_addr()?);
    for line in [
        "openat -100 \"/proc//./version\" 0x80000",
        "dir=openat -100 \"/proc/\" 0x10000",
        "openat @dir \"../proc/nothing-here\" 0o1",
        "unlinkat @dir \"nothing-here\" 0x200",
        "symlinkat \"/proc/version\" -100 \"/nowhere/a\"",
        "memfd_create \"payload\" 1",
        "dup @dir",
        "tcp=socket 2 1 0",
        &connect,
        "sendto @tcp \"hello\" 5 0 0 0",
        "ptrace 16 -1 0 0",
        "setuid 1234",
        "openat -100 \"/proc/version\" 0",
    ] {
        caller.call(line)?;
    }
    Ok(())
}

/// A container that its runtime says something of, with users of its own; returns once that has been told.
fn container(studio: &Studio, runtime: &Runtime, lines: &Path) -> anyhow::Result<()> {
    let (name, sandbox) = (id(0), id(9));
    let group = studio.cgroup.path().join(in_pod(&name));
    let container = runtime.changed(Shape::default(), &name, &group, &["sleep", "1000"], |spec| {
        spec["process"]["user"] = json!({ "uid": UID, "gid": UID });
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-name": "web",
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.image-name": "registry.example/shop/web:1.2",
            "io.kubernetes.cri.sandbox-id": sandbox,
            "io.kubernetes.cri.sandbox-name": "web-0",
            "io.kubernetes.cri.sandbox-namespace": "shop",
        });
    })?;
    container.write("/etc/passwd", &format!("ada:x:{UID}:{UID}:Somebody:/home/ada:/bin/sh\n"))?;
    container.write("/etc/group", &format!("adas:x:{UID}:\n"))?;
    container.start()?;
    let end = Instant::now() + ARRIVAL;
    let is_told = |alert: &Value| {
        let fields = &alert["output_fields"];
        alert["rule"] == "program" && fields["user.name"] == "ada" && fields["container.name"] == "web"
    };
    while !alerts_in(&bytes(lines)?)?.iter().any(is_told) {
        ensure!(Instant::now() < end, "the container was not told of in {ARRIVAL:?}");
        let ran = container.exec(&["/bin/true"])?;
        ensure!(ran.code == Some(0), "true ended with {:?}", ran.code);
    }
    Ok(())
}

/// Of whole lines, those that are alerts.
fn alerts_in(lines: &[u8]) -> anyhow::Result<Vec<Value>> {
    let whole = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = str::from_utf8(&lines[..whole])?.lines();
    let lines: Vec<Value> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(lines.into_iter().filter(|line| line["rule"].is_string()).collect())
}

/// An error unless the alerts have values of every kind: a comparison of nothing proves nothing.
fn holds_what_is_compared(alerts: &[Value]) -> anyhow::Result<()> {
    for (rule, field, value) in [
        ("call", "fd.name", json!("/proc/version")),
        ("call", "fd.sip", json!("127.0.0.1")),
        ("call", "evt.type", json!("accept4")),
        ("call", "evt.res", json!("ENOENT")),
        ("call", "user.uid", json!(UID)),
        ("program", "user.name", json!("root")),
        ("program", "group.name", json!("adas")),
        ("program", "container.image", json!("registry.example/shop/web:1.2")),
        ("program", "k8s.pod.name", json!("web-0")),
        ("end", "evt.type", json!("procexit")),
    ] {
        let has = |alert: &&Value| alert["rule"] == rule && alert["output_fields"][field] == value;
        ensure!(alerts.iter().any(|alert| has(&alert)), "no alert of {rule} has {value} as {field}");
    }
    let has_line = |alert: &Value| {
        let fields = &alert["output_fields"];
        fields["proc.aname[1]"].is_string() && fields["proc.acmdline[1]"].is_string()
    };
    ensure!(alerts.iter().any(has_line), "nobody has a parent");
    let text = alerts.iter().map(Value::to_string).collect::<String>();
    ensure!(text.contains("[REDACTED]") && !text.contains("hunter2"), "redaction in the alerts");
    Ok(())
}
