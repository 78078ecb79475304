//! What all cases together have shown of the rules.

use std::collections::BTreeMap;

use serde::Serialize;
use tarsier_core::rules::coverage::Coverage;
use tarsier_core::rules::load::Source;
use tarsier_core::rules::ruleset::Ruleset;
use tarsier_core::rules::text::Span;

use super::judge::snippet;
use crate::rules::line_and_column;

/// The coverage of all rules that were tested. A comparison of a macro is one, however many rules it is part of.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// By file and name.
    rules: BTreeMap<(String, Span, String), Cases>,
    /// By file, place, and what it says: an exception's comparisons can have one place.
    leaves: BTreeMap<(String, Span, String), Leaf>,
}

#[derive(Clone, Debug, Default)]
struct Cases {
    is_on: bool,
    matched: u64,
    passed: u64,
    leaves: Vec<(String, Span, String)>,
}

#[derive(Clone, Debug, Default)]
struct Leaf {
    line: usize,
    column: usize,
    text: String,
    is_true: bool,
    is_false: bool,
}

/// What was seen of a rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleAccount {
    /// Its name.
    pub rule: String,
    /// Its file.
    pub file: String,
    /// Whether it was on in any file of tests.
    pub is_on: bool,
    /// Cases in which it matched.
    pub matched: u64,
    /// Cases with events of its types in which it did not.
    pub passed: u64,
    /// Comparisons in its condition.
    pub leaves: usize,
    /// Those that were seen true and false.
    pub decided: usize,
}

/// A comparison that was not seen both ways.
#[derive(Clone, Debug, Serialize)]
pub struct OpenLeaf {
    /// Its file.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its column, from 1, in characters.
    pub column: usize,
    /// It, on one line.
    pub text: String,
    /// Whether it was seen true.
    pub seen_true: bool,
    /// Whether it was seen false.
    pub seen_false: bool,
}

impl Account {
    /// Adds what one case has shown.
    pub(super) fn add(&mut self, set: &Ruleset, sources: &[Source<'_>], coverage: &Coverage) {
        let source = |span: Span| sources.get(span.source as usize);
        // Of another list of files it may be another number.
        let place = |span: Span, what: String| {
            let file = source(span).map_or_else(String::new, |source| source.name.to_owned());
            (file, Span { source: 0, ..span }, what)
        };
        for (ready, seen) in set.rules.iter().zip(&coverage.rules) {
            let rule = self.rules.entry(place(ready.rule.span, ready.rule.name.clone())).or_default();
            rule.is_on |= ready.rule.is_enabled;
            rule.matched += u64::from(seen.matched > 0);
            rule.passed += u64::from(seen.matched == 0 && seen.passed > 0);
            let mut keys = Vec::new();
            for leaf in seen.leaves.iter().filter(|leaf| leaf.counts()) {
                let span = leaf.test.span;
                let key = place(
                    span,
                    format!("{:?} {:?} {:?}", leaf.test.left, leaf.test.operator, leaf.test.right),
                );
                let known = self.leaves.entry(key.clone()).or_insert_with(|| {
                    let text = source(span).map_or("", |source| source.text);
                    let (line, column) = line_and_column(text, span.start as usize);
                    Leaf { line, column, text: snippet(sources, span), ..Leaf::default() }
                });
                known.is_true |= leaf.is_true > 0;
                known.is_false |= leaf.is_false > 0;
                keys.push(key);
            }
            if !keys.is_empty() {
                rule.leaves = keys;
            }
        }
    }

    /// Every rule, by file and place.
    pub fn rules(&self) -> impl Iterator<Item = RuleAccount> {
        self.rules.iter().map(|((file, _, name), cases)| {
            let is_decided = |key: &&(String, Span, String)| {
                self.leaves.get(*key).is_some_and(|leaf| leaf.is_true && leaf.is_false)
            };
            RuleAccount {
                rule: name.clone(),
                file: file.clone(),
                is_on: cases.is_on,
                matched: cases.matched,
                passed: cases.passed,
                leaves: cases.leaves.len(),
                decided: cases.leaves.iter().filter(is_decided).count(),
            }
        })
    }

    /// Comparisons that were not seen both ways, by file and place.
    pub fn open(&self) -> impl Iterator<Item = OpenLeaf> {
        let open = self.leaves.iter().filter(|(_, leaf)| !(leaf.is_true && leaf.is_false));
        open.map(|((file, _, _), leaf)| OpenLeaf {
            file: file.clone(),
            line: leaf.line,
            column: leaf.column,
            text: leaf.text.clone(),
            seen_true: leaf.is_true,
            seen_false: leaf.is_false,
        })
    }

    /// How many comparisons there are.
    pub fn leaves(&self) -> usize {
        self.leaves.len()
    }

    /// Outcomes seen, of two for each comparison.
    pub fn seen(&self) -> usize {
        self.leaves.values().map(|leaf| usize::from(leaf.is_true) + usize::from(leaf.is_false)).sum()
    }

    /// Outcomes seen, in percent of all; 100 where there is nothing to be seen.
    pub fn percent(&self) -> f64 {
        match self.leaves.len() {
            0 => 100.0,
            leaves => self.seen() as f64 / (2 * leaves) as f64 * 100.0,
        }
    }
}
