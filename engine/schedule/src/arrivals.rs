//! How entries follow each other under a given rate: at equal distances, or as a Poisson process.
//!
//! Both live in *operational time*, in which one entry is due a unit on average whatever the rate does; the
//! shape turns it into nanoseconds. So a Poisson process of changing rate is exact, not a chain of constant
//! ones. Draws come from the seed alone.

use crate::draw::Draw;
use serde::{Deserialize, Serialize};

/// How entries follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// At equal distances: entry i is due where the cumulative rate reaches i.
    #[default]
    Constant,
    /// As a Poisson process: the distances in operational time are exponential with mean 1.
    Poisson,
}

impl std::fmt::Display for Arrivals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        })
    }
}

impl std::str::FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "constant" => Ok(Self::Constant),
            "poisson" => Ok(Self::Poisson),
            other => Err(format!(
                "`{other}` is no kind of arrivals; give constant or poisson"
            )),
        }
    }
}

/// Distances in operational time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gaps {
    draw: Draw,
    arrivals: Arrivals,
}

impl Gaps {
    /// Draws by a seed.
    pub(crate) fn new(arrivals: Arrivals, seed: u64) -> Self {
        // Another stream than the one that shuffles identities by the same seed.
        let draw = Draw::new(seed ^ 0x6a09_e667_f3bc_c908);
        Self { draw, arrivals }
    }

    pub(crate) fn arrivals(&self) -> Arrivals {
        self.arrivals
    }

    /// Where the first entry is.
    pub(crate) fn first(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Constant => 0.0,
            Arrivals::Poisson => self.draw(),
        }
    }

    /// The distance to the next entry.
    #[inline]
    pub(crate) fn next(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson => self.draw(),
        }
    }

    /// By the inverse of the exponential distribution.
    #[inline]
    fn draw(&mut self) -> f64 {
        exponential(self.draw.next())
    }
}

/// -ln(u), u being the upper 53 bits of `word` as a fraction in (0, 1].
///
/// Written out because libraries round a logarithm differently, and a seed has to mean the same times
/// everywhere: u = 2^-k m with m in [sqrt(1/2), sqrt(2)), ln m = 2 artanh((m - 1) / (m + 1)) as a series,
/// whose first term left out is below 2^-53.
#[inline]
fn exponential(word: u64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = (((word >> 11) + 1) as f64).to_bits();
    let exponent = (bits >> 52) as i32 - 1023;
    let mantissa = f64::from_bits(bits & MANTISSA | 1023 << 52);
    let above = mantissa > std::f64::consts::SQRT_2;
    let (m, k) = if above {
        (mantissa * 0.5, 52 - exponent)
    } else {
        (mantissa, 53 - exponent)
    };
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let z2 = z * z;
    let z4 = z2 * z2;
    // Estrin's scheme: the four halves do not wait for each other.
    let low = (1.0 + z * (1.0 / 3.0)) + z2 * (1.0 / 5.0 + z * (1.0 / 7.0));
    let high = (1.0 / 9.0 + z * (1.0 / 11.0)) + z2 * (1.0 / 13.0 + z * (1.0 / 15.0));
    let top = (1.0 / 17.0 + z * (1.0 / 19.0)) + z2 * (1.0 / 21.0);
    let series = low + z4 * (high + z4 * top);
    f64::from(k) * std::f64::consts::LN_2 - 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_is_the_logarithm() {
        let mut draw = Draw::new(3);
        for _ in 0..100_000 {
            let word = draw.next();
            let u = ((word >> 11) + 1) as f64 / (1u64 << 53) as f64;
            let (ours, theirs) = (exponential(word), -u.ln());
            let off = (ours - theirs).abs();
            assert!(off <= 4e-16 * theirs.max(1.0), "{u}: {ours} {theirs}");
        }
        assert_eq!(exponential(u64::MAX), 0.0);
        assert!((exponential(0) - 53.0 * std::f64::consts::LN_2).abs() < 1e-14);
    }

    #[test]
    fn a_seed_means_the_same_draws_for_ever() {
        let mut gaps = Gaps::new(Arrivals::Poisson, 1);
        let drawn: Vec<u64> = (0..4).map(|_| gaps.draw().to_bits()).collect();
        let mut again = Gaps::new(Arrivals::Poisson, 1);
        assert_eq!(
            drawn,
            (0..4).map(|_| again.draw().to_bits()).collect::<Vec<_>>()
        );
        let mut other = Gaps::new(Arrivals::Poisson, 2);
        assert_ne!(drawn[0], other.draw().to_bits());
    }

    #[test]
    fn distances_have_the_mean_the_variance_and_the_distribution_of_an_exponential() {
        const COUNT: usize = 200_000;
        let mut gaps = Gaps::new(Arrivals::Poisson, 42);
        let mut drawn: Vec<f64> = (0..COUNT).map(|_| gaps.draw()).collect();
        let mean = drawn.iter().sum::<f64>() / COUNT as f64;
        let squares = drawn.iter().map(|x| (x - mean) * (x - mean));
        let variance = squares.sum::<f64>() / COUNT as f64;
        // Four standard errors of each: 1 / sqrt(n) and sqrt(8 / n).
        assert!((mean - 1.0).abs() < 0.009, "{mean}");
        assert!((variance - 1.0).abs() < 0.026, "{variance}");
        drawn.sort_by(f64::total_cmp);
        let distance = |(place, x): (usize, &f64)| {
            let wanted = 1.0 - (-x).exp();
            let (below, above) = (place as f64, (place + 1) as f64);
            (wanted - below / COUNT as f64)
                .abs()
                .max((wanted - above / COUNT as f64).abs())
        };
        let distances = drawn.iter().enumerate().map(distance);
        let kolmogorov = distances.fold(0.0, f64::max) * (COUNT as f64).sqrt();
        // Exceeded by one true exponential sample in a thousand.
        assert!(kolmogorov < 1.95, "{kolmogorov}");
    }
}
