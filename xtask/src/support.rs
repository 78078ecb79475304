//! `cargo xtask kernels [NAME]… [--write]`: the suite on each kernel of `tests/kernels.toml`, and what was
//! measured there: `docs/kernel-support.md` and the columns of `ebpf/budget.txt`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::install::Consent;
use crate::kernels::{self, Kernel};
use crate::results::Results;
use crate::shell::{capture, say, target_dir, workspace};
use crate::{dist, ebpf, guests, tiers};

/// The page.
const PAGE: &str = "docs/kernel-support.md";

/// What is asked for.
pub(crate) struct Choice {
    /// Kernels by name; none means all.
    pub(crate) names: Vec<String>,
    /// Write the page and the table, of the last good run of every kernel.
    pub(crate) write: bool,
}

/// What one kernel gave, and when.
#[derive(Serialize, Deserialize)]
struct Run {
    /// Day, in UTC.
    date: String,
    /// Of the repository.
    revision: String,
    results: Results,
}

/// Runs the suite on the kernels asked for and keeps what each gave below the target directory; then
/// composes the page of the last good run of every kernel.
pub(crate) fn command(consent: Consent, choice: &Choice) -> Result<()> {
    let all = kernels::list()?;
    let mut chosen = all.clone();
    if !choice.names.is_empty() {
        chosen = choice.names.iter().map(|name| kernels::named(name)).collect::<Result<_>>()?;
    }
    let line = |command: &mut Command| Ok::<_, anyhow::Error>(capture(command)?.trim().to_owned());
    let date = line(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let mut git = Command::new("git");
    let revision =
        line(git.current_dir(workspace()).args(["describe", "--always", "--dirty", "--exclude", "*"]))?;
    let binaries = dist::quick_binaries(consent)?;
    let (native, others): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|kernel| !kernel.is_guest());
    let mut failed = 0;
    let mut keep = |kernel: &Kernel, results: Results| {
        results.show(&kernel.name);
        println!("{}: {}", kernel.name, results.summary());
        failed += results.failed;
        let run = Run { date: date.clone(), revision: revision.clone(), results };
        if run.results.failed == 0 { write(kernel, &run) } else { Ok(()) }
    };
    for kernel in native {
        if let Some(gap) = tiers::native_gap() {
            bail!("{}: {gap}", kernel.name);
        }
        keep(&kernel, tiers::native_results(consent, &binaries)?)?;
    }
    let guests::Ran { done, gaps } = guests::run(consent, &binaries, others)?;
    for (kernel, results) in done {
        keep(&kernel, results)?;
    }
    ensure!(gaps.is_empty(), "not every kernel can be had here: {}", gaps.join("; "));
    ensure!(failed == 0, "{failed} tests failed");
    if choice.write {
        let runs = all.into_iter().map(|kernel| Ok((read(&kernel)?, kernel.name)));
        let runs = runs.map(|run| run.map(|(run, name)| (name, run))).collect::<Result<Vec<_>>>()?;
        let counts = runs.iter().map(|(name, run)| Ok((name.clone(), verified(&run.results)?)));
        ebpf::note_verified(&counts.collect::<Result<Vec<_>>>()?)?;
        std::fs::write(workspace().join(PAGE), page(&runs)?).with_context(|| format!("writing {PAGE}"))?;
        say(&format!("{PAGE} and ebpf/budget.txt are written; commit them"));
    }
    Ok(())
}

fn path(kernel: &Kernel) -> PathBuf {
    target_dir().join("kernels").join(format!("{}.json", kernel.name))
}

fn write(kernel: &Kernel, run: &Run) -> Result<()> {
    let path = path(kernel);
    std::fs::create_dir_all(path.parent().context("a folder")?)?;
    std::fs::write(&path, serde_json::to_vec(run)?).with_context(|| format!("writing {}", path.display()))
}

fn read(kernel: &Kernel) -> Result<Run> {
    let text = std::fs::read(path(kernel));
    let text = text.with_context(|| format!("no good run is kept: `cargo xtask kernels {}`", kernel.name))?;
    serde_json::from_slice(&text).with_context(|| path(kernel).display().to_string())
}

/// Verified instructions by program.
fn verified(results: &Results) -> Result<BTreeMap<String, u64>> {
    let counts = results.notes.get("verified").into_iter().flatten();
    counts
        .map(|(program, count)| Ok((program.clone(), count.as_u64().context("a count of instructions")?)))
        .collect()
}

fn page(runs: &[(String, Run)]) -> Result<String> {
    let mut text = String::from(
        "# Kernels\n\n\
         <!-- Written by `cargo xtask kernels --write`. Every line is what that run measured. -->\n\n",
    );
    text.push_str(
        "Tarsier needs the features of [ADR 0006](adr/0006-kernel-floor-by-feature.md), which mainline has from 5.10 on, and \
         compares no\nversion numbers. This is what the last run of the whole kernel suite without a failure gave on each kernel of\n\
         `tests/kernels.toml` (`cargo xtask kernels --write`). Guests run in QEMU without hardware acceleration.\n\n\
         | name | release | passed | failed | skipped | on | at revision |\n|---|---|---|---|---|---|---|\n",
    );
    for (name, Run { date, revision, results }) in runs {
        let Results { passed, failed, skipped, .. } = results;
        let release =
            subject(results, "kernel")?.get("release").and_then(Value::as_str).context("no release")?;
        let skipped = skipped.len();
        writeln!(text, "| {name} | {release} | {passed} | {failed} | {skipped} | {date} | {revision} |")?;
    }
    text.push_str(
        "\n## Which sensors attach, and how\n\nEach by the best of its hooks that the kernel gives \
         ([ADR 0008](adr/0008-hook-alternatives.md)).\n\n",
    );
    hooks(runs, &mut text)?;
    text.push_str("\n## What is skipped, and why\n\n| test | reason | kernels |\n|---|---|---|\n");
    let mut skipped: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (name, run) in runs {
        for (test, reason) in &run.results.skipped {
            skipped.entry((test, reason)).or_default().push(name);
        }
    }
    for ((test, reason), kernels) in skipped {
        writeln!(text, "| `{test}` | {reason} | {} |", kernels.join(", "))?;
    }
    text.push_str(
        "\n## What the verifier looked at\n\nInstructions per program; - where the kernel does not say (before 5.16) or \
         the program was not\nloaded. A kernel refuses a million; our own limits are in `ebpf/budget.txt`.\n\n",
    );
    instructions(runs, &mut text)?;
    Ok(text)
}

fn subject<'a>(results: &'a Results, name: &str) -> Result<&'a Map<String, Value>> {
    results.notes.get(name).with_context(|| format!("no test noted `{name}`"))
}

/// A table with a column for each kernel.
fn head(first: &str, runs: &[(String, Run)], text: &mut String) -> Result<()> {
    let names: Vec<_> = runs.iter().map(|(name, _)| name.as_str()).collect();
    writeln!(text, "| {first} | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()))?;
    Ok(())
}

fn hooks(runs: &[(String, Run)], text: &mut String) -> Result<()> {
    head("sensor", runs, text)?;
    let (_, first) = runs.first().context("no kernel")?;
    for sensor in subject(&first.results, "hooks")?.keys() {
        write!(text, "| `{sensor}` |")?;
        for (_, run) in runs {
            // A sensor that is off there may not be named at all.
            let hooks = subject(&run.results, "hooks")?.get(sensor).and_then(Value::as_array);
            let hooks = hooks.into_iter().flatten().filter_map(Value::as_str);
            let hooks: Vec<_> = hooks.map(|hook| format!("`{hook}`")).collect();
            let hooks = if hooks.is_empty() { "off".to_owned() } else { hooks.join("<br>") };
            write!(text, " {hooks} |")?;
        }
        text.push('\n');
    }
    Ok(())
}

fn instructions(runs: &[(String, Run)], text: &mut String) -> Result<()> {
    head("program", runs, text)?;
    let counts: Vec<_> = runs.iter().map(|(_, run)| verified(&run.results)).collect::<Result<_>>()?;
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
