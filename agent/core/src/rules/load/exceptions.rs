//! Exceptions as a condition: what they say is written behind the rule's own, as text.

use super::item::{Entry, Exception};
use crate::rules::condition::Operator;
use crate::rules::problem::{Code, Problem};
use crate::rules::text::{Span, Traced};

/// `condition and not EXCEPTION …`, and the fields that the exceptions name.
pub(super) fn apply(
    condition: &Traced,
    exceptions: &[Exception],
    span: Span,
) -> Result<(Traced, Vec<String>), Box<Problem>> {
    if exceptions.is_empty() {
        return Ok((condition.clone(), Vec::new()));
    }
    let mut text = Traced::new("(", span);
    text.push(condition);
    text.push_str(")", span);
    let mut names = Vec::new();
    for exception in exceptions {
        let (Some(fields), Some(comps)) = (&exception.fields, &exception.comps) else { continue };
        let one = match (fields, comps) {
            (Entry::One(field, _), Entry::One(comp, _)) => single(field, comp, &exception.values)?,
            (Entry::Many(fields, _), Entry::Many(comps, _)) => several(fields, comps, &exception.values)?,
            _ => continue,
        };
        if let Some(one) = one {
            names.extend(named(fields));
            text.push_str(" and not ", exception.span);
            text.push(&one);
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok((text, names))
}

/// `(FIELD in (VALUE, …))`; nothing without values.
fn single(field: &Traced, comp: &Traced, values: &[Entry]) -> Result<Option<Traced>, Box<Problem>> {
    let mut text = Traced::default();
    for value in values {
        let Entry::One(value, span) = value else {
            return Err(invalid(value.span(), "the values of a single field are texts"));
        };
        if text.as_str().is_empty() {
            text.push_str("(", *span);
            text.push(field);
            text.push_str(" ", *span);
            text.push(comp);
            text.push_str(" (", *span);
        } else {
            text.push_str(", ", *span);
        }
        text.push(&quoted(value, *span));
    }
    let Some(last) = values.last() else { return Ok(None) };
    text.push_str("))", last.span());
    Ok(Some(text))
}

/// `((FIELD = VALUE and FIELD = VALUE) or (…))`; nothing without values.
fn several(fields: &[Entry], comps: &[Entry], values: &[Entry]) -> Result<Option<Traced>, Box<Problem>> {
    let mut text = Traced::default();
    for row in values {
        let Entry::Many(cells, span) = row else {
            return Err(invalid(row.span(), "the values of several fields are lists of as many"));
        };
        if cells.len() != fields.len() {
            return Err(invalid(*span, format!("{} values for {} fields", cells.len(), fields.len())));
        }
        text.push_str(if text.as_str().is_empty() { "((" } else { " or (" }, *span);
        for (index, ((field, comp), cell)) in fields.iter().zip(comps).zip(cells).enumerate() {
            let (Entry::One(field, field_span), Entry::One(comp, _)) = (field, comp) else {
                return Err(invalid(field.span(), "a field of an exception is text"));
            };
            if index > 0 {
                text.push_str(" and ", *span);
            }
            text.push(field);
            text.push_str(" ", *field_span);
            text.push(comp);
            text.push_str(" ", *field_span);
            let takes_list = Operator::of(comp.as_str()).is_some_and(Operator::takes_list);
            text.push(&value(cell, takes_list)?);
        }
        text.push_str(")", *span);
    }
    let Some(last) = values.last() else { return Ok(None) };
    text.push_str(")", last.span());
    Ok(Some(text))
}

/// A value as it stands behind an operator.
fn value(cell: &Entry, takes_list: bool) -> Result<Traced, Box<Problem>> {
    let mut text = Traced::default();
    match cell {
        Entry::One(value, _) if takes_list && value.as_str().starts_with('(') => text.push(value),
        Entry::One(value, span) if takes_list => {
            text.push_str("(", *span);
            text.push(value);
            text.push_str(")", *span);
        }
        Entry::One(value, span) => text.push(&quoted(value, *span)),
        Entry::Many(values, span) => {
            text.push_str("(", *span);
            for (index, value) in values.iter().enumerate() {
                let Entry::One(value, span) = value else {
                    return Err(invalid(value.span(), "a list of values holds texts"));
                };
                if index > 0 {
                    text.push_str(", ", *span);
                }
                text.push(&quoted(value, *span));
            }
            text.push_str(")", *span);
        }
    }
    Ok(text)
}

/// In double quotes if it has a blank and no quotes yet.
pub(super) fn quoted(text: &Traced, span: Span) -> Traced {
    if !text.as_str().contains(' ') || text.as_str().starts_with(['"', '\'']) {
        return text.clone();
    }
    let mut quoted = Traced::new("\"", span);
    quoted.push(text);
    quoted.push_str("\"", span);
    quoted
}

fn named(fields: &Entry) -> Vec<String> {
    match fields {
        Entry::One(field, _) => vec![field.as_str().to_owned()],
        Entry::Many(fields, _) => fields.iter().flat_map(named).collect(),
    }
}

fn invalid(span: Span, message: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(Code::Validate, span, message))
}
