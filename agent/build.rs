//! Gets the eBPF object that the agent embeds: the given one, a fresh build, or the checked-in one.
//!
//! Leaves `OUT_DIR/tarsier.bpf.o` and the build facts that `tarsier --version` prints:
//! `TARSIER_EBPF_BUILD`, `TARSIER_EBPF_SHA256`, `TARSIER_RUSTC`, `TARSIER_GIT_REV`, `TARSIER_TARGET`.

#[path = "../ebpf/build_object.rs"]
mod build_object;

use std::path::{Path, PathBuf};
use std::process::Command;

use build_object::Failure;

fn main() {
    if let Err(failure) = run() {
        for line in failure.lines() {
            println!("cargo::error={line}");
        }
    }
}

fn run() -> Result<(), Failure> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().ok_or("agent/ has no parent folder")?;
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    watch(workspace)?;
    let (object, origin) = obtain(workspace, &out_dir)?;
    write_if_changed(&out_dir.join("tarsier.bpf.o"), &object)?;
    set("TARSIER_EBPF_BUILD", &origin);
    set("TARSIER_EBPF_SHA256", &build_object::hex_digest(&object));
    set("TARSIER_RUSTC", &text_of(Command::new(variable("RUSTC")?).arg("--version")).unwrap_or_default());
    set("TARSIER_TARGET", &variable("TARGET")?);
    set("TARSIER_GIT_REV", &revision(workspace));
    Ok(())
}

/// The object and how it came to be, by the first way that works here.
fn obtain(workspace: &Path, out_dir: &Path) -> Result<(Vec<u8>, String), Failure> {
    if let Some(path) = std::env::var_os("TARSIER_EBPF_OBJECT") {
        let path = PathBuf::from(path);
        println!("cargo::rerun-if-changed={}", path.display());
        let object = std::fs::read(&path)
            .map_err(|error| format!("TARSIER_EBPF_OBJECT: {}: {error}", path.display()))?;
        return Ok((object, "given by TARSIER_EBPF_OBJECT".into()));
    }
    match build_object::Toolchain::find() {
        Ok(toolchain) => {
            let object = toolchain.compile(workspace, &nested_target_dir(out_dir))?;
            Ok((object, format!("built with {}", toolchain.describe())))
        }
        Err(missing) => {
            let object = prebuilt(workspace).map_err(|stale| format!("{missing}\n{stale}"))?;
            println!(
                "cargo::warning=eBPF object: the checked-in one (its inputs are unchanged), since {missing}"
            );
            Ok((object, "checked in, inputs unchanged".into()))
        }
    }
}

/// The checked-in object, if it was made from exactly this tree.
fn prebuilt(workspace: &Path) -> Result<Vec<u8>, Failure> {
    let folder = workspace.join("ebpf/prebuilt");
    let fix =
        "install a BPF toolchain (`cargo xtask ebpf` as root does), or name an object in TARSIER_EBPF_OBJECT";
    let recorded = std::fs::read_to_string(folder.join("INPUTS.sha256"))
        .map_err(|error| format!("ebpf/prebuilt/INPUTS.sha256: {error}; {fix}"))?;
    let current = build_object::inputs(workspace)?;
    if let Some(line) = current.lines().find(|line| !recorded.lines().any(|known| known == *line)) {
        let name = line.split("  ").nth(1).unwrap_or(line);
        return Err(format!("the checked-in eBPF object is out of date: {name} has changed since; {fix}"));
    }
    if recorded != current {
        return Err(format!("the checked-in eBPF object is out of date: it had other source files; {fix}"));
    }
    std::fs::read(folder.join("tarsier.bpf.o"))
        .map_err(|error| format!("ebpf/prebuilt/tarsier.bpf.o: {error}; {fix}"))
}

/// Declares everything that a new object could come from.
fn watch(workspace: &Path) -> Result<(), Failure> {
    for variable in ["TARSIER_EBPF_OBJECT", "TARSIER_BPF_RUSTC", "TARSIER_CACHE"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    // Folders too, so that a new file counts.
    let folders =
        ["ebpf/src", "ebpf/abi/src", "ebpf/build_object.rs", "ebpf/prebuilt", "Cargo.toml", "Cargo.lock"]
            .map(str::to_owned);
    for path in build_object::source_files(workspace)?.into_iter().chain(folders) {
        if workspace.join(&path).exists() {
            println!("cargo::rerun-if-changed={}", workspace.join(path).display());
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}

/// `ebpf/` in the outer target directory, shared by check, clippy, test and release builds.
fn nested_target_dir(out_dir: &Path) -> PathBuf {
    let target = out_dir.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.unwrap_or(out_dir).join("ebpf")
}

/// The commit, in optimised builds only: a development build would be compiled anew at every commit.
fn revision(workspace: &Path) -> String {
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return "development build".into();
    }
    let git = |arguments: &[&str]| text_of(Command::new("git").current_dir(workspace).args(arguments));
    for name in ["HEAD", "packed-refs"].into_iter().map(str::to_owned).chain(git(&["symbolic-ref", "HEAD"])) {
        let file = git(&["rev-parse", "--git-path", &name]).map(|path| workspace.join(path));
        if let Some(file) = file.filter(|file| file.exists()) {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    git(&["describe", "--always", "--dirty", "--abbrev=12"]).unwrap_or_else(|| "not from a git clone".into())
}

fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    std::fs::write(path, bytes).map_err(|error| format!("writing {}: {error}", path.display()))
}

fn text_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn variable(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|error| format!("{name}: {error}"))
}

fn set(name: &str, value: &str) {
    println!("cargo::rustc-env={name}={value}");
}
