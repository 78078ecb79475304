//! What no record says and rules ask for: what the runtime has of a container, and whom its users are.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{RUNC, id, in_pod};
use crate::harness::alerts::Alerts;
use crate::harness::cgroup::{self, Cgroup};
use crate::harness::runc::{ITEST, PidNamespace, Runtime, Shape, kill};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "lookups/say_what_the_runtime_has", needs: RUNC, run: runtime_facts },
    Test { name: "lookups/a_short_life_is_looked_up", needs: RUNC, run: short_lives },
    Test { name: "lookups/users_are_the_containers_own", needs: RUNC, run: users },
    Test { name: "lookups/a_new_user_is_seen", needs: RUNC, run: a_new_user },
];

/// Conditions that cannot be decided without what has to be looked up.
const RULES: &str = "
- macro: program
  condition: evt.type = execve and proc.name = true
- rule: container
  desc: a program in a container
  condition: program and container.id != host and container.privileged exists
  output: >
    %container.full_id %container.name %container.privileged %container.image %container.image.repository
    %container.image.tag %container.mounts %container.start_ts %container.host_pid %container.host_network
    %k8s.pod.name %k8s.ns.name %k8s.pod.sandbox_id
  priority: DEBUG
- rule: user
  desc: somebody runs a program
  condition: program and user.name != nobody-has-this-name
  output: \"%container.id %container.full_id %user.uid %user.name %user.homedir %user.shell %group.name\"
  priority: DEBUG
";

/// Somebody with the number 1234, who has another name in each container and none on the host.
const UID: u32 = 1234;

/// runc, and an agent that knows where it keeps its state.
fn set_up(context: &Context, stem: &str) -> anyhow::Result<(Alerts, Runtime)> {
    let files = tempfile::tempdir()?;
    let path = files.path().join("rules.yaml");
    fs::write(&path, RULES)?;
    let runtime = Runtime::new(context)?;
    let (runc, bundles) = (runtime.state().display(), bundles(&files));
    fs::create_dir_all(bundles.join("test"))?;
    let sections = format!("host: {{ runc: [{runc}], containerd: [{}] }}\n", bundles.display());
    let alerts = Alerts::configured(context, Cgroup::new(stem)?, &path, files, &[], &sections)?;
    Ok((alerts, runtime))
}

/// Where the agent looks for bundles as containerd keeps them.
fn bundles(files: &TempDir) -> PathBuf {
    files.path().join("bundles")
}

/// What a rule tells of a container.
fn told(alerts: &mut Alerts, rule: &str, id: &str) -> anyhow::Result<Value> {
    let is = |alert: &Value| alert["rule"] == rule && alert["output_fields"]["container.full_id"] == id;
    Ok(alerts.wait(rule, is)?["output_fields"].clone())
}

/// Every event that had to wait was decided with its answer.
fn nothing_was_late(alerts: &Alerts) -> anyhow::Result<()> {
    let ledger = alerts.agent.ledger()?;
    let count = |outcome| ledger.count("tarsier_lookup_events_total", &[("outcome", outcome)]);
    let (answered, late, no_room) = (count("answered")?, count("late")?, count("no_room")?);
    ensure!(answered > 0 && late + no_room == 0, "answered {answered}, late {late}, no room {no_room}");
    Ok(())
}

/// Every field is as expected.
fn compare(fields: &Value, expected: &Value) -> anyhow::Result<()> {
    for (field, expected) in expected.as_object().context("an object")? {
        ensure!(fields[field] == *expected, "{field} is not {expected}: {fields:#}");
    }
    Ok(())
}

/// A program that the rules look at, in a container that lives until it is killed: its runtime knows it as long.
const LIVES_ON: &[&str] = &["sh", "-c", "/bin/true; sleep 1000"];

/// What a privileged container has here, as far as the agent asks: of all capabilities of Linux 3.16, by number
/// (linux/capability.h), those that the first process can hand on.
fn all_capabilities() -> anyhow::Result<Vec<String>> {
    let names = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE \
        NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT \
        SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE \
        AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ";
    let status = fs::read_to_string("/proc/1/status")?;
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).context("no CapBnd")?;
    let bounding = u64::from_str_radix(bounding.trim(), 16)?;
    let there = names.split_whitespace().enumerate().filter(|(number, _)| bounding & 1 << number != 0);
    Ok(there.map(|(_, name)| format!("CAP_{name}")).collect())
}

fn runtime_facts(context: &Context) -> anyhow::Result<()> {
    let (mut alerts, runtime) = set_up(context, "lookups")?;
    let began_ns = unix_ns()?;
    let (plain, open) = (id(0), id(1));
    let annotations = json!({
        "io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.image-name": "registry.example:5000/shop/web:1.2",
        "io.kubernetes.cri.sandbox-id": id(9),
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-namespace": "shop",
    });
    let all = all_capabilities()?;
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    for (id, pid, capabilities) in
        [(&plain, PidNamespace::Own, &all[1..]), (&open, PidNamespace::Host, &all[..])]
    {
        let group = alerts.cgroup.path().join(in_pod(id));
        let shape = Shape { pid, capabilities };
        let container = runtime.changed(shape, id, &group, LIVES_ON, |spec| {
            if *id == open {
                spec["annotations"] = annotations.clone();
            }
        })?;
        let first = container.start()?;
        told(&mut alerts, "container", id)?;
        kill(first)?;
    }
    let mount = format!("{}:{ITEST}::false:private", context.itest.display());
    let cases = [
        (
            plain.as_str(),
            json!({
                "container.name": plain, "container.privileged": false, "container.image": null,
                "container.mounts": mount, "container.host_pid": false, "container.host_network": false,
                "k8s.pod.name": null,
            }),
        ),
        (
            open.as_str(),
            json!({
                "container.name": "web", "container.privileged": true,
                "container.image": "registry.example:5000/shop/web:1.2",
                "container.image.repository": "registry.example:5000/shop/web", "container.image.tag": "1.2",
                "container.mounts": mount, "container.host_pid": true, "container.host_network": false,
                "k8s.pod.name": "web-0", "k8s.ns.name": "shop", "k8s.pod.sandbox_id": id(9)[..12],
            }),
        ),
    ];
    for (id, expected) in cases {
        let fields = told(&mut alerts, "container", id)?;
        compare(&fields, &expected)?;
        let started = fields["container.start_ts"].as_u64().context("a time")?;
        ensure!((began_ns..=unix_ns()?).contains(&started), "started at {started}");
    }
    nothing_was_late(&alerts)
}

/// Containers that are gone after one program, and all that the runtime has of them a moment later, as with containerd: it makes
/// the bundle before, and removes it behind the container.
fn short_lives(context: &Context) -> anyhow::Result<()> {
    let (mut alerts, runtime) = set_up(context, "brief")?;
    let namespace = bundles(&alerts.files).join("test");
    let mut lives = Vec::new();
    for number in 0..context.many(20) {
        let id = id(number);
        let group = alerts.cgroup.path().join(in_pod(&id));
        let image = format!("registry.example/brief:{number}");
        let container = runtime.changed(Shape::default(), &id, &group, &["/bin/true"], |spec| {
            spec["annotations"] = json!({ "io.kubernetes.cri.image-name": image });
        })?;
        let link = namespace.join(&id);
        symlink(container.bundle(), &link)?;
        let began = Instant::now();
        let ran = container.run()?;
        fs::remove_file(link)?;
        lives.push(u64::try_from(began.elapsed().as_millis())?);
        ensure!(ran.code == Some(0), "true ended with {:?}", ran.code);
        compare(&told(&mut alerts, "container", &id)?, &json!({ "container.image": image }))?;
    }
    lives.sort_unstable();
    context.note(
        "brief_containers",
        json!({ "median_life_ms": lives[lives.len() / 2], "shortest_ms": lives[0] }),
    );
    nothing_was_late(&alerts)
}

/// Somebody of the host, and the same number in containers.
fn users(context: &Context) -> anyhow::Result<()> {
    let (mut alerts, runtime) = set_up(context, "users")?;
    let mut command = Command::new("true");
    command.uid(UID).gid(UID);
    cgroup::enter(&mut command, alerts.cgroup.path())?;
    ensure!(command.status()?.success(), "true failed");
    let of_host = |alert: &Value| alert["rule"] == "user" && alert["output_fields"]["container.id"] == "host";
    let fields = alerts.wait("a user of the host", of_host)?["output_fields"].clone();
    compare(&fields, &json!({ "user.uid": UID, "user.name": "<NA>", "user.homedir": null }))?;
    // The last one has a user namespace, in which every number is another one.
    for (number, (name, moved_by)) in [("ada", 0), ("bea", 0), ("cleo", 100_000)].into_iter().enumerate() {
        let id = id(number);
        let group = alerts.cgroup.path().join(in_pod(&id));
        let container = runtime.changed(Shape::default(), &id, &group, LIVES_ON, |spec| {
            spec["process"]["user"] = json!({ "uid": UID, "gid": UID });
            if moved_by > 0 {
                let map = json!([{ "containerID": 0, "hostID": moved_by, "size": 65_536 }]);
                (spec["linux"]["uidMappings"], spec["linux"]["gidMappings"]) = (map.clone(), map);
                let list = |value: &mut Value, change: fn(&mut Vec<Value>)| value.as_array_mut().map(change);
                list(&mut spec["linux"]["namespaces"], |all| all.push(json!({ "type": "user" })));
                // Its root may not write to the layer, where a place for this one would have to be made.
                list(&mut spec["mounts"], |all| all.retain(|mount| mount["destination"] != ITEST));
            }
        })?;
        let passwd =
            format!("root:x:0:0::/root:/bin/sh\n{name}:x:{UID}:{UID}:Somebody:/home/{name}:/bin/{name}sh\n");
        container.write("/etc/passwd", &passwd)?;
        container.write("/etc/group", &format!("{name}s:x:{UID}:\n"))?;
        // Its root is somebody else outside, who has to come through.
        fs::set_permissions(container.bundle(), Permissions::from_mode(0o755))?;
        let first = container.start()?;
        let fields = told(&mut alerts, "user", &id)?;
        kill(first)?;
        let expected = json!({
            "user.uid": UID + moved_by, "user.name": name, "user.homedir": format!("/home/{name}"),
            "user.shell": format!("/bin/{name}sh"), "group.name": format!("{name}s"),
        });
        compare(&fields, &expected)?;
    }
    nothing_was_late(&alerts)
}

/// A container that gets a file of users while it runs.
fn a_new_user(context: &Context) -> anyhow::Result<()> {
    let (mut alerts, runtime) = set_up(context, "newuser")?;
    let id = id(0);
    let group = alerts.cgroup.path().join(in_pod(&id));
    let again = ["sh", "-c", "while /bin/true; do usleep 100000; done"];
    let container = runtime.container(&id, &group, &again)?;
    container.write("/etc/shadow", "")?;
    let first = container.start()?;
    let fields = told(&mut alerts, "user", &id)?;
    compare(&fields, &json!({ "user.name": "root", "user.homedir": null }))?;
    let line = "admin:x:0:0::/home/admin:/bin/sh";
    let made = container.exec(&["sh", "-c", &format!("echo {line} > /etc/new; mv /etc/new /etc/passwd")])?;
    ensure!(made.code == Some(0), "the file was not made: {made:?}");
    let is_new = |alert: &Value| alert["output_fields"]["user.name"] == "admin";
    let fields = alerts.wait("the new name", is_new)?["output_fields"].clone();
    kill(first)?;
    compare(&fields, &json!({ "container.full_id": id, "user.homedir": "/home/admin" }))
}

fn unix_ns() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}
