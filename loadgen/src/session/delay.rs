//! How long something takes: fixed, uniform, exponential or lognormal, drawn from a hash.
//!
//! No generator is kept: the same hash gives the same time, so that a seed repeats a whole run. The
//! text form is what scenario files say. Called by `policy` for parsing, by `calls` for each draw.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::seeded;

/// The longest time ever drawn, one hour: the tail of a distribution has an end.
pub const DELAY_S_MAX: u32 = 3_600;
const NS_PER_MS: f64 = 1_000_000.0;
const DELAY_NS_MAX: f64 = DELAY_S_MAX as f64 * 1e9;
/// Separates the second draw of a lognormal from the first.
const SECOND_SALT: u64 = 0x7365_636f_6e64;

/// A distribution of times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Delay {
    /// At once, without a timer.
    #[default]
    None,
    /// Always the same.
    Fixed {
        /// Milliseconds.
        ms: f64,
    },
    /// Any time between two, equally likely.
    Uniform {
        /// The least, in milliseconds.
        min_ms: f64,
        /// The most, in milliseconds.
        max_ms: f64,
    },
    /// Memoryless.
    Exponential {
        /// The mean in milliseconds.
        mean_ms: f64,
    },
    /// As people's reaction times are: most near the median, some far later.
    Lognormal {
        /// The median in milliseconds.
        median_ms: f64,
        /// The standard deviation of the logarithm.
        sigma: f64,
    },
}

/// A text that is no distribution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no time; write 0, 250ms, 2s, uniform(100ms,2s), exponential(500ms) or lognormal(500ms,0.8)"
)]
pub struct DelayError(String);

impl Delay {
    /// Tells whether it never takes any time.
    #[inline]
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Delay::None)
    }

    /// Returns the longest it ever draws, in milliseconds.
    #[must_use]
    pub fn longest_ms(&self) -> f64 {
        match *self {
            Delay::None => 0.0,
            Delay::Fixed { ms } => ms,
            Delay::Uniform { max_ms, .. } => max_ms,
            Delay::Exponential { .. } | Delay::Lognormal { .. } => DELAY_NS_MAX / NS_PER_MS,
        }
    }

    /// Returns its mean, or the median of a lognormal, in milliseconds.
    #[must_use]
    pub fn typical_ms(&self) -> f64 {
        match *self {
            Delay::None => 0.0,
            Delay::Fixed { ms } => ms,
            Delay::Uniform { min_ms, max_ms } => f64::midpoint(min_ms, max_ms),
            Delay::Exponential { mean_ms } => mean_ms,
            Delay::Lognormal { median_ms, .. } => median_ms,
        }
    }

    /// Returns the time that `hash` draws, in nanoseconds, at most [`DELAY_S_MAX`].
    #[must_use]
    pub fn draw_ns(&self, hash: u64) -> u64 {
        let ms = match *self {
            Delay::None => return 0,
            Delay::Fixed { ms } => ms,
            Delay::Uniform { min_ms, max_ms } => min_ms + (max_ms - min_ms) * unit(hash),
            Delay::Exponential { mean_ms } => -mean_ms * (1.0 - unit(hash)).ln(),
            Delay::Lognormal { median_ms, sigma } => median_ms * (sigma * normal(hash)).exp(),
        };
        (ms * NS_PER_MS).clamp(0.0, DELAY_NS_MAX) as u64
    }
}

/// Returns a number in 0..1.
fn unit(hash: u64) -> f64 {
    // 53 bits fill the fraction of an f64 exactly.
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// Returns a normally distributed number (Box and Muller's transform).
fn normal(hash: u64) -> f64 {
    let radius = (-2.0 * (1.0 - unit(hash)).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit(seeded(SECOND_SALT, hash))).cos()
}

/// Parses `250ms`, `2s`, `1.5s` or `0` into milliseconds.
fn milliseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let (digits, scale) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1.0),
        (None, Some(digits)) => (digits, 1_000.0),
        (None, None) if text == "0" => (text, 1.0),
        (None, None) => return None,
    };
    let value: f64 = digits.trim().parse().ok()?;
    let ms = value * scale;
    (ms.is_finite() && (0.0..=DELAY_NS_MAX / NS_PER_MS).contains(&ms)).then_some(ms)
}

impl FromStr for Delay {
    type Err = DelayError;

    fn from_str(text: &str) -> Result<Delay, DelayError> {
        parse(text.trim()).ok_or_else(|| DelayError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Delay> {
    let Some((word, rest)) = text.split_once('(') else {
        let ms = milliseconds(text)?;
        return Some(if ms == 0.0 {
            Delay::None
        } else {
            Delay::Fixed { ms }
        });
    };
    let inner = rest.strip_suffix(')')?;
    let (first, second) = inner.split_once(',').unwrap_or((inner, ""));
    let first_ms = milliseconds(first)?;
    match word.trim() {
        "uniform" => {
            let max_ms = milliseconds(second).filter(|&max| max >= first_ms)?;
            Some(Delay::Uniform {
                min_ms: first_ms,
                max_ms,
            })
        }
        "exponential" if second.is_empty() => Some(Delay::Exponential { mean_ms: first_ms }),
        "lognormal" => {
            let sigma: f64 = second.trim().parse().ok()?;
            let sane = sigma.is_finite() && (0.0..=10.0).contains(&sigma);
            sane.then_some(Delay::Lognormal {
                median_ms: first_ms,
                sigma,
            })
        }
        _ => None,
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Delay::None => write!(f, "0"),
            Delay::Fixed { ms } => write!(f, "{ms}ms"),
            Delay::Uniform { min_ms, max_ms } => write!(f, "uniform({min_ms}ms,{max_ms}ms)"),
            Delay::Exponential { mean_ms } => write!(f, "exponential({mean_ms}ms)"),
            Delay::Lognormal { median_ms, sigma } => write!(f, "lognormal({median_ms}ms,{sigma})"),
        }
    }
}

impl Serialize for Delay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Delay, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws_ms(text: &str) -> Vec<f64> {
        let delay: Delay = text.parse().unwrap();
        let draw = |n| delay.draw_ns(seeded(1, n)) as f64 / NS_PER_MS;
        let mut drawn: Vec<f64> = (0..20_000).map(draw).collect();
        drawn.sort_by(f64::total_cmp);
        drawn
    }

    fn mean(drawn: &[f64]) -> f64 {
        drawn.iter().sum::<f64>() / drawn.len() as f64
    }

    #[test]
    fn each_distribution_has_its_moments() {
        let fixed = draws_ms("1.5s");
        assert_eq!((fixed[0], fixed[19_999]), (1500.0, 1500.0));
        let uniform = draws_ms("uniform(100ms,300ms)");
        assert!((195.0..205.0).contains(&mean(&uniform)));
        assert!(uniform[0] >= 100.0 && uniform[19_999] <= 300.0);
        let exponential = draws_ms("exponential(500ms)");
        assert!((485.0..515.0).contains(&mean(&exponential)));
        // The median of an exponential is its mean times ln 2.
        assert!((330.0..365.0).contains(&exponential[10_000]));
        let lognormal = draws_ms("lognormal(500ms,0.8)");
        assert!((480.0..520.0).contains(&lognormal[10_000]));
        // 84.13 % lie below one standard deviation of the logarithm: 500 e^0.8 = 1113.
        assert!((1060.0..1170.0).contains(&lognormal[16_826]));
    }

    #[test]
    fn the_text_form_is_read_back_and_nonsense_is_refused() {
        for text in [
            "0",
            "250ms",
            "uniform(100ms,2000ms)",
            "exponential(500ms)",
            "lognormal(500ms,0.8)",
        ] {
            assert_eq!(text.parse::<Delay>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "5",
            "-1s",
            "uniform(2s,1s)",
            "exponential(1s,2)",
            "normal(1s)",
            "lognormal(1s,x)",
            "inf s",
            "9999s",
        ] {
            assert!(text.parse::<Delay>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_same_hash_draws_the_same_time() {
        let delay: Delay = "lognormal(500ms,2)".parse().unwrap();
        let draw = |n| delay.draw_ns(seeded(3, n));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!((0..100_000).all(|n| draw(n) <= 3_600_000_000_000));
    }
}
