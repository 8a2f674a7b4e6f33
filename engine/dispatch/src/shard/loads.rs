//! Loads as the shard drives them: measured windows, changes of schedules, and what feeds the course of
//! a load and its lag; what is kept of those is in [`crate::series`].

use super::Shard;
use crate::intake::Candidate;
use crate::load::Offered;
use crate::order::{Audience, Order};
use crate::series::{Sample, Series};
use sirocco_schedule::Steer;

impl Shard {
    /// Records the latency of SIRs due from `now` on, and of no earlier ones.
    pub fn measure_from(&mut self, now: u64) {
        self.measured = now..u64::MAX;
        self.latency_us.reset();
        self.reception.time_to_session_us.reset();
        self.order_lag.restart(now);
    }

    /// Records the latency of no SIR due from `now` on; those due before may still end.
    pub fn measure_until(&mut self, now: u64) {
        self.measured.end = now;
        self.order_lag.stop();
    }

    /// Ends every load where it stands; lists and walks go on.
    pub fn stop_loads(&mut self) {
        self.intake.stop_loads();
    }

    /// Changes the schedule of every load from `now` on; returns how many took it.
    pub fn steer_loads(&mut self, now: u64, change: Steer) -> usize {
        self.intake.steer_loads(now, change)
    }

    /// What the load at work has offered, or the last one that ended.
    #[must_use]
    pub fn offered(&self) -> Offered {
        self.intake.offered()
    }

    /// Whether a load has more to hand out.
    #[must_use]
    pub fn has_loads(&self) -> bool {
        self.intake.has_loads()
    }

    /// Hands over the course that was recorded; what ends from now on is not in it.
    pub fn take_series(&mut self, now: u64) -> Option<Box<Series>> {
        self.sample_now(now);
        self.series.take()
    }

    /// What an order's load records its course into, taken out of it.
    pub(super) fn series_of(order: &mut Order) -> Option<Box<Series>> {
        match &mut order.audience {
            Audience::Load(load) => load.take_series(),
            Audience::List(_) | Audience::Everybody => None,
        }
    }

    pub(super) fn begin_series(&mut self, now: u64, slot: u16, series: Option<Box<Series>>) {
        if let Some(mut series) = series {
            series.begin(now, slot);
            self.series = Some(series);
        }
    }

    /// Reads the counters into the course when an interval ends.
    #[inline]
    pub(super) fn sample_series(&mut self, now: u64) {
        if (self.series.as_ref()).is_some_and(|series| series.wants_sample(now)) {
            self.sample_now(now);
        }
    }

    #[cold]
    fn sample_now(&mut self, now: u64) {
        let sample = Sample {
            at_ns: 0,
            sirs_sent: self.ledger.sirs_sent,
            retransmissions: self.ledger.retransmissions,
            sirs_answered: self.ledger.sirs_answered,
            failed: self.ledger.failed() + self.ledger.expired,
            in_flight: self.in_flight(),
            behind: self.behind,
            sessions: self.sessions.len() as u64,
        };
        if let Some(series) = &mut self.series {
            series.sample(now, sample);
        }
    }

    #[inline]
    pub(super) fn read_lag(&mut self, now: u64) {
        self.sample_series(now);
        if self.order_lag.is_due(now) {
            let late_ns = self.intake.lateness_ns(now);
            self.order_lag.read(now, late_ns);
        }
    }

    #[inline]
    pub(super) fn offer_batch(&mut self, now: u64) {
        let Some(series) = &mut self.series else {
            return;
        };
        for candidate in &self.batch {
            series.offer(now, candidate.due_ns, (candidate.order, candidate.segment));
        }
    }

    #[inline]
    pub(super) fn offer_more(&mut self, candidate: &Candidate) {
        if let Some(series) = &mut self.series {
            series.offer_more(candidate.due_ns, candidate.order);
        }
    }
}
