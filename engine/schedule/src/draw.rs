//! The generator behind schedules, orders and resampling: small, seeded and the same on every machine, so
//! that a run, a shuffle or an interval can be had again from its seed. No secrets are drawn from it. Called
//! by arrivals, by the dispatch's shuffle and by the statistics of the bench.

/// SplitMix64 (Steele, Lea, Flood 2014): 64 bits of state, every seed good, period 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw(u64);

impl Draw {
    /// The generator at the begin of the sequence that `seed` names.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    #[inline]
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, each equally likely; 0 for a bound of 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // The high word of a product is uniform once the lowest (2^64 mod bound) low words are refused
        // (Lemire 2019).
        let refused = bound.wrapping_neg() % bound;
        loop {
            let product = self.next() as u128 * bound as u128;
            if product as u64 >= refused {
                return (product >> 64) as u64;
            }
        }
    }

    /// A number from 0 up to, never with, 1, in steps of 2^-53.
    pub const fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // The vector that implementations of SplitMix64 agree on, seed 1234567.
        let mut draw = Draw::new(1_234_567);
        assert_eq!(draw.next(), 6_457_827_717_110_365_317);
        assert_eq!(draw.next(), 3_203_168_211_198_807_973);
        assert_eq!(draw.next(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn every_number_below_the_bound_is_equally_likely() {
        let mut draw = Draw::new(1);
        let mut seen = [0u32; 7];
        for _ in 0..70_000 {
            seen[draw.below(7) as usize] += 1;
        }
        // Five standard deviations of a binomial with p = 1/7: 5 * sqrt(70000 * 1/7 * 6/7) = 463.
        assert!(seen.iter().all(|&n| n.abs_diff(10_000) < 463), "{seen:?}");
        assert_eq!((draw.below(0), draw.below(1)), (0, 0));
    }

    #[test]
    fn the_unit_interval_is_filled_and_never_left() {
        let mut draw = Draw::new(2);
        let drawn: Vec<f64> = (0..10_000).map(|_| draw.unit()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = drawn.iter().sum::<f64>() / 1e4;
        // Five standard errors: 5 * sqrt(1/12) / 100.
        assert!((mean - 0.5).abs() < 0.0145, "{mean}");
    }
}
