//! Where actions are done: outside of containers, in two of them, and in programs and containers of their own.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::mount::MountFlags;
use serde_json::json;

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
const USUAL: &str =
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE
    SYS_CHROOT KILL AUDIT_WRITE";
/// What the capable ones have beside.
const MORE: &str = "NET_ADMIN SYS_ADMIN SYS_MODULE";
/// What is left, as far as runtimes know it (Linux 3.16).
const REST: &str =
    "DAC_READ_SEARCH LINUX_IMMUTABLE NET_BROADCAST IPC_LOCK IPC_OWNER SYS_RAWIO SYS_PTRACE SYS_PACCT
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG LEASE AUDIT_CONTROL MAC_OVERRIDE MAC_ADMIN SYSLOG
    WAKE_ALARM BLOCK_SUSPEND AUDIT_READ";
/// An image that Falco's rules trust with capabilities.
const TRUSTED: &str = "docker.io/calico/node:v3.30.2";
/// One that they do not know.
const UNKNOWN: &str = "registry.example/shop/web:1.2";
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
    privileged: Inside<'a>,
    /// Those that were started later.
    further: Vec<Container<'a>>,
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
        let first = Inside::new(runtime, &group, 1, Kind::Usual)?;
        let mut capable = Inside::new(runtime, &group, 2, Kind::Capable)?;
        let privileged = Inside::new(runtime, &group, 3, Kind::Privileged)?;
        host.run(ADDRESSES)?;
        capable.shell.run(ADDRESSES)?;
        Ok(Self {
            runtime,
            group,
            host,
            aged,
            aged_since,
            first,
            capable,
            privileged,
            further: Vec::new(),
            _layers: layers,
        })
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
            Place::Privileged => self.privileged.shell.run(act.what).map(|()| 3)?,
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
            Place::Start => self.start(Kind::Usual, &words)?,
            Place::StartCapable => self.start(Kind::Capable, &words)?,
            Place::StartPrivileged => self.start(Kind::Privileged, &words)?,
            Place::StartTrusted => self.start(Kind::Trusted, &words)?,
        };
        Ok(id(number)[..12].to_owned())
    }

    /// Starts a further container, which lives on: what the runtime has of it, it has as long. Its number.
    fn start(&mut self, kind: Kind, words: &[&str]) -> anyhow::Result<usize> {
        let number = 4 + self.further.len();
        let container = describe(self.runtime, &self.group, number, kind, words)?;
        container.start()?;
        self.further.push(container);
        Ok(number)
    }
}

/// What is special about a container.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Usual,
    Capable,
    Privileged,
    Trusted,
}

/// A container by its number, of a pod, as containerd describes one to runc (internal/cri/annotations).
fn describe<'a>(
    runtime: &'a Runtime,
    group: &Path,
    number: usize,
    kind: Kind,
    words: &[&str],
) -> anyhow::Result<Container<'a>> {
    let named = |names: &[&str]| -> Vec<_> {
        let names = names.iter().flat_map(|names| names.split_whitespace());
        names.map(|name| format!("CAP_{name}")).collect()
    };
    let effective = named(if kind == Kind::Usual { &[USUAL] } else { &[USUAL, MORE] });
    let effective: Vec<_> = effective.iter().map(String::as_str).collect();
    let id = id(number);
    let shape = Shape { capabilities: &effective, ..Shape::default() };
    runtime.changed(shape, &id, &group.join(in_pod(&id)), words, |spec| {
        if kind == Kind::Privileged {
            // Of all that may be given, root of this machine need not have every one to give.
            spec["process"]["capabilities"]["bounding"] = json!(named(&[USUAL, MORE, REST]));
        }
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-name": "web",
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.image-name": if kind == Kind::Trusted { TRUSTED } else { UNKNOWN },
        });
    })
}

fn succeeds(mut child: std::process::Child) -> anyhow::Result<()> {
    let status = exit::wait(&mut child, WORKLOAD)?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

impl<'a> Inside<'a> {
    fn new(runtime: &'a Runtime, group: &Path, number: usize, kind: Kind) -> anyhow::Result<Self> {
        let container = describe(runtime, group, number, kind, &["/bin/sleep", "1000"])?;
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
