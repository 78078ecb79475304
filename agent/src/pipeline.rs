//! READ THIS FIRST: the way of a record, from ring to exporter, and everything that has a capacity.
//!
//! ```text
//! kernel hook → filter → ring ‖ drain → decode → process table → enrich ┐
//!                                                    └──→ flow table ───┴→ encode → batch ‖ exporters
//! ```
//! One thread runs `Pipeline::cycle`: it turns what the kernel says into frames, and `Engine::feed` takes
//! them, every stage a plain call. The engine asks no clock and no kernel, so `tarsier record` writes those
//! frames to a file and `tarsier replay` feeds them again, with the same output. The
//! second thread runs the exporters, the HTTP endpoint, the admin socket and the signals. `‖` are the
//! only two hand-overs: the rings (sized by `rings.*`, a full ring loses the record and counts it) and the
//! exporters' queues (bounded in bytes by `otlp.queue` and `output.buffer_bytes`, the drop is counted by cause).
//!
//! Shutdown, in order: stop waiting → detach, so that nothing new is produced → drain to the end → sweep
//! what is still open → report what was on hold → encode → flush the exporters and the lines within [`FLUSH`] →
//! answer no more requests.

mod alerts;
mod background;
mod births;
mod desk;
mod engine;
mod falco;
mod follow;
mod guard;
mod held;
mod held_back;
mod inquiries;
mod known;
mod memory;
mod offline;
mod outlet;
mod recording;
mod reload;
mod replay;
mod rules;
mod seed;
mod stages;
mod summary;
mod sweep;
mod trial;
mod view;
mod workload_metrics;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::capture::{About, Frame, SensorAtStart, Time};
use crate::config::Config;
use crate::config::units::ByteSize;
use crate::export::stdout::Outbox;
use crate::host::clock::{self, Asleep, UnixOffset};
use crate::host::{self, cgroups::Hierarchy, identity, memory::Meter};
use crate::kernel::ring::Ring;
use crate::kernel::selftest::{self, SelfTest};
use crate::kernel::wait::{Pace, Waiter};
use crate::kernel::{Kernel, LoadOptions, Wanted};
use crate::rules::Active;

use background::Background;
use births::Births;
pub use desk::Desk;
use engine::{Engine, Surroundings};
use follow::Follower;
pub use follow::Origin;
use held_back::HeldBack;
use inquiries::{Inquiries, LAST_ANSWERS};
use memory::Memory;
pub use offline::{KeptLines, Lines, Offline, Requests};
use outlet::{Forms, Outlet, Sink};
pub use recording::{RecordOptions, Recorded};
use recording::{Recording, Target};
pub use replay::{Replayed, replay};
use rules::Rules;
pub use summary::{RuleSummary, Summary};
use sweep::Sweep;
pub use trial::{Seen, Told, Trial};

/// How long shutdown may take to send what is queued.
pub const FLUSH: Duration = Duration::from_secs(4);

/// Everything between the rings and the exporter's queue.
struct Pipeline {
    kernel: Kernel,
    priority: Ring,
    bulk: Vec<Ring>,
    /// Where each bulk ring stood when the present cycle began.
    limits: Vec<u64>,
    held_back: HeldBack,
    waiter: Waiter,
    pace: Pace,
    feed: Feed,
    clock: UnixOffset,
    asleep: Asleep,
    sweep: Sweep,
    inquiries: Inquiries,
    births: Births,
    /// Lines on their way to standard output.
    lines: Option<Outbox>,
    /// The agent's own log, on its way to standard error.
    log: Option<Outbox>,
    memory: Memory,
    wakeups: Wakeups,
    rates: view::Rates,
    /// Metrics have Falco's names too.
    falco_metrics: bool,
    started: Instant,
}

/// The way into the engine, past the recorder if there is one.
struct Feed {
    engine: Engine,
    recording: Option<Recording>,
}

impl Feed {
    fn frame(&mut self, frame: &Frame<'_>) {
        if let Some(recording) = &mut self.recording {
            recording.frame(frame);
        }
        self.engine.feed(frame);
    }

    /// Whether nothing more can come out: the reader of the lines is gone, or the capture is full.
    fn is_over(&self) -> bool {
        self.engine.outlet.is_closed() || self.recording.as_ref().is_some_and(Recording::is_over)
    }
}

/// Why the drain ran, since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Wakeups {
    timer: u64,
    threshold: u64,
}

/// The moment, by a wall clock that may have stepped.
fn now(clock: &mut UnixOffset) -> Time {
    Time { unix_offset_ns: clock.look(), boot_ns: clock::boot_ns() }
}

/// What `run` is asked for beside its configuration.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Stop after this time.
    pub stop_after: Option<Duration>,
    /// Write a capture.
    pub record: Option<RecordOptions>,
    /// Where the configuration came from, to be loaded anew when it changes.
    pub origin: Option<Origin>,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What was recorded, if anything was to be.
    pub recorded: Option<Recorded>,
    /// What rules came to, if there were any.
    pub rules: Option<Summary>,
}

/// Captures and exports until SIGINT, SIGTERM, the end of `stop_after` or of the capture's greatest size. `log` is where the agent's own log waits, for its account.
///
/// # Errors
/// The programs cannot be loaded, an exporter cannot start, the scope is no cgroup, the capture cannot be
/// written.
pub fn run(config: &Config, options: &RunOptions, log: Option<Outbox>) -> anyhow::Result<Ended> {
    let mut target = options.record.as_ref().map(Target::open).transpose()?;
    let result = run_into(config, options, log, &mut target);
    // Still here: nothing has been written to it.
    if let Some(target) = target {
        target.discard();
    }
    result
}

fn run_into(
    config: &Config,
    options: &RunOptions,
    log: Option<Outbox>,
    target: &mut Option<Target>,
) -> anyhow::Result<Ended> {
    let hierarchy = Hierarchy::find()?;
    let selftest = SelfTest::prepare()
        .context("preparing the self-test, a connection to 127.0.0.1 (is the loopback interface up?)")?;
    let active = Active::load(&config.rules, config.alerts.priority.into(), &config.sensors.off())?;
    // A capture is of one set of rules, or a replay would not tell what was told.
    let may_change = target.is_none();
    let rules = active.as_ref().map(|active| active.digest.clone());
    let wanted = active.as_ref().map(reload::wanted).unwrap_or_default();
    let load = load_options(config, &hierarchy, &selftest, wanted, may_change && rules.is_some())?;
    let follower = (may_change && (rules.is_some() || options.origin.is_some())).then(|| Follower {
        start: config.clone(),
        origin: options.origin.clone(),
        rules,
    });
    let kernel = Kernel::load(&load)?;
    // Before anything else speaks: what cannot work at all is one line.
    kernel.require_core()?;
    let waiter = Waiter::new()?;
    for descriptor in kernel.ring_descriptors()? {
        waiter.watch(descriptor)?;
    }
    let (priority, bulk) = kernel.rings()?;
    let ring_bytes = priority.size() + bulk.iter().map(Ring::size).sum::<u64>();
    let stop = Arc::new(AtomicBool::new(false));
    let desk = Arc::new(Desk::new(waiter.waker()));
    let runtime = Background::start(config, follower, Arc::clone(&desk), Arc::clone(&stop), waiter.waker())?;
    let mut clock = UnixOffset::new();
    let surroundings = Surroundings {
        cpus: host::possible_cpus(),
        socket_cgroups: hierarchy.controller.is_none(),
        identity: identity::identity(&identity::facts(), config),
        began: now(&mut clock),
        answers: active.is_some(),
    };
    let exits = runtime.exits().clone();
    let sink = exits.otlp.map_or(Sink::None, Sink::Live);
    let forms = Forms::of_stdout(config, active.is_some(), &surroundings.identity.host_name);
    let lines =
        forms.as_ref().map(|_| outlet::stdout_outbox(config)).transpose().context("standard output")?;
    let printer = forms.zip(lines.clone());
    let printer = printer.map(|(forms, lines)| forms.printer(Box::new(lines), config));
    let outlet = Outlet::new(config, &surroundings, sink, printer)?.with_channels(exits.alerts);
    let rules = active
        .map(|active| Rules::new(config, active, &surroundings.identity.host_name, surroundings.answers))
        .transpose()?;
    let inquiries = Inquiries::new(&config.host, waiter.waker());
    let births = Births::new(config, &waiter);
    let started = Instant::now();
    let mut pipeline = Pipeline {
        kernel,
        priority,
        limits: Vec::with_capacity(bulk.len()),
        held_back: HeldBack::default(),
        bulk,
        waiter,
        pace: Pace::new(config.rings.drain_min.into(), config.rings.drain_max.into()),
        feed: Feed { engine: Engine::new(config, &surroundings, rules, outlet), recording: None },
        clock,
        asleep: Asleep::new(),
        inquiries,
        births,
        sweep: Sweep::new(config.flows.interval.into(), started),
        lines,
        log,
        memory: Memory::new(Meter::new(config.memory.limit.map(ByteSize::get), ring_bytes)),
        wakeups: Wakeups::default(),
        rates: view::Rates::default(),
        falco_metrics: config.ops.falco_metrics,
        started,
    };
    pipeline.kernel.set_asleep(pipeline.asleep.ns())?;
    pipeline.kernel.attach();
    pipeline.kernel.require_core()?;
    if let Some(target) = target.take() {
        let about = pipeline.about(config, &hierarchy, &surroundings);
        pipeline.feed.recording = Some(target.begin(about, config)?);
    }
    pipeline.begin(&hierarchy, &selftest, config.scope.cgroup.is_some())?;
    desk.set_ready(pipeline.kernel.sensors.iter().any(|sensor| sensor.state.is_ok()));
    let stages = &pipeline.feed.engine.stages;
    tracing::info!(
        layout = format!("{:016x}", pipeline.kernel.fingerprint),
        cgroups = hierarchy.layout.name(),
        processes = stages.processes.len(),
        connections = stages.flows.len(),
        "tarsier is ready"
    );
    pipeline.main_loop(&stop, options.stop_after, &desk, &runtime);
    let lost = pipeline.end(&desk);
    let recorded = pipeline.feed.recording.take().map(|recording| recording.finish(lost)).transpose();
    let deadline = Instant::now() + FLUSH;
    runtime.stop(&pipeline.feed.engine.outlet);
    if let Some(lines) = &pipeline.lines {
        outlet::log_counts("lines", &lines.close(deadline));
    }
    let Engine { stages, outlet, .. } = &pipeline.feed.engine;
    let rules = stages.rules.as_ref().map(|rules| Summary::new(rules, outlet, lost));
    Ok(Ended { recorded: recorded?, rules })
}

impl Pipeline {
    /// Everything is attached: looks at what was there before, so that nothing falls between.
    fn begin(&mut self, hierarchy: &Hierarchy, selftest: &SelfTest, scoped: bool) -> anyhow::Result<()> {
        for group in hierarchy.walk() {
            let path = group.path.as_bytes();
            self.feed.frame(&Frame::Cgroup { id: group.id, parent: group.parent, path });
        }
        let findings = seed::seed(&mut self.kernel, &mut self.feed, selftest, scoped);
        selftest::judge(&mut self.kernel, &findings)?;
        for sensor in &self.kernel.sensors {
            match &sensor.state {
                Ok(()) => {
                    let hooks: Vec<_> = sensor.hooks().map(|hook| hook.to_string()).collect();
                    tracing::debug!(sensor = sensor.sensor.name(), hooks = hooks.join(", "), "attached");
                }
                Err(reason) if sensor.is_resting() => {
                    tracing::debug!(sensor = sensor.sensor.name(), reason, "sensor is off");
                }
                Err(reason) => tracing::warn!(sensor = sensor.sensor.name(), reason, "sensor is off"),
            }
        }
        Ok(self.kernel.require_core()?)
    }

    /// What a capture says of where it is from.
    fn about(&self, config: &Config, hierarchy: &Hierarchy, surroundings: &Surroundings) -> About {
        let facts = identity::facts();
        let sensors = self.kernel.sensors.iter().map(|entry| SensorAtStart {
            name: entry.sensor.name().to_owned(),
            off: entry.state.as_ref().err().cloned().unwrap_or_default(),
        });
        About {
            tarsier: env!("CARGO_PKG_VERSION").to_owned(),
            abi: tarsier_abi::ABI,
            calls: tarsier_abi::syscall::CALLS,
            call_parts: tarsier_abi::syscall::PartKind::LAST,
            kernel: host::kernel_release(),
            machine: std::env::consts::ARCH.to_owned(),
            boot_id: facts.boot_id,
            host_name: facts.host_name.unwrap_or_default(),
            host_id: facts.host_id,
            node_name: facts.node_name,
            cpus: surroundings.cpus,
            socket_cgroups: surroundings.socket_cgroups,
            cgroups: hierarchy.layout.name().to_owned(),
            scope: config.scope.cgroup.clone(),
            began: surroundings.began,
            sensors: sensors.collect(),
            redacted: config.redaction.enabled,
            answers: surroundings.answers,
        }
    }

    fn main_loop(
        &mut self,
        stop: &AtomicBool,
        stop_after: Option<Duration>,
        desk: &Desk,
        runtime: &Background,
    ) {
        let mut pause = Duration::ZERO;
        while !stop.load(Ordering::Acquire) && !self.feed.is_over() {
            if stop_after.is_some_and(|limit| self.started.elapsed() >= limit) {
                break;
            }
            if self.waiter.wait(pause) {
                self.wakeups.threshold += 1;
            } else {
                self.wakeups.timer += 1;
            }
            let asks = self.feed.engine.stages.rules.as_ref().is_some_and(|rules| rules.asks_runtimes);
            self.births.look(asks);
            self.inquiries.take(&mut self.feed);
            let drained = self.cycle();
            self.inquiries.ask(&mut self.feed);
            // One at a time: the plan that is written must not be one that a program may still read.
            if let Some(reloaded) = runtime.reloaded() {
                self.take(reloaded);
            }
            self.keep_within_memory(desk);
            desk.answer(|question| self.answer(question));
            pause = self.pace.after(drained);
            pause = self.births.hurry(pause);
        }
    }

    /// One drain cycle; returns how many records it took. The bulk rings are read up to where they
    /// stood before the priority ring was emptied: an event's process is known before the event.
    fn cycle(&mut self) -> u64 {
        if self.asleep.look()
            && let Err(error) = self.kernel.set_asleep(self.asleep.ns())
        {
            tracing::warn!(%error, "times of connections are too early by the time that the machine slept");
        }
        let now = now(&mut self.clock);
        self.feed.frame(&Frame::Begin(now));
        let Self { priority, bulk, limits, feed, .. } = self;
        limits.clear();
        limits.extend(bulk.iter().map(Ring::snapshot));
        let end = priority.snapshot();
        let mut drained = priority.drain_to(end, |record| feed.frame(&Frame::Record(record)));
        for (ring, limit) in bulk.iter_mut().zip(limits.iter()) {
            let more = ring.drain_to(*limit, |record| feed.frame(&Frame::Record(record)));
            drained.records += more.records;
            drained.whole &= more.whole;
        }
        if self.held_back.may_end(drained.whole, now.boot_ns) {
            self.feed.frame(&Frame::End);
        }
        self.sweep_if_due();
        drained.records
    }

    /// Who looks at connections wants those of now: a whole sweep comes before the answer.
    fn answer(&mut self, question: desk::Question) -> desk::Answer {
        match question {
            desk::Question::Metrics => desk::Answer::Metrics(view::metrics(self)),
            desk::Question::Top => {
                self.sweep_all();
                desk::Answer::Top(Box::new(view::top(self, clock::boot_ns())))
            }
        }
    }

    /// The order of shutdown, as the module's text states it. How many records the kernel side lost in all.
    fn end(&mut self, desk: &Desk) -> u64 {
        self.kernel.detach();
        while self.cycle() > 0 {}
        // Nothing more will come, whatever the last cycle waited for.
        self.feed.frame(&Frame::End);
        self.inquiries.settle(Instant::now() + LAST_ANSWERS, &mut self.feed);
        // What open connections moved since their last sweep: the next agent takes it as its baseline.
        self.sweep_all();
        self.feed.frame(&Frame::Finish(now(&mut self.clock)));
        desk.close(view::metrics(self));
        let ledger = self.kernel.ledger().unwrap_or_default();
        ledger.sensors.iter().flat_map(|row| row.lost).sum()
    }
}

fn load_options(
    config: &Config,
    hierarchy: &Hierarchy,
    selftest: &SelfTest,
    wanted: Wanted,
    may_change: bool,
) -> anyhow::Result<LoadOptions> {
    let scope = config.scope.cgroup.as_ref().map(|path| hierarchy.scope(Path::new(path))).transpose()?;
    let v1_controller = hierarchy.controller.as_ref().map(|name| (name.clone(), hierarchy.id));
    let needs_calls = may_change || !wanted.calls.is_empty();
    let sensors = config.sensors.on().filter(|sensor| !sensor.is_for_rules() || needs_calls);
    Ok(LoadOptions {
        sensors: sensors.collect(),
        avoid: config.hooks.avoid.iter().map(|kind| (*kind).into()).collect(),
        scope,
        v1_controller,
        priority_bytes: u32::try_from(config.rings.priority_bytes.get())?,
        bulk_bytes: u32::try_from(config.rings.bulk_bytes.get())?,
        wanted,
        self_port: selftest.port(),
    })
}
