//! Lists are written into conditions as text, before anything is parsed.
//!
//! A list stands wherever its name stands between blanks, parentheses, commas, `=` and the ends: in parentheses
//! (`in (shells)`), beside other values, and, as rule files have come to rely on, inside of quoted strings.

use std::ops::Range;

use super::collect::Definitions;
use super::exceptions::quoted;
use crate::rules::text::Traced;

/// Longest that a condition may be with its lists, in bytes: lists of lists of lists end.
pub(super) const MAX_TEXT: usize = 1 << 20;

/// The lists of all files, each with what it holds after names of earlier lists among its items are written out, one level
/// deep. What is deeper is written out in the condition.
pub(super) struct Lists<'a> {
    lists: &'a Definitions<Vec<Traced>>,
    items: Vec<Vec<&'a Traced>>,
    used: Vec<bool>,
    is_too_long: bool,
}

impl<'a> Lists<'a> {
    /// Writes names among the items out.
    pub(super) fn new(lists: &'a Definitions<Vec<Traced>>) -> Self {
        let mut used = vec![false; lists.iter().len()];
        let mut items = Vec::with_capacity(used.len());
        for list in lists.iter() {
            let mut all = Vec::with_capacity(list.what.len());
            for item in &list.what {
                match lists.place(item.as_str()).zip(lists.get(item.as_str())) {
                    Some((place, other)) if other.index < list.visibility => {
                        used[place] = true;
                        all.extend(&other.what);
                    }
                    _ => all.push(item),
                }
            }
            items.push(all);
        }
        Self { lists, items, used, is_too_long: false }
    }

    /// Whether the list at this place was written out anywhere.
    pub(super) fn is_used(&self, place: usize) -> bool {
        self.used.get(place).copied().unwrap_or(false)
    }

    /// Writes the lists that `text` names into it. `in_quotes` is told where a name stood in a quoted string. `None`: it
    /// would be longer than [`MAX_TEXT`].
    pub(super) fn write_into(
        &mut self,
        text: &Traced,
        in_quotes: &mut dyn FnMut(Range<usize>, &str),
    ) -> Option<Traced> {
        self.is_too_long = false;
        let whole = self.expand(text, 0, in_quotes).unwrap_or_else(|| text.clone());
        (!self.is_too_long).then_some(whole)
    }

    /// With lists from `least` on; nothing if none is named.
    fn expand(
        &mut self,
        text: &Traced,
        least: usize,
        in_quotes: &mut dyn FnMut(Range<usize>, &str),
    ) -> Option<Traced> {
        let mut out: Option<Traced> = None;
        // Up to here the text is in `out`.
        let mut done = 0;
        let mut quote = None;
        let mut seen = 0;
        for token in Tokens(text.as_str(), 0) {
            if self.is_too_long || out.as_ref().is_some_and(|out| out.as_str().len() > MAX_TEXT) {
                self.is_too_long = true;
                return None;
            }
            let name = &text.as_str()[token.clone()];
            let Some(place) = self.lists.place(name).filter(|place| *place >= least) else { continue };
            quote = quote_after(&text.as_str()[seen..token.start], quote);
            seen = token.start;
            if quote.is_some() {
                in_quotes(token.clone(), name);
            }
            self.used[place] = true;
            let out = out.get_or_insert_default();
            out.push_range(text, done..token.start);
            done = self.write(out, text, &token, place);
        }
        let mut out = out?;
        out.push_range(text, done..text.as_str().len());
        Some(out)
    }

    /// Writes one list in place of its name; returns where the text goes on.
    fn write(&mut self, out: &mut Traced, text: &Traced, name: &Range<usize>, place: usize) -> usize {
        let source = text.as_str();
        let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
        let mut end =
            name.end + source[name.end..].len() - source[name.end..].trim_start_matches(blank).len();
        out.truncate(out.as_str().trim_end_matches(blank).len());
        let span = text.span(name.clone());
        let mut items = Traced::default();
        for item in self.items[place].clone() {
            let Some(span) = span else { continue };
            if !items.as_str().is_empty() {
                items.push_str(", ", span);
            }
            // The name in the condition is where its author can mend it.
            items.push_str(quoted(item, span).as_str(), span);
        }
        if items.as_str().is_empty() {
            // No list between two commas, or beside one.
            if out.as_str().ends_with(',') {
                out.truncate(out.as_str().len() - 1);
            } else if source[end..].starts_with(',') {
                end += 1;
            }
        }
        let items = self.expand(&items, place + 1, &mut |_, _| {}).unwrap_or(items);
        if let Some(span) = span {
            if !out.as_str().is_empty() {
                out.push_str(" ", span);
            }
            out.push(&items);
            out.push_str(" ", span);
        }
        end
    }
}

/// The quote that is open after `text`, if `open` is before it.
fn quote_after(text: &str, mut open: Option<char>) -> Option<char> {
    let mut before = '\0';
    for c in text.chars() {
        match open {
            Some(quote) if c == quote && before != '\\' => open = None,
            None if matches!(c, '"' | '\'') => open = Some(c),
            _ => {}
        }
        before = c;
    }
    open
}

/// What stands between blanks, parentheses, commas and `=`.
struct Tokens<'a>(&'a str, usize);

impl Iterator for Tokens<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let delimits = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '(' | ')' | ',' | '=');
        let start = self.1 + self.0[self.1..].find(|c| !delimits(c))?;
        let end = self.0[start..].find(delimits).map_or(self.0.len(), |len| start + len);
        self.1 = end;
        Some(start..end)
    }
}
