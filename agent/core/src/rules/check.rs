//! Gives a condition its meaning: fields are found, operators fit their kinds, literals are values.

use std::net::IpAddr;

use super::condition::{
    Check, Condition, FieldUse, Kind as Says, Literal, Operand as Written, Operator, Right as WrittenRight,
    Transformed, Transformer,
};
use super::fields::{self, Argument as Takes, Kind, Place};
use super::problem::{Code, Problem};
use super::text::Span;
use super::typed::{Argument, Expr, FieldRef, Network, Operand, Right, Test};

pub(super) mod services;
#[cfg(test)]
mod tests;

/// The meaning of a condition in which macros are written out, and what is odd about it. The errors are all its mistakes.
pub fn check(condition: &Condition) -> Result<(Expr, Vec<Problem>), Vec<Problem>> {
    let mut checker = Checker { errors: Vec::new(), warnings: Vec::new() };
    let expr = checker.expr(condition);
    if checker.errors.is_empty() { Ok((expr, checker.warnings)) } else { Err(checker.errors) }
}

pub(super) type Checked<T> = Result<T, Box<Problem>>;

struct Checker {
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Checker {
    /// A part with a mistake is told and counts as false.
    fn expr(&mut self, condition: &Condition) -> Expr {
        match &condition.kind {
            Says::And(parts) => Expr::And(parts.iter().map(|part| self.expr(part)).collect()),
            Says::Or(parts) => Expr::Or(parts.iter().map(|part| self.expr(part)).collect()),
            Says::Not(inner) => Expr::Not(Box::new(self.expr(inner))),
            Says::Macro(name) => {
                let message = format!("there is no macro `{name}`");
                self.errors.push(Problem::new(Code::Validate, condition.span, message));
                Expr::Constant(false)
            }
            Says::Check(check) => match self.test(check, condition.span) {
                Ok(test) => Expr::Test(test),
                Err(problem) => {
                    self.errors.push(*problem);
                    Expr::Constant(false)
                }
            },
        }
    }

    fn test(&mut self, check: &Check, span: Span) -> Checked<Test> {
        let left = operand(&check.left)?;
        let (kind, is_list) = left.kind();
        let operator = check.operator;
        if !fits(operator, kind, is_list) {
            let what = if is_list { "a list" } else { kind.name() };
            let message = format!("`{}` does not compare {what}", operator.word());
            let known: Vec<&str> = Operator::ALL
                .iter()
                .filter(|operator| fits(**operator, kind, is_list))
                .map(|operator| operator.word())
                .collect();
            return Err(wrong(check.operator_span, message).help(format!("{what}: {}", known.join(" "))));
        }
        let right = match &check.right {
            WrittenRight::Nothing => Right::Nothing,
            WrittenRight::One(Written::Literal(literal)) => {
                self.warn_of_literal(&left, operator, literal);
                values(&left, operator, kind, std::slice::from_ref(literal))?
            }
            WrittenRight::Many(literals) => {
                for literal in literals {
                    self.warn_of_literal(&left, operator, literal);
                }
                values(&left, operator, kind, literals)?
            }
            WrittenRight::One(other) => Right::Operand(self.other_side(other, operator, kind, is_list)?),
        };
        Ok(Test { left, operator, quantifier: check.quantifier, right, span })
    }

    /// A value of the event on the right side.
    fn other_side(
        &self,
        written: &Written,
        operator: Operator,
        kind: Kind,
        is_list: bool,
    ) -> Checked<Operand> {
        let right = operand(written)?;
        has_one_value(&right, written.span())?;
        if matches!(operator, Operator::PathMatch | Operator::Regex | Operator::Glob | Operator::IGlob) {
            let message =
                format!("`{}` takes a pattern of the rule, and no value of the event", operator.word());
            return Err(wrong(written.span(), message));
        }
        let (other, others) = right.kind();
        let same = |kind: Kind| if kind == Kind::Path { Kind::Text } else { kind };
        if same(other) != same(kind) || kind == Kind::Network {
            let message = format!("this is {}, and the left side is {}", other.name(), kind.name());
            return Err(wrong(written.span(), message).help("both sides must be of one kind"));
        }
        if others && !(is_list || operator.takes_list()) {
            return Err(
                wrong(written.span(), "this is a list, and the left side is one value").help("use `in`")
            );
        }
        Ok(right)
    }

    /// What loads, but hardly means what it says.
    fn warn_of_literal(&mut self, left: &Operand, operator: Operator, literal: &Literal) {
        let Operand::Field(reference) = left else { return };
        if literal.text == "<NA>" && operator == Operator::NotEqual && !gives_na(reference.field.name) {
            let message =
                format!("`{}` is not `<NA>` where it is unknown: it has no value", reference.field.name);
            self.warnings.push(
                *Box::new(Problem::new(Code::UnsafeNaCheck, literal.span, message))
                    .help(format!("write `{} exists`", reference.field.name)),
            );
        } else if !literal.is_quoted && fields::find(&literal.text).is_some() {
            let message = format!("this is the text `{}` and not the field", literal.text);
            self.warnings.push(
                *Box::new(Problem::new(Code::ConditionWarning, literal.span, message))
                    .help(format!("write `val({})` for the field, or quotes for the text", literal.text)),
            );
        }
    }
}

/// Fields that have the text `<NA>` where they are unknown, in place of no value.
fn gives_na(name: &str) -> bool {
    matches!(name, "user.name" | "group.name" | "fd.l4proto" | "proc.name")
}

/// Whether an operator compares values of this kind.
pub fn fits(operator: Operator, kind: Kind, is_list: bool) -> bool {
    use Operator as O;
    if is_list {
        return matches!(operator, O::In | O::Intersects | O::Exists);
    }
    match operator {
        O::Exists | O::In | O::Intersects | O::Equal | O::NotEqual => true,
        O::Less | O::LessOrEqual | O::Greater | O::GreaterOrEqual => {
            !matches!(kind, Kind::Bool | Kind::Address | Kind::Network | Kind::Bytes)
        }
        O::Contains | O::StartsWith | O::EndsWith => matches!(kind, Kind::Text | Kind::Path | Kind::Bytes),
        O::BContains | O::BStartsWith => kind == Kind::Bytes,
        O::IContains | O::Glob | O::IGlob | O::Regex | O::PathMatch => {
            matches!(kind, Kind::Text | Kind::Path)
        }
    }
}

/// A value of the event as it is written.
pub(super) fn operand(written: &Written) -> Checked<Operand> {
    match written {
        Written::Field(field) => Ok(Operand::Field(field_ref(field)?)),
        Written::Literal(literal) => Ok(Operand::Literal(literal.text.clone())),
        Written::Transformed(transformed) => transformation(transformed),
    }
}

/// The row and argument of a field as it is written.
pub(super) fn field_ref(written: &FieldUse) -> Checked<FieldRef> {
    let Some((place, field, dotted)) = fields::find(&written.name) else {
        let problem = wrong(written.span, format!("there is no field `{}`", written.name));
        return Err(match super::nearest(&written.name, fields::all().map(|field| field.name)) {
            Some(near) => problem.help(format!("did you mean `{near}`? `tarsier fields` lists all")),
            None => problem.help("`tarsier fields` lists all"),
        });
    };
    let refused = |what: &str| Err(wrong(written.span, format!("`{}` {what}", field.name)));
    if dotted.is_some() && written.argument.is_some() {
        return refused("takes one argument and has two");
    }
    let argument = dotted.or(written.argument.as_deref());
    let index = argument.and_then(|argument| argument.parse().ok()).map(Argument::Index);
    let key = argument.map(|argument| Argument::Key(argument.to_owned()));
    let argument = match field.argument {
        Takes::None if argument.is_some() => return refused("takes no argument"),
        Takes::None => None,
        Takes::MayBeIndex if argument.is_some() && index.is_none() => {
            return refused("takes a number in brackets");
        }
        Takes::MayBeIndex => index,
        Takes::Index if index.is_none() => return refused("needs a number in brackets"),
        Takes::Index => index,
        Takes::MayBeIndexOrKey => index.or(key),
        Takes::IndexOrKey if argument.is_none() => return refused("needs a number or a key in brackets"),
        Takes::IndexOrKey => index.or(key),
        Takes::Key if argument.is_none() => return refused("needs a key in brackets"),
        Takes::Key => key,
        Takes::Name if argument.is_none() => {
            let example = if field.name == "evt.arg" { "flags" } else { "NAME" };
            return Err(wrong(written.span, format!("`{}` needs a name", field.name))
                .help(format!("write `{0}.{example}` or `{0}[{example}]`", field.name)));
        }
        Takes::Name => index.or(key),
    };
    Ok(FieldRef { field, place: place as u16, argument })
}

/// Fields that stand for several values at once, such as both ends of a connection, are compared and printed, but not taken
/// for a value.
fn has_one_value(operand: &Operand, span: Span) -> Checked<()> {
    match operand {
        Operand::Field(reference)
            if reference.field.place != Place::Anywhere
                && reference.argument.is_none()
                && !reference.is_list() =>
        {
            let name = reference.field.name;
            Err(wrong(span, format!("`{name}` can only be compared, since it stands for several values")))
        }
        _ => Ok(()),
    }
}

fn transformation(written: &Transformed) -> Checked<Operand> {
    let arguments = written.arguments.iter().map(operand).collect::<Checked<Vec<_>>>()?;
    let transformer = written.transformer;
    for (place, (argument, source)) in arguments.iter().zip(&written.arguments).enumerate() {
        has_one_value(argument, source.span())?;
        let (kind, is_list) = argument.kind();
        let is_text = matches!(kind, Kind::Text | Kind::Path);
        let takes = match (transformer, place) {
            (Transformer::Len, _) => is_text || is_list || kind == Kind::Bytes,
            (Transformer::Join, 1) | (Transformer::Getopt, 0) => {
                is_text && (is_list || transformer == Transformer::Getopt)
            }
            (Transformer::Concat, _) => !is_list,
            (Transformer::B64, _) => is_text || kind == Kind::Bytes,
            (Transformer::Join | Transformer::Getopt, _) => is_text && !is_list,
            _ => is_text,
        };
        if !takes {
            let what = if is_list { "a list" } else { kind.name() };
            return Err(wrong(source.span(), format!("`{}` does not take {what} here", transformer.word())));
        }
    }
    Ok(Operand::Transformed { transformer, arguments, index: written.index.clone() })
}

/// Literals as values of the left side's kind.
pub(super) fn values(left: &Operand, operator: Operator, kind: Kind, literals: &[Literal]) -> Checked<Right> {
    fn each<T>(literals: &[Literal], value: impl Fn(&Literal) -> Checked<T>) -> Checked<Vec<T>> {
        literals.iter().map(value).collect()
    }
    let no = |literal: &Literal, what: &str| wrong(literal.span, format!("`{}` is no {what}", literal.text));
    Ok(match kind {
        Kind::Text | Kind::Path => Right::Texts(each(literals, |literal| text(left, operator, literal))?),
        Kind::Bool => Right::Bools(each(literals, |literal| match literal.text.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(no(literal, "truth").help("write `true` or `false`")),
        })?),
        Kind::Signed | Kind::Duration | Kind::Time => Right::Numbers(each(literals, |literal| {
            number(literal, i128::from(i64::MIN)..=i128::from(i64::MAX))
        })?),
        Kind::Unsigned(bits) => Right::Numbers(each(literals, |literal| {
            let most = if bits >= 64 { i128::from(u64::MAX) } else { (1 << bits) - 1 };
            // A negative one wraps: `user.uid != -1` is meant so.
            let value = number(literal, -most - 1..=most)?;
            Ok(if value < 0 { value + most + 1 } else { value })
        })?),
        Kind::Port => Right::Numbers(each(literals, |literal| match services::port(&literal.text) {
            Some(port) => Ok(port.into()),
            None => number(literal, 0..=65_535).map_err(|_| {
                no(literal, "port").help("write a number up to 65535, or the name of a well-known service")
            }),
        })?),
        Kind::Address => Right::Addresses(each(literals, |literal| {
            literal
                .text
                .parse::<IpAddr>()
                .map_err(|_| no(literal, "address").help("write 10.0.0.1 or fd00::1"))
        })?),
        Kind::Network => Right::Networks(each(literals, |literal| {
            Network::of(&literal.text)
                .ok_or_else(|| no(literal, "network").help("write 10.0.0.0/8 or fd00::/8"))
        })?),
        Kind::Bytes => Right::Bytes(each(literals, |literal| match operator {
            Operator::BContains | Operator::BStartsWith => hexadecimal(&literal.text).ok_or_else(|| {
                no(literal, "row of hexadecimal digits").help("write two digits for each byte")
            }),
            _ => Ok(literal.text.clone().into_bytes()),
        })?),
    })
}

/// Text that an operator can work with.
fn text(left: &Operand, operator: Operator, literal: &Literal) -> Checked<String> {
    if operator == Operator::Regex
        && let Err(error) = super::compare::regex(&literal.text)
    {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        return Err(wrong(literal.span, format!("this is no regular expression: {reason}")));
    }
    let is_type = matches!(left, Operand::Field(reference) if reference.field.name == "evt.type");
    let is_exact =
        matches!(operator, Operator::Equal | Operator::NotEqual | Operator::In | Operator::Intersects);
    if is_type && is_exact && super::event_types::find(&literal.text).is_none() {
        let problem = wrong(literal.span, format!("there are no events of type `{}`", literal.text));
        return Err(match super::nearest(&literal.text, super::event_types::NAMES) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem,
        });
    }
    Ok(literal.text.clone())
}

/// A decimal number, as Falco reads it: no hexadecimal digits, no fraction.
fn number(literal: &Literal, range: std::ops::RangeInclusive<i128>) -> Checked<i128> {
    let digits = literal.text.strip_prefix(['-', '+']).unwrap_or(&literal.text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match literal.text.parse::<i128>() {
        Ok(value) if is_number && range.contains(&value) => Ok(value),
        Ok(_) if is_number => {
            Err(wrong(literal.span, format!("`{}` is out of the field's range", literal.text)))
        }
        _ => Err(wrong(literal.span, format!("`{}` is no number", literal.text))
            .help("write a whole decimal number")),
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) || text.is_empty() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn wrong(span: Span, message: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(Code::CompileCondition, span, message))
}
