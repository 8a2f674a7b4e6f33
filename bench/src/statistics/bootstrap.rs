//! Bootstrap intervals of medians and of ratios of medians: what the median would have been had other
//! runs of the same kind been made. Percentile method, seeded. It does not correct for repetitions that
//! depend on one another; who measures makes them independent. Called by the comparisons.

use serde::{Deserialize, Serialize};
use sirocco_schedule::Draw;

use super::median_in_place;

/// Resamples of one interval: the 2.5 % point then lies within 0.35 % of its place (one standard error,
/// sqrt(0.025 * 0.975 / 2000)).
const RESAMPLES: usize = 2_000;

/// Fewest samples that make an interval at all.
const SAMPLES_MIN: usize = 3;

/// An estimate with the interval that covers the true value with a probability of `confidence`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate: the median of the samples.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Nominal coverage, such as 0.95. With fewer than [`pairs_min`] samples it is not reached.
    pub confidence: f64,
}

impl Interval {
    /// Whether `value` lies in the interval, ends included.
    #[must_use]
    pub fn covers(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Fewest samples with which any interval of a median made of the samples themselves covers it with
/// `confidence`: least and greatest of n enclose the median with probability 1 - 2^(1 - n). 6 for 95 %.
#[must_use]
pub fn pairs_min(confidence: f64) -> usize {
    let miss = (1.0 - confidence).max(f64::EPSILON);
    (1.0 - miss.log2()).ceil().max(SAMPLES_MIN as f64) as usize
}

/// The median of `samples` with its percentile bootstrap interval; those not finite are left out. `None`
/// with fewer than three.
#[must_use]
fn median_interval(samples: &[f64], confidence: f64, seed: u64) -> Option<Interval> {
    let samples = finite(samples)?;
    let mut scratch = Vec::with_capacity(samples.len());
    let mut draw = Draw::new(seed);
    let medians = (0..RESAMPLES).map(|_| resampled_median(&samples, &mut scratch, &mut draw));
    let medians = medians.collect();
    let estimate = median_in_place(&mut samples.clone());
    Some(percentiles(estimate, medians, confidence))
}

/// The median of the ratios b / a of measurements made in pairs `(a, b)`, with its bootstrap interval:
/// 1 is no difference. Pairs whose a is not above 0 have no ratio and are left out. `None` with fewer than
/// three.
#[must_use]
pub fn ratio_interval(pairs: &[(f64, f64)], confidence: f64, seed: u64) -> Option<Interval> {
    let measured = pairs.iter().filter(|(a, _)| *a > 0.0);
    let ratios: Vec<f64> = measured.map(|(a, b)| b / a).collect();
    median_interval(&ratios, confidence, seed)
}

/// The ratio median(b) / median(a) of two groups that were not measured in pairs, with its bootstrap
/// interval, both resampled. `None` with fewer than three values in a group, or when a has a value that
/// is not above 0.
#[must_use]
pub fn median_ratio_interval(a: &[f64], b: &[f64], confidence: f64, seed: u64) -> Option<Interval> {
    let (a, b) = (finite(a)?, finite(b)?);
    if a.iter().any(|&value| value <= 0.0) {
        return None;
    }
    let (mut scratch, mut draw) = (Vec::new(), Draw::new(seed));
    let ratios = (0..RESAMPLES).map(|_| {
        let below = resampled_median(&a, &mut scratch, &mut draw);
        resampled_median(&b, &mut scratch, &mut draw) / below
    });
    let ratios = ratios.collect();
    let estimate = median_in_place(&mut b.clone()) / median_in_place(&mut a.clone());
    Some(percentiles(estimate, ratios, confidence))
}

/// What is finite in `samples`, if that is enough.
fn finite(samples: &[f64]) -> Option<Vec<f64>> {
    let kept: Vec<f64> = samples.iter().copied().filter(|s| s.is_finite()).collect();
    (kept.len() >= SAMPLES_MIN).then_some(kept)
}

/// The median of as many draws with replacement as there are samples.
fn resampled_median(samples: &[f64], scratch: &mut Vec<f64>, draw: &mut Draw) -> f64 {
    scratch.clear();
    let drawn = samples
        .iter()
        .map(|_| samples[draw.below(samples.len() as u64) as usize]);
    scratch.extend(drawn);
    median_in_place(scratch)
}

/// The interval between the two percentiles that leave equal shares outside.
fn percentiles(estimate: f64, mut resampled: Vec<f64>, confidence: f64) -> Interval {
    resampled.sort_by(f64::total_cmp);
    let outside = (1.0 - confidence.clamp(0.0, 1.0)) / 2.0;
    let skipped = (outside * resampled.len() as f64).floor() as usize;
    let last = resampled.len() - 1;
    Interval {
        estimate,
        low: resampled[skipped.min(last)],
        high: resampled[last - skipped.min(last)],
        confidence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value of a log-normal distribution of median 1, skewed as times are (Box-Muller).
    fn skewed(draw: &mut Draw) -> f64 {
        let radius = (-2.0 * (1.0 - draw.unit()).ln()).sqrt();
        (0.1 * radius * (std::f64::consts::TAU * draw.unit()).cos()).exp()
    }

    fn group(draw: &mut Draw, count: usize) -> Vec<f64> {
        (0..count).map(|_| skewed(draw)).collect()
    }

    /// How often intervals of `make` cover `truth`, of 500.
    fn coverage(truth: f64, mut make: impl FnMut(&mut Draw, u64) -> Option<Interval>) -> f64 {
        let mut draw = Draw::new(4);
        let covered = (0..500).filter(|&seed| {
            let interval = make(&mut draw, seed).expect("enough samples");
            interval.covers(truth)
        });
        covered.count() as f64 / 500.0
    }

    #[test]
    fn an_interval_of_95_percent_covers_the_truth_about_so_often() {
        for count in [6, 10, 15] {
            let share = coverage(1.0, |draw, seed| {
                median_interval(&group(draw, count), 0.95, seed)
            });
            assert!((0.90..=0.98).contains(&share), "median of {count}: {share}");
        }
        let share = coverage(1.07, |draw, seed| {
            let pairs: Vec<(f64, f64)> = (0..12)
                .map(|_| (skewed(draw), 1.07 * skewed(draw)))
                .collect();
            ratio_interval(&pairs, 0.95, seed)
        });
        assert!((0.90..=0.98).contains(&share), "ratio of pairs: {share}");
        let share = coverage(1.07, |draw, seed| {
            let b: Vec<f64> = group(draw, 12).iter().map(|value| 1.07 * value).collect();
            median_ratio_interval(&group(draw, 12), &b, 0.95, seed)
        });
        assert!((0.90..=0.98).contains(&share), "ratio of medians: {share}");
    }

    #[test]
    fn a_narrower_confidence_covers_less() {
        let share = coverage(1.0, |draw, seed| {
            median_interval(&group(draw, 15), 0.5, seed)
        });
        // The median lies between the seventh and ninth of 15 with 2 * C(15, 7) / 2^15 = 39 %, between the
        // sixth and tenth with 70 %: nothing in between can be had from so few.
        assert!((0.33..=0.75).contains(&share), "{share}");
    }

    #[test]
    fn an_interval_is_the_same_for_the_same_seed_and_encloses_its_estimate() {
        let samples = group(&mut Draw::new(9), 9);
        let interval = median_interval(&samples, 0.95, 7).unwrap();
        assert_eq!(median_interval(&samples, 0.95, 7), Some(interval));
        assert!(interval.covers(interval.estimate) && interval.low < interval.high);
        assert_eq!(super::super::median(&samples), Some(interval.estimate));
    }

    #[test]
    fn too_few_samples_give_no_interval() {
        assert_eq!(median_interval(&[1.0, 2.0, f64::NAN], 0.95, 1), None);
        assert_eq!(
            ratio_interval(&[(0.0, 1.0), (1.0, 1.0), (2.0, 2.0)], 0.95, 1),
            None
        );
        assert_eq!(median_ratio_interval(&[0.0; 3], &[1.0; 3], 0.95, 1), None);
        assert_eq!(
            (pairs_min(0.95), pairs_min(0.99), pairs_min(0.5)),
            (6, 8, 3)
        );
    }

    #[test]
    fn samples_without_noise_give_an_interval_without_width() {
        let interval = ratio_interval(&[(2.0, 3.0); 5], 0.95, 1).unwrap();
        assert_eq!(
            (interval.estimate, interval.low, interval.high),
            (1.5, 1.5, 1.5)
        );
    }
}
