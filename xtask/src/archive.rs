//! Packages of Debian suites that this machine does not use: apt with a configuration, lists and cache
//! of its own below the tool cache. The machine's sources stay untouched; the archive is where they
//! say it is, and every list is checked against Debian's own keys.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build_object::cache_dir;
use crate::install::refresh_lists;
use crate::shell::{capture, run, say};

/// The keys that Debian signs every suite with (package `debian-archive-keyring`).
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Lists older than this are renewed before they are asked.
const LISTS_AGE: Duration = Duration::from_hours(24);

/// Some suites of the archive, as a private apt sees them.
pub(crate) struct Archive {
    /// Holds the sources, the lists and apt's cache.
    folder: PathBuf,
    suites: String,
}

impl Archive {
    /// Prepares `suites`. `Err` in it: why this machine cannot have them.
    pub(crate) fn open(suites: &[String]) -> Result<Result<Self, String>> {
        if !Path::new(KEYRING).exists() {
            return Ok(Err(format!("{KEYRING} is not there: Debian's archive cannot be verified")));
        }
        let mut mirrors = mirrors();
        if mirrors.is_empty() {
            refresh_lists();
            mirrors = self::mirrors();
        }
        let mut sources = String::new();
        for suite in suites {
            let is_security = suite.ends_with("-security");
            let mirror = mirrors.iter().find(|(_, release)| release.ends_with("-security") == is_security);
            let Some((address, _)) = mirror else {
                return Ok(Err(format!("apt on this machine names no mirror of Debian with {suite}")));
            };
            sources.push_str(&format!("deb [signed-by={KEYRING}] {address} {suite} main\n"));
        }
        let suites = suites.join("+");
        let folder = cache_dir().join("apt").join(&suites);
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            std::fs::create_dir_all(&part).with_context(|| format!("making {}", part.display()))?;
        }
        let list = folder.join("sources.list");
        if std::fs::read_to_string(&list).unwrap_or_default() != sources {
            // Lists from elsewhere are of no use.
            drop(std::fs::remove_file(folder.join(STAMP)));
            std::fs::write(&list, sources).with_context(|| format!("writing {}", list.display()))?;
        }
        Ok(Ok(Self { folder, suites }))
    }

    /// The folder with the unpacked files of the newest version of `patterns` (each with one `*`),
    /// fetched unless the cache has it. `None` if the suites have nothing of that name.
    pub(crate) fn unpacked(&self, patterns: &[String]) -> Result<Option<PathBuf>> {
        let cache = cache_dir().join("kernels");
        std::fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
        if !self.is_fresh()
            && let Err(error) = self.update()
        {
            eprintln!("{error:#}; going on with what is there");
        }
        for is_last in [false, true] {
            let Some((package, rest)) = self.newest(patterns, &cache)? else { return Ok(None) };
            let folder = cache.join(&package);
            if folder.is_dir() {
                return Ok(Some(folder));
            }
            match self.download(&cache, &package, &rest) {
                Ok(()) => return Ok(Some(folder)),
                Err(error) if is_last => return Err(error),
                // Security suites drop what they replace: with new lists there is a newer one.
                Err(_) => self.update()?,
            }
        }
        Ok(None)
    }

    /// The newest package of the first pattern, in the lists or in the cache, and those of the others.
    fn newest(&self, patterns: &[String], cache: &Path) -> Result<Option<(String, Vec<String>)>> {
        let (first, rest) = patterns.split_first().context("a kernel without packages")?;
        let (prefix, suffix) = first.split_once('*').context("a package needs one `*`")?;
        let listed = self.apt("apt-cache", &["search", "--names-only", &format!("^{prefix}.*{suffix}$")])?;
        let listed = listed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned);
        let kept = std::fs::read_dir(cache)?.flatten();
        let kept = kept.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let version = |name: &str| {
            let middle = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
            (!middle.is_empty() && !middle.contains("unsigned")).then(|| middle.to_owned())
        };
        let versions = listed.chain(kept).filter_map(|name| version(&name));
        let Some(newest) = versions.max_by(|a, b| by_version(a, b)) else { return Ok(None) };
        let named = |pattern: &String| pattern.replace('*', &newest);
        Ok(Some((named(first), rest.iter().map(named).collect())))
    }

    /// Downloads packages and unpacks them together, in a folder that gets its name only when whole.
    fn download(&self, cache: &Path, package: &str, rest: &[String]) -> Result<()> {
        say(&format!("fetching {package} from {}", self.suites));
        let partial = cache.join(format!("{package}.partial"));
        if partial.exists() {
            std::fs::remove_dir_all(&partial)?;
        }
        std::fs::create_dir_all(&partial)?;
        let mut words = vec!["download", "-qq", package];
        words.extend(rest.iter().map(String::as_str));
        capture(self.command("apt-get", &words).current_dir(&partial))
            .with_context(|| format!("fetching {package}: is the archive reachable?"))?;
        let entries: Vec<_> = std::fs::read_dir(&partial)?.flatten().map(|entry| entry.path()).collect();
        if entries.len() != 1 + rest.len() {
            bail!("apt-get download left {} files of {} packages", entries.len(), 1 + rest.len());
        }
        for deb in entries {
            run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&partial))?;
            std::fs::remove_file(&deb)?;
        }
        std::fs::rename(&partial, cache.join(package))?;
        Ok(())
    }

    fn is_fresh(&self) -> bool {
        let changed = std::fs::metadata(self.folder.join(STAMP)).and_then(|data| data.modified());
        changed.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < LISTS_AGE))
    }

    fn update(&self) -> Result<()> {
        say(&format!("apt-get update of {}", self.suites));
        self.apt("apt-get", &["update", "-qq", "--error-on=any"])?;
        std::fs::write(self.folder.join(STAMP), "").context("noting the update")
    }

    fn apt(&self, program: &str, words: &[&str]) -> Result<String> {
        capture(&mut self.command(program, words))
    }

    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        let at = |key: &str, part: &str| format!("{key}={}", self.folder.join(part).display());
        for option in [
            at("Dir::Etc::sourcelist", "sources.list"),
            "Dir::Etc::sourceparts=-".into(),
            at("Dir::State::lists", "lists"),
            at("Dir::Cache", "cache"),
            // Only the lists of packages are of use here.
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            // The cache may be where apt's own user cannot go.
            "APT::Sandbox::User=root".into(),
        ] {
            command.arg("-o").arg(option);
        }
        command.args(words);
        command
    }
}

/// Touched when the lists were renewed.
const STAMP: &str = "updated";

/// Where this machine's own sources find Debian: (address, release).
fn mirrors() -> Vec<(String, String)> {
    let format = "$(ORIGIN) $(RELEASE) $(REPO_URI)";
    let targets = capture(Command::new("apt-get").args(["indextargets", "--format", format]));
    let targets = targets.unwrap_or_default();
    let split = |line: &str| {
        let mut words = line.split(' ');
        (words.next()? == "Debian").then_some(())?;
        let release = words.next()?.to_owned();
        Some((words.next()?.to_owned(), release))
    };
    targets.lines().filter_map(split).collect()
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
    use super::{Ordering, by_version};

    #[test]
    fn versions_compare_by_number() {
        for (old, new) in [
            ("6.1.0-9", "6.1.0-56"),
            ("6.12.95+deb12", "6.12.117+deb12"),
            ("6.12.90+deb12", "6.12.90+deb12.1"),
        ] {
            assert_eq!(by_version(old, new), Ordering::Less, "{old} {new}");
            assert_eq!(by_version(new, new), Ordering::Equal);
        }
    }
}
