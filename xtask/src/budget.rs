//! `ebpf/budget.txt`: what each program takes, one row each. Its size and stack come from the object, the
//! limit of verified instructions from a person, and what each kernel's verifier counted from a run of
//! `cargo xtask kernels --write`. The kernel tests hold every kernel to the limit.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::listing::Function;

/// Before the names of kernels.
const COLUMNS: [&str; 5] = ["program", "section", "instructions", "stack", "limit"];
/// A number that nobody has set or counted.
const UNKNOWN: &str = "-";

/// The table, without its first three columns, which are the object's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Names of kernels, as columns.
    kernels: Vec<String>,
    rows: BTreeMap<String, Row>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    limit: Option<u64>,
    /// Verified instructions by kernel.
    verified: BTreeMap<String, u64>,
}

impl Budget {
    /// Reads the file. What is not a row of it is passed over: it is written anew.
    pub(crate) fn parse(text: &str) -> Self {
        let mut budget = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.trim_start_matches("# ").split_whitespace().collect();
            if words.first() == Some(&COLUMNS[0]) {
                budget.kernels = words.iter().skip(COLUMNS.len()).map(|word| (*word).to_owned()).collect();
            } else if !line.starts_with('#')
                && let Some((name, numbers)) = words.split_first()
            {
                let numbers = numbers.iter().skip(3).map(|word| word.parse().ok());
                let mut numbers = numbers.chain(std::iter::repeat(None));
                let limit = numbers.next().flatten();
                let counted = budget.kernels.iter().cloned().zip(numbers);
                let verified = counted.filter_map(|(kernel, count)| Some((kernel, count?))).collect();
                budget.rows.insert((*name).to_owned(), Row { limit, verified });
            }
        }
        budget
    }

    /// Replaces what `kernel` counted. It gets a column even if it counted nothing.
    pub(crate) fn count(&mut self, kernel: &str, verified: &BTreeMap<String, u64>) {
        if !self.kernels.iter().any(|known| known == kernel) {
            self.kernels.push(kernel.to_owned());
        }
        for (program, row) in &mut self.rows {
            row.verified.remove(kernel);
            if let Some(&count) = verified.get(program) {
                row.verified.insert(kernel.to_owned(), count);
            }
        }
    }

    /// The file, for these programs of the object. A new one has no limit yet: its test fails until a
    /// person has set one.
    pub(crate) fn table(&self, functions: &BTreeMap<String, Function>) -> String {
        let mut text = String::from(
            "# Per program: instruction slots of 8 bytes and stack in bytes (limit 400), by `cargo xtask ebpf`; most\n\
             # instructions that a verifier may have to look at, set by hand; what each kernel's verifier looked at, by\n\
             # `cargo xtask kernels --write` (- before 5.16, which does not say). A kernel refuses a million.\n\
             # A function in .text is looked at with each program that calls it, and its stack comes on top of theirs.\n",
        );
        let [program, section, instructions, stack, limit] = COLUMNS;
        let program = format!("# {program}");
        let mut line = format!("{program:<16} {section:<28} {instructions:>12} {stack:>5} {limit:>7}");
        for kernel in &self.kernels {
            let _ = write!(line, " {kernel:>7}");
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
        let unset = Row::default();
        for (name, Function { section, instructions, stack, .. }) in functions {
            let row = self.rows.get(name).unwrap_or(&unset);
            let number = |value: Option<&u64>| value.map_or(UNKNOWN.to_owned(), u64::to_string);
            let limit = number(row.limit.as_ref());
            let _ = write!(text, "{name:<16} {section:<28} {instructions:>12} {stack:>5} {limit:>7}");
            for kernel in &self.kernels {
                let _ = write!(text, " {:>7}", number(row.verified.get(kernel)));
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Budget;
    use crate::listing::Function;

    #[test]
    fn numbers_that_are_not_the_objects_outlive_a_rebuild() {
        let function =
            |instructions| Function { section: "tp_btf/x".into(), instructions, ..Function::default() };
        let old: BTreeMap<_, _> = [("a".to_owned(), function(7))].into();
        let fresh = Budget::default().table(&old);
        assert!(fresh.lines().last().unwrap().ends_with(" -"), "no limit yet:\n{fresh}");
        let limited = fresh.replace(" -", " 500");
        let mut budget = Budget::parse(&limited);
        budget.count("5.10", &BTreeMap::new());
        budget.count("6.1", &[("a".to_owned(), 12), ("gone".to_owned(), 3)].into());
        let new: BTreeMap<_, _> = [("a".to_owned(), function(9)), ("b".to_owned(), function(1))].into();
        let text = budget.table(&new);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[0], ["a", "tp_btf/x", "9", "0", "500", "-", "12"]);
        assert_eq!(rows[1], ["b", "tp_btf/x", "1", "0", "-", "-", "-"]);
        assert_eq!(Budget::parse(&text).table(&new), text, "what is written reads back");
    }
}
