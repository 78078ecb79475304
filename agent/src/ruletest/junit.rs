//! What came of tests, as JUnit's XML: what CI systems read.

use std::io::{self, Write};
use std::time::Duration;

use super::Outcome;

/// Writes one suite per file and one test case per case; a file that could not be run is a test case with an error.
///
/// # Errors
/// It cannot be written.
pub fn write(out: &mut dyn Write, outcome: &Outcome) -> io::Result<()> {
    let (tests, failures, errors) = (outcome.cases() + outcome.broken(), outcome.failed(), outcome.broken());
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuites name="tarsier rules test" tests="{tests}" failures="{failures}" errors="{errors}">"#
    )?;
    for suite in &outcome.suites {
        let file = escaped(&suite.file);
        let (tests, errors) = (suite.cases.len().max(1), usize::from(!suite.broken.is_empty()));
        let failures = suite.cases.iter().filter(|case| !case.faults.is_empty()).count();
        let took = suite.cases.iter().map(|case| case.took).sum::<Duration>().as_secs_f64();
        writeln!(
            out,
            r#"  <testsuite name="{file}" tests="{tests}" failures="{failures}" errors="{errors}" time="{took:.6}">"#
        )?;
        if !suite.broken.is_empty() {
            let shown: Vec<&str> = suite.broken.iter().map(|(shown, _)| shown.as_str()).collect();
            writeln!(out, r#"    <testcase name="the file loads" classname="{file}" file="{file}">"#)?;
            writeln!(
                out,
                r#"      <error message="the file cannot be run">{}</error>"#,
                escaped(&shown.join("\n\n"))
            )?;
            writeln!(out, "    </testcase>")?;
        }
        for case in &suite.cases {
            let (name, line, took) = (escaped(&case.name), case.line, case.took.as_secs_f64());
            let head = format!(
                r#"    <testcase name="{name}" classname="{file}" file="{file}" line="{line}" time="{took:.6}""#
            );
            if case.faults.is_empty() {
                writeln!(out, "{head}/>")?;
                continue;
            }
            writeln!(out, "{head}>")?;
            for fault in &case.faults {
                let (message, details) = (escaped(&fault.message), escaped(&fault.details.join("\n")));
                writeln!(out, r#"      <failure message="{message}">{details}</failure>"#)?;
            }
            writeln!(out, "    </testcase>")?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

/// Text as it may stand in an element or attribute. What XML 1.0 cannot hold at all becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(
            escaped("a<b> & \"c\"\n\u{1b}[31m\u{ffff}é"),
            "a&lt;b&gt; &amp; &quot;c&quot;\n\u{fffd}[31m\u{fffd}é"
        );
    }
}
