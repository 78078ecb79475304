//! Does what every row says, one after the other, beside one agent that runs a whole file.

#![expect(clippy::print_stderr, reason = "which rule was held to what is for people to read")]

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::row::{Act, But, Field, Row, fits};
use super::stage::Stage;
use super::{image, ours, rows};
use crate::harness::alerts::{Alerts, BARRIER, Caller};
use crate::harness::cgroup::Cgroup;
use crate::harness::ledger;
use crate::harness::runc::Runtime;
use crate::runner::Context;

/// The files, as they are called upstream.
pub(super) const STABLE: &str = "falco_rules.yaml";
pub(super) const INCUBATING: &str = "falco-incubating_rules.yaml";

/// A rule as the agent lists it.
struct Rule {
    name: String,
    can_match: bool,
}

fn path_of(context: &Context, file: &str) -> anyhow::Result<PathBuf> {
    Ok(context.rules.as_ref().context("no --rules")?.join(file))
}

fn rules_of(context: &Context, path: &Path) -> anyhow::Result<Vec<Rule>> {
    let output =
        Command::new(&context.agent).args(["rules", "list", "--output", "json"]).arg(path).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {complaint}", path.display());
    let listed: Value = serde_json::from_slice(&output.stdout)?;
    let listed = listed.as_array().context("a list")?;
    let rule = |rule: &Value| {
        let name = rule["rule"].as_str().context("a rule has a name")?.to_owned();
        Ok(Rule { name, can_match: rule["can_match"].as_bool().context("it can match, or not")? })
    };
    listed.iter().map(rule).collect()
}

pub(super) fn every_rule_has_its_row(context: &Context) -> anyhow::Result<()> {
    let rules_of = |file| rules_of(context, &path_of(context, file)?);
    let rules = [rules_of(STABLE)?, rules_of(INCUBATING)?];
    let mut names: Vec<_> = rules.iter().flatten().map(|rule| rule.name.as_str()).collect();
    let mut rows: Vec<_> = rows().map(|row| row.rule).collect();
    rows.sort_unstable();
    names.sort_unstable();
    ensure!(rows == names, "rules: {names:#?}\nrows: {rows:#?}");
    Ok(())
}

/// Rules of the test's own beside the file: the barrier, and one for each field that is said to be lacking.
fn own_rules(rows: &[&Row]) -> String {
    let mut text = BARRIER.to_owned();
    for row in rows {
        if let Some(But::Lacks { field, of }) = row.but {
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "- rule: '{}'\n  desc: d\n  condition: {of}\n  output: '%{field}'\n  priority: DEBUG\n",
                probe(row)
            );
        }
    }
    text
}

fn probe(row: &Row) -> String {
    format!("of {}", row.rule)
}

/// Holds every rule of `file` to its row.
pub(super) fn tell(context: &Context, file: &str) -> anyhow::Result<()> {
    let path = path_of(context, file)?;
    let rules = rules_of(context, &path)?;
    let row_of = |rule: &Rule| {
        let row = rows().find(|row| row.rule == rule.name);
        row.with_context(|| format!("{} has no row", rule.name))
    };
    let rows = rules.iter().map(row_of).collect::<anyhow::Result<Vec<_>>>()?;
    let probes = rows.iter().filter(|row| matches!(row.but, Some(But::Lacks { .. }))).count();
    let pairs: Vec<_> = rules.iter().zip(rows.iter().copied()).collect();
    let beside = own_rules(&rows);
    let set = Set { path: &path, beside: &beside, number: rules.len() + probes, is_quiet: false };
    hold_all(context, &set, &pairs)
}

/// Holds every rule of our own to its row.
pub(super) fn tell_ours(context: &Context) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tarsier.yaml");
    std::fs::write(&path, ours::RULES)?;
    let rules = rules_of(context, &path)?;
    let tried = rules.iter().filter(|rule| !ours::UNTRIED.contains(&rule.name.as_str()));
    let pairs: Vec<_> = tried.zip(ours::ROWS).collect();
    ensure!(pairs.iter().all(|(rule, row)| rule.name == row.rule), "rules and rows have not one order");
    ensure!(pairs.len() == ours::ROWS.len(), "there are rows of {} rules", pairs.len());
    ensure!(pairs.len() + ours::UNTRIED.len() == rules.len(), "there are {} rules", rules.len());
    let beside = [BARRIER, ours::SITE].concat();
    let set = Set { path: &path, beside: &beside, number: rules.len(), is_quiet: true };
    hold_all(context, &set, &pairs)
}

/// Rules that an agent runs.
struct Set<'a> {
    /// The file that is tested.
    path: &'a Path,
    /// The text of another one, with the barrier.
    beside: &'a str,
    /// How many rules they have together, without the barrier.
    number: usize,
    /// They tell nothing of containers that start, and of sessions in them.
    is_quiet: bool,
}

/// Holds rules to their rows, beside an agent that runs them.
fn hold_all(context: &Context, set: &Set<'_>, pairs: &[(&Rule, &Row)]) -> anyhow::Result<()> {
    let files = tempfile::tempdir()?;
    let folder = files.path().join("rules");
    std::fs::create_dir(&folder)?;
    symlink(set.path, folder.join("1.yaml"))?;
    std::fs::write(folder.join("2.yaml"), set.beside)?;
    let mut runtime = Runtime::of_image(context, image::image()?)?;
    let cgroup = Cgroup::new("upstream")?;
    if set.is_quiet {
        // The agent sees the runtime, too, as on a node.
        runtime = runtime.inside(&cgroup.below("runtime")?)?;
    }
    let sections = format!("host: {{ runc: [{}] }}\n", runtime.state().display());
    let alerts = Alerts::configured(context, cgroup, &folder, files, &["container.id"], &sections)?;
    let mut run = Run::new(context, &runtime, alerts)?;
    run.expects(set.number + 1)?;
    if set.is_quiet {
        let told = run.told()?;
        ensure!(told.is_empty(), "nothing has been done, and there are alerts: {told:#?}");
    }
    let mut failures = String::new();
    for (rule, row) in pairs {
        match run.hold(rule, row) {
            Ok(what) => eprintln!("     {:<60} {what}", row.rule),
            // Writing to a string does not fail.
            Err(error) => drop(writeln!(failures, "\n{}: {error:#}", row.rule)),
        }
    }
    let lost = run.alerts.agent.ledger()?.count(ledger::LOST, &[])?;
    ensure!(lost == 0, "{lost} records were lost");
    ensure!(failures.is_empty(), "{failures}");
    Ok(())
}

struct Run<'a> {
    // Dropped first: what runs in the cgroup of the alerts.
    stage: Stage<'a>,
    last: Caller,
    alerts: Alerts,
}

impl<'a> Run<'a> {
    fn new(context: &Context, runtime: &'a Runtime, alerts: Alerts) -> anyhow::Result<Self> {
        let last = alerts.caller_in(&alerts.cgroup.below("last")?)?;
        let stage = Stage::new(context, runtime, &alerts)?;
        Ok(Self { stage, last, alerts })
    }

    /// An error unless so many rules run.
    fn expects(&self, expected: usize) -> anyhow::Result<()> {
        let running = self.alerts.agent.ledger()?.count("tarsier_rules_running", &[])?;
        ensure!(running == u64::try_from(expected)?, "{running} of {expected} rules run");
        Ok(())
    }

    /// Waits for all alerts of what has been done, and returns them.
    fn told(&mut self) -> anyhow::Result<Vec<Value>> {
        self.alerts.settle(&mut self.last)?;
        let all = self.alerts.seen.iter();
        Ok(all.filter(|alert| alert["rule"] != "barrier").cloned().collect())
    }

    /// Waits for all alerts of what has been done, and returns those of `rule` since the `before`th.
    fn since(&mut self, before: usize, rule: &str) -> anyhow::Result<Vec<Value>> {
        self.alerts.settle(&mut self.last)?;
        let new = self.alerts.seen.iter().skip(before);
        Ok(new.filter(|alert| alert["rule"] == rule).cloned().collect())
    }

    /// Holds a rule to its row: how it was held to it.
    fn hold(&mut self, rule: &Rule, row: &Row) -> anyhow::Result<String> {
        for near in [row.near].iter().chain(row.nor) {
            let before = self.alerts.seen.len();
            self.stage.act(*near).with_context(|| near.what)?;
            let told = self.since(before, row.rule)?;
            ensure!(told.is_empty(), "{} is only near, and told: {told:#?}", near.what);
        }
        let Some(but) = row.but else {
            for (act, fields) in [(row.action, row.fields)].iter().chain(row.also) {
                self.tells(row.rule, *act, fields)?;
            }
            return Ok(format!("told of {}, not of {}", 1 + row.also.len(), 1 + row.nor.len()));
        };
        let before = self.alerts.seen.len();
        self.stage.act(row.action).context("the action")?;
        let told = self.since(before, row.rule)?;
        match but {
            But::Never => {
                ensure!(told.is_empty() && !rule.can_match, "it can match, says the agent");
                Ok("can never match".to_owned())
            }
            But::Lacks { field, .. } => {
                let probes = self.since(before, &probe(row))?;
                ensure!(!probes.is_empty(), "nothing was seen of the action");
                let lacks =
                    |alert: &Value| matches!(text(&alert["output_fields"][field]).as_str(), "null" | "<NA>");
                ensure!(probes.iter().all(lacks), "{field} is there now: {probes:#?}");
                ensure!(told.is_empty(), "it tells without {field}: {told:#?}");
                Ok(format!("lacks {field}"))
            }
        }
    }

    /// An error unless `rule` tells of `act` in an alert with `fields`.
    fn tells(&mut self, rule: &str, act: Act, fields: &[Field]) -> anyhow::Result<()> {
        let before = self.alerts.seen.len();
        let container = self.stage.act(act).with_context(|| act.what)?;
        let told = self.since(before, rule)?;
        let is = |alert: &Value| says(&alert["output_fields"], fields, &container);
        ensure!(told.iter().any(is), "{} in {container} gave {told:#?}", act.what);
        Ok(())
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether an alert's fields are those expected, and of that container.
fn says(fields: &Value, expected: &[Field], container: &str) -> bool {
    let mut expected = expected.iter().copied().chain([("container.id", container)]);
    expected.all(|(field, pattern)| fits(pattern, &text(&fields[field])))
}
