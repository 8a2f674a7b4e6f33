//! Latency by percentile, as HDR histograms are plotted: each further nine takes equal room. From the
//! histograms of the run that gave the record's latency; no point is made up between their values.

use serde_json::Value;

use crate::report::chart::Axis;
use crate::report::chart::lines::{Line, Lines, Point};
use crate::report::chart::scale::Scale;
use crate::report::chart::unit::Unit;
use crate::report::figure::{Figure, Placed};
use crate::report::source::{Source, number};

/// Values of a histogram whose points are drawn at most: between them a line is straight to the eye.
const POINTS_MAX: usize = 120;

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
    let buckets = record.pairs(&format!("{}/buckets", kept.histogram));
    let (points, marked) = if !own.is_empty() {
        (thinned(own), false)
    } else if counted == Some(count) && !buckets.is_empty() {
        (thinned(curve(&buckets)), false)
    } else {
        (named(record.json.pointer(kept.summary)?), true)
    };
    let line = Line {
        name: kept.name.to_owned(),
        points: points
            .into_iter()
            .map(|(x, y)| Point { x, y, open: false })
            .collect(),
        marked,
    };
    (!line.points.is_empty()).then_some((line, count as u64))
}

/// Shares and values of a histogram: of all values, `share` are no greater than the value.
fn curve(buckets: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let count: f64 = buckets.iter().map(|(_, count)| count.max(0.0)).sum();
    let mut seen = 0.0;
    let mut points = Vec::new();
    for (value, here) in buckets {
        let before = if count > 0.0 { seen / count } else { 0.0 };
        seen += here.max(0.0);
        // A value holds from the share before it: a step, drawn where it begins.
        points.push((before, value.max(1.0)));
    }
    points
}

/// As many points as are seen, evenly over the axis, the last one kept.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let scale = Scale::percentile(u64::MAX);
    let mut kept: Vec<(f64, f64)> = Vec::new();
    let last = points.len().saturating_sub(1);
    let mut next = 0.0;
    for (at, (share, value)) in points.into_iter().enumerate() {
        let place = scale.place(share);
        if place >= next || at == last {
            kept.push((share, value));
            next = place + 1.0 / POINTS_MAX as f64;
        }
    }
    kept
}

fn named(summary: &Value) -> Vec<(f64, f64)> {
    let known = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p999")];
    let of = |(share, name): (f64, &str)| Some((share, number(&summary[name])?));
    known.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_climbs_to_the_longest() {
        let points = curve(&[(10.0, 90.0), (20.0, 9.0), (500.0, 1.0)]);
        assert_eq!(points, [(0.0, 10.0), (0.9, 20.0), (0.99, 500.0)]);
        assert!(curve(&[]).is_empty());
    }

    #[test]
    fn thinning_keeps_the_ends() {
        let many: Vec<(f64, f64)> = (0..10_000)
            .map(|at| (f64::from(at) / 10_000.0, f64::from(at)))
            .collect();
        let kept = thinned(many.clone());
        assert!(kept.len() <= POINTS_MAX + 1, "{}", kept.len());
        assert_eq!((kept[0], kept.last()), (many[0], many.last()));
    }
}
