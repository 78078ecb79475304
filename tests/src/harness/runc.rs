//! Containers by the real runc: namespaces of their own, an overlay as root, a cgroup where the test
//! says. runc is run as on a node with cgroup v2 alone, whatever else is mounted here.
//!
//! Nothing needs an end of its own: mounts live in the mount namespaces of runc and of the container,
//! processes are killed with the cgroup that the test made above the container's.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cgroup::Door;
use super::jail::Jail;
use super::rootfs::{Image, Layers};
use super::{cgroup, exit, tool};
use crate::runner::Context;

/// How long runc may take, in an emulated guest too.
const DEADLINE: Duration = Duration::from_secs(100);
/// Where runc looks for cgroups (libcontainer/cgroups/utils.go, `unifiedMountpoint`).
const CGROUPS: &str = "/sys/fs/cgroup";
/// Where the test binary is inside.
pub const ITEST: &str = "/opt/itest";

/// runc, an image, and a place for what runc remembers of its containers.
#[derive(Debug)]
pub struct Runtime {
    runc: PathBuf,
    cgroups: PathBuf,
    itest: PathBuf,
    image: Image,
    state: TempDir,
    no_pivot: bool,
    /// Into the group that runc itself runs in, if that is not the test's.
    door: Option<Door>,
}

/// Which PID namespace a container gets.
#[derive(Clone, Copy, Debug)]
pub enum PidNamespace {
    /// One of its own.
    Own,
    /// The host's, as `hostPID: true` in a pod's spec.
    Host,
    /// That of this process, as `shareProcessNamespace: true`.
    Of(u32),
}

/// What a container is given beside its image.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Its PID namespace.
    pub pid: PidNamespace,
    /// What root can do inside, as `CAP_NET_ADMIN`.
    pub capabilities: &'a [&'a str],
}

impl Default for Shape<'_> {
    /// A PID namespace of its own, and the few capabilities that most tests need inside.
    fn default() -> Self {
        let capabilities = &["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"];
        Self { pid: PidNamespace::Own, capabilities }
    }
}

/// A container, started or not.
#[derive(Debug)]
pub struct Container<'a> {
    runtime: &'a Runtime,
    id: String,
    layers: Layers,
}

/// A program that ran to its end.
#[derive(Debug)]
pub struct Ran {
    /// Its pid, as the host sees it.
    pub pid: u32,
    /// Exit code; 128 and the signal's number for one that was killed.
    pub code: Option<i32>,
    /// What it and its children wrote.
    pub stdout: String,
}

impl Runtime {
    /// Finds runc and unpacks the image.
    pub fn new(context: &Context) -> anyhow::Result<Self> {
        Self::of_image(context, Image::new()?)
    }

    /// Finds runc.
    pub fn of_image(context: &Context, image: Image) -> anyhow::Result<Self> {
        Ok(Self {
            runc: tool::find("runc").context("runc is not installed")?,
            cgroups: cgroup::mount()?,
            itest: context.itest.clone(),
            image,
            state: tempfile::tempdir()?,
            // The root of a guest is its initramfs, which nothing can be moved away from
            // (pivot_root(2), NOTES).
            no_pivot: context.emulated,
            door: None,
        })
    }

    /// The same, run in the cgroup at `group`.
    pub fn inside(self, group: &Path) -> anyhow::Result<Self> {
        Ok(Self { door: Some(Door::of(group)?), ..self })
    }

    /// Where runc keeps the state of the containers (`--root`).
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// Describes a container that will run `args` in the cgroup at `group`, with a PID namespace of its own.
    pub fn container(&self, id: &str, group: &Path, args: &[&str]) -> anyhow::Result<Container<'_>> {
        self.shaped(Shape::default(), id, group, args)
    }

    /// As [`Runtime::container`], with what `shape` gives it.
    pub fn shaped(
        &self,
        shape: Shape<'_>,
        id: &str,
        group: &Path,
        args: &[&str],
    ) -> anyhow::Result<Container<'_>> {
        self.changed(shape, id, group, args, |_| {})
    }

    /// The same, with its configuration changed.
    pub fn changed(
        &self,
        shape: Shape<'_>,
        id: &str,
        group: &Path,
        args: &[&str],
        change: impl FnOnce(&mut Value),
    ) -> anyhow::Result<Container<'_>> {
        let layers = self.layers()?;
        let group = group.strip_prefix(&self.cgroups).context("the group is outside of the hierarchy")?;
        let mut spec = spec(&layers.root(), &Path::new("/").join(group), &self.itest, shape, args);
        change(&mut spec);
        fs::write(layers.path().join("config.json"), spec.to_string())?;
        Ok(Container { runtime: self, id: id.to_owned(), layers })
    }

    /// Empty layers over the image.
    pub fn layers(&self) -> anyhow::Result<Layers> {
        Layers::over(&self.image)
    }
}

/// The runtime configuration (OCI runtime-spec 1.0). Loopback is down and root has few capabilities, but
/// what the tests do inside.
fn spec(root: &Path, group: &Path, itest: &Path, shape: Shape<'_>, args: &[&str]) -> Value {
    let Shape { pid, capabilities } = shape;
    let mut namespaces: Vec<_> =
        ["network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind })).into();
    match pid {
        PidNamespace::Own => namespaces.push(json!({ "type": "pid" })),
        PidNamespace::Of(pid) => {
            namespaces.push(json!({ "type": "pid", "path": format!("/proc/{pid}/ns/pid") }));
        }
        PidNamespace::Host => {}
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/bin"],
            "cwd": "/tmp",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
        },
        "root": { "path": root },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"] },
            {
                "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666"],
            },
            { "destination": ITEST, "type": "bind", "source": itest, "options": ["bind", "ro"] },
        ],
        "linux": { "cgroupsPath": group, "namespaces": namespaces },
    })
}

impl Container<'_> {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where its `config.json` is.
    pub fn bundle(&self) -> &Path {
        self.layers.path()
    }

    /// Puts a file into its own layer, before it starts.
    pub fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let path = self.layers.path().join("upper").join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().context("a file in a folder")?)?;
        Ok(fs::write(path, text)?)
    }

    /// Runs it to its end. It and its cgroup are gone then.
    pub fn run(&self) -> anyhow::Result<Ran> {
        self.in_foreground("run", &[])
    }

    /// Starts it; its pid, as the host sees it.
    pub fn start(&self) -> anyhow::Result<u32> {
        let (mut command, pid_file) = self.command("run", &["--detach"]);
        self.finish(&mut command)?;
        read_pid(&pid_file)
    }

    /// Runs `args` inside, to the end: what `kubectl exec` does.
    pub fn exec(&self, args: &[&str]) -> anyhow::Result<Ran> {
        self.in_foreground("exec", args)
    }

    /// runc as it runs `args` inside, with its own standard input, output and error, and `options` of its own.
    pub fn session(&self, options: &[&str], args: &[&str]) -> Command {
        let (mut command, _) = self.command("exec", options);
        command.args(args);
        command
    }

    /// What was written in it lies here, below its root's paths.
    pub fn written(&self) -> PathBuf {
        self.layers.upper()
    }

    fn in_foreground(&self, verb: &str, args: &[&str]) -> anyhow::Result<Ran> {
        let (mut command, pid_file) = self.command(verb, &[]);
        command.args(args);
        let code = self.finish(&mut command)?;
        let stdout = fs::read(self.layers.path().join("stdout"))?;
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        Ok(Ran { pid: read_pid(&pid_file)?, code, stdout })
    }

    /// runc with what it needs to find, and the file that it writes the pid to.
    fn command(&self, verb: &str, options: &[&str]) -> (Command, PathBuf) {
        let Self { runtime, id, layers } = self;
        let pid_file = layers.path().join(format!("{verb}.pid"));
        let mut command = Command::new(&runtime.runc);
        command.arg("--root").arg(runtime.state.path()).arg(verb).args(options);
        command.arg("--pid-file").arg(&pid_file);
        let mut jail = Jail::default().bind(&runtime.cgroups, Path::new(CGROUPS));
        if verb == "run" {
            jail = layers.mount(jail);
            command.arg("--bundle").arg(layers.path());
            if runtime.no_pivot {
                command.arg("--no-pivot");
            }
        }
        if let Some(door) = &runtime.door {
            door.lead(&mut command);
        }
        jail.hold(&mut command);
        command.arg(id);
        (command, pid_file)
    }

    /// Waits for runc's end: its exit code. Output goes to files: whoever lives on in the container holds
    /// them open, and nobody waits for that.
    fn finish(&self, command: &mut Command) -> anyhow::Result<Option<i32>> {
        let file = |name| File::create(self.layers.path().join(name));
        command.stdin(Stdio::null()).stdout(file("stdout")?).stderr(file("stderr")?);
        let mut child = command.spawn().context("cannot start runc")?;
        let status = exit::wait(&mut child, DEADLINE).inspect_err(|_| drop(child.kill()));
        let complaint = fs::read(self.layers.path().join("stderr"))?;
        let complaint = String::from_utf8_lossy(&complaint);
        let status = status.with_context(|| format!("runc: {}", complaint.trim()))?;
        ensure!(complaint.is_empty(), "runc ended with {status}: {}", complaint.trim());
        Ok(status.code())
    }
}

fn read_pid(file: &Path) -> anyhow::Result<u32> {
    fs::read_to_string(file).context("runc started nothing")?.trim().parse().context("a pid")
}

/// Ends a process of a container; the first one takes all others of its PID namespace with it.
pub fn kill(pid: u32) -> anyhow::Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { bail!("no pid: {pid}") };
    Ok(kill_process(pid, Signal::KILL)?)
}
