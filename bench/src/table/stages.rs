//! Rows of the stage breakdown: nanoseconds a SIR and share of the wall time for each stage, the sizes of
//! turns and trains. Called by `table`.

use super::Row;
use crate::quantity::{grouped, scaled};
use crate::record::Record;
use crate::record::stages::{StageFigures, percentile};
use sirocco_dispatch::stopwatch::{STAGES, Stage};

/// The row of each stage, in the order of [`Stage::ALL`].
const FIGURES: [&str; STAGES] = [
    "stage receive",
    "stage parse",
    "stage close",
    "stage session",
    "stage timers",
    "stage select",
    "stage look up",
    "stage train",
    "stage patch",
    "stage submit",
    "stage complete",
    "stage control",
    "stage idle",
];

/// The rows; none when the stopwatch was off.
pub fn rows(record: &Record) -> Vec<Row> {
    let Some(stages) = record.stages.as_ref().filter(|stages| stages.wall_ns > 0) else {
        return Vec::new();
    };
    let sirs = record.engine.sirs_answered.max(record.engine.sirs_sent);
    let mut rows: Vec<Row> = Stage::ALL
        .iter()
        .zip(FIGURES)
        .filter_map(|(stage, figure)| {
            let ns = *stages.stage_ns.get(stage.name())?;
            (ns > 0).then(|| Row {
                figure,
                value: format!("{:.1} %", share(ns, stages.wall_ns) * 100.0),
                method: format!(
                    "{:.0} ns a SIR of wall time",
                    ns as f64 / sirs.max(1) as f64
                ),
                target: String::new(),
            })
        })
        .collect();
    if rows.is_empty() {
        return rows;
    }
    rows.push(Row {
        figure: "sum of the stages",
        value: format!("{:.2} %", share(stages.sum_ns, stages.wall_ns) * 100.0),
        method: format!(
            "of the wall time by another clock; stamps by {}, {} of {} busy turns told apart inside",
            stages.clock,
            scaled(stages.turns_sampled as f64),
            scaled((stages.turns - stages.turns_idle) as f64)
        ),
        target: String::new(),
    });
    rows.push(turns(stages));
    rows
}

/// Where the failures are told one by one, if there are any.
pub fn failures(record: &Record) -> Option<Row> {
    let report = record.reports.get("engine")?;
    let count = |name: &str| report["failures"][name].as_u64().unwrap_or(0);
    (count("kept") > 0).then(|| Row {
        figure: "failures kept",
        value: format!("{} of {}", grouped(count("kept")), grouped(count("seen"))),
        method: "flight recorder: target/sirocco/flight.txt as ladders, flight.pcap for a decoder"
            .to_owned(),
        target: String::new(),
    })
}

fn turns(stages: &StageFigures) -> Row {
    let at = |buckets: &[(u64, u64)], share| percentile(buckets, share).unwrap_or_default();
    let us = |share| at(&stages.turn_ns, share) as f64 / 1000.0;
    Row {
        figure: "turn p50, p99",
        value: format!("{:.0} us, {:.0} us", us(0.5), us(0.99)),
        method: format!(
            "turns with work; SIRs a turn {} and {}; received trains of {} and {}",
            at(&stages.turn_sirs, 0.5),
            at(&stages.turn_sirs, 0.99),
            at(&sizes(&stages.answer_train_lengths), 0.5),
            at(&sizes(&stages.answer_train_lengths), 0.99),
        ),
        target: String::new(),
    }
}

/// Counts by size as buckets.
fn sizes(counts: &[u64]) -> Vec<(u64, u64)> {
    (0..).zip(counts.iter().copied()).collect()
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
