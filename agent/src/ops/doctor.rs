//! The checks behind `tarsier doctor`: each one does the thing, or reads it from the kernel, and says
//! what was found, what it means and what to do.
//!
//! Checks of eBPF features belong to `kernel::features` and are appended by the command line.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aya::maps::MapType;
use serde::Serialize;
use tarsier_abi::Sensor;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// A fact that is neither good nor bad.
    Info,
    /// The agent runs, with less.
    Degraded,
    /// The agent cannot run: a privilege is missing.
    NoPrivilege,
    /// The agent cannot run: the kernel lacks something.
    Unavailable,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// What was found.
    pub status: Status,
    /// What was found and what it means, one sentence.
    pub detail: String,
    /// What to do; empty if there is nothing to do.
    pub fix: String,
}

impl Check {
    /// A check without a fix.
    pub fn new(name: &str, status: Status, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status, detail: detail.into(), fix: String::new() }
    }

    /// With what to do about it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }
}

/// Why a capability is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Without it nothing works; `CAP_SYS_ADMIN` includes it.
    Required,
    /// Without it something is missing.
    Useful,
    /// By old kernels, if their limits are low.
    Old,
}

/// Bit, name, how much it is wanted, and what for (or what is missing without it).
const CAPABILITIES: [(u32, &str, Want, &str); 5] = [
    (39, "CAP_BPF", Want::Required, "loads programs and maps"),
    (38, "CAP_PERFMON", Want::Required, "attaches tracing programs and reads kernel memory in them"),
    (
        21,
        "CAP_SYS_ADMIN",
        Want::Useful,
        "enters other network namespaces to find connections older than the agent",
    ),
    (
        19,
        "CAP_SYS_PTRACE",
        Want::Useful,
        "reads arguments and sockets of processes that are older than the agent",
    ),
    (24, "CAP_SYS_RESOURCE", Want::Old, "lifts RLIMIT_MEMLOCK, which counts below kernel 5.11 only"),
];

/// The host to look at: the real one, or a directory tree that looks like one.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

/// Every check of this module on this host, in the order of the report. `admin_socket` is where the
/// agent would make its socket.
pub fn checks(admin_socket: &str) -> Vec<Check> {
    let host = Host::default();
    let mut checks = vec![host.kernel(), host.btf(), host.lockdown()];
    checks.extend(host.capabilities());
    checks.push(bpf_syscall());
    checks.extend([host.cgroups(), host.memlock(), host.unprivileged_bpf(), host.jit()]);
    checks.push(socket_directory(admin_socket));
    checks
}

/// What keeps the agent from running on this host: the checks of kernel and privileges that failed.
pub fn blockers() -> Vec<Check> {
    let host = Host::default();
    let mut checks = vec![host.btf(), host.lockdown()];
    checks.extend(host.capabilities());
    checks.retain(|check| matches!(check.status, Status::NoPrivilege | Status::Unavailable));
    // Without the capabilities the system call fails too, and only repeats that they are missing.
    if !checks.iter().any(|check| check.status == Status::NoPrivilege) {
        checks.push(bpf_syscall());
        checks.retain(|check| matches!(check.status, Status::NoPrivilege | Status::Unavailable));
    }
    checks
}

/// What became of one sensor: on, or why not. The process core is what every other event is named
/// by, so nothing works without it.
pub fn sensor(sensor: Sensor, state: &Result<(), String>, hooks: &str, refused: &str) -> Check {
    let name = format!("sensor {}", sensor.name());
    match state {
        Ok(()) if refused.is_empty() => Check::new(&name, Status::Ok, format!("by {hooks}")),
        Ok(()) => Check::new(&name, Status::Ok, format!("by {hooks}; refused here: {refused}")),
        Err(reason) if sensor.is_core() => Check::new(&name, Status::Unavailable, format!("off: {reason}"))
            .fix("boot a kernel that has it (5.10 or newer), without lockdown"),
        Err(reason) => Check::new(&name, Status::Degraded, format!("off: {reason}"))
            .fix("boot a kernel that has it; everything else works without"),
    }
}

impl Host {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn read(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.path(path)).map(|text| text.trim().to_owned())
    }

    fn kernel(&self) -> Check {
        match self.read("/proc/sys/kernel/osrelease") {
            Ok(release) => Check::new("kernel", Status::Ok, format!("{release} {}", std::env::consts::ARCH)),
            Err(error) => Check::new("kernel", Status::Degraded, format!("/proc cannot be read: {error}"))
                .fix("mount /proc"),
        }
    }

    fn btf(&self) -> Check {
        const FILE: &str = "/sys/kernel/btf/vmlinux";
        let read = || -> io::Result<(bool, u64)> {
            let mut magic = [0; 2];
            let mut file = fs::File::open(self.path(FILE))?;
            file.read_exact(&mut magic)?;
            Ok((u16::from_ne_bytes(magic) == 0xeb9f, file.metadata()?.len()))
        };
        match read() {
            Ok((true, size)) => Check::new("btf", Status::Ok, format!("{FILE}, {} KiB", size / 1024)),
            Ok((false, _)) => Check::new("btf", Status::Unavailable, format!("{FILE} is not BTF"))
                .fix("boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Check::new(
                "btf",
                Status::Unavailable,
                format!("{FILE} is missing: structure offsets are not known"),
            )
            .fix("boot a kernel built with CONFIG_DEBUG_INFO_BTF=y; in a container, mount /sys"),
            Err(error) => Check::new("btf", Status::NoPrivilege, format!("{FILE} cannot be read: {error}"))
                .fix("run as root, or allow reading the file"),
        }
    }

    fn lockdown(&self) -> Check {
        let Ok(text) = self.read("/sys/kernel/security/lockdown") else {
            // Any other file there shows that securityfs is mounted.
            let mut entries = fs::read_dir(self.path("/sys/kernel/security")).into_iter().flatten();
            return match entries.next() {
                Some(_) => Check::new("lockdown", Status::Ok, "not active"),
                None => Check::new("lockdown", Status::Info, "not visible: securityfs is not mounted here"),
            };
        };
        let mode = text.split(['[', ']']).nth(1).unwrap_or("unknown");
        match mode {
            "confidentiality" => Check::new(
                "lockdown",
                Status::Unavailable,
                "mode confidentiality: the kernel lets no program read its memory",
            )
            .fix("boot with lockdown=integrity or without lockdown"),
            mode => Check::new(
                "lockdown",
                Status::Ok,
                format!("mode {mode}, which leaves tracing programs alone"),
            ),
        }
    }

    fn capabilities(&self) -> Vec<Check> {
        let status = self.read("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let Some(held) = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()) else {
            return vec![Check::new(
                "capabilities",
                Status::Degraded,
                "/proc/self/status does not tell them",
            )];
        };
        let has = |bit: u32| held & (1 << bit) != 0;
        let check = |(bit, name, want, purpose): (u32, &str, Want, &str)| match want {
            _ if has(bit) => Check::new(name, Status::Ok, purpose),
            Want::Required if has(21) => {
                Check::new(name, Status::Ok, format!("{purpose}; CAP_SYS_ADMIN includes it"))
            }
            Want::Required => Check::new(name, Status::NoPrivilege, format!("missing: it {purpose}"))
                .fix(format!("run as root, or add {name} to the container or unit")),
            Want::Useful => Check::new(name, Status::Degraded, format!("missing: it {purpose}"))
                .fix(format!("add {name} if you need it")),
            Want::Old => Check::new(name, Status::Info, format!("missing: it {purpose}")),
        };
        CAPABILITIES.into_iter().map(check).collect()
    }

    fn cgroups(&self) -> Check {
        let mounts = self.read("/proc/self/mountinfo").unwrap_or_default();
        let (mut v1, mut v2) = (Vec::new(), None);
        for line in mounts.lines() {
            // "36 35 98:0 /root /mount/point options - type source superoptions"
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let point = left.split(' ').nth(4).unwrap_or_default();
            match right.split(' ').next() {
                Some("cgroup") => v1.push(point),
                Some("cgroup2") => v2 = v2.or(Some(point)),
                _ => {}
            }
        }
        match (v1.as_slice(), v2) {
            ([], Some(v2)) => Check::new("cgroups", Status::Ok, format!("v2 at {v2}")),
            ([_, ..], Some(v2)) => {
                Check::new("cgroups", Status::Ok, format!("hybrid: v2 at {v2}, {} v1 mounts", v1.len()))
            }
            ([first, ..], None) => {
                Check::new("cgroups", Status::Ok, format!("v1: {} mounts, first {first}", v1.len()))
            }
            ([], None) => Check::new("cgroups", Status::Degraded, "not mounted: containers have no names")
                .fix("mount the cgroup file system (in a container, mount /sys/fs/cgroup from the host)"),
        }
    }

    fn memlock(&self) -> Check {
        let limits = self.read("/proc/self/limits").unwrap_or_default();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
        let soft = line.and_then(|line| line.split_whitespace().next()).unwrap_or("unknown");
        let unit = if soft == "unlimited" { "" } else { " bytes" };
        let detail =
            format!("{soft}{unit}; counts below kernel 5.11 only, and the agent raises it as far as it may");
        Check::new("memlock", Status::Info, detail)
    }

    fn unprivileged_bpf(&self) -> Check {
        let detail = match self.read("/proc/sys/kernel/unprivileged_bpf_disabled").as_deref() {
            Ok("0") => "unprivileged users may load programs (the agent does not need that)",
            Ok(_) => "unprivileged users may not load programs (the agent does not need that)",
            Err(_) => "the kernel does not tell",
        };
        Check::new("unprivileged bpf", Status::Info, detail)
    }

    fn jit(&self) -> Check {
        match self.read("/proc/sys/net/core/bpf_jit_enable").as_deref() {
            Ok("0") => Check::new(
                "jit",
                Status::Degraded,
                "off: programs are interpreted and cost several times more",
            )
            .fix("sysctl net.core.bpf_jit_enable=1"),
            Ok(_) => Check::new("jit", Status::Ok, "on"),
            Err(_) => Check::new("jit", Status::Info, "not visible from this network namespace"),
        }
    }
}

/// Makes a map, the least that the agent needs of the system call.
fn bpf_syscall() -> Check {
    const NAME: &str = "bpf()";
    match aya::sys::is_map_supported(MapType::Array) {
        Ok(true) => Check::new(NAME, Status::Ok, "a map could be made"),
        Ok(false) => Check::new(NAME, Status::Unavailable, "the kernel has no array maps")
            .fix("boot a kernel built with CONFIG_BPF_SYSCALL=y"),
        Err(error) => match error.io_error.raw_os_error() {
            Some(libc::ENOSYS) => Check::new(NAME, Status::Unavailable, "the kernel has no bpf system call")
                .fix("boot a kernel built with CONFIG_BPF_SYSCALL=y"),
            Some(libc::EPERM | libc::EACCES) => Check::new(NAME, Status::NoPrivilege, "making a map is not permitted")
                .fix("give the capabilities above; if they are there, a user namespace, a seccomp profile or an LSM forbids it"),
            _ => Check::new(NAME, Status::Unavailable, format!("making a map failed: {}", error.io_error)),
        },
    }
}

/// Makes and removes a file where the admin socket would be.
fn socket_directory(admin_socket: &str) -> Check {
    const NAME: &str = "admin socket";
    let path = Path::new(admin_socket);
    let Some(directory) = path.parent().filter(|_| !admin_socket.is_empty()) else {
        return Check::new(NAME, Status::Info, "none configured: `tarsier top` has nothing to connect to");
    };
    let trial = directory.join(format!(".tarsier-doctor.{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&trial);
    match made.and_then(|_| fs::remove_file(&trial)) {
        Ok(()) => Check::new(NAME, Status::Ok, format!("{} can be written", directory.display())),
        Err(error) => {
            let what = match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem => "is on a read-only file system".to_owned(),
                _ => format!("cannot be written: {error}"),
            };
            Check::new(NAME, Status::Degraded, format!("{} {what}: no `tarsier top`", directory.display()))
                .fix("set ops.admin_socket to a path in a writable directory")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host made of these files.
    fn host(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let root = dir.path().to_owned();
        (dir, Host { root })
    }

    #[test]
    fn this_host_has_a_kernel_and_capabilities() {
        let checks = checks("/nowhere/tarsier.sock");
        let named = |name: &str| checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!(named("kernel").status, Status::Ok);
        assert_eq!(named("admin socket").status, Status::Degraded);
        for (_, name, ..) in CAPABILITIES {
            assert!(!named(name).detail.is_empty());
        }
        for check in &checks {
            let broken = check.status >= Status::Degraded;
            assert!(!broken || !check.fix.is_empty(), "what to do about {check:?}?");
        }
    }

    #[test]
    fn missing_capabilities_are_named() {
        // CAP_PERFMON only.
        let (_dir, host) = host(&[("proc/self/status", b"CapInh:\t0\nCapEff:\t0000004000000000\n")]);
        let found = host.capabilities();
        let of = |status| -> Vec<&str> {
            found.iter().filter(|check| check.status == status).map(|check| check.name.as_str()).collect()
        };
        assert_eq!(of(Status::NoPrivilege), ["CAP_BPF"]);
        assert_eq!(of(Status::Ok), ["CAP_PERFMON"]);
        assert_eq!(of(Status::Degraded), ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"]);
    }

    #[test]
    fn kernels_that_do_not_fit() {
        let (_dir, bare) = host(&[]);
        assert_eq!(bare.btf().status, Status::Unavailable);
        assert_eq!(bare.lockdown().status, Status::Info);
        assert_eq!(bare.cgroups().status, Status::Degraded);
        let (_dir, bad) = host(&[
            ("sys/kernel/btf/vmlinux", b"\x7fELF"),
            ("sys/kernel/security/lockdown", b"none integrity [confidentiality]\n"),
            ("proc/sys/net/core/bpf_jit_enable", b"0\n"),
        ]);
        assert_eq!(bad.btf().status, Status::Unavailable);
        assert_eq!(bad.lockdown().status, Status::Unavailable);
        assert_eq!(bad.jit().status, Status::Degraded);
        let (_dir, free) = host(&[("sys/kernel/security/lsm", b"capability")]);
        assert_eq!(free.lockdown().status, Status::Ok);
        let (_dir, good) = host(&[
            ("sys/kernel/btf/vmlinux", &0xeb9f_u16.to_ne_bytes()),
            ("sys/kernel/security/lockdown", b"none [integrity] confidentiality\n"),
        ]);
        assert_eq!((good.btf().status, good.lockdown().status), (Status::Ok, Status::Ok));
    }

    #[test]
    fn only_the_process_core_is_indispensable() {
        let off = Err("needs tcp_sock.srtt_us".to_owned());
        let of = |one, state| sensor(one, state, "tp_btf/x", "fentry/y: no");
        assert_eq!(of(Sensor::Tcp, &off).status, Status::Degraded);
        assert_eq!(of(Sensor::Exec, &off).status, Status::Unavailable);
        assert!(of(Sensor::Tcp, &off).detail.contains("srtt_us"));
        let on = of(Sensor::Tcp, &Ok(()));
        assert_eq!((on.status, on.detail.as_str()), (Status::Ok, "by tp_btf/x; refused here: fentry/y: no"));
    }

    #[test]
    fn cgroup_layouts() {
        let v1 = "30 23 0:26 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n";
        let v2 = "31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        for (mounts, start) in [
            (format!("{v1}{v2}"), "hybrid: v2 at /sys/fs/cgroup/unified, 1"),
            (v2.into(), "v2 at"),
            (v1.into(), "v1:"),
        ] {
            let (_dir, host) = host(&[("proc/self/mountinfo", mounts.as_bytes())]);
            assert!(host.cgroups().detail.starts_with(start), "{:?}", host.cgroups());
        }
    }
}
