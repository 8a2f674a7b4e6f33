//! The addressing modes side by side: what one order costs in each, a group of bars for each question.

use serde_json::Value;

use crate::report::chart::rows::{Group, Row, Rows};
use crate::report::chart::unit::Unit;
use crate::report::figure::{Figure, Placed};
use crate::report::source::{Source, number};

/// What is compared, by its place in a mode.
const QUESTIONS: [(&str, &str, Unit); 9] = [
    ("/messages", "messages, engine and edges", Unit::Count),
    ("/octets", "octets, engine and edges", Unit::Octets),
    ("/sessions", "sessions built", Unit::Count),
    ("/unwanted", "sessions nobody wanted", Unit::Count),
    ("/delivered", "pushes delivered", Unit::Count),
    ("/duplicates", "pushes delivered twice or more", Unit::Count),
    (
        "/engine_cpu_us",
        "CPU time of the engine",
        Unit::Microseconds,
    ),
    (
        "/first_session_us/p50",
        "first wanted session, median",
        Unit::Microseconds,
    ),
    (
        "/first_session_us/p99",
        "first wanted session, p99",
        Unit::Microseconds,
    ),
];

/// The figure of one record, where it compares modes.
pub fn figures(placed: &Placed<'_>) -> Vec<Figure> {
    let record = placed.record;
    let modes = record.list("/addressing");
    if modes.is_empty() {
        return Vec::new();
    }
    let groups = QUESTIONS.iter().map(|(place, name, unit)| {
        let rows = modes.iter().enumerate();
        Group {
            name: (*name).to_owned(),
            rows: rows
                .filter_map(|(tone, mode)| row(mode, place, *unit, tone))
                .collect(),
        }
    });
    let words = format!(
        "For each order: the same {} orders on the same population, one device wanted; only the addressing differs. \
         Each group has a scale of its own.",
        Unit::Count.write(orders(record))
    );
    let title = "what one order costs in each mode";
    let svg = Rows {
        title: format!("{}, {title}", record.name()),
        groups: groups.filter(|group| !group.rows.is_empty()).collect(),
        stamp: record.stamp().to_owned(),
    };
    vec![placed.figure("modes", title, words, svg.draw())]
}

fn orders(record: &Source) -> f64 {
    record.number("/addressing/0/orders").unwrap_or(0.0)
}

fn row(mode: &Value, place: &str, unit: Unit, tone: usize) -> Option<Row> {
    let value = number(mode.pointer(place)?)?;
    // 2.99999 sessions an order are three: one of 100,000 orders had a device less.
    let shown = if (value - value.round()).abs() < 1e-4 {
        value.round()
    } else {
        value
    };
    Some(Row {
        name: mode["mode"].as_str()?.to_owned(),
        value,
        words: unit.write(shown),
        tone,
    })
}
