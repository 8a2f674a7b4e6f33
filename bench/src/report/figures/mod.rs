//! The figures of a report, a file for each question. Each takes what it finds in a record and draws
//! nothing where there is nothing. Called by `report`.

mod addressing;
mod course;
pub mod history;
mod knee;
mod latency;
mod stages;
mod trains;

use super::figure::{Placed, Section};
use super::source::Source;

/// Every figure of the records, by question.
#[must_use]
pub fn of_records(records: &[Source]) -> Vec<Section> {
    let placed: Vec<Placed<'_>> = records
        .iter()
        .enumerate()
        .map(|(at, record)| Placed { at, record })
        .collect();
    let section = |slug, title, make: fn(&Placed<'_>) -> Vec<super::figure::Figure>| Section {
        slug,
        title,
        figures: placed.iter().flat_map(make).collect(),
    };
    vec![
        section("limit", "The limit and its knee", knee::figures),
        section("latency", "Latency from the due time", latency::figures),
        section("course", "A load over time", course::figures),
        section("stages", "Where the worker's time goes", stages::figures),
        section("trains", "Train lengths", trains::figures),
        section(
            "addressing",
            "Addressing modes side by side",
            addressing::figures,
        ),
    ]
}
