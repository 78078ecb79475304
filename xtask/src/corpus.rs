//! `cargo xtask corpus [NAME]…`: the captures under `tests/captures/`, recorded anew: one of each kernel of the
//! matrix, and `bench`, a large one of the running kernel. Afterwards the golden output is blessed.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::dist::{Binaries, quick_binaries};
use crate::install::Consent;
use crate::shell::{cargo, run, say, target_dir, workspace};
use crate::{kernels, vm};

/// The benchmark's capture, of the running kernel.
const BENCH: &str = "bench";

/// What `tarsier-itest corpus` writes.
#[derive(Deserialize)]
struct Line {
    capture: String,
}

/// Records the named captures; all if none is named.
pub(crate) fn command(consent: Consent, names: &[String]) -> Result<()> {
    let kernels = kernels::list()?;
    let known = |name: &String| name == BENCH || kernels.iter().any(|kernel| kernel.name == *name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        bail!("no kernel `{name}` in tests/kernels.toml, and it is not `{BENCH}`");
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|known| known == name);
    let binaries = quick_binaries(consent)?;
    for kernel in kernels.iter().filter(|kernel| wanted(&kernel.name)) {
        let bytes = if kernel.is_guest() {
            match vm::get(consent, kernel)? {
                Ok(unpacked) => vm::boot(kernel, &unpacked, &binaries, "corpus", "", parse)?,
                Err(gap) => bail!("{}: {gap}", kernel.name),
            }
        } else {
            native(&binaries, "")?
        };
        write(&kernel.name, &bytes)?;
    }
    if wanted(BENCH) {
        write(BENCH, &native(&binaries, "large")?)?;
    }
    let mut bless = cargo();
    bless.args(["test", "--locked", "--package", "tarsier", "--test", "replay"]).env("TARSIER_BLESS", "1");
    run(&mut bless)
}

fn native(binaries: &Binaries, filter: &str) -> Result<Vec<u8>> {
    let results = target_dir().join("corpus.ndjson");
    let mut command = Command::new(&binaries.itest);
    command.arg("corpus").arg("--results").arg(&results).arg("--agent").arg(&binaries.agent);
    command.args(["--filter", filter]).stdin(Stdio::null());
    run(&mut command)?;
    parse(&std::fs::read_to_string(&results)?)
}

fn parse(text: &str) -> Result<Vec<u8>> {
    let Line { capture } = serde_json::from_str(text.trim()).context("no capture came")?;
    let digits = capture.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair)?, 16).context("not hexadecimal");
    digits.map(byte).collect()
}

fn write(name: &str, bytes: &[u8]) -> Result<()> {
    let folder = workspace().join("tests/captures");
    std::fs::create_dir_all(&folder)?;
    let path: &Path = &folder.join(format!("{name}.tarsier"));
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))?;
    say(&format!("{}: {} bytes", path.display(), bytes.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_capture_comes_as_hexadecimal() {
        assert_eq!(parse("{\"capture\":\"89545352\"}\n").unwrap(), *b"\x89TSR");
        assert!(parse("").is_err());
        assert!(parse("{\"capture\":\"8g\"}").is_err());
    }
}
