//! Rules that are tried with either path of a file ([`Reading`](super::facts::Reading)): what filters may rely on.
//!
//! A filter is told how *the* path begins and ends, and passes what either path begins and ends with. That is a superset of
//! what matches in one of both readings as long as all that it is told is of the path that the reading takes. Two kinds of
//! comparisons are not: `fd.nameraw` is the written path in both readings, and what a path contains that was cleaned
//! (`../`) says of the written one that it was not, and of the kernel's own nothing.

use super::condition::{Operator, Transformer};
use super::ruleset::Ruleset;
use super::typed::{Expr, Operand, Test};

#[cfg(test)]
mod tests;

/// The same rules, with nothing in them that filters must not rely on.
pub fn of_either(set: &Ruleset) -> Ruleset {
    let mut set = set.clone();
    for ready in &mut set.rules {
        hide(&mut ready.expr);
    }
    set
}

fn hide(expr: &mut Expr) {
    match expr {
        Expr::Constant(_) => {}
        Expr::And(parts) | Expr::Or(parts) => parts.iter_mut().for_each(hide),
        Expr::Not(inner) => hide(inner),
        Expr::Test(test) if is_of_one_path(test) => {
            // Of what is made from fields filters know nothing.
            let left = test.left.clone();
            let transformer = Transformer::ToLower;
            test.left = Operand::Transformed { transformer, arguments: vec![left], index: None };
        }
        Expr::Test(_) => {}
    }
}

/// Whether a comparison is about the written path whatever the reading, or tells by the text that it was not clean.
fn is_of_one_path(test: &Test) -> bool {
    let Operand::Field(reference) = &test.left else { return false };
    match reference.field.name {
        "fd.nameraw" | "fs.path.nameraw" => true,
        "fd.name" | "fs.path.name" => test.operator == Operator::Contains,
        _ => false,
    }
}
