//! Least squares of relative errors: what is linear in given terms, fitted so that 1 % counts the same at
//! a small figure as at a large one, with the prediction interval of a further measurement. Normal
//! equations of a handful of terms; a thousand terms would want a library. Called by `cost`, `memory`
//! and `scaling`.

use super::estimate::Estimate;
use crate::statistics::student;

/// One measurement: its terms, and what was measured.
pub type Point = (Vec<f64>, f64);

/// A fitted sum of terms.
#[derive(Clone, Debug)]
pub struct Fit {
    /// What each term is multiplied by.
    pub coefficients: Vec<f64>,
    /// Standard deviation of a measurement about the fit, as a share of the fit.
    pub scatter: f64,
    /// Measurements beyond those that the coefficients take.
    pub freedom: usize,
    inverse: Vec<Vec<f64>>,
}

/// Fits `points`; `None` where they are no more than the terms, hold something that is not above 0, or do
/// not tell the terms apart.
#[must_use]
pub fn fit(points: &[Point]) -> Option<Fit> {
    let terms = points.first()?.0.len();
    let freedom = points.len().checked_sub(terms).filter(|&free| free > 0)?;
    if points.iter().any(|(_, y)| !(y.is_finite() && *y > 0.0)) {
        return None;
    }
    let mut square = vec![vec![0.0; terms]; terms];
    let mut right = vec![0.0; terms];
    for (x, y) in points {
        for i in 0..terms {
            right[i] += x[i] / y;
            for j in 0..terms {
                square[i][j] += x[i] / y * x[j] / y;
            }
        }
    }
    let inverse = inverted(&square)?;
    let coefficients: Vec<f64> = inverse.iter().map(|row| dot(row, &right)).collect();
    let squares: f64 = points
        .iter()
        .map(|(x, y)| (dot(x, &coefficients) / y - 1.0).powi(2))
        .sum();
    Some(Fit {
        coefficients,
        scatter: (squares / freedom as f64).sqrt(),
        freedom,
        inverse,
    })
}

impl Fit {
    /// The fitted figure at `x`, and the interval in which one more measurement lies with a probability of
    /// `confidence`: the fit's own error and the scatter of a measurement about it, both `widened` times.
    #[must_use]
    pub fn predict(&self, x: &[f64], confidence: f64, widened: f64) -> Estimate {
        let value = dot(x, &self.coefficients).max(0.0);
        let of_fit: f64 = self
            .inverse
            .iter()
            .zip(x)
            .map(|(row, xi)| xi * dot(row, x))
            .sum();
        let deviation = self.scatter * value.mul_add(value, of_fit.max(0.0)).sqrt();
        let half = student::quantile(confidence, self.freedom as f64) * deviation * widened;
        Estimate::between(value, value - half, value + half)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The inverse of a symmetric positive matrix by Gauss and Jordan, its rows and columns brought to one
/// size first; `None` where it has none in this precision.
fn inverted(square: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let n = square.len();
    let sizes: Vec<f64> = (0..n).map(|i| square[i][i].sqrt()).collect();
    if sizes.iter().any(|size| !(size.is_finite() && *size > 0.0)) {
        return None;
    }
    let unit = |i: usize, j: usize| f64::from(u8::from(i == j));
    let mut rows: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            let left = (0..n).map(|j| square[i][j] / (sizes[i] * sizes[j]));
            left.chain((0..n).map(|j| unit(i, j))).collect()
        })
        .collect();
    for column in 0..n {
        let pivot = (column..n)
            .max_by(|&a, &b| f64::total_cmp(&rows[a][column].abs(), &rows[b][column].abs()))?;
        rows.swap(column, pivot);
        // Terms that differ by rounding alone leave nothing but rounding here.
        if rows[column][column].abs() < 1e-9 {
            return None;
        }
        let by = rows[column][column];
        rows[column].iter_mut().for_each(|value| *value /= by);
        let pivot_row = rows[column].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != column) {
            let factor = row[column];
            row.iter_mut()
                .zip(&pivot_row)
                .for_each(|(value, p)| *value -= factor * p);
        }
    }
    let scaled = |i: usize, j: usize| rows[i][n + j] / (sizes[i] * sizes[j]);
    Some(
        (0..n)
            .map(|i| (0..n).map(|j| scaled(i, j)).collect())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use sirocco_schedule::Draw;

    use super::*;

    /// A deviate of about variance 1: twelve uniform ones.
    fn noise(draw: &mut Draw) -> f64 {
        let uniform = |draw: &mut Draw| draw.below(1 << 32) as f64 / (1u64 << 32) as f64;
        (0..12).map(|_| uniform(draw)).sum::<f64>() - 6.0
    }

    fn terms(train: f64, identities: f64) -> Vec<f64> {
        vec![1.0, 1.0 / train, identities.log2()]
    }

    fn points(scatter: f64, draw: &mut Draw) -> Vec<Point> {
        let mut points = Vec::new();
        for train in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0] {
            for identities in [65_536.0, 262_144.0, 1_048_576.0] {
                let x = terms(train, identities);
                let y = dot(&x, &[100.0, 2_000.0, 10.0]);
                points.push((x, y * (1.0 + scatter * noise(draw))));
            }
        }
        points
    }

    #[test]
    fn what_has_no_error_is_found_exactly() {
        let fit = fit(&points(0.0, &mut Draw::new(1))).expect("a fit");
        for (found, true_one) in fit.coefficients.iter().zip([100.0, 2_000.0, 10.0]) {
            assert!((found / true_one - 1.0).abs() < 1e-9, "{found}");
        }
        assert!(fit.scatter < 1e-9);
        let far = fit.predict(&terms(64.0, 16_777_216.0), 0.95, 1.0);
        assert!((far.value - 371.25).abs() < 1e-6, "{far:?}");
    }

    #[test]
    fn the_interval_holds_a_further_measurement_as_often_as_it_says() {
        let mut draw = Draw::new(7);
        let x = terms(64.0, 8_388_608.0);
        let truth = dot(&x, &[100.0, 2_000.0, 10.0]);
        let held = (0..400)
            .filter(|_| {
                let fit = fit(&points(0.05, &mut draw)).expect("a fit");
                let measured = truth * (1.0 + 0.05 * noise(&mut draw));
                fit.predict(&x, 0.95, 1.0).covers(measured)
            })
            .count();
        assert!((368..=392).contains(&held), "{held} of 400");
    }

    #[test]
    fn terms_that_cannot_be_told_apart_give_no_fit() {
        let twins = |x: f64| (vec![x, 2.0 * x], x);
        assert!(fit(&[twins(1.0), twins(2.0), twins(3.0)]).is_none());
        assert!(fit(&[(vec![1.0], 2.0)]).is_none());
        assert!(fit(&[(vec![1.0], 2.0), (vec![1.0], 0.0)]).is_none());
        assert!(fit(&[]).is_none());
    }
}
