//! The slow, plain evaluation of a condition: what rules mean, without any thought of speed.
//!
//! It is the oracle that compiled rules are tested against, and what explains a single match.

use super::compare::{Paths, Pattern, Value, holds, holds_list, regex};
use super::condition::{Operator, Transformer};
use super::typed::{Expr, FieldRef, Operand, Right, Shape, Test};

#[cfg(test)]
mod tests;

/// What an event gives for a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// Nothing: it does not apply, or is not known.
    Nothing,
    /// A value.
    One(Scalar),
    /// Several, of this shape.
    Several(Vec<Scalar>, Shape),
}

/// A value of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Text, a path or bytes.
    Text(Vec<u8>),
    /// A number, port, duration or time.
    Number(i128),
    /// True or false.
    Bool(bool),
    /// An address.
    Address(std::net::IpAddr),
}

impl Scalar {
    fn of(value: Value<'_>) -> Self {
        match value {
            Value::Text(text) => Self::Text(text.to_vec()),
            Value::Number(number) => Self::Number(number),
            Value::Bool(value) => Self::Bool(value),
            Value::Address(address) => Self::Address(address),
        }
    }

    /// The value, borrowed.
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Number(number) => Value::Number(*number),
            Self::Bool(value) => Value::Bool(*value),
            Self::Address(address) => Value::Address(*address),
        }
    }

    /// As outputs print it.
    pub fn to_text(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string().into_bytes(),
            Self::Bool(value) => value.to_string().into_bytes(),
            Self::Address(address) => address.to_string().into_bytes(),
        }
    }
}

/// An event, asked for fields.
pub trait Event {
    /// Calls `with` for each value of a field: not at all if it has none, and at most once for a field of
    /// [`Shape::One`].
    fn visit(&self, field: &FieldRef, with: &mut dyn FnMut(Value<'_>));
}

impl<E: Event + ?Sized> Event for &E {
    fn visit(&self, field: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        (**self).visit(field, with);
    }
}

/// Whether a condition is true of an event.
pub fn evaluate(expr: &Expr, event: &impl Event) -> bool {
    match expr {
        Expr::Constant(value) => *value,
        Expr::And(parts) => parts.iter().all(|part| evaluate(part, event)),
        Expr::Or(parts) => parts.iter().any(|part| evaluate(part, event)),
        Expr::Not(inner) => !evaluate(inner, event),
        Expr::Test(test) => self::test(test, event),
    }
}

/// Whether a comparison is true of an event.
pub(super) fn test(test: &Test, event: &impl Event) -> bool {
    test_of(test, event).unwrap_or(false)
}

/// None: a value is missing.
fn test_of(test: &Test, event: &impl Event) -> Option<bool> {
    let left = value_of(&test.left, event);
    let pattern = pattern(test, event)?;
    let one = |value: &Scalar| holds(value.value(), test.operator, test.quantifier, &pattern);
    match left {
        Given::Nothing => None,
        Given::One(value) => Some(one(&value)),
        Given::Several(values, Shape::List) => {
            let values: Vec<Value<'_>> = values.iter().map(Scalar::value).collect();
            Some(holds_list(&values, test.operator, &pattern))
        }
        Given::Several(values, Shape::Ends) if test.operator == Operator::NotEqual => {
            Some(values.iter().all(one))
        }
        Given::Several(values, _) => Some(values.iter().any(one)),
    }
}

/// The right side of a comparison. None: it is a value that is missing.
fn pattern(test: &Test, event: &impl Event) -> Option<Pattern> {
    let Right::Operand(other) = &test.right else { return Some(literals(test)) };
    match value_of(other, event) {
        Given::Nothing => None,
        Given::One(value) => Some(of_values(vec![value])),
        Given::Several(values, _) => Some(of_values(values)),
    }
}

/// The literals of a comparison, ready to be compared with.
pub(super) fn literals(test: &Test) -> Pattern {
    match &test.right {
        Right::Nothing | Right::Operand(_) => Pattern::Texts(Vec::new()),
        Right::Texts(texts) => match test.operator {
            Operator::PathMatch => Pattern::Paths(Paths::new(texts.iter().map(String::as_bytes))),
            Operator::Regex => {
                // The loader has compiled each of them once.
                Pattern::Regexes(texts.iter().filter_map(|text| regex(text).ok()).collect())
            }
            _ => Pattern::Texts(texts.iter().map(|text| text.clone().into_bytes()).collect()),
        },
        Right::Numbers(numbers) => Pattern::Numbers(numbers.clone()),
        Right::Bools(values) => Pattern::Bools(values.clone()),
        Right::Addresses(addresses) => Pattern::Addresses(addresses.clone()),
        Right::Networks(networks) => Pattern::Networks(networks.clone()),
        Right::Bytes(bytes) => Pattern::Texts(bytes.clone()),
    }
}

/// Values of an event as the right side of a comparison. All are of one kind.
fn of_values(values: Vec<Scalar>) -> Pattern {
    let (mut texts, mut numbers, mut bools, mut addresses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for value in values {
        match value {
            Scalar::Text(text) => texts.push(text),
            Scalar::Number(number) => numbers.push(number),
            Scalar::Bool(value) => bools.push(value),
            Scalar::Address(address) => addresses.push(address),
        }
    }
    if !numbers.is_empty() {
        Pattern::Numbers(numbers)
    } else if !bools.is_empty() {
        Pattern::Bools(bools)
    } else if !addresses.is_empty() {
        Pattern::Addresses(addresses)
    } else {
        Pattern::Texts(texts)
    }
}

/// What an operand gives.
pub fn value_of(operand: &Operand, event: &impl Event) -> Given {
    match operand {
        Operand::Field(field) => given(field, event),
        Operand::Literal(text) => Given::One(Scalar::Text(text.clone().into_bytes())),
        Operand::Transformed { transformer, arguments, index } => {
            let arguments: Vec<Given> = arguments.iter().map(|argument| value_of(argument, event)).collect();
            if arguments.contains(&Given::Nothing) {
                return Given::Nothing;
            }
            transformed(*transformer, arguments, index.as_deref())
        }
    }
}

/// What a field gives.
fn given(field: &FieldRef, event: &impl Event) -> Given {
    let mut values = Vec::new();
    event.visit(field, &mut |value| values.push(Scalar::of(value)));
    match (field.shape(), values.len()) {
        // An empty list is a list.
        (Shape::List, _) => Given::Several(values, Shape::List),
        (_, 0) => Given::Nothing,
        (Shape::One, _) => values.pop().map_or(Given::Nothing, Given::One),
        (shape, _) => Given::Several(values, shape),
    }
}

fn transformed(transformer: Transformer, mut arguments: Vec<Given>, index: Option<&str>) -> Given {
    let text = |given: &Given| match given {
        Given::One(value) => value.to_text(),
        _ => Vec::new(),
    };
    let texts = |given: &Given| match given {
        Given::One(value) => vec![value.to_text()],
        Given::Several(values, _) => values.iter().map(Scalar::to_text).collect(),
        Given::Nothing => Vec::new(),
    };
    match transformer {
        Transformer::Join => {
            let list = arguments.get(1).map(texts).unwrap_or_default();
            let between = arguments.first().map(text).unwrap_or_default();
            Given::One(Scalar::Text(list.join(&between[..])))
        }
        Transformer::Concat => Given::One(Scalar::Text(arguments.iter().flat_map(text).collect())),
        Transformer::Getopt => {
            let list = arguments.first().map(texts).unwrap_or_default();
            let options = arguments.get(1).map(text).unwrap_or_default();
            match index.and_then(|index| super::getopt::argument_of(&list, &options, index)) {
                Some(argument) => Given::One(Scalar::Text(argument)),
                None => Given::Nothing,
            }
        }
        Transformer::Len => Given::One(Scalar::Number(match arguments.first() {
            Some(Given::Several(values, _)) => values.len() as i128,
            Some(given) => text(given).len() as i128,
            None => 0,
        })),
        _ => {
            let Some(argument) = arguments.pop() else { return Given::Nothing };
            let each = |value: Scalar| one(transformer, &value.to_text()).map(Scalar::Text);
            match argument {
                Given::One(value) => each(value).map_or(Given::Nothing, Given::One),
                Given::Several(values, shape) => {
                    let values = values.into_iter().map(each).collect::<Option<_>>();
                    values.map_or(Given::Nothing, |values| Given::Several(values, shape))
                }
                Given::Nothing => Given::Nothing,
            }
        }
    }
}

/// A transformer of one text. None: there is nothing to be made of it.
fn one(transformer: Transformer, text: &[u8]) -> Option<Vec<u8>> {
    match transformer {
        Transformer::ToLower => Some(text.to_ascii_lowercase()),
        Transformer::ToUpper => Some(text.to_ascii_uppercase()),
        Transformer::Basename => {
            let start = text.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
            Some(text[start..].to_vec())
        }
        Transformer::B64 => base64(text),
        _ => None,
    }
}

/// Decodes base 64 of the usual alphabet, with or without what fills it up at the end. None: it is not that.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    if text.len() - end > 2 || end % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(end * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in &text[..end] {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}
