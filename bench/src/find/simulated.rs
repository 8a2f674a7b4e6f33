//! A simulated system to be searched in tests: one server with a queue, Poisson noise in its speed, a
//! testbed with a limit of its own, and a neighbour that now and then takes the machine. Seeded.

use super::criterion::Criterion;
use super::search::{Asked, System};
use crate::record::{Judgement, Latency, ProbeFigures, Purpose};
use sirocco_schedule::Draw;

/// A server that carries `capacity` attempts a second, give or take `noise`.
pub struct Simulated {
    /// What a rate has to meet.
    pub criterion: Criterion,
    /// Attempts a second that it can serve.
    pub capacity: f64,
    /// Greatest deviation of one probe's capacity, as a share.
    pub noise: f64,
    /// Attempts a second that the testbed can offer.
    pub testbed: f64,
    /// Share of the probes that somebody else spoils.
    pub spoilt: f64,
    /// Time so far.
    pub clock_s: f64,
    /// Draws of all of it.
    pub draw: Draw,
}

impl Simulated {
    /// A quiet server on a testbed a hundred times as fast.
    pub fn new(capacity: f64, noise: f64, seed: u64) -> Self {
        Self {
            criterion: Criterion::standard(0.0),
            capacity,
            noise,
            testbed: capacity * 100.0,
            spoilt: 0.0,
            clock_s: 0.0,
            draw: Draw::new(seed),
        }
    }

    /// Mean of twelve uniform draws, from -1 to 1: nearly normal.
    fn deviation(&mut self) -> f64 {
        let sum: f64 = (0..12).map(|_| self.draw.unit()).sum();
        (sum - 6.0) / 6.0
    }
}

impl System for Simulated {
    type Error = std::convert::Infallible;

    fn probe(&mut self, asked: Asked) -> Result<ProbeFigures, Self::Error> {
        self.clock_s += self.cost_s(asked.purpose);
        let capacity = self.capacity * (1.0 + self.noise * self.deviation());
        let load = asked.rate_per_s / capacity.min(self.testbed);
        let attempts = asked.rate_per_s as u64;
        // M/M/1: the 99th percentile of the time in the system is ln(100) service times over 1 - load.
        let p99 = match load {
            load if load < 1.0 => 100f64.ln() / (capacity * (1.0 - load)) * 1e6,
            load => (load - 1.0) * 1e6,
        };
        let untaken = ((load - 1.0).max(0.0) * attempts as f64) as u64;
        let share = untaken as f64 / attempts.max(1) as f64;
        let mut probe = ProbeFigures {
            rate_per_s: asked.rate_per_s,
            purpose: asked.purpose,
            seed: asked.seed,
            attempts,
            untaken,
            loss_share: share,
            ihs_share: share,
            latency_us: Latency {
                p99,
                ..Latency::default()
            },
            ..ProbeFigures::default()
        };
        probe.reasons = self.criterion.broken_by(&probe);
        let spoilt = self.draw.unit() < self.spoilt;
        if spoilt && probe.reasons.is_empty() {
            probe.reasons.push("somebody else".to_owned());
        }
        probe.judgement = match (probe.reasons.is_empty(), spoilt) {
            (true, _) => Judgement::Passed,
            (false, true) => Judgement::Disturbed,
            (false, false) if asked.rate_per_s > self.testbed => Judgement::TestbedGaveOut,
            (false, false) => Judgement::Failed,
        };
        Ok(probe)
    }

    fn elapsed_s(&self) -> f64 {
        self.clock_s
    }

    fn cost_s(&self, purpose: Purpose) -> f64 {
        match purpose {
            Purpose::Hold => 3.5,
            _ => 1.5,
        }
    }
}
