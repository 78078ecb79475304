//! Macros are written into the tree of a condition.

use super::collect::Definitions;
use crate::rules::condition::{Condition, Kind};
use crate::rules::problem::{Code, Problem};
use crate::rules::text::Traced;

/// Most parts of one condition, macros written out. Upstream's largest rule has some three hundred.
const MAX_PARTS: usize = 50_000;

/// The macros of all files, each as far as it has been written out.
pub(super) struct Macros<'a> {
    definitions: &'a Definitions<Traced>,
    states: Vec<State>,
    used: Vec<bool>,
}

enum State {
    /// As it was parsed: names of macros are in it.
    Parsed(Condition),
    /// With all of them written out.
    Whole(Condition),
    /// It did not load; its mistake has been told.
    Broken,
}

impl<'a> Macros<'a> {
    /// Macros and the trees of their conditions, those that have one, in the order of their definitions.
    pub(super) fn new(definitions: &'a Definitions<Traced>, trees: Vec<Option<Condition>>) -> Self {
        let states = trees.into_iter().map(|tree| tree.map_or(State::Broken, State::Parsed)).collect();
        Self { definitions, states, used: vec![false; definitions.iter().len()] }
    }

    /// Whether the macro at this place is part of anything.
    pub(super) fn is_used(&self, place: usize) -> bool {
        self.used.get(place).copied().unwrap_or(false)
    }

    /// Writes the macros out in each other, the first defined first: a macro sees those that were defined before it was
    /// last changed. Returns what is wrong.
    pub(super) fn resolve(&mut self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (place, definition) in self.definitions.iter().enumerate() {
            let State::Parsed(tree) = &self.states[place] else { continue };
            let mut tree = tree.clone();
            let mut path = vec![place];
            self.states[place] = match self.write_into(&mut tree, definition.visibility, &mut path) {
                Ok(_) => State::Whole(tree),
                Err(problem) => {
                    problems.push(*problem);
                    State::Broken
                }
            };
        }
        problems
    }

    /// Writes the macros that a rule's condition names into it.
    pub(super) fn write_into_rule(&mut self, tree: &mut Condition) -> Result<(), Box<Problem>> {
        self.write_into(tree, u32::MAX, &mut Vec::new()).map(|_| ())
    }

    /// Returns of how many parts the tree is then. `path` are the macros that are being written out.
    fn write_into(
        &mut self,
        tree: &mut Condition,
        visibility: u32,
        path: &mut Vec<usize>,
    ) -> Result<usize, Box<Problem>> {
        let parts = match &mut tree.kind {
            Kind::Check(_) => 1,
            Kind::Not(inner) => 1 + self.write_into(inner, visibility, path)?,
            Kind::And(parts) | Kind::Or(parts) => {
                let mut sum = 1;
                for part in parts {
                    sum += self.write_into(part, visibility, path)?;
                }
                sum
            }
            Kind::Macro(name) => {
                let (name, span) = (std::mem::take(name), tree.span);
                let wrong = |message: String| Box::new(Problem::new(Code::Validate, span, message));
                let found = self.definitions.place(&name).zip(self.definitions.get(&name));
                let Some((place, _)) = found.filter(|(_, definition)| definition.index < visibility) else {
                    return Err(self.unknown(&name, wrong(format!("there is no macro `{name}`"))));
                };
                if path.contains(&place) {
                    return Err(wrong(format!("the macro `{name}` is part of itself")));
                }
                self.used[place] = true;
                let mut whole = match &self.states[place] {
                    State::Broken => return Err(wrong(format!("the macro `{name}` did not load"))),
                    State::Parsed(tree) | State::Whole(tree) => tree.clone(),
                };
                path.push(place);
                let parts = self.write_into(&mut whole, visibility, path)?;
                path.pop();
                // What is wrong in a check is shown where it is written, in the macro.
                *tree = whole;
                parts
            }
        };
        if parts > MAX_PARTS {
            let message = format!("with its macros the condition has more than {MAX_PARTS} parts");
            return Err(Box::new(Problem::new(Code::Validate, tree.span, message)));
        }
        Ok(parts)
    }

    /// Why a name is no macro.
    fn unknown(&self, name: &str, problem: Box<Problem>) -> Box<Problem> {
        if self.definitions.get(name).is_some() {
            return problem.help("it is defined below: a macro sees those above it");
        }
        let known = self.definitions.iter().map(|definition| definition.name.as_str());
        match crate::rules::nearest(name, known) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem,
        }
    }
}
