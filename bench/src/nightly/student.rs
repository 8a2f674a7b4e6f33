//! Student's two-sample t-test with pooled variance. The tail is computed in full precision far out,
//! where a family of a hundred series is judged. Called by `change_points`.

use super::sums::Sums;

/// Steps of the continued fraction; it converges within a few dozen for all degrees of freedom here.
const STEPS_MAX: u32 = 500;

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

/// P(|T| > t) for `freedom` degrees, given t squared: the incomplete beta function I_x(f/2, 1/2) at
/// x = f / (f + t^2) (Abramowitz and Stegun 26.7.1).
fn tail(t_squared: f64, freedom: f64) -> f64 {
    incomplete_beta(freedom / (freedom + t_squared), freedom / 2.0, 0.5)
}

/// The regularised incomplete beta function by its continued fraction (Abramowitz and Stegun 26.5.8),
/// evaluated by Lentz's method on the side where it converges fast.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln();
    let tiny = 1e-300;
    let keep = |value: f64| if value.abs() < tiny { tiny } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / keep(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..=STEPS_MAX {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / keep(1.0 + even * d);
        c = keep(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / keep(1.0 + odd * d);
        c = keep(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-14 {
            break;
        }
    }
    (front.exp() * fraction / a).clamp(0.0, 1.0)
}

/// The logarithm of the gamma function for x > 0: recurrence up to 16, then Stirling's series
/// (Abramowitz and Stegun 6.1.41).
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut below) = (x, 0.0);
    while x < 16.0 {
        below += x.ln();
        x += 1.0;
    }
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - below
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

    // SciPy 1.16.3: `2 * scipy.stats.t.sf(t, f)` and `scipy.stats.ttest_ind(a, b).pvalue`.
    const TAILS: [(f64, f64, f64); 6] = [
        (0.5, 3.0, 0.651_447_964_848_151),
        (2.0, 10.0, 0.073_388_034_770_740_39),
        (5.75, 28.0, 3.593_593_337_873_87e-6),
        (12.0, 40.0, 7.824_171_304_255_97e-15),
        (30.0, 58.0, 5.143_544_268_873_951e-37),
        (3.2, 6.0, 0.018_600_059_024_840_13),
    ];
    const TWO_SAMPLES: f64 = 0.012_410_787_048_740_395;

    #[test]
    fn the_tail_is_scipy_s() {
        for (t, freedom, wanted) in TAILS {
            close(tail(t * t, freedom), wanted);
        }
    }

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
