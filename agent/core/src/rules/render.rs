//! What a rule that has matched says of an event: its message, and the values of the fields in it.
//!
//! As Falco has it: a value that is not there is `<NA>` in the message and nothing among the fields, a width cuts or
//! fills, a list stands in parentheses, and what a transformer makes is in the message only (of the
//! fields, those that it is made from).

use std::borrow::Cow;

use super::evaluate::{Event, Given, Scalar, value_of};
use super::feeds::Feeds;
use super::fields::{Argument as Takes, Kind};
use super::format::{Format, Part};
use super::typed::{Argument, FieldRef, Operand};
use crate::event::alert::{OutputField, OutputValue};

#[cfg(test)]
mod tests;

/// What stands in a message for a value that is not there.
const ABSENT: &str = "<NA>";

/// The output of a rule, with all that is added to it.
#[derive(Clone, Debug)]
pub struct Output {
    parts: Vec<Part>,
    /// Sorted by key, each once.
    fields: Vec<Told>,
    feeds: Feeds,
}

/// A field that an alert tells beside its message.
#[derive(Clone, Debug)]
struct Told {
    key: String,
    attribute: Option<String>,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// The value of a field.
    Field(FieldRef),
    /// A text of its own.
    Text(Format),
}

/// What an output says of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered<'a> {
    /// The message.
    pub message: String,
    /// Values, sorted by key.
    pub fields: Vec<OutputField<'a>>,
}

impl Output {
    /// The output of a rule as it is written.
    pub fn new(format: &Format) -> Self {
        let mut output = Self { parts: Vec::new(), fields: Vec::new(), feeds: Feeds::default() };
        output.extend(format);
        output
    }

    /// Adds to the message, behind a blank.
    pub fn append(&mut self, format: &Format) {
        self.parts.push(Part::Text(" ".to_owned()));
        self.extend(format);
    }

    /// Where all that it says comes from.
    pub fn feeds(&self) -> Feeds {
        self.feeds
    }

    /// Adds a field, which is not part of the message, under the name that it is `written` by.
    pub fn tell(&mut self, field: &FieldRef, written: &str) {
        let (key, attribute) = (key(field, written), attribute(field));
        self.feeds.add(field.field.feed);
        self.add(Told { key, attribute, what: What::Field(field.clone()) });
    }

    /// Adds a text of its own under `key`, in place of what has this key.
    pub fn tell_text(&mut self, key: &str, format: Format) {
        self.feeds.add_format(&format);
        self.add(Told { key: key.to_owned(), attribute: None, what: What::Text(format) });
    }

    fn extend(&mut self, format: &Format) {
        self.parts.extend(format.parts.iter().cloned());
        for part in &format.parts {
            if let Part::Value { operand, key, .. } = part {
                self.tell_all(operand, key);
            }
        }
    }

    /// All fields of an operand.
    fn tell_all(&mut self, operand: &Operand, written: &str) {
        match operand {
            Operand::Field(field) => self.tell(field, written),
            Operand::Transformed { arguments, .. } => {
                for argument in arguments {
                    self.tell_all(argument, "");
                }
            }
            Operand::Literal(_) => {}
        }
    }

    fn add(&mut self, told: Told) {
        match self.fields.binary_search_by(|known| known.key.cmp(&told.key)) {
            Ok(place) => self.fields[place] = told,
            Err(place) => self.fields.insert(place, told),
        }
    }

    /// What is said of an event that happened at `time_unix_ns`.
    pub fn render(&self, event: &impl Event, time_unix_ns: u64) -> Rendered<'_> {
        let fields = self.fields.iter().map(|told| OutputField {
            key: &told.key,
            attribute: told.attribute.as_deref(),
            value: match &told.what {
                What::Field(field) => value(field, event, time_unix_ns),
                What::Text(format) => OutputValue::Text(message(&format.parts, event)),
            },
        });
        Rendered { message: message(&self.parts, event), fields: fields.collect() }
    }
}

/// The name under which a field is told: as it is `written`, without quotes around its argument.
fn key(field: &FieldRef, written: &str) -> String {
    let name = field.field.name;
    let has_dot = field.field.argument == Takes::Name && !written.contains('[');
    match &field.argument {
        None => name.to_owned(),
        Some(Argument::Index(index)) => format!("{name}[{index}]"),
        Some(Argument::Key(key)) if has_dot => format!("{name}.{key}"),
        Some(Argument::Key(key)) => format!("{name}[{key}]"),
    }
}

/// The attribute of a field: one with an argument has none, unless the argument is part of it.
fn attribute(field: &FieldRef) -> Option<String> {
    const KEY: &str = "<key>";
    let attribute = field.field.attribute?;
    match &field.argument {
        None if !attribute.contains(KEY) => Some(attribute.to_owned()),
        Some(Argument::Key(key)) if attribute.contains(KEY) => Some(attribute.replace(KEY, key)),
        _ => None,
    }
}

fn value(field: &FieldRef, event: &impl Event, time_unix_ns: u64) -> OutputValue {
    // Of the moment there are many spellings; among the fields it is a number.
    if matches!(
        field.field.name,
        "evt.time" | "evt.time.s" | "evt.time.iso8601" | "evt.datetime" | "evt.datetime.s"
    ) {
        return OutputValue::Number(time_unix_ns.into());
    }
    let kind = field.field.kind;
    match value_of(&Operand::Field(field.clone()), event) {
        Given::Nothing => OutputValue::Absent,
        Given::One(scalar) => one(kind, &scalar),
        Given::Several(scalars, _) => {
            OutputValue::List(scalars.iter().map(|scalar| one(kind, scalar)).collect())
        }
    }
}

fn one(kind: Kind, scalar: &Scalar) -> OutputValue {
    match scalar {
        Scalar::Number(number) => OutputValue::Number(*number),
        Scalar::Bool(value) => OutputValue::Bool(*value),
        Scalar::Text(_) | Scalar::Address(_) => OutputValue::Text(text(kind, scalar)),
    }
}

fn message(parts: &[Part], event: &impl Event) -> String {
    let mut message = String::new();
    for part in parts {
        match part {
            Part::Text(text) => message.push_str(text),
            Part::Value { operand, width, .. } => {
                let value = shown(operand, event);
                match width {
                    None | Some(0) => message.push_str(&value),
                    Some(width) => {
                        message.extend(value.chars().chain(std::iter::repeat(' ')).take(*width));
                    }
                }
            }
        }
    }
    message
}

fn shown(operand: &Operand, event: &impl Event) -> Cow<'static, str> {
    let (kind, _) = operand.kind();
    match value_of(operand, event) {
        Given::Nothing => ABSENT.into(),
        Given::One(scalar) => text(kind, &scalar).into(),
        Given::Several(scalars, _) => {
            let texts: Vec<_> = scalars.iter().map(|scalar| text(kind, scalar)).collect();
            format!("({})", texts.join(",")).into()
        }
    }
}

/// A value as text. Of bytes, those that cannot be printed are dots.
fn text(kind: Kind, scalar: &Scalar) -> String {
    match (kind, scalar) {
        (Kind::Bytes, Scalar::Text(bytes)) => {
            let printable = |byte: &u8| matches!(byte, b' '..=b'~');
            bytes.iter().map(|byte| if printable(byte) { char::from(*byte) } else { '.' }).collect()
        }
        _ => String::from_utf8_lossy(&scalar.to_text()).into_owned(),
    }
}
