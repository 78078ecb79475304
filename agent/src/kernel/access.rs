//! What can be asked of the loaded object: rings, ledger, program counters, sweeps.

use std::os::fd::{AsFd, BorrowedFd};

use aya::Pod;
use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::{Iter, RawTracePoint, RawTracePointRunOptions, TestRun};
use tarsier_abi::Ledger;
use tarsier_abi::syscall::{CallTable, PLANS, Plan};
use tarsier_abi::tcp::SweepBatch;

use super::calls;
use super::info::{ProgramStats, program_stats};
use super::load::{Kernel, LoadError, PRIORITY, Wanted, ring_names};
use super::programs::SWEEP_PROGRAM;
use super::returns::AT_RETURN;
use super::ring::Ring;

impl Kernel {
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
        let of_object = self.ebpf.programs().filter_map(|(name, program)| {
            let fd = program.fd().ok()?;
            Some((name.to_owned(), program_stats(fd.as_fd()).ok()?))
        });
        // One program of the object is loaded many times; the last one is the object's own now.
        let at_returns = self.returns().map(|returns| (AT_RETURN.to_owned(), returns.stats()));
        of_object
            .filter(|(name, _)| at_returns.is_none() || name != AT_RETURN)
            .chain(at_returns.clone())
            .collect()
    }

    /// The iterator program of that name, loaded.
    pub(super) fn iterator(&mut self, name: &str) -> Option<&mut Iter> {
        self.ebpf.program_mut(name)?.try_into().ok()
    }

    /// Tells the programs how long the machine has been asleep: what they add to monotonic time, ns.
    pub fn set_asleep(&mut self, asleep_ns: u64) -> Result<(), aya::EbpfError> {
        let map = self.ebpf.map_mut("ASLEEP").ok_or_else(|| missing_map("ASLEEP"))?;
        Ok(Array::<_, u64>::try_from(map)?.set(0, asleep_ns, 0)?)
    }

    /// Tells the programs which system calls to tell of, and what of them: from one moment to the next all of it, since the
    /// plan that holds is not the one that is written.
    pub(super) fn write_calls(&mut self, wanted: &Wanted) -> Result<(), aya::EbpfError> {
        let next = (self.plan + 1) % PLANS;
        let map = self.ebpf.map_mut("PLAN").ok_or_else(|| missing_map("PLAN"))?;
        Array::<_, PodPlan>::try_from(map)?.set(next, PodPlan(*wanted.plan), 0)?;
        let map = self.ebpf.map_mut("CALL_TABLE").ok_or_else(|| missing_map("CALL_TABLE"))?;
        let table = calls::table(&wanted.calls, next);
        Array::<_, PodCalls>::try_from(map)?.set(0, PodCalls(table), 0)?;
        self.plan = next;
        self.calls.clone_from(&wanted.calls);
        Ok(())
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
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodCalls(CallTable);
// SAFETY: integers without padding.
unsafe impl Pod for PodCalls {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodPlan(Plan);
// SAFETY: integers; what lies between them is never read.
unsafe impl Pod for PodPlan {}

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

fn map_entries(data: &MapData) -> Result<u32, LoadError> {
    Ok(data.info().map_err(aya::EbpfError::MapError)?.max_entries())
}

fn missing_map(name: &str) -> aya::EbpfError {
    aya::EbpfError::MapError(aya::maps::MapError::InvalidName { name: name.to_owned() })
}
