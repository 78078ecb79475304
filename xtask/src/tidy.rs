//! `cargo xtask tidy`: the house rules that no compiler checks. Every rule is one function from the
//! tree to sentences; a new rule is one more line in [`RULES`].

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{capture, say, workspace};

/// Longest source file, in lines; a sibling `tests.rs` may be longer.
const LONGEST: usize = 600;

/// One file of the repository.
struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

type Rule = fn(&[File]) -> Vec<String>;

const RULES: [(&str, Rule); 7] = [
    ("packages depend along the arrows", package_arrows),
    ("stages of core know `event` and never each other", core_arrows),
    ("folders of the agent never import each other", agent_arrows),
    ("every sensor has its four files of one stem", sensor_stems),
    ("files are short", file_lengths),
    ("modules have names that say something", module_names),
    ("no unfinished marks, no registry hosts", banned_text),
];

/// How many rules there are.
pub(crate) const CHECKS: usize = RULES.len();

/// The command: every broken rule, then an error if there was one.
pub(crate) fn command() -> Result<()> {
    match outcome()? {
        0 => Ok(()),
        broken => bail!("{broken} of {CHECKS} rules are broken"),
    }
}

/// Checks every rule, prints what is wrong, and returns how many rules are broken.
pub(crate) fn outcome() -> Result<usize> {
    let files = read_tree()?;
    let mut broken = 0;
    for (name, rule) in RULES {
        let faults = rule(&files);
        broken += usize::from(!faults.is_empty());
        for fault in faults {
            eprintln!("tidy: {name}: {fault}");
        }
    }
    if broken == 0 {
        say(&format!("{CHECKS} rules hold for {} files", files.len()));
    }
    Ok(broken)
}

/// Every text file that is in the repository or would be.
fn read_tree() -> Result<Vec<File>> {
    let mut list = Command::new("git");
    list.current_dir(workspace()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let mut files = Vec::new();
    for path in capture(&mut list).context("tidy needs a git clone")?.lines() {
        // A deleted file is still in the index; an object is no text.
        if let Ok(text) = std::fs::read_to_string(workspace().join(path)) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

/// `abi <- ebpf`, `abi <- core <- agent <- tests`, and xtask alone.
fn package_arrows(files: &[File]) -> Vec<String> {
    let allowed: [(&str, &[&str]); 6] = [
        ("ebpf/abi/Cargo.toml", &[]),
        ("ebpf/Cargo.toml", &["tarsier-abi"]),
        ("agent/core/Cargo.toml", &["tarsier-abi"]),
        ("agent/Cargo.toml", &["tarsier-abi", "tarsier-core"]),
        ("tests/Cargo.toml", &["tarsier-abi", "tarsier-core", "tarsier"]),
        ("xtask/Cargo.toml", &[]),
    ];
    let mut faults = Vec::new();
    for (path, allowed) in allowed {
        let Some(manifest) = files.iter().find(|file| file.path == path) else {
            faults.push(format!("{path} is missing"));
            continue;
        };
        // Dependencies on ours start a line; `name = "tarsier…"` of a package or binary does not.
        let ours = manifest.text.lines().filter(|line| line.starts_with("tarsier"));
        for name in ours.filter_map(|line| line.split(['.', ' ', '=']).next()) {
            if !allowed.contains(&name) {
                faults.push(format!("{path} depends on {name}"));
            }
        }
    }
    faults
}

fn core_arrows(files: &[File]) -> Vec<String> {
    let stages = ["decode", "process", "enrich", "rules", "flows", "encode"];
    let mut faults = crossings(files, "agent/core/src/", &stages);
    let events: Vec<&File> =
        files.iter().filter(|file| file.path.starts_with("agent/core/src/event/")).collect();
    for file in events {
        let known = stages.iter().filter(|stage| mentions(&file.text, stage));
        faults.extend(known.map(|stage| format!("{} (an event) uses crate::{stage}", file.path)));
    }
    faults
}

fn agent_arrows(files: &[File]) -> Vec<String> {
    crossings(files, "agent/src/", &["kernel", "host", "kube", "export", "ops", "capture", "rules"])
}

/// Files of one of `modules` below `root` that name another of them. A sibling `tests.rs` may: it has
/// to get its input from somewhere real.
fn crossings(files: &[File], root: &str, modules: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in rust(files) {
        let Some(rest) = file.path.strip_prefix(root) else { continue };
        let own = rest.split(['/', '.']).next().unwrap_or_default();
        if modules.contains(&own) && !rest.ends_with("/tests.rs") {
            let others = modules.iter().filter(|other| **other != own && mentions(&file.text, other));
            faults.extend(others.map(|other| format!("{} uses crate::{other}", file.path)));
        }
    }
    faults
}

/// Whether code, not a comment, names `crate::module`.
fn mentions(text: &str, module: &str) -> bool {
    let path = format!("crate::{module}");
    text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        let ends = line.match_indices(&path).map(|(at, _)| &line[at + path.len()..]);
        let whole = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        ends.into_iter().any(whole)
    })
}

/// Stems come from the registry; the two folders that hold only sensors may hold no others.
fn sensor_stems(files: &[File]) -> Vec<String> {
    let registry = files.iter().find(|file| file.path == "ebpf/abi/src/lib.rs");
    let registry = registry.and_then(|file| file.text.split("macro_rules! for_each_sensor").nth(1));
    let lines = registry.unwrap_or_default().lines().take_while(|line| !line.starts_with('}'));
    let stems: BTreeSet<&str> = lines
        .filter_map(|line| line.trim().strip_prefix('(')?.split(',').next())
        .filter(|stem| !stem.starts_with('$'))
        .collect();
    if stems.is_empty() {
        return vec!["no sensor found in ebpf/abi/src/lib.rs".into()];
    }
    let mut faults = Vec::new();
    for folder in ["ebpf/abi/src", "ebpf/src/sensors", "agent/core/src/event", "tests/src/sensors"] {
        let here: BTreeSet<&str> = rust(files)
            .filter_map(|file| file.path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs"))
            .filter(|stem| !stem.contains('/') && *stem != "mod")
            .collect();
        faults.extend(stems.difference(&here).map(|stem| format!("{folder}/{stem}.rs is missing")));
        if folder.ends_with("sensors") {
            let strangers = here.difference(&stems);
            faults.extend(strangers.map(|stem| format!("{folder}/{stem}.rs is not in the registry")));
        }
    }
    faults
}

fn file_lengths(files: &[File]) -> Vec<String> {
    let long = |file: &&File| !file.path.ends_with("/tests.rs") && file.text.lines().count() > LONGEST;
    let fault =
        |file: &File| format!("{} has {} lines, limit {LONGEST}", file.path, file.text.lines().count());
    rust(files).filter(long).map(fault).collect()
}

fn module_names(files: &[File]) -> Vec<String> {
    let banned = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
    let is_banned = |file: &&File| file.path.split(['/', '.']).any(|part| banned.contains(&part));
    rust(files).filter(is_banned).map(|file| format!("{}: name it after what it holds", file.path)).collect()
}

/// The words are put together here so that this file does not hold them.
fn banned_text(files: &[File]) -> Vec<String> {
    let marks = [("TO", "DO"), ("FIX", "ME"), ("XX", "X:")].map(|(a, b)| format!("{a}{b}"));
    let names = [
        ("index.crates", "io"),
        ("static.crates", "io"),
        ("proxy.golang", "org"),
        ("sum.golang", "org"),
        ("registry.npmjs", "org"),
        ("deb.debian", "org"),
        ("files.pythonhosted", "org"),
        ("repo1.maven", "org"),
    ];
    let hosts = names.map(|(name, end)| format!("{name}.{end}"));
    let mut faults = Vec::new();
    for file in files {
        let generated = file.path.starts_with("tests/peers/") || file.path.ends_with(".lock");
        for (number, line) in file.text.lines().enumerate() {
            let mark = marks.iter().filter(|mark| !generated && line.contains(mark.as_str()));
            let found = mark.chain(hosts.iter().filter(|host| line.contains(host.as_str())));
            faults.extend(found.map(|word| format!("{}:{}: {word}", file.path, number + 1)));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{
        File, RULES, agent_arrows, banned_text, core_arrows, file_lengths, module_names, package_arrows,
        sensor_stems,
    };

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    #[test]
    fn each_rule_finds_its_fault() {
        let cross = [file("agent/core/src/flows/mod.rs", "use crate::process::Table;")];
        assert_eq!(core_arrows(&cross), ["agent/core/src/flows/mod.rs uses crate::process"]);
        let event = [file("agent/core/src/event/exec.rs", "fn f(x: crate::decode::X) {}")];
        assert_eq!(core_arrows(&event).len(), 1);
        let agent = [file("agent/src/export/otlp.rs", "use crate::ops::metrics;")];
        assert_eq!(agent_arrows(&agent).len(), 1);
        let manifest = [file("agent/core/Cargo.toml", "tarsier.workspace = true")];
        assert!(package_arrows(&manifest).contains(&"agent/core/Cargo.toml depends on tarsier".to_owned()));
        assert_eq!(file_lengths(&[file("a/b.rs", &"\n".repeat(601))]).len(), 1);
        assert_eq!(
            module_names(&[file("agent/src/utils.rs", ""), file("agent/src/common/x.rs", "")]).len(),
            2
        );
        let marks = ["TO", "DO"].concat();
        assert_eq!(
            banned_text(&[file("README.md", &format!("a\n{marks}"))]),
            [format!("README.md:2: {marks}")]
        );
    }

    #[test]
    fn stems_must_be_equal_in_the_four_folders() {
        let registry =
            "macro_rules! for_each_sensor {\n    (exec, Exec, 0, Priority, \"x\");\n}\n(not, A, Sensor);";
        let mut files = vec![file("ebpf/abi/src/lib.rs", registry)];
        for folder in ["ebpf/abi/src", "ebpf/src/sensors", "agent/core/src/event", "tests/src/sensors"] {
            assert!(!sensor_stems(&files).is_empty());
            files.push(file(&format!("{folder}/exec.rs"), ""));
        }
        assert!(sensor_stems(&files).is_empty());
        files.push(file("ebpf/src/sensors/stray.rs", ""));
        assert_eq!(sensor_stems(&files), ["ebpf/src/sensors/stray.rs is not in the registry"]);
    }

    #[test]
    fn names_in_comments_and_longer_names_are_no_crossing() {
        let fine = "//! See crate::process.\nuse crate::event::Exec;\nuse crate::flows_extra::X;\nuse crate::decode::Y;";
        assert!(core_arrows(&[file("agent/core/src/decode.rs", fine)]).is_empty());
        assert_eq!(RULES.len(), super::CHECKS);
    }
}
