//! `tarsier rules explain-plan`: what the agent would attach and filter for a set of rules.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};
use tarsier_abi::Sensor;
use tarsier_abi::io_uring::REQUESTS;
use tarsier_abi::syscall::{ALTERNATIVES, Call};
use tarsier_core::rules::compile::Extent;
use tarsier_core::rules::event_types::{NAMES, find};
use tarsier_core::rules::facts::What;
use tarsier_core::rules::load::Source;
use tarsier_core::rules::need::explain::{About, Asking, Leaf, Passes, Told, Untested, Way, explain};

use super::{Exit, Output, Style};
use crate::config::{Config, Loaded};
use crate::rules::{Active, Report, place, read, written};

/// Options of `tarsier rules explain-plan`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Rule files, or folders of .yaml and .yml files; those of the configuration if there are none.
    #[arg(required_unless_present = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Configuration file (YAML) whose `rules.select`, `alerts.priority` and `sensors` hold too.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// For people, or one JSON document for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut config = Loaded::load(args.config.as_deref())?.config;
    if !args.files.is_empty() {
        config.rules.files.clone_from(&args.files);
    }
    let refuse = |error: anyhow::Error| Exit::Usage.because(&format!("{error:#}"));
    let files = read(&config.rules.files).map_err(refuse)?;
    let sources = files.sources();
    // The one that would run.
    let active = Active::of(&files, &config.rules, config.alerts.priority.into(), &config.sensors.off())
        .map_err(refuse)?;
    let mut err = io::stderr();
    let report = Report::new(&sources, Style::of(&err).is_on());
    for problem in active.set.problems.iter().filter(|problem| problem.is_error()) {
        writeln!(err, "{}\n", report.show(problem))?;
    }
    for unread in &files.unread {
        writeln!(err, "{unread}")?;
    }
    let explained = Explained::new(&config, &active, &sources);
    match args.output {
        Output::Human => explained.print(out, Style::of(&io::stdout()))?,
        Output::Json => writeln!(out, "{:#}", explained.document())?,
    }
    Ok(if active.set.has_errors() || !files.unread.is_empty() { Exit::Usage } else { Exit::Ok })
}

/// A plan and what it is about.
struct Explained<'a> {
    config: &'a Config,
    active: &'a Active,
    sources: &'a [Source<'a>],
    calls: Vec<Told>,
}

/// Most ways to match, and comparisons of one, that are printed for people.
const SHOWN: usize = 4;
/// Longest text of a comparison that is printed for people, in characters.
const WIDTH: usize = 72;

/// Whether a request of io_uring does what this call does.
fn has_request(call: Call) -> bool {
    REQUESTS.iter().any(|(_, same)| *same == call)
}

impl<'a> Explained<'a> {
    fn new(config: &'a Config, active: &'a Active, sources: &'a [Source<'a>]) -> Self {
        Self { config, active, sources, calls: explain(&active.filtered(), &active.plan()) }
    }

    fn name(&self, place: usize) -> &'a str {
        &self.active.set.rules[place].rule.name
    }

    fn names(&self, places: &[usize]) -> Vec<&'a str> {
        places.iter().map(|place| self.name(*place)).collect()
    }

    /// Positions of the rules that run and are about events of this type.
    fn about(&self, kind: &str) -> Vec<usize> {
        let rules = self.active.set.rules.iter().enumerate();
        let about = rules.filter(|(_, ready)| ready.rule.is_enabled && ready.can_match());
        about.filter(|(_, ready)| ready.events.iter().any(|event| event == kind)).map(|(at, _)| at).collect()
    }

    /// Positions of the rules that have a sensor tell of something.
    fn asking(&self, sensor: Sensor) -> Vec<usize> {
        match sensor {
            Sensor::Exec => self.about(What::Exec.name()),
            Sensor::Exit => self.about(What::Exit { status: 0 }.name()),
            Sensor::Syscall | Sensor::IoUring => {
                let is_told = |told: &&Told| sensor == Sensor::Syscall || has_request(told.call);
                let mut all: Vec<usize> = self
                    .calls
                    .iter()
                    .filter(is_told)
                    .flat_map(|told| &told.rules)
                    .map(|asking| asking.rule)
                    .collect();
                all.sort_unstable();
                all.dedup();
                all
            }
            Sensor::Cgroup | Sensor::Fork | Sensor::Tcp => Vec::new(),
        }
    }

    /// Whether a sensor attaches, and why.
    fn reason(&self, sensor: Sensor) -> (bool, &'static str) {
        let is_on = self.config.sensors.on().any(|on| on == sensor);
        match sensor {
            _ if !is_on => (false, "off in the configuration"),
            Sensor::Syscall if self.calls.is_empty() => (false, "no rule is about a system call"),
            Sensor::IoUring if self.asking(sensor).is_empty() => {
                (false, "no rule is about what its requests do")
            }
            Sensor::Syscall | Sensor::IoUring => (true, "for rules alone"),
            Sensor::Tcp => (true, "for flows, not for rules"),
            _ => (true, "always: whose doing an event is"),
        }
    }

    /// What there is to do in user space for a call that passed.
    fn extent(&self, call: Call) -> Extent {
        let mut sum = Extent::default();
        for kind in self.active.compat.kinds(call) {
            let Extent { rules, comparisons, looks } = self.active.compiled.extent(kind);
            sum.rules += rules;
            sum.comparisons += comparisons;
            sum.looks += looks;
        }
        sum
    }

    /// Whether a rule asks only for types of events of which no sensor tells.
    fn is_never_told(&self, place: usize) -> bool {
        let told = |event: &str| {
            event == What::Exec.name()
                || event == What::Exit { status: 0 }.name()
                || Call::ALL
                    .into_iter()
                    .any(|call| self.active.compat.kinds(call).any(|kind| NAMES[kind] == event))
        };
        !self.active.set.rules[place].events.iter().any(told)
    }

    /// Rules that run, of which no event is ever told.
    fn untold(&self) -> Vec<usize> {
        let rules = self.active.set.rules.iter().enumerate();
        let running = rules.filter(|(_, ready)| ready.rule.is_enabled && ready.can_match());
        running.map(|(place, _)| place).filter(|place| self.is_never_told(*place)).collect()
    }

    fn print(&self, out: &mut dyn Write, style: Style) -> anyhow::Result<()> {
        let (running, all) = (self.active.running(), self.active.set.rules.len());
        writeln!(out, "{running} of {all} rules run.\n\nSensors")?;
        for sensor in Sensor::ALL {
            let (attaches, why) = self.reason(sensor);
            let asking = self.asking(sensor).len();
            let asked =
                if asking == 0 { String::new() } else { format!("; asked for by {}", count(asking, "rule")) };
            let line = format!("  {:8} {why}{asked}", sensor.name());
            writeln!(out, "{}", if attaches { line } else { style.faint(&line) })?;
            if attaches {
                let hooks: Vec<String> = hooks(sensor).iter().map(|hooks| hooks.join(" else ")).collect();
                writeln!(out, "           by {}", hooks.join(", "))?;
            }
        }
        let is_open = |told: &&Told| !matches!(told.passes, Passes::Ways(_));
        writeln!(
            out,
            "\nSystem calls that rules are about: {}, of which {} pass unfiltered",
            self.calls.len(),
            self.calls.iter().filter(is_open).count(),
        )?;
        for group in self.grouped() {
            self.print_group(&group, out, style)?;
        }
        for (kind, sensor) in [(What::Exec, Sensor::Exec), (What::Exit { status: 0 }, Sensor::Exit)] {
            let about = self.about(kind.name());
            if !about.is_empty() {
                writeln!(out, "\n{}, told by the sensor {}", style.good(kind.name()), sensor.name())?;
                let extent = find(kind.name()).map(|kind| self.active.compiled.extent(kind));
                print_extent(extent.unwrap_or_default(), out)?;
                about.iter().try_for_each(|place| writeln!(out, "      {}", self.name(*place)))?;
            }
        }
        for place in self.untold() {
            let never = format!("\n`{}` never matches: no sensor tells of its events", self.name(place));
            writeln!(out, "{}", style.warning(&never))?;
        }
        Ok(())
    }

    /// Calls with the same filter for the same rules are told together.
    fn grouped(&self) -> Vec<Vec<&Told>> {
        let mut groups: Vec<(String, Vec<&Told>)> = Vec::new();
        for told in &self.calls {
            let what = format!("{:?} {:?} {:?}", told.rules, told.passes, told.untested);
            match groups.iter_mut().find(|(known, _)| *known == what) {
                Some((_, group)) => group.push(told),
                None => groups.push((what, vec![told])),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    fn print_group(&self, group: &[&Told], out: &mut dyn Write, style: Style) -> anyhow::Result<()> {
        let Some(first) = group.first() else { return Ok(()) };
        let calls: Vec<&str> = group.iter().map(|told| told.call.name()).collect();
        writeln!(out, "\n{}", style.good(&calls.join(" ")))?;
        match &first.passes {
            Passes::Ways(ways) => print_ways(ways, out)?,
            Passes::ForRules if is_start(first.call) => writeln!(out, "  passes if it failed")?,
            Passes::ForRules => writeln!(out, "  {}", style.warning("everything passes"))?,
            Passes::Together => {
                let why = "everything passes: the rules together leave out nothing that can be filtered";
                writeln!(out, "  {}", style.warning(why))?;
            }
            Passes::NoRoom => {
                let why = "everything passes: the plan has no room for one more filter";
                writeln!(out, "  {}", style.warning(why))?;
            }
        }
        let merged: usize = first.rules.iter().map(|asking| asking.alternatives).sum();
        if merged > ALTERNATIVES && !matches!(first.passes, Passes::ForRules) {
            writeln!(out, "  made of {merged} alternatives: what the most alike have in common")?;
        }
        // Of programs that do not start there are few, and what they are is not worth a filter.
        if !is_start(first.call) {
            let more = if matches!(first.passes, Passes::Ways(_)) { " more" } else { "" };
            first.untested.iter().try_for_each(|untested| self.print_untested(untested, more, out))?;
        }
        print_extent(self.extent(first.call), out)?;
        for Asking { rule, alternatives } in &first.rules {
            let alternatives = count(*alternatives, "alternative");
            writeln!(out, "      {:64} {}", self.name(*rule), style.faint(&alternatives))?;
        }
        Ok(())
    }

    /// Why a rule has so much pass; `more`: than how a call ended.
    fn print_untested(&self, untested: &Untested, more: &str, out: &mut dyn Write) -> anyhow::Result<()> {
        if untested.branches.is_empty() {
            let name = self.name(untested.rule);
            return Ok(writeln!(out, "  `{name}` names too many different things for one filter")?);
        }
        writeln!(out, "  of `{}` nothing{more} can be filtered:", self.name(untested.rule))?;
        for branch in untested.branches.iter().take(SHOWN) {
            let shown = branch.iter().take(SHOWN).map(|leaf| self.shown(*leaf));
            let more = branch.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            let at = branch.first().map(|leaf| place(self.sources, leaf.span)).unwrap_or_default();
            let (file, line) = (at["file"].as_str().unwrap_or_default(), &at["line"]);
            writeln!(out, "      {}{more}", shown.collect::<Vec<_>>().join(", "))?;
            writeln!(out, "        {file}:{line}:{}", at["column"])?;
        }
        let more = untested.branches.len().saturating_sub(SHOWN);
        if more > 0 {
            writeln!(out, "      or in {more} more ways")?;
        }
        Ok(())
    }

    /// A comparison as its author wrote it.
    fn shown(&self, leaf: Leaf) -> String {
        let mut text = written(self.sources, leaf.span);
        if let Some((end, _)) = text.char_indices().nth(WIDTH) {
            text.truncate(end);
            text.push('…');
        }
        format!("{}{text}", if leaf.is_negated { "not " } else { "" })
    }

    fn document(&self) -> Value {
        let sensors = Sensor::ALL.map(|sensor| {
            let (attaches, why) = self.reason(sensor);
            json!({
                "sensor": sensor.name(), "attaches": attaches, "reason": why, "hooks": hooks(sensor),
                "rules": self.names(&self.asking(sensor)),
            })
        });
        let calls: Vec<Value> = self.calls.iter().map(|told| self.call_document(told)).collect();
        let events = [(What::Exec, Sensor::Exec), (What::Exit { status: 0 }, Sensor::Exit)].map(|(what, sensor)| {
            let extent = find(what.name()).map(|kind| self.active.compiled.extent(kind)).unwrap_or_default();
            json!({
                "event": what.name(), "sensor": sensor.name(), "rules": self.names(&self.about(what.name())),
                "user_space": extent_document(extent),
            })
        });
        json!({
            "digest": self.active.digest,
            "rules": { "loaded": self.active.set.rules.len(), "running": self.active.running() },
            "sensors": sensors,
            "calls": calls,
            "events": events,
            "never_told": self.names(&self.untold()),
        })
    }

    fn call_document(&self, told: &Told) -> Value {
        let (ways, why) = match &told.passes {
            Passes::Ways(ways) => (Some(ways), None),
            Passes::ForRules => (None, Some("rules")),
            Passes::Together => (None, Some("together")),
            Passes::NoRoom => (None, Some("no_room")),
        };
        let leaf = |leaf: &Leaf| {
            json!({
                "comparison": written(self.sources, leaf.span), "field": leaf.field, "negated": leaf.is_negated,
                "place": place(self.sources, leaf.span),
            })
        };
        let untested = told.untested.iter().map(|untested| {
            let branches = untested.branches.iter().map(|branch| branch.iter().map(leaf).collect::<Vec<_>>());
            json!({ "rule": self.name(untested.rule), "branches": branches.collect::<Vec<_>>() })
        });
        let rules = told.rules.iter().map(
            |Asking { rule, alternatives }| json!({ "rule": self.name(*rule), "alternatives": alternatives }),
        );
        json!({
            "call": told.call.name(),
            "only_failed": is_start(told.call),
            "rules": rules.collect::<Vec<_>>(),
            "filtered": ways.is_some(),
            "passes": ways.map(|ways| ways.iter().map(way_document).collect::<Vec<_>>()),
            "unfiltered_by": why,
            "untested": untested.collect::<Vec<_>>(),
            "user_space": extent_document(self.extent(told.call)),
        })
    }
}

/// What is so of how a call ended or a file was opened, and then of what it was about.
fn print_ways(ways: &[Way], out: &mut dyn Write) -> anyhow::Result<()> {
    if ways.is_empty() {
        return Ok(writeln!(out, "  nothing passes")?);
    }
    let mut manners: Vec<Option<String>> = Vec::new();
    for way in ways {
        if !manners.contains(&way.manner()) {
            manners.push(way.manner());
        }
    }
    for manner in manners {
        let mut about: Vec<String> =
            ways.iter().filter(|way| way.manner() == manner).map(|way| way.about.to_string()).collect();
        about.sort();
        match (manner, about.as_slice()) {
            (Some(manner), _) if about.iter().any(|about| *about == About::Anything.to_string()) => {
                writeln!(out, "  passes if {manner}")?;
            }
            (Some(manner), [about]) => writeln!(out, "  passes if {manner} and {about}")?,
            (None, [about]) => writeln!(out, "  passes if {about}")?,
            (manner, about) => {
                let manner = manner.map(|manner| format!("{manner} and ")).unwrap_or_default();
                writeln!(out, "  passes if {manner}(")?;
                for (place, about) in about.iter().enumerate() {
                    writeln!(out, "    {} {about}", if place == 0 { " " } else { "|" })?;
                }
                writeln!(out, "    )")?;
            }
        }
    }
    Ok(())
}

/// What there is to do with what passed.
fn print_extent(Extent { rules, comparisons, looks }: Extent, out: &mut dyn Write) -> anyhow::Result<()> {
    let (rules, comparisons) = (count(rules, "rule"), count(comparisons, "comparison"));
    let values = count(looks, "value");
    Ok(writeln!(out, "  tried on what passes: {rules}, {comparisons} of {values} at most")?)
}

fn way_document(way: &Way) -> Value {
    const MODES: [&str; 4] = ["read", "write", "read_write", "neither"];
    let opened = way.access.map(|access| {
        MODES.into_iter().zip(access).filter(|(_, is)| *is).map(|(mode, _)| mode).collect::<Vec<_>>()
    });
    let mut document = json!({
        "text": way.to_string(),
        "opened": opened,
        "outcome": way.failed.map(|failed| if failed { "failed" } else { "succeeded" }),
    });
    match &way.about {
        About::Anything => {}
        About::UncleanPath => document["path_is_unclean"] = true.into(),
        About::Path { begins, ends } => {
            document["path_begins_with"] = begins.as_str().into();
            document["path_ends_with"] = ends.as_str().into();
        }
        About::Descriptor { family, port, returned } => {
            document["socket_family"] = json!(family);
            document["peer_port"] = json!(port);
            document["returned"] = json!(returned);
        }
        About::Choice { chosen, returned } => {
            document["asked_for"] = json!(chosen);
            document["returned"] = json!(returned);
        }
    }
    document
}

fn extent_document(Extent { rules, comparisons, looks }: Extent) -> Value {
    json!({ "rules": rules, "comparisons": comparisons, "looks": looks })
}

/// Those that succeed are told by the sensor `exec`.
fn is_start(call: Call) -> bool {
    matches!(call, Call::execve | Call::execveat)
}

/// For each thing that a sensor listens to: the hooks that tell of it, best first.
fn hooks(sensor: Sensor) -> Vec<Vec<String>> {
    let of =
        |attach: &tarsier_abi::Attach| attach.entries.iter().map(|entry| entry.hook.to_string()).collect();
    sensor.attach().iter().map(of).collect()
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
