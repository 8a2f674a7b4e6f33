//! A comparison for people: differences first, then what shows none, then what cannot be told. Text only;
//! everything is taken from the findings. Called by `compare`.

use comfy_table::{Cell, CellAlignment};

use super::finding::{Finding, Word};
use super::{Comparison, Named, Pairing};
use crate::quantity::scaled;
use crate::statistics::Spread;
use crate::table;

/// The whole text.
#[must_use]
pub fn comparison(comparison: &Comparison) -> String {
    let scenarios = comparison.scenarios.iter();
    let mut text: String = scenarios.map(scenario).collect();
    for name in &comparison.alone {
        text.push_str(&format!("scenario {name} is on one side only\n"));
    }
    let findings = || comparison.scenarios.iter().flat_map(|one| &one.findings);
    let terms = &comparison.terms;
    let times = findings().filter(|f| f.p.is_some()).count();
    if times > 0 {
        text.push_str(&format!(
            "{times} times held against each other at {:.1} %: {:.1} of them are expected to differ by chance\n",
            terms.confidence * 100.0,
            times as f64 * (1.0 - terms.confidence),
        ));
    }
    text.push_str(&closing(
        findings(),
        &format!(
            "no time by more than {:.1} % over its whole interval",
            terms.threshold * 100.0
        ),
    ));
    text
}

/// What the exit code says, in words; `passed` says what times were held to.
pub fn closing<'a>(findings: impl Iterator<Item = &'a Finding>, passed: &str) -> String {
    let regressed: Vec<String> = findings
        .filter(|finding| finding.regression)
        .map(|finding| format!("{} {}", finding.metric, change(finding)))
        .collect();
    match regressed.len() {
        0 => format!("no regression shown: no count is worse, {passed}\n"),
        1 => format!("1 regression: {}\n", regressed[0]),
        count => format!("{count} regressions: {}\n", regressed.join(", ")),
    }
}

fn scenario(pairing: &Pairing) -> String {
    let mut text = format!("scenario {}\n", pairing.scenario);
    for (letter, side) in [("A", &pairing.a), ("B", &pairing.b)] {
        text.push_str(&named(letter, side));
    }
    for reason in &pairing.refused {
        text.push_str(&format!("refused: {reason}\n"));
    }
    if pairing.refused.is_empty() {
        text.push_str(&findings(&pairing.findings));
    } else {
        text.push_str("not compared; make both records alike, or give --force\n");
    }
    for forced in &pairing.forced {
        text.push_str(&format!("FORCED: {forced}\n"));
    }
    for warning in &pairing.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}

fn named(letter: &str, side: &Named) -> String {
    let files = match side.files.as_slice() {
        [one] => one.clone(),
        many => format!(
            "{} records, {} to {}",
            many.len(),
            many[0],
            many[many.len() - 1]
        ),
    };
    let steal = side.steal_share * 100.0;
    format!("{letter}: {} ({files}), steal {steal:.1} %\n", side.commit)
}

/// The table of findings; times are shown by change and interval, counts by their change alone.
#[must_use]
pub fn findings(findings: &[Finding]) -> String {
    let head = ["metric", "A", "B", "B against A", "noise A, B", "verdict"];
    let mut rows = table::empty(&head);
    let mut ordered: Vec<&Finding> = findings.iter().collect();
    ordered.sort_by_key(|finding| rank(finding));
    for finding in ordered {
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        rows.add_row(vec![
            Cell::new(&finding.metric),
            right(value(finding, finding.a.median)),
            right(value(finding, finding.b.median)),
            right(change(finding)),
            right(noise(finding)),
            Cell::new(verdict(finding)),
        ]);
    }
    format!("{rows}\n")
}

/// Order of the rows: regressions, other differences, then the rest as the metrics are listed.
pub fn rank(finding: &Finding) -> (bool, u8) {
    let group = match finding.word {
        Word::Worse => 0,
        Word::Better => 1,
        Word::Differs => 2,
        Word::NoneShown => 3,
        Word::Same => 4,
        Word::CannotTell => 5,
    };
    (!finding.regression, group)
}

/// Spread of the samples of each side as a share of its median; nothing where one sample has none.
fn noise(finding: &Finding) -> String {
    if finding.a.samples.len().max(finding.b.samples.len()) < 2 {
        return String::new();
    }
    let share = |spread: &Spread| format!("{:.1}", spread.relative() * 100.0);
    format!("{}, {} %", share(&finding.a), share(&finding.b))
}

pub fn verdict(finding: &Finding) -> String {
    let control = match finding.control {
        true => " (machine)",
        false => "",
    };
    let word = match finding.regression {
        true => "REGRESSION".to_owned(),
        false => finding.word.to_string(),
    };
    match finding.note.is_empty() {
        true => format!("{word}{control}"),
        false => format!("{word}: {}{control}", finding.note),
    }
}

pub fn value(finding: &Finding, value: f64) -> String {
    if !finding.counted {
        return scaled(value);
    }
    // Counts are exact: digits enough to see a difference of one in a million.
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.4}"),
        _ => format!("{value:.7}"),
    }
}

/// The change in per cent, with the ends of its interval for a time.
#[must_use]
pub fn change(finding: &Finding) -> String {
    let Some(ratio) = finding.ratio else {
        return String::new();
    };
    let percent = |ratio: f64| format!("{:+.1}", (ratio - 1.0) * 100.0);
    match finding.counted {
        true => format!("{:+.3} %", (ratio.estimate - 1.0) * 100.0),
        false => format!(
            "{} % [{}, {}]",
            percent(ratio.estimate),
            percent(ratio.low),
            percent(ratio.high)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::finding::{Terms, groups};
    use crate::compare::metrics::METRICS;

    #[test]
    fn differences_come_first_and_intervals_with_them() {
        let terms = Terms {
            confidence: 0.95,
            threshold: 0.01,
            seed: 1,
        };
        let a: Vec<f64> = (0..8).map(|i| 100.0 + f64::from(i) / 100.0).collect();
        let b: Vec<f64> = a.iter().map(|a| a * 0.9).collect();
        let same = groups(&METRICS[1], &a, &a, &terms).unwrap();
        let slower = groups(&METRICS[0], &a, &b, &terms).unwrap();
        let text = findings(&[same, slower]);
        let at = |words: &str| {
            text.find(words)
                .unwrap_or_else(|| panic!("{words}: {text}"))
        };
        assert!(at("REGRESSION") < at("no difference shown"), "{text}");
        assert!(text.contains("-10.0 % [-10."), "{text}");
    }
}
