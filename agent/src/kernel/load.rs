//! The object into the kernel: globals filled in, maps sized, programs loaded and attached, each
//! sensor on its own.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::{BtfTracePoint, Iter, Program, RawTracePoint, RawTracePointRunOptions, TestRun};
use aya::{Ebpf, EbpfLoader, Pod};
use rustc_hash::FxHashMap;
use tarsier_abi::tcp::SweepBatch;
use tarsier_abi::{BULK_RINGS, FIELDS, Globals, Hook, Ledger, Sensor};

use super::btf::{Btf, BtfError};
use super::features::{self, BelowFloor};
use super::info::{ProgramStats, program_stats};
use super::memlock;
use super::offsets::{Offsets, globals_from};
use super::refusal::{chain, refusal};
use super::ring::{Ring, RingError};

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
    /// Scope: id and level of the cgroup, if any.
    pub scope: Option<(u64, u32)>,
    /// Task cgroups from a v1 controller: (name, `hierarchy_id`); `None` = v2.
    pub v1_controller: Option<(String, u32)>,
    /// Size of the priority ring, bytes (power of two, multiple of the page size).
    pub priority_bytes: u32,
    /// Size of each bulk ring, bytes (power of two, multiple of the page size).
    pub bulk_bytes: u32,
    /// Port of the self-test's connection, which passes any scope in the tcp iterator.
    pub self_port: u16,
}

/// One sensor after loading.
#[derive(Clone, Debug)]
pub struct SensorState {
    /// Which.
    pub sensor: Sensor,
    /// `Ok` = attached; `Err` = why it is off.
    pub state: Result<(), String>,
}

/// The loaded object. Dropping it detaches everything.
pub struct Kernel {
    ebpf: Ebpf,
    links: Vec<AttachedLink>,
    /// Every sensor asked for, attached or not.
    pub sensors: Vec<SensorState>,
    /// Names this kernel's structure layout.
    pub fingerprint: u64,
}

/// A program in place.
struct AttachedLink {
    sensor: Sensor,
    _link: BtfTracePointLink,
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodLedger(Ledger);
// SAFETY: a plain array of integers without padding (zerocopy's IntoBytes proves it).
unsafe impl Pod for PodLedger {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodSweep(SweepBatch);
// SAFETY: plain integers without padding (zerocopy's IntoBytes proves it).
unsafe impl Pod for PodSweep {}

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
        let outline = btf.outline(&attach_points());
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
        let btf = aya::Btf::parse(&outline, aya::Endianness::default())?;
        drop(outline);
        let ebpf = load_object(&btf, &globals, &offsets, &sizes)?;
        let mut kernel =
            Self { ebpf, links: Vec::new(), sensors: Vec::new(), fingerprint: offsets.fingerprint() };
        let mut wanted: Vec<(&str, Target)> =
            ITERATORS.map(|(name, over)| (name, Target::Iterator(over))).into();
        wanted.push((SWEEP_PROGRAM, Target::TestRun));
        for &sensor in &options.sensors {
            if offsets.missing_for(sensor).is_none() {
                wanted.extend(sensor.attach().iter().filter_map(|attach| {
                    let Hook::BtfTracepoint(name) = attach.hooks.first()?;
                    Some((attach.program, Target::Tracepoint(name)))
                }));
            }
        }
        let mut failures = kernel.load_programs(&wanted, &btf);
        for &sensor in &options.sensors {
            let state = match offsets.missing_for(sensor) {
                Some(missing) => Err(format!("needs {}", missing.reason)),
                None => sensor
                    .attach()
                    .iter()
                    .find_map(|attach| failures.remove(attach.program))
                    .map_or(Ok(()), Err),
            };
            kernel.sensors.push(SensorState { sensor, state });
        }
        // What is left has no sensor of its own: a view of the past, or of live sockets, that is missing.
        // Without the process core it is of no use, and its refusal would hide the core's own.
        if kernel.require_core().is_ok() {
            for (program, error) in failures {
                tracing::warn!(program, error, "not loaded");
            }
        }
        drop(btf);
        give_back_memory();
        Ok(kernel)
    }

    /// Attaches the sensors that loaded.
    pub fn attach(&mut self) {
        let mut sensors = std::mem::take(&mut self.sensors);
        for SensorState { sensor, state } in &mut sensors {
            if state.is_ok() {
                *state = self.attach_sensor(*sensor);
            }
        }
        self.sensors = sensors;
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

    /// Detaches everything: nothing new is produced. What is in the rings stays readable.
    pub fn detach(&mut self) {
        for sensor in self.sensors.iter().map(|sensor| sensor.sensor).collect::<Vec<_>>() {
            self.unlink(sensor);
        }
    }

    /// Takes one sensor out of service, for a reason that is shown wherever its state is.
    pub fn switch_off(&mut self, sensor: Sensor, reason: &str) {
        self.unlink(sensor);
        for entry in self.sensors.iter_mut().filter(|entry| entry.sensor == sensor) {
            entry.state = Err(reason.to_owned());
        }
    }

    fn unlink(&mut self, sensor: Sensor) {
        let (these, others) =
            std::mem::take(&mut self.links).into_iter().partition(|link| link.sensor == sensor);
        self.links = others;
        // Closing the last descriptor of a link detaches it.
        drop::<Vec<AttachedLink>>(these);
    }

    /// Descriptors of the rings in use, for waiting on.
    pub fn ring_descriptors(&self) -> Result<Vec<BorrowedFd<'_>>, LoadError> {
        ring_names().map(|name| Ok(self.ring(name)?.fd().as_fd())).collect()
    }

    fn ring(&self, name: &'static str) -> Result<&MapData, LoadError> {
        match self.ebpf.map(name) {
            Some(aya::maps::Map::RingBuf(data)) => Ok(data),
            _ => Err(LoadError::Missing(name)),
        }
    }

    /// The priority ring and the bulk rings in use.
    pub fn rings(&self) -> Result<(Ring, Vec<Ring>), LoadError> {
        let mut rings = ring_names().map(|name| {
            let data = self.ring(name)?;
            Ok(Ring::map(data.fd().as_fd(), map_entries(data)?)?)
        });
        let priority = rings.next().unwrap_or(Err(LoadError::Missing(PRIORITY)))?;
        Ok((priority, rings.collect::<Result<_, LoadError>>()?))
    }

    /// The loss ledger, summed over CPUs.
    pub fn ledger(&self) -> Option<Ledger> {
        let map = PerCpuArray::<&MapData, PodLedger>::try_from(self.ebpf.map("LEDGER")?).ok()?;
        let values = map.get(&0, 0).ok()?;
        let mut sum = Ledger::default();
        for value in values.iter() {
            for (into, from) in sum.sensors.iter_mut().zip(value.0.sensors) {
                into.produced += from.produced;
                for (into, from) in into.lost.iter_mut().zip(from.lost) {
                    *into += from;
                }
            }
        }
        Some(sum)
    }

    /// The kernel's own view of each loaded program.
    pub fn programs(&self) -> Vec<(String, ProgramStats)> {
        self.ebpf
            .programs()
            .filter_map(|(name, program)| {
                let fd = program.fd().ok()?;
                Some((name.to_owned(), program_stats(fd.as_fd()).ok()?))
            })
            .collect()
    }

    /// The iterator program of that name, loaded.
    pub(super) fn iterator(&mut self, name: &str) -> Option<&mut Iter> {
        self.ebpf.program_mut(name)?.try_into().ok()
    }

    /// Runs the sweep program on one batch, in place.
    pub fn sweep(&mut self, batch: &mut SweepBatch) -> Result<(), aya::EbpfError> {
        let map = self.ebpf.map_mut("SWEEP").ok_or_else(|| missing_map("SWEEP"))?;
        let mut map = Array::<_, PodSweep>::try_from(map)?;
        map.set(0, PodSweep(*batch), 0)?;
        let program: &RawTracePoint = self
            .ebpf
            .program(SWEEP_PROGRAM)
            .ok_or_else(|| missing_map(SWEEP_PROGRAM))?
            .try_into()
            .map_err(aya::EbpfError::from)?;
        program.test_run(RawTracePointRunOptions::new())?;
        let map = self.ebpf.map("SWEEP").ok_or_else(|| missing_map("SWEEP"))?;
        *batch = Array::<_, PodSweep>::try_from(map)?.get(&0, 0)?.0;
        Ok(())
    }

    /// Loads programs, each in a thread of its own: the kernel verifies them independently, and the long
    /// ones take it a third of a second each. Returns what failed, and why.
    fn load_programs(
        &mut self,
        wanted: &[(&'static str, Target)],
        btf: &aya::Btf,
    ) -> FxHashMap<&'static str, String> {
        std::thread::scope(|scope| {
            let mut failures: FxHashMap<_, _> = wanted
                .iter()
                .filter(|(name, _)| self.ebpf.program(name).is_none())
                .map(|(name, _)| (*name, format!("the object has no program {name}")))
                .collect();
            let threads: Vec<_> = self
                .ebpf
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

    fn attach_sensor(&mut self, sensor: Sensor) -> Result<(), String> {
        for attach in sensor.attach() {
            let program = self
                .ebpf
                .program_mut(attach.program)
                .ok_or_else(|| format!("the object has no program {}", attach.program))?;
            let program: &mut BtfTracePoint = program.try_into().map_err(|error| chain(&error))?;
            let id = program.attach().map_err(|error| chain(&error))?;
            let link = program.take_link(id).map_err(|error| chain(&error))?;
            self.links.push(AttachedLink { sensor, _link: link });
        }
        Ok(())
    }
}

/// What a program is loaded for.
#[derive(Clone, Copy)]
enum Target {
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
const SWEEP_PROGRAM: &str = "tcp_sweep";
/// The iterators: program and what it walks.
const ITERATORS: [(&str, &str); 2] = [("seed_tasks", "task"), ("seed_sockets", "tcp")];

/// Names of the BTF types that programs attach to, as [`BtfTracePoint`] and [`Iter`] look them up.
fn attach_points() -> Vec<String> {
    let tracepoints =
        Sensor::ALL.into_iter().flat_map(|sensor| sensor.attach()).flat_map(|attach| attach.hooks);
    let tracepoints = tracepoints.map(|Hook::BtfTracepoint(name)| format!("btf_trace_{name}"));
    tracepoints.chain(ITERATORS.map(|(_, target)| format!("bpf_iter_{target}"))).collect()
}

/// Reading BTF takes tens of MiB for a moment; the allocator would keep them.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a call without preconditions that only returns free pages to the kernel.
    unsafe {
        libc::malloc_trim(0)
    };
}

const PRIORITY: &str = "PRIORITY";
const BULK_NAMES: [&str; BULK_RINGS] = ["BULK_0", "BULK_1", "BULK_2", "BULK_3"];

/// The rings in use, the priority ring first.
fn ring_names() -> impl Iterator<Item = &'static str> {
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

fn load_object(
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
    Ok(loader.load(OBJECT)?)
}

fn map_entries(data: &MapData) -> Result<u32, LoadError> {
    Ok(data.info().map_err(aya::EbpfError::MapError)?.max_entries())
}

fn missing_map(name: &str) -> aya::EbpfError {
    aya::EbpfError::MapError(aya::maps::MapError::InvalidName { name: name.to_owned() })
}
