//! The object into the kernel: globals filled in, maps sized, programs loaded, each sensor on its own.

use aya::{Ebpf, EbpfLoader};
use tarsier_abi::syscall::{Call, Plan};
use tarsier_abi::{BULK_RINGS, CAST_TO_READABLE, FIELDS, Globals, HookKind, Sensor};

use super::attach::{self, Placed};
use super::btf::{Btf, BtfError};
use super::features::{self, BelowFloor};
use super::hooks::SensorState;
use super::offsets::{self, Offsets, globals_from};
use super::refusal::chain;
use super::ring::RingError;
use super::{memlock, programs};

/// The object, as the build script made it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tarsier.bpf.o"));

/// Where the kernel publishes its types.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Why nothing could be loaded. A single sensor that fails is not an error: see [`SensorState`].
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No BTF: the kernel was built without `CONFIG_DEBUG_INFO_BTF`, or `/sys` is not mounted.
    #[error(
        "{BTF_PATH}: {0}: this kernel offers no type information; Tarsier needs CONFIG_DEBUG_INFO_BTF=y (5.10 or newer)"
    )]
    NoBtf(std::io::Error),
    /// BTF that this reader cannot read.
    #[error("{BTF_PATH}: {0}")]
    BadBtf(#[from] BtfError),
    /// Something that nothing works without.
    #[error(transparent)]
    BelowFloor(#[from] BelowFloor),
    /// A field that every sensor needs.
    #[error("this kernel's types do not fit: {0}")]
    Core(String),
    /// The kernel refused a map or the object.
    #[error("loading the eBPF object: {}", chain(.0))]
    Object(#[from] aya::EbpfError),
    /// aya's own look at BTF failed.
    #[error("reading BTF: {0}")]
    Btf(#[from] aya::BtfError),
    /// A ring could not be mapped.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A sensor that every other one needs is off.
    #[error("the sensor {} cannot work here: {reason}", .sensor.name())]
    CoreSensor {
        /// Which.
        sensor: Sensor,
        /// Why.
        reason: String,
    },
    /// The object does not hold what this agent expects: a build of different parts.
    #[error("the embedded eBPF object lacks {0}")]
    Missing(&'static str),
}

impl LoadError {
    /// Whether another kernel, or the same one started differently, is the remedy.
    pub fn is_of_the_kernel(&self) -> bool {
        matches!(
            self,
            Self::NoBtf(_)
                | Self::BadBtf(_)
                | Self::Btf(_)
                | Self::BelowFloor(_)
                | Self::Core(_)
                | Self::CoreSensor { .. }
        )
    }
}

/// What the caller decides.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Sensors to attach; the process core cannot be left out by the caller's own rule.
    pub sensors: Vec<Sensor>,
    /// Kinds of hook that are used only where there is no other.
    pub avoid: Vec<HookKind>,
    /// Scope: id and level of the cgroup, if any.
    pub scope: Option<(u64, u32)>,
    /// Task cgroups from a v1 controller: (name, `hierarchy_id`); `None` = v2.
    pub v1_controller: Option<(String, u32)>,
    /// Size of the priority ring, bytes (power of two, multiple of the page size).
    pub priority_bytes: u32,
    /// Size of each bulk ring, bytes (power of two, multiple of the page size).
    pub bulk_bytes: u32,
    /// System calls to tell of.
    pub wanted: Wanted,
    /// Port of the self-test's connection, which passes any scope in the tcp iterator.
    pub self_port: u16,
}

/// System calls that are told, and what of them.
#[derive(Clone)]
pub struct Wanted {
    /// Which.
    pub calls: Vec<Call>,
    /// What of each may be dropped in the kernel.
    pub plan: Box<Plan>,
}

impl Default for Wanted {
    /// None.
    fn default() -> Self {
        Self { calls: Vec::new(), plan: Box::new(Plan::EVERYTHING) }
    }
}

impl std::fmt::Debug for Wanted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Wanted").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// The loaded object. Dropping it detaches everything.
pub struct Kernel {
    pub(super) ebpf: Ebpf,
    pub(super) placed: Vec<Placed>,
    /// Which plan of system calls holds.
    pub(super) plan: u32,
    /// The system calls to tell of.
    pub(super) calls: Vec<Call>,
    /// The names of attach points, until everything is attached.
    pub(super) types: Option<aya::Btf>,
    /// Every sensor asked for, attached or not.
    pub sensors: Vec<SensorState>,
    /// Names this kernel's structure layout.
    pub fingerprint: u64,
}

impl Kernel {
    /// Loads the object and every program; attaches nothing yet.
    pub fn load(options: &LoadOptions) -> Result<Self, LoadError> {
        let btf = Btf::parse(std::fs::read(BTF_PATH).map_err(LoadError::NoBtf)?)?;
        features::require(&btf)?;
        let offsets = Offsets::resolve(&btf);
        if let Some(missing) = offsets.missing.iter().find(|m| m.field.need == tarsier_abi::Need::Core) {
            return Err(LoadError::Core(missing.reason.clone()));
        }
        let mut globals = globals_from(&btf);
        if let Some((controller, hierarchy)) = &options.v1_controller {
            // `enum cgroup_subsys_id` names its members after the controllers.
            let subsys = btf.enumerator("cgroup_subsys_id", &format!("{controller}_cgrp_id"));
            globals.CGROUP_SUBSYS = subsys.and_then(|id| u32::try_from(id).ok()).unwrap_or(u32::MAX);
            globals.CGROUP_HIERARCHY = *hierarchy;
        }
        let object = with_cast(OBJECT, offsets::cast(&btf))?;
        let types = types(&btf)?;
        drop(btf);
        (globals.SCOPE_CGROUP, globals.SCOPE_LEVEL) = options.scope.unwrap_or((0, 0));
        globals.SELF_PORT = u32::from(options.self_port);
        let rings = bulk_rings();
        globals.BULK_MASK = rings - 1;
        globals.WAKE_PRIORITY = wake_threshold(options.priority_bytes);
        globals.WAKE_BULK = wake_threshold(options.bulk_bytes);
        let sizes: Vec<(&str, u32)> = BULK_NAMES
            .iter()
            .enumerate()
            .map(|(index, name)| (*name, if (index as u32) < rings { options.bulk_bytes } else { 4096 }))
            .chain([(PRIORITY, options.priority_bytes)])
            .collect();
        memlock::raise();
        let ebpf = load_object(&object, &types, &globals, &offsets, &sizes)?;
        let mut kernel = Self {
            ebpf,
            placed: Vec::new(),
            plan: 0,
            calls: Vec::new(),
            types: None,
            sensors: Vec::new(),
            fingerprint: offsets.fingerprint(),
        };
        kernel.write_calls(&options.wanted)?;
        let states = options
            .sensors
            .iter()
            .map(|&sensor| SensorState::new(sensor, offsets.missing_for(sensor), &options.avoid));
        kernel.sensors = states.collect();
        let failures = programs::load(&mut kernel.ebpf, &programs::SHARED, &types);
        attach::load_sensors(&mut kernel.ebpf, &mut kernel.sensors, &types);
        // What is left has no sensor of its own: a view of the past, or of live sockets, that is missing.
        // Without the process core it is of no use, and its refusal would hide the core's own.
        if kernel.require_core().is_ok() {
            for (program, error) in failures {
                tracing::warn!(program, error, "not loaded");
            }
        }
        kernel.types = Some(types);
        Ok(kernel)
    }

    /// An error if a sensor is off that every other one needs.
    ///
    /// # Errors
    /// [`LoadError::CoreSensor`].
    pub fn require_core(&self) -> Result<(), LoadError> {
        let off = self.sensors.iter().filter(|entry| entry.sensor.is_core()).find_map(|entry| {
            let reason = entry.state.as_ref().err()?.clone();
            Some(LoadError::CoreSensor { sensor: entry.sensor, reason })
        });
        off.map_or(Ok(()), Err)
    }
}

/// The names of attach points in the kernel's types, as the loader wants them.
fn types(btf: &Btf) -> Result<aya::Btf, aya::BtfError> {
    aya::Btf::parse(&btf.outline(&programs::attach_points()), aya::Endianness::default())
}

/// As [`types`], read anew.
pub(super) fn types_again() -> Result<aya::Btf, LoadError> {
    let btf = Btf::parse(std::fs::read(BTF_PATH).map_err(LoadError::NoBtf)?)?;
    Ok(types(&btf)?)
}

/// Reading BTF takes tens of MiB for a moment; the allocator would keep them.
pub(super) fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a call without preconditions that only returns free pages to the kernel.
    unsafe {
        libc::malloc_trim(0)
    };
}

pub(super) const PRIORITY: &str = "PRIORITY";
const BULK_NAMES: [&str; BULK_RINGS] = ["BULK_0", "BULK_1", "BULK_2", "BULK_3"];

/// The rings in use, the priority ring first.
pub(super) fn ring_names() -> impl Iterator<Item = &'static str> {
    std::iter::once(PRIORITY).chain(BULK_NAMES.into_iter().take(bulk_rings() as usize))
}

/// One bulk ring per eight CPUs, a power of two, at most [`BULK_RINGS`].
fn bulk_rings() -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    (cpus.div_ceil(8).next_power_of_two()).min(BULK_RINGS) as u32
}

/// A quarter of the ring, so that user space is woken with room to spare.
fn wake_threshold(bytes: u32) -> u32 {
    (bytes / 4).max(4096)
}

/// The object with every call of `bpf_rdonly_cast` made one of the kernel's own function of that number. A kernel that has
/// none never comes to them, but wants to see an instruction that it knows: a move.
fn with_cast(object: &[u8], number: Option<u32>) -> Result<Vec<u8>, LoadError> {
    let instruction = match number {
        Some(number) => {
            let mut call = CAST_TO_READABLE;
            call[4..].copy_from_slice(&number.to_le_bytes());
            call
        }
        // r0 = r1
        None => [0xbf, 0x10, 0, 0, 0, 0, 0, 0],
    };
    let mut object = object.to_vec();
    let (words, _) = object.as_chunks_mut();
    let mut calls = 0;
    // Sections of code begin at multiples of an instruction's size.
    for word in words.iter_mut().filter(|word| **word == CAST_TO_READABLE) {
        *word = instruction;
        calls += 1;
    }
    if calls == 0 { Err(LoadError::Missing("calls of bpf_rdonly_cast")) } else { Ok(object) }
}

fn load_object(
    object: &[u8],
    btf: &aya::Btf,
    globals: &Globals,
    offsets: &Offsets,
    sizes: &[(&str, u32)],
) -> Result<Ebpf, LoadError> {
    let mut values: Vec<(&'static str, Vec<u8>)> = Vec::new();
    globals.for_each(|name, value| values.push((name, value.to_vec())));
    for (field, value) in FIELDS.iter().zip(&offsets.values) {
        values.push((field.symbol, value.to_ne_bytes().to_vec()));
    }
    let mut loader = EbpfLoader::new();
    loader.btf(Some(btf));
    for (name, value) in &values {
        // A field that no program reads leaves no symbol behind.
        loader.override_global(name, value.as_slice(), false);
    }
    for (name, bytes) in sizes {
        loader.map_max_entries(name, *bytes);
    }
    Ok(loader.load(object)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_the_cast_is_given_its_number() {
        let other = [0x85, 0, 0, 0, 14, 0, 0, 0];
        let object = [CAST_TO_READABLE, other, CAST_TO_READABLE].concat();
        let called = with_cast(&object, Some(0x0001_2345)).unwrap();
        assert_eq!(
            called,
            [[0x85, 0x20, 0, 0, 0x45, 0x23, 1, 0], other, [0x85, 0x20, 0, 0, 0x45, 0x23, 1, 0]].concat()
        );
        let moved = with_cast(&object, None).unwrap();
        assert_eq!(moved[..8], [0xbf, 0x10, 0, 0, 0, 0, 0, 0]);
        assert!(matches!(with_cast(&other, Some(1)), Err(LoadError::Missing(_))));
        assert!(with_cast(OBJECT, Some(1)).is_ok(), "the object that is embedded has such calls");
    }
}
