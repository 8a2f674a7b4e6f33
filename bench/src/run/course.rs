//! The course of a load with a shape, from the engine's report to the record: its intervals with the
//! counters between their ends, its segments beside the plan, and how long it took to recover. Pure
//! arithmetic; called by `shaped`.

use std::collections::BTreeMap;

use sirocco_dispatch::series::{Sample, SeriesReport, StretchFigures};
use sirocco_schedule::{Kind, Segment, Shape};

use crate::record::{LoadFigures, LoadPoint, Recovery, SegmentFigures};

/// Intervals that have to be within the band one after the other.
const STEADY_INTERVALS: usize = 3;
/// The band of the p99: so many times the reference's median.
const P99_TIMES: u64 = 2;
/// The same at least so much above it, in microseconds: below lies the noise of a turn.
const P99_ABOVE_US: u64 = 1_000;
/// The band of what is in flight: so many times the reference's most.
const IN_FLIGHT_TIMES: u64 = 2;
/// The same at least so many above it: a train.
const IN_FLIGHT_ABOVE: u64 = 64;
/// Two rates are the same within this share.
const SAME_RATE: f64 = 0.01;

/// Length of an interval in milliseconds: a quarter second, whole seconds for long shapes, at most about a
/// thousand of them.
#[must_use]
pub fn interval_ms(shape: &Shape) -> u64 {
    const QUARTER_MS: u64 = 250;
    const POINTS_MAX: u64 = 1024;
    let length_ms = shape.length_ns().unwrap_or(0) / 1_000_000;
    match length_ms.div_ceil(POINTS_MAX) {
        0..=QUARTER_MS => QUARTER_MS,
        longer => longer.div_ceil(1000) * 1000,
    }
}

/// All that the record says of a load with a shape.
#[must_use]
pub fn figures(shape: &Shape, report: &SeriesReport) -> LoadFigures {
    let series = points(report);
    let segments = segments(shape, &report.segments);
    let recoveries = recoveries(&segments, &series, report.interval_ns as f64 / 1e9);
    LoadFigures {
        shape: shape.text().to_owned(),
        length_s: shape.length_ns().unwrap_or(0) as f64 / 1e9,
        planned: shape.entries(),
        is_whole: false,
        interval_ms: report.interval_ns / 1_000_000,
        is_cut: report.is_full,
        series,
        segments,
        recoveries,
    }
}

fn points(report: &SeriesReport) -> Vec<LoadPoint> {
    let interval_ns = report.interval_ns.max(1);
    let mut points = BTreeMap::<u64, LoadPoint>::new();
    for due in &report.intervals {
        points.insert(
            due.at_ns / interval_ns,
            LoadPoint {
                offered: due.offered,
                lost: due.offered - due.answered.min(due.offered),
                p50_us: due.p50_us,
                p99_us: due.p99_us,
                max_us: due.max_us,
                ..LoadPoint::default()
            },
        );
    }
    for pair in report.samples.windows(2) {
        let (begin, end) = (&pair[0], &pair[1]);
        // An end is read at the first turn after it, the last one of all wherever the drain ended.
        let number = begin.at_ns / interval_ns;
        count(points.entry(number).or_default(), begin, end);
    }
    let at_s = |number: u64| (number * interval_ns) as f64 / 1e9;
    points
        .into_iter()
        .map(|(number, point)| LoadPoint {
            at_s: at_s(number),
            ..point
        })
        .collect()
}

fn count(point: &mut LoadPoint, begin: &Sample, end: &Sample) {
    point.sent += end.sirs_sent - begin.sirs_sent;
    point.sent_again += end.retransmissions - begin.retransmissions;
    point.answered += end.sirs_answered - begin.sirs_answered;
    point.failed += end.failed - begin.failed;
    point.in_flight = end.in_flight;
    point.behind = end.behind;
    point.sessions = end.sessions;
}

fn segments(shape: &Shape, measured: &[StretchFigures]) -> Vec<SegmentFigures> {
    let mut at_ns = 0;
    let mut figures = Vec::with_capacity(shape.segments().len());
    for (number, segment) in shape.segments().iter().enumerate() {
        let due = measured
            .iter()
            .find(|due| usize::from(due.segment) == number);
        figures.push(of_segment(number, segment, at_ns, due));
        at_ns += segment.length_ns;
    }
    figures
}

fn of_segment(
    number: usize,
    segment: &Segment,
    at_ns: u64,
    due: Option<&StretchFigures>,
) -> SegmentFigures {
    let (from, to) = match segment.kind {
        Kind::Sine => (segment.from - segment.to, segment.from + segment.to),
        _ => (segment.from, segment.to),
    };
    let planned = SegmentFigures {
        number: number + 1,
        kind: segment.kind.to_string(),
        at_s: at_ns as f64 / 1e9,
        length_s: segment.length_ns as f64 / 1e9,
        from_per_s: from,
        to_per_s: to,
        ..SegmentFigures::default()
    };
    let Some(due) = due else {
        return planned;
    };
    let lost = due.offered - due.answered.min(due.offered);
    SegmentFigures {
        at_s: due.at_ns as f64 / 1e9,
        offered: due.offered,
        answered: due.answered,
        loss_share: lost as f64 / due.offered.max(1) as f64,
        late_mean_us: due.late_mean_us,
        late_max_us: due.late_max_us,
        p50_us: due.p50_us,
        p99_us: due.p99_us,
        max_us: due.max_us,
        ..planned
    }
}

/// How long each steady segment that follows something else took until all was as in the first steady one
/// of its rate, or, where there was none, as in its own second half.
fn recoveries(segments: &[SegmentFigures], series: &[LoadPoint], interval_s: f64) -> Vec<Recovery> {
    let mut found = Vec::new();
    for (place, segment) in segments.iter().enumerate().skip(1) {
        if !is_steady(segment) || segment.offered == 0 {
            continue;
        }
        let before = segments[..place].iter().position(|earlier| {
            is_steady(earlier) && is_same(earlier.from_per_s, segment.from_per_s)
        });
        let window = Window {
            series,
            interval_s,
            begin_s: segment.at_s,
            end_s: end_s(segments, place),
        };
        let reference = match before {
            Some(before) => Window {
                begin_s: segments[before].at_s,
                end_s: end_s(segments, before),
                ..window
            },
            None => Window {
                begin_s: (window.begin_s + window.end_s) / 2.0,
                ..window
            },
        };
        let since = before.map_or(place - 1, |before| before + 1);
        if let Some(recovery) = window.recovery(&reference, segments[since].at_s) {
            found.push(Recovery {
                segment: segment.number,
                after: segments[since..place]
                    .iter()
                    .map(|between| between.kind.clone())
                    .collect(),
                reference: segments[before.unwrap_or(place)].number,
                ..recovery
            });
        }
    }
    found
}

fn is_steady(segment: &SegmentFigures) -> bool {
    [Kind::Hold, Kind::Step]
        .map(|kind| kind.to_string())
        .contains(&segment.kind)
}

fn is_same(one: f64, other: f64) -> bool {
    (one - other).abs() <= one.max(other) * SAME_RATE
}

/// Where a segment ends: where the next one begins, or so long after its begin.
fn end_s(segments: &[SegmentFigures], place: usize) -> f64 {
    let own = segments[place].at_s + segments[place].length_s;
    segments
        .get(place + 1)
        .map_or(own, |next| next.at_s.max(own))
}

/// The intervals of a stretch of time.
#[derive(Clone, Copy)]
struct Window<'a> {
    series: &'a [LoadPoint],
    interval_s: f64,
    begin_s: f64,
    end_s: f64,
}

impl Window<'_> {
    /// The intervals that lie in it wholly; one nanosecond is no part of another segment.
    fn whole(&self) -> impl Iterator<Item = &LoadPoint> {
        let within = |point: &&LoadPoint| {
            point.at_s >= self.begin_s - 1e-3 && point.at_s + self.interval_s <= self.end_s + 1e-3
        };
        self.series.iter().filter(within)
    }

    /// How long it took to be as `reference`; `None` where that says nothing.
    fn recovery(&self, reference: &Self, since_s: f64) -> Option<Recovery> {
        let mut p99: Vec<u64> = reference.whole().map(|point| point.p99_us).collect();
        p99.sort_unstable();
        let median = *p99.get(p99.len().checked_sub(1)? / 2)?;
        let most = reference.whole().map(|point| point.in_flight).max()?;
        let lost = reference.whole().map(lost_share).fold(0.0, f64::max);
        let band = Recovery {
            p99_us_max: (median * P99_TIMES).max(median + P99_ABOVE_US),
            in_flight_max: (most * IN_FLIGHT_TIMES).max(most + IN_FLIGHT_ABOVE),
            lost_share_max: lost,
            ..Recovery::default()
        };
        let own: Vec<&LoadPoint> = self.whole().collect();
        let steady = own
            .windows(STEADY_INTERVALS)
            .find(|points| points.iter().all(|point| is_within(point, &band)));
        let recovered_s = steady.map(|points| (points[0].at_s - self.begin_s).max(0.0));
        let until_s = recovered_s.map_or(self.end_s, |after| self.begin_s + after);
        let disturbed = || {
            let within = move |point: &&LoadPoint| point.at_s >= since_s && point.at_s < until_s;
            self.series.iter().filter(within)
        };
        Some(Recovery {
            in_flight_peak: disturbed().map(|point| point.in_flight).max().unwrap_or(0),
            p99_us_peak: disturbed().map(|point| point.p99_us).max().unwrap_or(0),
            recovered_s,
            ..band
        })
    }
}

fn lost_share(point: &LoadPoint) -> f64 {
    point.lost as f64 / point.offered.max(1) as f64
}

fn is_within(point: &LoadPoint, band: &Recovery) -> bool {
    point.p99_us <= band.p99_us_max
        && point.in_flight <= band.in_flight_max
        && lost_share(point) <= band.lost_share_max
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// A report of intervals of a second, by what was offered in each, its p99 and what was in flight then.
    fn report(intervals: &[(u64, u64, u64)], segments: &[(u64, u16, u64)]) -> SeriesReport {
        let mut sent = 0;
        let mut samples = vec![Sample::default()];
        let mut due = Vec::new();
        for (second, &(offered, p99_us, in_flight)) in (0..).zip(intervals) {
            sent += offered;
            samples.push(Sample {
                at_ns: (second + 1) * S + 30_000,
                sirs_sent: sent,
                sirs_answered: sent - in_flight,
                in_flight,
                ..Sample::default()
            });
            due.push(StretchFigures {
                at_ns: second * S,
                offered,
                answered: offered,
                p99_us,
                ..StretchFigures::default()
            });
        }
        due.retain(|interval| interval.offered > 0);
        let of_segment = |&(at_ns, segment, offered): &(u64, u16, u64)| StretchFigures {
            at_ns,
            segment,
            offered,
            answered: offered - offered / 10,
            ..StretchFigures::default()
        };
        SeriesReport {
            interval_ns: S,
            intervals: due,
            segments: segments.iter().map(of_segment).collect(),
            samples,
            is_full: false,
        }
    }

    #[test]
    fn an_outage_is_over_when_three_intervals_are_as_before() {
        let shape: Shape = "hold 100/3s, pause 2s, burst 200, hold 100/6s"
            .parse()
            .unwrap();
        let intervals = [
            (100, 500, 5),
            (100, 600, 9),
            (100, 500, 5),
            (0, 0, 0),
            (0, 0, 0),
            (300, 90_000, 250),
            (100, 9_000, 90),
            (100, 700, 20),
            (100, 500, 5),
            (100, 500, 5),
            (100, 500, 5),
        ];
        let segments = [(0, 0, 300), (5 * S, 2, 200), (5 * S, 3, 600)];
        let figures = figures(&shape, &report(&intervals, &segments));
        assert_eq!(figures.series.len(), 11);
        assert_eq!(
            (figures.series[5].sent, figures.series[5].in_flight),
            (300, 250)
        );
        assert_eq!(figures.segments[1].offered, 0);
        assert_eq!(figures.segments[3].loss_share, 0.1);
        let [recovery] = &figures.recoveries[..] else {
            panic!("{:?}", figures.recoveries)
        };
        assert_eq!((recovery.segment, recovery.reference), (4, 1));
        assert_eq!(recovery.after, ["pause", "burst"]);
        assert_eq!((recovery.p99_us_max, recovery.in_flight_max), (1_500, 73));
        assert_eq!(recovery.recovered_s, Some(2.0));
        assert_eq!(
            (recovery.in_flight_peak, recovery.p99_us_peak),
            (250, 90_000)
        );
    }

    #[test]
    fn what_is_never_as_before_has_no_time() {
        let shape: Shape = "hold 100/3s, spike x2/1s, hold 3s".parse().unwrap();
        let bad = (100, 90_000, 5);
        let intervals = [
            (100, 1, 0),
            (100, 1, 0),
            (100, 1, 0),
            (200, 1, 0),
            bad,
            bad,
            bad,
        ];
        let segments = [(0, 0, 300), (3 * S, 1, 200), (4 * S, 2, 300)];
        let figures = figures(&shape, &report(&intervals, &segments));
        assert_eq!(figures.recoveries.len(), 1, "{:?}", figures.recoveries);
        assert_eq!(figures.recoveries[0].recovered_s, None);
    }

    #[test]
    fn a_step_is_held_against_its_own_second_half() {
        let shape: Shape = "hold 100/2s, step 100 x1/8s".parse().unwrap();
        let intervals = [
            (100, 1, 0),
            (100, 1, 0),
            (200, 50_000, 0),
            (200, 9, 0),
            (200, 9, 0),
            (200, 9, 0),
            (200, 9, 0),
            (200, 9, 0),
            (200, 9, 0),
            (200, 9, 0),
        ];
        let segments = [(0, 0, 200), (2 * S, 1, 1600)];
        let figures = figures(&shape, &report(&intervals, &segments));
        let [recovery] = &figures.recoveries[..] else {
            panic!("{:?}", figures.recoveries)
        };
        assert_eq!((recovery.reference, recovery.recovered_s), (2, Some(1.0)));
    }

    #[test]
    fn intervals_are_quarters_or_whole_seconds() {
        for (text, ms) in [
            ("hold 1/1s", 250),
            ("hold 1/4m", 250),
            ("hold 1/10m", 1000),
            ("hold 1/1h", 4000),
            ("hold 1/24h", 85_000),
        ] {
            assert_eq!(interval_ms(&text.parse().unwrap()), ms, "{text}");
        }
    }
}
