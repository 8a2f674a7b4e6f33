//! The course of a load with a shape: rates, units in flight and latency over time, as the record of the
//! run has them interval by interval.

use serde_json::Value;

use crate::report::chart::Axis;
use crate::report::chart::lines::{Line, Lines, Point};
use crate::report::chart::scale::Scale;
use crate::report::chart::unit::Unit;
use crate::report::figure::{Figure, Placed};
use crate::report::source::number;

/// Points of a line at most; a longer course is drawn by the greatest of neighbours, so that no peak is
/// lost.
const POINTS_MAX: usize = 400;

/// The figures of the runs of one record that had a shape.
pub fn figures(placed: &Placed<'_>) -> Vec<Figure> {
    let runs = placed.record.list("/runs").iter();
    let loads = runs.filter_map(|run| run.get("load").filter(|load| load.is_object()));
    loads
        .enumerate()
        .flat_map(|(at, load)| course(placed, at + 1, load))
        .collect()
}

/// One of the figures of a course.
struct Panel {
    kind: &'static str,
    title: &'static str,
    words: &'static str,
    /// Where an interval keeps each line, and the line's name.
    lines: [(&'static str, &'static str); 3],
    unit: Unit,
    y: &'static str,
}

const PANELS: [Panel; 3] = [
    Panel {
        kind: "rates",
        title: "rates over time",
        words: "Offered SIRs count when they were due, sent and answered ones when it happened.",
        lines: [
            ("offered", "offered"),
            ("sent", "sent"),
            ("answered", "answered"),
        ],
        unit: Unit::PerSecond,
        y: "SIRs a second",
    },
    Panel {
        kind: "flight",
        title: "in flight over time",
        words: "At the end of each interval.",
        lines: [
            ("in_flight", "in flight"),
            ("behind", "due, not taken"),
            ("sessions", "sessions open"),
        ],
        unit: Unit::Count,
        y: "SIRs, sessions",
    },
    Panel {
        kind: "delay",
        title: "latency over time",
        words: "Of the SIRs due in each interval, however late they ended.",
        lines: [("p50_us", "p50"), ("p99_us", "p99"), ("max_us", "longest")],
        unit: Unit::Microseconds,
        y: "time from the due time",
    },
];

fn course(placed: &Placed<'_>, run: usize, load: &Value) -> Vec<Figure> {
    let points = load["series"].as_array().map_or(&[][..], Vec::as_slice);
    let interval_s = number(&load["interval_ms"]).unwrap_or(0.0) / 1e3;
    if points.is_empty() || interval_s <= 0.0 {
        return Vec::new();
    }
    let ends = points.iter().filter_map(|point| number(&point["at_s"]));
    let time = Axis {
        scale: Scale::exact(0.0, ends.fold(0.0, f64::max) + interval_s),
        unit: Unit::Seconds,
        title: "time of the load".to_owned(),
    };
    let about = format!(
        "Run {run}, load `{}`; each interval is {} long.",
        load["shape"].as_str().unwrap_or_default(),
        Unit::Seconds.write(interval_s)
    );
    let figure = |panel: &Panel| {
        let title = format!("{}, {}", placed.record.name(), panel.title);
        let svg = panel.draw(
            points,
            interval_s,
            time.clone(),
            (title, placed.record.stamp()),
        );
        let words = format!("{about} {}", panel.words);
        placed.figure(&format!("{}-{run}", panel.kind), panel.title, words, svg)
    };
    PANELS.iter().map(figure).collect()
}

impl Panel {
    fn draw(
        &self,
        points: &[Value],
        interval_s: f64,
        time: Axis,
        (title, stamp): (String, &str),
    ) -> String {
        let factor = match self.unit {
            Unit::PerSecond => 1.0 / interval_s,
            _ => 1.0,
        };
        let line = |(place, name): &(&str, &str)| line(points, place, name, factor);
        let mut lines: Vec<Line> = self.lines.iter().map(line).collect();
        // A line along the foot says nothing, as of sessions where there are none.
        let first = lines.first().cloned();
        lines.retain(|line| line.points.iter().any(|point| point.y > 0.0));
        if lines.is_empty() {
            lines.extend(first);
        }
        let highest = values(&lines).fold(0.0, f64::max);
        let scale = match self.unit {
            Unit::Microseconds => {
                let above = values(&lines).filter(|value| *value > 0.0);
                Scale::log(above.fold(f64::MAX, f64::min), highest)
            }
            _ => Scale::linear(0.0, highest),
        };
        Lines {
            title,
            x: time,
            y: Axis {
                scale,
                unit: self.unit,
                title: self.y.to_owned(),
            },
            lines,
            places: Vec::new(),
            levels: Vec::new(),
            stamp: stamp.to_owned(),
        }
        .draw()
    }
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines
        .iter()
        .flat_map(|line| line.points.iter().map(|point| point.y))
}

fn line(points: &[Value], place: &str, name: &str, scale: f64) -> Line {
    let together = points.len().div_ceil(POINTS_MAX).max(1);
    let highest = |chunk: &[Value]| {
        let at = number(&chunk[0]["at_s"])?;
        let found = chunk.iter().filter_map(|point| number(&point[place]));
        let value = found.fold(f64::MIN, f64::max);
        (value > f64::MIN).then_some(Point {
            x: at,
            y: value * scale,
            open: false,
        })
    };
    Line {
        name: name.to_owned(),
        points: points.chunks(together).filter_map(highest).collect(),
        marked: points.len() <= 30,
    }
}
