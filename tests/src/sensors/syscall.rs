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
        // To put programs at the functions of all calls takes a busy emulated guest longer than an agent has to be ready.
        run: |context| {
            (0..4).try_for_each(|part| told_once(context, "", "fexit/sys_*", |call| call % 4 == part))
        },
    },
    Test {
        name: "syscall/told_once_by_tp_btf",
        needs: SCENE,
        run: |context| told_once(context, "hooks: {avoid: [fexit]}\n", "tp_btf/sys_exit", |_| true),
    },
    Test { name: "syscall/by_socketcall", needs: SCENE, run: by_socketcall },
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

/// A rule for each of these calls but the barrier's own.
fn rules(calls: &[Call]) -> String {
    let mut rules = BARRIER.to_owned();
    for call in calls.iter().filter(|call| **call != Call::umount2) {
        let name = call.name();
        // Writing to a string does not fail.
        let _ = write!(
            rules,
            "- rule: {name}\n  desc: d\n  condition: evt.type = {name}\n  output: '%evt.type'\n  priority: DEBUG\n"
        );
    }
    rules
}

/// By this hook, which is the first with these sections in the configuration; of the calls whose numbers are `among` those.
fn told_once(
    context: &Context,
    sections: &str,
    hook: &str,
    among: impl Fn(usize) -> bool,
) -> anyhow::Result<()> {
    let calls: Vec<Call> = Call::ALL.into_iter().filter(|call| among(*call as usize)).collect();
    let files = tempfile::tempdir()?;
    let path = files.path().join("rules.yaml");
    std::fs::write(&path, rules(&calls))?;
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
    for call in &calls {
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
        if calls.iter().all(|call| call.name() != name) {
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

/// What old 32-bit programs do with sockets is told as the calls that they mean, with their arguments.
#[cfg(target_arch = "x86_64")]
fn by_socketcall(context: &Context) -> anyhow::Result<()> {
    let rule = |name: &str, condition: &str| {
        format!(
            "- rule: {name}\n  desc: d\n  condition: {condition}\n  output: '%evt.type %fd.name'\n  priority: DEBUG\n"
        )
    };
    let rules = [
        BARRIER.to_owned(),
        rule("made", "evt.type = socket and fd.num >= 0"),
        rule("connected", "evt.type = connect and fd.sport = 5197"),
        rule("sent", "evt.type = sendto and fd.l4proto = udp and fd.sport = 5196"),
        rule("accepted", "evt.type in (accept, accept4)"),
    ];
    let mut alerts = Alerts::new(context, "syscall", &rules.concat())?;
    let mut caller = alerts.caller()?;
    alerts.settle(&mut caller)?;
    let before = alerts.of("made").len();
    for line in [
        "s=32 102 1 words:2,1,0",
        "u=32 102 1 words:2,2,0",
        "32 102 3 words:@s,inet:127.0.0.1:5197,16",
        "32 102 3 words:@s,inet:127.0.0.1:5195,16",
        "32 102 11 words:@u,hex:00,1,0,inet:127.0.0.1:5196,16",
        // `getsockname`, and a number that is none.
        "32 102 6 words:@s,zero:16,zero:4",
        "32 102 99 words:0",
    ] {
        let ret = caller.call(line)?;
        ensure!(ret != -i64::from(libc::ENOSYS), "{line}: the kernel runs no 32-bit programs");
    }
    alerts.settle(&mut caller)?;
    let made = alerts.of("made").len() - before;
    ensure!(made == 2, "{made} sockets were made");
    ensure!(alerts.of("accepted").is_empty(), "{:#?}", alerts.seen);
    for (rule, ending) in [("connected", "->127.0.0.1:5197"), ("sent", "->127.0.0.1:5196")] {
        let told: Vec<_> = alerts.of(rule).iter().filter_map(|alert| alert["output"].as_str()).collect();
        ensure!(matches!(told[..], [one] if one.ends_with(ending)), "{rule}: {told:?}");
    }
    Ok(())
}

/// Other machines have no such call.
#[cfg(not(target_arch = "x86_64"))]
fn by_socketcall(_: &Context) -> anyhow::Result<()> {
    Err(Skip("socketcall(2) is one of x86".to_owned()).into())
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
