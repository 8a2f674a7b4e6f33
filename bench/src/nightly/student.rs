//! Student's two-sample t-test with pooled variance. Called by `change_points`.

use super::sums::Sums;
use crate::statistics::student::tail;

/// Two-sided p-value of the hypothesis that both samples have one mean. Without any variance it is 1
/// for equal means and 0 otherwise; 1 with fewer than two values on a side.
#[must_use]
pub fn p_value(a: &Sums, b: &Sums) -> f64 {
    if a.count < 2.0 || b.count < 2.0 {
        return 1.0;
    }
    let freedom = a.count + b.count - 2.0;
    let pooled = (a.squares_about_mean() + b.squares_about_mean()) / freedom;
    let difference = a.mean() - b.mean();
    let error = pooled * (1.0 / a.count + 1.0 / b.count);
    // Means that differ by rounding only are equal.
    let scale = f64::EPSILON * 64.0 * a.mean().abs().max(b.mean().abs());
    if difference.abs() <= scale {
        return 1.0;
    }
    if error <= scale * scale {
        return 0.0;
    }
    tail(difference * difference / error, freedom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(reached: f64, wanted: f64) {
        assert!(
            (reached / wanted - 1.0).abs() < 1e-8,
            "{reached} instead of {wanted}"
        );
    }

    // SciPy 1.16.3: `scipy.stats.ttest_ind(a, b).pvalue`.
    const TWO_SAMPLES: f64 = 0.012_410_787_048_740_395;

    #[test]
    fn the_test_of_two_samples_is_scipy_s() {
        let a = Sums::of(&[1.0, 2.0, 3.0, 4.5, 2.5]);
        let b = Sums::of(&[4.0, 5.5, 6.0, 5.0]);
        close(p_value(&a, &b), TWO_SAMPLES);
    }

    #[test]
    fn without_variance_only_equality_matters() {
        let (one, two) = (Sums::of(&[1.1; 5]), Sums::of(&[2.2; 4]));
        assert_eq!((p_value(&one, &one), p_value(&one, &two)), (1.0, 0.0));
        assert_eq!(p_value(&one, &Sums::of(&[7.0])), 1.0);
    }
}
