//! The rank test of two groups that were not measured in pairs: are values of one group larger than
//! those of the other more often than chance allows? It asks for no distribution. It gives no size of a
//! difference; the bootstrap beside it does. Called by the comparison of records.

/// Most products of group sizes for which the exact distribution is counted: 400 adds at most
/// 20 * 20 * 401 numbers, and beyond 20 and 20 the normal approximation is right to three digits.
const EXACT_MAX: usize = 400;

/// Two-sided p of the Mann-Whitney U test: how often groups without a difference would be at least this
/// unlike. Exact where there are no ties and the groups are small, else the normal approximation with
/// correction for ties and continuity. 1 when a group is empty or holds a value that is not finite.
#[must_use]
pub fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    if a.is_empty() || b.is_empty() || !a.iter().chain(b).all(|value| value.is_finite()) {
        return 1.0;
    }
    let mut values: Vec<(f64, bool)> = a.iter().map(|&value| (value, true)).collect();
    values.extend(b.iter().map(|&value| (value, false)));
    values.sort_by(|x, y| x.0.total_cmp(&y.0));
    let ranks = ranks(&values);
    let (n_a, n_b) = (a.len() as f64, b.len() as f64);
    let u = ranks.sum_a - n_a * (n_a + 1.0) / 2.0;
    let larger = u.max(n_a * n_b - u);
    let p = if ranks.ties == 0.0 && a.len() * b.len() <= EXACT_MAX {
        2.0 * tail(a.len(), b.len(), larger.round() as usize)
    } else {
        normal(n_a, n_b, larger, ranks.ties)
    };
    p.min(1.0)
}

/// The least p that groups of these sizes can have: 2 of all arrangements are the most unlike ones. No
/// difference, however large, gives less. 1 when a group is empty.
#[must_use]
pub fn least_rank_p(n_a: usize, n_b: usize) -> f64 {
    let arrangements: f64 = (1..=n_a).map(|i| (n_b + i) as f64 / i as f64).product();
    (2.0 / arrangements).min(1.0)
}

/// What the test needs of the ranks.
struct Ranks {
    /// Sum of the ranks of the first group; equal values share the mean of their ranks.
    sum_a: f64,
    /// Sum of t^3 - t over every set of t equal values.
    ties: f64,
}

fn ranks(sorted: &[(f64, bool)]) -> Ranks {
    let mut found = Ranks {
        sum_a: 0.0,
        ties: 0.0,
    };
    let mut before = 0;
    for equal in sorted.chunk_by(|x, y| x.0 == y.0) {
        let count = equal.len() as f64;
        let rank = before as f64 + f64::midpoint(count, 1.0);
        found.sum_a += rank * equal.iter().filter(|value| value.1).count() as f64;
        found.ties += count.powi(3) - count;
        before += equal.len();
    }
    found
}

/// Two-sided p by the normal approximation.
fn normal(n_a: f64, n_b: f64, larger: f64, ties: f64) -> f64 {
    let n = n_a + n_b;
    let variance = n_a * n_b / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)));
    if variance <= 0.0 {
        // All values are equal.
        return 1.0;
    }
    let z = (larger - n_a * n_b / 2.0 - 0.5) / variance.sqrt();
    libm::erfc(z / std::f64::consts::SQRT_2)
}

/// Share of the arrangements of `n_a` and `n_b` values, none equal, whose U is at least `least`: the
/// coefficients of the Gaussian binomial, built up by one factor (1 - q^(n_b + i)) / (1 - q^i) at a time.
fn tail(n_a: usize, n_b: usize, least: usize) -> f64 {
    let top = n_a * n_b;
    let mut ways = vec![0.0; top + 1];
    ways[0] = 1.0;
    for i in 1..=n_a {
        for u in (n_b + i..=top).rev() {
            ways[u] -= ways[u - n_b - i];
        }
        for u in i..=top {
            ways[u] += ways[u - i];
        }
    }
    let all: f64 = ways.iter().sum();
    ways[least.min(top)..].iter().sum::<f64>() / all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of SciPy 1.17.1: `from scipy.stats import mannwhitneyu; mannwhitneyu(a, b).pvalue`, which
    /// is exact for small groups without ties and asymptotic else.
    #[test]
    fn p_is_that_of_scipy() {
        let rising: Vec<f64> = (1..=30).map(f64::from).collect();
        let later: Vec<f64> = (1..=25).map(|x| f64::from(x) + 7.5).collect();
        let cases: [(&[f64], &[f64], f64); 7] = [
            (
                &[1.1, 2.2, 3.3, 4.4],
                &[5.5, 6.6, 7.7, 8.8],
                0.028_571_428_571_428_57,
            ),
            (
                &[19.0, 22.0, 16.0, 29.0, 24.0],
                &[20.0, 11.0, 17.0, 12.0],
                0.111_111_111_111_111_1,
            ),
            (
                &[0.8, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46],
                &[1.15, 0.88, 0.9, 0.74, 1.21],
                0.254_412_254_412_254_4,
            ),
            (
                &[1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0],
                &[2.0, 3.0, 4.0, 4.0, 5.0, 5.0, 6.0],
                0.043_051_432_728_945_134,
            ),
            (
                &[5.0, 5.0, 5.0, 5.0],
                &[5.0, 5.0, 5.0, 6.0],
                0.453_254_704_753_736_4,
            ),
            (&rising, &later, 0.040_002_331_065_640_58),
            (&[1.0, 1.0, 1.0], &[1.0, 1.0, 1.0], 1.0),
        ];
        for (a, b, p) in cases {
            for (x, y) in [(a, b), (b, a)] {
                let found = mann_whitney(x, y);
                assert!((found - p).abs() < 1e-9, "{x:?} {y:?}: {found} for {p}");
            }
        }
    }

    #[test]
    fn the_least_p_of_three_and_three_is_a_tenth() {
        // 2 of the 20 arrangements are as unlike as that: three repetitions never show a difference at 95 %.
        let p = mann_whitney(&[1.0, 2.0, 3.0], &[1e6, 2e6, 3e6]);
        assert!((p - 0.1).abs() < 1e-12, "{p}");
        assert!((least_rank_p(3, 3) - 0.1).abs() < 1e-12);
        assert!((least_rank_p(4, 4) - 2.0 / 70.0).abs() < 1e-12);
        assert_eq!((least_rank_p(0, 9), least_rank_p(1, 1)), (1.0, 1.0));
    }

    #[test]
    fn without_values_nothing_is_shown() {
        assert_eq!(mann_whitney(&[], &[1.0]), 1.0);
        assert_eq!(mann_whitney(&[f64::NAN, 1.0], &[1.0, 2.0]), 1.0);
    }
}
