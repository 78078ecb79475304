//! Configuration and rules that take the place of others while events come.

use super::Pipeline;
use super::background::{Next, Reloaded};
use super::outlet::{Forms, Redactors, stdout_outbox};
use crate::kernel::Wanted;
use crate::rules::Active;

/// What the kernel side is to tell of for these rules.
pub(super) fn wanted(active: &Active) -> Wanted {
    Wanted { calls: active.calls(), plan: active.plan() }
}

impl Pipeline {
    /// Rules and configuration were loaded anew: they hold from here on. If they were not, those before do.
    ///
    /// No event is lost that both sets ask for, and none is told twice. This is called between two drain cycles by the
    /// thread that drains, so every record is evaluated once: by the old set if it was drained before, by the new one
    /// otherwise or if it waits for an answer ([`held`](super::held)). A record that waits in a ring now was let through by the old set's calls and filters, or, from the write
    /// on, by the new set's. Each lets through all that its own set can match, so an event that a rule of both sets matches
    /// is in the ring in either case, and whichever set evaluates it has that rule. (No record says which plan let it
    /// through: what is captured of a call does not depend on it.) Of what only the new set asks for, every event after the
    /// write is told: the write comes before the next drain.
    ///
    /// Nor is an alert: between two cycles none is being told, and a channel that is no longer wanted sends what it holds.
    pub(super) fn take(&mut self, reloaded: Reloaded) {
        if let Err(error) = reloaded.and_then(|next| self.change(next)) {
            if let Some(rules) = &mut self.feed.engine.stages.rules {
                rules.refuse();
            }
            tracing::error!("reload: {error:#}; what was before goes on");
        }
    }

    /// On an error nothing has changed.
    fn change(&mut self, Next { config, active, channels }: Next) -> anyhow::Result<()> {
        let redactors = Redactors::new(&config)?;
        let outlet = &mut self.feed.engine.outlet;
        let forms = Forms::of_stdout(&config, active.is_some(), outlet.host_name());
        let form = forms.and_then(|forms| forms.alerts);
        let is_first = form.is_some() && !outlet.prints() && !outlet.is_closed();
        let lines = is_first.then(|| stdout_outbox(&config)).transpose()?;
        if let (Some(rules), Some(active)) = (&mut self.feed.engine.stages.rules, active) {
            let wanted = wanted(&active);
            let (count, digest) = (active.running(), active.digest.clone());
            let additions =
                config.alerts.additions().map_err(|errors| anyhow::anyhow!("alerts: {errors:?}"))?;
            // The kernel is the last that can refuse.
            self.kernel.set_calls(&wanted)?;
            rules.replace(&config, &additions, active);
            tracing::info!(rules = count, digest, "rules loaded anew");
        }
        if lines.is_some() {
            self.lines.clone_from(&lines);
        }
        outlet.change(&config, redactors, channels, form, lines);
        tracing::info!("configuration loaded anew");
        for sensor in &self.kernel.sensors {
            if let Err(reason) = &sensor.state
                && sensor.sensor == tarsier_abi::Sensor::Syscall
                && !sensor.is_resting()
            {
                tracing::warn!(reason, "rules about system calls do not match: the sensor is off");
            }
        }
        Ok(())
    }
}
