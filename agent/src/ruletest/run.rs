//! Runs files of tests.

use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};
use tarsier_core::event::alert::Priority;
use tarsier_core::rules::load::Source;
use tarsier_core::rules::nearest;
use tarsier_core::rules::problem::{Code, Problem};
use tarsier_core::rules::ruleset::Ruleset;
use tarsier_core::rules::suite::{self, Case, Happening, Spelled, Suite};

use super::account::Account;
use super::judge::{Fault, Judge};
use crate::pipeline::{Seen, Trial};
use crate::rules::{Active, Files, Named, Report, RulesConfig, Selection, line_and_column, read, to_json};

/// What came of all files.
#[derive(Debug, Default)]
pub struct Outcome {
    /// One per file, in order.
    pub suites: Vec<SuiteResult>,
    /// What was seen of the rules.
    pub account: Account,
}

/// What came of one file.
#[derive(Debug, Default)]
pub struct SuiteResult {
    /// Its path.
    pub file: String,
    /// What keeps it from being run, as it is shown to people, and for programs; then there are no cases.
    pub broken: Vec<(String, Value)>,
    /// Its cases.
    pub cases: Vec<CaseResult>,
}

/// What came of one case.
#[derive(Debug)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// Line of its name, from 1.
    pub line: usize,
    /// How long it took.
    pub took: Duration,
    /// What is not as expected; none: it passed.
    pub faults: Vec<Fault>,
}

impl Outcome {
    /// Cases in all files.
    pub fn cases(&self) -> usize {
        self.suites.iter().map(|suite| suite.cases.len()).sum()
    }

    /// Those that failed.
    pub fn failed(&self) -> usize {
        let cases = self.suites.iter().flat_map(|suite| &suite.cases);
        cases.filter(|case| !case.faults.is_empty()).count()
    }

    /// Files that could not be run.
    pub fn broken(&self) -> usize {
        self.suites.iter().filter(|suite| !suite.broken.is_empty()).count()
    }
}

/// Runs files of tests. What is wrong with a file keeps that file alone from being run.
pub fn run(files: &[PathBuf], colour: bool) -> Outcome {
    let mut outcome = Outcome::default();
    let mut trials = Trials::default();
    for file in files {
        let name = file.display().to_string();
        let mut result = SuiteResult { file: name.clone(), ..SuiteResult::default() };
        match read_text(file) {
            Ok(text) => {
                let source = Source { name: &name, text: &text };
                match suite(file, source, &mut trials, &mut outcome.account) {
                    Ok(cases) => result.cases = cases,
                    Err(broken) => result.broken = broken.shown(source, colour),
                }
            }
            Err(error) => result.broken.push(broken(&format!("{name}: {error:#}"))),
        }
        outcome.suites.push(result);
    }
    outcome
}

fn read_text(file: &Path) -> anyhow::Result<String> {
    String::from_utf8(std::fs::read(file)?).context("this is no text")
}

/// What keeps a file from being run.
enum Broken {
    /// Mistakes in it.
    Tests(Vec<Problem>),
    /// Mistakes in its rules.
    Rules(Files, Vec<Problem>),
    /// All else.
    Other(Vec<String>),
}

impl Broken {
    fn shown(self, tests: Source<'_>, colour: bool) -> Vec<(String, Value)> {
        let (sources, problems) = match &self {
            Self::Tests(problems) => (vec![tests], problems),
            Self::Rules(files, problems) => (files.sources(), problems),
            Self::Other(messages) => return messages.iter().map(|message| broken(message)).collect(),
        };
        let report = Report::new(&sources, colour);
        problems.iter().map(|problem| (report.show(problem), to_json(&sources, problem))).collect()
    }
}

fn broken(message: &str) -> (String, Value) {
    (format!("error: {message}"), json!({"severity": "error", "message": message}))
}

/// Sets of rules that have been loaded: files of tests beside each other share theirs.
#[derive(Default)]
struct Trials(Vec<Loaded>);

/// A set of rules on trial.
struct Loaded {
    paths: Vec<PathBuf>,
    enable: Vec<String>,
    files: Files,
    trial: Trial,
}

impl Trials {
    /// The rules that a file of tests is about.
    fn of(&mut self, file: &Path, suite: &Suite) -> Result<&mut Loaded, Broken> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let paths: Vec<PathBuf> = match suite.rules.as_slice() {
            [] => vec![beside(folder, "")],
            paths => paths.iter().map(|path| beside(folder, &path.text)).collect(),
        };
        let enable: Vec<String> = suite.enable.iter().map(|name| name.text.clone()).collect();
        let known = self.0.iter().position(|known| known.paths == paths && known.enable == enable);
        let place = known.unwrap_or(self.0.len());
        if known.is_none() {
            let (files, trial) = load(&paths, &enable)?;
            self.0.push(Loaded { paths, enable, files, trial });
        }
        self.0.get_mut(place).ok_or_else(|| Broken::Other(Vec::new()))
    }
}

/// A path from the folder of the file of tests, without `.` and `..`, so that a file has one name.
fn beside(folder: &Path, path: &str) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in folder.join(path).components() {
        match (part, whole.components().next_back()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                whole.pop();
            }
            _ => whole.push(part),
        }
    }
    if whole.as_os_str().is_empty() { PathBuf::from(".") } else { whole }
}

fn load(paths: &[PathBuf], enable: &[String]) -> Result<(Files, Trial), Broken> {
    let files = read(paths).map_err(|error| Broken::Other(vec![format!("rules: {error:#}")]))?;
    if !files.unread.is_empty() {
        return Err(Broken::Other(files.unread));
    }
    let set = Ruleset::load(&files.sources());
    if set.has_errors() {
        let problems = set.problems.into_iter().filter(Problem::is_error).collect();
        return Err(Broken::Rules(files, problems));
    }
    let select = enable.iter().map(|name| Selection::Enable(Named::Rule(name.clone()))).collect();
    let config = RulesConfig { select, ..RulesConfig::default() };
    let active = Active::of(&files, &config, Priority::Debug, &[]);
    let active = active.map_err(|error| Broken::Other(vec![format!("rules: {error:#}")]))?;
    let trial = Trial::new(active).map_err(|error| Broken::Other(vec![format!("{error:#}")]))?;
    Ok((files, trial))
}

fn suite(
    file: &Path,
    source: Source<'_>,
    trials: &mut Trials,
    account: &mut Account,
) -> Result<Vec<CaseResult>, Broken> {
    let suite = suite::read(0, source.text).map_err(Broken::Tests)?;
    let Loaded { files, trial, .. } = trials.of(file, &suite)?;
    let mistakes = unknown_rules(&suite, &trial.rules().set);
    if !mistakes.is_empty() {
        return Err(Broken::Tests(mistakes));
    }
    let sources = files.sources();
    // So that rules that no case is about are in the account.
    account.add(&trial.rules().set, &sources, trial.unseen());
    let folder = file.parent().unwrap_or(Path::new(""));
    let cases = suite.cases.iter().map(|case| {
        let start = Instant::now();
        let tried = tried(case, folder, trial);
        let set = &trial.rules().set;
        let faults = match tried {
            Ok(Seen { alerts, coverage }) => {
                account.add(set, &sources, &coverage);
                let (coverage, plan) = (trial.unseen(), trial.plan());
                let judge = Judge { tests: source, rules: &sources, set, coverage, plan };
                judge.faults(case, &alerts)
            }
            Err(error) => vec![Fault { message: format!("{error:#}"), details: Vec::new() }],
        };
        let (line, _) = line_and_column(source.text, case.name.span.start as usize);
        CaseResult { name: case.name.text.clone(), line, took: start.elapsed(), faults }
    });
    Ok(cases.collect())
}

/// The alerts of a case, and what was seen of the rules.
fn tried(case: &Case, folder: &Path, trial: &mut Trial) -> anyhow::Result<Seen> {
    let stated = case.happenings.iter().filter_map(|happening| match happening {
        Happening::Stated(event) => Some(event.as_ref()),
        Happening::Capture(_) => None,
    });
    let mut seen = trial.stated(stated)?;
    for happening in &case.happenings {
        let Happening::Capture(path) = happening else { continue };
        let path = folder.join(&path.text);
        let of_capture = || -> anyhow::Result<_> { trial.capture(File::open(&path)?) };
        let more = of_capture().with_context(|| path.display().to_string())?;
        seen.alerts.extend(more.alerts);
        seen.coverage.merge(&more.coverage);
    }
    Ok(seen)
}

/// Names of rules that are none, or of rules that do not run.
fn unknown_rules(suite: &Suite, set: &Ruleset) -> Vec<Problem> {
    let find = |name: &str| set.rules.iter().find(|ready| ready.rule.name == name);
    let unknown = |name: &Spelled| {
        let message = format!("there is no rule `{}`", name.text);
        let mut problem = Problem::new(Code::Validate, name.span, message);
        let near = nearest(&name.text, set.rules.iter().map(|ready| ready.rule.name.as_str()));
        problem.help = near.map(|near| format!("did you mean `{near}`?"));
        problem
    };
    let mut problems = Vec::new();
    let patterns = suite.enable.iter().filter(|name| !name.text.contains('*'));
    problems.extend(patterns.filter(|name| find(&name.text).is_none()).map(unknown));
    for expected in suite.cases.iter().flat_map(|case| &case.expected) {
        match find(&expected.rule.text) {
            None => problems.push(unknown(&expected.rule)),
            Some(ready) if !ready.rule.is_enabled => {
                let message = format!("the rule `{}` is off", expected.rule.text);
                let mut problem = Problem::new(Code::Validate, expected.rule.span, message);
                problem.help =
                    Some(format!("switch it on for this file: `enable: [{:?}]`", expected.rule.text));
                problems.push(problem);
            }
            Some(_) => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_name() {
        for (folder, path, expected) in [
            ("", "", "."),
            (".", "", "."),
            ("./rules", "", "rules"),
            ("rules/", "a.yaml", "rules/a.yaml"),
            ("rules", "../a.yaml", "a.yaml"),
            ("rules", "./b/../a.yaml", "rules/a.yaml"),
            ("rules", "../../a.yaml", "../a.yaml"),
            ("/", "../a.yaml", "/../a.yaml"),
            ("rules", "/etc/a.yaml", "/etc/a.yaml"),
        ] {
            assert_eq!(beside(Path::new(folder), path), Path::new(expected), "{folder} {path}");
        }
    }
}
