//! The search against planted steps, noise, spikes and drifts. What Apache Otava finds is not held against it.

use super::*;
use sirocco_schedule::Draw;

/// One series of a suite of 60, as the history judges it.
const RULE: Rule = Rule {
    p_max: 0.01 / 60.0,
    effect_min: 0.02,
};

/// A normally distributed number: Box and Muller.
fn normal(draw: &mut Draw) -> f64 {
    let radius = (-2.0 * (1.0 - draw.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * draw.unit()).cos()
}

/// Nights about 200 with a standard deviation of a share of it, times `level` of each night.
fn nights(seed: u64, count: usize, deviation: f64, level: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut draw = Draw::new(seed);
    let night = |night| 200.0 * level(night) * (1.0 + deviation * normal(&mut draw));
    (0..count).map(night).collect()
}

fn steps(values: &[f64]) -> Vec<usize> {
    let changes = find(values, &RULE);
    changes.iter().map(|change| change.at).collect()
}

#[test]
fn a_step_of_five_percent_is_found_wherever_it_is() {
    for at in 4..=26 {
        for seed in 0..20 {
            let values = nights(seed, 30, 0.010, |night| if night < at { 1.0 } else { 1.05 });
            let found = find(&values, &RULE);
            assert_eq!(found.len(), 1, "step at {at}, seed {seed}: {found:?}");
            let change = found[0];
            // One night off where that night's noise hides half of the step.
            assert!(change.at.abs_diff(at) <= 1, "{} instead of {at}", change.at);
            assert_eq!(change.shape, Shape::Step);
            assert!((change.share() - 0.05).abs() < 0.02, "{change:?}");
        }
    }
}

#[test]
fn noise_is_no_change() {
    // 2,000 series of 30 nights; the rule allows 2,000 * 0.01 / 60 = 0.3 on average.
    for (seed, deviation) in (0..2_000).zip([0.005, 0.012, 0.03, 0.2].into_iter().cycle()) {
        let values = nights(seed, 30, deviation, |_| 1.0);
        assert_eq!(find(&values, &RULE), [], "seed {seed}, {deviation}");
    }
}

#[test]
fn single_nights_that_are_off_are_neither_steps_nor_hide_one() {
    for seed in 0..50 {
        let mut values = nights(seed, 30, 0.01, |night| if night < 20 { 1.0 } else { 1.05 });
        (values[5], values[24]) = (900.0, 20.0);
        let found = find(&values, &RULE);
        assert_eq!(found.len(), 1, "seed {seed}: {found:?}");
        assert!(found[0].at.abs_diff(20) <= 1, "{found:?}");
        let mut calm = nights(seed, 30, 0.01, |_| 1.0);
        calm[29] = 900.0;
        assert_eq!(find(&calm, &RULE), [], "seed {seed}: the last night alone");
    }
}

#[test]
fn a_drift_is_told_as_one_and_blames_nobody() {
    for seed in 0..50 {
        let values = nights(seed, 40, 0.008, |night| 1.0 + 0.003 * night as f64);
        let found = find(&values, &RULE);
        assert_eq!(found.len(), 1, "seed {seed}: {found:?}");
        assert_eq!(found[0].shape, Shape::Drift);
        assert!((found[0].share() - 0.117).abs() < 0.03, "{found:?}");
    }
}

#[test]
fn two_steps_are_two_and_each_is_stated_against_its_neighbours() {
    let level = |night| [1.0, 1.1, 0.95][night / 15];
    for seed in 0..50 {
        let found = find(&nights(seed, 45, 0.01, level), &RULE);
        assert_eq!(found.len(), 2, "seed {seed}: {found:?}");
        assert!(found[0].at.abs_diff(15) <= 1 && found[1].at.abs_diff(30) <= 1);
        assert!((found[0].share() - 0.1).abs() < 0.02);
        assert!((found[1].share() + 0.136).abs() < 0.02);
    }
}

#[test]
fn what_is_too_short_or_too_small_is_no_change() {
    assert_eq!(steps(&[]), [0; 0]);
    assert_eq!(
        steps(&[1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]),
        [0; 0],
        "three before"
    );
    assert_eq!(steps(&[1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]), [4]);
    let small = [[100.0; 10], [101.9; 10]].concat();
    assert_eq!(steps(&small), [0; 0], "1.9 % without any noise");
    assert_eq!(steps(&[[100.0; 10], [102.1; 10]].concat()), [10]);
    assert_eq!(steps(&[0.0; 30]), [0; 0]);
}

#[test]
fn the_place_is_counted_from_the_begin_of_a_long_history() {
    let values = nights(3, 300, 0.01, |night| if night < 280 { 1.0 } else { 1.05 });
    let found = steps(&values);
    assert!(found.len() == 1 && found[0].abs_diff(280) <= 1, "{found:?}");
}
