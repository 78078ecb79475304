//! `tests/kernels.toml`: the kernels that the suite runs on, and what each cannot run.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::archive::Archive;
use crate::image::Unpacked;
use crate::shell::workspace;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    guests: Guests,
    kernel: Vec<Kernel>,
}

/// What holds for every kernel that boots in a guest.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guests {
    /// Modules to load, with what they depend on.
    pub(crate) modules: Vec<String>,
    /// More for the kernel's command line.
    pub(crate) append: String,
    /// Longest that a guest may run.
    timeout_seconds: u64,
    /// Names of the tests that skip in every guest.
    skips: Vec<String>,
}

impl Guests {
    /// Longest that a guest may run.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

/// One kernel.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Kernel {
    /// What people call it; [`NATIVE`] is the running one.
    pub(crate) name: String,
    /// Debian suites that have it. Empty for the running one.
    pub(crate) suites: Vec<String>,
    /// Debian packages with its files, each with one `*`; the newest match of the first one decides
    /// what stands for it in the others.
    pub(crate) packages: Vec<String>,
    /// Only with `--all-kernels`.
    pub(crate) on_request: bool,
    /// Names of the tests that skip here, those of every guest included.
    pub(crate) skips: Vec<String>,
    /// What it shares with every other guest.
    #[serde(skip)]
    pub(crate) guests: Guests,
}

/// The running kernel's name in the list.
pub(crate) const NATIVE: &str = "native";

/// Every kernel of `tests/kernels.toml`, in its order.
pub(crate) fn list() -> Result<Vec<Kernel>> {
    let path = workspace().join("tests/kernels.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text).context("tests/kernels.toml")
}

/// Every kernel that boots in a guest; those `on_request` only if `all`.
pub(crate) fn guests(all: bool) -> Result<Vec<Kernel>> {
    let mut kernels = list()?;
    kernels.retain(|kernel| kernel.is_guest() && (all || !kernel.on_request));
    Ok(kernels)
}

/// The kernel called `name`.
pub(crate) fn named(name: &str) -> Result<Kernel> {
    let mut kernels = list()?;
    let names: Vec<_> = kernels.iter().map(|kernel| kernel.name.clone()).collect();
    let index = names.iter().position(|known| known == name);
    let index = index.with_context(|| {
        format!("no kernel `{name}` in tests/kernels.toml; there are {}", names.join(", "))
    })?;
    Ok(kernels.swap_remove(index))
}

fn parse(text: &str) -> Result<Vec<Kernel>> {
    let List { guests, mut kernel } = toml::from_str(text)?;
    for kernel in &mut kernel {
        let name = &kernel.name;
        ensure!(!name.is_empty(), "a kernel without a name");
        if name == NATIVE {
            ensure!(kernel.packages.is_empty(), "{NATIVE} is the running kernel: it has no packages");
            continue;
        }
        ensure!(!kernel.suites.is_empty() && !kernel.packages.is_empty(), "{name}: no suites or packages");
        if let Some(package) = kernel.packages.iter().find(|package| package.matches('*').count() != 1) {
            bail!("{name}: {package} needs one `*`");
        }
        kernel.skips.extend(guests.skips.iter().cloned());
        kernel.guests = guests.clone();
    }
    Ok(kernel)
}

impl Kernel {
    /// Whether it boots in a guest.
    pub(crate) fn is_guest(&self) -> bool {
        self.name != NATIVE
    }

    /// Fetches and unpacks the newest one, unless the cache has it. `Err` in it: why this machine cannot.
    pub(crate) fn fetch(&self) -> Result<Result<Unpacked, String>> {
        let archive = match Archive::open(&self.suites)? {
            Ok(archive) => archive,
            Err(gap) => return Ok(Err(gap)),
        };
        let Some(folder) = archive.unpacked(&self.packages)? else {
            return Ok(Err(format!("no package {} in {}", self.packages[0], self.suites.join(", "))));
        };
        Unpacked::open(&folder, &self.guests.modules).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::{NATIVE, list, parse};

    #[test]
    fn the_list_of_the_repository_reads() {
        let kernels = list().unwrap();
        assert_eq!(kernels[0].name, NATIVE);
        assert!(!kernels[0].is_guest() && kernels[0].packages.is_empty());
        let guest = kernels.iter().find(|kernel| kernel.name == "6.1").unwrap();
        assert!(!guest.on_request && !guest.guests.timeout().is_zero());
        assert!(guest.skips.len() >= guest.guests.skips.len());
        let mut names: Vec<_> = kernels.iter().map(|kernel| &kernel.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), kernels.len(), "a name stands for one kernel");
    }

    #[test]
    fn mistakes_are_named() {
        let head = "[guests]\nmodules = []\nappend = ''\ntimeout_seconds = 1\nskips = ['a']\n[[kernel]]\nname = 'x'\n";
        let refused = |rest: &str| format!("{:#}", parse(&format!("{head}{rest}")).unwrap_err());
        assert!(refused("pakages = ['y-*']").contains("pakages"));
        assert!(refused("packages = ['y-*']").contains("no suites"));
        assert!(refused("suites = ['s']\npackages = ['y']").contains("one `*`"));
        let good = format!("{head}suites = ['s']\npackages = ['y-*']\nskips = ['b']");
        assert_eq!(parse(&good).unwrap()[0].skips, ["b", "a"]);
    }
}
