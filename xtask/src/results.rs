//! What the test binary writes: one JSON line per test, and a last one with the counts.

use anyhow::{Context, Result, bail};

/// Results of one run of the test binary.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Names of skipped tests, with the reason.
    pub(crate) skipped: Vec<(String, String)>,
    /// Names of failed tests, with the reason.
    pub(crate) failures: Vec<(String, String)>,
}

impl Results {
    /// Reads the lines. Errors: no closing line (the run was cut off), or counts that disagree with it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut results = Self::default();
        let mut closing = None;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(summary) = field(line, "summary") {
                closing = Some(summary);
                continue;
            }
            let name = field(line, "name").with_context(|| format!("a result without name: {line}"))?;
            let reason = field(line, "reason").unwrap_or_default();
            match field(line, "result").as_deref() {
                Some("pass") => results.passed += 1,
                Some("fail") => results.failures.push((name, reason)),
                Some("skip") => results.skipped.push((name, reason)),
                _ => bail!("a result that is neither pass, fail nor skip: {line}"),
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

    /// Joins another run to this one.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
        self.failures.extend(other.failures);
    }

    /// Whether nothing ran at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.passed + self.failed + self.skipped.len() == 0
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

    /// The counts, as the test binary writes them.
    pub(crate) fn summary(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len())
    }
}

/// The string value of `key` in one flat JSON object.
fn field(line: &str, key: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("\"{key}\":"))?;
    let mut characters = rest.trim_start().strip_prefix('"')?.chars();
    let mut value = String::new();
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'u' => {
                    let digits: String = characters.by_ref().take(4).collect();
                    value.push(
                        u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}'),
                    );
                }
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Results;

    const RUN: &str = r#"{"millis":12,"name":"exec/argv","reason":"","result":"pass"}
{"millis":3,"name":"tcp/refused","reason":"no \"RST\"\nat all","result":"fail"}
{"millis":0,"name":"tcp/reset","reason":"iptables is not installed","result":"skip"}
{"failed":1,"passed":1,"skipped":1,"summary":"1 passed, 1 failed, 1 skipped"}
"#;

    #[test]
    fn a_whole_run_is_read_and_a_cut_one_is_refused() {
        let results = Results::parse(RUN).unwrap();
        assert_eq!(results.failures, [("tcp/refused".to_owned(), "no \"RST\"\nat all".to_owned())]);
        let cut = RUN.rsplit_once("{\"failed\"").unwrap().0;
        assert!(Results::parse(cut).is_err(), "the closing line is missing");
        let lost = RUN.split_once('\n').unwrap().1;
        assert!(Results::parse(lost).is_err(), "one line was lost");
        assert!(Results::parse("").is_err());
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
