//! `cargo xtask kernels [NAME]… [--write]`: the suite on each kernel of `tests/kernels.toml`, and what was
//! measured there: `docs/kernel-support.md` and the columns of `ebpf/budget.txt`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use crate::install::Consent;
use crate::kernels::{self, Kernel};
use crate::results::Results;
use crate::shell::{capture, say, workspace};
use crate::{dist, ebpf, guests, tiers};

/// The page.
const PAGE: &str = "docs/kernel-support.md";

/// What is asked for.
pub(crate) struct Choice {
    /// Kernels by name; none means all.
    pub(crate) names: Vec<String>,
    /// Write the page and the table.
    pub(crate) write: bool,
}

/// Runs the suite on the kernels asked for; prints the page, and writes it if told so.
pub(crate) fn command(consent: Consent, choice: &Choice) -> Result<()> {
    ensure!(!choice.write || choice.names.is_empty(), "--write is of all kernels: one page, one day");
    let mut chosen = kernels::list()?;
    if !choice.names.is_empty() {
        chosen = choice.names.iter().map(|name| kernels::named(name)).collect::<Result<_>>()?;
    }
    let about = About::now()?;
    let binaries = dist::quick_binaries(consent)?;
    let (native, others): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|kernel| !kernel.is_guest());
    let mut ran: Vec<(Kernel, Results)> = Vec::new();
    for kernel in native {
        if let Some(gap) = tiers::native_gap() {
            bail!("{}: {gap}", kernel.name);
        }
        let results = tiers::native_results(consent, &binaries)?;
        ran.push((kernel, results));
    }
    let guests::Ran { mut done, gaps } = guests::run(consent, &binaries, others)?;
    ensure!(gaps.is_empty(), "not every kernel can be had here: {}", gaps.join("; "));
    ran.append(&mut done);
    let mut failed = 0;
    for (kernel, results) in &ran {
        results.show(&kernel.name);
        failed += results.failed;
    }
    let page = page(&about, &ran)?;
    println!("\n{page}");
    ensure!(failed == 0, "{failed} tests failed: nothing is written");
    if choice.write {
        let counts = ran.iter().map(|(kernel, results)| Ok((kernel.name.clone(), verified(results)?)));
        ebpf::note_verified(&counts.collect::<Result<Vec<_>>>()?)?;
        std::fs::write(workspace().join(PAGE), page).with_context(|| format!("writing {PAGE}"))?;
        say(&format!("{PAGE} and ebpf/budget.txt are written; commit them"));
    }
    Ok(())
}

/// When a run began, and of what.
struct About {
    date: String,
    revision: String,
}

impl About {
    fn now() -> Result<Self> {
        let line = |command: &mut Command| Ok::<_, anyhow::Error>(capture(command)?.trim().to_owned());
        let mut git = Command::new("git");
        git.current_dir(workspace()).args(["describe", "--always", "--dirty", "--exclude", "*"]);
        Ok(Self { date: line(Command::new("date").args(["-u", "+%Y-%m-%d"]))?, revision: line(&mut git)? })
    }
}

/// Verified instructions by program.
fn verified(results: &Results) -> Result<BTreeMap<String, u64>> {
    let counts = results.notes.get("verified").into_iter().flatten();
    counts
        .map(|(program, count)| Ok((program.clone(), count.as_u64().context("a count of instructions")?)))
        .collect()
}

fn page(about: &About, ran: &[(Kernel, Results)]) -> Result<String> {
    let mut text = String::from(
        "# Kernels\n\n\
         <!-- Written by `cargo xtask kernels --write`. Every line is what that run measured. -->\n\n",
    );
    write!(
        text,
        "Tarsier needs the features of [ADR 0006](adr/0006-kernel-floor-by-feature.md), which mainline has from 5.10 on, \
         and compares no\nversion numbers. This is what the whole kernel suite gave on each kernel of `tests/kernels.toml`, \
         on {}\nat revision {}, by `cargo xtask kernels --write`. Guests run in QEMU without hardware \
         acceleration.\n\n\
         | name | release | passed | failed | skipped |\n|---|---|---|---|---|\n",
        about.date, about.revision
    )?;
    for (kernel, results) in ran {
        let Results { passed, failed, skipped, .. } = results;
        let release =
            subject(results, "kernel")?.get("release").and_then(Value::as_str).context("no release")?;
        writeln!(text, "| {} | {release} | {passed} | {failed} | {} |", kernel.name, skipped.len())?;
    }
    text.push_str(
        "\n## Which sensors attach, and how\n\nEach by the best of its hooks that the kernel gives \
         ([ADR 0008](adr/0008-hook-alternatives.md)).\n\n",
    );
    hooks(ran, &mut text)?;
    text.push_str("\n## What is skipped, and why\n\n| kernel | test | reason |\n|---|---|---|\n");
    for (kernel, results) in ran {
        for (test, reason) in &results.skipped {
            writeln!(text, "| {} | `{test}` | {reason} |", kernel.name)?;
        }
    }
    text.push_str(
        "\n## What the verifier looked at\n\nInstructions per program; - where the kernel does not say (before 5.16) or \
         the program was not\nloaded. A kernel refuses a million; our own limits are in `ebpf/budget.txt`.\n\n",
    );
    instructions(ran, &mut text)?;
    Ok(text)
}

fn subject<'a>(results: &'a Results, name: &str) -> Result<&'a Map<String, Value>> {
    results.notes.get(name).with_context(|| format!("no test noted `{name}`"))
}

/// A table with a column for each kernel.
fn head(first: &str, ran: &[(Kernel, Results)], text: &mut String) -> Result<()> {
    let names: Vec<_> = ran.iter().map(|(kernel, _)| kernel.name.as_str()).collect();
    writeln!(text, "| {first} | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()))?;
    Ok(())
}

fn hooks(ran: &[(Kernel, Results)], text: &mut String) -> Result<()> {
    head("sensor", ran, text)?;
    let (_, first) = ran.first().context("no kernel")?;
    for sensor in subject(first, "hooks")?.keys() {
        write!(text, "| `{sensor}` |")?;
        for (_, results) in ran {
            let hooks =
                subject(results, "hooks")?.get(sensor).and_then(Value::as_array).context("no hooks")?;
            let hooks: Vec<_> =
                hooks.iter().filter_map(Value::as_str).map(|hook| format!("`{hook}`")).collect();
            let hooks = if hooks.is_empty() { "off".to_owned() } else { hooks.join("<br>") };
            write!(text, " {hooks} |")?;
        }
        text.push('\n');
    }
    Ok(())
}

fn instructions(ran: &[(Kernel, Results)], text: &mut String) -> Result<()> {
    head("program", ran, text)?;
    let counts: Vec<_> = ran.iter().map(|(_, results)| verified(results)).collect::<Result<_>>()?;
    let programs: std::collections::BTreeSet<_> = counts.iter().flat_map(BTreeMap::keys).collect();
    for program in programs {
        write!(text, "| `{program}` |")?;
        for counted in &counts {
            let count = counted.get(program).map_or("-".to_owned(), u64::to_string);
            write!(text, " {count} |")?;
        }
        text.push('\n');
    }
    Ok(())
}
