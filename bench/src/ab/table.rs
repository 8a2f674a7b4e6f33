//! Two builds side by side for people: what was compared, then the metrics, differences first. Text only;
//! everything is taken from the outcome. Called by `ab`.

use comfy_table::{Cell, CellAlignment};

use super::outcome::{Judged, Outcome};
use crate::compare::table::{change, closing, rank, value, verdict};
use crate::table;

/// The whole text.
#[must_use]
pub fn outcome(outcome: &Outcome) -> String {
    let mut text = format!("A: {}\nB: {}\n", outcome.a, outcome.b);
    if outcome.same_binary {
        text.push_str("the two binaries are the same file: what differs below is noise\n");
    }
    text.push_str(&format!(
        "{} pairs in random order (seed {}) after {} of A against itself; {} more were invalid; bench {}\n",
        outcome.b_first.len(),
        outcome.terms.seed,
        outcome.own_pairs,
        outcome.invalid_pairs,
        outcome.options.join(" ")
    ));
    for reason in &outcome.refused {
        text.push_str(&format!("refused: {reason}\n"));
    }
    if outcome.refused.is_empty() {
        text.push_str(&findings(&outcome.findings));
        text.push_str(&closings(outcome));
    } else {
        text.push_str("not compared; make both alike, or give --force\n");
    }
    for forced in &outcome.forced {
        text.push_str(&format!("FORCED: {forced}\n"));
    }
    for warning in &outcome.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}

fn closings(outcome: &Outcome) -> String {
    let times = outcome
        .findings
        .iter()
        .filter(|judged| !judged.finding.counted)
        .count();
    let mut text = format!(
        "{times} times at {:.1} %: about {:.1} of them would leave 1 out by chance without the noise floor\n",
        outcome.terms.confidence * 100.0,
        times as f64 * (1.0 - outcome.terms.confidence),
    );
    if !outcome.tells() {
        text.push_str("no time could be told: make more pairs\n");
        return text;
    }
    let passed = format!(
        "no time beyond its interval, its noise floor and {:.1} %",
        outcome.terms.threshold * 100.0
    );
    let findings = outcome.findings.iter().map(|judged| &judged.finding);
    text.push_str(&closing(findings, &passed));
    text
}

fn findings(findings: &[Judged]) -> String {
    let head = ["metric", "A", "B", "B against A", "noise floor", "verdict"];
    let mut rows = table::empty(&head);
    let mut ordered: Vec<&Judged> = findings.iter().collect();
    ordered.sort_by_key(|judged| rank(&judged.finding));
    for judged in ordered {
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let finding = &judged.finding;
        let floor = judged.floor.map(|floor| format!("{:.1} %", floor * 100.0));
        rows.add_row(vec![
            Cell::new(&finding.metric),
            right(value(finding, finding.a.median)),
            right(value(finding, finding.b.median)),
            right(change(finding)),
            right(floor.unwrap_or_default()),
            Cell::new(verdict(finding)),
        ]);
    }
    format!("{rows}\n")
}
