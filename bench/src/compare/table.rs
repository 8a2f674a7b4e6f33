//! A comparison for people: differences first, then what shows none, each with how sure it is.

use comfy_table::{Cell, CellAlignment};

use super::judge::{Compared, Finding};
use super::{Comparison, Pairing};
use crate::quantity::scaled;
use crate::table::empty;

/// The whole text.
pub fn comparison(comparison: &Comparison) -> String {
    let mut text = String::new();
    for pairing in &comparison.scenarios {
        text.push_str(&scenario(pairing));
    }
    for name in &comparison.alone {
        text.push_str(&format!("scenario {name} is on one side only\n"));
    }
    text.push_str(&format!(
        "times: ratio of medians B/A with its {:.1} % bootstrap interval; a regression is worse by more than {:.1} % \
         with the whole interval\n",
        comparison.confidence * 100.0,
        comparison.threshold * 100.0
    ));
    text
}

fn scenario(pairing: &Pairing) -> String {
    let mut text = format!(
        "scenario {}\n  A: {}\n  B: {}\n",
        pairing.scenario,
        pairing.a.join(", "),
        pairing.b.join(", ")
    );
    for reason in &pairing.refused {
        text.push_str(&format!("refused: {reason}\n"));
    }
    if !pairing.refused.is_empty() {
        text.push_str("nothing was compared; --force compares all the same\n");
    }
    for warning in &pairing.warned {
        text.push_str(&format!("mind: {warning}\n"));
    }
    if pairing.figures.is_empty() {
        return text;
    }
    let mut table = empty(&["figure", "A", "B", "B/A", "finding"]);
    let mut figures: Vec<&Compared> = pairing.figures.iter().collect();
    figures.sort_by_key(|figure| rank(figure.finding));
    for figure in figures {
        let number = |value: f64| Cell::new(shown(value)).set_alignment(CellAlignment::Right);
        table.add_row(vec![
            Cell::new(figure.metric),
            number(figure.a.median),
            number(figure.b.median),
            Cell::new(ratio(figure)),
            Cell::new(word(figure)),
        ]);
    }
    text.push_str(&format!("{table}\n"));
    text
}

/// Differences first.
fn rank(finding: Finding) -> u8 {
    match finding {
        Finding::Regression => 0,
        Finding::Worse => 1,
        Finding::Better => 2,
        Finding::TooFewSamples => 3,
        Finding::NoDifferenceShown => 4,
    }
}

/// A value as the bench shows it; counts far below 1 keep their digits.
fn shown(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.1 {
        return format!("{value:.6}");
    }
    scaled(value)
}

fn ratio(figure: &Compared) -> String {
    match &figure.ratio {
        Some(ratio) => format!(
            "{:.3} ({:.3} to {:.3})",
            ratio.estimate, ratio.low, ratio.high
        ),
        None if figure.a.median != 0.0 => format!("{:.3}", figure.b.median / figure.a.median),
        None => "-".to_owned(),
    }
}

fn word(figure: &Compared) -> String {
    let counted = figure.rank_p.is_none();
    let word = match figure.finding {
        Finding::Regression => "regression",
        Finding::Worse => "worse, within the threshold",
        Finding::Better => "better",
        Finding::NoDifferenceShown if counted => "the same",
        Finding::NoDifferenceShown => "no difference shown",
        Finding::TooFewSamples => "cannot tell: too few repetitions",
    };
    match figure.rank_p {
        Some(p) if figure.few => format!(
            "{word} (p {p:.3}; {} and {} repetitions are few)",
            figure.a.samples.len(),
            figure.b.samples.len()
        ),
        Some(p) => format!("{word} (p {p:.3})"),
        None => word.to_owned(),
    }
}
