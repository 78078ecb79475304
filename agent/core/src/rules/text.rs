//! Text that knows where it was written.
//!
//! A condition is put together: folded by YAML, appended to from other files, with lists and
//! exceptions written into it. [`Traced`] keeps, for every byte of the result, the place in a rule file
//! that it came from, so that a mistake is shown where its author can mend it.

use std::ops::Range;

/// Where something stands: bytes `start..end` of the source with this number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Position of the source in the list that was loaded.
    pub source: u32,
    /// First byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// From the start of this to the end of `last`; this one alone if that is elsewhere or before.
    pub fn to(self, last: Self) -> Self {
        if last.source == self.source && last.end > self.start {
            Self { end: last.end, ..self }
        } else {
            self
        }
    }
}

/// Text put together from places in rule files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traced {
    text: String,
    runs: Vec<Run>,
}

/// Bytes from `at` to the next run's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    at: u32,
    span: Span,
    /// Byte by byte as in the source; otherwise all of it stands for the whole span.
    exact: bool,
}

impl Traced {
    /// Text that stands at `span`, but not letter by letter.
    pub fn new(text: &str, span: Span) -> Self {
        let mut traced = Self::default();
        traced.push_str(text, span);
        traced
    }

    /// The whole of the first source.
    pub fn whole(source: &str) -> Self {
        Self::scalar(source, source, Span { source: 0, start: 0, end: source.len() as u32 })
    }

    /// A YAML scalar: `text` is its value and `raw` the source's text at `span`. Folding and indentation
    /// only change the blanks, so each word of the value is found in its turn; a word that was
    /// written with escapes stands for the whole scalar.
    pub fn scalar(text: &str, raw: &str, span: Span) -> Self {
        let mut traced = Self { text: text.to_owned(), runs: Vec::new() };
        let mut seen = 0;
        let mut at = 0;
        for word in text.split_inclusive(char::is_whitespace) {
            let bare = word.trim_end();
            if !bare.is_empty() {
                let run = match raw.get(seen..).and_then(|rest| rest.find(bare)) {
                    Some(found) => {
                        let start = span.start + (seen + found) as u32;
                        seen += found + bare.len();
                        Run { at, span: Span { start, end: start + bare.len() as u32, ..span }, exact: true }
                    }
                    None => Run { at, span, exact: false },
                };
                traced.runs.push(run);
            }
            at += word.len() as u32;
        }
        if traced.runs.is_empty() {
            traced.runs.push(Run { at: 0, span, exact: false });
        }
        traced
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Adds text that stands at `span`, but not letter by letter.
    pub fn push_str(&mut self, text: &str, span: Span) {
        if !text.is_empty() {
            self.runs.push(Run { at: self.text.len() as u32, span, exact: false });
            self.text.push_str(text);
        }
    }

    /// Adds text with its places.
    pub fn push(&mut self, other: &Self) {
        self.push_range(other, 0..other.text.len());
    }

    /// Adds a part of another text with its places. The range is at boundaries of characters.
    pub fn push_range(&mut self, other: &Self, range: Range<usize>) {
        let Some(text) = other.text.get(range.clone()).filter(|text| !text.is_empty()) else { return };
        let (base, start, end) = (self.text.len() as u32, range.start as u32, range.end as u32);
        let first = other.runs.partition_point(|run| run.at <= start).saturating_sub(1);
        for run in other.runs.iter().skip(first).take_while(|run| run.at < end) {
            let cut = start.saturating_sub(run.at);
            let span = match run.exact {
                true => Span { start: (run.span.start + cut).min(run.span.end), ..run.span },
                false => run.span,
            };
            self.runs.push(Run { at: base + run.at.max(start) - start, span, exact: run.exact });
        }
        self.text.push_str(text);
    }

    /// Without blanks at both ends.
    pub fn trimmed(&self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        let mut trimmed = Self::default();
        trimmed.push_range(self, start..start + self.text.trim().len());
        trimmed
    }

    /// Keeps the first `len` bytes, which end at a character's boundary.
    pub fn truncate(&mut self, len: usize) {
        self.text.truncate(len);
        self.runs.retain(|run| (run.at as usize) < len);
    }

    /// Where the bytes of `range` were written: from the place of the first to that of the last, if one file
    /// has both. `None` of a text without places.
    pub fn span(&self, range: Range<usize>) -> Option<Span> {
        let first = self.place(range.start)?;
        let last = self.place(range.end.max(range.start + 1) - 1)?;
        Some(first.to(last))
    }

    /// The place of one byte.
    fn place(&self, at: usize) -> Option<Span> {
        let at = at as u32;
        let run = self.runs.get(self.runs.partition_point(|run| run.at <= at).saturating_sub(1))?;
        if !run.exact {
            return Some(run.span);
        }
        let start = run.span.start + at.saturating_sub(run.at);
        // A blank after a word stands at the word's end.
        Some(if start < run.span.end {
            Span { start, end: start + 1, ..run.span }
        } else {
            Span { start: run.span.end, ..run.span }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u32, end: u32) -> Span {
        Span { source: 0, start, end }
    }

    /// The source's text at the place of `part`, which is in the traced text.
    fn shown<'a>(source: &'a str, traced: &Traced, part: &str) -> &'a str {
        let at = traced.as_str().find(part).expect("it is there");
        let span = traced.span(at..at + part.len()).expect("a place");
        &source[span.start as usize..span.end as usize]
    }

    #[test]
    fn a_folded_scalar_is_found_word_by_word() {
        let source = "- macro: x\n  condition: >\n    evt.type = open\n    and   proc.name = cat\n";
        let start = source.find("evt").unwrap();
        let value = "evt.type = open and   proc.name = cat\n";
        let traced = Traced::scalar(value, &source[start..], span(start as u32, source.len() as u32));
        assert_eq!(traced.as_str(), value);
        assert_eq!(shown(source, &traced, "proc.name"), "proc.name");
        assert_eq!(shown(source, &traced, "name"), "name", "in the middle of a word");
        assert_eq!(shown(source, &traced, "open and"), "open\n    and");
        assert_eq!(shown(source, &traced, "cat\n"), "cat");
    }

    #[test]
    fn what_was_escaped_stands_for_the_whole() {
        let source = r#"output: "a \x41 z""#;
        let traced = Traced::scalar("a A z", &source[9..17], span(9, 17));
        assert_eq!(shown(source, &traced, "A"), r"a \x41 z");
        assert_eq!(shown(source, &traced, "z"), "z");
    }

    #[test]
    fn parts_keep_their_places() {
        let source = "one two three shells";
        let whole = Traced::scalar("one two three", &source[..13], span(0, 13));
        let mut made = Traced::default();
        made.push_range(&whole, 4..9);
        made.push_str("bash, zsh", span(14, 20));
        made.push_range(&whole, 9..13);
        assert_eq!(made.as_str(), "two tbash, zshhree");
        assert_eq!(shown(source, &made, "two"), "two");
        assert_eq!(shown(source, &made, "zsh"), "shells");
        assert_eq!(shown(source, &made, "hree"), "hree");
        assert_eq!(shown(source, &made, "wo t"), "wo t");
        assert_eq!(Traced::default().span(0..1), None);
    }

    #[test]
    fn blanks_at_the_ends_go_and_places_stay() {
        let source = "  one two\n";
        let trimmed = Traced::whole(source).trimmed();
        assert_eq!((trimmed.as_str(), shown(source, &trimmed, "two")), ("one two", "two"));
        assert_eq!(Traced::whole(" \n").trimmed(), Traced::default());
    }

    #[test]
    fn places_in_two_files_are_the_first() {
        let mut made = Traced::new("a", span(3, 4));
        made.push_str(" or b", Span { source: 1, start: 7, end: 9 });
        assert_eq!(made.span(0..6), Some(span(3, 4)));
        assert_eq!(made.span(3..6), Some(Span { source: 1, start: 7, end: 9 }));
    }
}
