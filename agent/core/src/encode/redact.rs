//! Secrets in arguments, hidden before they leave the process.
//!
//! An argument is looked at in its place (the flag before it, the program it belongs to) and then by
//! pattern anywhere in its text: `sh -c` carries whole command lines in one argument. What is hidden
//! becomes [`MARK`]; names, users and hosts stay readable. Where a name leaves doubt it is hidden.

mod keywords;
mod patterns;
mod programs;

use regex::bytes::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use crate::event::Argv;

use keywords::{Found, Keywords};
pub use patterns::DEFAULTS;
use patterns::{ASSIGNMENT, PATTERNS, SECRET_FLAG, expand};
use programs::Place;

/// What stands where a secret was.
pub const MARK: &str = "[REDACTED]";

/// What stands for each byte of a secret in a capture. The redactor of a replay makes [`MARK`] of a row
/// of them. (ASCII SUBSTITUTE: no argument that people write holds it.)
pub const HIDDEN: u8 = 0x1A;

/// Whether and what to hide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedactConfig {
    /// Off: arguments leave as they are.
    pub enabled: bool,
    /// Further regular expressions, over bytes: `\w` and the like are ASCII. With a capture group, what group 1 matched is hidden; without,
    /// the whole match.
    pub patterns: Vec<String>,
}

impl Default for RedactConfig {
    fn default() -> Self {
        Self { enabled: true, patterns: Vec::new() }
    }
}

/// A pattern that is not a regular expression.
#[derive(Debug, thiserror::Error)]
#[error("redaction pattern {pattern:?} is not usable: {source}")]
pub struct RedactError {
    /// As configured.
    pub pattern: String,
    /// What is wrong with it.
    pub source: regex::Error,
}

/// Hides secrets in arguments.
#[derive(Clone, Debug)]
pub struct Redactor {
    /// [`None`]: switched off.
    rules: Option<Rules>,
}

/// Memory for [`Redactor::redact`], used again and again.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// The arguments in lower case.
    lower: Vec<u8>,
    /// The arguments, secrets hidden.
    hidden: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Rules {
    keywords: Keywords,
    /// There are patterns of the user's: what they look for is not known.
    configured: bool,
    /// All of `texts`, as one automaton: most arguments match none.
    any: RegexSet,
    texts: Vec<(Regex, Keep)>,
    /// A flag or a variable and its value, which is all the rest, whatever is in it.
    assignment: Regex,
    /// A flag whose value is the next argument.
    flag: Regex,
}

/// What a secret becomes.
#[derive(Clone, Copy, Debug)]
enum Cover {
    /// [`MARK`].
    Mark,
    /// As many bytes of [`HIDDEN`].
    Bytes,
}

impl Cover {
    fn hide(self, secret: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Mark => out.extend_from_slice(MARK.as_bytes()),
            Self::Bytes => out.resize(out.len() + secret.len(), HIDDEN),
        }
    }
}

/// What of a match stays.
#[derive(Clone, Copy, Debug)]
enum Keep {
    /// Groups 1 (before) and 2 (after): our own patterns.
    Around,
    /// Everything outside group 1, or nothing: configured patterns.
    Outside,
}

impl Redactor {
    /// Compiles the default patterns and the configured ones.
    ///
    /// # Errors
    /// Names the first configured pattern that is not a regular expression.
    pub fn new(config: &RedactConfig) -> Result<Self, RedactError> {
        if !config.enabled {
            return Ok(Self { rules: None });
        }
        let own = PATTERNS.iter().map(|pattern| (expand(pattern), Keep::Around));
        let configured = config.patterns.iter().map(|pattern| (pattern.clone(), Keep::Outside));
        let sources: Vec<_> = own.chain(configured).collect();
        let configured = sources.len() > PATTERNS.len();
        let mut texts = Vec::new();
        for (source, keep) in &sources {
            texts.push((compile(source)?, *keep));
        }
        let any = RegexSetBuilder::new(sources.iter().map(|(source, _)| source))
            .unicode(false)
            .size_limit(SIZE_LIMIT)
            .build()
            .map_err(|source| RedactError { pattern: "all patterns together".to_owned(), source })?;
        let assignment = compile(&expand(ASSIGNMENT))?;
        let flag = compile(&expand(SECRET_FLAG))?;
        let keywords = Keywords::new();
        Ok(Self { rules: Some(Rules { keywords, configured, any, texts, assignment, flag }) })
    }

    /// `argv` with its secrets hidden: as it is where there are none, else in `scratch`.
    pub fn redact<'a>(&self, argv: Argv<'a>, scratch: &'a mut Scratch) -> Argv<'a> {
        self.hide(argv, Cover::Mark, scratch)
    }

    /// As [`Self::redact`], but each byte of a secret becomes [`HIDDEN`]: lengths stay.
    pub fn mask<'a>(&self, argv: Argv<'a>, scratch: &'a mut Scratch) -> Argv<'a> {
        self.hide(argv, Cover::Bytes, scratch)
    }

    fn hide<'a>(&self, argv: Argv<'a>, cover: Cover, scratch: &'a mut Scratch) -> Argv<'a> {
        match &self.rules {
            Some(rules) if rules.suspect(argv, &mut scratch.lower) => {
                rules.hide(argv, cover, scratch);
                Argv::new(&scratch.hidden)
            }
            _ => argv,
        }
    }
}

impl Rules {
    /// Whether the arguments may hold a secret. Leaves them in `lower` case.
    fn suspect(&self, argv: Argv<'_>, lower: &mut Vec<u8>) -> bool {
        lower.clear();
        lower.extend_from_slice(argv.bytes());
        lower.make_ascii_lowercase();
        let mut place = Place::default();
        if let Some(first) = argv.first() {
            place.pass(first);
        }
        self.configured || place.is_special() || self.keywords.find(lower).text
    }

    /// Leaves the arguments in `scratch.hidden`, their secrets hidden.
    fn hide(&self, argv: Argv<'_>, cover: Cover, scratch: &mut Scratch) {
        let Scratch { lower, hidden } = scratch;
        hidden.clear();
        let (mut place, mut before) = (Place::default(), Found::default());
        let mut position = 0;
        for argument in argv.iter() {
            let end = position + argument.len();
            let mut found = self.keywords.find(lower.get(position..end).unwrap_or_default());
            found.text |= self.configured;
            self.argument(argument, &place, (before.name, found), cover, hidden);
            hidden.push(0);
            place.pass(argument);
            (before, position) = (found, end + 1);
        }
        if !argv.bytes().ends_with(b"\0") {
            hidden.pop();
        }
    }

    /// Appends `argument`, which stands at `place`, with its secrets hidden. `found` are words in it, and before
    /// that whether the argument before it names a secret.
    fn argument(
        &self,
        argument: &[u8],
        place: &Place<'_>,
        (named, found): (bool, Found),
        cover: Cover,
        out: &mut Vec<u8>,
    ) {
        let is_flag = argument.starts_with(b"-");
        if named && !is_flag && place.previous.is_some_and(|previous| self.flag.is_match(previous)) {
            cover.hide(argument, out);
            return;
        }
        let assigned = || {
            let whole = found.name && !place.is_command_line() && self.assignment.is_match(argument);
            // A name holds no `=`: the value begins after the first.
            whole.then(|| argument.iter().position(|byte| *byte == b'=').map_or(0, |equals| equals + 1))
        };
        if let Some(start) = place.secret_start(argument).or_else(assigned) {
            let (kept, secret) = argument.split_at_checked(start).unwrap_or_default();
            out.extend_from_slice(kept);
            cover.hide(secret, out);
            return;
        }
        if !found.text || !self.any.is_match(argument) {
            out.extend_from_slice(argument);
            return;
        }
        let mut text = argument.to_vec();
        for (regex, keep) in &self.texts {
            text = regex
                .replace_all(&text, |captures: &Captures<'_>| replace(captures, *keep, cover))
                .into_owned();
        }
        out.extend_from_slice(&text);
    }
}

/// A pattern that compiles to more bytes than this is a mistake, and would cost it in memory.
const SIZE_LIMIT: usize = 16 << 20;

fn compile(pattern: &str) -> Result<Regex, RedactError> {
    // Arguments are bytes; ASCII classes keep the automata small.
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|source| RedactError { pattern: pattern.to_owned(), source })
}

fn group<'a>(captures: &Captures<'a>, number: usize) -> &'a [u8] {
    captures.get(number).map_or(&[], |group| group.as_bytes())
}

fn replace(captures: &Captures<'_>, keep: Keep, cover: Cover) -> Vec<u8> {
    let whole = group(captures, 0);
    let (before, after) = match (keep, captures.get(1), captures.get(0)) {
        (Keep::Around, ..) => (group(captures, 1), group(captures, 2)),
        (Keep::Outside, Some(secret), Some(all)) => {
            (&whole[..secret.start() - all.start()], &whole[secret.end() - all.start()..])
        }
        (Keep::Outside, ..) => (&[][..], &[][..]),
    };
    let mut out = before.to_vec();
    cover.hide(whole.get(before.len()..whole.len() - after.len()).unwrap_or_default(), &mut out);
    out.extend_from_slice(after);
    out
}

#[cfg(test)]
mod tests;
