//! Init of a virtual machine: mounts what a system has, loads the modules it is told to, runs the
//! tests, writes their results to the second serial port, and powers off.

#![expect(clippy::print_stderr, reason = "stderr is the console")]

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

/// (source, target, type, options); made if the kernel can. /proc comes first: the rest may need it.
const MOUNTS: &[(&str, &str, &str, &str)] = &[
    ("proc", "/proc", "proc", ""),
    ("sysfs", "/sys", "sysfs", ""),
    ("devtmpfs", "/dev", "devtmpfs", ""),
    ("devpts", "/dev/pts", "devpts", ""),
    ("tmpfs", "/tmp", "tmpfs", "mode=1777"),
    ("tmpfs", "/run", "tmpfs", "mode=755"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2", ""),
    ("bpffs", "/sys/fs/bpf", "bpf", ""),
    ("debugfs", "/sys/kernel/debug", "debugfs", ""),
];
/// One path of a kernel module per line, in the order of loading.
const MODULES: &str = "/etc/modules.list";
/// Where the agent is unless `itest.agent=PATH` on the kernel's command line says otherwise.
const AGENT: &str = "/bin/tarsier";
/// The host keeps this port as a file of one JSON line per test.
const RESULTS: &str = "/dev/ttyS1";

/// PID 1. Never returns: the machine is off at the end, and the results say how it went.
pub fn init() -> ExitCode {
    for (source, target, kind, options) in MOUNTS {
        if let Err(error) = mount_one(source, target, kind, options) {
            eprintln!("init: {target}: {error:#}");
        }
    }
    load_modules();
    if let Err(error) = crate::harness::netns::loopback_up() {
        eprintln!("init: {error:#}");
    }
    match run_tests() {
        Ok(code) => eprintln!("init: the tests ended with {code}"),
        Err(error) => eprintln!("init: {error:#}"),
    }
    rustix::fs::sync();
    // QEMU runs with -no-reboot: whichever of the two the machine can do ends it.
    for command in [RebootCommand::PowerOff, RebootCommand::Restart] {
        if let Err(error) = reboot(command) {
            eprintln!("init: {command:?}: {error}");
        }
    }
    ExitCode::FAILURE
}

fn mount_one(source: &str, target: &str, kind: &str, options: &str) -> anyhow::Result<()> {
    fs::create_dir_all(target)?;
    let options = CString::new(options)?;
    match mount(source, target, kind, MountFlags::empty(), options.as_c_str()) {
        // devtmpfs may be there already: CONFIG_DEVTMPFS_MOUNT.
        Ok(()) | Err(rustix::io::Errno::BUSY) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot mount {kind}")),
    }
}

fn load_modules() {
    let list = fs::read_to_string(MODULES).unwrap_or_default();
    for path in list.lines().map(str::trim).filter(|path| !path.is_empty() && !path.starts_with('#')) {
        let loaded = fs::File::open(path)
            .and_then(|file| Ok(rustix::system::finit_module(&file, c"", 0)?))
            .or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) });
        if let Err(error) = loaded {
            eprintln!("init: module {path}: {error}");
        }
    }
}

/// Runs this binary again as the test process, and reaps orphans until it ends. Init itself must not
/// run tests: orphans of the tests would become children of the test process.
fn run_tests() -> anyhow::Result<String> {
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let option =
        |name: &str| cmdline.split_whitespace().find_map(|word| word.strip_prefix(name)).map(OsString::from);
    let group = option("itest.group=").unwrap_or_else(|| "guest".into());
    let mut command = Command::new("/proc/self/exe");
    command.arg(&group);
    if group != "selftest" {
        command.arg("--agent").arg(option("itest.agent=").unwrap_or_else(|| AGENT.into()));
    }
    if fs::metadata(RESULTS).is_ok() {
        command.args(["--results", RESULTS]);
    }
    if let Some(filter) = option("itest.filter=") {
        command.arg("--filter").arg(filter);
    }
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    let tests = i32::try_from(command.spawn().context("cannot start the tests")?.id())?;
    loop {
        match rustix::process::wait(rustix::process::WaitOptions::empty())? {
            Some((pid, status)) if pid.as_raw_nonzero().get() == tests => return Ok(format!("{status:?}")),
            _ => {}
        }
    }
}
