//! A load: identities offered in a seeded order at the times of an open-loop schedule.
//!
//! The bench's source of orders. Time i is fixed by the rate and never by how fast the engine is, so a
//! slow engine makes latency grow instead of load shrink; what it could not take in time is counted as
//! behind. Without a rate everything is due at once and the windows set the pace. No clock, no I/O.

use sirocco_index::Identity;
use std::sync::Arc;

/// Which devices of an offered identity are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of them.
    All,
    /// One: the p-th pass over the identities wants device number p modulo their count.
    OneInTurn,
}

/// An open-loop schedule over a list of identities, repeated until it is stopped or over.
#[derive(Clone, Debug)]
pub struct Load {
    identities: Arc<[Identity]>,
    wanted: Wanted,
    /// Nanoseconds from one identity to the next; `None` = all due at once.
    period_ns: Option<f64>,
    start_ns: u64,
    offered: u64,
    orders_max: u64,
}

impl Load {
    /// Builds a schedule of `orders_max` identities at `rate` a second; `None` = as fast as windows allow.
    #[must_use]
    pub fn new(
        identities: Arc<[Identity]>,
        wanted: Wanted,
        rate: Option<f64>,
        orders_max: u64,
    ) -> Self {
        let orders_max = if identities.is_empty() { 0 } else { orders_max };
        let period_ns = rate.map(|rate| 1e9 / rate);
        Self {
            identities,
            wanted,
            period_ns,
            start_ns: 0,
            offered: 0,
            orders_max,
        }
    }

    /// Puts the first due time at `now`.
    pub fn start(&mut self, now: u64) {
        self.start_ns = now;
    }

    /// Which devices are wanted.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// Identities offered so far.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.offered
    }

    /// Whether the whole schedule was offered.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.offered >= self.orders_max
    }

    /// Ends the schedule here: nothing more is offered.
    pub fn stop(&mut self) {
        self.orders_max = self.offered;
    }

    /// Identities due by `now` and not offered yet; 0 without a rate.
    #[must_use]
    pub fn behind(&self, now: u64) -> u64 {
        let Some(period) = self.period_ns else {
            return 0;
        };
        let elapsed = now.saturating_sub(self.start_ns) as f64;
        let due = ((elapsed / period) as u64 + 1).min(self.orders_max);
        due.saturating_sub(self.offered)
    }

    /// When the next identity is due; `None` if the schedule is over.
    #[inline]
    #[must_use]
    pub fn next_due_ns(&self, now: u64) -> Option<u64> {
        if self.is_over() {
            return None;
        }
        Some(match self.period_ns {
            Some(period) => self.start_ns + (self.offered as f64 * period) as u64,
            None => now,
        })
    }

    /// Takes the next identity if it is due by `now`: which, when it was due, and in which pass.
    #[inline]
    pub fn take(&mut self, now: u64) -> Option<(Identity, u64, u64)> {
        let due = self.next_due_ns(now).filter(|due| *due <= now)?;
        let count = self.identities.len() as u64;
        let identity = self.identities[(self.offered % count) as usize];
        let pass = self.offered / count;
        self.offered += 1;
        Some((identity, due, pass))
    }
}

/// Shuffles identities by a seed (Fisher-Yates with SplitMix64), so that lookups meet them at random.
pub fn shuffle(identities: &mut [Identity], seed: u64) {
    let mut state = seed;
    for last in (1..identities.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        let chosen = (u128::from(word) * (last as u128 + 1)) >> 64;
        identities.swap(last, chosen as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identities(count: u64) -> Vec<Identity> {
        (0..count).map(|key| Identity { key, shape: 0 }).collect()
    }

    #[test]
    fn due_times_come_from_the_rate_alone() {
        let mut load = Load::new(identities(3).into(), Wanted::All, Some(1e6), 7);
        load.start(5_000);
        let taken: Vec<_> = std::iter::from_fn(|| load.take(9_000)).collect();
        let due: Vec<_> = taken.iter().map(|(_, due, _)| *due).collect();
        assert_eq!(due, [5_000, 6_000, 7_000, 8_000, 9_000]);
        assert_eq!(taken[4], (Identity { key: 1, shape: 0 }, 9_000, 1));
        assert_eq!(load.next_due_ns(9_000), Some(10_000));
        assert_eq!(
            load.behind(20_000),
            2,
            "the schedule has seven, five are taken"
        );
        assert_eq!(std::iter::from_fn(|| load.take(20_000)).count(), 2);
        assert!(load.is_over() && load.take(u64::MAX).is_none());
    }

    #[test]
    fn an_empty_population_offers_nothing() {
        let mut load = Load::new(Vec::new().into(), Wanted::All, None, 10);
        assert!(load.is_over() && load.take(1).is_none());
    }

    #[test]
    fn the_same_seed_shuffles_alike_and_loses_nobody() {
        let (mut one, mut two, mut other) = (identities(1000), identities(1000), identities(1000));
        shuffle(&mut one, 7);
        shuffle(&mut two, 7);
        shuffle(&mut other, 8);
        assert_eq!(one, two);
        assert_ne!(one, other);
        one.sort_by_key(|identity| identity.key);
        assert_eq!(one, identities(1000));
    }
}
