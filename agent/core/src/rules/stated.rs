//! An event whose fields are stated one by one, where the agent reads them off records: what tests of rules are written with.
//!
//! Whatever asks an [`Event`] for its fields asks this one too, so that rules and outputs are the agent's own. Field names,
//! arguments and literals are those of conditions, checked by the same functions. A field that is not stated has no
//! value, except where it is another name for one that is (`derived`).

use tarsier_abi::syscall::Call;

use super::check::{self, Checked};
use super::compare::Value;
use super::condition::{Literal, Operand as Written, Operator};
use super::evaluate::{Event, Scalar};
use super::event_types;
use super::facts::{What, kinds};
use super::fields::Kind;
use super::grammar;
use super::load::yaml::{Node, Value as Yaml};
use super::problem::{Code, Problem};
use super::text::Span;
use super::typed::{FieldRef, Operand, Right, Shape};

mod derived;
#[cfg(test)]
pub(super) mod tests;

/// An event of stated fields.
#[derive(Clone, Debug)]
pub struct Stated {
    /// The types that it is, by position in [`event_types::NAMES`].
    kinds: Vec<usize>,
    /// Each field once. No values: it is stated that there are none.
    fields: Vec<(FieldRef, Vec<Scalar>)>,
    /// Where it stands.
    pub span: Span,
}

impl Stated {
    /// Reads fields with their values from a map: `{evt.type: openat, fd.name: /etc/shadow}`.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place: a field that is not known, or that the agent never gives; a value
    /// that is none of the field's kind; no `evt.type`, or one that no sensor tells of.
    pub fn read(entries: &[(Node, Node)], span: Span) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut fields: Vec<(FieldRef, Vec<Scalar>)> = Vec::new();
        let mut types = None;
        for (key, value) in entries {
            match entry(key, value) {
                Ok((field, _)) if fields.iter().any(|(known, _)| *known == field) => {
                    problems.push(*wrong(key.span, "this field is stated twice"));
                }
                Ok((field, values)) => {
                    if field.field.name == "evt.type" {
                        types = Some((values.first().map(Scalar::to_text).unwrap_or_default(), value.span));
                    }
                    fields.push((field, values));
                }
                Err(problem) => problems.push(*problem),
            }
        }
        let kinds = match &types {
            Some((name, span)) => types_of(name, *span).unwrap_or_else(|problem| {
                problems.push(*problem);
                Vec::new()
            }),
            None if problems.is_empty() => {
                let place = entries.first().map_or(span, |(key, _)| key.span);
                problems.push(*wrong(place, "this event has no `evt.type`").help("add `evt.type: openat`"));
                Vec::new()
            }
            None => Vec::new(),
        };
        if problems.is_empty() { Ok(Self { kinds, fields, span }) } else { Err(problems) }
    }

    /// The types of events that it is, by position in [`event_types::NAMES`].
    pub fn kinds(&self) -> &[usize] {
        &self.kinds
    }

    /// The system call that it is.
    pub(super) fn call(&self) -> Option<Call> {
        let name = self.of("evt.type")?.first()?.to_text();
        Call::ALL.into_iter().find(|call| call.name().as_bytes() == name)
    }

    /// What is stated of a field; [`None`]: nothing.
    pub(super) fn of(&self, name: &str) -> Option<&[Scalar]> {
        let found =
            self.fields.iter().find(|(field, _)| field.argument.is_none() && field.field.name == name);
        found.map(|(_, values)| values.as_slice())
    }
}

impl Event for Stated {
    fn visit(&self, field: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        match self.fields.iter().find(|(known, _)| known == field) {
            Some((_, values)) => values.iter().for_each(|value| with(value.value())),
            None => derived::visit(self, field, with),
        }
    }
}

/// A field and its values.
fn entry(key: &Node, value: &Node) -> Checked<(FieldRef, Vec<Scalar>)> {
    let name = key.text().ok_or_else(|| wrong(key.span, "this is no name of a field"))?;
    let field = match grammar::operand_at(name, 0)? {
        Some((Written::Field(written), end)) if end == name.as_str().len() => check::field_ref(&written)?,
        _ => {
            let message = format!("`{}` is no name of a field", name.as_str());
            return Err(wrong(key.span, message).help("`tarsier fields` lists all"));
        }
    };
    if let Some(lacks) = field.field.lacks {
        let message = format!("the agent never gives `{}`: it does not know {lacks} yet", field.field.name);
        return Err(
            wrong(key.span, message).help("a test that states it would pass, and the rule never match")
        );
    }
    let values = match &value.value {
        Yaml::Null => Vec::new(),
        Yaml::Text(_) => vec![scalar(&field, value)?],
        Yaml::List(items) if field.shape() != Shape::One => {
            items.iter().map(|item| scalar(&field, item)).collect::<Checked<_>>()?
        }
        Yaml::List(_) | Yaml::Map(_) => {
            let message = format!("`{}` has one value, and this is {}", name.as_str(), value.kind());
            return Err(wrong(value.span, message));
        }
    };
    Ok((field, values))
}

/// A value as a rule would write it behind `=`.
fn scalar(field: &FieldRef, node: &Node) -> Checked<Scalar> {
    let text =
        node.text().ok_or_else(|| wrong(node.span, format!("this is {}, and no value", node.kind())))?;
    let literal = Literal { text: text.as_str().to_owned(), is_quoted: true, span: node.span };
    // An event has one address, which a rule holds against networks.
    let kind = if field.field.kind == Kind::Network { Kind::Address } else { field.field.kind };
    let left = Operand::Field(field.clone());
    let value = match check::values(&left, Operator::Equal, kind, &[literal])? {
        Right::Texts(mut texts) => texts.pop().map(|text| Scalar::Text(text.into_bytes())),
        Right::Numbers(mut numbers) => numbers.pop().map(Scalar::Number),
        Right::Bools(mut values) => values.pop().map(Scalar::Bool),
        Right::Addresses(mut addresses) => addresses.pop().map(Scalar::Address),
        Right::Bytes(mut bytes) => bytes.pop().map(Scalar::Text),
        Right::Nothing | Right::Operand(_) | Right::Networks(_) => None,
    };
    value.ok_or_else(|| wrong(node.span, "this is no value"))
}

/// The types of an event that the agent tells of under this name.
fn types_of(name: &[u8], span: Span) -> Checked<Vec<usize>> {
    let name = String::from_utf8_lossy(name);
    if let Some(call) = Call::ALL.into_iter().find(|call| call.name() == name) {
        return Ok(kinds(call).collect());
    }
    let end = What::Exit { status: 0 }.name();
    if name == end {
        return Ok(event_types::find(end).into_iter().collect());
    }
    Err(wrong(span, format!("no sensor tells of `{name}`: no rule can match it")))
}

fn wrong(span: Span, message: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(Code::Validate, span, message))
}
