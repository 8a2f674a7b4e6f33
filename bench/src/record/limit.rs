//! The part of a record that speaks of a limit: by which criterion and method, every probe of the knee,
//! the holds, the interval, and what the testbed alone reaches. Data only; `find` fills it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Lag, Latency};
use crate::find::criterion::Criterion;
use crate::statistics::Interval;

/// How a search ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// A rate was found and confirmed.
    Found,
    /// The testbed gave out before the engine: there is no figure of the engine.
    TestbedFirst,
    /// No rate tried met the criterion.
    NeverMet,
    /// No rate held.
    NeverHeld,
    /// Somebody else used the machine at every repetition.
    Disturbed,
    /// Time or probes were used up before an answer.
    #[default]
    OutOfBudget,
}

/// What a probe was for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Looking for a rate that passes and one that fails.
    #[default]
    Bracket,
    /// Halving what lies between.
    Bisection,
    /// Confirming the answer, for longer.
    Hold,
    /// A point of the curve, spaced evenly.
    Knee,
    /// One iteration of RFC 7502 4.10.
    Iteration,
    /// A step of ETSI TS 186 008.
    Step,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Every bound is met.
    Passed,
    /// A bound is broken, and nothing speaks against the testbed.
    Failed,
    /// A bound is broken, and the load generator may be why.
    TestbedGaveOut,
    /// A bound is broken, and somebody else on the machine may be why.
    #[default]
    Disturbed,
}

impl Judgement {
    /// Whether it says something of the engine: nothing else can have made it.
    #[must_use]
    pub fn is_of_the_engine(self) -> bool {
        matches!(self, Self::Passed | Self::Failed)
    }
}

/// One rate tried: warm-up, measured window, drain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeFigures {
    /// Attempts offered a second.
    pub rate_per_s: f64,
    /// What it was for.
    pub purpose: Purpose,
    /// Seed of the order of identities and of arrivals.
    pub seed: u64,
    /// Length of the measured window in milliseconds.
    pub measured_ms: u64,
    /// Attempts due in the window.
    pub attempts: u64,
    /// Of them, not taken in time: the engine was behind its schedule.
    pub untaken: u64,
    /// Of them, ended wrongly or not at all.
    pub lost: u64,
    /// Of them, ended rightly after the time limit.
    pub late: u64,
    /// Untaken and lost ones as a share of the attempts.
    pub loss_share: f64,
    /// Untaken, lost and late ones, and faults beside, as a share of the attempts (%IHS as a share).
    pub ihs_share: f64,
    /// From the due time to the answer, or to the session where orders build one.
    pub latency_us: Latency,
    /// Failures by cause, from the mark to the end of the drain.
    pub failed: BTreeMap<String, u64>,
    /// Attempts ended in the window for each second of it.
    pub ended_per_s: f64,
    /// CPU nanoseconds of the worker for each of them; idle time too where it spins.
    pub cpu_ns_per_attempt: f64,
    /// Most units in flight at a reading, four readings a second.
    pub in_flight_max: u64,
    /// The mean of these readings.
    pub in_flight_mean: f64,
    /// How far the order source was behind its schedule.
    pub order_lag_us: Lag,
    /// How late the load generator answered.
    pub loadgen_lag_us: Lag,
    /// Share of the time in which the load generator had something to do.
    pub loadgen_busy_share: f64,
    /// Share of the machine's time taken by the hypervisor.
    pub steal_share: f64,
    /// Share of the window in which a spinning worker had its core.
    pub own_core_share: f64,
    /// What became of it.
    pub judgement: Judgement,
    /// The bounds broken, and what spoilt the probe.
    pub reasons: Vec<String>,
}

/// What the testbed reaches with no engine in it, measured in the same run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BaselineFigures {
    /// What was exchanged in place of the engine's messages.
    pub what: String,
    /// Of it, a second.
    pub rate_per_s: f64,
    /// The limit as a share of it.
    pub share: f64,
    /// Share of the time in which the load generator had something to do, at the probe nearest the limit.
    pub loadgen_busy_share: f64,
    /// The rate at which it would be busy all the time, if its cost for each attempt stayed the same.
    pub loadgen_rate_per_s: f64,
    /// How late it answered there.
    pub loadgen_lag_us: Lag,
}

/// A limit, and all that it rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitFigures {
    /// `bisect`, `rfc7502` or `etsi`.
    pub method: String,
    /// What a rate had to meet.
    pub criterion: Option<Criterion>,
    /// How the search ended.
    pub ending: Ending,
    /// The same in words, with the rates.
    pub words: String,
    /// What a rate counts: SIRs, or sessions.
    pub unit: String,
    /// The greatest rate confirmed; none unless found.
    pub rate_per_s: Option<f64>,
    /// Where the limit of one bisection lies, by independent ones.
    pub interval: Option<Interval>,
    /// How the interval was made.
    pub interval_method: String,
    /// Each bisection: the greatest rate that passed and the smallest that failed.
    pub bisections: Vec<[f64; 2]>,
    /// The confirming holds, those at rates given up included.
    pub holds: Vec<ProbeFigures>,
    /// Every other probe, by rate: the knee curve.
    pub knee: Vec<ProbeFigures>,
    /// Throughput of the closed loop that the search began from.
    pub closed_loop_per_s: f64,
    /// Width at which a bisection ended, as a share.
    pub resolution: f64,
    /// Time allowed for the search in seconds.
    pub budget_s: f64,
    /// Time it took.
    pub took_s: f64,
    /// Rate that had to be reached, where stated.
    pub objective_per_s: Option<f64>,
    /// What the testbed alone reaches.
    pub baseline: Option<BaselineFigures>,
    /// What the method's own document asks to be reported, in its words and order.
    pub report: Vec<[String; 2]>,
}

impl LimitFigures {
    /// Whether a rate was found, and reaches the objective where one is stated.
    #[must_use]
    pub fn meets_objective(&self) -> bool {
        let least = self.objective_per_s.unwrap_or(0.0);
        self.rate_per_s.is_some_and(|rate| rate >= least)
    }

    /// Every probe that was made.
    pub fn probes(&self) -> impl Iterator<Item = &ProbeFigures> {
        self.knee.iter().chain(&self.holds)
    }
}
