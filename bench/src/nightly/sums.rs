//! Count, sum and sum of squares of a run of values: what means, variances and the splits of a series
//! need, each in constant time from running sums. Called by `change_points` and `student`.

use std::ops::Sub;

/// Count, sum and sum of squares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Values.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
}

impl Sums {
    /// The sums of `values`.
    #[cfg(test)]
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        values
            .iter()
            .fold(Self::default(), |sums, value| sums.and(*value))
    }

    /// The sums of every beginning of `values`, the empty one first.
    #[must_use]
    pub fn running(values: &[f64]) -> Vec<Self> {
        let mut sums = vec![Self::default()];
        for value in values {
            sums.push(sums[sums.len() - 1].and(*value));
        }
        sums
    }

    fn and(self, value: f64) -> Self {
        Self {
            count: self.count + 1.0,
            sum: self.sum + value,
            squares: self.squares + value * value,
        }
    }

    /// Mean; 0 without values.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0.0 {
            0.0
        } else {
            self.sum / self.count
        }
    }

    /// Sum of the squared distances from the mean.
    #[must_use]
    pub fn squares_about_mean(&self) -> f64 {
        (self.squares - self.sum * self.mean()).max(0.0)
    }
}

impl Sub for Sums {
    type Output = Self;

    fn sub(self, begin: Self) -> Self {
        Self {
            count: self.count - begin.count,
            sum: self.sum - begin.sum,
            squares: self.squares - begin.squares,
        }
    }
}
