//! What fields of rules give for real system calls: from the kernel's own structures to the alert.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::SCENE;
use crate::harness::alerts::{Alerts, BARRIER};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] =
    &[Test { name: "rule_fields/say_what_happened", needs: SCENE, run: say_what_happened }];

/// Tells all that the cases below look at.
const RULE: &str = "
- rule: fields
  desc: what a call was
  condition: >
    evt.type in (openat, unlinkat, symlinkat, memfd_create, dup, socket, connect, ptrace, setuid)
  output: >
    %evt.type %evt.res %evt.rawres %evt.is_open_read %evt.is_open_write %evt.is_open_create %evt.args
    %evt.arg.flags %evt.arg.dirfd %evt.arg.name %evt.arg.target %evt.arg.linkpath %evt.arg.request %evt.arg.uid
    %evt.arg.domain %fd.num %fd.name %fd.nameraw %fd.typechar %fd.type %fd.directory %fd.filename %fd.l4proto
    %fd.sip %fd.sport %fd.is_server %fs.path.name %proc.pid %proc.args %user.uid %thread.ismain
  priority: DEBUG
";

/// A call as the workload takes it, and what fields say of it.
fn cases() -> Vec<(&'static str, Value)> {
    vec![
        (
            "openat -100 \"/proc//./version\" 0x80000",
            json!({
                "evt.type": "openat", "evt.res": "SUCCESS", "evt.is_open_read": true, "evt.is_open_write": false,
                "evt.is_open_create": false, "evt.arg.flags": "O_RDONLY|O_CLOEXEC", "evt.arg.dirfd": "AT_FDCWD",
                "evt.arg.name": "/proc//./version", "fd.name": "/proc/version", "fd.nameraw": "/proc/./version",
                "fd.typechar": "f", "fd.type": "file", "fd.directory": "/proc", "fd.filename": "version",
                "fs.path.name": "/proc/version", "fd.l4proto": "<NA>", "fd.sip": null, "thread.ismain": true,
                "proc.args": "workload calls",
            }),
        ),
        (
            "dir=openat -100 \"/proc/\" 0x10000",
            json!({ "fd.name": "/proc", "fd.typechar": "d", "fd.directory": "/proc", "fd.filename": null }),
        ),
        (
            "openat @dir \"../proc/nothing-here\" 0o1",
            json!({
                "evt.res": "ENOENT", "evt.rawres": -2, "evt.is_open_write": true, "evt.arg.dirfd": "<d>/proc",
                "fd.num": -1, "fd.name": "/proc/nothing-here", "fd.nameraw": "../proc/nothing-here",
                "fd.typechar": "f", "fd.type": null, "evt.arg.name": "/proc/nothing-here",
            }),
        ),
        (
            "unlinkat @dir \"nothing-here\" 0x200",
            json!({
                "evt.res": "ENOENT", "evt.arg.name": "/proc/nothing-here", "evt.arg.flags": "AT_REMOVEDIR",
                "fs.path.name": null, "fd.name": null, "fd.num": null,
            }),
        ),
        (
            "symlinkat \"/proc/version\" -100 \"/nowhere/a\"",
            json!({ "evt.arg.target": "/proc/version", "evt.arg.linkpath": "/nowhere/a", "evt.res": "ENOENT" }),
        ),
        (
            "memfd_create \"payload\" 1",
            json!({ "fd.name": "payload", "fd.typechar": "m", "evt.arg.flags": "MFD_CLOEXEC" }),
        ),
        ("dup @dir", json!({ "fd.name": "/proc", "fd.typechar": "d", "fd.type": "directory" })),
        (
            "tcp=socket 2 1 0",
            json!({
                "evt.arg.domain": "AF_INET", "fd.type": "ipv4", "fd.typechar": "4", "fd.l4proto": "tcp",
                "fd.name": "", "fd.sip": null,
            }),
        ),
        (
            // 127.0.0.1, the port that is for throwing away.
            "connect @tcp hex:020000097f0000010000000000000000 16",
            json!({ "fd.typechar": "4", "fd.sip": "127.0.0.1", "fd.sport": 9, "fd.is_server": false }),
        ),
        ("ptrace 16 -1 0 0", json!({ "evt.arg.request": "PTRACE_ATTACH", "evt.res": "ESRCH" })),
        ("setuid 0", json!({ "evt.arg.uid": "root", "evt.args": "res=0 uid=0(root)", "user.uid": 0 })),
    ]
}

fn say_what_happened(context: &Context) -> anyhow::Result<()> {
    let mut alerts = Alerts::new(context, "fields", &format!("{BARRIER}{RULE}"))?;
    let mut caller = alerts.caller()?;
    alerts.settle(&mut caller)?;
    let before = alerts.of("fields").len();
    let mut returned = Vec::new();
    for (line, _) in cases() {
        returned.push(caller.call(line)?);
    }
    alerts.settle(&mut caller)?;
    let told = alerts.of("fields").split_off(before);
    ensure!(told.len() == returned.len(), "{} calls, {} alerts: {told:#?}", returned.len(), told.len());
    for (((line, expected), alert), ret) in cases().iter().zip(told).zip(returned) {
        let fields = &alert["output_fields"];
        ensure!(fields["evt.rawres"] == ret, "{line} returned {ret}: {fields:#}");
        ensure!(fields["proc.pid"] == caller.pid(), "{line}: {fields:#}");
        for (field, expected) in expected.as_object().context("an object")? {
            ensure!(fields[field] == *expected, "{line}: {field} is not {expected}: {fields:#}");
        }
    }
    Ok(())
}
