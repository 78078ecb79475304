//! Rules that are changed while events come: what the old set and the new one ask for is told once each, without a gap.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{SCENE, SCENE_HERE};
use crate::harness::agent::FLUSH_DEADLINE;
use crate::harness::alerts::{Alerts, BARRIER, Caller};
use crate::harness::cgroup::Cgroup;
use crate::harness::ledger::Ledger;
use crate::harness::scene::ARRIVAL;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test {
        name: "reload/nothing_is_missed_or_told_twice",
        needs: SCENE,
        run: nothing_is_missed_or_told_twice,
    },
    Test {
        name: "reload/what_cannot_be_loaded_changes_nothing",
        needs: SCENE_HERE,
        run: what_cannot_be_loaded,
    },
    Test { name: "reload/a_config_map_is_swapped", needs: SCENE_HERE, run: a_config_map_is_swapped },
    Test { name: "reload/the_first_system_call", needs: SCENE, run: the_first_system_call },
    Test {
        name: "reload/no_alert_is_lost_over_channels",
        needs: SCENE_HERE,
        run: no_alert_is_lost_over_channels,
    },
    Test {
        name: "reload/what_is_wrong_or_cannot_change",
        needs: SCENE_HERE,
        run: what_is_wrong_or_cannot_change,
    },
];

const RELOADS: &str = "tarsier_rule_reloads_total";

fn rule(name: &str, condition: &str) -> String {
    format!(
        "- rule: {name}\n  desc: d\n  condition: {condition}\n  output: '%evt.arg.path'\n  priority: WARNING\n"
    )
}

/// Puts another file in the place of one, as editors do.
fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    Ok(fs::rename(&new, path)?)
}

/// How often rules were loaded anew, or failed to be.
fn reloads(ledger: &Ledger, outcome: &str) -> anyhow::Result<u64> {
    ledger.count(RELOADS, &[("outcome", outcome)])
}

fn wait_reloads(scene: &Alerts, outcome: &str, count: u64) -> anyhow::Result<Ledger> {
    let what = format!("{outcome} reload number {count}");
    scene.agent.wait_ledger(&what, ARRIVAL, |ledger| Ok(reloads(ledger, outcome)? >= count))
}

/// Makes one call after the other, each with its number in its path, until `is_done`; how many there were.
fn calls_until(
    caller: &mut Caller,
    from: usize,
    mut is_done: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<usize> {
    let mut number = from;
    loop {
        for _ in 0..50 {
            caller.call(&format!("mkdirat -100 \"/nowhere/{number}\" 0"))?;
            number += 1;
        }
        if is_done()? {
            return Ok(number);
        }
        if number > 1_000_000 {
            bail!("it has not happened after {number} calls");
        }
    }
}

fn nothing_is_missed_or_told_twice(context: &Context) -> anyhow::Result<()> {
    let kept = rule("kept", "evt.type = mkdirat and evt.arg.path startswith /nowhere/");
    // The filter of the call is another in each set, so the kernel's side changes too.
    let old = rule("old", "evt.type = mkdirat and evt.arg.path endswith 7");
    let new = rule("new", "evt.type in (mkdirat, unlinkat) and evt.arg.path endswith 3");
    let sets = [format!("{kept}{old}{BARRIER}"), format!("{new}{BARRIER}{kept}")];
    let mut scene = Alerts::new(context, "reload", &sets[0])?;
    let path = scene.files.path().join("rules.yaml");
    let mut caller = scene.caller()?;
    let mut made = 0;
    for round in 1..=4 {
        put(&path, &sets[round % 2])?;
        made = calls_until(&mut caller, made, || {
            Ok(reloads(&scene.agent.ledger()?, "loaded")? >= u64::try_from(round)?)
        })?;
        scene.settle(&mut caller)?;
    }
    let told: Vec<_> = scene.of("kept").iter().map(|alert| message(alert)).collect();
    let expected: Vec<_> = (0..made).map(|number| format!("/nowhere/{number}")).collect();
    ensure!(told == expected, "{} of {made} calls were told: {told:?}", told.len());
    for (name, end) in [("old", '7'), ("new", '3')] {
        let told: Vec<_> = scene.of(name).iter().map(|alert| message(alert)).collect();
        let mut once = told.clone();
        once.dedup();
        ensure!(!told.is_empty() && once == told, "{name} told {told:?}");
        ensure!(told.iter().all(|path| path.ends_with(end)), "{name} told {told:?}");
    }
    let ledger = scene.agent.ledger()?;
    let matches = ledger.count("tarsier_rule_matches_total", &[("rule", "kept")])?;
    ensure!(matches == u64::try_from(made)?, "{matches} matches are counted of {made}");
    ensure!(reloads(&ledger, "failed")? == 0, "a reload failed");
    let rule = [("rule_name", "kept"), ("priority", "4"), ("source", "syscall")];
    let matches = ledger.count("falcosecurity_falco_rules_matches_total", &rule)?;
    ensure!(matches == u64::try_from(made)?, "{matches} matches are counted under Falco's name");
    let files =
        ledger.count("falcosecurity_falco_sha256_rules_files_info", &[("file_name", "rules.yaml")])?;
    ensure!(files == 1, "{files} files of rules are told");
    ensure!(ledger.count("falcosecurity_scap_n_evts_total", &[])? >= matches, "fewer events than matches");
    Ok(())
}

/// What an alert says, without what stands before it.
fn message(alert: &serde_json::Value) -> String {
    let output = alert["output"].as_str().unwrap_or_default();
    output.rsplit(' ').next().unwrap_or_default().to_owned()
}

fn what_cannot_be_loaded(context: &Context) -> anyhow::Result<()> {
    let first = rule("first", "evt.type = mkdirat") + BARRIER;
    let mut scene = Alerts::new(context, "reload", &first)?;
    let path = scene.files.path().join("rules.yaml");
    let mut caller = scene.caller()?;
    let mut told = 0;
    let mut still_tells = |scene: &mut Alerts, rule: &str| {
        caller.call("mkdirat -100 \"/nowhere/x\" 0")?;
        scene.settle(&mut caller)?;
        told += 1;
        let seen = scene.of(rule).len();
        ensure!(seen == told, "{seen} alerts after {told} calls");
        Ok(())
    };
    put(&path, "- rule: [")?;
    wait_reloads(&scene, "failed", 1)?;
    still_tells(&mut scene, "first")?;
    fs::remove_file(&path)?;
    wait_reloads(&scene, "failed", 2)?;
    still_tells(&mut scene, "first")?;
    // A mistake in one rule costs that rule only.
    put(&path, &format!("{first}{}", rule("broken", "evt.type =")))?;
    let ledger = wait_reloads(&scene, "loaded", 1)?;
    still_tells(&mut scene, "first")?;
    let running = ledger.count("tarsier_rules_running", &[])?;
    ensure!(running == 2, "{running} rules run");
    // Nothing has changed, but it is asked for.
    let pid = Pid::from_raw(scene.agent.pid().cast_signed()).context("a process id")?;
    kill_process(pid, Signal::HUP)?;
    let ledger = wait_reloads(&scene, "loaded", 2)?;
    still_tells(&mut scene, "first")?;
    ensure!(reloads(&ledger, "failed")? == 2, "a further reload failed");
    Ok(())
}

fn a_config_map_is_swapped(context: &Context) -> anyhow::Result<()> {
    let files = tempfile::tempdir()?;
    let at = |name: &str| files.path().join(name);
    for (version, name) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(at(version))?;
        fs::write(at(version).join("rules.yaml"), rule(name, "evt.type = mkdirat") + BARRIER)?;
    }
    symlink("..1", at("..data"))?;
    symlink("..data/rules.yaml", at("rules.yaml"))?;
    let path = files.path().to_owned();
    let mut scene = Alerts::of_files(context, Cgroup::new("reload")?, &path, files)?;
    let mut caller = scene.caller()?;
    for (name, to) in [("one", "..2"), ("two", "")] {
        caller.call("mkdirat -100 \"/nowhere/x\" 0")?;
        scene.settle(&mut caller)?;
        ensure!(scene.of(name).len() == 1, "{name}: {:#?}", scene.seen);
        if !to.is_empty() {
            symlink(to, path.join("..data_tmp"))?;
            fs::rename(path.join("..data_tmp"), path.join("..data"))?;
            wait_reloads(&scene, "loaded", 1)?;
        }
    }
    Ok(())
}

fn the_first_system_call(context: &Context) -> anyhow::Result<()> {
    let attached = |ledger: &Ledger| ledger.count("tarsier_sensor_attached", &[("sensor", "syscall")]);
    let idle = rule("ended", "evt.type = procexit");
    let mut scene = Alerts::new(context, "reload", &idle)?;
    let path = scene.files.path().join("rules.yaml");
    ensure!(attached(&scene.agent.ledger()?)? == 0, "the sensor is attached, and no rule needs it");
    let mut caller = scene.caller()?;
    for round in 1..=2 {
        put(&path, &(rule("made", "evt.type = mkdirat") + BARRIER))?;
        let ledger = wait_reloads(&scene, "loaded", 2 * round - 1)?;
        ensure!(attached(&ledger)? == 1, "the sensor is not attached");
        caller.call("mkdirat -100 \"/nowhere/x\" 0")?;
        scene.settle(&mut caller)?;
        let told = scene.of("made").len();
        ensure!(u64::try_from(told)? == round, "{told} alerts after {round} calls");
        put(&path, &idle)?;
        let ledger = wait_reloads(&scene, "loaded", 2 * round)?;
        ensure!(attached(&ledger)? == 0, "the sensor is still attached");
    }
    Ok(())
}

/// A configuration with these rules, and alerts in the file of this name beside them; `more` are further options of the alerts.
fn config(scene: &Alerts, file: &str, more: &str) -> String {
    let folder = scene.files.path().display();
    format!(
        "rules: {{ files: [{folder}/rules.yaml] }}
alerts:
  json_output: true
  file_output: {{ enabled: true, filename: {folder}/{file}, keep_alive: true }}
{more}"
    )
}

fn no_alert_is_lost_over_channels(context: &Context) -> anyhow::Result<()> {
    let kept = rule("kept", "evt.type = mkdirat and evt.arg.path startswith /nowhere/");
    let mut scene = Alerts::new(context, "reload", &(kept + BARRIER))?;
    let mut caller = scene.caller()?;
    // Before the first change there is no such channel; with each one its file is another, and a field comes or goes.
    let plain = "  append_output: []\n";
    let extra = "  append_output: [{ extra_fields: [evt.type] }]\n";
    scene.agent.configure(&config(&scene, "even", plain))?;
    wait_reloads(&scene, "loaded", 1)?;
    let mut made = 0;
    for round in 2..=5 {
        let (file, more) = if round % 2 == 0 { ("odd", extra) } else { ("even", plain) };
        scene.agent.configure(&config(&scene, file, more))?;
        made = calls_until(&mut caller, made, || Ok(reloads(&scene.agent.ledger()?, "loaded")? >= round))?;
        scene.settle(&mut caller)?;
    }
    let expected: Vec<_> = (0..made).map(|number| format!("/nowhere/{number}")).collect();
    let kept = scene.of("kept");
    let told: Vec<_> = kept.iter().map(|alert| message(alert)).collect();
    ensure!(told == expected, "{} of {made} calls were told, in order or not", told.len());
    let has_field = |alert: &&&serde_json::Value| alert["output_fields"].get("evt.type").is_some();
    let with = kept.iter().filter(has_field).count();
    ensure!(with > 0 && with < made, "{with} of {made} alerts have the field that came and went");
    let files = scene.files.path().to_owned();
    let folder = scene.files;
    // Whatever a channel took is in its file once the agent has ended.
    let ended = scene.agent.terminate(FLUSH_DEADLINE)?;
    ensure!(ended.status.success(), "it ended with {}", ended.status);
    // Four barriers, and a summary of all that was told over all sets.
    context.log.wait(&format!(" and {} alerts of 2 rules", made + 4), ARRIVAL)?;
    let mut written = Vec::new();
    for name in ["even", "odd"] {
        let text = fs::read_to_string(files.join(name))?;
        ensure!(!text.is_empty(), "the file {name} is empty");
        let alerts = text.lines().map(serde_json::from_str::<serde_json::Value>);
        for alert in alerts.collect::<Result<Vec<_>, _>>()?.iter().filter(|alert| alert["rule"] == "kept") {
            let path = message(alert);
            written.push(path.strip_prefix("/nowhere/").unwrap_or_default().parse::<usize>()?);
        }
    }
    drop(folder);
    written.sort_unstable();
    let all: Vec<_> = (0..made).collect();
    ensure!(written == all, "{} alerts of {made} are in the files", written.len());
    Ok(())
}

fn what_is_wrong_or_cannot_change(context: &Context) -> anyhow::Result<()> {
    let rules = rule("loud", "evt.type = mkdirat") + &rule("quiet", "evt.type = mkdirat") + BARRIER;
    let mut scene = Alerts::new(context, "reload", &rules)?;
    let mut caller = scene.caller()?;
    let mut told = [0, 0];
    let mut tells = |scene: &mut Alerts, is_on: [bool; 2]| {
        caller.call("mkdirat -100 \"/nowhere/x\" 0")?;
        scene.settle(&mut caller)?;
        for (place, rule) in ["loud", "quiet"].into_iter().enumerate() {
            told[place] += usize::from(is_on[place]);
            let seen = scene.of(rule).len();
            ensure!(seen == told[place], "{rule}: {seen} alerts, not {}", told[place]);
        }
        Ok(())
    };
    tells(&mut scene, [true, true])?;
    let folder = scene.files.path().display().to_string();
    let selected = |more: &str| {
        format!(
            "rules: {{ files: [{folder}/rules.yaml], select: [disable: {{ rule: quiet }}] }}
alerts: {{ json_output: true, append_output: [] }}
{more}"
        )
    };
    // A mistake anywhere, and nothing of it holds.
    scene.agent.configure(&selected("flows: { intervall: 1s }\n"))?;
    wait_reloads(&scene, "failed", 1)?;
    tells(&mut scene, [true, true])?;
    context.log.wait("tarsier.yaml:4:10: flows.intervall: ", ARRIVAL)?;
    // What cannot change is named; the rest does.
    scene.agent.configure(&selected("flows: { interval: 30s }\n"))?;
    wait_reloads(&scene, "loaded", 1)?;
    tells(&mut scene, [true, false])?;
    context.log.wait("option=\"flows.interval\"", ARRIVAL)?;
    // A further look, and the same is told again when it is asked for.
    let pid = Pid::from_raw(scene.agent.pid().cast_signed()).context("a process id")?;
    kill_process(pid, Signal::HUP)?;
    wait_reloads(&scene, "loaded", 2)?;
    tells(&mut scene, [true, false])?;
    ensure!(reloads(&scene.agent.ledger()?, "failed")? == 1, "a further reload failed");
    Ok(())
}
