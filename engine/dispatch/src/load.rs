//! A load: identities offered in a seeded order at the times of an open-loop schedule.
//!
//! The bench's source of orders. When entry i is due is fixed by shape, arrivals and seed
//! (`sirocco_schedule`) and never by how fast the engine is, so a slow engine makes latency grow instead of
//! load shrink; what it could not take in time is counted as behind. Without a schedule everything is due
//! at once and the windows set the pace. The digest says what was taken. No clock, no I/O.

use crate::series::Series;
use serde::{Deserialize, Serialize};
use sirocco_index::Identity;
use sirocco_schedule::{Arrivals, Digest, Draw, Plan, Schedule, Shape, Steer, Steered};
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
    /// Due times from `start_ns` on; `None` = all due at once.
    schedule: Option<Box<Schedule>>,
    start_ns: u64,
    offered: u64,
    /// Place of the next identity, and how often all were offered before.
    next: usize,
    pass: u64,
    orders_max: u64,
    digest: Digest,
    series: Option<Box<Series>>,
}

/// What of a load was offered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Offered {
    /// Digest over every due time and identity, and how many.
    pub digest: Digest,
    /// Arrivals of its schedule.
    pub arrivals: Arrivals,
    /// Changes while it ran.
    pub steers: Vec<Steered>,
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
        let plan = rate.map(|rate| Plan {
            entries_max: orders_max,
            ..Plan::new(Shape::constant(rate))
        });
        Self {
            orders_max: if identities.is_empty() { 0 } else { orders_max },
            ..Self::planned(identities, wanted, plan.as_ref())
        }
    }

    /// Builds a load whose due times are those of a plan; `None` = as fast as windows allow, without end.
    #[must_use]
    pub fn planned(identities: Arc<[Identity]>, wanted: Wanted, plan: Option<&Plan>) -> Self {
        let orders_max = if identities.is_empty() { 0 } else { u64::MAX };
        Self {
            identities,
            wanted,
            schedule: plan.map(|plan| Box::new(Schedule::new(plan))),
            start_ns: 0,
            offered: 0,
            next: 0,
            pass: 0,
            orders_max,
            digest: Digest::default(),
            series: None,
        }
    }

    /// Records its course into `series`.
    #[must_use]
    pub fn with_series(self, series: Option<Box<Series>>) -> Self {
        Self { series, ..self }
    }

    /// Hands over what its course is recorded into.
    pub fn take_series(&mut self) -> Option<Box<Series>> {
        self.series.take()
    }

    /// Puts the begin of the schedule at `now`.
    pub fn start(&mut self, now: u64) {
        self.start_ns = now;
    }

    /// Which devices are wanted.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// What was offered so far.
    #[must_use]
    pub fn offered(&self) -> Offered {
        let schedule = self.schedule.as_deref();
        Offered {
            digest: self.digest,
            arrivals: schedule.map(Schedule::arrivals).unwrap_or_default(),
            steers: schedule.map_or(Vec::new(), |schedule| schedule.steers().to_vec()),
        }
    }

    /// Identities offered so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.offered
    }

    /// Whether the whole schedule was offered.
    #[inline]
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.offered >= self.orders_max || self.schedule.as_deref().is_some_and(Schedule::is_over)
    }

    /// Ends the schedule here: nothing more is offered.
    pub fn stop(&mut self) {
        self.orders_max = self.offered;
    }

    /// Changes the schedule from `now` on; what was due before stays due. Returns whether it has a schedule
    /// and room to keep the change.
    pub fn steer(&mut self, now: u64, change: Steer) -> bool {
        let at_ns = now.saturating_sub(self.start_ns);
        let schedule = self.schedule.as_mut();
        schedule.is_some_and(|schedule| schedule.steer(at_ns, change))
    }

    /// Identities due by `now` and not offered yet; 0 without a schedule.
    #[must_use]
    pub fn behind(&self, now: u64) -> u64 {
        let schedule = self.schedule.as_ref().filter(|_| !self.is_over());
        let behind = schedule.map_or(0, |schedule| {
            schedule.behind(now.saturating_sub(self.start_ns))
        });
        behind.min(self.orders_max - self.offered)
    }

    /// How long the next identity has been due at `now`; `None` without a schedule, or when it is over.
    #[must_use]
    pub fn lateness_ns(&self, now: u64) -> Option<u64> {
        let schedule = self.schedule.as_ref().filter(|_| !self.is_over())?;
        Some(schedule.lateness_ns(now.saturating_sub(self.start_ns)))
    }

    /// Segment of the shape that the identity taken last was due in.
    #[inline]
    #[must_use]
    pub fn segment(&self) -> u16 {
        (self.schedule.as_ref()).map_or(0, |schedule| schedule.segment() as u16)
    }

    /// When the next identity is due, `u64::MAX` while none is; `None` if the schedule is over.
    #[inline]
    #[must_use]
    pub fn next_due_ns(&self, now: u64) -> Option<u64> {
        if self.is_over() {
            return None;
        }
        Some(match &self.schedule {
            Some(schedule) => schedule
                .next_ns()
                .map_or(u64::MAX, |next| self.start_ns.saturating_add(next)),
            None => now,
        })
    }

    /// Takes the next identity if it is due by `now`: which, when it was due, and in which pass.
    #[inline]
    pub fn take(&mut self, now: u64) -> Option<(Identity, u64, u64)> {
        if self.offered >= self.orders_max {
            return None;
        }
        // What has no time of its own counts as due at the begin in the digest.
        let (due_ns, at_ns) = match &mut self.schedule {
            Some(schedule) => {
                let due_ns = schedule.take(now.wrapping_sub(self.start_ns))?;
                (self.start_ns + due_ns, due_ns)
            }
            None => (now, 0),
        };
        let (identity, pass) = (self.identities[self.next], self.pass);
        self.next += 1;
        if self.next == self.identities.len() {
            (self.next, self.pass) = (0, pass + 1);
        }
        self.offered += 1;
        let shape = u64::from(identity.shape) << 40;
        self.digest.add(at_ns, identity.key ^ shape);
        Some((identity, due_ns, pass))
    }
}

/// Shuffles identities by a seed (Fisher-Yates with SplitMix64), so that lookups meet them at random.
pub fn shuffle(identities: &mut [Identity], seed: u64) {
    let mut draw = Draw::new(seed);
    for last in (1..identities.len()).rev() {
        let chosen = (u128::from(draw.next()) * (last as u128 + 1)) >> 64;
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
    fn a_schedule_steered_live_is_the_one_replayed_from_its_list() {
        let shape: Shape = "ramp 0..1M/10ms, pause 1ms, hold 5ms"
            .parse()
            .expect("a shape");
        let plan = Plan {
            arrivals: Arrivals::Poisson,
            seed: 3,
            ..Plan::new(shape)
        };
        let mut load = Load::planned(identities(7).into(), Wanted::All, Some(&plan));
        load.start(1_000);
        while load.take(4_001_000).is_some() {}
        assert!(load.steer(4_001_000, Steer::Scale(2.0)) && !load.is_over());
        while load.take(u64::MAX - 1).is_some() {}
        let offered = load.offered();
        assert!(load.is_over() && offered.digest.entries == load.taken());
        let plan = Plan {
            steers: offered.steers.clone(),
            ..plan
        };
        let mut again = Load::planned(identities(7).into(), Wanted::All, Some(&plan));
        while again.take(u64::MAX - 1).is_some() {}
        assert_eq!(again.offered(), offered);
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
