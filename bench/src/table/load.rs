//! The course of a load with a shape: a table of its segments, and how long it took to recover. Text only;
//! called by `table`.

use comfy_table::{Cell, CellAlignment};

use super::{empty, microseconds};
use crate::quantity::{grouped, scaled};
use crate::record::{LoadFigures, Recovery, SegmentFigures};

/// Rows shown at most; the record has them all.
const ROWS_MAX: usize = 40;

/// The last run of the shape.
pub fn text(load: &LoadFigures) -> String {
    let mut table = empty(&[
        "#",
        "segment",
        "at",
        "SIRs/s",
        "offered",
        "answered",
        "lost",
        "p50",
        "p99",
        "late mean, max",
    ]);
    for segment in load.segments.iter().take(ROWS_MAX) {
        table.add_row(row(segment));
    }
    let mut text = format!(
        "load \"{}\": {} SIRs planned in {:.1} s{}\n{table}\n",
        load.shape,
        grouped(load.planned as u64),
        load.length_s,
        if load.is_whole {
            ""
        } else {
            "; not offered whole"
        },
    );
    if load.segments.len() > ROWS_MAX {
        let left = load.segments.len() - ROWS_MAX;
        text.push_str(&format!("and {left} more segments, in the record\n"));
    }
    for recovery in load.recoveries.iter().take(ROWS_MAX) {
        text.push_str(&words(recovery, load.interval_ms));
    }
    text
}

fn row(segment: &SegmentFigures) -> Vec<Cell> {
    let rates = if segment.from_per_s == segment.to_per_s {
        scaled(segment.from_per_s)
    } else {
        format!(
            "{}..{}",
            scaled(segment.from_per_s),
            scaled(segment.to_per_s)
        )
    };
    let figures = [
        segment.number.to_string(),
        segment.kind.clone(),
        format!("{:.2} s", segment.at_s),
        rates,
        grouped(segment.offered),
        grouped(segment.answered),
        format!("{:.3} %", segment.loss_share * 100.0),
        microseconds(segment.p50_us as f64),
        microseconds(segment.p99_us as f64),
        format!(
            "{}, {}",
            microseconds(segment.late_mean_us),
            microseconds(segment.late_max_us)
        ),
    ];
    let right = |text| Cell::new(text).set_alignment(CellAlignment::Right);
    figures.into_iter().map(right).collect()
}

fn words(recovery: &Recovery, interval_ms: u64) -> String {
    let time = match recovery.recovered_s {
        Some(0.0) => format!("within {interval_ms} ms"),
        Some(seconds) => format!("in {seconds:.2} s, to {interval_ms} ms"),
        None => "not by its end".to_owned(),
    };
    let after = match recovery.after.join(", ") {
        none if none.is_empty() => none,
        kinds => format!(" after {kinds}"),
    };
    format!(
        "segment {}{after}: recovered {time} (p99 within {}, {} in flight, {:.3} % lost; peak {}, {} in flight)\n",
        recovery.segment,
        microseconds(recovery.p99_us_max as f64),
        grouped(recovery.in_flight_max),
        recovery.lost_share_max * 100.0,
        microseconds(recovery.p99_us_peak as f64),
        grouped(recovery.in_flight_peak),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_says_its_time_and_its_band() {
        let mut recovery = Recovery {
            segment: 4,
            after: vec!["pause".to_owned(), "burst".to_owned()],
            p99_us_max: 1500,
            in_flight_max: 73,
            recovered_s: Some(2.25),
            ..Recovery::default()
        };
        let text = words(&recovery, 250);
        for shown in [
            "segment 4 after pause, burst",
            "2.25 s",
            "1.50 ms",
            "73 in flight",
        ] {
            assert!(text.contains(shown), "{shown} in {text}");
        }
        recovery.recovered_s = None;
        assert!(words(&recovery, 250).contains("not by its end"));
    }

    #[test]
    fn rows_are_bounded_and_what_is_left_out_is_said() {
        let load = LoadFigures {
            segments: vec![SegmentFigures::default(); ROWS_MAX + 3],
            ..LoadFigures::default()
        };
        let text = text(&load);
        assert!(text.contains("and 3 more segments") && text.contains("not offered whole"));
    }
}
