//! What the test binary writes: one JSON line per test, and a last one with the counts.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One line of the file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Note { note: String, facts: Map<String, Value> },
    Test { name: String, result: Word, reason: String },
    Closing { summary: String },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Pass,
    Fail,
    Skip,
}

/// Results of one run of the test binary.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Names of skipped tests, with the reason.
    pub(crate) skipped: Vec<(String, String)>,
    /// Names of failed tests, with the reason.
    pub(crate) failures: Vec<(String, String)>,
    /// What tests noted of the kernel, by subject.
    pub(crate) notes: BTreeMap<String, Map<String, Value>>,
}

impl Results {
    /// Reads the lines. Errors: no closing line (the run was cut off), or counts that disagree with it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut results = Self::default();
        let mut closing = None;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str(line).with_context(|| format!("not a result: {line}"))? {
                Line::Note { note, facts } => results.notes.entry(note).or_default().extend(facts),
                Line::Closing { summary } => closing = Some(summary),
                Line::Test { result: Word::Pass, .. } => results.passed += 1,
                Line::Test { name, result: Word::Fail, reason } => results.failures.push((name, reason)),
                Line::Test { name, result: Word::Skip, reason } => results.skipped.push((name, reason)),
            }
        }
        results.failed = results.failures.len();
        match closing {
            None => bail!("the tests ended before their last line, after {}", results.summary()),
            Some(summary) if summary != results.summary() => {
                bail!("the tests say `{summary}`, their lines say `{}`", results.summary())
            }
            Some(_) => Ok(results),
        }
    }

    /// A run that did not come to its end: one failure under the run's name.
    pub(crate) fn broken(name: &str, error: &anyhow::Error) -> Self {
        Self { failed: 1, failures: vec![(name.to_owned(), format!("{error:#}"))], ..Self::default() }
    }

    /// Joins another run to this one.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
        self.failures.extend(other.failures);
        for (subject, facts) in other.notes {
            self.notes.entry(subject).or_default().extend(facts);
        }
    }

    /// Turns every difference between the skips that happened and those expected into a failure: nothing
    /// is skipped by accident, and no expectation outlives its reason.
    pub(crate) fn expect_skips(&mut self, expected: &[String]) {
        let skipped = std::mem::take(&mut self.skipped);
        let (planned, surprising) = skipped.into_iter().partition(|(name, _)| expected.contains(name));
        self.skipped = planned;
        self.failures.extend(surprising.into_iter().map(|(name, reason)| {
            (name, format!("skipped, though tests/kernels.toml does not expect it: {reason}"))
        }));
        for name in expected.iter().filter(|name| !self.skipped.iter().any(|(skipped, _)| skipped == *name)) {
            let reason = "tests/kernels.toml expects it to be skipped, and it was not".to_owned();
            self.failures.push((name.clone(), reason));
        }
        self.failed = self.failures.len();
    }

    /// Prints what failed and what was skipped.
    pub(crate) fn show(&self, name: &str) {
        for (test, reason) in &self.failures {
            eprintln!("FAILED [{name}] {test}: {reason}");
        }
        for (test, reason) in &self.skipped {
            println!("skipped [{name}] {test}: {reason}");
        }
    }

    /// The counts, as the test binary writes them.
    pub(crate) fn summary(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len())
    }
}

#[cfg(test)]
mod tests {
    use super::Results;

    const RUN: &str = r#"{"note":"verified","facts":{"exec":7}}
{"note":"verified","facts":{"exit":9}}
{"millis":12,"name":"exec/argv","reason":"","result":"pass"}
{"millis":3,"name":"tcp/refused","reason":"no \"RST\"\nat all","result":"fail"}
{"millis":0,"name":"tcp/reset","reason":"iptables is not installed","result":"skip"}
{"failed":1,"passed":1,"skipped":1,"summary":"1 passed, 1 failed, 1 skipped"}
"#;

    #[test]
    fn a_whole_run_is_read_and_a_cut_one_is_refused() {
        let results = Results::parse(RUN).unwrap();
        assert_eq!(results.failures, [("tcp/refused".to_owned(), "no \"RST\"\nat all".to_owned())]);
        assert_eq!(results.notes["verified"].len(), 2, "facts of one subject come together");
        let cut = RUN.rsplit_once("{\"failed\"").unwrap().0;
        assert!(Results::parse(cut).is_err(), "the closing line is missing");
        let lost = RUN.replacen("{\"millis\":3,", "{\"note\":\"x\",\"facts\":{}}\n#", 1);
        let lost = lost.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert!(Results::parse(&lost).is_err(), "one line was lost");
        assert!(Results::parse("").is_err());
        let odd = RUN.replacen("\"pass\"", "\"well\"", 1);
        assert!(Results::parse(&odd).is_err(), "a result that is none");
    }

    #[test]
    fn skips_are_exactly_the_expected_ones() {
        let mut results = Results::parse(RUN).unwrap();
        results.expect_skips(&["tcp/reset".to_owned()]);
        assert_eq!((results.failed, results.skipped.len()), (1, 1));
        let mut results = Results::parse(RUN).unwrap();
        results.expect_skips(&[]);
        assert_eq!(results.failed, 2, "an unexpected skip fails");
        let mut results = Results::parse(RUN).unwrap();
        results.expect_skips(&["tcp/reset".to_owned(), "exec/argv".to_owned()]);
        assert_eq!(results.failed, 2, "an expected skip that ran fails");
    }
}
