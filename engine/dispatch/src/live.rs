//! Live figures: what other threads may read of a worker while it runs.
//!
//! The worker stores each figure of [`Progress`] once a turn and those of [`Details`] ten times a second,
//! relaxed; a reader gets figures that are each true but not of one instant. Nothing here is added up on the reader's side into a verdict: reports are.

use crossbeam::utils::CachePadded;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::stopwatch::STAGES;

/// A snapshot of a worker's figures, counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// First transmissions.
    pub sirs_sent: u64,
    /// Transactions closed by a final response.
    pub sirs_answered: u64,
    /// Transmissions by Timer E.
    pub retransmissions: u64,
    /// Units that ended, whichever way.
    pub settled: u64,
    /// Units accepted and not settled.
    pub in_flight: u64,
    /// Identities that an open-loop load has due and could not hand out.
    pub behind: u64,
}

/// The figures, padded so that reading them costs the worker at most a line a turn.
#[derive(Debug, Default)]
pub struct Live {
    figures: CachePadded<[AtomicU64; 6]>,
    details: LiveDetails,
}

impl Live {
    /// Publishes a snapshot.
    #[inline]
    pub fn publish(&self, progress: &Progress) {
        let values = [
            progress.sirs_sent,
            progress.sirs_answered,
            progress.retransmissions,
            progress.settled,
            progress.in_flight,
            progress.behind,
        ];
        for (figure, value) in self.figures.iter().zip(values) {
            figure.store(value, Ordering::Relaxed);
        }
    }

    /// Reads a snapshot.
    #[must_use]
    pub fn read(&self) -> Progress {
        let [
            sirs_sent,
            sirs_answered,
            retransmissions,
            settled,
            in_flight,
            behind,
        ] = [0, 1, 2, 3, 4, 5].map(|place: usize| self.figures[place].load(Ordering::Relaxed));
        Progress {
            sirs_sent,
            sirs_answered,
            retransmissions,
            settled,
            in_flight,
            behind,
        }
    }
}

/// Bounds of the latencies told apart while a worker runs, in microseconds: three to a decade, so that a
/// monitor may add up what several workers count.
pub const LATENCY_BOUNDS_US: [u64; LATENCY_BOUNDS] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000, 50_000_000,
];

/// How many bounds there are; one count more is of what lies beyond the last.
pub const LATENCY_BOUNDS: usize = 21;

/// Counts before stages and latencies in the figures of [`Details`].
const ENDS: usize = 6;

/// Figures in all.
const DETAILS: usize = ENDS + STAGES + LATENCY_BOUNDS + 1;

/// What costs more than a store to know, published ten times a second: counted since the worker's start,
/// latencies since the last mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// CPU time of the worker's thread in nanoseconds.
    pub cpu_ns: u64,
    /// Units delivered.
    pub delivered: u64,
    /// Units stored elsewhere.
    pub stored: u64,
    /// Units failed, whatever the cause.
    pub failed: u64,
    /// Units whose deadline passed.
    pub expired: u64,
    /// Units cancelled.
    pub cancelled: u64,
    /// Wall time of each stage in nanoseconds; zeros when the stopwatch is off.
    pub stage_ns: [u64; STAGES],
    /// Answers by their latency from the due time: up to each of [`LATENCY_BOUNDS_US`], and beyond.
    pub latency: [u64; LATENCY_BOUNDS + 1],
}

impl Details {
    fn figures(&self) -> impl Iterator<Item = u64> + '_ {
        let ends = [
            self.cpu_ns,
            self.delivered,
            self.stored,
            self.failed,
            self.expired,
            self.cancelled,
        ];
        let rest = self.stage_ns.iter().chain(&self.latency).copied();
        ends.into_iter().chain(rest)
    }
}

/// Counts the values of a histogram in microseconds by the bounds.
#[must_use]
pub fn by_bounds(histogram: &hdrhistogram::Histogram<u64>) -> [u64; LATENCY_BOUNDS + 1] {
    let mut counts = [0; LATENCY_BOUNDS + 1];
    let mut bound = 0;
    for value in histogram.iter_recorded() {
        // A bucket counts where its end lies.
        while bound < LATENCY_BOUNDS && value.value_iterated_to() > LATENCY_BOUNDS_US[bound] {
            bound += 1;
        }
        counts[bound] += value.count_since_last_iteration();
    }
    counts
}

/// [`Details`] as they are read by others.
#[derive(Debug)]
struct LiveDetails(CachePadded<[AtomicU64; DETAILS]>);

impl Default for LiveDetails {
    fn default() -> Self {
        Self(CachePadded::new([const { AtomicU64::new(0) }; DETAILS]))
    }
}

impl LiveDetails {
    fn publish(&self, details: &Details) {
        for (figure, value) in self.0.iter().zip(details.figures()) {
            figure.store(value, Ordering::Relaxed);
        }
    }

    fn read(&self) -> Details {
        let at = |place: usize| self.0[place].load(Ordering::Relaxed);
        Details {
            cpu_ns: at(0),
            delivered: at(1),
            stored: at(2),
            failed: at(3),
            expired: at(4),
            cancelled: at(5),
            stage_ns: std::array::from_fn(|place| at(ENDS + place)),
            latency: std::array::from_fn(|place| at(ENDS + STAGES + place)),
        }
    }
}

impl Live {
    /// Publishes what is known ten times a second.
    pub fn publish_details(&self, details: &Details) {
        self.details.publish(details);
    }

    /// Reads what was published last.
    #[must_use]
    pub fn details(&self) -> Details {
        self.details.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_read_as_they_were_published() {
        let mut details = Details {
            cpu_ns: 1,
            delivered: 2,
            stored: 3,
            failed: 4,
            expired: 5,
            cancelled: 6,
            ..Details::default()
        };
        details.stage_ns[STAGES - 1] = 7;
        details.latency[LATENCY_BOUNDS] = 8;
        let live = Live::default();
        assert_eq!(live.details(), Details::default());
        live.publish_details(&details);
        assert_eq!(live.details(), details);
    }

    #[test]
    fn latencies_are_counted_below_their_bounds() {
        let mut histogram = hdrhistogram::Histogram::new_with_bounds(1, 64_000_000, 2).unwrap();
        for value in [1, 10, 11, 900, 60_000_000] {
            histogram.record(value).unwrap();
        }
        let counts = by_bounds(&histogram);
        assert_eq!(counts.iter().sum::<u64>(), 5);
        assert_eq!((counts[0], counts[1], counts[6]), (2, 1, 1));
        assert_eq!(counts[LATENCY_BOUNDS], 1);
    }
}
