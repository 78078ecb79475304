//! Rules that take the place of others while events come.

use super::Pipeline;
use super::background::Reloaded;
use crate::kernel::Wanted;
use crate::rules::Active;

/// What the kernel side is to tell of for these rules.
pub(super) fn wanted(active: &Active) -> Wanted {
    Wanted { calls: active.calls(), plan: active.plan() }
}

impl Pipeline {
    /// Rules were loaded anew: they run from here on. If they were not, those before run on.
    ///
    /// No event is lost that both sets ask for, and none is told twice. This is called between two drain cycles by the
    /// thread that drains, so every record is evaluated once: by the old set if it was drained before, by the new one
    /// otherwise. A record that waits in a ring now was let through by the old set's calls and filters, or, from the write
    /// on, by the new set's. Each lets through all that its own set can match, so an event that a rule of both sets matches
    /// is in the ring in either case, and whichever set evaluates it has that rule. (No record says which plan let it
    /// through: what is captured of a call does not depend on it.) Of what only the new set asks for, every event after the
    /// write is told: the write comes before the next drain.
    pub(super) fn take_rules(&mut self, reloaded: Reloaded) {
        let Some(rules) = &mut self.feed.engine.stages.rules else { return };
        // The kernel first: it is the one that can refuse, and then nothing has changed.
        let taken = reloaded.and_then(|active| {
            self.kernel.set_calls(&wanted(&active))?;
            Ok(active)
        });
        match taken {
            Ok(active) => {
                let (count, digest) = (active.running(), active.digest.clone());
                rules.replace(active);
                tracing::info!(rules = count, digest, "rules loaded anew");
                for sensor in &self.kernel.sensors {
                    if let Err(reason) = &sensor.state
                        && sensor.sensor == tarsier_abi::Sensor::Syscall
                        && !sensor.is_resting()
                    {
                        tracing::warn!(reason, "rules about system calls do not match: the sensor is off");
                    }
                }
            }
            Err(error) => {
                rules.refuse();
                tracing::error!("rules: {error:#}; those before run on");
            }
        }
    }
}
