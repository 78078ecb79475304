//! System calls: told if a rule asks for them, once, as what they were, by whichever entry they were made.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use tarsier_abi::syscall::Call;

use super::SCENE;
use crate::harness::alerts::{Alerts, BARRIER};
use crate::harness::cgroup::Cgroup;
use crate::harness::ledger;
use crate::harness::scene::Scene;
use crate::runner::{Context, Need, Skip, Test};

pub(super) const TESTS: &[Test] = &[
    Test {
        name: "syscall/told_once_by_fexit",
        needs: GUEST,
        run: |context| told_once(context, "", "fexit/sys_*"),
    },
    Test {
        name: "syscall/told_once_by_tp_btf",
        needs: SCENE,
        run: |context| told_once(context, "hooks: {avoid: [fexit]}\n", "tp_btf/sys_exit"),
    },
    Test { name: "syscall/no_rule_no_hook", needs: SCENE, run: no_rule_no_hook },
];

/// What a machine that is not ours allows is its own business: returns of functions are tested in guests.
const GUEST: &[Need] = &[Need::Cgroup2, Need::Guest];

/// One of each call, none of which does anything to the machine: most fail. `execve` among them.
const ONE_OF_EACH: &[&str] = &[
    "openat -100 \"/etc/hostname\" 0",
    "openat2 -100 \"/nowhere\" zero:24 24",
    "open_by_handle_at -100 zero:64 0",
    "mkdirat -100 \"/nowhere/at/all\" 0o755",
    "unlinkat -100 \"/nowhere/at/all\" 0",
    "renameat2 -100 \"/nowhere/a\" -100 \"/nowhere/b\" 0",
    "linkat -100 \"/nowhere/a\" -100 \"/nowhere/b\" 0",
    "symlinkat \"/nowhere/a\" -100 \"/nowhere/b\"",
    "fchmod -1 0o644",
    "fchmodat -100 \"/nowhere/a\" 0o644",
    "fchmodat2 -100 \"/nowhere/a\" 0o644 0",
    "mount \"none\" \"/nowhere\" \"tmpfs\" 0 0",
    "chroot \"/nowhere\"",
    "one=dup 2",
    "dup3 2 @one 0",
    "memfd_create \"nothing\" 0",
    "userfaultfd 1",
    "tcp=socket 2 1 0",
    "bind @tcp zero:16 1",
    "connect @tcp hex:0200000900000000 8",
    "listen -1 1",
    "accept -1 0 0",
    "accept4 -1 0 0 0",
    "sendto -1 0 0 0 0 0",
    "sendmsg -1 0 0",
    "recvfrom -1 0 0 0 0 0",
    "recvmsg -1 0 0",
    "execve \"/nowhere/a\" 0 0",
    "execveat -100 \"/nowhere/a\" 0 0 0",
    "ptrace 16 -1 0 0",
    "self=getpid",
    "thread=gettid",
    "kill @self 0",
    "tkill @thread 0",
    "tgkill @self @thread 0",
    "prctl 3 0 0 0 0",
    "setuid 0",
    "setgid 0",
    "setreuid -1 -1",
    "setregid -1 -1",
    "setresuid -1 -1 -1",
    "setresgid -1 -1 -1",
    "setns -1 0",
    "unshare 0",
    "init_module 0 0 0",
    "finit_module -1 0 0",
    "delete_module \"no-such-module\" 0",
    "bpf -1 0 0",
    "sendmmsg -1 0 0 0",
    "recvmmsg -1 0 0 0 0",
    "clone 0x800 0 0 0 0",
    "clone3 0 0",
    "io_uring_setup 0 zero:120",
    "io_uring_enter -1 0 0 0 0 0",
    "io_uring_register -1 0 0 0",
];
/// Those that newer machines do without.
const OLD: &[&str] = &[
    "open \"/nowhere/a\" 0",
    "creat \"/nowhere/a\" 0o644",
    "mkdir \"/nowhere/a\" 0o755",
    "rmdir \"/nowhere/a\"",
    "unlink \"/nowhere/a\"",
    "rename \"/nowhere/a\" \"/nowhere/b\"",
    "renameat -100 \"/nowhere/a\" -100 \"/nowhere/b\"",
    "link \"/nowhere/a\" \"/nowhere/b\"",
    "symlink \"/nowhere/a\" \"/nowhere/b\"",
    "chmod \"/nowhere/a\" 0o644",
    "dup2 2 @one",
    "fork",
    "vfork",
];

/// A rule for each call but the barrier's own.
fn rules() -> String {
    let mut rules = BARRIER.to_owned();
    for call in Call::ALL.into_iter().filter(|call| *call != Call::umount2) {
        let name = call.name();
        // Writing to a string does not fail.
        let _ = write!(
            rules,
            "- rule: {name}\n  desc: d\n  condition: evt.type = {name}\n  output: '%evt.type'\n  priority: DEBUG\n"
        );
    }
    rules
}

/// By this hook, which is the first with these sections in the configuration.
fn told_once(context: &Context, sections: &str, hook: &str) -> anyhow::Result<()> {
    let files = tempfile::tempdir()?;
    let path = files.path().join("rules.yaml");
    std::fs::write(&path, rules())?;
    let cgroup = Cgroup::new("syscall")?;
    let mut alerts = Alerts::configured(context, cgroup, &path, files, &[], sections)?;
    let used = alerts.agent.ledger()?.sum("tarsier_sensor_hook", &[("sensor", "syscall"), ("hook", hook)])?;
    if used != 1.0 && hook.starts_with("fexit") {
        let reason = "no returns of functions here: the program needs an atomic exchange (5.12)";
        return Err(Skip(reason.to_owned()).into());
    }
    ensure!(used == 1.0, "{hook} is not what tells");
    let mut caller = alerts.caller()?;
    // The program's own start is full of calls.
    alerts.settle(&mut caller)?;
    let mut before: BTreeMap<String, usize> = BTreeMap::new();
    for call in Call::ALL {
        before.insert(call.name().to_owned(), alerts.of(call.name()).len());
    }
    let old: &[&str] = if cfg!(target_arch = "x86_64") { OLD } else { &[] };
    let mut unknown = Vec::new();
    for line in ONE_OF_EACH.iter().chain(old) {
        if caller.call(line)? == -i64::from(libc::ENOSYS) {
            unknown.push(line.split_whitespace().next().unwrap_or_default());
        }
    }
    alerts.settle(&mut caller)?;
    for line in ONE_OF_EACH.iter().chain(old) {
        let name = line.split_once('=').map_or(*line, |(_, call)| call);
        let name = name.split_whitespace().next().context("a name")?;
        if Call::ALL.iter().all(|call| call.name() != name) {
            continue;
        }
        let told = alerts.of(name).len() - before.get(name).copied().unwrap_or_default();
        // A stock rule about the older call sees the newer one too. What the kernel does not know has no function that could
        // return.
        let is_told = |call: &str| !(hook.starts_with("fexit") && unknown.contains(&call));
        let expected = match name {
            "open" => 3,
            "fchmodat" => 1 + usize::from(is_told("fchmodat2")),
            _ => usize::from(is_told(name)),
        };
        ensure!(told == expected, "{name} was told {told} times, not {expected}");
    }
    let ledger = alerts.agent.ledger()?;
    let lost = ledger.count(ledger::LOST, &[("sensor", "syscall")])?;
    ensure!(lost == 0, "{lost} records were lost");
    Ok(())
}

fn no_rule_no_hook(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "syscall")?;
    let ledger = scene.agent.ledger()?.to_string();
    let hooks = ["sys_exit", "fexit"];
    ensure!(
        hooks.iter().all(|hook| !ledger.contains(hook)),
        "a program is on every system call, and no rule asks for one"
    );
    Ok(())
}
