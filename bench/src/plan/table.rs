//! A plan for people: lines by section, modes side by side, what was varied, what was predicted, where the
//! coefficients come from, and what lies beyond the records. Text only. Called by `plan`.

use comfy_table::{Cell, CellAlignment};

use super::Plan;
use super::check::Checked;
use super::cost::Stretch;
use super::estimate::Estimate;
use super::sizing::Line;
use super::what_if::WhatIf;
use crate::quantity::{grouped, scaled};
use crate::table::empty;

/// Widest list of records in a row.
const RECORDS_SHOWN: usize = 2;

/// Whole numbers up to here are shown digit by digit: workers, machines, places.
const COUNT_SHOWN: f64 = 1e9;

/// The whole text.
#[must_use]
pub fn plan(plan: &Plan) -> String {
    let assumed = &plan.assumptions;
    let mut text = format!(
        "plan {}: {} subscribers, {} devices each, {} pushes in the busy hour, peak {}, mode {}\n",
        assumed.name,
        scaled(assumed.subscribers),
        assumed.devices_per_subscriber,
        assumed.pushes_per_busy_hour,
        assumed.peak_factor,
        assumed.mode
    );
    text.push_str(&lines(&plan.lines));
    text.push_str(&modes(plan));
    if let Some(varied) = &plan.what_if {
        text.push_str(&what_if(varied));
    }
    if !plan.checked.is_empty() {
        text.push_str(&checked(&plan.checked));
    }
    text.push_str(&coefficients(plan));
    for words in &plan.limits {
        text.push_str(&format!("note: {words}\n"));
    }
    for reason in &plan.passed_over {
        text.push_str(&format!("passed over: {reason}\n"));
    }
    if let Some(answer) = &plan.fits {
        text.push_str(&format!("answer: {}\n", answer.words));
    }
    text
}

fn lines(lines: &[Line]) -> String {
    let mut table = empty(&[
        "in the worst second",
        "value",
        "from",
        "to",
        "beyond the records",
    ]);
    let mut section = "";
    for line in lines {
        if line.section != section {
            section = &line.section;
            table.add_row(vec![Cell::new(section.to_uppercase())]);
        }
        let [value, low, high] = shown(line.estimate, &line.unit);
        table.add_row(vec![
            Cell::new(&line.words),
            right(value),
            right(low),
            right(high),
            Cell::new(beyond(&line.extrapolated)),
        ]);
    }
    format!("{table}\n")
}

/// A row a line, a column a mode: there are more lines than modes.
fn modes(plan: &Plan) -> String {
    let Some(first) = plan.modes.first() else {
        return String::new();
    };
    let names: Vec<String> = plan
        .modes
        .iter()
        .map(|mode| mode.mode.to_string())
        .collect();
    let header: Vec<&str> = std::iter::once("addressing modes side by side")
        .chain(names.iter().map(String::as_str))
        .collect();
    let mut table = empty(&header);
    for (row, line) in first.lines.iter().enumerate() {
        let of_modes = plan.modes.iter().filter_map(|mode| mode.lines.get(row));
        let figures = of_modes.map(|line| right(span(line.estimate, &line.unit)));
        table.add_row([Cell::new(&line.words)].into_iter().chain(figures));
    }
    format!("{table}\n")
}

fn what_if(varied: &WhatIf) -> String {
    let [rows, columns @ ..] = varied.axes.as_slice() else {
        return String::new();
    };
    let (key, across) = match columns.first() {
        Some(columns) => (columns.key.as_str(), columns.values.clone()),
        None => ("", vec![varied.figure.clone()]),
    };
    let corner = format!("{} \\ {key}", rows.key);
    let header: Vec<&str> = std::iter::once(corner.as_str())
        .chain(across.iter().map(String::as_str))
        .collect();
    let mut table = empty(&header);
    for (row, variants) in rows.values.iter().zip(varied.variants.chunks(across.len())) {
        let figures = variants.iter().map(|variant| {
            let line = variant.lines.iter().find(|line| line.name == varied.figure);
            let mark = |line: &Line| {
                if line.extrapolated.is_empty() {
                    ""
                } else {
                    " *"
                }
            };
            right(line.map_or("-".to_owned(), |line| {
                format!("{}{}", span(line.estimate, &line.unit), mark(line))
            }))
        });
        table.add_row([Cell::new(row)].into_iter().chain(figures));
    }
    format!("what if: {} (* extrapolated)\n{table}\n", varied.figure)
}

fn checked(checked: &[Checked]) -> String {
    let mut table = empty(&[
        "record",
        "figure",
        "predicted",
        "from",
        "to",
        "measured",
        "",
        "beyond the records",
    ]);
    for one in checked {
        let [value, low, high] = shown(one.predicted, "");
        let verdict = if one.inside { "inside" } else { "OUTSIDE" };
        table.add_row(vec![
            Cell::new(&one.record),
            Cell::new(&one.figure),
            right(value),
            right(low),
            right(high),
            right(scaled(one.measured)),
            Cell::new(verdict),
            Cell::new(beyond(&one.extrapolated)),
        ]);
    }
    let inside = checked.iter().filter(|one| one.inside).count();
    format!(
        "{table}\n{inside} of {} figures lie in the interval that was predicted\n",
        checked.len()
    )
}

fn coefficients(plan: &Plan) -> String {
    let mut table = empty(&["coefficient", "value", "how", "field", "records"]);
    for one in &plan.coefficients {
        let value = one
            .estimate
            .map_or(String::new(), |estimate| span(estimate, &one.unit));
        let records = match one.records.len() {
            0 => "none".to_owned(),
            few if few <= RECORDS_SHOWN => one.records.join("\n"),
            many => format!("{many}: {} ..", one.records[0]),
        };
        table.add_row(vec![
            Cell::new(&one.name),
            right(value),
            Cell::new(&one.method),
            Cell::new(&one.field),
            Cell::new(records),
        ]);
    }
    format!("what it rests on\n{table}\n")
}

/// What lies beyond the records, each with its factor.
fn beyond(stretches: &[Stretch]) -> String {
    let words = |stretch: &Stretch| {
        let over = if stretch.asked > stretch.measured {
            "over"
        } else {
            "below"
        };
        format!(
            "EXTRAPOLATED {:.1}x {over} {} {}",
            stretch.times,
            scaled(stretch.measured),
            stretch.factor
        )
    };
    stretches.iter().map(words).collect::<Vec<_>>().join("\n")
}

/// Value and ends as text; one without an error has no ends.
fn shown(estimate: Estimate, unit: &str) -> [String; 3] {
    let figure = |value: f64| figure(value, unit);
    match estimate.low < estimate.high {
        true => [
            figure(estimate.value),
            figure(estimate.low),
            figure(estimate.high),
        ],
        false => [figure(estimate.value), String::new(), String::new()],
    }
}

fn span(estimate: Estimate, unit: &str) -> String {
    match shown(estimate, unit) {
        [value, low, _] if low.is_empty() => value,
        [value, low, high] => format!("{value}\n{low} to {high}"),
    }
}

fn figure(value: f64, unit: &str) -> String {
    match unit {
        "" if value.fract() == 0.0 && value < COUNT_SHOWN => grouped(value as u64),
        "" => scaled(value),
        unit => format!("{} {unit}", scaled(value)),
    }
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
