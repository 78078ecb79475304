//! What a comparison could not be true without, and is known sooner.
//!
//! The directory and the last component of `fd.name` are parts of it, so it begins or ends with them. The other comparisons of
//! `fd.name`, which rules ask anyway, say so for nothing, and say no to nearly every name; then it is not split.

use crate::rules::condition::Operator;
use crate::rules::fields;
use crate::rules::typed::{Expr, FieldRef, Operand, Right, Test};

/// The same condition, with what comparisons imply before them.
pub(super) fn asked_first(expr: Expr) -> Expr {
    match expr {
        Expr::Constant(_) => expr,
        Expr::And(parts) => Expr::And(parts.into_iter().map(asked_first).collect()),
        Expr::Or(parts) => Expr::Or(parts.into_iter().map(asked_first).collect()),
        Expr::Not(inner) => Expr::Not(Box::new(asked_first(*inner))),
        Expr::Test(test) => match of(&test) {
            Some(implied) => Expr::And(vec![Expr::Test(implied), Expr::Test(test)]),
            None => Expr::Test(test),
        },
    }
}

fn of(test: &Test) -> Option<Test> {
    let (Operand::Field(reference), Right::Texts(texts)) = (&test.left, &test.right) else { return None };
    let operator = match (reference.field.name, test.operator, test.quantifier) {
        ("fd.directory", Operator::Equal | Operator::In, None) => Operator::StartsWith,
        ("fd.filename", Operator::Equal | Operator::In, None) => Operator::EndsWith,
        _ => return None,
    };
    // Both are a slash where a name has none.
    if texts.iter().any(|text| text == "/") {
        return None;
    }
    let (place, field, _) = fields::find("fd.name")?;
    let left = Operand::Field(FieldRef { field, place: place as u16, argument: None });
    Some(Test { left, operator, quantifier: None, right: test.right.clone(), span: test.span })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::rules::getters::path;

    proptest! {
        #[test]
        fn a_name_begins_with_its_directory_and_ends_with_its_last_component(name in "/?([ab.]{0,2}/?){0,5}") {
            let (directory, last) = path::split(name.as_bytes());
            prop_assert!(directory == b"/" || name.as_bytes().starts_with(directory));
            prop_assert!(last == b"/" || name.as_bytes().ends_with(last));
        }
    }
}
