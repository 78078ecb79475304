//! The programs of the object: what each is loaded for, and loading them.

use aya::Ebpf;
use aya::programs::{BtfTracePoint, FEntry, FExit, Iter, KProbe, Program, RawTracePoint};
use rustc_hash::FxHashMap;
use tarsier_abi::syscall::Call;
use tarsier_abi::{Hook, HookKind, Sensor};

use super::calls;
use super::refusal::{chain, refusal};

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
    /// A hook.
    Hook(Hook),
    /// An iterator over that.
    Iterator(&'static str),
    /// Nothing: it runs when called.
    TestRun,
}

impl Target {
    fn load(self, name: &str, program: &mut Program, btf: &aya::Btf) -> Result<(), String> {
        let loaded = match self {
            Self::Hook(Hook { kind, target }) => match kind {
                HookKind::Fentry => <&mut FEntry>::try_from(program).and_then(|p| p.load(target, btf)),
                // The pattern stands for several: any of them tells whether the kernel gives such hooks.
                HookKind::Fexit => {
                    let function = calls::first_function();
                    <&mut FExit>::try_from(program).and_then(|p| p.load(&function, btf))
                }
                HookKind::BtfTracepoint => {
                    <&mut BtfTracePoint>::try_from(program).and_then(|p| p.load(target, btf))
                }
                HookKind::RawTracepoint => {
                    <&mut RawTracePoint>::try_from(program).and_then(RawTracePoint::load)
                }
                HookKind::Kprobe => <&mut KProbe>::try_from(program).and_then(KProbe::load),
            },
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
/// The programs that serve every sensor and attach nowhere.
pub(super) const SHARED: [(&str, Target); 3] = [
    (ITERATORS[0].0, Target::Iterator(ITERATORS[0].1)),
    (ITERATORS[1].0, Target::Iterator(ITERATORS[1].1)),
    (SWEEP_PROGRAM, Target::TestRun),
];

/// Names of the BTF types that programs attach to, as aya looks them up.
pub(super) fn attach_points() -> Vec<String> {
    let entries =
        Sensor::ALL.into_iter().flat_map(|sensor| sensor.attach()).flat_map(|attach| attach.entries);
    let names = entries.filter_map(|entry| match entry.hook.kind {
        HookKind::Fentry => Some(entry.hook.target.to_owned()),
        HookKind::BtfTracepoint => Some(format!("btf_trace_{}", entry.hook.target)),
        HookKind::Fexit | HookKind::RawTracepoint | HookKind::Kprobe => None,
    });
    let functions = Call::ALL.into_iter().flat_map(calls::functions);
    names.chain(functions).chain(ITERATORS.map(|(_, target)| format!("bpf_iter_{target}"))).collect()
}
