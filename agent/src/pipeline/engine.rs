//! The pipeline between its two hand-overs, as a function of its frames: it asks no clock, no kernel and
//! no host. So what a capture holds gives the same output, byte for byte, as it gave live.

use tarsier_core::encode::Identity;
use tarsier_core::event::Accounts;

use super::guard::{Stage, catch};
use super::outlet::Outlet;
use super::rules::Rules;
use super::stages::Stages;
use crate::capture::{Frame, Time};
use crate::config::Config;

/// Stages and outlet, and the times that drive them.
pub(super) struct Engine {
    pub(super) stages: Stages,
    pub(super) outlet: Outlet,
    now: Time,
    metrics_due_ns: u64,
    metrics_interval_ns: u64,
    /// The flow table has chosen the batch of the next [`Frame::Sweep`].
    picked: bool,
}

/// What of a machine the engine must know: a few facts that a capture carries.
pub(super) struct Surroundings {
    /// CPUs that there can be.
    pub(super) cpus: usize,
    /// A socket's cgroup names its container.
    pub(super) socket_cgroups: bool,
    /// Who the node is.
    pub(super) identity: Identity,
    /// When the agent began.
    pub(super) began: Time,
    /// Questions about containers and users are answered, by frames.
    pub(super) answers: bool,
}

impl Engine {
    pub(super) fn new(
        config: &Config,
        surroundings: &Surroundings,
        rules: Option<Rules>,
        outlet: Outlet,
    ) -> Self {
        let metrics_interval: std::time::Duration = config.metrics.interval.into();
        let metrics_interval_ns = u64::try_from(metrics_interval.as_nanos()).unwrap_or(u64::MAX);
        let now = surroundings.began;
        Self {
            stages: Stages::new(config, surroundings.cpus, surroundings.socket_cgroups, rules),
            outlet,
            now,
            metrics_due_ns: now.boot_ns.saturating_add(metrics_interval_ns),
            metrics_interval_ns,
            picked: false,
        }
    }

    /// Has the flow table choose the connections of the next sweep: `slots[..n]` for the kernel to fill in,
    /// to be fed as [`Frame::Sweep`] next.
    pub(super) fn pick_sweep(&mut self, slots: &mut [tarsier_abi::tcp::SweepSlot]) -> usize {
        self.picked = true;
        self.stages.flows.sweep_batch(slots)
    }

    /// Takes the next frame.
    pub(super) fn feed(&mut self, frame: &Frame<'_>) {
        let Self { stages, outlet, .. } = self;
        match frame {
            Frame::Record(record) => stages.take(record, outlet),
            Frame::Begin(time) => self.set_time(*time),
            Frame::End => self.end_cycle(),
            Frame::Sweep { now_ns, slots } => {
                if !std::mem::take(&mut self.picked) {
                    stages.pick_sweep_again();
                }
                stages.apply_sweep(slots, *now_ns, outlet);
            }
            Frame::Cgroup { id, parent, path } => stages.cgroups.insert(*id, *parent, path),
            Frame::Process(record) => stages.take_seed(record, outlet),
            Frame::Arguments { task, bytes } => stages.set_arguments(task, bytes),
            Frame::Socket { owner, record } => stages.seed_socket(*owner, record),
            Frame::Container { id, facts } => stages.take_container(id, facts, outlet),
            Frame::Accounts { id, passwd, group } => {
                stages.take_accounts(id, Some(Accounts::parse(passwd, group)), outlet);
            }
            Frame::NoAccounts { id } => stages.take_accounts(id, None, outlet),
            Frame::Shed { now_ns } => stages.shed(*now_ns, outlet),
            Frame::Finish(time) => {
                self.set_time(*time);
                let Self { stages, outlet, .. } = self;
                stages.finish(time.boot_ns, outlet);
                outlet.encode_metrics(stages);
                stages.guard.note(Stage::Report, 1, catch(|| outlet.flush()));
            }
        }
    }

    /// The moment of what is to come. Where the wall clock has stepped, every metric series ends by the old
    /// clock and begins anew by the new one, so that no point covers a time that did not pass, and what was
    /// counted is counted once.
    fn set_time(&mut self, time: Time) {
        let Self { stages, outlet, now, .. } = self;
        let old = Time { boot_ns: time.boot_ns, ..*now };
        if old != time {
            tracing::info!(
                by_s = time.unix_offset_ns.wrapping_sub(old.unix_offset_ns).cast_signed() as f64 / 1e9,
                "the wall clock stepped"
            );
            outlet.set_time(old);
            outlet.encode_metrics(stages);
            stages.aggregate.restart();
            outlet.restart_metrics(time);
        }
        outlet.set_time(time);
        if let Some(rules) = &mut stages.rules {
            rules.set_time(time.boot_ns);
        }
        *now = time;
    }

    fn end_cycle(&mut self) {
        let Self { stages, outlet, now, .. } = self;
        stages.finish_cycle(now.boot_ns, outlet);
        if now.boot_ns >= self.metrics_due_ns {
            self.metrics_due_ns = now.boot_ns.saturating_add(self.metrics_interval_ns);
            outlet.encode_metrics(stages);
        }
        stages.guard.note(Stage::Report, 1, catch(|| outlet.finish_cycle()));
    }
}
