//! `cargo xtask vm [--kernel NAME] [--filter TEXT]`: the suite in a QEMU guest with another kernel.
//!
//! The guest is an initramfs: the test binary as init, the agent, busybox, runc, a few modules. The first
//! serial port is the console, the second brings the results, one JSON line each. No disk, no network.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cpio::Archive;
use crate::dist::Binaries;
use crate::image::Unpacked;
use crate::install::{self, Consent};
use crate::kernels::{self, Kernel};
use crate::results::Results;
use crate::shell::{capture, say, target_dir, which};

/// Programs that tests call by name and busybox is.
const APPLETS: [&str; 12] =
    ["sh", "cat", "sleep", "true", "false", "ls", "mkdir", "mount", "umount", "ip", "chroot", "echo"];

/// Longest part of a result's line that is shown.
const LONGEST_SHOWN: usize = 400;

/// The command: boots one guest and shows what ran.
pub(crate) fn command(consent: Consent, kernel: &str, filter: &str) -> Result<()> {
    let kernel = kernels::named(kernel)?;
    if !kernel.is_guest() {
        bail!("{} is the running kernel: `cargo xtask test` tests it", kernel.name);
    }
    let unpacked = match get(consent, &kernel)? {
        Ok(unpacked) => unpacked,
        Err(gap) => bail!(gap),
    };
    let binaries = crate::dist::quick_binaries(consent)?;
    let results = run(&kernel, &unpacked, &binaries, filter)?;
    println!("{}", results.summary());
    if results.failed > 0 { bail!("{} tests failed in the guest", results.failed) } else { Ok(()) }
}

/// The emulator and a kernel's files, fetched if missing. `Err` in it: why this machine cannot.
pub(crate) fn get(consent: Consent, kernel: &Kernel) -> Result<Result<Unpacked, String>> {
    if !install::packages(&install::GUESTS, consent)? {
        return Ok(Err("this distribution does not package what guests take".into()));
    }
    kernel.fetch().with_context(|| format!("kernel {}", kernel.name))
}

/// Boots `kernel` and collects the results of its tests whose names contain `filter`.
pub(crate) fn run(
    kernel: &Kernel,
    unpacked: &Unpacked,
    binaries: &Binaries,
    filter: &str,
) -> Result<Results> {
    boot(kernel, unpacked, binaries, "guest", filter, Results::parse)
}

/// Boots `kernel`, runs one group of the test binary in it, and reads what that wrote.
pub(crate) fn boot<T>(
    kernel: &Kernel,
    unpacked: &Unpacked,
    binaries: &Binaries,
    group: &str,
    filter: &str,
    read: impl FnOnce(&str) -> Result<T>,
) -> Result<T> {
    let folder = target_dir().join("vm").join(&kernel.name);
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let guest = Guest { kernel, unpacked, folder: &folder };
    guest.write_initramfs(binaries)?;
    say(&format!("booting {} in QEMU (console: {})", unpacked.package, guest.console().display()));
    guest.boot(group, filter)?;
    let text = std::fs::read_to_string(guest.results()).unwrap_or_default();
    read(&text).or_else(|error| {
        let console = std::fs::read(guest.console()).unwrap_or_default();
        let console = last_words(&String::from_utf8_lossy(&console));
        bail!("guest {}: {error:#}; the end of its console:\n{console}", kernel.name)
    })
}

/// Lines of a console that are shown of a guest that did not come to its end.
const LAST_WORDS: usize = 80;

/// The end of a console; of a kernel that died, from where that began.
fn last_words(console: &str) -> String {
    // How the kernel's own report of a fault begins (arch/x86/kernel/{traps,dumpstack}.c, kernel/panic.c).
    const SIGNS: [&str; 7] = [
        "BUG: ",
        "Oops: ",
        "kernel BUG at",
        "general protection fault",
        "int3: ",
        "invalid opcode",
        "stack guard",
    ];
    let lines: Vec<&str> = console.lines().collect();
    let end = lines.len().saturating_sub(LAST_WORDS);
    let died = lines.iter().position(|line| SIGNS.iter().any(|sign| line.contains(sign)));
    let from = died.map_or(end, |at| at.saturating_sub(3).min(end));
    lines.get(from..).unwrap_or_default().join("\n")
}

/// The shared libraries of `program` and its loader, at the paths where they are looked for.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let listed = capture(Command::new("ldd").arg(program))?;
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`
    let paths = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(str::to_owned).collect())
}

struct Guest<'a> {
    kernel: &'a Kernel,
    unpacked: &'a Unpacked,
    folder: &'a Path,
}

impl Guest<'_> {
    fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    fn results(&self) -> PathBuf {
        self.folder.join("results.ndjson")
    }

    fn write_initramfs(&self, binaries: &Binaries) -> Result<()> {
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
        let mut archive = Archive::default();
        archive.device("/dev/console", 5, 1);
        for folder in ["/proc", "/sys", "/tmp", "/run", "/root"] {
            archive.folder(folder);
        }
        archive.file("/bin/tarsier", &read(&binaries.agent)?);
        archive.file("/bin/itest", &read(&binaries.itest)?);
        archive.link("/init", "bin/itest");
        let busybox = which("busybox").context("busybox is not installed")?;
        archive.file("/bin/busybox", &read(&busybox)?);
        for applet in APPLETS {
            archive.link(&format!("/bin/{applet}"), "busybox");
        }
        let runc = which("runc").context("runc is not installed")?;
        archive.file("/usr/sbin/runc", &read(&runc)?);
        for library in libraries(&runc)? {
            archive.file(&library, &read(Path::new(&library))?);
        }
        archive.file("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n");
        let mut list = String::new();
        for module in &self.unpacked.modules {
            let path = format!("/lib/modules/{}", module.file);
            archive.file(&path, &module.bytes);
            list.push_str(&path);
            list.push('\n');
        }
        archive.file("/etc/modules.list", list.as_bytes());
        let path = self.folder.join("initramfs.cpio");
        std::fs::write(&path, archive.finish()).with_context(|| format!("writing {}", path.display()))
    }

    /// Runs QEMU until the guest powers off; kills it at the deadline or when its kernel has died.
    fn boot(&self, group: &str, filter: &str) -> Result<()> {
        for old in [self.console(), self.results()] {
            std::fs::write(&old, "").with_context(|| format!("emptying {}", old.display()))?;
        }
        let mut append = format!("console=ttyS0 panic=-1 quiet loglevel=4 {}", self.kernel.guests.append);
        append.push_str(&format!(" itest.group={group}"));
        if !filter.is_empty() {
            append.push_str(&format!(" itest.filter={filter}"));
        }
        let mut command = Command::new("qemu-system-x86_64");
        // Emulation everywhere: KVM inside a virtual machine is often there and does not work, and a
        // guest must behave the same on every machine. One thread for both CPUs: with one each, QEMU 7.2
        // now and then runs an `int3` that the other CPU has already patched away (the kernel turns a
        // tracepoint on or off in that way), and the guest dies of it.
        command.args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "1G"]);
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-append",
            &append,
        ]);
        command.arg("-kernel").arg(&self.unpacked.image);
        command.arg("-initrd").arg(self.folder.join("initramfs.cpio"));
        for port in [self.console(), self.results()] {
            command.arg("-serial").arg(format!("file:{}", port.display()));
        }
        let errors = std::fs::File::create(self.folder.join("qemu.log"))?;
        let mut child = command.stdin(Stdio::null()).stderr(errors).spawn().context("starting QEMU")?;
        let (start, mut shown) = (Instant::now(), 0);
        loop {
            if let Some(status) = child.try_wait()? {
                if !status.success() {
                    let log = std::fs::read_to_string(self.folder.join("qemu.log")).unwrap_or_default();
                    bail!("QEMU failed ({status}): {}", log.trim());
                }
                return Ok(());
            }
            if start.elapsed() > self.kernel.guests.timeout() {
                child.kill()?;
                child.wait()?;
                bail!(
                    "guest {} still ran after {:?}; see {}",
                    self.kernel.name,
                    self.kernel.guests.timeout(),
                    self.console().display()
                );
            }
            // QEMU tells nobody when a serial port's file grows.
            std::thread::sleep(Duration::from_millis(500));
            let text = std::fs::read_to_string(self.results()).unwrap_or_default();
            // The last line may not be whole yet.
            let lines: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
            for line in lines.iter().skip(shown).filter(|line| !line.contains("\"note\":")) {
                let line: String = line.trim_end().chars().take(LONGEST_SHOWN).collect();
                println!("    [{}] {line}", self.kernel.name);
            }
            shown = lines.len();
        }
    }
}
