//! `tarsier rules`: what rule files say, and what is wrong with them.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};
use tarsier_core::rules::load::{ENGINE, Source};
use tarsier_core::rules::nearest;
use tarsier_core::rules::ruleset::{Ready, Ruleset};

use super::Exit;
use super::style::Style;
use crate::rules::{Report, read, to_json};

mod explain_plan;
mod test;

/// The commands of `tarsier rules`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Load rule files and say what is wrong with them, with the place and the way out.
    ///
    /// Files are loaded as one set in the order given, later ones changing what earlier ones say. The exit code is 64
    /// if anything did not load.
    Check(Args),
    /// List the rules of rule files.
    List(Args),
    /// Show one rule as it is after everything that was said about it, with lists and macros written out.
    Show {
        /// Name of the rule.
        #[arg(long, short)]
        rule: String,
        #[command(flatten)]
        args: Args,
    },
    /// Say what the agent would attach and filter for rules, and which rule makes them expensive.
    ///
    /// What is told is the very plan that `tarsier run` would give the kernel. No privilege and no kernel is needed.
    ///
    /// For each system call that rules are about: what the kernel lets pass (one of the lines has to be so), or which rule has
    /// everything pass and by which comparisons: of a way to match that the kernel can test nothing of. It can test
    /// how a call ended (`evt.res`, `evt.rawres`, `evt.failed`, `fd.num`), how a file was opened (`evt.is_open_read`,
    /// `evt.is_open_write`), how its path begins and ends (`fd.name`, `fd.directory`, `fd.filename`), the
    /// family of a socket (`fd.type`, `fd.typechar`, `fd.l4proto`), the port that `connect` leads to (`fd.sport`, `fd.rport`), and
    /// which of several things was asked for (`evt.arg.domain`, `evt.arg.request`, `evt.arg.option`, `evt.arg.cmd`). Join one of
    /// those by `and` to what makes a call pass unfiltered.
    ///
    /// Of a path the first and last eight bytes count, of the path as it was written and of the file's own; a `?` is any byte. A
    /// path that is relative, or not clean, is judged in user space.
    ///
    /// As JSON: `sensors`, `calls`, `events` (told by other sensors) and `never_told` (rules about what no sensor tells). Of each call
    /// `passes` has one element for each line above, or is null if everything passes; `unfiltered_by` then says whether by `rules`,
    /// `together` or for want of room (`no_room`). `untested` names the rules, `branches` their ways to match, each a list of
    /// comparisons with their places; `rules` has the alternatives that each rule brings, `user_space` what is left to do.
    ExplainPlan(explain_plan::Args),
    /// Run tests of rules: events that are written down or recorded, and the alerts that are to come of them.
    Test(test::Args),
}

/// Options of all of them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Rule files, or folders of .yaml and .yml files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// For people, or one JSON document for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Human,
    Json,
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let args = match command {
        Command::Check(args) | Command::List(args) | Command::Show { args, .. } => args,
        Command::ExplainPlan(args) => return explain_plan::run(args, out),
        Command::Test(args) => return test::test(args, out),
    };
    let files = read(&args.files).map_err(|error| Exit::Usage.because(&format!("{error:#}")))?;
    let sources = files.sources();
    let set = Ruleset::load(&sources);
    let whole = Whole { sources: &sources, unread: &files.unread, set: &set, output: args.output };
    match command {
        Command::Check(_) => whole.check(out)?,
        Command::List(_) => whole.list(out)?,
        Command::Show { rule, .. } => whole.show(rule, out)?,
        Command::ExplainPlan(_) | Command::Test(_) => {}
    }
    Ok(if set.has_errors() || !files.unread.is_empty() { Exit::Usage } else { Exit::Ok })
}

/// What was loaded.
struct Whole<'a> {
    sources: &'a [Source<'a>],
    unread: &'a [String],
    set: &'a Ruleset,
    output: Output,
}

impl Whole<'_> {
    fn check(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.output == Output::Json {
            let problems: Vec<Value> =
                self.set.problems.iter().map(|problem| to_json(self.sources, problem)).collect();
            let document = json!({
                "engine_version": ENGINE.to_string(),
                "required_engine_version": self.set.required_engine.map(|version| version.to_string()),
                "rules": self.set.rules.len(),
                "unread": self.unread,
                "problems": problems,
            });
            writeln!(out, "{document:#}")?;
            return Ok(());
        }
        let style = Style::of(&io::stdout());
        let report = Report::new(self.sources, style.is_on());
        for problem in &self.set.problems {
            writeln!(out, "{}\n", report.show(problem))?;
        }
        for unread in self.unread {
            writeln!(out, "{} {unread}\n", style.bad("error[LOAD_ERR_FILE_READ]:"))?;
        }
        let errors =
            self.set.problems.iter().filter(|problem| problem.is_error()).count() + self.unread.len();
        let warnings = self.set.problems.len() + self.unread.len() - errors;
        let count =
            |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let verdict = format!(
            "{} of {}: {}, {}",
            count(self.set.rules.len(), "rule"),
            count(self.sources.len(), "file"),
            count(errors, "error"),
            count(warnings, "warning"),
        );
        writeln!(out, "{}", if errors > 0 { style.bad(&verdict) } else { style.good(&verdict) })?;
        Ok(())
    }

    fn list(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        self.say_what_did_not_load()?;
        if self.output == Output::Json {
            let rules: Vec<Value> = self.set.rules.iter().map(|rule| self.document(rule)).collect();
            writeln!(out, "{:#}", Value::Array(rules))?;
            return Ok(());
        }
        for ready in &self.set.rules {
            let rule = &ready.rule;
            let state = match (rule.is_enabled, ready.can_match()) {
                (false, _) => "off",
                (true, false) => "never",
                (true, true) => "on",
            };
            writeln!(out, "{:13} {state:5} {}", rule.priority.name(), rule.name)?;
        }
        Ok(())
    }

    fn show(&self, name: &str, out: &mut dyn Write) -> anyhow::Result<()> {
        self.say_what_did_not_load()?;
        let Some(ready) = self.set.rules.iter().find(|ready| ready.rule.name == name) else {
            let near = nearest(name, self.set.rules.iter().map(|ready| ready.rule.name.as_str()));
            let advice = near.map_or("`tarsier rules list` shows all".to_owned(), |near| {
                format!("did you mean `{near}`?")
            });
            return Err(Exit::Usage.because(&format!("there is no rule `{name}`: {advice}")));
        };
        if self.output == Output::Json {
            writeln!(out, "{:#}", Value::Array(vec![self.document(ready)]))?;
            return Ok(());
        }
        let rule = &ready.rule;
        let events: Vec<&str> = ready.events.iter().collect();
        writeln!(out, "rule      {}", rule.name)?;
        writeln!(out, "is        {}", if rule.is_enabled { "on" } else { "off" })?;
        writeln!(out, "priority  {}", rule.priority.name())?;
        writeln!(out, "tags      {}", rule.tags.join(", "))?;
        writeln!(
            out,
            "events    {}",
            if ready.can_match() { events.join(", ") } else { "none: it can never match".to_owned() }
        )?;
        writeln!(out, "desc      {}", rule.description.trim())?;
        writeln!(out, "output    {}", rule.output.as_str())?;
        writeln!(out, "condition {}", rule.condition)?;
        Ok(())
    }

    /// On standard error, since the command is about something else.
    fn say_what_did_not_load(&self) -> anyhow::Result<()> {
        let mut err = io::stderr();
        let report = Report::new(self.sources, Style::of(&err).is_on());
        for problem in self.set.problems.iter().filter(|problem| problem.is_error()) {
            writeln!(err, "{}\n", report.show(problem))?;
        }
        for unread in self.unread {
            writeln!(err, "{unread}")?;
        }
        Ok(())
    }

    fn document(&self, ready: &Ready) -> Value {
        let rule = &ready.rule;
        let events: Vec<&str> = ready.events.iter().collect();
        json!({
            "rule": rule.name,
            "desc": rule.description,
            "condition": rule.condition.to_string(),
            "output": rule.output.as_str(),
            "priority": rule.priority.name(),
            "tags": rule.tags,
            "enabled": rule.is_enabled,
            "can_match": ready.can_match(),
            "event_types": events,
            "exception_fields": rule.exception_fields,
            "file": self.sources.get(rule.span.source as usize).map(|source| source.name),
        })
    }
}
