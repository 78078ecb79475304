//! Rule files and their language, as people write them.

use tarsier_core::enrich::{self, CgroupTable};
use tarsier_core::event::{Process, syscall};
use tarsier_core::rules::compare::Value;
use tarsier_core::rules::compile::{Compiled, Scratch};
use tarsier_core::rules::evaluate::{Event, evaluate};
use tarsier_core::rules::event_set::event_set;
use tarsier_core::rules::facts::{Cache, Facts, Lineage, NoLookups, Reading, What};
use tarsier_core::rules::fields::{self, Kind};
use tarsier_core::rules::load::Source;
use tarsier_core::rules::problem::Problem;
use tarsier_core::rules::render::Output;
use tarsier_core::rules::ruleset::Ruleset;
use tarsier_core::rules::simplify::simplify;
use tarsier_core::rules::suite;
use tarsier_core::rules::text::Traced;
use tarsier_core::rules::typed::{Argument, FieldRef, Shape};
use tarsier_core::rules::{check, event_types, format, grammar};

/// Up to four rule files with NUL between them: they load, or every mistake has a place in one of them; and so it is with the whole
/// as a file of tests. Compiled rules match what the plain evaluation says.
pub(super) fn files(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let sources: Vec<Source<'_>> =
        text.split('\0').take(4).map(|text| Source { name: "t.yaml", text }).collect();
    let set = Ruleset::load(&sources);
    for problem in &set.problems {
        has_a_place(problem, &sources);
    }
    // The same as a file of tests.
    if let Err(problems) = suite::read(0, &text) {
        problems
            .iter()
            .for_each(|problem| has_a_place(problem, &[Source { name: "t.test.yaml", text: &text }]));
    }
    let (compiled, mut scratch) = (Compiled::new(&set), Scratch::default());
    for seed in 0..4 {
        let sample = Sample { seed, text: &text };
        let mut found = Vec::new();
        let kind = event_types::find(sample.kind()).expect("a system call");
        compiled.matches(kind, &sample, &mut scratch, |place| {
            found.push(place as usize);
            true
        });
        let on = set.rules.iter().enumerate().filter(|(_, ready)| ready.rule.is_enabled);
        let plain = on.filter(|(_, ready)| evaluate(&ready.expr, &sample)).map(|(place, _)| place);
        assert_eq!(found, plain.collect::<Vec<_>>());
    }
}

/// Every field can be asked of every system call: it gives what its row says, and the same again.
pub(super) fn ask(call: &syscall::Event<'_>) {
    struct Nobody;
    impl Lineage for Nobody {
        fn parent(&self, _: &Process) -> Option<&Process> {
            None
        }
    }
    let (cgroups, cache) = (CgroupTable::new(enrich::Limits::default()), Cache::default());
    let facts = Facts {
        number: 1,
        boot_ns: 0,
        unix_ns: u64::MAX,
        first_unix_ns: 0,
        cpu: 0,
        what: What::Syscall(call),
        process: None,
        lineage: &Nobody,
        workload: cgroups.host(),
        lookups: &NoLookups,
        reading: Reading::Written,
        host_name: "",
        cache: &cache,
    };
    for (place, field) in fields::all().enumerate() {
        let reference = FieldRef { field, place: place as u16, argument: None };
        let indices = if field.argument == fields::Argument::None { 0 } else { 8 };
        let indexed = (0..indices)
            .map(|index| FieldRef { argument: Some(Argument::Index(index)), ..reference.clone() });
        for reference in indexed.chain([reference.clone()]) {
            let values = [(); 2].map(|()| {
                let mut values = Vec::new();
                facts.visit(&reference, &mut |value| {
                    assert!(fits(field.kind, value), "{}: {value:?}", field.name);
                    values.push(format!("{value:?}"));
                });
                values
            });
            assert_eq!(values[0], values[1], "{}", field.name);
            assert!(reference.shape() != Shape::One || values[0].len() <= 1, "{}", field.name);
        }
    }
}

/// Whether a value is of a field's kind.
fn fits(kind: Kind, value: Value<'_>) -> bool {
    match value {
        Value::Text(_) => matches!(kind, Kind::Text | Kind::Path | Kind::Bytes),
        Value::Bool(_) => kind == Kind::Bool,
        Value::Address(_) => matches!(kind, Kind::Address | Kind::Network),
        Value::Number(_) => {
            matches!(kind, Kind::Signed | Kind::Unsigned(_) | Kind::Port | Kind::Duration | Kind::Time)
        }
    }
}

/// A condition: it is a tree, or a mistake with a place. Printed it is the same tree again; what means something is simplified
/// to what matches the same events, and they are of the types that were found.
pub(super) fn condition(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let sources = [Source { name: "t", text: &text }];
    let tree = match grammar::parse(&Traced::whole(&text)) {
        Ok(tree) => tree,
        Err(problem) => return has_a_place(&problem, &sources),
    };
    let printed = tree.to_string();
    let again =
        grammar::parse(&Traced::whole(&printed)).unwrap_or_else(|problem| panic!("{printed}: {problem:?}"));
    assert_eq!(again.to_string(), printed);
    match check::check(&tree) {
        Err(problems) => problems.iter().for_each(|problem| has_a_place(problem, &sources)),
        Ok((expr, warnings)) => {
            warnings.iter().for_each(|problem| has_a_place(problem, &sources));
            let simplified = simplify(&expr).expr;
            let events = event_set(&simplified);
            for seed in 0..8 {
                let sample = Sample { seed, text: &text };
                let expected = evaluate(&expr, &sample);
                assert_eq!(evaluate(&simplified, &sample), expected, "{text}");
                assert!(!expected || events.iter().any(|name| name == sample.kind()), "{text}");
            }
        }
    }
}

/// An output format: its parts, or mistakes with places. What it says of any event has no field twice.
pub(super) fn output(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let problems = match format::parse(&Traced::whole(&text)) {
        Ok((format, warnings)) => {
            let output = Output::new(&format);
            for seed in 0..4 {
                let rendered = output.render(&Sample { seed, text: &text }, 1);
                assert!(rendered.fields.is_sorted_by(|one, next| one.key < next.key), "{rendered:?}");
            }
            warnings
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            problems
        }
    };
    problems.iter().for_each(|problem| has_a_place(problem, &[Source { name: "t", text: &text }]));
}

fn has_a_place(problem: &Problem, sources: &[Source<'_>]) {
    assert!(!problem.message.is_empty());
    let spans = problem.also.iter().map(|(span, _)| *span).chain([problem.span]);
    for span in spans {
        let text = sources[span.source as usize].text;
        assert!(span.start <= span.end && span.end as usize <= text.len(), "{problem:?}");
    }
}

/// An event whose values are words of the condition, so that comparisons are true as often as not.
struct Sample<'a> {
    seed: usize,
    text: &'a str,
}

impl Sample<'_> {
    /// Its type.
    fn kind(&self) -> &'static str {
        ["open", "connect", "execve", "openat"][self.seed % 4]
    }

    /// The parts of `fd.name` are parts of what it is.
    fn part_of_name(&self, last: bool, with: &mut dyn FnMut(Value<'_>)) {
        let (place, field, _) = fields::find("fd.name").expect("a field");
        self.visit(&FieldRef { field, place: place as u16, argument: None }, &mut |name| {
            let Value::Text(name) = name else { return };
            let slash = name.iter().rposition(|byte| *byte == b'/');
            with(Value::Text(match (slash, last) {
                (None, _) => b"/",
                (Some(slash), _) if slash + 1 == name.len() => name,
                (Some(slash), true) => &name[slash + 1..],
                (Some(0), false) => b"/",
                (Some(slash), false) => &name[..slash],
            }));
        });
    }
}

impl Event for Sample<'_> {
    fn visit(&self, field: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        let argument = match &field.argument {
            Some(Argument::Index(index)) => *index as usize,
            Some(Argument::Key(key)) => key.len(),
            None => 0,
        };
        let number = field.field.name.bytes().map(usize::from).sum::<usize>() + argument + self.seed * 7;
        if field.field.name == "evt.type" {
            return with(Value::Text(self.kind().as_bytes()));
        }
        if field.field.name == "evt.num" {
            return with(Value::Number(1 + self.seed as i128));
        }
        if matches!(field.field.name, "fd.directory" | "fd.filename") {
            return self.part_of_name(field.field.name == "fd.filename", with);
        }
        if number.is_multiple_of(5) {
            return;
        }
        let words: Vec<&str> =
            self.text.split([' ', ',', '(', ')', '=', '"', '\'']).filter(|word| !word.is_empty()).collect();
        let word = words.get(number % words.len().max(1)).copied().unwrap_or_default();
        with(match field.field.kind {
            Kind::Text | Kind::Path | Kind::Bytes => Value::Text(word.as_bytes()),
            Kind::Bool => Value::Bool(number.is_multiple_of(2)),
            Kind::Address | Kind::Network => {
                Value::Address(word.parse().unwrap_or(std::net::Ipv4Addr::new(10, 0, 0, number as u8).into()))
            }
            _ => Value::Number(word.parse().unwrap_or(number as i128)),
        });
    }
}
