//! `tests/kernels.toml`, and the kernels it names: fetched from the distribution's archive, unpacked,
//! kept in the cache.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build_object::cache_dir;
use crate::install::refresh_lists;
use crate::shell::{capture, run, say, workspace};

/// One entry of the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// What people call it; `native` is the running one.
    pub(crate) name: String,
    /// Name of the Debian package, with one `*`. Empty for `native`.
    pub(crate) package: String,
    /// Modules to load, with what they depend on.
    pub(crate) modules: Vec<String>,
    /// More for the kernel's command line.
    pub(crate) append: String,
    /// Longest that a guest may run.
    pub(crate) timeout: Duration,
    /// Names of the tests that skip here.
    pub(crate) skips: Vec<String>,
}

/// A kernel on disk.
pub(crate) struct Unpacked {
    /// The package it came in.
    pub(crate) package: String,
    /// The bootable image.
    pub(crate) image: PathBuf,
    /// Module files in loading order, dependencies first.
    pub(crate) modules: Vec<PathBuf>,
}

/// Every entry of `tests/kernels.toml`, in its order.
pub(crate) fn list() -> Result<Vec<Kernel>> {
    let path = workspace().join("tests/kernels.toml");
    parse(&std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?)
}

/// The entry called `name`.
pub(crate) fn named(name: &str) -> Result<Kernel> {
    let mut kernels = list()?;
    let names: Vec<_> = kernels.iter().map(|kernel| kernel.name.clone()).collect();
    let index = names.iter().position(|known| known == name);
    let index = index.with_context(|| {
        format!("no kernel `{name}` in tests/kernels.toml; there are {}", names.join(", "))
    })?;
    Ok(kernels.swap_remove(index))
}

/// The part of TOML that the list uses: tables, strings, integers, arrays of strings on one line.
fn parse(text: &str) -> Result<Vec<Kernel>> {
    let mut kernels: Vec<Kernel> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "[[kernel]]" {
            kernels.push(Kernel::default());
            continue;
        }
        let place = || format!("tests/kernels.toml:{}: `{line}`", number + 1);
        let (key, value) = line.split_once('=').with_context(place)?;
        let (key, value) = (key.trim(), value.trim());
        let kernel = kernels.last_mut().with_context(place)?;
        let string = || value.trim_matches('"').to_owned();
        let strings = || -> Vec<String> {
            let items = value.trim_matches(['[', ']']).split(',').map(|item| item.trim().trim_matches('"'));
            items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
        };
        match key {
            "name" => kernel.name = string(),
            "package" => kernel.package = string(),
            "append" => kernel.append = string(),
            "modules" => kernel.modules = strings(),
            "skips" => kernel.skips = strings(),
            "timeout_seconds" => kernel.timeout = Duration::from_secs(value.parse().with_context(place)?),
            _ => bail!("{}: no such key", place()),
        }
    }
    Ok(kernels)
}

impl Kernel {
    /// Fetches and unpacks the newest package, unless the cache has it. `None` where the archive has
    /// none of that name.
    pub(crate) fn fetch(&self) -> Result<Option<Unpacked>> {
        let mut package = self.newest()?;
        if package.is_none() {
            refresh_lists();
            package = self.newest()?;
        }
        let Some(mut package) = package else { return Ok(None) };
        let cache = cache_dir().join("kernels");
        std::fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
        if !cache.join(&package).is_dir() {
            say(&format!("fetching {package}"));
            if download(&cache, &package).is_err() {
                // Security archives drop what they replace: with new lists there is a newer one.
                refresh_lists();
                package = self.newest()?.unwrap_or(package);
                download(&cache, &package)
                    .with_context(|| format!("fetching {package}: is the archive reachable?"))?;
            }
        }
        self.open(&cache, package).map(Some)
    }

    fn newest(&self) -> Result<Option<String>> {
        let (prefix, suffix) = self.package.split_once('*').context("a kernel's package needs one `*`")?;
        let names = capture(Command::new("apt-cache").args(["pkgnames", prefix]))?;
        let matching = names.lines().filter(|name| name.ends_with(suffix) && !name.contains("unsigned"));
        Ok(matching.max_by(|a, b| by_version(a, b)).map(str::to_owned))
    }

    fn open(&self, cache: &Path, package: String) -> Result<Unpacked> {
        let mut found = BTreeMap::new();
        let mut folders = vec![cache.join(&package)];
        let mut image = None;
        while let Some(folder) = folders.pop() {
            for entry in
                std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?
            {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else if name.starts_with("vmlinuz-") {
                    image = Some(path);
                } else if let Some(stem) = name.strip_suffix(".ko") {
                    found.insert(stem.replace('-', "_"), path);
                }
            }
        }
        let image = image.with_context(|| format!("no vmlinuz in {package}"))?;
        let mut modules = Vec::new();
        for name in &self.modules {
            add_module(name, &found, &mut modules).with_context(|| format!("module {name} of {package}"))?;
        }
        Ok(Unpacked { package, image, modules })
    }
}

/// Appends a module after the modules it depends on. One that is not a file is built in.
fn add_module(name: &str, found: &BTreeMap<String, PathBuf>, into: &mut Vec<PathBuf>) -> Result<()> {
    let Some(path) = found.get(name) else { return Ok(()) };
    if into.contains(path) {
        return Ok(());
    }
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    // `.modinfo` is a list of NUL-terminated `key=value`s.
    let marker = b"\0depends=";
    let start =
        bytes.windows(marker.len()).position(|window| window == marker).context("no `depends=` in it")?;
    let rest = &bytes[start + marker.len()..];
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let needs = String::from_utf8_lossy(&rest[..end]).replace('-', "_");
    for need in needs.split(',').filter(|need| !need.is_empty()) {
        add_module(need, found, into)?;
    }
    into.push(path.clone());
    Ok(())
}

/// Downloads a package into the cache and unpacks it, in a folder that gets its name only when whole.
fn download(cache: &Path, package: &str) -> Result<()> {
    let partial = cache.join(format!("{package}.partial"));
    if partial.exists() {
        std::fs::remove_dir_all(&partial)?;
    }
    std::fs::create_dir_all(&partial)?;
    capture(Command::new("apt-get").current_dir(&partial).args(["download", "-qq", package]))?;
    let entries = std::fs::read_dir(&partial)?.flatten().map(|entry| entry.path());
    let deb = entries.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).last();
    let deb = deb.context("apt-get download left no .deb")?;
    run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&partial))?;
    std::fs::remove_file(&deb)?;
    std::fs::rename(&partial, cache.join(package))?;
    Ok(())
}

/// Compares digits as numbers and the rest as text: 6.1.0-9 comes before 6.1.0-56.
fn by_version(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(String, u64)> {
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .map(|part| (part.to_owned(), part.parse().unwrap_or(0)))
            .collect()
    };
    let (a, b) = (parts(a), parts(b));
    for ((text, number), (other_text, other_number)) in a.iter().zip(&b) {
        let order = number.cmp(other_number).then_with(|| text.cmp(other_text));
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

#[cfg(test)]
mod tests {
    use super::{Ordering, by_version, list, parse};

    #[test]
    fn the_list_of_the_repository_reads() {
        let kernels = list().unwrap();
        assert!(kernels.iter().any(|kernel| kernel.name == "native" && kernel.package.is_empty()));
        assert!(kernels.iter().any(|kernel| kernel.name == "6.1" && !kernel.timeout.is_zero()));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = parse("[[kernel]]\nname = \"x\"\nnmae = \"y\"\n").unwrap_err().to_string();
        assert!(error.contains("kernels.toml:3"), "{error}");
        assert!(parse("name = \"x\"").is_err(), "a key before any kernel");
    }

    #[test]
    fn versions_compare_by_number() {
        let (old, new) = ("linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64");
        assert_eq!(by_version(old, new), Ordering::Less);
        assert_eq!(by_version(new, new), Ordering::Equal);
    }
}
