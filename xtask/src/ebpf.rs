//! `cargo xtask ebpf [--check]`: the checked-in eBPF object, the hashes of what it was made from, the
//! versions that made it, and the budget table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::budget::Budget;
use crate::build_object::{Toolchain, inputs};
use crate::install::{self, Consent};
use crate::listing;
use crate::shell::{capture, say, target_dir, workspace};

/// Rebuilds and writes everything; with `check`, proves instead that what is checked in is current,
/// byte for byte.
pub(crate) fn run(consent: Consent, check: bool) -> Result<()> {
    let Some(toolchain) = install::bpf_toolchain(consent)? else {
        bail!(
            "no BPF toolchain for this distribution: use Debian 12 or later, or nightly with rust-src and bpf-linker"
        );
    };
    say(&format!("building the eBPF object with {}", toolchain.describe()));
    let made = Made::new(&toolchain)?;
    let faults = listing::faults(&made.functions);
    if !faults.is_empty() {
        bail!("the eBPF object must not be like this:\n  {}", faults.join("\n  "));
    }
    if check { made.check() } else { made.write() }
}

/// Everything that is checked in, made anew.
struct Made {
    functions: BTreeMap<String, listing::Function>,
    /// Path below `ebpf/`, content; the object comes last, since the other differences explain its own.
    files: Vec<(&'static str, Vec<u8>)>,
}

impl Made {
    fn new(toolchain: &Toolchain) -> Result<Self> {
        let object =
            toolchain.compile(workspace(), &target_dir().join("ebpf")).map_err(anyhow::Error::msg)?;
        let functions = listing::parse(&disassemble(&object)?);
        let inputs = inputs(workspace()).map_err(anyhow::Error::msg)?;
        let budget = Budget::parse(&std::fs::read_to_string(path_of(BUDGET)).unwrap_or_default());
        let budget = budget.table(&functions);
        let files = vec![
            (VERSIONS, format!("{}\n", toolchain.describe()).into_bytes()),
            (INPUTS, inputs.into_bytes()),
            (BUDGET, budget.into_bytes()),
            (OBJECT, object),
        ];
        Ok(Self { functions, files })
    }

    fn write(&self) -> Result<()> {
        for (name, content) in &self.files {
            let path = path_of(name);
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            std::fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
        say(&format!("ebpf/prebuilt/tarsier.bpf.o: {} programs; commit ebpf/", self.functions.len()));
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let fix = "run `cargo xtask ebpf` and commit ebpf/";
        let versions = std::fs::read(path_of(VERSIONS)).with_context(|| format!("ebpf/{VERSIONS}: {fix}"))?;
        let same_compiler =
            self.files.iter().any(|(name, content)| *name == VERSIONS && *content == versions);
        if !same_compiler {
            let recorded = String::from_utf8_lossy(&versions);
            say(&format!(
                "the checked-in object was made with {}: this compiler is another one, so only its inputs and \
                 the lint are checked",
                recorded.trim()
            ));
        }
        for (name, content) in self.files.iter().filter(|(name, _)| same_compiler || *name == INPUTS) {
            let recorded = std::fs::read(path_of(name)).with_context(|| format!("ebpf/{name}: {fix}"))?;
            if recorded == *content {
                continue;
            }
            if name.ends_with(".o") {
                bail!(
                    "ebpf/{name} is not what its sources compile to, though compiler and inputs are the same: {fix}"
                );
            }
            let (old, new) = (String::from_utf8_lossy(&recorded), String::from_utf8_lossy(content));
            bail!("ebpf/{name} is out of date: {fix}\n{}", difference(&old, &new));
        }
        if same_compiler {
            say("the checked-in object is what its sources compile to, byte for byte");
        }
        Ok(())
    }
}

/// Adds to the budget table what kernels counted: (kernel, verified instructions by program).
pub(crate) fn note_verified(counts: &[(String, BTreeMap<String, u64>)]) -> Result<()> {
    let object = path_of(OBJECT);
    let object = std::fs::read(&object).with_context(|| format!("reading {}", object.display()))?;
    let path = path_of(BUDGET);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut budget = Budget::parse(&text);
    for (kernel, verified) in counts {
        budget.count(kernel, verified);
    }
    let table = budget.table(&listing::parse(&disassemble(&object)?));
    std::fs::write(&path, table).with_context(|| format!("writing {}", path.display()))
}

/// The table of what each program takes.
const BUDGET: &str = "budget.txt";
/// The object.
const OBJECT: &str = "prebuilt/tarsier.bpf.o";
/// Compiler, LLVM and linker of the checked-in object.
const VERSIONS: &str = "prebuilt/VERSIONS.txt";
/// Hashes of what it was made from.
const INPUTS: &str = "prebuilt/INPUTS.sha256";

/// The lines of one text that the other does not have.
fn difference(old: &str, new: &str) -> String {
    let only = |a: &str, b: &str, mark: &str| -> String {
        a.lines()
            .filter(|line| !b.lines().any(|other| other == *line))
            .map(|line| format!("{mark} {line}\n"))
            .collect()
    };
    format!("{}{}", only(old, new, "-"), only(new, old, "+"))
}

fn path_of(name: &str) -> PathBuf {
    workspace().join("ebpf").join(name)
}

fn disassemble(object: &[u8]) -> Result<String> {
    let path = target_dir().join("ebpf").join(format!("listing-{}.o", std::process::id()));
    std::fs::write(&path, object).with_context(|| format!("writing {}", path.display()))?;
    let text = capture(Command::new("/usr/lib/llvm-22/bin/llvm-objdump").arg("-dr").arg(&path));
    std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    text
}
