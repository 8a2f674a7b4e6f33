//! A figure with the interval that it lies in, and how intervals combine: by their ends, as if all errors
//! went the same way, which is wider than any statistics would make it. Numbers only. Called by the plan.

use serde::{Deserialize, Serialize};

/// A figure that is not negative, with its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The best guess.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Estimate {
    /// A figure without an error: what the user says, or what a standard fixes.
    #[must_use]
    pub const fn exact(value: f64) -> Self {
        Self {
            value,
            low: value,
            high: value,
        }
    }

    /// A figure between two others.
    #[must_use]
    pub fn between(value: f64, low: f64, high: f64) -> Self {
        Self {
            value,
            low: low.min(value).max(0.0),
            high: high.max(value),
        }
    }

    /// Both added.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.joined(other, |a, b| a + b)
    }

    /// Both multiplied.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        self.joined(other, |a, b| a * b)
    }

    /// This over `other`: the upper end over the lower one. Infinite where `other` reaches 0.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        Self {
            value: self.value / other.value,
            low: self.low / other.high,
            high: self.high / other.low,
        }
    }

    /// The greater of both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.joined(other, f64::max)
    }

    /// Multiplied by a number that is not negative.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        self.mapped(|end| end * factor)
    }

    /// What a rule that never falls makes of it.
    #[must_use]
    pub fn mapped(self, rule: impl Fn(f64) -> f64) -> Self {
        Self {
            value: rule(self.value),
            low: rule(self.low),
            high: rule(self.high),
        }
    }

    /// The same figure with an interval that holds `other` as well.
    #[must_use]
    pub fn holding(self, other: Self) -> Self {
        Self::between(
            self.value,
            self.low.min(other.low),
            self.high.max(other.high),
        )
    }

    /// Whether `value` lies in the interval, ends included.
    #[must_use]
    pub fn covers(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    fn joined(self, other: Self, rule: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            value: rule(self.value, other.value),
            low: rule(self.low, other.low),
            high: rule(self.high, other.high),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_go_with_ends() {
        let (a, b) = (
            Estimate::between(2.0, 1.0, 4.0),
            Estimate::between(10.0, 8.0, 16.0),
        );
        assert_eq!(a.plus(b), Estimate::between(12.0, 9.0, 20.0));
        assert_eq!(a.times(b), Estimate::between(20.0, 8.0, 64.0));
        assert_eq!(b.over(a), Estimate::between(5.0, 2.0, 16.0));
        assert_eq!(
            a.max(Estimate::exact(3.0)),
            Estimate::between(3.0, 3.0, 4.0)
        );
        assert_eq!(a.holding(b), Estimate::between(2.0, 1.0, 16.0));
        assert!(a.covers(1.0) && a.covers(4.0) && !a.covers(4.1));
    }

    #[test]
    fn an_interval_holds_its_figure_and_nothing_negative() {
        assert_eq!(
            Estimate::between(5.0, -1.0, 4.0),
            Estimate::between(5.0, 0.0, 5.0)
        );
    }
}
