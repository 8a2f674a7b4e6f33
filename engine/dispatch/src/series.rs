//! The course of a load: what became of the SIRs that were due in each stretch of it, and where the
//! worker's counters stood from time to time.
//!
//! A stretch ends with its interval or with its segment of the shape, so that stretches add up to both
//! exactly. SIRs count where they were due, however late they end. All room is made before the load
//! begins; a SIR costs a comparison, two additions and one recording. No clock: the shard says when.

use crate::ledger::Outcome;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Most stretches: at eleven kilobytes each, of which untouched ones take no memory.
pub const STRETCHES_MAX: usize = 8192;
/// Longest latency told apart, in microseconds: Timer F and as much waiting again.
const LATENCY_US_MAX: u64 = 64_000_000;
/// Room for intervals beyond the shape's length, for what is paused by hand and for the drain.
const SPARE_INTERVALS: u64 = 256;
/// Time between two readings of the lag, in nanoseconds.
const LAG_EVERY_NS: u64 = 1_000_000;

/// What was due in one stretch.
#[derive(Clone, Debug)]
struct Stretch {
    /// From the begin of the load to its first SIR.
    begin_ns: u64,
    interval: u64,
    segment: u16,
    offered: u64,
    answered: u64,
    failed: u64,
    late_sum_ns: u64,
    late_max_ns: u64,
    latency_us: Histogram<u32>,
}

impl Stretch {
    fn new() -> Self {
        Self {
            begin_ns: 0,
            interval: 0,
            segment: 0,
            offered: 0,
            answered: 0,
            failed: 0,
            late_sum_ns: 0,
            late_max_ns: 0,
            latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).expect("fixed bounds"),
        }
    }

    fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.answered += other.answered;
        self.failed += other.failed;
        self.late_sum_ns += other.late_sum_ns;
        self.late_max_ns = self.late_max_ns.max(other.late_max_ns);
        // The bounds are the same.
        self.latency_us.add(&other.latency_us).ok();
    }

    fn figures(&self) -> StretchFigures {
        let at = |share: f64| self.latency_us.value_at_quantile(share);
        StretchFigures {
            at_ns: self.begin_ns,
            segment: self.segment,
            offered: self.offered,
            answered: self.answered,
            failed: self.failed,
            late_mean_us: self.late_sum_ns as f64 / self.offered.max(1) as f64 / 1e3,
            late_max_us: self.late_max_ns as f64 / 1e3,
            p50_us: at(0.5),
            p99_us: at(0.99),
            max_us: self.latency_us.max(),
        }
    }
}

/// What was due in one interval, or in one segment of the shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StretchFigures {
    /// Begin from the begin of the load: of the interval, or of the segment's first SIR.
    pub at_ns: u64,
    /// Number of the segment, from 0; of an interval the first one in it.
    pub segment: u16,
    /// Units that were due and taken.
    pub offered: u64,
    /// Units of them that ended delivered or stored.
    pub answered: u64,
    /// Units of them that ended otherwise.
    pub failed: u64,
    /// How late identities were taken after they were due: the mean in microseconds.
    pub late_mean_us: f64,
    /// The latest of them.
    pub late_max_us: f64,
    /// Median latency from the due time, in microseconds; unanswered SIRs count as long as waited for.
    pub p50_us: u64,
    /// Its 99th percentile.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// Where the worker's counters stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// From the begin of the load.
    pub at_ns: u64,
    /// First transmissions since the worker's start.
    pub sirs_sent: u64,
    /// Transmissions by Timer E.
    pub retransmissions: u64,
    /// SIRs closed by a final response.
    pub sirs_answered: u64,
    /// Units that ended neither delivered nor stored.
    pub failed: u64,
    /// Units accepted and not settled.
    pub in_flight: u64,
    /// Identities due and not taken; expected ones of Poisson arrivals.
    pub behind: u64,
    /// Sessions open.
    pub sessions: u64,
}

/// The whole course as data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeriesReport {
    /// Length of an interval.
    pub interval_ns: u64,
    /// By interval; those in which nothing was due are left out.
    pub intervals: Vec<StretchFigures>,
    /// By segment of the shape; those in which nothing was due are left out.
    pub segments: Vec<StretchFigures>,
    /// At the end of each interval, the drain included.
    pub samples: Vec<Sample>,
    /// The room was too small: the last stretch holds all that came after.
    pub is_full: bool,
}

/// The course of one load.
#[derive(Clone, Debug)]
pub struct Series {
    interval_ns: u64,
    start_ns: u64,
    order: u16,
    stretches: Vec<Stretch>,
    used: usize,
    segment: u16,
    /// When the last one was due.
    last_ns: u64,
    /// Where the interval of the last stretch ends.
    until_ns: u64,
    samples: Vec<Sample>,
    sample_ns: u64,
    is_full: bool,
}

impl Series {
    /// Makes room for a load of so long, none = as long as there is room, and of so many segments.
    #[must_use]
    pub fn new(interval_ns: u64, length_ns: Option<u64>, segments: usize) -> Self {
        let interval_ns = interval_ns.max(1);
        let intervals = length_ns.map_or(u64::MAX, |length| length / interval_ns);
        let intervals = intervals.saturating_add(SPARE_INTERVALS);
        let intervals = usize::try_from(intervals).unwrap_or(usize::MAX);
        let room = intervals.saturating_add(segments).min(STRETCHES_MAX);
        Self {
            interval_ns,
            start_ns: 0,
            order: 0,
            stretches: std::iter::repeat_with(Stretch::new).take(room).collect(),
            used: 0,
            segment: 0,
            last_ns: 0,
            until_ns: 0,
            samples: Vec::with_capacity(room),
            sample_ns: 0,
            is_full: false,
        }
    }

    /// Puts its begin at `now`, for the load of an order.
    pub fn begin(&mut self, now: u64, order: u16) {
        (self.start_ns, self.order) = (now, order);
        self.sample_ns = now;
    }

    /// Notes a unit that was due then and is taken `now`.
    #[inline]
    pub fn offer(&mut self, now: u64, due_ns: u64, (order, segment): (u16, u16)) {
        if order != self.order {
            return;
        }
        let at_ns = due_ns.saturating_sub(self.start_ns);
        // What is due at the very moment of a burst counts with it: stretches are told apart by time.
        if at_ns >= self.until_ns || (segment != self.segment && at_ns > self.last_ns) {
            self.open(at_ns, segment);
        }
        self.last_ns = at_ns;
        let late_ns = now.saturating_sub(due_ns);
        let stretch = &mut self.stretches[self.used - 1];
        stretch.offered += 1;
        stretch.late_sum_ns += late_ns;
        stretch.late_max_ns = stretch.late_max_ns.max(late_ns);
    }

    /// Notes one more unit of an identity that has been offered.
    #[inline]
    pub fn offer_more(&mut self, due_ns: u64, order: u16) {
        if let Some(stretch) = self.at(due_ns, order) {
            stretch.offered += 1;
        }
    }

    /// Notes the end of a SIR that was due then.
    #[inline]
    pub fn end(&mut self, due_ns: u64, order: u16, waited_us: u64) {
        if let Some(stretch) = self.at(due_ns, order) {
            stretch.latency_us.saturating_record(waited_us);
        }
    }

    /// Notes the end of a unit that was due then.
    #[inline]
    pub fn settle(&mut self, due_ns: u64, order: u16, outcome: Outcome) {
        if let Some(stretch) = self.at(due_ns, order) {
            match outcome {
                Outcome::Delivered | Outcome::Stored => stretch.answered += 1,
                _ => stretch.failed += 1,
            }
        }
    }

    /// Whether a sample is due.
    #[inline]
    #[must_use]
    pub fn wants_sample(&self, now: u64) -> bool {
        now >= self.sample_ns && self.samples.len() < self.samples.capacity()
    }

    /// Keeps a sample of `now`, as long as there is room.
    pub fn sample(&mut self, now: u64, sample: Sample) {
        if self.samples.len() == self.samples.capacity() {
            return;
        }
        let at_ns = now.saturating_sub(self.start_ns);
        self.samples.push(Sample { at_ns, ..sample });
        // Where the worker slept over an end, the next one is due at its own time.
        self.sample_ns = self.start_ns + (at_ns / self.interval_ns + 1) * self.interval_ns;
    }

    fn open(&mut self, at_ns: u64, segment: u16) {
        let interval = at_ns / self.interval_ns;
        (self.segment, self.until_ns) = (segment, (interval + 1) * self.interval_ns);
        if self.used == self.stretches.len() {
            self.is_full = true;
            return;
        }
        let stretch = &mut self.stretches[self.used];
        (stretch.begin_ns, stretch.interval, stretch.segment) = (at_ns, interval, segment);
        self.used += 1;
    }

    /// The stretch in which something was due.
    #[inline]
    fn at(&mut self, due_ns: u64, order: u16) -> Option<&mut Stretch> {
        if order != self.order {
            return None;
        }
        let at_ns = due_ns.checked_sub(self.start_ns)?;
        let used = &mut self.stretches[..self.used];
        let place = match used.last() {
            Some(last) if last.begin_ns <= at_ns => used.len(),
            _ => used.partition_point(|stretch| stretch.begin_ns <= at_ns),
        };
        used.get_mut(place.checked_sub(1)?)
    }

    /// The course so far.
    #[must_use]
    pub fn report(&self) -> SeriesReport {
        let used = &self.stretches[..self.used];
        let intervals = used.chunk_by(|a, b| a.interval == b.interval);
        let segments = used.chunk_by(|a, b| a.segment == b.segment);
        let sum = |chunk: &[Stretch]| {
            let mut sum = chunk[0].clone();
            chunk[1..].iter().for_each(|stretch| sum.add(stretch));
            sum
        };
        SeriesReport {
            interval_ns: self.interval_ns,
            intervals: intervals
                .map(|chunk| StretchFigures {
                    at_ns: chunk[0].interval * self.interval_ns,
                    ..sum(chunk).figures()
                })
                .collect(),
            segments: segments.map(|chunk| sum(chunk).figures()).collect(),
            samples: self.samples.clone(),
            is_full: self.is_full,
        }
    }
}

/// How late the order source was: readings of every millisecond that a schedule was at work.
#[derive(Debug)]
pub struct OrderLag {
    /// Readings in microseconds.
    pub us: Histogram<u64>,
    read_ns: u64,
    is_reading: bool,
}

impl Default for OrderLag {
    fn default() -> Self {
        Self {
            us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).expect("fixed bounds"),
            read_ns: 0,
            is_reading: false,
        }
    }
}

impl OrderLag {
    /// Begins anew.
    pub fn restart(&mut self, now: u64) {
        self.us.reset();
        (self.read_ns, self.is_reading) = (now, true);
    }

    /// Reads no more until [`OrderLag::restart`].
    pub fn stop(&mut self) {
        self.is_reading = false;
    }

    /// Whether a reading is due.
    #[inline]
    #[must_use]
    pub fn is_due(&self, now: u64) -> bool {
        self.is_reading && now >= self.read_ns + LAG_EVERY_NS
    }

    /// Keeps how long the next identity had been due; `None` = no schedule is at work.
    ///
    /// What was longer than a millisecond between two turns counts for each of them.
    pub fn read(&mut self, now: u64, late_ns: Option<u64>) {
        let readings = (now - self.read_ns) / LAG_EVERY_NS;
        self.read_ns = now;
        if let Some(late_ns) = late_ns {
            let late_us = (late_ns / 1_000).min(LATENCY_US_MAX);
            self.us.saturating_record_n(late_us, readings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn stretches_add_up_to_intervals_and_to_segments() {
        let mut series = Series::new(10 * MS, Some(40 * MS), 2);
        series.begin(5, 3);
        // Segment 0 until 15 ms, segment 1 from there, an entry each millisecond.
        for ms in 0..30 {
            let segment = u16::from(ms >= 15);
            series.offer(5 + ms * MS + 500, 5 + ms * MS, (3, segment));
        }
        series.offer(5, 5, (4, 0));
        for ms in (0..30).rev() {
            series.end(5 + ms * MS, 3, 100 + ms);
            let outcome = if ms == 20 {
                Outcome::Expired
            } else {
                Outcome::Delivered
            };
            series.settle(5 + ms * MS, 3, outcome);
        }
        let report = series.report();
        let offered = |figures: &[StretchFigures]| {
            figures
                .iter()
                .map(|f| (f.at_ns / MS, f.offered))
                .collect::<Vec<_>>()
        };
        assert_eq!(offered(&report.intervals), [(0, 10), (10, 10), (20, 10)]);
        assert_eq!(offered(&report.segments), [(0, 15), (15, 15)]);
        assert_eq!(
            (report.intervals[2].answered, report.intervals[2].failed),
            (9, 1)
        );
        assert_eq!(
            (report.segments[0].failed, report.segments[1].failed),
            (0, 1)
        );
        assert_eq!(
            (report.intervals[0].p50_us, report.intervals[2].max_us),
            (104, 129)
        );
        assert_eq!(report.intervals[0].late_max_us, 0.5);
        assert!(!report.is_full);
    }

    #[test]
    fn what_is_due_with_a_burst_ends_where_it_was_offered() {
        let mut series = Series::new(10 * MS, Some(40 * MS), 2);
        series.begin(0, 0);
        for (due_ns, segment) in [(0, 0), (5, 1), (5, 1), (5, 2), (6, 2)] {
            series.offer(10, due_ns, (0, segment));
        }
        for due_ns in [6, 5, 5, 5, 0] {
            series.settle(due_ns, 0, Outcome::Delivered);
        }
        let segments = series.report().segments;
        let counts: Vec<_> = segments.iter().map(|s| (s.offered, s.answered)).collect();
        assert_eq!(counts, [(1, 1), (3, 3), (1, 1)]);
    }

    #[test]
    fn what_finds_no_room_counts_in_the_last_stretch_and_is_said() {
        let mut series = Series::new(1, Some(0), 0);
        series.begin(0, 0);
        let room = SPARE_INTERVALS;
        for due in 0..room + 10 {
            series.offer(due, due, (0, 0));
        }
        let report = series.report();
        assert!(report.is_full);
        assert_eq!(report.intervals.len() as u64, room);
        assert_eq!(report.intervals.last().map(|last| last.offered), Some(11));
    }

    #[test]
    fn samples_are_due_at_the_ends_of_intervals_even_after_a_sleep() {
        let mut series = Series::new(10, Some(100), 1);
        series.begin(1_000, 0);
        let mut taken = Vec::new();
        for now in (1_000..1_060).filter(|now| !(1_021..1_038).contains(now)) {
            if series.wants_sample(now) {
                series.sample(now, Sample::default());
                taken.push(now);
            }
        }
        assert_eq!(taken, [1_000, 1_010, 1_020, 1_038, 1_040, 1_050]);
    }

    #[test]
    fn a_long_turn_counts_for_every_millisecond_of_it() {
        let mut lag = OrderLag::default();
        assert!(!lag.is_due(u64::MAX));
        lag.restart(0);
        lag.read(MS, Some(0));
        assert!(!lag.is_due(2 * MS - 1) && lag.is_due(2 * MS));
        lag.read(10 * MS, Some(8 * MS));
        lag.read(20 * MS, None);
        assert_eq!(
            (lag.us.len(), lag.us.max()),
            (10, lag.us.highest_equivalent(8_000))
        );
        assert_eq!(lag.us.value_at_quantile(0.1), 0);
    }
}
