//! `cargo xtask peers`: the real backends of the tests, an OpenTelemetry Collector and Jaeger, built
//! from the pinned Go modules under `tests/peers/` and kept in the cache by the hash of those files.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build_object::{cache_dir, hex_digest};
use crate::install::{Consent, ask};
use crate::shell::{capture, run, say, which, workspace};

/// Oldest Go that builds both: the `go` line of their modules.
const GO: (u32, u32) = (1, 25);

/// The built backends.
pub(crate) struct Peers {
    pub(crate) collector: PathBuf,
    pub(crate) jaeger: PathBuf,
}

/// The command: builds both, unless the cache has them.
pub(crate) fn command(consent: Consent) -> Result<()> {
    match get(consent)? {
        Ok(peers) => say(&format!("{}\n    {}", peers.collector.display(), peers.jaeger.display())),
        Err(reason) => anyhow::bail!(reason),
    }
    Ok(())
}

/// Both backends; the inner error says why this machine cannot have them.
pub(crate) fn get(consent: Consent) -> Result<Result<Peers, String>> {
    let collector = Peer { name: "collector", package: "." };
    let jaeger = Peer { name: "jaeger", package: "github.com/jaegertracing/jaeger/cmd/jaeger" };
    let missing: Vec<&Peer> = [&collector, &jaeger].into_iter().filter(|peer| !peer.is_built()).collect();
    if !missing.is_empty() {
        let Some(go) = find_go() else {
            return Ok(Err(format!(
                "the Collector and Jaeger need Go {}.{} or later to build; none is here",
                GO.0, GO.1
            )));
        };
        let names: Vec<_> = missing.iter().map(|peer| peer.name).collect();
        ask(
            &format!("{} will be built from Go modules (5 to 10 minutes, once)", names.join(" and ")),
            consent,
        )?;
        for peer in missing {
            peer.build(&go)?;
        }
        sweep(&go)?;
    }
    Ok(Ok(Peers { collector: collector.path()?, jaeger: jaeger.path()? }))
}

struct Peer {
    /// Folder under `tests/peers/`, and the binary's name.
    name: &'static str,
    package: &'static str,
}

impl Peer {
    fn folder(&self) -> PathBuf {
        workspace().join("tests/peers").join(self.name)
    }

    /// `<cache>/peers/<name>-<hash of its module's files>`.
    fn path(&self) -> Result<PathBuf> {
        let folder = self.folder();
        let entries = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        let mut all = Vec::new();
        for file in files {
            all.extend(std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?);
        }
        Ok(cache_dir().join("peers").join(format!("{}-{}", self.name, &hex_digest(&all)[..12])))
    }

    fn is_built(&self) -> bool {
        self.path().is_ok_and(|path| path.is_file())
    }

    fn build(&self, go: &Path) -> Result<()> {
        let path = self.path()?;
        let partial = path.with_extension("partial");
        say(&format!("building {} from its pinned modules: some minutes, once per machine", self.name));
        let mut command = go_command(go);
        command.current_dir(self.folder()).args(["build", "-trimpath", "-ldflags", "-s -w", "-o"]);
        command.arg(&partial).arg(self.package);
        run(&mut command)
            .with_context(|| format!("building {}: is the Go module proxy reachable?", self.name))?;
        // Only a whole binary gets the name that says it is there.
        std::fs::rename(&partial, &path).with_context(|| format!("naming {}", path.display()))
    }
}

/// Go with caches of its own: gigabytes that are of no use once the binaries exist.
fn go_command(go: &Path) -> Command {
    let mut command = Command::new(go);
    command
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-buildvcs=false -mod=readonly -modcacherw")
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", scratch().join("build"))
        .env("GOMODCACHE", scratch().join("modules"));
    command
}

fn scratch() -> PathBuf {
    cache_dir().join("go")
}

/// Removes the module and build caches, 10 GB or so.
fn sweep(go: &Path) -> Result<()> {
    run(go_command(go).args(["clean", "-cache", "-modcache"]))?;
    std::fs::remove_dir_all(scratch()).with_context(|| format!("removing {}", scratch().display()))
}

/// A Go that is new enough, on PATH or where its own archive puts it.
fn find_go() -> Option<PathBuf> {
    let candidates = which("go").into_iter().chain([PathBuf::from("/usr/local/go/bin/go")]);
    candidates.filter(|go| go.is_file()).find(|go| {
        let version = capture(Command::new(go).env("GOTOOLCHAIN", "local").args(["env", "GOVERSION"]));
        version.ok().and_then(|text| parse_version(text.trim())).is_some_and(|version| version >= GO)
    })
}

/// `go1.26.8` → (1, 26)
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("go")?.split('.');
    let minor = parts.clone().nth(1)?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((parts.next()?.parse().ok()?, minor[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_of_go() {
        assert_eq!(parse_version("go1.26.8"), Some((1, 26)));
        assert_eq!(parse_version("go1.27rc1"), Some((1, 27)));
        assert_eq!(parse_version("devel"), None);
    }
}
