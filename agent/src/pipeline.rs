//! READ THIS FIRST: the way of a record, from ring to exporter, and everything that has a capacity.
//!
//! ```text
//! kernel hook → filter → ring ‖ drain → decode → process table → enrich ┐
//!                                                    └──→ flow table ───┴→ encode → batch ‖ exporters
//! ```
//! One thread runs `Pipeline::cycle`: every stage is a plain call in that function's order. The
//! second thread runs the exporters, the HTTP endpoint, the admin socket and the signals. `‖` are the
//! only two hand-overs: the rings (sized by `rings.*`, a full ring loses the record and counts it) and
//! the exporter's queue (bounded in bytes by `otlp.queue`, the drop is counted by cause).
//!
//! Shutdown, in order: stop waiting → detach, so that nothing new is produced → drain to the end → sweep
//! what is still open → report what was on hold → encode → flush the exporters within [`FLUSH`] → answer no more requests.

mod background;
mod desk;
mod outlet;
mod seed;
mod stages;
mod view;
mod workload_metrics;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::config::Config;
use crate::host::{cgroups::Hierarchy, clock};
use crate::kernel::ring::Ring;
use crate::kernel::selftest::{self, SelfTest};
use crate::kernel::wait::{Pace, Waiter};
use crate::kernel::{Kernel, LoadOptions};

use background::Background;
pub use desk::Desk;
use outlet::Outlet;
use stages::Stages;

/// How long shutdown may take to send what is queued.
pub const FLUSH: Duration = Duration::from_secs(4);

/// Everything between the rings and the exporter's queue.
struct Pipeline {
    kernel: Kernel,
    priority: Ring,
    bulk: Vec<Ring>,
    waiter: Waiter,
    pace: Pace,
    stages: Stages,
    outlet: Outlet,
    sweep: Sweep,
    metrics_due: Instant,
    metrics_interval: Duration,
    wakeups: Wakeups,
    rates: view::Rates,
    started: Instant,
}

/// Why the drain ran, since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Wakeups {
    timer: u64,
    threshold: u64,
}

/// When the next batch of live connections is looked at.
struct Sweep {
    interval: Duration,
    due: Instant,
}

/// Captures and exports until SIGINT, SIGTERM or the end of `stop_after`.
///
/// # Errors
/// The programs cannot be loaded, an exporter cannot start, the scope is no cgroup.
pub fn run(config: &Config, stop_after: Option<Duration>) -> anyhow::Result<()> {
    let hierarchy = Hierarchy::find()?;
    let selftest = SelfTest::prepare()
        .context("preparing the self-test, a connection to 127.0.0.1 (is the loopback interface up?)")?;
    let kernel = Kernel::load(&load_options(config, &hierarchy, &selftest)?)?;
    // Before anything else speaks: what cannot work at all is one line.
    kernel.require_core()?;
    let waiter = Waiter::new()?;
    for descriptor in kernel.ring_descriptors()? {
        waiter.watch(descriptor)?;
    }
    let (priority, bulk) = kernel.rings()?;
    let stop = Arc::new(AtomicBool::new(false));
    let desk = Arc::new(Desk::new(waiter.waker()));
    let runtime = Background::start(config, Arc::clone(&desk), Arc::clone(&stop), waiter.waker())?;
    let outlet = Outlet::new(config, runtime.exporter()?)?;
    let now = Instant::now();
    let sweep_interval: Duration = config.flows.interval.into();
    let metrics_interval: Duration = config.metrics.interval.into();
    let mut pipeline = Pipeline {
        kernel,
        priority,
        bulk,
        waiter,
        pace: Pace::new(config.rings.drain_min.into(), config.rings.drain_max.into()),
        stages: Stages::new(config, &hierarchy),
        outlet,
        sweep: Sweep { interval: sweep_interval, due: now + sweep_interval },
        metrics_due: now + metrics_interval,
        metrics_interval,
        wakeups: Wakeups::default(),
        rates: view::Rates::default(),
        started: now,
    };
    pipeline.begin(&hierarchy, &selftest, config.scope.cgroup.is_some())?;
    desk.set_ready(pipeline.kernel.sensors.iter().any(|sensor| sensor.state.is_ok()));
    tracing::info!(
        layout = format!("{:016x}", pipeline.kernel.fingerprint),
        cgroups = hierarchy.layout.name(),
        processes = pipeline.stages.processes.len(),
        connections = pipeline.stages.flows.len(),
        "tarsier is ready"
    );
    pipeline.main_loop(&stop, stop_after, &desk);
    pipeline.end(&desk);
    runtime.stop(&pipeline.outlet);
    Ok(())
}

impl Pipeline {
    /// Attach first, then look at what was there before: nothing falls between.
    fn begin(&mut self, hierarchy: &Hierarchy, selftest: &SelfTest, scoped: bool) -> anyhow::Result<()> {
        self.kernel.attach();
        for group in hierarchy.walk() {
            self.stages.cgroups.insert(group.id, group.parent, group.path.as_bytes());
        }
        let findings = seed::seed(&mut self.kernel, &mut self.stages, &mut self.outlet, selftest, scoped);
        selftest::judge(&mut self.kernel, &findings)?;
        for sensor in &self.kernel.sensors {
            match &sensor.state {
                Ok(()) => tracing::debug!(sensor = sensor.sensor.name(), "attached"),
                Err(reason) => tracing::warn!(sensor = sensor.sensor.name(), reason, "sensor is off"),
            }
        }
        Ok(self.kernel.require_core()?)
    }

    fn main_loop(&mut self, stop: &AtomicBool, stop_after: Option<Duration>, desk: &Desk) {
        let mut pause = Duration::ZERO;
        while !stop.load(Ordering::Acquire) && !self.outlet.is_closed() {
            if stop_after.is_some_and(|limit| self.started.elapsed() >= limit) {
                break;
            }
            if self.waiter.wait(pause) {
                self.wakeups.threshold += 1;
            } else {
                self.wakeups.timer += 1;
            }
            let drained = self.cycle();
            desk.answer(|question| self.answer(question));
            pause = self.pace.after(drained);
        }
    }

    /// One drain cycle; returns how many records it took. The bulk rings are read up to where they
    /// stood before the priority ring was emptied: an event's process is known before the event.
    fn cycle(&mut self) -> u64 {
        let now_ns = clock::boot_ns();
        self.outlet.set_time(clock::unix_offset_ns());
        let limits: Vec<u64> = self.bulk.iter().map(Ring::snapshot).collect();
        let Self { priority, bulk, stages, outlet, .. } = self;
        let end = priority.snapshot();
        let mut records = priority.drain_to(end, |record| stages.take(record, outlet)).records;
        for (ring, limit) in bulk.iter_mut().zip(limits) {
            records += ring.drain_to(limit, |record| stages.take(record, outlet)).records;
        }
        stages.finish_cycle(now_ns, outlet);
        self.sweep_if_due(now_ns);
        if Instant::now() >= self.metrics_due {
            self.metrics_due = Instant::now() + self.metrics_interval;
            self.outlet.send_metrics(&self.stages);
        }
        self.outlet.finish_cycle();
        records
    }

    /// Looks at one batch of live connections, as often as spreads a round over the interval.
    fn sweep_if_due(&mut self, now_ns: u64) {
        let held = self.stages.flows.len();
        if held == 0 || Instant::now() < self.sweep.due {
            return;
        }
        let rounds = held.div_ceil(tarsier_abi::tcp::SWEEP_BATCH) as u32;
        let step = self.sweep.interval / rounds;
        // A slow cycle makes up for the batches it missed, but never for more than one round.
        let missed = self.sweep.due.elapsed().as_nanos() / step.as_nanos().max(1);
        for _ in 0..(1 + missed).min(u128::from(rounds)) {
            self.stages.sweep(&mut self.kernel, now_ns, &mut self.outlet);
        }
        self.sweep.due = Instant::now() + step;
    }

    /// Who looks at connections wants those of now: a whole sweep comes before the answer.
    fn answer(&mut self, question: desk::Question) -> desk::Answer {
        match question {
            desk::Question::Metrics => desk::Answer::Metrics(view::metrics(self)),
            desk::Question::Top => {
                let now_ns = clock::boot_ns();
                self.sweep_all(now_ns);
                desk::Answer::Top(Box::new(view::top(self, now_ns)))
            }
        }
    }

    /// Looks at every live connection, whatever the present round has covered.
    fn sweep_all(&mut self, now_ns: u64) {
        for _ in 0..2 {
            while self.stages.sweep(&mut self.kernel, now_ns, &mut self.outlet) {}
        }
    }

    /// The order of shutdown, as the module's text states it.
    fn end(&mut self, desk: &Desk) {
        self.kernel.detach();
        while self.cycle() > 0 {}
        // What open connections moved since their last sweep: the next agent takes it as its baseline.
        self.sweep_all(clock::boot_ns());
        self.stages.finish(clock::boot_ns(), &mut self.outlet);
        self.outlet.send_metrics(&self.stages);
        self.outlet.flush();
        desk.close(view::metrics(self));
    }
}

fn load_options(config: &Config, hierarchy: &Hierarchy, selftest: &SelfTest) -> anyhow::Result<LoadOptions> {
    let scope = config.scope.cgroup.as_ref().map(|path| hierarchy.scope(Path::new(path))).transpose()?;
    let v1_controller = hierarchy.controller.as_ref().map(|name| (name.clone(), hierarchy.id));
    Ok(LoadOptions {
        sensors: config.sensors.on().collect(),
        scope,
        v1_controller,
        priority_bytes: u32::try_from(config.rings.priority_bytes.get())?,
        bulk_bytes: u32::try_from(config.rings.bulk_bytes.get())?,
        self_port: selftest.port(),
    })
}
