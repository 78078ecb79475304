//! Installs what a command needs and the machine lacks: Debian packages and built tools. Says what,
//! asks unless told not to, and never touches a machine that has everything.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build_object::{Toolchain, cache_dir};
use crate::shell::{capture, cargo, is_root, run, say, which};

/// Whether installing needs a question first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// `--yes`, or CI.
    Given,
    /// Ask on the terminal.
    Ask,
}

/// Debian packages and how to see that they are there.
pub(crate) struct Packages {
    /// What they are for, in a few words.
    pub(crate) purpose: &'static str,
    /// Each package with a file that proves it is installed.
    pub(crate) files: &'static [(&'static str, &'static str)],
}

/// rustc and `core` for BPF, the LLVM that bpf-linker is built against, and the linker's own needs.
pub(crate) const BPF: Packages = Packages {
    purpose: "building the eBPF object",
    files: &[
        ("rustc-web", "/usr/share/doc/rustc-web"),
        ("libstd-rust-web-dev-bpf", "/usr/lib/rustlib/bpfel-unknown-none"),
        ("llvm-22", "/usr/lib/llvm-22/bin/llvm-strip"),
        ("llvm-22-dev", "/usr/lib/llvm-22/include/llvm-c"),
        ("libpolly-22-dev", "/usr/share/doc/libpolly-22-dev"),
        ("libzstd-dev", "/usr/include/zstd.h"),
        ("zlib1g-dev", "/usr/include/zlib.h"),
        ("g++", "/usr/bin/g++"),
    ],
};

/// What the kernel tests drive: containers, packet filters, namespaces.
pub(crate) const KERNEL_TESTS: Packages = Packages {
    purpose: "the kernel tests",
    files: &[
        ("runc", "/usr/sbin/runc"),
        ("busybox-static", "/bin/busybox"),
        ("iptables", "/usr/sbin/iptables"),
        ("nftables", "/usr/sbin/nft"),
        ("iproute2", "/bin/ip"),
    ],
};

/// The emulator for the guest kernels.
pub(crate) const GUESTS: Packages = Packages {
    purpose: "guests with other kernels",
    files: &[
        ("qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
        ("runc", "/usr/sbin/runc"),
        ("busybox-static", "/bin/busybox"),
        ("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
        ("xz-utils", "/usr/bin/xz"),
    ],
};

/// What kernel images are compressed with.
pub(crate) const IMAGES: Packages = Packages {
    purpose: "reading a kernel's types",
    files: &[("lz4", "/usr/bin/lz4"), ("zstd", "/usr/bin/zstd")],
};

/// The version that the lock step of LLVM 22 goes with.
const BPF_LINKER: &str = "0.13.0";

/// The BPF toolchain, installed if missing. `None` where this distribution does not package one;
/// then the checked-in object serves.
pub(crate) fn bpf_toolchain(consent: Consent) -> Result<Option<Toolchain>> {
    if let Ok(toolchain) = Toolchain::find()
        && !missing(&BPF).contains(&"llvm-22")
    {
        return Ok(Some(toolchain));
    }
    if !packages(&BPF, consent)? {
        return Ok(None);
    }
    if which("bpf-linker").is_none() {
        let linker = built_tool("bpf-linker", BPF_LINKER, consent)?;
        say(&format!("bpf-linker is {}", linker.display()));
    }
    Toolchain::find().map(Some).map_err(anyhow::Error::msg)
}

/// Installs `wanted` where missing. `false` if this distribution does not have them all.
pub(crate) fn packages(wanted: &Packages, consent: Consent) -> Result<bool> {
    let names = missing(wanted);
    if names.is_empty() {
        return Ok(true);
    }
    if which("apt-get").is_none() {
        return Ok(false);
    }
    let line = format!("apt-get install -y --no-install-recommends {}", names.join(" "));
    ask(&format!("{} needs Debian packages: {}", wanted.purpose, names.join(" ")), consent)?;
    if !is_root() {
        bail!("installing needs root; run this, then try again:\n  sudo {line}");
    }
    if !names.iter().all(|name| is_known(name)) {
        refresh_lists();
        if let Some(name) = names.iter().find(|name| !is_known(name)) {
            say(&format!("this distribution has no package {name}; going on without"));
            return Ok(false);
        }
    }
    say(&line);
    let install = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args([
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
        ]);
        run(command.args(&names))
    };
    if install().is_err() {
        // Lists that are some days old name files that the archive no longer has.
        refresh_lists();
        install()
            .with_context(|| format!("installing {}: check the network and /etc/apt", names.join(" ")))?;
    }
    Ok(true)
}

/// Brings apt's lists up to date. A source that cannot be reached is no reason to stop: the packages
/// that matter may come from the others.
pub(crate) fn refresh_lists() {
    say("apt-get update");
    if let Err(error) = run(Command::new("apt-get").args(["update", "-qq"])) {
        eprintln!("{error:#}; going on with the lists that are there");
    }
}

/// A program built from a crate, kept in the tool cache by name and version.
pub(crate) fn built_tool(name: &str, version: &str, consent: Consent) -> Result<PathBuf> {
    let root = cache_dir().join("tools");
    let program = root.join("bin").join(name);
    let reported = capture(Command::new(&program).arg("--version")).unwrap_or_default();
    if reported.split_whitespace().any(|word| word == version) {
        return Ok(program);
    }
    ask(&format!("{name} {version} will be built into {} (some minutes)", root.display()), consent)?;
    say(&format!("building {name} {version}: some minutes, once per machine"));
    let mut command = cargo();
    command.args(["install", &format!("{name}@{version}"), "--locked", "--force", "--root"]).arg(&root);
    command.env_remove("CARGO_TARGET_DIR").current_dir("/");
    if name == "bpf-linker" {
        command.env("LLVM_PREFIX", "/usr/lib/llvm-22").args([
            "--no-default-features",
            "--features",
            "llvm-22",
        ]);
    }
    run(&mut command).with_context(|| format!("building {name} {version}"))?;
    Ok(program)
}

/// Asks before something is installed; with no terminal to ask on, `--yes` is needed.
pub(crate) fn ask(what: &str, consent: Consent) -> Result<()> {
    say(what);
    if consent == Consent::Given {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("not installing without consent: say --yes");
    }
    print!("install? [Y/n] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "" | "y" | "Y" | "yes" => Ok(()),
        _ => bail!("stopped: nothing was installed"),
    }
}

/// Those of `wanted` that are not installed.
fn missing(wanted: &Packages) -> Vec<&'static str> {
    wanted.files.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(name, _)| *name).collect()
}

fn is_known(package: &str) -> bool {
    let candidate = capture(Command::new("apt-cache").args(["policy", package])).unwrap_or_default();
    candidate.lines().any(|line| line.trim_start().starts_with("Candidate:") && !line.contains("(none)"))
}
