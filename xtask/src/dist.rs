//! `cargo xtask dist`: the release binary, and the static binaries that the tests run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::install::{self, Consent};
use crate::shell::{cargo, run, say, target_dir, workspace};

/// The release binary is at most this big.
const SIZE_LIMIT: u64 = 20 << 20;
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Program header types that a static binary does not have, and section types of symbols.
const PT_INTERP: u32 = 3;
const SHT_SYMTAB: u32 = 2;

/// The binaries of a test run.
pub(crate) struct Binaries {
    /// The agent under test.
    pub(crate) agent: PathBuf,
    /// The test binary.
    pub(crate) itest: PathBuf,
}

/// Builds `target/dist/tarsier` and proves that it is what is promised: one static file, stripped,
/// not above [`SIZE_LIMIT`].
pub(crate) fn dist(consent: Consent) -> Result<PathBuf> {
    install::bpf_toolchain(consent)?;
    say("building the release binary (fat LTO: some minutes when cold)");
    build_static("dist", &["tarsier"])?;
    let built = target_dir().join(TRIPLE).join("dist/tarsier");
    let folder = target_dir().join("dist");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let path = folder.join("tarsier");
    std::fs::copy(&built, &path)
        .with_context(|| format!("copying {} to {}", built.display(), path.display()))?;
    let size = prove(&path)?;
    say(&format!("{}: one static file, stripped, {:.1} MB", path.display(), size as f64 / 1e6));
    let rules = pack(&folder)?;
    say(&format!("{}: {rules} files of our own rules", folder.join("rules").display()));
    Ok(path)
}

/// Puts our own rules beside the binary, without their tests; how many files.
fn pack(folder: &Path) -> Result<usize> {
    let (from, to) = (workspace().join("deploy/rules"), folder.join("rules"));
    if to.exists() {
        std::fs::remove_dir_all(&to).with_context(|| format!("emptying {}", to.display()))?;
    }
    std::fs::create_dir(&to).with_context(|| format!("making {}", to.display()))?;
    let mut count = 0;
    for entry in std::fs::read_dir(&from).with_context(|| format!("reading {}", from.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yaml") && !name.ends_with(".test.yaml") {
            std::fs::copy(from.join(&name), to.join(&name)).with_context(|| format!("copying {name}"))?;
            count += 1;
        }
    }
    if count == 0 {
        bail!("{} has no rules", from.display());
    }
    Ok(count)
}

/// The test binary beside the shipped agent.
pub(crate) fn release_binaries(consent: Consent) -> Result<Binaries> {
    Ok(Binaries { agent: dist(consent)?, itest: test_binary(&["tarsier-tests"])? })
}

/// Both binaries in the quick profile: little optimised, with overflow checks.
pub(crate) fn quick_binaries(consent: Consent) -> Result<Binaries> {
    install::bpf_toolchain(consent)?;
    let itest = test_binary(&["tarsier", "tarsier-tests"])?;
    Ok(Binaries { agent: itest.with_file_name("tarsier"), itest })
}

fn test_binary(packages: &[&str]) -> Result<PathBuf> {
    say("building the test binary");
    build_static("itest", packages)?;
    Ok(target_dir().join(TRIPLE).join("itest/tarsier-itest"))
}

/// Static binaries: with a named target, the flag does not reach build scripts and macros.
fn build_static(profile: &str, packages: &[&str]) -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--locked", "--bins", "--target", TRIPLE, "--profile", profile]);
    command.args(["--config", &format!("target.{TRIPLE}.rustflags=['-Ctarget-feature=+crt-static']")]);
    for package in packages {
        command.args(["--package", package]);
    }
    run(&mut command)
}

/// Checks the promises about the release binary; returns its size in bytes.
fn prove(path: &Path) -> Result<u64> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let size = bytes.len() as u64;
    if size > SIZE_LIMIT {
        bail!(
            "{} has {size} bytes, limit {SIZE_LIMIT}: `cargo tree -p tarsier` shows what came in",
            path.display()
        );
    }
    let elf = Elf(&bytes);
    if elf.segment_types().context("not an ELF file")?.contains(&PT_INTERP) {
        bail!("{} needs a dynamic loader: it must be static", path.display());
    }
    if elf.section_types().context("not an ELF file")?.contains(&SHT_SYMTAB) {
        bail!("{} holds a symbol table: it must be stripped", path.display());
    }
    Ok(size)
}

/// The two header tables of a 64-bit little-endian ELF file.
struct Elf<'a>(&'a [u8]);

impl Elf<'_> {
    fn segment_types(&self) -> Option<Vec<u32>> {
        self.types(32, 54, 56, 0)
    }

    fn section_types(&self) -> Option<Vec<u32>> {
        self.types(40, 58, 60, 4)
    }

    /// The 32-bit value at `field` of every entry of the table whose offset, entry size and count are
    /// at these places of the file header.
    fn types(&self, offset: usize, size: usize, count: usize, field: usize) -> Option<Vec<u32>> {
        let start = usize::try_from(u64::from_le_bytes(self.at(offset)?)).ok()?;
        let size = usize::from(u16::from_le_bytes(self.at(size)?));
        let count = usize::from(u16::from_le_bytes(self.at(count)?));
        (0..count).map(|index| self.at(start + index * size + field).map(u32::from_le_bytes)).collect()
    }

    fn at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..offset.checked_add(N)?)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{Elf, PT_INTERP, SHT_SYMTAB, prove};

    #[test]
    fn this_test_itself_is_neither_static_nor_stripped() {
        let path = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(Elf(&bytes).segment_types().unwrap().contains(&PT_INTERP));
        assert!(Elf(&bytes).section_types().unwrap().contains(&SHT_SYMTAB));
        assert!(prove(&path).unwrap_err().to_string().contains("must be"));
        assert!(Elf(b"short").segment_types().is_none());
    }
}
