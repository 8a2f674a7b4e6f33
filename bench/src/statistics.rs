//! Medians, spreads, intervals and rank tests of repetitions. Means are not used: one stolen time slice
//! would move them, and a distribution of times is nothing like a normal one. Called by whatever repeats
//! a measurement: the ceiling, the record, the comparisons.

mod bootstrap;
mod rank;
pub mod student;

use serde::{Deserialize, Serialize};

pub use bootstrap::{Interval, median_ratio_interval, pairs_min, ratio_interval};
pub use rank::{least_rank_p, mann_whitney};

/// The median of what is finite in `samples`: the mean of the middle two for an even count; `None`
/// without any.
#[must_use]
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut finite: Vec<f64> = samples.iter().copied().filter(|s| s.is_finite()).collect();
    (!finite.is_empty()).then(|| median_in_place(&mut finite))
}

/// The median of finite samples, of which there is at least one; leaves them in another order.
fn median_in_place(samples: &mut [f64]) -> f64 {
    let middle = samples.len() / 2;
    let even = samples.len().is_multiple_of(2);
    let (below, upper, _) = samples.select_nth_unstable_by(middle, f64::total_cmp);
    if even {
        let lower = below.iter().copied().fold(f64::MIN, f64::max);
        f64::midpoint(lower, *upper)
    } else {
        *upper
    }
}

/// Median, least and greatest of a few repetitions, with the repetitions themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Median; the mean of the middle two for an even count; 0 without samples.
    pub median: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// Every repetition in the order it was run.
    pub samples: Vec<f64>,
}

impl Spread {
    /// The spread of `samples`, which are kept in their order; those not finite are left out.
    #[must_use]
    pub fn of(samples: Vec<f64>) -> Self {
        let mut sorted: Vec<f64> = samples.iter().copied().filter(|s| s.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return Self::default();
        };
        Self {
            median: median_in_place(&mut sorted),
            min,
            max,
            samples,
        }
    }

    /// Distance of least and greatest as a share of the median; 0 without samples.
    #[must_use]
    pub fn relative(&self) -> f64 {
        if self.median == 0.0 {
            0.0
        } else {
            (self.max - self.min) / self.median
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_one_bad_repetition() {
        let spread = Spread::of(vec![3.0, 1.0, 1000.0]);
        assert_eq!((spread.median, spread.min, spread.max), (3.0, 1.0, 1000.0));
        assert_eq!(spread.samples, vec![3.0, 1.0, 1000.0]);
    }

    #[test]
    fn an_even_count_takes_the_middle_of_two() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 9.0]).median, 3.0);
    }

    #[test]
    fn no_samples_give_zeroes_and_infinities_are_left_out() {
        assert_eq!(Spread::of(vec![]).median, 0.0);
        assert_eq!(Spread::of(vec![f64::INFINITY, 2.0]).median, 2.0);
    }

    #[test]
    fn the_relative_spread_is_of_the_median() {
        assert_eq!(Spread::of(vec![1.0, 2.0, 9.0]).relative(), 4.0);
        assert_eq!(Spread::default().relative(), 0.0);
    }
}
