//! The agent's numbers under the names that Falco has for them, for dashboards and tools that were made for it.
//!
//! Only what means the same is here. There is no `falcosecurity_falco_version_info`, since this is no Falco, and nothing of
//! Falco's tables of threads and descriptors, which the agent does not keep.

use std::fmt::Write as _;

use super::metrics::{self, Kind, Value};

macro_rules! metrics {
    ($($variant:ident $kind:ident $name:literal $help:literal;)+) => {
        /// A metric of Falco's that has its like here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FalcoMetric { $(#[doc = $help] $variant,)+ }

        impl FalcoMetric {
            /// Every metric, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            const fn about(self) -> (&'static str, &'static str, Kind) {
                match self { $(Self::$variant => ($name, $help, Kind::$kind),)+ }
            }
        }
    };
}

metrics! {
    KernelRelease Gauge "falcosecurity_falco_kernel_release_info" "Always 1; the label says which kernel runs.";
    HostName Gauge "falcosecurity_evt_hostname_info" "Always 1; the label is the host's name, as in alerts.";
    EventSource Gauge "falcosecurity_falco_evt_source_info" "Always 1; the label is the source of events: syscall.";
    RulesFile Gauge "falcosecurity_falco_sha256_rules_files_info" "Always 1; the labels are the name and the SHA-256 of a file of rules that run.";
    Start Gauge "falcosecurity_falco_start_timestamp_nanoseconds" "When the agent started, by the present wall clock.";
    Reload Gauge "falcosecurity_falco_reload_timestamp_nanoseconds" "When the rules that run were loaded.";
    HostBoot Gauge "falcosecurity_falco_host_boot_timestamp_nanoseconds" "When the machine started, by the present wall clock.";
    HostCpus Gauge "falcosecurity_falco_host_num_cpus_total" "CPUs that the machine can have.";
    Duration Counter "falcosecurity_falco_duration_seconds_total" "For how long the agent runs.";
    Resident Gauge "falcosecurity_falco_memory_rss_bytes" "Resident memory of the agent.";
    OutputDrops Counter "falcosecurity_falco_outputs_queue_num_drops_total" "Alerts that found no room in the queue of a channel; each channel has one.";
    RuleMatches Counter "falcosecurity_falco_rules_matches_total" "Events that a rule matched: rule_name, priority as a number (0 is Emergency), source, and tag_NAME for each of its tags. Of rules that run, those that never matched too.";
    Events Counter "falcosecurity_scap_n_evts_total" "Records that the kernel side set out to tell rules: execs, exits and system calls.";
    Drops Counter "falcosecurity_scap_n_drops_total" "Those of them that were lost.";
}

/// Labels: names and values.
type Labels = Vec<(String, String)>;

/// The values of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FalcoSnapshot {
    samples: Vec<(FalcoMetric, Labels, Value)>,
}

impl FalcoSnapshot {
    /// Adds one sample.
    pub fn push(&mut self, metric: FalcoMetric, labels: &[(&str, &str)], value: impl Into<Value>) {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.push((metric, labels, value.into()));
    }

    /// What a rule counted. `priority`: syslog's number.
    pub fn push_rule(&mut self, name: &str, priority: u64, source: &str, tags: &[String], matches: u64) {
        let mut labels: Labels = vec![
            ("priority".to_owned(), priority.to_string()),
            ("rule_name".to_owned(), name.to_owned()),
            ("source".to_owned(), source.to_owned()),
        ];
        for tag in tags {
            let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
            let label = format!("tag_{}", tag.chars().map(plain).collect::<String>());
            // Two tags that are the same in letters and digits are one label: two would be no Prometheus text.
            if labels.iter().all(|(known, _)| *known != label) {
                labels.push((label, "true".to_owned()));
            }
        }
        self.samples.push((FalcoMetric::RuleMatches, labels, matches.into()));
    }

    /// In the Prometheus text format 0.0.4, as [`Snapshot::render`](metrics::Snapshot::render).
    pub(super) fn render(&self, text: &mut String) {
        for metric in FalcoMetric::ALL {
            let mut samples = self.samples.iter().filter(|(known, ..)| known == metric).peekable();
            let (name, help, kind) = metric.about();
            if samples.peek().is_some() {
                metrics::header(text, name, help, kind);
            }
            for (_, labels, value) in samples {
                let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                metrics::sample(text, name, labels, *value);
            }
        }
    }
}

/// The part of `docs/reference/metrics.md` about them.
pub(super) fn reference(page: &mut String) {
    page.push_str(
        "
## Under Falco's names

With `ops.falco_metrics`, `/metrics` has what follows too. Of Falco's metrics these are the ones that mean the same here; its version and
its tables of threads and descriptors have nothing like them.

| metric | type | meaning |
|---|---|---|
",
    );
    for metric in FalcoMetric::ALL {
        let (name, help, kind) = metric.about();
        let kind = format!("{kind:?}").to_lowercase();
        writeln!(page, "| `{name}` | {kind} | {help} |").expect("a string takes all that is written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_sample_with_a_label_for_each_tag() {
        let mut snapshot = FalcoSnapshot::default();
        let tags = ["T1555", "maturity_stable", "a-b", "a.b"].map(str::to_owned);
        snapshot.push_rule("Read \"it\"", 4, "syscall", &tags, 10);
        snapshot.push_rule("Other", 5, "syscall", &[], 0);
        let mut text = String::new();
        snapshot.render(&mut text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1..],
            [
                "# TYPE falcosecurity_falco_rules_matches_total counter",
                "falcosecurity_falco_rules_matches_total{priority=\"4\",rule_name=\"Read \\\"it\\\"\",source=\"syscall\",\
                 tag_T1555=\"true\",tag_maturity_stable=\"true\",tag_a_b=\"true\"} 10",
                "falcosecurity_falco_rules_matches_total{priority=\"5\",rule_name=\"Other\",source=\"syscall\"} 0",
            ]
        );
    }

    #[test]
    fn names_are_those_of_falco_and_each_is_there_once() {
        let mut names: Vec<_> = FalcoMetric::ALL.iter().map(|metric| metric.about().0).collect();
        assert!(names.iter().all(|name| name.starts_with("falcosecurity_")));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FalcoMetric::ALL.len());
    }
}
