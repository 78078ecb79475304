//! What came of tests, for people.

use std::io::{self, Write};

use super::{Account, Outcome};

/// Writes what failed, what of the rules was seen, and a verdict. `every`: the cases that passed too.
///
/// # Errors
/// It cannot be written.
pub fn write(out: &mut dyn Write, outcome: &Outcome, every: bool) -> io::Result<()> {
    for suite in &outcome.suites {
        let failed = suite.cases.iter().filter(|case| !case.faults.is_empty()).count();
        match (suite.broken.len(), failed) {
            (0, 0) => writeln!(out, "ok    {}: {}", suite.file, count(suite.cases.len(), "case"))?,
            (0, _) => {
                writeln!(out, "FAIL  {}: {failed} of {}", suite.file, count(suite.cases.len(), "case"))?;
            }
            _ => writeln!(out, "ERROR {}", suite.file)?,
        }
        for (shown, _) in &suite.broken {
            writeln!(out, "\n{shown}\n")?;
        }
        for case in &suite.cases {
            if case.faults.is_empty() {
                if every {
                    writeln!(out, "  ok    {}", case.name)?;
                }
                continue;
            }
            writeln!(out, "  FAIL  {} ({}:{})", case.name, suite.file, case.line)?;
            for fault in &case.faults {
                writeln!(out, "        {}", fault.message)?;
                for detail in &fault.details {
                    writeln!(out, "          {detail}")?;
                }
            }
        }
    }
    coverage(out, &outcome.account)?;
    verdict(out, outcome)
}

fn coverage(out: &mut dyn Write, account: &Account) -> io::Result<()> {
    let rules: Vec<_> = account.rules().filter(|rule| rule.is_on).collect();
    let off = account.rules().filter(|rule| !rule.is_on).count();
    let Some(width) = rules.iter().map(|rule| rule.rule.chars().count()).max() else { return Ok(()) };
    let width = width.clamp(4, 60);
    writeln!(out, "\n{:width$}  matched  passed  comparisons decided", "rule")?;
    for rule in &rules {
        let decided = format!("{} of {}", rule.decided, rule.leaves);
        writeln!(out, "{:width$}  {:7}  {:6}  {decided:>19}", rule.rule, rule.matched, rule.passed)?;
    }
    if off > 0 {
        writeln!(out, "{} off and not tested", count(off, "rule"))?;
    }
    let mut heading = "\nnot decided:\n";
    for leaf in account.open() {
        let never = match (leaf.seen_true, leaf.seen_false) {
            (true, _) => "never false",
            (_, true) => "never true",
            _ => "never asked",
        };
        writeln!(out, "{heading}  {}:{}:{}: {never}: {}", leaf.file, leaf.line, leaf.column, leaf.text)?;
        heading = "";
    }
    Ok(())
}

fn verdict(out: &mut dyn Write, outcome: &Outcome) -> io::Result<()> {
    let (cases, failed, account) = (outcome.cases(), outcome.failed(), &outcome.account);
    let on: Vec<_> = account.rules().filter(|rule| rule.is_on).collect();
    let matched = on.iter().filter(|rule| rule.matched > 0).count();
    write!(out, "\n{}, {} passed, {failed} failed", count(cases, "case"), cases - failed)?;
    if outcome.broken() > 0 {
        write!(out, "; {} could not be run", count(outcome.broken(), "file"))?;
    }
    if account.leaves() == 0 {
        return writeln!(out);
    }
    writeln!(
        out,
        "; {matched} of {} matched; coverage {:.1} % ({} of {} outcomes of {})",
        count(on.len(), "rule"),
        account.percent(),
        account.seen(),
        2 * account.leaves(),
        count(account.leaves(), "comparison"),
    )
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
