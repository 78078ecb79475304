//! The programs of the object: what each is loaded for, and loading them.

use aya::Ebpf;
use aya::programs::{BtfTracePoint, Iter, Program, RawTracePoint};
use rustc_hash::FxHashMap;
use tarsier_abi::{Hook, Sensor};

use super::offsets::Offsets;
use super::refusal::{chain, refusal};

/// The programs that these sensors need and this kernel can have, with those that serve them all.
pub(super) fn wanted(sensors: &[Sensor], offsets: &Offsets) -> Vec<(&'static str, Target)> {
    let shared = ITERATORS.map(|(name, over)| (name, Target::Iterator(over)));
    let possible = sensors.iter().filter(|sensor| offsets.missing_for(**sensor).is_none());
    let attached = possible.flat_map(|sensor| sensor.attach()).filter_map(|attach| {
        let Hook::BtfTracepoint(name) = attach.hooks.first()?;
        Some((attach.program, Target::Tracepoint(name)))
    });
    shared.into_iter().chain([(SWEEP_PROGRAM, Target::TestRun)]).chain(attached).collect()
}

/// Loads programs, each in a thread of its own: the kernel verifies them independently, and the long
/// ones take it a third of a second each. Returns what failed, and why.
pub(super) fn load(
    ebpf: &mut Ebpf,
    wanted: &[(&'static str, Target)],
    btf: &aya::Btf,
) -> FxHashMap<&'static str, String> {
    std::thread::scope(|scope| {
        let mut failures: FxHashMap<_, _> = wanted
            .iter()
            .filter(|(name, _)| ebpf.program(name).is_none())
            .map(|(name, _)| (*name, format!("the object has no program {name}")))
            .collect();
        let threads: Vec<_> = ebpf
            .programs_mut()
            .filter_map(|(name, program)| {
                let (name, target) = wanted.iter().find(|(wanted, _)| *wanted == name)?;
                Some((*name, scope.spawn(|| target.load(name, program, btf))))
            })
            .collect();
        for (name, thread) in threads {
            let result = thread.join().unwrap_or_else(|_| Err("loading it panicked".to_owned()));
            if let Err(error) = result {
                failures.insert(name, error);
            }
        }
        failures
    })
}

/// What a program is loaded for.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// A BTF raw tracepoint of that name.
    Tracepoint(&'static str),
    /// An iterator over that.
    Iterator(&'static str),
    /// Nothing: it runs when called.
    TestRun,
}

impl Target {
    fn load(self, name: &str, program: &mut Program, btf: &aya::Btf) -> Result<(), String> {
        let loaded = match self {
            Self::Tracepoint(hook) => {
                <&mut BtfTracePoint>::try_from(program).and_then(|program| program.load(hook, btf))
            }
            Self::Iterator(over) => {
                <&mut Iter>::try_from(program).and_then(|program| program.load(over, btf))
            }
            Self::TestRun => <&mut RawTracePoint>::try_from(program).and_then(RawTracePoint::load),
        };
        loaded.map_err(|error| refusal(name, &chain(&error)))
    }
}

/// The program that looks at live sockets by address.
pub(super) const SWEEP_PROGRAM: &str = "tcp_sweep";
/// The iterators: program and what it walks.
const ITERATORS: [(&str, &str); 2] = [("seed_tasks", "task"), ("seed_sockets", "tcp")];

/// Names of the BTF types that programs attach to, as [`BtfTracePoint`] and [`Iter`] look them up.
pub(super) fn attach_points() -> Vec<String> {
    let tracepoints =
        Sensor::ALL.into_iter().flat_map(|sensor| sensor.attach()).flat_map(|attach| attach.hooks);
    let tracepoints = tracepoints.map(|Hook::BtfTracepoint(name)| format!("btf_trace_{name}"));
    tracepoints.chain(ITERATORS.map(|(_, target)| format!("bpf_iter_{target}"))).collect()
}
