//! Compiling the eBPF object: shared, by `#[path]`, between `agent/build.rs` (which embeds the object)
//! and `cargo xtask ebpf` (which checks it in), so that both make the same bytes.
//!
//! Everything that could change the bytes from one machine to the next is pinned here: flags, path
//! prefixes, environment. The nested cargo has a target directory of its own, since the outer one
//! holds the lock of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// The target of the kernel side; one object serves every little-endian architecture.
const TARGET: &str = "bpfel-unknown-none";

/// Flags of the kernel side (docs/adr/0001): `v3` for 32-bit jumps; `--disable-expand-memcpy-in-order`
/// because the linker's default turns every memset of 16 bytes or more into a call of a byte loop.
const FLAGS: [&str; 4] =
    ["-Ctarget-cpu=v3", "-Cdebuginfo=2", "-Clink-arg=--btf", "-Clink-arg=--disable-expand-memcpy-in-order"];

/// A message for people: what failed, and what to do about it.
pub(crate) type Failure = String;

/// Everything needed to compile the object here.
pub(crate) struct Toolchain {
    rustc: PathBuf,
    /// No `core` for the target comes with this compiler: build it from rust-src.
    build_std: bool,
    linker: PathBuf,
    strip: Option<PathBuf>,
}

impl Toolchain {
    /// The first compiler of the search order that can target BPF, with the linker. The error says
    /// what is missing and what installs it.
    pub(crate) fn find() -> Result<Self, Failure> {
        let linker = find_program("bpf-linker").ok_or(
            "bpf-linker is neither on PATH nor in the tool cache: `cargo xtask ebpf` installs it (as root)",
        )?;
        let strip = ["llvm-strip-22", "/usr/lib/llvm-22/bin/llvm-strip", "llvm-strip"];
        let strip = strip.iter().find_map(|name| find_program(name));
        let candidates: Vec<PathBuf> = std::env::var_os("TARSIER_BPF_RUSTC")
            .map(PathBuf::from)
            .into_iter()
            .chain(["rustc".into(), "/usr/bin/rustc".into()])
            .filter_map(|rustc| sysroot(Command::new(rustc)).map(|root| root.join("bin/rustc")))
            .collect();
        let part = |rustc: &Path, below: &str| rustc.ancestors().nth(2).map(|root| root.join(below).is_dir());
        let std_dir = format!("lib/rustlib/{TARGET}");
        if let Some(rustc) = candidates.iter().find(|rustc| part(rustc, &std_dir) == Some(true)) {
            return Ok(Self { rustc: rustc.clone(), build_std: false, linker, strip });
        }
        let mut nightly = Command::new("rustup");
        nightly.args(["run", "nightly", "rustc"]);
        let nightly = sysroot(nightly).map(|root| root.join("bin/rustc"));
        match candidates
            .into_iter()
            .chain(nightly)
            .find(|rustc| part(rustc, "lib/rustlib/src/rust") == Some(true))
        {
            Some(rustc) => Ok(Self { rustc, build_std: true, linker, strip }),
            None => Err(format!(
                "no rustc here has `{std_dir}` or rust-src: on Debian `cargo xtask ebpf` installs one (as root); \
                 elsewhere `rustup component add rust-src --toolchain nightly`"
            )),
        }
    }

    /// The compiler, its LLVM and the linker, in one line.
    pub(crate) fn describe(&self) -> String {
        let verbose = output(Command::new(&self.rustc).arg("-vV")).unwrap_or_default();
        let release = verbose.lines().next().unwrap_or("rustc of unknown version");
        let llvm = verbose
            .lines()
            .find(|line| line.starts_with("LLVM version"))
            .unwrap_or("LLVM of unknown version");
        let linker = output(Command::new(&self.linker).arg("--version")).unwrap_or_default();
        let std = if self.build_std { ", core built from rust-src" } else { "" };
        format!("{release}, {llvm}, {}{std}", linker.trim())
    }

    /// Compiles the object below `target_dir` and returns its bytes, stripped of debug sections where
    /// an llvm-strip exists (`.BTF` and `.BTF.ext` stay).
    pub(crate) fn compile(&self, workspace: &Path, target_dir: &Path) -> Result<Vec<u8>, Failure> {
        self.run_cargo(workspace, target_dir)?;
        let object = target_dir.join(TARGET).join("ebpf/tarsier-ebpf");
        let read =
            |path: &Path| std::fs::read(path).map_err(|error| format!("reading {}: {error}", path.display()));
        let Some(strip) = &self.strip else { return read(&object) };
        // One name per process: check, clippy and test builds may pass here at the same time.
        let stripped = target_dir.join(format!("stripped-{}.o", std::process::id()));
        let mut command = Command::new(strip);
        command.arg("-g").arg(&object).arg("-o").arg(&stripped);
        output(&mut command).map_err(|error| format!("stripping the eBPF object: {error}"))?;
        let bytes = read(&stripped);
        // The copy is only a stage; what cannot be removed is overwritten or ignored next time.
        let _ = std::fs::remove_file(&stripped);
        bytes
    }

    fn run_cargo(&self, workspace: &Path, target_dir: &Path) -> Result<(), Failure> {
        let cargo = self.rustc.with_file_name("cargo");
        let mut command = match cargo.is_file() && self.build_std {
            true => Command::new(cargo),
            false => Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
        };
        // The outer cargo, clippy and test runners leave their mark in these; none may reach the object.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let foreign = text.starts_with("CARGO_PROFILE_") || text.starts_with("CARGO_TARGET_");
            if foreign || text.contains("RUSTFLAGS") || text.contains("RUSTC") || text == "CARGO_BUILD_TARGET"
            {
                command.env_remove(&name);
            }
        }
        command
            .current_dir(workspace)
            .env("RUSTC", &self.rustc)
            // aya-ebpf uses `asm_experimental_arch`; this also lets a stable compiler take -Z flags.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(workspace))
            .args(["build", "--locked", "--package", "tarsier-ebpf", "--profile", "ebpf", "--target", TARGET])
            .arg("--target-dir")
            .arg(target_dir);
        if self.build_std {
            command.args(["-Z", "build-std=core"]);
        }
        output(&mut command).map(drop).map_err(|error| format!("building the eBPF object: {error}"))
    }

    /// [`FLAGS`], the linker, and the prefixes that would put this machine's folders in the object.
    fn flags(&self, workspace: &Path) -> OsString {
        let mut flags = OsString::from(FLAGS.join("\u{1f}"));
        let mut push = |prefix: &str, path: &Path, suffix: &str| {
            flags.push("\u{1f}");
            flags.push(prefix);
            flags.push(path);
            flags.push(suffix);
        };
        push("-Clinker=", &self.linker, "");
        push("--remap-path-prefix=", workspace, "=/tarsier");
        for source in registry_sources() {
            push("--remap-path-prefix=", &source, "=/cargo");
        }
        if let Some(root) = self.rustc.ancestors().nth(2) {
            push("--remap-path-prefix=", &root.join("lib/rustlib/src/rust"), "=/rust");
        }
        flags
    }
}

/// Where built tools and peers stay between clones: `$TARSIER_CACHE`, else `~/.cache/tarsier`.
pub(crate) fn cache_dir() -> PathBuf {
    match std::env::var_os("TARSIER_CACHE") {
        Some(dir) => dir.into(),
        None => {
            PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache/tarsier")
        }
    }
}

/// The SHA-256 of everything the object is made from, one `hash  name` line each, sorted: sources,
/// manifests, the locked versions of every dependency, and the flags. A checked-in object is good
/// exactly while the list recorded beside it equals this one.
pub(crate) fn inputs(workspace: &Path) -> Result<String, Failure> {
    let read = |path: &str| {
        std::fs::read_to_string(workspace.join(path)).map_err(|error| format!("reading {path}: {error}"))
    };
    let mut parts = BTreeMap::new();
    for path in source_files(workspace)? {
        let text = read(&path)?;
        parts.insert(path, text);
    }
    let manifest = read("Cargo.toml")?;
    // Only what reaches the object: an agent-only dependency must not make the checked-in object stale.
    let wanted = |line: &&str| line.starts_with("aya-ebpf ") || line.starts_with("zerocopy ");
    let profile = manifest.split("[profile.ebpf]").nth(1).and_then(|rest| rest.split("\n[").next());
    let versions: String = manifest.lines().filter(wanted).collect();
    parts.insert("Cargo.toml".into(), format!("{versions}{}", profile.unwrap_or_default().trim()));
    parts.insert("Cargo.lock".into(), locked_versions(&read("Cargo.lock")?, "tarsier-ebpf"));
    parts.insert("flags".into(), FLAGS.join(" "));
    let mut list = String::new();
    for (name, text) in parts {
        writeln!(list, "{}  {name}", hex_digest(text.as_bytes())).map_err(|error| error.to_string())?;
    }
    Ok(list)
}

/// The lowercase hexadecimal SHA-256 of `bytes`.
pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The kernel side's own files, relative to the workspace, sorted.
pub(crate) fn source_files(workspace: &Path) -> Result<Vec<String>, Failure> {
    let mut files = vec!["ebpf/Cargo.toml".to_owned(), "ebpf/abi/Cargo.toml".to_owned()];
    let mut folders = vec!["ebpf/src".to_owned(), "ebpf/abi/src".to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(workspace.join(&folder))
            .map_err(|error| format!("reading {folder}: {error}"))?;
        for entry in entries {
            let entry = entry.map_err(|error| format!("reading {folder}: {error}"))?;
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// `name version checksum` of `root`'s dependencies, direct and not, as the lock file has them.
fn locked_versions(lock: &str, root: &str) -> String {
    let mut packages: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for block in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            line.map_or("", |text| text.trim_end_matches('"')).to_owned()
        };
        let needs = block.lines().filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","));
        let entry = format!("{} {} {}\n", value("name"), value("version"), value("checksum"));
        // A dependency is written as `name`, or `name version` where several versions are locked.
        for key in [value("name"), format!("{} {}", value("name"), value("version"))] {
            packages.insert(key, (entry.clone(), needs.clone().map(str::to_owned).collect()));
        }
    }
    let (mut reached, mut queue) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some((entry, needs)) = queue.pop().and_then(|name| packages.get(&name)) {
        if reached.insert(entry.clone()) {
            queue.extend(needs.iter().cloned());
        }
    }
    reached.into_iter().collect()
}

/// A program by path, on PATH, or among the tools that xtask installed.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Joining an absolute name to a folder gives the absolute name.
    let folders = std::env::split_paths(&path).chain([cache_dir().join("tools/bin")]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The sysroot that `rustc` reports, if it runs at all.
fn sysroot(mut rustc: Command) -> Option<PathBuf> {
    output(rustc.args(["--print", "sysroot"])).ok().map(|text| PathBuf::from(text.trim()))
}

/// The folders with unpacked crates; their names hold a hash of where this machine gets crates from.
fn registry_sources() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let entries = home.and_then(|home| std::fs::read_dir(home.join("registry/src")).ok());
    entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Runs a command; its standard output, or what it wrote to standard error.
fn output(command: &mut Command) -> Result<String, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let result = command.output().map_err(|error| format!("{program} does not start: {error}"))?;
    if result.status.success() {
        return Ok(String::from_utf8_lossy(&result.stdout).into_owned());
    }
    Err(format!("{program} failed ({})\n{}", result.status, String::from_utf8_lossy(&result.stderr)))
}
