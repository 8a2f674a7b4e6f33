//! From values to places on paper: linear, logarithmic and percentile scales, and the values that are
//! worth a tick. Numbers only; `axis` draws them. Called by every chart.

/// How values lie along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Equal differences take equal room.
    Linear,
    /// Equal ratios take equal room; values have to be above 0.
    Log,
    /// Shares from 0 towards 1: each further nine takes equal room, as HDR histograms are plotted.
    Percentile,
}

/// A scale from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    kind: Kind,
    /// Least value on the axis.
    pub low: f64,
    /// Greatest value on the axis.
    pub high: f64,
}

/// Ticks that a linear axis has at most, the ends included.
const TICKS_MAX: f64 = 6.0;

/// Decades from which on powers of ten alone are ticks.
const DECADES_MANY: f64 = 3.0;

/// Decades that a logarithmic axis covers at most: what lies below is drawn at its foot.
const DECADES_MAX: i32 = 9;

/// Nines that a percentile axis shows at most; f64 tells no more apart reliably.
const NINES_MAX: f64 = 7.0;

impl Scale {
    /// From 0, or the least value where that is negative, to a round number above `high`.
    #[must_use]
    pub fn linear(low: f64, high: f64) -> Self {
        let (low, high) = ordered(low.min(0.0), high.max(0.0));
        Self::rounded(low, high)
    }

    /// Around the values alone, for series whose level is far from 0.
    #[must_use]
    pub fn close(low: f64, high: f64) -> Self {
        let (low, high) = ordered(low, high);
        let room = (high - low) * 0.1;
        Self::rounded(low - room, high + room)
    }

    /// Exactly from `low` to `high`.
    #[must_use]
    pub fn exact(low: f64, high: f64) -> Self {
        let (low, high) = ordered(low, high);
        Self {
            kind: Kind::Linear,
            low,
            high,
        }
    }

    /// Whole decades around positive values; narrower ranges begin and end at 1, 2 or 5.
    #[must_use]
    pub fn log(low: f64, high: f64) -> Self {
        let high = if high.is_finite() && high > 0.0 {
            high
        } else {
            1.0
        };
        let least = high / 10f64.powi(DECADES_MAX);
        let low = if low.is_finite() {
            low.clamp(least, high)
        } else {
            least
        };
        let (mut bottom, mut top) = (round_down(low), round_up(high));
        if bottom >= top {
            (bottom, top) = (bottom / 10.0, top * 10.0);
        }
        Self {
            kind: Kind::Log,
            low: bottom,
            high: top,
        }
    }

    /// Shares from 0 to the nines that `count` values can show.
    #[must_use]
    pub fn percentile(count: u64) -> Self {
        let nines = (count.max(10) as f64).log10().clamp(1.0, NINES_MAX).ceil();
        Self {
            kind: Kind::Percentile,
            low: 0.0,
            high: 1.0 - 10f64.powf(-nines),
        }
    }

    fn rounded(low: f64, high: f64) -> Self {
        let step = step(low, high);
        Self {
            kind: Kind::Linear,
            low: (low / step + 1e-9).floor() * step,
            high: (high / step - 1e-9).ceil() * step,
        }
    }

    /// Where a value lies: 0 at `low`, 1 at `high`, never beyond. What is no number lies at 0.
    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let share =
            (self.bent(value) - self.bent(self.low)) / (self.bent(self.high) - self.bent(self.low));
        if share.is_nan() {
            0.0
        } else {
            share.clamp(0.0, 1.0)
        }
    }

    fn bent(&self, value: f64) -> f64 {
        match self.kind {
            Kind::Linear => value,
            Kind::Log => value.max(f64::MIN_POSITIVE).log10(),
            Kind::Percentile => -(1.0 - value.min(self.high)).log10(),
        }
    }

    /// The values to write at the axis, in their order.
    #[must_use]
    pub fn ticks(&self) -> Vec<f64> {
        match self.kind {
            Kind::Linear => self.linear_ticks(),
            Kind::Log => self.log_ticks(),
            Kind::Percentile => {
                let nines = (self.bent(self.high) + 0.5) as i32;
                (0..=nines).map(|n| 1.0 - 10f64.powi(-n)).collect()
            }
        }
    }

    fn linear_ticks(&self) -> Vec<f64> {
        let step = step(self.low, self.high);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|at| at as f64 * step).collect()
    }

    fn log_ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let mantissas: &[f64] = if decades > DECADES_MANY + 0.01 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let (first, last) = (
            self.low.log10().floor() as i32,
            self.high.log10().ceil() as i32,
        );
        let all =
            (first..=last).flat_map(|power| mantissas.iter().map(move |m| m * 10f64.powi(power)));
        let slack = 1e-9;
        all.filter(|v| *v >= self.low * (1.0 - slack) && *v <= self.high * (1.0 + slack))
            .collect()
    }
}

/// Two finite, different values with the smaller one first.
fn ordered(low: f64, high: f64) -> (f64, f64) {
    let finite = |value: f64| if value.is_finite() { value } else { 0.0 };
    let (low, high) = (finite(low).min(finite(high)), finite(high).max(finite(low)));
    match high - low > high.abs().max(low.abs()) * 1e-9 {
        true => (low, high),
        false if low == 0.0 => (0.0, 1.0),
        false => (low - low.abs() * 0.05, high + high.abs() * 0.05),
    }
}

/// The distance of ticks: 1, 2 or 5 times a power of ten.
fn step(low: f64, high: f64) -> f64 {
    let raw = (high - low) / (TICKS_MAX - 1.0);
    let power = 10f64.powf(raw.log10().floor());
    let mantissa = raw / power;
    let nice = [1.0, 2.0, 5.0, 10.0];
    let nice = nice.into_iter().find(|nice| mantissa <= nice + 1e-9);
    nice.unwrap_or(10.0) * power
}

fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let nice = [5.0, 2.0, 1.0].into_iter();
    let below = nice.map(|m| m * power).find(|v| *v <= value * (1.0 + 1e-9));
    below.unwrap_or(power)
}

fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let nice = [1.0, 2.0, 5.0, 10.0].into_iter();
    let above = nice.map(|m| m * power).find(|v| *v >= value * (1.0 - 1e-9));
    above.unwrap_or(power * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_near(found: &[f64], wanted: &[f64]) {
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= b.abs() * 1e-9 + 1e-12;
        assert!(
            found.len() == wanted.len() && found.iter().zip(wanted).all(near),
            "{found:?} for {wanted:?}"
        );
    }

    #[test]
    fn linear_axes_have_round_ticks_and_begin_at_zero() {
        assert_near(
            &Scale::linear(3.0, 47.0).ticks(),
            &[0.0, 10.0, 20.0, 30.0, 40.0, 50.0],
        );
        assert_near(&Scale::linear(0.0, 2.6e6).ticks(), &[0.0, 1e6, 2e6, 3e6]);
        assert_near(
            &Scale::linear(-4.0, 4.0).ticks(),
            &[-4.0, -2.0, 0.0, 2.0, 4.0],
        );
        assert_near(
            &Scale::linear(0.0, 0.0).ticks(),
            &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
        );
    }

    #[test]
    fn a_close_axis_stays_at_its_level() {
        let scale = Scale::close(371.0, 391.0);
        assert!(scale.low > 350.0 && scale.high < 410.0, "{scale:?}");
        let flat = Scale::close(5.0, 5.0);
        assert!(flat.low < 5.0 && flat.high > 5.0);
        assert!((flat.place(5.0) - 0.5).abs() < 0.2);
    }

    #[test]
    fn logarithmic_axes_have_decades_or_one_two_five() {
        assert_near(
            &Scale::log(16.0, 40_703.0).ticks(),
            &[10.0, 100.0, 1e3, 1e4],
        );
        assert_near(
            &Scale::log(120.0, 800.0).ticks(),
            &[100.0, 200.0, 500.0, 1000.0],
        );
        let scale = Scale::log(10.0, 1000.0);
        assert!((scale.place(100.0) - 0.5).abs() < 1e-12);
        let lone = Scale::log(100.0, 100.0);
        assert!((lone.place(100.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn each_nine_takes_the_same_room() {
        let scale = Scale::percentile(100_000);
        assert_near(&scale.ticks(), &[0.0, 0.9, 0.99, 0.999, 0.9999, 0.99999]);
        assert!((scale.place(0.9) - 0.2).abs() < 1e-9);
        assert!((scale.place(0.999) - 0.6).abs() < 1e-9);
        assert_eq!(scale.place(1.0), 1.0);
    }

    #[test]
    fn values_that_are_none_are_drawn_somewhere() {
        for scale in [
            Scale::linear(f64::NAN, f64::INFINITY),
            Scale::log(f64::NAN, -1.0),
            Scale::log(0.0, f64::INFINITY),
            Scale::close(f64::NEG_INFINITY, f64::NAN),
            Scale::percentile(0),
        ] {
            assert!(!scale.ticks().is_empty(), "{scale:?}");
            assert!(scale.ticks().len() < 20, "{scale:?}");
            for value in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
                assert!((0.0..=1.0).contains(&scale.place(value)), "{scale:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_ends_hold_what_was_asked_and_ticks_lie_between(a in -1e12f64..1e12, b in -1e12f64..1e12) {
            for scale in [
                Scale::linear(a, b),
                Scale::close(a, b),
                Scale::log(a.abs().min(b.abs()), a.abs().max(b.abs())),
            ] {
                let ticks = scale.ticks();
                prop_assert!((2..=12).contains(&ticks.len()), "{scale:?} {ticks:?}");
                prop_assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]));
                let places: Vec<f64> = ticks.iter().map(|tick| scale.place(*tick)).collect();
                prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
            }
            let scale = Scale::linear(a.min(b), a.max(b));
            prop_assert!(scale.low <= a.min(b) && scale.high >= a.max(b));
        }
    }
}
