//! The knee: latency and inadequately handled attempts over the offered rate, every probe a point, with
//! the limit and its interval marked. Probes that failed have open marks.

use serde_json::Value;

use crate::report::chart::Axis;
use crate::report::chart::lines::{Line, Lines, Place, Point};
use crate::report::chart::scale::Scale;
use crate::report::chart::unit::Unit;
use crate::report::figure::{Figure, Placed};
use crate::report::source::{Source, number};

/// The figures of one record, where a limit was looked for.
pub fn figures(placed: &Placed<'_>) -> Vec<Figure> {
    let record = placed.record;
    let mut probes: Vec<&Value> = record.list("/limit/knee").iter().collect();
    probes.retain(|probe| number(&probe["rate_per_s"]).is_some());
    if probes.is_empty() {
        return Vec::new();
    }
    probes.sort_by(|a, b| {
        let rate = |probe: &Value| number(&probe["rate_per_s"]).unwrap_or(0.0);
        rate(a).total_cmp(&rate(b))
    });
    vec![latency(placed, &probes), handled(placed, &probes)]
}

fn latency(placed: &Placed<'_>, probes: &[&Value]) -> Figure {
    let lines: Vec<Line> = [("p50", "p50"), ("p99", "p99"), ("p999", "p99.9")]
        .into_iter()
        .map(|(place, name)| line(name, probes, |probe| number(&probe["latency_us"][place])))
        .collect();
    let values = || {
        lines
            .iter()
            .flat_map(|line| line.points.iter().map(|p| p.y))
    };
    let y = Axis {
        scale: Scale::log(
            values().fold(f64::MAX, f64::min),
            values().fold(0.0, f64::max),
        ),
        unit: Unit::Microseconds,
        title: "time from the due time".to_owned(),
    };
    let words = format!(
        "{}. Every probe is a point; an open one broke the criterion or was disturbed. The shaded range is the \
         interval of the limit.",
        placed.record.text("/limit/words").trim_end_matches('.')
    );
    draw(
        placed,
        "knee",
        "latency over the offered rate",
        words,
        (lines, y),
    )
}

fn handled(placed: &Placed<'_>, probes: &[&Value]) -> Figure {
    let lines = vec![
        line("inadequately handled", probes, |probe| {
            number(&probe["ihs_share"])
        }),
        line("lost or not taken", probes, |probe| {
            number(&probe["loss_share"])
        }),
    ];
    let highest = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|p| p.y));
    let y = Axis {
        scale: Scale::linear(0.0, highest.fold(0.001, f64::max)),
        unit: Unit::Share,
        title: "share of attempts".to_owned(),
    };
    let words = "Attempts that ended wrongly, late or not at all (%IHS of ETSI TS 186 008), and those of them \
                 that were lost, for each probe.";
    let title = "attempts handled inadequately";
    draw(placed, "handled", title, words.to_owned(), (lines, y))
}

fn line(name: &str, probes: &[&Value], value: impl Fn(&Value) -> Option<f64>) -> Line {
    let point = |probe: &&Value| {
        Some(Point {
            x: number(&probe["rate_per_s"])?,
            y: value(probe)?,
            open: probe["judgement"].as_str() != Some("passed"),
        })
    };
    Line {
        name: name.to_owned(),
        points: probes.iter().filter_map(point).collect(),
        marked: true,
    }
}

fn draw(
    placed: &Placed<'_>,
    kind: &str,
    title: &str,
    words: String,
    (lines, y): (Vec<Line>, Axis),
) -> Figure {
    let record = placed.record;
    let rates = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|p| p.x));
    let svg = Lines {
        title: format!("{}, {title}", record.name()),
        x: Axis {
            scale: Scale::linear(0.0, rates.fold(0.0, f64::max)),
            unit: Unit::PerSecond,
            title: "offered rate".to_owned(),
        },
        y,
        lines,
        places: limit(record).into_iter().collect(),
        levels: Vec::new(),
        stamp: record.stamp().to_owned(),
    };
    placed.figure(kind, title, words, svg.draw())
}

fn limit(record: &Source) -> Option<Place> {
    let rate = record.number("/limit/rate_per_s")?;
    let interval = record.number("/limit/interval/low");
    let range = interval.zip(record.number("/limit/interval/high"));
    Some(Place {
        at: rate,
        range: range.map(|(low, high)| [low, high]),
        name: format!("limit {}", Unit::PerSecond.write(rate)),
    })
}
