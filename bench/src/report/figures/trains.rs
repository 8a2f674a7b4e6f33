//! SIRs by the length of the train that they left in, out of the histogram of trains: a long train among
//! many short ones counts for the SIRs it carries.

use crate::report::chart::Axis;
use crate::report::chart::columns::Columns;
use crate::report::chart::lines::Place;
use crate::report::chart::scale::Scale;
use crate::report::chart::unit::Unit;
use crate::report::figure::{Figure, Placed};
use crate::report::source::number;

/// Where a record keeps trains by length: over the runs at its rate, or of the last window alone.
const PLACES: [(&str, &str); 2] = [
    ("/stages/train_lengths", "all runs at the scenario's rate"),
    (
        "/reports/engine/train_sizes",
        "the last run of the bench alone",
    ),
];

/// The figure of one record, where it has trains.
pub fn figures(placed: &Placed<'_>) -> Vec<Figure> {
    let found = PLACES.iter().find_map(|(place, what)| {
        let counts: Vec<f64> = placed
            .record
            .list(place)
            .iter()
            .map(|count| number(count).unwrap_or(0.0))
            .collect();
        (counts.iter().sum::<f64>() > 0.0).then_some((counts, what))
    });
    let Some((counts, what)) = found else {
        return Vec::new();
    };
    let trains: f64 = counts.iter().sum();
    let sirs = |(length, count): (usize, &f64)| length as f64 * count;
    let all: f64 = counts.iter().enumerate().map(sirs).sum();
    let longest = counts.iter().rposition(|count| *count > 0.0).unwrap_or(1);
    if all <= 0.0 || longest < 2 {
        // Single datagrams: there is no train to show.
        return Vec::new();
    }
    let columns: Vec<(f64, f64)> = counts
        .iter()
        .enumerate()
        .skip(1)
        .map(|(length, count)| (length as f64, sirs((length, count)) / all))
        .collect();
    let highest = columns.iter().map(|(_, share)| *share).fold(0.0, f64::max);
    let mean = all / trains;
    let words = format!(
        "Share of SIRs by the length of their train, in {what}: {} trains, {mean:.1} SIRs a train on average.",
        Unit::Count.write(trains)
    );
    let title = "SIRs by train length";
    let svg = Columns {
        title: format!("{}, {title}", placed.record.name()),
        x: Axis {
            scale: Scale::exact(0.0, longest as f64 + 1.0),
            unit: Unit::Count,
            title: "SIRs in the train".to_owned(),
        },
        y: Axis {
            scale: Scale::linear(0.0, highest),
            unit: Unit::Share,
            title: "share of SIRs".to_owned(),
        },
        columns,
        places: vec![Place {
            at: mean,
            range: None,
            name: format!("mean {mean:.1}"),
        }],
        stamp: placed.record.stamp().to_owned(),
    };
    vec![placed.figure("trains", title, words, svg.draw())]
}
