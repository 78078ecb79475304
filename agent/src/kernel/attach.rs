//! Programs in place: each sensor by the best hook that the kernel gives it.

use aya::Ebpf;
use aya::programs::fentry::FEntryLink;
use aya::programs::kprobe::KProbeLink;
use aya::programs::raw_trace_point::RawTracePointLink;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::{BtfTracePoint, FEntry, KProbe, Program, ProgramError, RawTracePoint};
use tarsier_abi::syscall::Call;
use tarsier_abi::{Entry, HookKind, Sensor};

use super::calls;
use super::hooks::{Point, RESTING, SensorState};
use super::load::{Kernel, Wanted, types_again};
use super::programs::{self, Target};
use super::refusal::chain;
use super::returns::{self, Returns};

/// A program in place, for as long as this is held.
pub(super) struct Placed {
    sensor: Sensor,
    link: Link,
}

impl Placed {
    fn returns(&self) -> Option<&Returns> {
        if let Link::Fexit(returns) = &self.link { Some(returns) } else { None }
    }

    fn returns_mut(&mut self) -> Option<&mut Returns> {
        if let Link::Fexit(returns) = &mut self.link { Some(returns) } else { None }
    }
}

#[expect(dead_code, reason = "held, not read: dropping a link detaches its program")]
enum Link {
    Fentry(FEntryLink),
    Fexit(Returns),
    BtfTracepoint(BtfTracePointLink),
    RawTracepoint(RawTracePointLink),
    Kprobe(KProbeLink),
}

impl Kernel {
    /// Attaches the sensors that loaded. A hook that loads but does not attach gives way to the next.
    pub fn attach(&mut self) {
        for sensor in Sensor::ALL {
            if !is_asked_for(sensor, &self.calls) {
                self.rest(sensor);
            }
        }
        self.attach_sensors(|_| true);
        // Only loading reads it.
        self.types = None;
        super::load::give_back_memory();
    }

    /// Tells of these system calls from now on. A program after every system call of the machine is in place only
    /// while a rule needs it.
    ///
    /// # Errors
    /// The kernel takes no more writes; what held before holds on.
    pub fn set_calls(&mut self, wanted: &Wanted) -> Result<(), aya::EbpfError> {
        let before = self.calls.clone();
        if !before.is_empty() && !wanted.calls.is_empty() {
            self.add_returns(&wanted.calls);
        }
        self.write_calls(wanted)?;
        for sensor in Sensor::ALL {
            match (is_asked_for(sensor, &before), is_asked_for(sensor, &self.calls)) {
                (true, false) => self.rest(sensor),
                (false, true) => self.wake(sensor),
                _ => {}
            }
        }
        if let Some(returns) = self.placed.iter_mut().find_map(Placed::returns_mut) {
            returns.keep(&self.calls);
        }
        Ok(())
    }

    /// Puts a sensor back that was taken out of its place.
    fn wake(&mut self, sensor: Sensor) {
        let resting = |entry: &&mut SensorState| entry.sensor == sensor && entry.is_resting();
        for entry in self.sensors.iter_mut().filter(resting) {
            entry.state = Ok(());
        }
        self.attach_sensors(|other| other == sensor);
    }

    /// Where system calls are told by the return of their functions: puts programs at those of calls that are new. They
    /// tell nothing before the table does. If one cannot be had, the next hook tells of all of them.
    fn add_returns(&mut self, calls: &[Call]) {
        let Some(at) = self.placed.iter().position(|placed| placed.returns().is_some()) else { return };
        let Some(returns) = self.placed[at].returns_mut() else { return };
        let types = types_again().map_err(|error| chain(&error));
        let added = types.and_then(|types| returns.add(&mut self.ebpf, calls, &types));
        super::load::give_back_memory();
        let Err(reason) = added else { return };
        tracing::warn!(reason, "system calls are told by another hook from now on");
        let sensor = self.placed.remove(at).sensor;
        returns::give_back(&mut self.ebpf);
        for state in self.sensors.iter_mut().filter(|state| state.sensor == sensor) {
            state.points.iter_mut().for_each(|point| point.refuse(reason.clone()));
        }
        self.attach_sensors(|other| other == sensor);
    }

    /// The programs at the returns of system calls, where that is the hook.
    pub(super) fn returns(&self) -> Option<&Returns> {
        self.placed.iter().find_map(Placed::returns)
    }

    /// Takes a sensor out of its place, to be put back when a rule asks for it.
    fn rest(&mut self, sensor: Sensor) {
        let works = |entry: &&mut SensorState| entry.sensor == sensor && entry.state.is_ok();
        for entry in self.sensors.iter_mut().filter(works) {
            entry.state = Err(RESTING.to_owned());
        }
        self.placed.retain(|placed| placed.sensor != sensor);
    }

    fn attach_sensors(&mut self, which: impl Fn(Sensor) -> bool) {
        let mut sensors = std::mem::take(&mut self.sensors);
        for state in sensors.iter_mut().filter(|state| state.state.is_ok() && which(state.sensor)) {
            let sensor = state.sensor;
            let placed: Option<Vec<Placed>> = state
                .points
                .iter_mut()
                .map(|point| Some(Placed { sensor, link: self.attach_point(point)? }))
                .collect();
            self.placed.extend(placed.unwrap_or_default());
            state.settle();
        }
        self.sensors = sensors;
    }

    fn attach_point(&mut self, point: &mut Point) -> Option<Link> {
        while let Some(entry) = point.entry() {
            let loaded = if point.is_loaded { Ok(()) } else { self.load_entry(entry) };
            // Taken out of its place and put back, it is not loaded a second time.
            point.is_loaded = loaded.is_ok();
            match loaded.and_then(|()| self.attach_entry(entry)) {
                Ok(link) => return Some(link),
                Err(reason) => {
                    tracing::debug!(program = entry.program, hook = %entry.hook, reason, "hook refused");
                    self.unload(entry);
                    point.refuse(reason);
                }
            }
        }
        None
    }

    fn load_entry(&mut self, entry: &Entry) -> Result<(), String> {
        let types = self.types()?;
        let mut failures =
            programs::load(&mut self.ebpf, &[(entry.program, Target::Hook(entry.hook))], &types);
        self.types = Some(types);
        failures.remove(entry.program).map_or(Ok(()), Err)
    }

    fn attach_entry(&mut self, entry: &Entry) -> Result<Link, String> {
        if entry.hook.kind != HookKind::Fexit {
            return attach(&mut self.ebpf, entry);
        }
        let types = self.types()?;
        let mut returns = Returns::default();
        let added = returns.add(&mut self.ebpf, &self.calls, &types);
        self.types = Some(types);
        added.map(|()| Link::Fexit(returns))
    }

    /// The kernel's types, to be put back: what is left of them after start is read anew.
    fn types(&mut self) -> Result<aya::Btf, String> {
        self.types.take().map_or_else(|| types_again().map_err(|error| chain(&error)), Ok)
    }

    /// A program that runs nowhere need not stay in the kernel.
    fn unload(&mut self, entry: &Entry) {
        if entry.hook.kind == HookKind::Fexit {
            return returns::give_back(&mut self.ebpf);
        }
        // It fails only for a program that is not loaded.
        drop(match self.ebpf.program_mut(entry.program) {
            Some(Program::FEntry(program)) => program.unload(),
            Some(Program::BtfTracePoint(program)) => program.unload(),
            Some(Program::RawTracePoint(program)) => program.unload(),
            Some(Program::KProbe(program)) => program.unload(),
            _ => Ok(()),
        });
    }

    /// Detaches everything: nothing new is produced. What is in the rings stays readable.
    pub fn detach(&mut self) {
        self.placed.clear();
    }

    /// Takes one sensor out of service, for a reason that is shown wherever its state is.
    pub fn switch_off(&mut self, sensor: Sensor, reason: &str) {
        self.placed.retain(|placed| placed.sensor != sensor);
        for entry in self.sensors.iter_mut().filter(|entry| entry.sensor == sensor) {
            entry.state = Err(reason.to_owned());
        }
    }
}

/// Whether somebody wants what a sensor tells while rules are about these calls.
fn is_asked_for(sensor: Sensor, calls: &[Call]) -> bool {
    match sensor {
        Sensor::Syscall => !calls.is_empty(),
        Sensor::IoUring => calls::have_requests(calls),
        _ => true,
    }
}

/// Attaches a loaded program to its hook.
fn attach(ebpf: &mut Ebpf, entry: &Entry) -> Result<Link, String> {
    let program = ebpf.program_mut(entry.program);
    let program = program.ok_or_else(|| format!("the object has no program {}", entry.program))?;
    place(program, entry).map_err(|error| chain(&error))
}

fn place(program: &mut Program, entry: &Entry) -> Result<Link, ProgramError> {
    Ok(match entry.hook.kind {
        HookKind::Fentry => {
            let program = <&mut FEntry>::try_from(program)?;
            let id = program.attach()?;
            Link::Fentry(program.take_link(id)?)
        }
        // Those are many programs, not this one.
        HookKind::Fexit => return Err(ProgramError::NotLoaded),
        HookKind::BtfTracepoint => {
            let program = <&mut BtfTracePoint>::try_from(program)?;
            let id = program.attach()?;
            Link::BtfTracepoint(program.take_link(id)?)
        }
        HookKind::RawTracepoint => {
            let program = <&mut RawTracePoint>::try_from(program)?;
            let id = program.attach(entry.hook.target)?;
            Link::RawTracepoint(program.take_link(id)?)
        }
        HookKind::Kprobe => {
            let program = <&mut KProbe>::try_from(program)?;
            let id = program.attach(entry.hook.target, 0)?;
            Link::Kprobe(program.take_link(id)?)
        }
    })
}

/// Loads what the sensors take, the best hook first. What is refused goes on to its next one, all
/// that is left in the same round.
pub(super) fn load_sensors(ebpf: &mut Ebpf, sensors: &mut [SensorState], btf: &aya::Btf) {
    loop {
        let on = sensors.iter_mut().filter(|state| state.state.is_ok());
        let mut open: Vec<&mut Point> =
            on.flat_map(|state| &mut state.points).filter(|point| !point.is_loaded).collect();
        let wanted: Vec<_> = open.iter().filter_map(|point| point.entry()).collect();
        if wanted.is_empty() {
            break;
        }
        let targets: Vec<_> = wanted.iter().map(|entry| (entry.program, Target::Hook(entry.hook))).collect();
        let mut failures = programs::load(ebpf, &targets, btf);
        for point in &mut open {
            let Some(entry) = point.entry() else { continue };
            match failures.remove(entry.program) {
                None => point.is_loaded = true,
                Some(reason) => {
                    tracing::debug!(program = entry.program, hook = %entry.hook, reason, "hook refused");
                    point.refuse(reason);
                }
            }
        }
    }
    sensors.iter_mut().for_each(SensorState::settle);
}
