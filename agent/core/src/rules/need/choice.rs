//! What a comparison of an argument in words says of the number that the call was given.

use super::super::compare::Value;
use super::super::condition::Operator;
use super::super::evaluate::{Event, evaluate};
use super::super::getters::arguments::{Choices, choices};
use super::super::typed::{Argument, Expr, FieldRef, Right, Test};
use super::Need;
use tarsier_abi::syscall::{Call, RECIPES};

/// An event of which everything is this text.
struct Said<'a>(&'a str);

impl Event for Said<'_> {
    fn visit(&self, _: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        with(Value::Text(self.0.as_bytes()));
    }
}

/// What the argument must be for this to be true. None: that cannot be said.
pub(super) fn needs(call: Call, argument: Option<&Argument>, test: &Test) -> Option<Vec<Need>> {
    let Choices { index, words, other } = choices(call, argument?)?;
    if RECIPES[call as usize].choice != index {
        return None;
    }
    let Right::Texts(texts) = &test.right else { return None };
    let mut chosen = Vec::new();
    match test.operator {
        // What no word stands for is told in digits.
        Operator::Equal | Operator::In | Operator::Intersects => {
            chosen.extend(texts.iter().filter_map(|text| text.parse::<u32>().ok()));
        }
        Operator::Contains | Operator::IContains | Operator::StartsWith | Operator::EndsWith => {
            let is_word = |text: &String| text.bytes().any(|byte| !byte.is_ascii_digit());
            if !texts.iter().all(is_word) {
                return None;
            }
        }
        _ => return None,
    }
    let test = Expr::Test(test.clone());
    if other.is_some_and(|word| evaluate(&test, &Said(&word))) {
        return None;
    }
    let said = words.into_iter().filter(|(_, word)| evaluate(&test, &Said(word)));
    chosen.extend(said.map(|(number, _)| number));
    // Of nothing it is true.
    Some(if chosen.is_empty() { Vec::new() } else { vec![Need { chosen, ..Need::default() }] })
}
