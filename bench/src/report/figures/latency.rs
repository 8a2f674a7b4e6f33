//! Latency by percentile, as HDR histograms are plotted: each further nine takes equal room. From the
//! histograms of the run that gave the record's latency; no point is made up between their values.

use serde_json::Value;

use crate::record::curve::curve;
use crate::report::chart::Axis;
use crate::report::chart::lines::{Line, Lines, Point};
use crate::report::chart::scale::Scale;
use crate::report::chart::unit::Unit;
use crate::report::figure::{Figure, Placed};
use crate::report::source::{Source, number};

/// A distribution with its name and where the record keeps it.
struct Kept {
    name: &'static str,
    /// Percentiles: count, p50 to max.
    summary: &'static str,
    /// The histogram of the engine's last window.
    histogram: &'static str,
}

const KEPT: [Kept; 2] = [
    Kept {
        name: "Answer to the SIR",
        summary: "/latency_us",
        histogram: "/reports/engine/latency_us",
    },
    Kept {
        name: "Session set up",
        summary: "/sessions/setup_us",
        histogram: "/reports/engine/time_to_session_us",
    },
];

/// The figure of one record, where it has a latency.
pub fn figures(placed: &Placed<'_>) -> Vec<Figure> {
    let record = placed.record;
    let kept = KEPT.iter().filter_map(|kept| line(record, kept));
    let lines: Vec<(Line, u64)> = kept.collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let count = lines.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let points = || lines.iter().flat_map(|(line, _)| &line.points);
    let low = points().map(|point| point.y).fold(f64::MAX, f64::min);
    let high = points().map(|point| point.y).fold(0.0, f64::max);
    let rate = record.number("/latency_us/offered_per_s");
    let offered = match rate.filter(|rate| *rate > 0.0) {
        Some(rate) => format!("Open loop at {}", Unit::PerSecond.write(rate)),
        None => "Open loop".to_owned(),
    };
    let words = format!(
        "{offered}; counted from the time when each SIR was due, unanswered ones included. {}",
        summaries(record)
    );
    let title = "latency by percentile";
    let svg = Lines {
        title: format!("{}, {title}: {}", record.name(), summaries(record)),
        x: Axis {
            scale: Scale::percentile(count),
            unit: Unit::Percentile,
            title: "percentile (each nine takes equal room)".to_owned(),
        },
        y: Axis {
            scale: Scale::log(low, high),
            unit: Unit::Microseconds,
            title: "time from the due time".to_owned(),
        },
        lines: lines.into_iter().map(|(line, _)| line).collect(),
        places: Vec::new(),
        levels: Vec::new(),
        stamp: record.stamp().to_owned(),
    };
    vec![placed.figure("latency", title, words, svg.draw())]
}

/// p50 to max of each distribution in words.
fn summaries(record: &Source) -> String {
    let of = |kept: &Kept| {
        let figure = |name: &str| {
            let value = record.number(&format!("{}/{name}", kept.summary))?;
            Some(Unit::Microseconds.write(value))
        };
        Some(format!(
            "{}: p50 {}, p99 {}, p99.9 {}, max {}.",
            kept.name,
            figure("p50")?,
            figure("p99")?,
            figure("p999")?,
            figure("max")?
        ))
    };
    let all: Vec<String> = KEPT.iter().filter_map(of).collect();
    all.join(" ")
}

/// The curve that the record itself has, else the one of the engine's last histogram where that is of the
/// same run, else the percentiles that are there.
fn line(record: &Source, kept: &Kept) -> Option<(Line, u64)> {
    let count = record.number(&format!("{}/count", kept.summary))?;
    if count <= 0.0 {
        return None;
    }
    let own = record.pairs(&format!("{}/curve", kept.summary));
    let counted = record.number(&format!("{}/count", kept.histogram));
    let buckets = record
        .pairs(&format!("{}/buckets", kept.histogram))
        .into_iter();
    let buckets: Vec<(u64, u64)> = buckets
        .map(|(value, count)| (value as u64, count as u64))
        .collect();
    let (points, marked) = if !own.is_empty() {
        (own, false)
    } else if counted == Some(count) && !buckets.is_empty() {
        (curve(&buckets), false)
    } else {
        (named(record.json.pointer(kept.summary)?), true)
    };
    let line = Line {
        name: kept.name.to_owned(),
        points: points
            .into_iter()
            // A logarithmic axis has no 0: the clock counts whole microseconds.
            .map(|(x, y)| Point {
                x,
                y: y.max(1.0),
                open: false,
            })
            .collect(),
        marked,
    };
    (!line.points.is_empty()).then_some((line, count as u64))
}

fn named(summary: &Value) -> Vec<(f64, f64)> {
    let known = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p999")];
    let of = |(share, name): (f64, &str)| Some((share, number(&summary[name])?));
    known.into_iter().filter_map(of).collect()
}
