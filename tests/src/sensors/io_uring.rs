//! Requests of io_uring: told as the calls that do the same, whoever runs them and however they complete.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::SCENE;
use crate::harness::alerts::{Alerts, BARRIER, Caller};
use crate::harness::ledger;
use crate::runner::{Context, Skip, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "io_uring/told_as_the_call", needs: SCENE, run: told_as_the_call },
    Test { name: "io_uring/told_without_a_completion", needs: SCENE, run: without_a_completion },
    Test { name: "io_uring/no_rule_no_hook", needs: SCENE, run: no_rule_no_hook },
];

/// Rules as they are written about calls; none of them knows of rings.
const RULES: &str = "
- rule: opened
  desc: d
  condition: evt.type in (open, openat, openat2) and evt.is_open_read = true and fd.num >= 0 and fd.name = /proc/version
  output: '%evt.type %fd.name %fd.num %proc.name %user.uid %fd.ino'
  priority: DEBUG
- rule: not there
  desc: d
  condition: evt.type in (open, openat, openat2) and evt.res = ENOENT and fd.name startswith /nowhere
  output: '%evt.type %fd.name'
  priority: DEBUG
- rule: connected
  desc: d
  condition: evt.type = connect and fd.type in (ipv4, ipv6) and fd.sport = 5199
  output: '%evt.res %fd.name'
  priority: DEBUG
- rule: gone
  desc: d
  condition: evt.type in (unlink, unlinkat) and evt.arg.name endswith itest-ring-a
  output: '%evt.type %evt.res %evt.arg.name %fs.path.name'
  priority: DEBUG
- rule: moved
  desc: d
  condition: evt.type in (rename, renameat, renameat2) and evt.arg.oldpath startswith /nowhere
  output: '%evt.type %evt.res %evt.arg.oldpath %evt.arg.newpath'
  priority: DEBUG
- rule: made
  desc: d
  condition: evt.type in (mkdir, mkdirat) and evt.arg.path startswith /nowhere
  output: '%evt.type %evt.res %evt.arg.path %evt.arg.mode'
  priority: DEBUG
- rule: linked
  desc: d
  condition: evt.type in (symlink, symlinkat, link, linkat) and evt.arg.newpath startswith /nowhere or evt.type in (symlink, symlinkat) and evt.arg.linkpath startswith /nowhere
  output: '%evt.type %evt.res'
  priority: DEBUG
";

/// `IOSQE_CQE_SKIP_SUCCESS`: no completion of what works.
const SILENT: u8 = 1 << 6;

/// Each makes what the rules are about happen once, with these flags of requests; then what is near.
fn requests(caller: &mut Caller, flags: u8) -> anyhow::Result<()> {
    let mut run =
        |operation: u8, fields: &str| caller.call(&format!("f=request {operation} {flags} {fields}"));
    let opened = run(18, r#"-100 "/proc/version" 0 0 0"#)?;
    ensure!(opened >= 0, "openat: {opened}");
    let absent = run(18, r#"-100 "/nowhere/x" 0 0 0"#)?;
    ensure!(absent == -i64::from(libc::ENOENT) || flags & SILENT != 0, "openat: {absent}");
    // Not what the rule names, and not to be read.
    let near = [run(18, r#"-100 "/proc/uptime" 0 0 0"#)?, run(18, r#"-100 "/proc/version" 0 0 1"#)?];
    ensure!(near[0] >= 0, "openat: {near:?}");
    run(36, r#"-100 "/tmp/itest-ring-b" 0 0 0"#)?;
    run(36, r#"-100 "/tmp/itest-ring-a" 0 0 0"#)?;
    run(35, r#"-100 "/nowhere/a" -100 "/nowhere/b" 0"#)?;
    run(37, r#"-100 "/nowhere/c" 0o755 0 0"#)?;
    run(38, r#"-100 "target" 0 "/nowhere/d" 0"#)?;
    run(39, r#"-100 "/nowhere/e" -100 "/nowhere/f" 0"#)?;
    Ok(())
}

fn connects(caller: &mut Caller, flags: u8) -> anyhow::Result<()> {
    caller.call("s=socket 2 1 0")?;
    // Nobody listens there, nor there.
    for port in [5199, 5198] {
        let refused = caller.call(&format!("request 16 {flags} @s inet:127.0.0.1:{port} 0 16 0"))?;
        ensure!(refused == -i64::from(libc::ECONNREFUSED), "connect: {refused}");
    }
    caller.call("close @s")?;
    Ok(())
}

/// An agent with these rules, if this kernel's requests can be told.
fn alerts(context: &Context) -> anyhow::Result<Alerts> {
    let alerts = Alerts::new(context, "io_uring", &format!("{BARRIER}{RULES}"))?;
    let ledger = alerts.agent.ledger()?;
    let attached = ledger.sum("tarsier_sensor_attached", &[("sensor", "io_uring")])?;
    if attached != 1.0 {
        let off = [("sensor", "io_uring"), ("reason", "needs struct io_kiocb has no member cmd")];
        ledger
            .sum("tarsier_sensor_attached", &off)
            .context("it is off, and not for what this kernel lacks")?;
        return Err(Skip("requests do not say what they are of before 6.0".to_owned()).into());
    }
    Ok(alerts)
}

fn output(alert: &Value) -> &str {
    alert["output"].as_str().unwrap_or_default()
}

/// Run at once, by a worker of the kernel (`IOSQE_ASYNC`), and by the thread that polls the ring.
fn told_as_the_call(context: &Context) -> anyhow::Result<()> {
    let mut alerts = alerts(context)?;
    let mut caller = alerts.caller()?;
    alerts.settle(&mut caller)?;
    let (asynchronous, polled) = (1 << 4, 1 << 1);
    for (setup, flags) in [(0, 0), (0, asynchronous), (polled, 0)] {
        let before = alerts.seen.len();
        caller.call(&format!("ring {setup}"))?;
        requests(&mut caller, flags)?;
        connects(&mut caller, flags)?;
        alerts.settle(&mut caller)?;
        let new: Vec<&Value> =
            alerts.seen[before..].iter().filter(|alert| alert["rule"] != "barrier").collect();
        let of = |rule: &str| -> Vec<&str> {
            new.iter().filter(|alert| alert["rule"] == rule).map(|alert| output(alert)).collect()
        };
        let expected = [
            ("not there", "openat /nowhere/x"),
            ("gone", "unlinkat ENOENT /tmp/itest-ring-a <NA>"),
            ("moved", "renameat2 ENOENT /nowhere/a /nowhere/b"),
            ("made", "mkdirat ENOENT /nowhere/c 1ED"),
        ];
        for (rule, text) in expected {
            let told = of(rule);
            ensure!(told.len() == 1 && told[0].ends_with(text), "{rule} ({setup}, {flags}): {told:?}");
        }
        let opened = of("opened");
        ensure!(opened.len() == 1, "opened ({setup}, {flags}): {opened:?}");
        ensure!(opened[0].contains("openat /proc/version ") && !opened[0].ends_with("<NA>"), "{opened:?}");
        let connected = of("connected");
        ensure!(connected.len() == 1, "connected ({setup}, {flags}): {connected:?}");
        ensure!(
            connected[0].contains("ECONNREFUSED ") && connected[0].contains("->127.0.0.1:5199"),
            "{connected:?}"
        );
        let linked = of("linked");
        ensure!(linked.len() == 2, "linked ({setup}, {flags}): {linked:?}");
        ensure!(new.len() == 8, "({setup}, {flags}): {new:#?}");
    }
    let ledger = alerts.agent.ledger()?;
    let lost = ledger.count(ledger::LOST, &[("sensor", "io_uring")])?;
    ensure!(lost == 0, "{lost} records were lost");
    Ok(())
}

/// A request that asks for no completion when it works (`IOSQE_CQE_SKIP_SUCCESS`) is told all the same.
fn without_a_completion(context: &Context) -> anyhow::Result<()> {
    let mut alerts = alerts(context)?;
    let mut caller = alerts.caller()?;
    alerts.settle(&mut caller)?;
    caller.call("ring 0")?;
    requests(&mut caller, SILENT)?;
    alerts.settle(&mut caller)?;
    ensure!(alerts.of("opened").len() == 1, "{:#?}", alerts.seen);
    ensure!(alerts.of("moved").len() == 1 && alerts.of("gone").len() == 1, "{:#?}", alerts.seen);
    ensure!(alerts.of("not there").is_empty(), "that it failed is not known: {:#?}", alerts.seen);
    Ok(())
}

/// A rule about a call that no request does.
fn no_rule_no_hook(context: &Context) -> anyhow::Result<()> {
    let alerts = Alerts::new(context, "io_uring", BARRIER)?;
    let ledger = alerts.agent.ledger()?.to_string();
    ensure!(
        !ledger.contains("tp_btf/io_uring_complete"),
        "a program is on requests, and no rule asks for one"
    );
    Ok(())
}
