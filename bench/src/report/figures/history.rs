//! The history night by night: each time of each scenario with its mean between changes, and the changes
//! by name. What `sirocco nightly` finds is shown; nothing is found here.

use crate::nightly::change_points::Shape;
use crate::nightly::history::Line as Night;
use crate::nightly::series::{self, Finding, Series};
use crate::report::chart::Axis;
use crate::report::chart::lines::{Line, Lines, Place, Point};
use crate::report::chart::scale::Scale;
use crate::report::chart::unit::Unit;
use crate::report::figure::{Figure, Origin, slug};

/// Series that are drawn at most: the changed ones come first.
const SERIES_MAX: usize = 48;

/// The figures of the series that the last night continues.
#[must_use]
pub fn figures(nights: &[Night]) -> Vec<Figure> {
    let Some(last) = nights.iter().map(|line| line.night_unix_s).max() else {
        return Vec::new();
    };
    let all = series::continued(nights, last);
    let findings = series::findings(&all);
    let own = |series: &Series<'_>| -> Vec<Finding> {
        let own = |f: &&Finding| f.scenario == series.scenario && f.figure == series.figure;
        findings.iter().filter(own).cloned().collect()
    };
    let mut shown: Vec<(Series<'_>, Vec<Finding>)> = all
        .into_iter()
        .map(|series| {
            let own = own(&series);
            (series, own)
        })
        .collect();
    shown.sort_by_key(|(_, findings)| findings.is_empty());
    shown
        .iter()
        .take(SERIES_MAX)
        .enumerate()
        .map(|(at, (series, findings))| figure(at, series, findings))
        .collect()
}

fn figure(at: usize, series: &Series<'_>, findings: &[Finding]) -> Figure {
    let title = format!("{}: {}", series.scenario, series.figure);
    let last = series.values.len().saturating_sub(1);
    let low = series.values.iter().copied().fold(f64::MAX, f64::min);
    let high = series.values.iter().copied().fold(f64::MIN, f64::max);
    let point = |(night, value): (usize, &f64)| Point {
        x: night as f64 + 1.0,
        y: *value,
        open: false,
    };
    let svg = Lines {
        title: format!("{title} over {} nights", series.values.len()),
        x: Axis {
            scale: Scale::exact(0.5, last as f64 + 1.5),
            unit: Unit::Count,
            title: "night".to_owned(),
        },
        y: Axis {
            scale: Scale::close(low, high),
            unit: unit(series.figure),
            title: series.figure.to_owned(),
        },
        lines: vec![Line {
            name: series.figure.to_owned(),
            points: series.values.iter().enumerate().map(point).collect(),
            marked: true,
        }],
        places: findings.iter().map(place).collect(),
        levels: levels(findings, last),
        stamp: String::new(),
    };
    Figure {
        slug: format!(
            "history-{}-{}-{}",
            slug(series.scenario),
            slug(series.figure),
            at + 1
        ),
        title,
        words: words(series, findings),
        svg: svg.draw(),
        origin: Origin::History,
    }
}

fn unit(figure: &str) -> Unit {
    match figure {
        name if name.contains("_ns") => Unit::Nanoseconds,
        name if name.ends_with("_us") => Unit::Microseconds,
        name if name.ends_with("per_s") => Unit::PerSecond,
        _ => Unit::Count,
    }
}

/// Between the last night before the change and the first after it.
fn place(finding: &Finding) -> Place {
    let word = if finding.is_worse { "worse" } else { "better" };
    Place {
        at: finding.change.at as f64 + 0.5,
        range: None,
        name: format!(
            "{:+.1} % ({word}) at {}",
            finding.change.share() * 100.0,
            finding.first_after
        ),
    }
}

/// The mean before and after each step; a drift has none.
fn levels(findings: &[Finding], last: usize) -> Vec<[f64; 3]> {
    let mut steps: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.change.shape == Shape::Step)
        .collect();
    steps.sort_by_key(|finding| finding.change.at);
    let mut levels = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        let at = step.change.at as f64 + 0.5;
        if place == 0 {
            levels.push([0.5, at, step.change.before]);
        }
        let end = steps.get(place + 1);
        let end = end.map_or(last as f64 + 1.5, |next| next.change.at as f64 + 0.5);
        levels.push([at, end, step.change.after]);
    }
    levels
}

fn words(series: &Series<'_>, findings: &[Finding]) -> String {
    let nights = series.values.len();
    let first = series.nights.first().map_or("", |night| &night.commit);
    let last = series.nights.last().map_or("", |night| &night.commit);
    let mut words = format!(
        "Median of each night, {nights} valid nights on one kind of host from {first} to {last}; dashed: the mean \
         between changes."
    );
    for finding in findings {
        let how = match finding.change.shape {
            Shape::Step => "A step",
            Shape::Drift => "A drift",
        };
        words.push_str(&format!(
            " {how} between {} and {}, p {:.1e}.",
            finding.last_before, finding.first_after, finding.change.p
        ));
    }
    if findings.is_empty() {
        words.push_str(match nights < series::NIGHTS_MIN {
            true => " Too few nights for a change to be found.",
            false => " No change found.",
        });
    }
    words
}
