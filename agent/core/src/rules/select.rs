//! Switches rules on and off, by name or tag, one entry after the other.

use super::glob;
use super::ruleset::Ruleset;

/// One entry of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What becomes of the rules that it names.
    pub enable: bool,
    /// Which.
    pub which: Which,
}

/// Which rules an entry names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those whose name matches the pattern as a whole: `*` stands for any text.
    Rule(String),
    /// Those that have the tag.
    Tag(String),
}

/// Applies entries in their order; a later one wins. Rules keep their order. Returns the entries that name no rule.
pub fn select<'a>(set: &mut Ruleset, entries: &'a [Entry]) -> Vec<&'a Entry> {
    let mut idle = Vec::new();
    for entry in entries {
        let mut found = false;
        for ready in &mut set.rules {
            let rule = &mut ready.rule;
            let is_named = match &entry.which {
                // Of names only `*` is a pattern: they hold brackets and question marks.
                Which::Rule(pattern) => glob::matches(&only_stars(pattern), rule.name.as_bytes(), false),
                Which::Tag(tag) => rule.tags.contains(tag),
            };
            if is_named {
                rule.is_enabled = entry.enable;
                found = true;
            }
        }
        if !found {
            idle.push(entry);
        }
    }
    idle
}

/// A pattern in which nothing but `*` means anything.
fn only_stars(pattern: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(pattern.len());
    for byte in pattern.bytes() {
        if matches!(byte, b'?' | b'[' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::load::Source;

    #[test]
    fn entries_apply_in_their_order() {
        let rule = |name: &str, tags: &str| {
            format!(
                "- rule: {name}\n  desc: d\n  output: o\n  priority: INFO\n  condition: proc.name = x\n  tags: [{tags}]\n"
            )
        };
        let text =
            rule("Netcat Run", "network") + &rule("Shell [old]", "shell, network") + &rule("Drift", "file");
        let set = Ruleset::load(&[Source { name: "1", text: &text }]);
        let by_name = |enable, name: &str| Entry { enable, which: Which::Rule(name.to_owned()) };
        let by_tag = |enable, tag: &str| Entry { enable, which: Which::Tag(tag.to_owned()) };
        let table = [
            (vec![], "111", 0),
            (vec![by_name(false, "*")], "000", 0),
            (vec![by_name(false, "*"), by_name(true, "Netcat*")], "100", 0),
            (vec![by_name(true, "Netcat*"), by_name(false, "*")], "000", 0),
            (vec![by_tag(false, "network")], "001", 0),
            (vec![by_tag(false, "network"), by_name(true, "Shell [old]")], "011", 0),
            (vec![by_name(false, "Shell ?old]"), by_name(false, "drift"), by_tag(false, "net")], "111", 3),
        ];
        for (entries, expected, idle) in table {
            let mut set = set.clone();
            let found = select(&mut set, &entries).len();
            let on: String =
                set.rules.iter().map(|ready| if ready.rule.is_enabled { '1' } else { '0' }).collect();
            assert_eq!((on.as_str(), found), (expected, idle), "{entries:?}");
        }
    }
}
