//! `tarsier-itest corpus`: a small capture of known work on the running kernel, for `tests/captures/`: input
//! of golden tests, fuzzers and benchmarks. `cargo xtask corpus` runs it natively and in every guest.
//!
//! Nothing of the machine that made it is in it but its kernel: its own cgroup, paths that are the same
//! everywhere, no host names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use crate::harness::exit;
use crate::harness::recorder::{Recorder, Studio, bytes};
use crate::harness::scene::{self, ARRIVAL, Dialogue};
use crate::runner::Context;

/// Where the workloads' binary stands, on every machine.
const PLACE: &str = "/tmp/tarsier-corpus";
/// Container ids as their runtimes spell the groups.
const CONTAINERS: [&str; 2] = [
    "docker/3f1c9a62d7b0a8e45c1d2e3f4a5b6c7d8e9f00112233445566778899aabbccdd",
    "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9.slice/cri-containerd-c0ffee62d7b0a8e45c1d2e3f4a5b6c7d8e9f00112233445566778899aabbccdd.scope",
];

/// What the capture is recorded with, so that it holds system calls.
const RULES: &str = include_str!("../captures/rules.yaml");
/// Calls that its rules are about, and beside each one that they are not.
const CALLS: &[&str] = &[
    "kept=openat -100 \"/tmp/tarsier-corpus/secret\" 0 0",
    "openat -100 \"/tmp/tarsier-corpus/itest\" 0 0",
    "openat -100 \"/tmp/tarsier-corpus/secret.not-there\" 0 0",
    "openat2 -100 \"/tmp/../tmp/tarsier-corpus/./secret\" how:0:0 24",
    "folder=openat -100 \"/tmp/tarsier-corpus\" 0o200000 0",
    "openat @folder \"secret\" 0 0",
    "fchmod @kept 0o4600",
    "fchmod @kept 0o600",
    "linkat -100 \"/tmp/tarsier-corpus/secret\" -100 \"/tmp/tarsier-corpus/new.link\" 0",
    "symlinkat \"secret\" -100 \"/tmp/tarsier-corpus/new.symlink\"",
    "renameat2 -100 \"/tmp/tarsier-corpus/new.link\" -100 \"/tmp/tarsier-corpus/new.name\" 0",
    "renameat2 -100 \"/tmp/tarsier-corpus/new.name\" -100 \"/tmp/tarsier-corpus/old.name\" 0",
    "unlinkat -100 \"/tmp/tarsier-corpus/new.symlink\" 0",
    "unlinkat -100 \"/tmp/tarsier-corpus/new.symlink\" 0",
    "unlinkat -100 \"/tmp/tarsier-corpus/old.name\" 0",
    "memfd_create \"corpus\" 1",
    "memfd_create \"other\" 1",
    "tcp=socket 2 1 0",
    "connect @tcp inet:127.0.0.1:9 16",
    "udp=socket 2 2 0",
    "connect @udp inet:127.0.0.1:9 16",
    "connect @udp inet:127.0.0.1:7 16",
    "execve \"/tmp/tarsier-corpus/no/such\" 0 0",
    "execve \"/no/such\" 0 0",
];

/// How much work is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Something of everything: some hundred records.
    Small,
    /// Processes and connections in the thousands, for benchmarks.
    Large,
}

/// A directory that is removed again.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed is empty or somebody else's.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Records the work of `size`; the capture's bytes.
pub fn record(context: &Context, size: Size) -> anyhow::Result<Vec<u8>> {
    let place = Place(PLACE.into());
    drop(fs::remove_dir_all(&place.0));
    fs::create_dir_all(&place.0)?;
    let itest = place.0.join("itest");
    fs::copy(&context.itest, &itest).context("copying the test binary")?;
    let studio = Studio::new("corpus")?;
    let config = place.0.join("tarsier.yaml");
    // Live connections are printed, so that the sweep can be waited for; the hook on all calls is the same on every kernel.
    fs::write(&config, "flows: {interval: 1s}\noutput: {live: true}\nhooks: {avoid: [fexit]}\n")?;
    let rules = place.0.join("rules.yaml");
    fs::write(&rules, RULES)?;
    fs::write(place.0.join("secret"), "nothing")?;
    let work = Work { itest: &itest, studio: &studio };
    let mut held = work.hold()?;
    held.say("send 1000")?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path of ours is text");
    let (config, rules) = (text(&config)?, text(&rules)?);
    let recorder = studio.record(context, &["--anonymous", "--config", &config, "--rules", &rules])?;
    let (capture, lines) = (recorder.capture.clone(), recorder.lines.clone());
    work.small()?;
    held.say("send 5000")?;
    held.say("reply 7000")?;
    wait_for_sweep(&lines)?;
    held.say("close")?;
    if size == Size::Large {
        work.large()?;
    }
    end(recorder)?;
    bytes(&capture)
}

fn end(recorder: Recorder) -> anyhow::Result<()> {
    let ended = recorder.terminate()?;
    ensure!(ended.status.success(), "the recorder ended with {}", ended.status);
    Ok(())
}

/// Waits until a line tells of a connection that lives on.
fn wait_for_sweep(lines: &Path) -> anyhow::Result<()> {
    let end = Instant::now() + ARRIVAL;
    loop {
        let text = String::from_utf8_lossy(&bytes(lines)?).into_owned();
        if text.lines().any(|line| line.contains("\"tarsier.flow.live\"")) {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("no sweep showed the held connection within {ARRIVAL:?}");
        }
        // The recorder prints and tells nobody; a file does not wake its readers.
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

struct Work<'a> {
    itest: &'a Path,
    studio: &'a Studio,
}

impl Work<'_> {
    fn hold(&self) -> anyhow::Result<Dialogue> {
        let mut held = Dialogue::start(self.command(self.studio.cgroup.path(), &["workload", "hold"])?)?;
        held.hear()?;
        Ok(held)
    }

    fn run(&self, group: &Path, words: &[&str]) -> anyhow::Result<()> {
        let words: Vec<&str> = std::iter::once("workload").chain(words.iter().copied()).collect();
        scene::lines(self.command(group, &words)?).map(drop)
    }

    fn command(&self, group: &Path, words: &[&str]) -> anyhow::Result<Command> {
        let mut command = scene::itest(self.itest, group, words)?;
        command.current_dir(PLACE);
        Ok(command)
    }

    fn small(&self) -> anyhow::Result<()> {
        let own = self.studio.cgroup.path();
        for words in [
            &["processes", "--count", "5", "--marker", "corpus"][..],
            &["fork"],
            &["threads"],
            &["connections", "--count", "5"],
            &["matrix"],
            &["refused"],
            &["reset"],
            &["half-close"],
            &["v4-mapped"],
        ] {
            self.run(own, words).with_context(|| words.join(" "))?;
        }
        // Ends with the code of the program that its thread starts.
        exit::wait(&mut self.command(own, &["workload", "thread-exec"])?.spawn()?, ARRIVAL)?;
        self.run(own, &[&["calls"], CALLS].concat())?;
        for container in CONTAINERS {
            let group = self.studio.cgroup.below(container)?;
            self.run(&group, &[&["calls"], &CALLS[..2]].concat())?;
            self.run(&group, &["processes", "--count", "2", "--marker", "inside"])?;
            self.run(&group, &["connections", "--count", "2"])?;
        }
        let long = "x".repeat(6_000);
        for arguments in [
            &["--password", "hunter2"][..],
            &[&long, "--token=hunter2", "end"],
            &["", "new\nline", "\u{1b}[31m"],
        ] {
            let words: Vec<&str> =
                ["child", "--exit", "3"].into_iter().chain(arguments.iter().copied()).collect();
            exit::wait(&mut self.command(own, &words)?.spawn()?, ARRIVAL)?;
        }
        Ok(())
    }

    fn large(&self) -> anyhow::Result<()> {
        for container in CONTAINERS {
            let group = self.studio.cgroup.below(container)?;
            self.run(&group, &["processes", "--count", "500", "--marker", "bench"])?;
            self.run(&group, &["connections", "--count", "2000"])?;
        }
        Ok(())
    }
}
