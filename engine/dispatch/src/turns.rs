//! The sizes of turns: how long each took and how many SIRs it sent, as histograms of fixed size.
//!
//! Turns that found nothing to do are left out: they would bury the others. A recording costs two
//! additions a turn and no allocation; the worker reads it out into its report.

use hdrhistogram::Histogram;

/// Longest turn told apart, in nanoseconds: ten seconds.
const LENGTH_NS_MAX: u64 = 10_000_000_000;
/// Most SIRs of a turn told apart; a turn admits 256 targets and retransmits what is due.
const SIRS_MAX: u64 = 1 << 20;

/// Lengths and yields of turns with work.
#[derive(Debug)]
pub struct TurnSizes {
    length_ns: Histogram<u64>,
    sirs: Histogram<u64>,
    is_recording: bool,
}

impl Default for TurnSizes {
    fn default() -> Self {
        let histogram =
            |most| Histogram::new_with_bounds(1, most, 1).expect("fixed bounds, one digit");
        Self {
            length_ns: histogram(LENGTH_NS_MAX),
            sirs: histogram(SIRS_MAX),
            is_recording: true,
        }
    }
}

impl TurnSizes {
    /// Records a turn of `length_ns` without sleep in which `sirs` SIRs were sent.
    #[inline]
    pub fn record(&mut self, length_ns: u64, sirs: u64) {
        if self.is_recording {
            self.length_ns.saturating_record(length_ns);
            self.sirs.saturating_record(sirs);
        }
    }

    /// Begins anew.
    pub fn restart(&mut self) {
        self.length_ns.reset();
        self.sirs.reset();
        self.is_recording = true;
    }

    /// Records no more until [`TurnSizes::restart`].
    pub fn stop(&mut self) {
        self.is_recording = false;
    }

    /// Turns by their length: pairs of (upper bound in nanoseconds, count).
    #[must_use]
    pub fn lengths_ns(&self) -> Vec<(u64, u64)> {
        buckets(&self.length_ns)
    }

    /// Turns by the SIRs that they sent: pairs of (upper bound, count).
    #[must_use]
    pub fn sirs(&self) -> Vec<(u64, u64)> {
        buckets(&self.sirs)
    }
}

fn buckets(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let recorded = histogram.iter_recorded();
    recorded
        .map(|at| (at.value_iterated_to(), at.count_at_value()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_recorded_between_restart_and_stop() {
        let mut sizes = TurnSizes::default();
        sizes.record(5, 5);
        sizes.restart();
        for turn in 0..10 {
            sizes.record(1_000 * turn, turn);
        }
        sizes.record(u64::MAX, 0);
        sizes.stop();
        sizes.record(7, 7);
        let count = |buckets: &[(u64, u64)]| buckets.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(count(&sizes.lengths_ns()), 11);
        assert_eq!(sizes.sirs().first(), Some(&(0, 2)));
        assert_eq!(sizes.sirs().last(), Some(&(9, 1)));
        let longest = sizes.lengths_ns().last().copied().unwrap();
        assert!(longest.0 >= LENGTH_NS_MAX && longest.1 == 1, "{longest:?}");
    }
}
