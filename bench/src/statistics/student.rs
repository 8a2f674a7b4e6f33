//! Student's distribution: its tail in full precision far out, where a family of a hundred series is
//! judged, and its quantiles for intervals. Called by the nightly change points and by the plan's
//! regression.

/// Steps of the continued fraction; it converges within a few dozen for all degrees of freedom here.
const STEPS_MAX: u32 = 500;

/// P(|T| > t) for `freedom` degrees, given t squared: the incomplete beta function I_x(f/2, 1/2) at
/// x = f / (f + t^2) (Abramowitz and Stegun 26.7.1).
#[must_use]
pub fn tail(t_squared: f64, freedom: f64) -> f64 {
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

/// The t beyond which, on both sides together, lies 1 - `confidence` of the distribution, by bisection of
/// the tail: exact to a relative 1e-12.
#[must_use]
pub fn quantile(confidence: f64, freedom: f64) -> f64 {
    let outside = 1.0 - confidence;
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    while tail(high * high, freedom) > outside && high < 1e9 {
        high *= 2.0;
    }
    while high - low > high * 1e-12 {
        let middle = f64::midpoint(low, high);
        match tail(middle * middle, freedom) > outside {
            true => low = middle,
            false => high = middle,
        }
    }
    high
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

    // SciPy 1.16.3: `2 * scipy.stats.t.sf(t, f)`.
    const TAILS: [(f64, f64, f64); 6] = [
        (0.5, 3.0, 0.651_447_964_848_151),
        (2.0, 10.0, 0.073_388_034_770_740_39),
        (5.75, 28.0, 3.593_593_337_873_87e-6),
        (12.0, 40.0, 7.824_171_304_255_97e-15),
        (30.0, 58.0, 5.143_544_268_873_951e-37),
        (3.2, 6.0, 0.018_600_059_024_840_13),
    ];
    #[test]
    fn the_tail_is_scipy_s() {
        for (t, freedom, wanted) in TAILS {
            close(tail(t * t, freedom), wanted);
        }
    }

    #[test]
    fn the_quantile_is_where_the_tail_begins() {
        for (t, freedom, outside) in TAILS.into_iter().filter(|(.., outside)| *outside > 1e-9) {
            close(quantile(1.0 - outside, freedom), t);
        }
    }
}
