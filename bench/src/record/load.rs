//! The part of a record that speaks of a load with a shape: the course of it in intervals, its segments
//! one by one, and how long it took to recover. Data only; `run::course` fills it from the engine's report.

use serde::{Deserialize, Serialize};
use sirocco_schedule::Digest;

/// A load with a shape, as it was offered and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadFigures {
    /// The shape as it was given.
    pub shape: String,
    /// Its length in seconds, changes by hand aside.
    pub length_s: f64,
    /// SIRs that it asks for: the mean of Poisson arrivals.
    pub planned: f64,
    /// Whether all of it was taken; not after a stop, nor when time was over before.
    pub is_whole: bool,
    /// Length of an interval in milliseconds.
    pub interval_ms: u64,
    /// There were more intervals and segments than there is room for; the last ones are one.
    pub is_cut: bool,
    /// Interval by interval, the drain included.
    pub series: Vec<LoadPoint>,
    /// Segment by segment.
    pub segments: Vec<SegmentFigures>,
    /// After each disturbance, how long until all was as before.
    pub recoveries: Vec<Recovery>,
}

/// One interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadPoint {
    /// Begin of the interval, in seconds from the begin of the load.
    pub at_s: f64,
    /// SIRs due in it.
    pub offered: u64,
    /// SIRs of those that failed or expired, or had not ended when the drain did.
    pub lost: u64,
    /// First transmissions made in it, whenever they were due.
    pub sent: u64,
    /// Transmissions by Timer E made in it.
    pub sent_again: u64,
    /// SIRs answered in it, whenever they were due.
    pub answered: u64,
    /// Units that failed or expired in it, whenever they were due.
    pub failed: u64,
    /// Units in flight at its end.
    pub in_flight: u64,
    /// Identities due and not taken at its end.
    pub behind: u64,
    /// Sessions open at its end.
    pub sessions: u64,
    /// Median latency of the SIRs due in it, from the due time, in microseconds.
    pub p50_us: u64,
    /// The 99th percentile.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// One segment of the shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SegmentFigures {
    /// Its number in the shape, from 1, repeats and storms written out.
    pub number: usize,
    /// What it was written as.
    pub kind: String,
    /// Begin in seconds from the begin of the load: of its first SIR, or the plan's where it has none.
    pub at_s: f64,
    /// Its length by the plan in seconds.
    pub length_s: f64,
    /// Planned SIRs a second at its begin; of a burst their count.
    pub from_per_s: f64,
    /// Planned SIRs a second at its end.
    pub to_per_s: f64,
    /// SIRs due in it and taken.
    pub offered: u64,
    /// SIRs of those that were delivered or stored.
    pub answered: u64,
    /// The rest as a share.
    pub loss_share: f64,
    /// How late they were taken after they were due: the mean in microseconds.
    pub late_mean_us: f64,
    /// The latest.
    pub late_max_us: f64,
    /// Median latency from the due time in microseconds.
    pub p50_us: u64,
    /// The 99th percentile.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// How long one steady segment took to be steady.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recovery {
    /// Number of the segment in which it was awaited.
    pub segment: usize,
    /// What was before: the kinds of the segments since the one it is held against.
    pub after: Vec<String>,
    /// Number of the segment it is held against; its own, where it is its own second half.
    pub reference: usize,
    /// The p99 of an interval has to be within this, in microseconds.
    pub p99_us_max: u64,
    /// The units in flight at its end have to be within this.
    pub in_flight_max: u64,
    /// The share lost of what was due in it has to be within this.
    pub lost_share_max: f64,
    /// Most units in flight from the disturbance until then.
    pub in_flight_peak: u64,
    /// Longest p99 from the disturbance until then, in microseconds.
    pub p99_us_peak: u64,
    /// Seconds from its begin to the first of three intervals that are; none where it never was.
    pub recovered_s: Option<f64>,
}

/// A recorded run made again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayFigures {
    /// Every load in its order.
    pub runs: Vec<ReplayedRun>,
}

/// One load made again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayedRun {
    /// Digest of what was offered when it was recorded.
    pub recorded: Digest,
    /// Digest of what was offered again.
    pub offered: Digest,
}
