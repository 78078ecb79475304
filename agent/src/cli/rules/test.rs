//! `tarsier rules test`: whether rules say what their authors expect.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use serde_json::{Value, json};

use super::Output;
use crate::cli::Exit;
use crate::cli::style::Style;
use crate::ruletest::{Outcome, find, run, write_human, write_junit};

/// Options of `tarsier rules test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A file of tests lies beside the rules that it is about and ends in .test.yaml:

  cases:
    - name: cat reads the passwords
      events:
        - evt.type: openat
          fd.name: /etc/shadow
          proc.name: cat
          evt.is_open_read: true
      alerts: [Passwords were read]
    - name: and login may
      events:
        - {evt.type: openat, fd.name: /etc/shadow, proc.name: login, evt.is_open_read: true}
      alerts: []

Events pass the rules as the agent runs them. The alerts that come must be those that are expected and no others.
docs/testing-rules.md has all keys of the file.

Examples:
  tarsier rules test rules/                                    all tests in a folder and below
  tarsier rules test rules/ --junit results.xml                for a CI system
  tarsier rules test rules/ --min-coverage 100                 every comparison seen true and false
  tarsier rules test a.test.yaml --output json | jq .coverage

Exit codes:
  0   every case passed
  1   a case failed, or the coverage is below --min-coverage
  64  a file of tests or of rules has a mistake")]
pub(in crate::cli) struct Args {
    /// Files of tests, or folders with files that end in .test.yaml or .test.yml, looked for below them too.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// For people, or one JSON document for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
    /// Also write the results to this file as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Fail if less of the rules is covered. Every comparison of a condition has two outcomes to be seen, true and false.
    #[arg(long, value_name = "PERCENT")]
    min_coverage: Option<Percent>,
    /// Name the cases that passed, too.
    #[arg(long, short)]
    verbose: bool,
}

/// From 0 to 100.
#[derive(Clone, Copy, Debug)]
struct Percent(f64);

impl FromStr for Percent {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>().ok();
        number
            .filter(|number| (0.0..=100.0).contains(number))
            .map(Self)
            .ok_or("write a number from 0 to 100".into())
    }
}

pub(super) fn test(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let files = find(&args.paths).map_err(|error| Exit::Usage.because(&format!("{error:#}")))?;
    let style = Style::of(&io::stdout());
    let outcome = run(&files, args.output == Output::Human && style.is_on());
    if let Some(path) = &args.junit {
        junit(path, &outcome).with_context(|| format!("writing {}", path.display()))?;
    }
    match args.output {
        Output::Human => write_human(out, &outcome, args.verbose)?,
        Output::Json => writeln!(out, "{:#}", document(&outcome))?,
    }
    if outcome.broken() > 0 {
        return Ok(Exit::Usage);
    }
    let (percent, least) = (outcome.account.percent(), args.min_coverage.map_or(0.0, |least| least.0));
    if percent < least {
        writeln!(
            io::stderr(),
            "{} coverage is {percent:.1} %, and {least} % is wanted",
            style.bad("tarsier:")
        )?;
        return Ok(Exit::Failure);
    }
    Ok(if outcome.failed() > 0 { Exit::Failure } else { Exit::Ok })
}

fn junit(path: &PathBuf, outcome: &Outcome) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write_junit(&mut file, outcome)?;
    Ok(file.flush()?)
}

fn document(outcome: &Outcome) -> Value {
    let suites = outcome.suites.iter().map(|suite| {
        let cases = suite.cases.iter().map(|case| {
            json!({
                "name": case.name,
                "line": case.line,
                "passed": case.faults.is_empty(),
                "seconds": case.took.as_secs_f64(),
                "faults": case.faults,
            })
        });
        json!({
            "file": suite.file,
            "problems": suite.broken.iter().map(|(_, problem)| problem).collect::<Vec<_>>(),
            "cases": cases.collect::<Vec<_>>(),
        })
    });
    let account = &outcome.account;
    json!({
        "cases": outcome.cases(),
        "failed": outcome.failed(),
        "broken_files": outcome.broken(),
        "suites": suites.collect::<Vec<_>>(),
        "coverage": {
            "percent": account.percent(),
            "comparisons": account.leaves(),
            "outcomes_seen": account.seen(),
            "rules": account.rules().collect::<Vec<_>>(),
            "not_decided": account.open().collect::<Vec<_>>(),
        },
    })
}
