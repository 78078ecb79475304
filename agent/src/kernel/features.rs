//! The kernel floor, decided by feature: what Tarsier cannot do without, and how the kernel's own type
//! information shows that it is there. Versions are named for people only; distributions backport.

use super::btf::Btf;

/// How a feature shows in BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// A member of an enum: (enum, member).
    Enumerator(&'static str, &'static str),
    /// A tracepoint that programs may attach to with typed arguments.
    Tracepoint(&'static str),
    /// A function that programs of this kind attach to.
    Function(&'static str),
    /// A structure that only the implementation has.
    Struct(&'static str),
}

/// One thing that the kernel must have.
#[derive(Clone, Copy, Debug)]
struct Feature {
    /// For people, with the mainline version that brought it.
    name: &'static str,
    evidence: Evidence,
}

/// The floor (docs/adr/0006), besides BTF itself.
const FLOOR: [Feature; 5] = [
    Feature {
        name: "BPF ring buffers (5.8)",
        evidence: Evidence::Enumerator("bpf_map_type", "BPF_MAP_TYPE_RINGBUF"),
    },
    Feature { name: "BTF raw tracepoints (5.5)", evidence: Evidence::Tracepoint("sched_process_exec") },
    Feature { name: "the task iterator (5.8)", evidence: Evidence::Function("bpf_iter_task") },
    Feature { name: "the tcp iterator (5.9)", evidence: Evidence::Function("bpf_iter_tcp") },
    Feature {
        name: "test runs of raw tracepoint programs (5.10)",
        evidence: Evidence::Struct("bpf_raw_tp_test_run_info"),
    },
];

/// The kernel lacks something that nothing works without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this kernel lacks {}; Tarsier needs Linux 5.10 or newer with BTF", .missing.join(", "))]
pub struct BelowFloor {
    /// What is missing, for people, each with the mainline version that brought it.
    pub missing: Vec<&'static str>,
}

/// Looks for everything that the agent cannot do without.
///
/// # Errors
/// [`BelowFloor`] with all that is missing.
pub fn require(btf: &Btf) -> Result<(), BelowFloor> {
    let is_there = |evidence| match evidence {
        Evidence::Enumerator(name, value) => btf.enumerator(name, value).is_some(),
        Evidence::Tracepoint(name) => btf.tracepoint_arity(name).is_some(),
        Evidence::Function(name) => btf.function(name).is_some(),
        Evidence::Struct(name) => btf.size_of(name).is_some(),
    };
    let missing = FLOOR.iter().filter(|feature| !is_there(feature.evidence));
    let missing: Vec<_> = missing.map(|feature| feature.name).collect();
    if missing.is_empty() { Ok(()) } else { Err(BelowFloor { missing }) }
}

/// The names in BTF of what [`require`] looks for.
pub(super) fn names() -> impl Iterator<Item = String> {
    FLOOR.iter().map(|feature| match feature.evidence {
        Evidence::Enumerator(name, _) | Evidence::Function(name) | Evidence::Struct(name) => name.to_owned(),
        Evidence::Tracepoint(name) => format!("btf_trace_{name}"),
    })
}

/// Everything that [`require`] looks for, for people.
pub fn floor() -> impl Iterator<Item = &'static str> {
    FLOOR.iter().map(|feature| feature.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF made here, of what a test says that the kernel has.
    #[derive(Default)]
    struct Made {
        types: Vec<u8>,
        strings: Vec<u8>,
        count: u32,
    }

    impl Made {
        fn name(&mut self, name: &str) -> u32 {
            if self.strings.is_empty() {
                self.strings.push(0);
            }
            let at = self.strings.len() as u32;
            self.strings.extend(name.bytes().chain([0]));
            at
        }

        /// Adds a type: kind, entries, size or type, and the words after the fixed part. Returns its id.
        fn add(&mut self, name: u32, kind: u32, entries: u32, size_or_type: u32, rest: &[u32]) -> u32 {
            for word in [name, kind << 24 | entries, size_or_type].iter().chain(rest) {
                self.types.extend(word.to_le_bytes());
            }
            self.count += 1;
            self.count
        }

        fn show(&mut self, evidence: Evidence) {
            match evidence {
                Evidence::Enumerator(name, value) => {
                    let (name, value) = (self.name(name), self.name(value));
                    self.add(name, 6, 1, 4, &[value, 27]);
                }
                Evidence::Tracepoint(name) => {
                    let name = self.name(&format!("btf_trace_{name}"));
                    let prototype = self.add(0, 13, 2, 0, &[0, 0, 0, 0]);
                    let pointer = self.add(0, 2, 0, prototype, &[]);
                    self.add(name, 8, 0, pointer, &[]);
                }
                Evidence::Function(name) => {
                    let name = self.name(name);
                    let prototype = self.add(0, 13, 0, 0, &[]);
                    self.add(name, 12, 0, prototype, &[]);
                }
                Evidence::Struct(name) => {
                    let name = self.name(name);
                    self.add(name, 4, 0, 24, &[]);
                }
            }
        }

        fn btf(mut self) -> Btf {
            self.name("");
            let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
            let mut data = vec![0x9f, 0xeb, 1, 0];
            for word in [24, 0, types, types, strings] {
                data.extend(word.to_le_bytes());
            }
            data.extend(self.types.iter().chain(&self.strings));
            Btf::parse(data).unwrap()
        }
    }

    fn kernel_with(has: impl Fn(Evidence) -> bool) -> Btf {
        let mut made = Made::default();
        FLOOR.iter().map(|feature| feature.evidence).filter(|one| has(*one)).for_each(|one| made.show(one));
        made.btf()
    }

    #[test]
    fn a_kernel_with_everything_is_enough_and_so_is_this_one() {
        assert_eq!(require(&kernel_with(|_| true)), Ok(()));
        let data = std::fs::read("/sys/kernel/btf/vmlinux").expect("this kernel has BTF");
        assert_eq!(require(&Btf::parse(data).expect("the kernel's own BTF")), Ok(()));
    }

    #[test]
    fn each_feature_is_missed_by_its_own_name() {
        for absent in &FLOOR {
            let found = require(&kernel_with(|evidence| evidence != absent.evidence));
            assert_eq!(found, Err(BelowFloor { missing: vec![absent.name] }));
        }
    }

    #[test]
    fn an_old_kernel_is_one_line_with_all_that_is_missing() {
        let old = require(&kernel_with(|evidence| matches!(evidence, Evidence::Tracepoint(_)))).unwrap_err();
        let text = old.to_string();
        assert_eq!(
            text,
            "this kernel lacks BPF ring buffers (5.8), the task iterator (5.8), the tcp iterator (5.9), \
             test runs of raw tracepoint programs (5.10); Tarsier needs Linux 5.10 or newer with BTF"
        );
        let oldest = require(&kernel_with(|_| false)).unwrap_err();
        assert_eq!(oldest.missing, floor().collect::<Vec<_>>());
    }

    /// The name of the enum alone is not the feature: the map type came later than the enum.
    #[test]
    fn an_enum_without_the_member_is_no_evidence() {
        let mut made = Made::default();
        made.show(Evidence::Enumerator("bpf_map_type", "BPF_MAP_TYPE_HASH"));
        assert!(require(&made.btf()).unwrap_err().missing.contains(&"BPF ring buffers (5.8)"));
    }
}
