//! The worker's wall time by stage, for each SIR answered and as a share: one bar a stage, in the order of
//! a turn. Nothing is drawn where the stopwatch was off.

use crate::report::chart::rows::{Group, Row, Rows};
use crate::report::chart::unit::Unit;
use crate::report::figure::{Figure, Placed};

/// The stages in the order in which a turn has them (docs/explain.md).
const ORDER: [&str; 13] = [
    "receive", "parse", "close", "session", "timers", "select", "look up", "train", "patch",
    "submit", "complete", "control", "idle",
];

/// Stages of the kernel's work, and of none: drawn in tones of their own.
fn tone(stage: &str) -> usize {
    match stage {
        "submit" => 1,
        "idle" => 5,
        _ => 0,
    }
}

/// The figure of one record, where its stages were taken.
pub fn figures(placed: &Placed<'_>) -> Vec<Figure> {
    let record = placed.record;
    let stages = record.json.pointer("/stages/stage_ns");
    let Some(stages) = stages.and_then(|stages| stages.as_object()) else {
        return Vec::new();
    };
    let sum: f64 = stages.values().filter_map(|ns| ns.as_f64()).sum();
    let answered = record.number("/engine/sirs_answered").unwrap_or(0.0);
    if sum <= 0.0 {
        return Vec::new();
    }
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    let mut named: Vec<(&str, f64)> = stages
        .iter()
        .filter_map(|(name, ns)| Some((name.as_str(), ns.as_f64()?)))
        .collect();
    named.sort_by_key(|(name, _)| place(name).unwrap_or(ORDER.len()));
    let row = |(name, ns): (&str, f64)| {
        let share = Unit::Share.write(ns / sum);
        let words = match answered > 0.0 {
            true => format!("{}, {share}", Unit::Nanoseconds.write(ns / answered)),
            false => share,
        };
        Row {
            name: name.to_owned(),
            value: ns,
            words,
            tone: tone(name),
        }
    };
    let wall = record.number("/stages/wall_ns").unwrap_or(sum);
    let words = format!(
        "Wall time of the worker for each answered SIR, and its share. The stages add up to {:.2} % of the wall \
         time; stamps from {}. submit is the kernel's share.",
        sum / wall * 100.0,
        record.text("/stages/clock")
    );
    let title = "wall time by stage";
    let svg = Rows {
        title: format!("{}, {title}", record.name()),
        groups: vec![Group {
            name: String::new(),
            rows: named.into_iter().map(row).collect(),
        }],
        stamp: record.stamp().to_owned(),
    };
    vec![placed.figure("stages", title, words, svg.draw())]
}
