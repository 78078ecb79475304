//! An event whose command lines and environments have their secrets hidden: what alerts are made from.
//!
//! The words of a rule's fields stand with blanks between, and a blank within an argument looks the same. Of the
//! process itself the arguments are known, and hidden one by one; of others the text is looked at as a whole,
//! as the command line of a shell is, and word by word. Where that leaves doubt, more is hidden.

use std::borrow::Cow;

use tarsier_core::encode::redact::{Redactor, Scratch};
use tarsier_core::event::{Argv, Process};
use tarsier_core::rules::compare::Value;
use tarsier_core::rules::evaluate::Event;
use tarsier_core::rules::getters::shown_arguments;
use tarsier_core::rules::typed::{Argument, FieldRef};

/// See the module's text.
pub(super) struct Redacted<'a, E> {
    event: &'a E,
    process: Option<&'a Process>,
    redactor: &'a Redactor,
}

/// What of a field's value may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holds<'a> {
    /// Words of a command line, or variables of an environment.
    Words,
    /// One argument of the process, counted from its command line's first word.
    Argument(usize),
    /// The value of this variable.
    Variable(&'a str),
}

impl<'a, E: Event> Redacted<'a, E> {
    pub(super) fn new(event: &'a E, process: Option<&'a Process>, redactor: &'a Redactor) -> Self {
        Self { event, process, redactor }
    }

    fn hide(&self, holds: &Holds<'_>, value: &[u8]) -> Vec<u8> {
        match holds {
            Holds::Words => self.tail(value).unwrap_or_else(|| self.words(&self.shown(value))),
            Holds::Argument(place) => {
                let argument = self.process.and_then(|process| process.image.args().iter().nth(*place));
                let hidden = self.arguments();
                match hidden.get(*place).filter(|_| argument == Some(value)) {
                    Some(hidden) => hidden.clone(),
                    None => self.words(value),
                }
            }
            Holds::Variable(name) => {
                let mut variable = [name.as_bytes(), b"=", value].concat();
                variable = self.redact(&variable).concat();
                variable.split_off(variable.len().min(name.len() + 1))
            }
        }
    }

    /// The value with its end hidden, if that is the arguments of the process, the first left out.
    fn tail(&self, value: &[u8]) -> Option<Vec<u8>> {
        let arguments: Vec<_> = self.process?.image.args().iter().skip(1).collect();
        let before = value.strip_suffix(arguments.join(&b' ').as_slice())?;
        if arguments.is_empty() {
            return None;
        }
        Some([before, &self.arguments().get(1..)?.join(&b' ')].concat())
    }

    /// The value with the arguments of the process hidden where they stand as `evt.args` shows them: with dots between.
    fn shown<'v>(&self, value: &'v [u8]) -> Cow<'v, [u8]> {
        let Some(process) = self.process else { return value.into() };
        let whole = shown_arguments(process.image.args().bytes());
        let Some(at) = value.windows(whole.len()).position(|part| part == whole) else { return value.into() };
        let mut hidden = self.arguments().join(&0);
        if process.image.args().bytes().ends_with(b"\0") {
            hidden.push(0);
        }
        [&value[..at], &shown_arguments(&hidden), &value[at + whole.len()..]].concat().into()
    }

    /// The arguments of the process, hidden.
    fn arguments(&self) -> Vec<Vec<u8>> {
        self.process.map(|process| self.redact(process.image.args().bytes())).unwrap_or_default()
    }

    fn words(&self, value: &[u8]) -> Vec<u8> {
        // What is to be found in a text is found in the command line of a shell.
        let line = self.redact(&[b"sh\0-c\0", value].concat());
        let line = line.get(2).cloned().unwrap_or_default();
        let words: Vec<u8> = line.iter().map(|byte| if *byte == b' ' { 0 } else { *byte }).collect();
        self.redact(&words).join(&b' ')
    }

    /// Each of these arguments, which have NUL between them, hidden.
    fn redact(&self, arguments: &[u8]) -> Vec<Vec<u8>> {
        let mut scratch = Scratch::default();
        self.redactor.redact(Argv::new(arguments), &mut scratch).iter().map(<[u8]>::to_vec).collect()
    }
}

impl<E: Event> Event for Redacted<'_, E> {
    fn visit(&self, field: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        let Some(holds) = holds(field) else { return self.event.visit(field, with) };
        self.event.visit(field, &mut |value| match value {
            Value::Text(text) => with(Value::Text(&self.hide(&holds, text))),
            other => with(other),
        });
    }
}

/// What of a field may be a secret; [`None`]: nothing.
fn holds(field: &FieldRef) -> Option<Holds<'_>> {
    match (field.field.name, &field.argument) {
        ("proc.args", Some(Argument::Index(place))) => Some(Holds::Argument(*place as usize + 1)),
        ("proc.env" | "proc.aenv", Some(Argument::Key(name))) => Some(Holds::Variable(name)),
        (
            "proc.args" | "proc.cmdline" | "proc.exeline" | "proc.env" | "proc.pcmdline" | "proc.acmdline"
            | "proc.aargs" | "proc.aenv" | "evt.args" | "evt.info",
            _,
        )
        | ("evt.arg", Some(Argument::Index(_))) => Some(Holds::Words),
        ("evt.arg", Some(Argument::Key(key))) if key == "args" || key == "env" => Some(Holds::Words),
        _ => None,
    }
}
