//! From the running kernel's BTF to the programs' read-only globals.

use tarsier_abi::{ABSENT, FIELDS, FieldSpec, Globals, Need, Sensor};

use super::btf::Btf;

/// The field offsets of this kernel, and what it lacks.
#[derive(Clone, Debug)]
pub struct Offsets {
    /// One value per entry of [`FIELDS`]; [`ABSENT`] if missing.
    pub values: Vec<u32>,
    /// Fields that are missing or not as expected, with what is wrong.
    pub missing: Vec<Missing>,
}

/// A field that could not be resolved.
#[derive(Clone, Debug)]
pub struct Missing {
    /// Which.
    pub field: &'static FieldSpec,
    /// `struct x has no member y`, or `… is 4 bytes, expected 8`.
    pub reason: String,
}

impl Offsets {
    /// Resolves every field of the table.
    pub fn resolve(btf: &Btf) -> Self {
        let mut offsets = Self { values: Vec::with_capacity(FIELDS.len()), missing: Vec::new() };
        for field in FIELDS {
            match resolve(btf, field) {
                Ok(value) => offsets.values.push(value),
                Err(reason) => {
                    offsets.values.push(ABSENT);
                    offsets.missing.push(Missing { field, reason });
                }
            }
        }
        offsets
    }

    /// The first missing field that keeps a sensor from working.
    pub fn missing_for(&self, sensor: Sensor) -> Option<&Missing> {
        self.missing.iter().find(|missing| match missing.field.need {
            Need::Core => true,
            Need::Sensor(stem) => stem == sensor.name(),
            Need::Optional => false,
        })
    }

    /// A number that names this layout in logs: equal layouts, equal numbers.
    pub fn fingerprint(&self) -> u64 {
        Btf::fingerprint(self.values.iter().copied())
    }
}

fn resolve(btf: &Btf, field: &FieldSpec) -> Result<u32, String> {
    let container = field.container;
    for path in field.paths {
        if *path == "sizeof" {
            return btf.size_of(container).ok_or_else(|| format!("no struct {container}"));
        }
        let Some(member) = btf.member(container, path) else { continue };
        if field.size != 0 && member.size != field.size {
            return Err(format!(
                "struct {container}: {path} is {} bytes, expected {}",
                member.size, field.size
            ));
        }
        return Ok(member.offset);
    }
    Err(format!("struct {container} has no member {}", field.paths.join(" or ")))
}

/// The enums that globals are taken from, here and in `load`.
pub(super) const ENUMS: [&str; 4] = ["bpf_func_id", "sock_flags", "cgroup_subsys_id", "bpf_features"];

/// Makes any address readable by plain loads, since 6.17, and says so in `enum bpf_features` (kernel/bpf/verifier.c).
pub(super) const CAST: &str = "bpf_rdonly_cast";

/// `SOCK_BINDPORT_LOCK` is 8 (include/net/sock.h): the fourth bit of `sk_userlocks`.
const BINDPORT_LOCK: u32 = 3;

/// The number of `bpf_rdonly_cast`, where it takes an address without a type.
pub fn cast(btf: &Btf) -> Option<u32> {
    btf.enumerator("bpf_features", "BPF_FEAT_RDONLY_CAST_TO_VOID")?;
    btf.function(CAST)
}

/// The globals that follow from BTF alone; scope, rings and cgroup layout are the caller's.
pub fn globals_from(btf: &Btf) -> Globals {
    let pointer = btf.member("sock", "sk_cgrp_data.cgroup").is_some_and(|member| member.is_pointer);
    Globals {
        EXIT_HAS_GROUP_DEAD: u32::from(btf.tracepoint_arity("sched_process_exit") >= Some(2)),
        // The helper's id is an enumerator of `enum bpf_func_id` in every kernel that has it.
        CURRENT_IS_TYPED: u32::from(btf.enumerator("bpf_func_id", "BPF_FUNC_get_current_task_btf").is_some()),
        CAST_IS_FREE: u32::from(cast(btf).is_some()),
        COMPLETE_HAS_CQE: u32::from(btf.tracepoint_arity("io_uring_complete") == Some(3)),
        SOCK_CGROUP_IS_POINTER: u32::from(pointer),
        SOCK_BOUND_BIT: btf.first_bit("sock", "sk_userlocks").map_or(ABSENT, |first| first + BINDPORT_LOCK),
        SOCK_DONE_BIT: btf.enumerator("sock_flags", "SOCK_DONE").unwrap_or(1) as u32,
        ..Globals::default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_required_field_exists_on_this_kernel() {
        let data = std::fs::read("/sys/kernel/btf/vmlinux").expect("this kernel has BTF");
        let offsets = Offsets::resolve(&Btf::parse(data).expect("the kernel's own BTF"));
        assert_eq!(offsets.values.len(), FIELDS.len());
        for sensor in Sensor::ALL {
            if let Some(missing) = offsets.missing_for(sensor) {
                panic!("{}: {}: {}", sensor.name(), missing.field.symbol, missing.reason);
            }
        }
    }

    /// Name and BTF of each kernel of the matrix, as `cargo xtask btf` reduced it.
    fn matrix() -> Vec<(String, Btf)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/btf");
        let files =
            std::fs::read_dir(folder).expect("tests/btf").map(|entry| entry.expect("an entry").path());
        let mut kernels: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|extension| extension == "btf"))
            .map(|path| {
                let data = std::fs::read(&path).expect("a file");
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                (name, Btf::parse(data).expect("BTF"))
            })
            .collect();
        kernels.sort_by(|(a, _), (b, _)| a.cmp(b));
        assert!(kernels.len() >= 5, "every kernel of tests/kernels.toml is there");
        kernels
    }

    #[test]
    fn every_kernel_of_the_matrix_has_all_that_every_sensor_needs() {
        for (kernel, btf) in matrix() {
            super::super::features::require(&btf).unwrap_or_else(|below| panic!("{kernel}: {below}"));
            // What requests of io_uring hold came one after the other.
            for field in FIELDS.iter().filter(|field| !field.symbol.starts_with("REQ_")) {
                let known = btf.size_of(field.container).is_some();
                assert!(known, "{kernel}: no struct {}: run `cargo xtask btf`", field.container);
            }
            // The high half of a byte (5.10, 6.1), or one of its own.
            let bound = globals_from(&btf).SOCK_BOUND_BIT;
            let known = bound / 8 < btf.size_of("sock").expect("struct sock");
            assert!(known && matches!(bound % 8, 3 | 7), "{kernel}: sk_userlocks at bit {bound}");
            let offsets = Offsets::resolve(&btf);
            for sensor in Sensor::ALL {
                let missing = offsets.missing_for(sensor);
                // Requests of io_uring can be told from 6.0 on.
                let is_off = sensor == Sensor::IoUring && kernel == "5.10";
                assert_eq!(missing.is_some(), is_off, "{kernel}: {}: {missing:?}", sensor.name());
            }
        }
    }

    /// What moves from one kernel to the next shows in a diff of this table.
    #[test]
    fn the_table_of_layouts_is_fresh() {
        let kernels = matrix();
        let mut table = String::from(
            "# Offsets in bytes; `TARSIER_BLESS=1 cargo test -p tarsier fresh` rewrites this file.\n",
        );
        let names: String = kernels.iter().map(|(name, _)| format!(" {name:>7}")).collect();
        table.push_str(&format!("# {:<22}{names}\n", "field"));
        let layouts: Vec<_> = kernels.iter().map(|(_, btf)| Offsets::resolve(btf)).collect();
        for (index, field) in FIELDS.iter().enumerate() {
            let offset = |layout: &Offsets| match layout.values[index] {
                ABSENT => "-".to_owned(),
                offset => offset.to_string(),
            };
            let offsets: String = layouts.iter().map(|layout| format!(" {:>7}", offset(layout))).collect();
            table.push_str(&format!("{:<24}{offsets}\n", field.symbol));
        }
        crate::fresh::assert_fresh("tests/btf/offsets.txt", &table);
    }

    #[test]
    fn reduced_it_says_the_same() {
        let data = std::fs::read("/sys/kernel/btf/vmlinux").expect("this kernel has BTF");
        let whole = Btf::parse(data).expect("the kernel's own BTF");
        let bytes = crate::kernel::reduced(&whole);
        assert!(bytes.len() < 200_000, "{} bytes", bytes.len());
        let reduced = Btf::parse(bytes).expect("a reduction is BTF");
        let (of_whole, of_reduced) = (Offsets::resolve(&whole), Offsets::resolve(&reduced));
        assert_eq!(of_reduced.values, of_whole.values);
        let reasons =
            |offsets: &Offsets| -> Vec<_> { offsets.missing.iter().map(|m| m.reason.clone()).collect() };
        assert_eq!(reasons(&of_reduced), reasons(&of_whole));
        assert_eq!(format!("{:?}", globals_from(&reduced)), format!("{:?}", globals_from(&whole)));
        assert_eq!(super::super::features::require(&reduced), super::super::features::require(&whole));
        let subsys = |btf: &Btf| btf.enumerator("cgroup_subsys_id", "memory_cgrp_id");
        assert_eq!(subsys(&reduced), subsys(&whole));
    }

    #[test]
    fn a_missing_field_switches_off_its_sensor_and_no_other() {
        let off = |symbol: &str| -> Vec<&str> {
            let field = FIELDS.iter().find(|field| field.symbol == symbol).expect("in the table");
            let reason = format!("struct {} has no member", field.container);
            let offsets = Offsets { values: Vec::new(), missing: vec![Missing { field, reason }] };
            Sensor::ALL.into_iter().filter(|s| offsets.missing_for(*s).is_some()).map(Sensor::name).collect()
        };
        assert_eq!(off("TCP_SRTT"), ["tcp"]);
        assert_eq!(off("MM_ARG_START"), ["exec"]);
        assert_eq!(off("TASK_LOGINUID"), [""; 0], "an optional one");
        assert_eq!(off("TCP_CLOCK_CACHE"), [""; 0], "the clock itself is read instead");
        assert_eq!(off("TASK_TGID"), Sensor::ALL.map(Sensor::name), "identity is everybody's");
    }
}
