//! `docs/benchmarks.svg`: the changes of the paired workloads, as bars with their spread and their budget.

use std::fmt::Write as _;

/// One bar.
pub(super) struct Bar {
    /// What was measured.
    pub(super) name: String,
    /// Percent: the median, the least, the greatest.
    pub(super) median: f64,
    /// See `median`.
    pub(super) least: f64,
    /// See `median`.
    pub(super) greatest: f64,
    /// Most that is allowed, percent.
    pub(super) budget: Option<f64>,
}

/// Width of the names, of the plot, and what stands to its right, pixels.
const NAMES: f64 = 290.0;
const PLOT: f64 = 440.0;
const FIGURES: f64 = 110.0;
const ROW: f64 = 34.0;
const TOP: f64 = 56.0;

/// The picture.
pub(super) fn svg(title: &str, bars: &[Bar]) -> String {
    let low = bars.iter().map(|bar| bar.least).fold(0.0, f64::min).floor();
    let high = bars.iter().map(|bar| bar.greatest.max(bar.budget.unwrap_or(0.0))).fold(1.0, f64::max).ceil();
    let x = |percent: f64| NAMES + (percent - low) / (high - low) * PLOT;
    let (width, height) = (NAMES + PLOT + FIGURES, TOP + ROW * bars.len() as f64 + 40.0);
    let bottom = TOP + ROW * bars.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"16\" fill=\"#222\">{}</text>\n",
        escaped(title)
    );
    let mut put = |line: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{line}");
    };
    for step in 0..=4 {
        let percent = low + (high - low) * f64::from(step) / 4.0;
        let at = x(percent);
        put(format_args!(
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#e3e3e3\"/>"
        ));
        put(format_args!(
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">{percent:+.1} %</text>",
            bottom + 18.0
        ));
    }
    for (index, bar) in bars.iter().enumerate() {
        let middle = TOP + ROW * index as f64 + ROW / 2.0;
        let (from, to) = (x(bar.median.min(0.0)), x(bar.median.max(0.0)));
        let over = bar.budget.is_some_and(|budget| bar.median > budget);
        let colour = if over { "#c0392b" } else { "#2e7d6b" };
        put(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#222\">{}</text>",
            NAMES - 10.0,
            middle + 4.0,
            escaped(&bar.name)
        ));
        put(format_args!(
            "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\" fill=\"{colour}\"/>",
            middle - 7.0,
            (to - from).max(1.0)
        ));
        put(format_args!(
            "<line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"#444\"/>",
            x(bar.least),
            x(bar.greatest)
        ));
        if let Some(budget) = bar.budget {
            let at = x(budget);
            put(format_args!(
                "<line x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#c0392b\" stroke-width=\"2\"/>",
                middle - 12.0,
                middle + 12.0
            ));
        }
        put(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#222\">{:+.2} %</text>",
            NAMES + PLOT + 14.0,
            middle + 4.0,
            bar.median
        ));
    }
    let zero = x(0.0);
    put(format_args!(
        "<line x1=\"{zero:.1}\" y1=\"{TOP}\" x2=\"{zero:.1}\" y2=\"{bottom}\" stroke=\"#222\"/>"
    ));
    put(format_args!(
        "<text x=\"12\" y=\"42\" fill=\"#666\">bar: median of the pairs; thin line: least to greatest; red mark: budget</text>\n</svg>"
    ));
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_over_its_budget_is_red_and_text_is_escaped() {
        let bar = |median: f64| Bar {
            name: "a < b".into(),
            median,
            least: median - 1.0,
            greatest: median + 1.0,
            budget: Some(3.0),
        };
        let picture = svg("t", &[bar(2.0), bar(5.0)]);
        assert_eq!(picture.matches("fill=\"#c0392b\"").count(), 1);
        assert_eq!(picture.matches("a &lt; b").count(), 2);
        assert!(picture.trim_end().ends_with("</svg>"));
    }
}
