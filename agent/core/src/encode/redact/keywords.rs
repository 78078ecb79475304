//! Words without which no pattern matches: most command lines hold none, and are found clean by one look
//! at all of their bytes.
//!
//! A superset by construction, and tested to be one: whoever adds a pattern adds what it cannot do without.

use aho_corasick::packed::Searcher;
use aho_corasick::{AhoCorasick, Span};

use super::HIDDEN;

/// What a word is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// A name of secrets.
    Name,
    /// A pattern by itself.
    Text,
    /// A pattern that also needs white space: a command line within an argument.
    Spaced,
    /// A pattern that also needs an `@`.
    Url,
}

/// In lower case: how a text spells it does not matter here.
const KEYWORDS: &[(&str, Need)] = &[
    ("pass", Need::Name),
    ("secret", Need::Name),
    ("token", Need::Name),
    ("credential", Need::Name),
    ("key", Need::Name),
    ("pwd", Need::Name),
    ("auth", Need::Name),
    ("cookie", Need::Text),
    ("bearer", Need::Spaced),
    ("://", Need::Url),
    ("mysql", Need::Spaced),
    ("mariadb", Need::Spaced),
    ("redis-cli", Need::Spaced),
    ("login", Need::Spaced),
    ("curl", Need::Spaced),
    ("identified", Need::Spaced),
    ("akia", Need::Text),
    ("asia", Need::Text),
    ("eyj", Need::Text),
    ("ghp_", Need::Text),
    ("gho_", Need::Text),
    ("ghu_", Need::Text),
    ("ghs_", Need::Text),
    ("ghr_", Need::Text),
    ("github_pat_", Need::Text),
    ("glpat-", Need::Text),
    ("xox", Need::Text),
    ("k_live_", Need::Text),
    ("k_test_", Need::Text),
    ("sk-", Need::Text),
    ("hvs.", Need::Text),
    ("npm_", Need::Text),
    ("pypi-", Need::Text),
    ("aiza", Need::Text),
    ("-----begin", Need::Text),
];

/// What a text may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// A name of secrets.
    pub(super) name: bool,
    /// Something that one of the patterns looks for.
    pub(super) text: bool,
}

/// Finds the words.
#[derive(Clone, Debug)]
pub(super) struct Keywords {
    engine: Engine,
}

#[derive(Clone, Debug)]
enum Engine {
    /// Sixteen bytes or more at once, where the processor can.
    Packed(Searcher),
    Automaton(AhoCorasick),
}

impl Keywords {
    pub(super) fn new() -> Self {
        let words = || KEYWORDS.iter().map(|(word, _)| word);
        let engine = match Searcher::new(words()) {
            Some(searcher) => Engine::Packed(searcher),
            None => Engine::Automaton(AhoCorasick::new(words()).expect("a few short words")),
        };
        Self { engine }
    }

    /// What `text`, which is in lower case, may hold.
    pub(super) fn find(&self, text: &[u8]) -> Found {
        let mut found = Found { name: false, text: memchr::memchr(HIDDEN, text).is_some() };
        let mut start = 0;
        while let Some((at, need)) = self.next(text, start) {
            match need {
                Need::Name => return Found { name: true, text: true },
                Need::Text => found.text = true,
                Need::Spaced if found.text => {}
                Need::Spaced => found.text = text.iter().any(|byte| is_space(*byte)),
                Need::Url if found.text => {}
                Need::Url => found.text = memchr::memchr(b'@', text).is_some(),
            }
            // Words may overlap.
            start = at + 1;
        }
        found
    }

    /// The first word at or after `start`.
    fn next(&self, text: &[u8], start: usize) -> Option<(usize, Need)> {
        let found = match &self.engine {
            Engine::Packed(searcher) => searcher.find_in(text, Span::from(start..text.len()))?,
            Engine::Automaton(automaton) => automaton.find(aho_corasick::Input::new(text).range(start..))?,
        };
        Some((found.start(), KEYWORDS.get(found.pattern().as_usize())?.1))
    }
}

/// Of bytes, what `\s` is in the patterns.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
