//! Where actions are done: outside of containers, in two of them, and in programs and containers of their own.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::mount::MountFlags;

use super::row::{Act, Place};
use crate::containers::{id, in_pod};
use crate::harness::alerts::{Alerts, Caller};
use crate::harness::cgroup;
use crate::harness::exit;
use crate::harness::jail::Jail;
use crate::harness::rootfs::Layers;
use crate::harness::runc::{self, Container, Runtime, Shape};
use crate::harness::scene::{Dialogue, WORKLOAD};
use crate::harness::terminal::Terminal;
use crate::runner::Context;

/// What container runtimes leave to root in a container (containerd, oci/spec.go, `defaultUnixCaps`).
const USUAL: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];
/// What the capable ones have beside.
pub(super) const MORE: [&str; 3] = ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_MODULE"];
/// Addresses of the host's and of the capable container's loopback: one of documentation (RFC 5737), and where clouds
/// answer for their machines. What is sent to a second network of documentation is never answered.
const ADDRESSES: &str = "/bin/ip link set lo up; /bin/ip address add 203.0.113.7/32 dev lo;
    /bin/ip address add 169.254.169.254/32 dev lo; /bin/ip address add 169.254.169.253/32 dev lo;
    /bin/ip route add 198.51.100.0/24 dev lo";
/// What the rule about programs that have run for a while calls a while is five seconds.
const AGE: Duration = Duration::from_secs(6);

/// The places.
pub(super) struct Stage<'a> {
    runtime: &'a Runtime,
    group: PathBuf,
    host: Shell,
    aged: Caller,
    aged_since: Instant,
    first: Inside<'a>,
    capable: Inside<'a>,
    /// Containers started so far.
    containers: usize,
    // Mount points of what runs outside.
    _layers: [Layers; 2],
}

/// A container and a shell in it.
struct Inside<'a> {
    container: Container<'a>,
    shell: Shell,
}

impl<'a> Stage<'a> {
    /// Sets it up in the scope of `alerts`.
    pub(super) fn new(context: &Context, runtime: &'a Runtime, alerts: &Alerts) -> anyhow::Result<Self> {
        let outside = alerts.cgroup.below("outside")?;
        let layers = [runtime.layers()?, runtime.layers()?];
        let in_jail = |layers: &Layers, words: &[&str]| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).env_clear();
            cgroup::enter(&mut command, &outside)?;
            let root = layers.root();
            let itest = root.join(runc::ITEST.trim_start_matches('/'));
            let jail = layers.mount(Jail::default()).mount(c"proc", &root.join("proc"), MountFlags::empty());
            let jail = jail.bind(Path::new("/dev/null"), &root.join("dev/null"));
            let jail = jail.bind(Path::new("/dev/zero"), &root.join("dev/zero"));
            jail.bind(&context.itest, &itest).root(&root).hold(&mut command);
            anyhow::Ok(command)
        };
        let aged = Caller::start(in_jail(&layers[0], &["/calls/nginx", "workload", "calls"])?)?;
        let aged_since = Instant::now();
        let command = in_jail(&layers[1], &["/bin/unshare", "-n", "/bin/sh"])?;
        let mut host = Shell::start(command, layers[1].upper()).context("outside of containers")?;
        let group = alerts.cgroup.path().to_owned();
        let first = Inside::new(runtime, &group, 1, &USUAL)?;
        let mut capable = Inside::new(runtime, &group, 2, &more())?;
        host.run(ADDRESSES)?;
        capable.shell.run(ADDRESSES)?;
        Ok(Self { runtime, group, host, aged, aged_since, first, capable, containers: 2, _layers: layers })
    }

    /// Does it. It has been done when this returns; the answer is the `container.id` that it was done in.
    pub(super) fn act(&mut self, act: Act) -> anyhow::Result<String> {
        let words: Vec<_> = act.what.split_whitespace().collect();
        let number = match act.place {
            Place::Host => {
                self.host.run(act.what)?;
                return Ok("host".to_owned());
            }
            Place::Aged => {
                // The rule asks for the time, and there is nothing else to wait for.
                std::thread::sleep(AGE.saturating_sub(self.aged_since.elapsed()));
                let ret = self.aged.call(act.what)?;
                ensure!(ret >= 0, "it failed with {ret}");
                return Ok("host".to_owned());
            }
            Place::Container => self.first.shell.run(act.what).map(|()| 1)?,
            Place::Capable => self.capable.shell.run(act.what).map(|()| 2)?,
            Place::Session => {
                let mut command = self.first.container.session(&[], &words);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                succeeds(command.spawn()?).map(|()| 1)?
            }
            Place::Terminal => {
                let terminal = Terminal::open(80, 25)?;
                let child = terminal.run(self.first.container.session(&["--tty"], &words))?;
                succeeds(child).map(|()| 1)?
            }
            Place::Start => self.start(&USUAL, &words)?,
            Place::StartCapable => self.start(&more(), &words)?,
        };
        Ok(id(number)[..12].to_owned())
    }

    /// Runs a further container to its end: its number.
    fn start(&mut self, capabilities: &[&str], words: &[&str]) -> anyhow::Result<usize> {
        self.containers += 1;
        let id = id(self.containers);
        let shape = Shape { capabilities, ..Shape::default() };
        let ran = self.runtime.shaped(shape, &id, &self.group.join(in_pod(&id)), words)?.run()?;
        ensure!(ran.code == Some(0), "it ended with {:?}: {}", ran.code, ran.stdout);
        Ok(self.containers)
    }
}

fn more() -> Vec<&'static str> {
    [&USUAL[..], &MORE].concat()
}

fn succeeds(mut child: std::process::Child) -> anyhow::Result<()> {
    let status = exit::wait(&mut child, WORKLOAD)?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

impl<'a> Inside<'a> {
    fn new(runtime: &'a Runtime, group: &Path, number: usize, capabilities: &[&str]) -> anyhow::Result<Self> {
        let (id, shape) = (id(number), Shape { capabilities, ..Shape::default() });
        let container = runtime.shaped(shape, &id, &group.join(in_pod(&id)), &["/bin/sleep", "1000"])?;
        container.start()?;
        let shell = Shell::start(container.session(&[], &["/bin/sh"]), container.written())
            .with_context(|| format!("in container {number}"))?;
        Ok(Self { container, shell })
    }
}

/// A shell that does what it is told.
struct Shell {
    dialogue: Dialogue,
    /// Where what it writes can be read.
    written: PathBuf,
}

impl Shell {
    fn start(command: Command, written: PathBuf) -> anyhow::Result<Self> {
        Ok(Self { dialogue: Dialogue::start(command)?, written })
    }

    /// Runs `script` to its end in a child of the shell. What is not built in must be named by its path, or busybox
    /// is it without an exec.
    fn run(&mut self, script: &str) -> anyhow::Result<()> {
        let line = format!("( {script}\n) </tmp/nothing >/tmp/said 2>&1; echo \"{{\\\"code\\\": $?}}\"");
        let answer = self.dialogue.say(&line)?;
        if answer["code"] == 0 {
            return Ok(());
        }
        let said = match std::fs::read_to_string(self.written.join("tmp/said")) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            said => said?,
        };
        bail!("{script}: {answer}, {said}")
    }
}
