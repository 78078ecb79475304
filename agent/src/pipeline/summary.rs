//! What rules came to, said once at the end.

use std::fmt::{self, Display, Formatter};

use tarsier_core::event::alert::Priority;

use super::alerts::Counts;
use super::outlet::Outlet;
use super::rules::Rules;

/// What rules came to in a run that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events that rules were tried on.
    pub events: u64,
    /// Those whose process was not known.
    pub unattributed: u64,
    /// Rules that matched anything, the worst first and those that told most before others.
    pub rules: Vec<RuleSummary>,
    /// Records that the kernel side lost, of every sensor.
    pub lost: u64,
    /// Alerts that did not reach a channel, each counted for every channel that it did not reach.
    pub undelivered: u64,
}

/// What a rule came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSummary {
    /// Its name; empty: rules that no longer run, together.
    pub name: String,
    /// Its priority.
    pub priority: Option<Priority>,
    /// Alerts that were told.
    pub alerts: u64,
    /// Matches of which none was told: the rule had told enough.
    pub throttled: u64,
    /// Likewise: its group had told one.
    pub grouped: u64,
}

impl RuleSummary {
    fn new(name: &str, priority: Option<Priority>, counts: Counts) -> Self {
        let Counts { throttled, grouped, .. } = counts;
        Self { name: name.to_owned(), priority, alerts: counts.told(), throttled, grouped }
    }
}

impl Summary {
    /// After everything was flushed. `lost`: records that the kernel side lost.
    pub(super) fn new(rules: &Rules, outlet: &Outlet, lost: u64) -> Self {
        let mut all: Vec<RuleSummary> =
            rules.counts().map(|(name, priority, counts)| RuleSummary::new(name, priority, counts)).collect();
        all.retain(|rule| rule.alerts + rule.throttled + rule.grouped > 0);
        let place = |rule: &RuleSummary| rule.priority.map_or(usize::MAX, |priority| priority as usize);
        all.sort_by(|a, b| (place(a), b.alerts, &a.name).cmp(&(place(b), a.alerts, &b.name)));
        let channels = outlet.channels().states();
        Self {
            events: rules.events,
            unattributed: rules.unattributed,
            rules: all,
            lost,
            undelivered: channels
                .iter()
                .map(|channel| channel.counts.dropped_total() + channel.counts.rejected)
                .sum(),
        }
    }

    /// Alerts that were told.
    pub fn alerts(&self) -> u64 {
        self.rules.iter().map(|rule| rule.alerts).sum()
    }

    /// The same by priority, the worst first; those of which there were any.
    pub fn by_priority(&self) -> Vec<(Priority, u64)> {
        let of = |priority| self.rules.iter().filter(move |rule| rule.priority == Some(priority));
        let all =
            Priority::ALL.into_iter().map(|priority| (priority, of(priority).map(|rule| rule.alerts).sum()));
        all.filter(|(_, alerts)| *alerts > 0).collect()
    }

    /// Into the log: a line for each rule that matched, then one for all.
    pub fn log(&self) {
        for RuleSummary { name, priority, alerts, throttled, grouped } in &self.rules {
            let priority = priority.map_or("", Priority::name);
            tracing::info!(rule = name, priority, alerts, throttled, grouped, "matched");
        }
        let by_priority: Vec<_> = self
            .by_priority()
            .iter()
            .map(|(priority, alerts)| format!("{} {alerts}", priority.name()))
            .collect();
        tracing::info!(
            events = self.events,
            alerts = self.alerts(),
            by_priority = by_priority.join(", "),
            throttled = self.rules.iter().map(|rule| rule.throttled).sum::<u64>(),
            grouped = self.rules.iter().map(|rule| rule.grouped).sum::<u64>(),
            unattributed = self.unattributed,
            lost = self.lost,
            undelivered = self.undelivered,
            "rules"
        );
    }
}

/// For people, several lines.
impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let alerts = self.alerts();
        writeln!(f, "rules: {} and {} of {}", count(self.events, "event"), count(alerts, "alert"), {
            count(self.rules.len() as u64, "rule")
        })?;
        let by_priority: Vec<_> = self
            .by_priority()
            .iter()
            .map(|(priority, alerts)| format!("{} {alerts}", priority.name()))
            .collect();
        if !by_priority.is_empty() {
            writeln!(f, "  by priority: {}", by_priority.join(", "))?;
        }
        for RuleSummary { name, priority, alerts, throttled, grouped } in &self.rules {
            let name = if name.is_empty() { "rules that no longer run" } else { name };
            write!(f, "  {alerts:8}  {:13}  {name}", priority.map_or("", Priority::name))?;
            match throttled + grouped {
                0 => writeln!(f)?,
                withheld => {
                    writeln!(f, " ({withheld} more withheld: throttled {throttled}, grouped {grouped})")?;
                }
            }
        }
        for (number, what) in [
            (self.lost, "records were lost in the kernel: raise rings.bulk_bytes"),
            (self.undelivered, "alerts did not reach a channel"),
            (self.unattributed, "events are of processes that nobody told of"),
        ] {
            if number > 0 {
                writeln!(f, "  {number:8}  {what}")?;
            }
        }
        Ok(())
    }
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_and_the_loudest_are_told_first() {
        let rule = |name: &str, priority, alerts, throttled| RuleSummary {
            name: name.into(),
            priority: Some(priority),
            alerts,
            throttled,
            grouped: 0,
        };
        let rules = vec![
            rule("Drop", Priority::Critical, 2, 0),
            rule("Read", Priority::Warning, 10, 5),
            rule("Shell", Priority::Warning, 1, 0),
        ];
        let summary = Summary { events: 1234, unattributed: 0, rules, lost: 3, undelivered: 0 };
        assert_eq!(
            summary.to_string(),
            "rules: 1234 events and 13 alerts of 3 rules
  by priority: Critical 2, Warning 11
         2  Critical       Drop
        10  Warning        Read (5 more withheld: throttled 5, grouped 0)
         1  Warning        Shell
         3  records were lost in the kernel: raise rings.bulk_bytes
"
        );
    }
}
