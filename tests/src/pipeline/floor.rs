//! A kernel below the floor is told from its types, whatever it calls its version: here the running
//! kernel's own, with one name changed. And one that lacks what the programs can do without is not below it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::SCENE;
use super::refusals::{UNAVAILABLE, one_line, refuse};
use crate::harness::agent::{Agent, FLUSH_DEADLINE};
use crate::harness::cgroup::Cgroup;
use crate::harness::jail::Jail;
use crate::harness::pair;
use crate::harness::receiver::Receiver;
use crate::harness::scene::{self, ARRIVAL};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "floor/each_missing_feature_is_one_line", needs: &[], run: each_missing_feature },
    Test { name: "floor/without_the_time_of_segments", needs: SCENE, run: without_the_time_of_segments },
];

const BTF: &str = "/sys/kernel/btf/vmlinux";
/// The name in BTF that shows a feature, and what the agent calls it.
const FEATURES: [(&str, &str); 5] = [
    ("BPF_MAP_TYPE_RINGBUF", "BPF ring buffers"),
    ("btf_trace_sched_process_exec", "BTF raw tracepoints"),
    ("bpf_iter_task", "the task iterator"),
    ("bpf_iter_tcp", "the tcp iterator"),
    ("bpf_raw_tp_test_run_info", "test runs of raw tracepoint programs"),
];

fn each_missing_feature(context: &Context) -> anyhow::Result<()> {
    let whole = fs::read(BTF).context("this kernel's types")?;
    let file = tempfile::NamedTempFile::new()?;
    for (name, feature) in FEATURES {
        fs::write(file.path(), without(&whole, name)?)?;
        let mut command = Command::new(&context.agent);
        command.args(["run", "--output", "none", "--listen", "none", "--admin-socket", ""]);
        Jail::default().bind(file.path(), Path::new(BTF)).hold(&mut command);
        let (code, text) = refuse(command).context(feature)?;
        ensure!(code == Some(UNAVAILABLE), "{feature}: the exit code is {code:?}:\n{text}");
        one_line(&text, &[feature, "Linux 5.10 or newer"]).context(feature)?;
        let others = FEATURES.iter().filter(|(_, other)| *other != feature && text.contains(other));
        ensure!(others.count() == 0, "{feature} is not the only one that is missed:\n{text}");
    }
    Ok(())
}

/// A socket without a note of its segments' time: connections are told all the same, by the clock.
fn without_the_time_of_segments(context: &Context) -> anyhow::Result<()> {
    let whole = fs::read(BTF).context("this kernel's types")?;
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), without(&whole, "tcp_clock_cache")?)?;
    let (cgroup, receiver) = (Cgroup::new("floor")?, Receiver::start()?);
    let agent = Agent::start_as(context, cgroup.path(), &receiver.endpoint(), |command| {
        Jail::default().bind(file.path(), Path::new(BTF)).hold(command);
    })?;
    let words = ["workload", "half-close"];
    let lines = scene::lines(scene::itest(&context.itest, cgroup.path(), &words)?)?;
    let line = lines.first().context("a connection")?;
    let (client, server) =
        receiver.wait("pair of spans by the clock", ARRIVAL, |seen| pair::find(seen, line))?;
    pair::prove(line, &client, &server)?;
    agent.terminate(FLUSH_DEADLINE).map(drop)
}

/// The types with `name` called something else of the same length. Strings of BTF end with NUL.
fn without(types: &[u8], name: &str) -> anyhow::Result<Vec<u8>> {
    let whole = [b"\0", name.as_bytes(), b"\0"].concat();
    let places = types.windows(whole.len()).enumerate().filter(|(_, window)| *window == whole);
    let places: Vec<_> = places.map(|(at, _)| at).collect();
    ensure!(places.len() == 1, "{name} is {} times in {BTF}", places.len());
    let mut changed = types.to_vec();
    changed[places[0] + name.len()] = b'?';
    Ok(changed)
}
