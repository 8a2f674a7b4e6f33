//! One screen of Markdown, for a pull request: the verdict, then what differs, worst first, then the
//! times in one small table. What is the same is a count. Called by `outputs`.

use std::fmt::Write;

use crate::nightly::change_points::Shape;
use crate::nightly::gate::{Gate, Standing};
use crate::nightly::night::{Compared, Night};
use crate::nightly::series::{EFFECT_MIN, Finding, NIGHTS_MIN, News};

/// Lines of the page: what a pull request shows without scrolling.
const LINES_MAX: usize = 25;

/// Times in the table at most.
const ROWS_MAX: usize = 8;

/// The page.
#[must_use]
pub fn write(night: &Night) -> String {
    let alarms = match night.alarms().count() {
        0 => String::new(),
        1 => ", 1 alarm".to_owned(),
        count => format!(", {count} alarms"),
    };
    let mut page = format!(
        "### sirocco nightly: {}{alarms}\n`{}`, suite {}, {} scenarios\n\n",
        night.words(),
        if night.commit.is_empty() {
            "no commit"
        } else {
            &night.commit
        },
        night.suite,
        night.lines.len(),
    );
    let table = times(night);
    let room = LINES_MAX - page.lines().count() - table.lines().count() - 2;
    let points = differences(night);
    if points.is_empty() {
        page.push_str("- no differences\n");
    }
    let shown = if points.len() > room {
        room - 1
    } else {
        points.len()
    };
    for point in &points[..shown] {
        page.push_str(point);
        page.push('\n');
    }
    if shown < points.len() {
        // Writing to a string cannot fail.
        writeln!(page, "- and {} more: see junit.xml", points.len() - shown).ok();
    }
    page.push_str(&same(night));
    page.push_str(&table);
    page
}

/// Everything that differs from what it should be, worst first.
fn differences(night: &Night) -> Vec<String> {
    let mut points = Vec::new();
    for line in night.lines.iter().filter(|line| !line.counts()) {
        let word = if line.verdict.passed {
            "invalid"
        } else {
            "**FAILED**"
        };
        let first = line.verdict.reasons.first();
        let reason = first.map_or("nothing was measured", String::as_str);
        points.push(format!("- {word}: {}: {}", line.scenario, one_line(reason)));
    }
    for standing in [Standing::Worse, Standing::Missing] {
        points.extend(
            night
                .gates
                .iter()
                .filter(|g| g.standing == standing)
                .map(gate),
        );
    }
    points.extend(night.missed().map(|(line, reached)| {
        let value = reached.value.map_or("nothing".to_owned(), number);
        let word = if night.objectives_held {
            "**missed**"
        } else {
            "missed, not held"
        };
        format!(
            "- {word}: {}: {}: reached {value}",
            line.scenario, reached.objective
        )
    }));
    let news = night
        .findings
        .iter()
        .filter(|finding| finding.news != News::Known);
    points.extend(news.map(finding));
    points.extend(
        night
            .gates
            .iter()
            .filter(|g| g.standing == Standing::Better)
            .map(gate),
    );
    let known = night.findings.iter().filter(|f| f.news == News::Known);
    points.extend(known.map(finding));
    let without = night
        .gates
        .iter()
        .filter(|g| g.standing == Standing::NoBaseline)
        .count();
    if without > 0 {
        points.push(format!(
            "- no baseline: {without} counters; look at them and run with --accept-counters"
        ));
    }
    points.extend(
        night
            .notices
            .iter()
            .map(|notice| format!("- {}", one_line(notice))),
    );
    points
}

fn gate(gate: &Gate) -> String {
    let (tonight, accepted) = (gate.tonight, gate.accepted);
    let shown = |value: Option<f64>| value.map_or("nothing".to_owned(), number);
    let word = match gate.standing {
        Standing::Worse => "**worse**",
        Standing::Missing => "not counted",
        _ => "better, accept it with --accept-counters",
    };
    let share = match (tonight, accepted) {
        (Some(tonight), Some(accepted)) if accepted != 0.0 => {
            format!(" ({})", percent(tonight / accepted - 1.0))
        }
        _ => String::new(),
    };
    let (job, counter) = (&gate.scenario, &gate.counter);
    format!(
        "- {word}: {job}: {counter}: {} -> {}{share}",
        shown(accepted),
        shown(tonight)
    )
}

/// A finding as a point of a list.
#[must_use]
pub fn finding(finding: &Finding) -> String {
    let word = match (finding.news, finding.is_worse) {
        (News::First, true) => "perhaps slower, the next night will tell",
        (News::First, false) => "perhaps faster, the next night will tell",
        (News::Confirmed, true) => "**alarm**",
        (News::Confirmed, false) => "faster",
        (News::Known, true) => "known: slower",
        (News::Known, false) => "known: faster",
    };
    let (change, nights) = (&finding.change, finding.nights_since);
    let place = match change.shape {
        Shape::Step => format!(
            "between `{}` and `{}`, {nights} nights ago",
            finding.last_before, finding.first_after
        ),
        Shape::Drift => "a drift over the nights, no single commit".to_owned(),
    };
    format!(
        "- {word}: {}: {}: {} -> {} ({}), {place}",
        finding.scenario,
        finding.figure,
        number(change.before),
        number(change.after),
        percent(change.share()),
    )
}

/// What is the same, as counts.
fn same(night: &Night) -> String {
    let counters = night
        .gates
        .iter()
        .filter(|g| g.standing == Standing::Same)
        .count();
    let short = night.short().count();
    let mut text = format!("- the same: {counters} of {} counters", night.gates.len());
    if short > 0 {
        // Writing to a string cannot fail.
        write!(text, "; {short} series have fewer than {NIGHTS_MIN} nights").ok();
    }
    text.push_str("\n\n");
    text
}

/// The times that differ most from the usual.
fn times(night: &Night) -> String {
    let mut rows: Vec<&Compared> = night.compared.iter().collect();
    let weight = |row: &Compared| row.share().map_or(0.0, f64::abs);
    rows.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    if rows.is_empty() {
        return String::new();
    }
    let mut text =
        "| time | tonight (least to greatest) | usual | difference |\n|---|---|---|---|\n"
            .to_owned();
    for row in rows.into_iter().take(ROWS_MAX) {
        let tonight = &row.tonight;
        let (least, greatest) = (number(tonight.min), number(tonight.max));
        let usual = row.usual.map_or("-".to_owned(), number);
        let share = row.share();
        let difference = share.map_or("-".to_owned(), |share| {
            let within = if share.abs() < EFFECT_MIN {
                ""
            } else {
                " one night"
            };
            format!("{}{within}", percent(share))
        });
        // Writing to a string cannot fail.
        writeln!(
            text,
            "| {} {} | {} ({least} to {greatest}) | {usual} | {difference} |",
            row.scenario,
            row.figure,
            number(tonight.median),
        )
        .ok();
    }
    text
}

/// Four digits that matter, thousands marked.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1e6 => format!("{:.3} M", value / 1e6),
        size if size >= 1e4 => format!("{:.2} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.3}"),
        _ => format!("{value:.6}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:+.2} %", share * 100.0)
}

/// A reason on one line of a list, without what Markdown would take for markup.
fn one_line(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "/")
}
