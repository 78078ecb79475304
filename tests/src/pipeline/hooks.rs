//! By whichever hook a sensor attaches, it tells the same. `hooks.avoid` brings each one to the front.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{SCENE, budget};
use crate::harness::scene::{ARRIVAL, Scene};
use crate::harness::{names, pair};
use crate::runner::{Context, Need, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "hooks/exit_by_fentry", needs: GUEST, run: |context| exit_by(context, 0) },
    Test { name: "hooks/exit_by_tp_btf", needs: SCENE, run: |context| exit_by(context, 1) },
    Test { name: "hooks/exit_by_raw_tp", needs: SCENE, run: |context| exit_by(context, 2) },
    Test { name: "hooks/exit_by_kprobe", needs: GUEST, run: |context| exit_by(context, 3) },
    Test { name: "hooks/every_sensor_names_its_own", needs: SCENE, run: every_sensor },
];

/// What a machine that is not ours allows is its own business: function entries are tested in guests.
const GUEST: &[Need] = &[Need::Cgroup2, Need::Guest];

/// The hooks of the exit sensor, best first: kind, hook, and whether it is told which thread is the last.
const EXIT: [(&str, &str, bool); 4] = [
    ("fentry", "fentry/taskstats_exit", true),
    ("tp_btf", "tp_btf/sched_process_exit", false),
    ("raw_tp", "raw_tp/sched_process_exit", false),
    ("kprobe", "kprobe/taskstats_exit", true),
];
const HOOK: &str = "tarsier_sensor_hook";
/// Processes of each kind.
const COUNT: usize = 20;
/// Threads of a process whose threads all end at once.
const THREADS: &str = "8";

fn exit_by(context: &Context, index: usize) -> anyhow::Result<()> {
    let (_, hook, is_told) = EXIT[index];
    let avoid: Vec<_> = EXIT[..index].iter().map(|(kind, ..)| *kind).collect();
    let config = format!("hooks: {{avoid: [{}]}}\n", avoid.join(", "));
    let scene = Scene::configured(context, "hook", &config)?;
    let ledger = scene.agent.ledger()?;
    let used = |labels: &[(&str, &str)]| ledger.sum(HOOK, labels);
    ensure!(
        used(&[("sensor", "exit"), ("hook", hook)])? == 1.0 && used(&[("sensor", "exit")])? == 1.0,
        "the exit sensor is not attached by {hook} alone:\n{ledger}"
    );
    budget::within(context, &ledger)?;

    let mut ends = Vec::new();
    for line in scene.workload(&["processes", "--count", &COUNT.to_string(), "--marker", "hook"])? {
        let parent = line["parent"].as_i64().context("a parent")?;
        ends.push(End { pid: pair::pid(&line)?, parent, code: line["exit"].as_i64(), signal: None });
    }
    let parent = i64::from(std::process::id());
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        let (pid, _) = scene.run(child(context, &["--signal", &signal.to_string()]))?;
        ends.push(End { pid, parent, code: None, signal: Some(i64::from(signal)) });
    }
    for _ in 0..COUNT {
        let (pid, status) = scene.run(child(context, &["--exit", "9", "--threads", THREADS]))?;
        // Whose code is the process's, the leader's or that of the thread that happened to be the last,
        // differs between kernels: what `wait` says is right.
        ends.push(End { pid, parent, code: status.code().map(i64::from), signal: None });
    }
    ends.iter().try_for_each(|end| end.is_told(&scene))?;
    let ledger =
        scene.agent.wait_ledger("balanced ledger", ARRIVAL, |ledger| ledger.nothing_lost().map(|()| true))?;
    let repeated = ledger.sum("tarsier_process_anomalies_total", &[("kind", "repeated_exit")])?;
    ensure!(!is_told || repeated == 0.0, "{repeated} processes ended twice, though the hook tells");
    Ok(())
}

/// How a process ended.
#[derive(Debug)]
struct End {
    pid: u32,
    parent: i64,
    code: Option<i64>,
    signal: Option<i64>,
}

impl End {
    /// An error unless it is told once, and so.
    fn is_told(&self, scene: &Scene) -> anyhow::Result<()> {
        let what = format!("end of {}", self.pid);
        let log = scene.receiver.wait(&what, ARRIVAL, |seen| seen.event(names::EXIT, self.pid).cloned())?;
        let found = log.attributes();
        let told = (found.int(names::PARENT_PID), found.int(names::EXIT_CODE), found.int(names::EXIT_SIGNAL));
        ensure!(told == (Some(self.parent), self.code, self.signal), "{self:?} is told as {told:?}");
        Ok(())
    }
}

fn child(context: &Context, arguments: &[&str]) -> Command {
    let mut command = Command::new(&context.itest);
    command.arg("child").args(arguments);
    command
}

/// Whichever they are here: as many as a sensor has things to listen to, and doctor says the same.
fn every_sensor(context: &Context) -> anyhow::Result<()> {
    let doctor = Command::new(&context.agent).args(["doctor", "--output", "json"]).output()?;
    let report: Value = serde_json::from_slice(&doctor.stdout).context("doctor's report")?;
    // The sensor of system calls is on where a rule asks for one.
    let files = tempfile::tempdir()?;
    let rules = files.path().join("rules.yaml");
    std::fs::write(
        &rules,
        "- rule: opened\n  desc: A rule.\n  condition: evt.type = openat\n  output: opened\n  priority: NOTICE\n",
    )?;
    let config = format!("rules: {{ files: [{}] }}\n", rules.display());
    let scene = Scene::configured(context, "hook", &config)?;
    let ledger = scene.agent.ledger()?;
    for sensor in tarsier_abi::Sensor::ALL {
        let mut named = 0.0;
        let mut hooks = Vec::new();
        for entry in sensor.attach().iter().flat_map(|attach| attach.entries) {
            let hook = entry.hook.to_string();
            if ledger.sum(HOOK, &[("sensor", sensor.name()), ("hook", &hook)])? == 1.0 {
                named += 1.0;
                hooks.push(hook);
            }
        }
        let name = format!("sensor {}", sensor.name());
        let checks = report["checks"].as_array().context("checks")?;
        let check = checks.iter().find(|check| check["name"] == name.as_str());
        let detail = check.and_then(|check| check["detail"].as_str()).unwrap_or_default();
        if sensor == tarsier_abi::Sensor::IoUring && detail.starts_with("off: needs ") {
            ensure!(named == 0.0, "{} is off and names {named} hooks", sensor.name());
            continue;
        }
        let said = detail.strip_prefix("by ").and_then(|detail| detail.split("; ").next());
        ensure!(said == Some(&hooks.join(", ")), "doctor says of {name}: {detail}");
        context.note("hooks", json!({ sensor.name(): hooks }));
        let points = sensor.attach().len() as f64;
        ensure!(named == points, "{} names {named} hooks of {points}:\n{ledger}", sensor.name());
    }
    Ok(())
}
