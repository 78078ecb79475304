//! Fuzz targets: everything that reads bytes which somebody else wrote, as functions of any bytes.
//!
//! A target panics if what it calls panics or breaks a promise that holds for every input. `cargo xtask
//! fuzz` searches for such inputs with libFuzzer (`examples/fuzz.rs`); the test below replays the checked-in
//! corpus (`tests/fuzz/TARGET/`), so that what was found once stays mended without a fuzzer.

mod capture;
mod cgroups;
mod config;
mod host;
mod kernel;
mod records;
mod rules;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;

/// One target. The name is that of its folder of inputs, too.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As the command line has it.
    pub name: &'static str,
    /// Runs it on one input.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 16] = [
    Target { name: "accounts", run: host::accounts },
    Target { name: "btf", run: kernel::btf },
    Target { name: "capture", run: capture::file },
    Target { name: "cgroup", run: cgroups::records },
    Target { name: "condition", run: rules::condition },
    Target { name: "config", run: config::config },
    Target { name: "container_id", run: cgroups::container_id },
    Target { name: "containers", run: host::containers },
    Target { name: "decode", run: records::decode },
    Target { name: "exec", run: records::exec },
    Target { name: "falco", run: config::falco },
    Target { name: "output", run: rules::output },
    Target { name: "pipeline", run: capture::pipeline },
    Target { name: "proc", run: cgroups::proc },
    Target { name: "rules", run: rules::files },
    Target { name: "tcp", run: records::tcp },
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// The records of an input: two bytes of length (little endian) before each. The last may be cut short.
fn frames(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = input.split_first_chunk::<2>()?;
        let (frame, rest) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
        input = rest;
        Some(frame)
    })
}
