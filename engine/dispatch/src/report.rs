//! What a worker reports: its books, the window that was measured, the latency from due times.
//!
//! Plain data for JSON. Figures are differences of counters at the two ends of the window; no rate is
//! computed here, so that whoever reads a record can compute it again.

use crate::ledger::{Ledger, StrayAnswers};
use crate::load::Offered;
use crate::pushes::PushBalance;
use crate::returned::ReturnedCounts;
use crate::stopwatch::StageTimes;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use sirocco_session::SessionCounts;
use std::collections::BTreeMap;

/// Where a worker's counters stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Wall time in nanoseconds.
    pub wall_ns: u64,
    /// CPU time of the worker's thread in nanoseconds.
    pub cpu_ns: u64,
    /// Turns of the worker's loop.
    pub turns: u64,
    /// System calls on the data path.
    pub syscalls: u64,
    /// Operations given to the kernel.
    pub submissions: u64,
    /// Sends of more than one SIR.
    pub trains_sent: u64,
    /// Datagrams sent, each SIR of a train counted.
    pub datagrams_sent: u64,
    /// Datagrams received, each answer of a train counted.
    pub datagrams_received: u64,
    /// Octets of datagrams sent.
    pub bytes_sent: u64,
    /// Octets of datagrams received.
    pub bytes_received: u64,
    /// Receives, each train counted once.
    pub receives: u64,
    /// Heap allocations of the worker's thread.
    pub allocations: u64,
    /// Octets written into send slabs.
    pub bytes_written: u64,
    /// First transmissions.
    pub sirs_sent: u64,
    /// Transactions closed by a final response.
    pub sirs_answered: u64,
    /// Transmissions by Timer E.
    pub retransmissions: u64,
}

impl Counts {
    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Counts) -> Counts {
        Counts {
            wall_ns: self.wall_ns - earlier.wall_ns,
            cpu_ns: self.cpu_ns - earlier.cpu_ns,
            turns: self.turns - earlier.turns,
            syscalls: self.syscalls - earlier.syscalls,
            submissions: self.submissions - earlier.submissions,
            trains_sent: self.trains_sent - earlier.trains_sent,
            datagrams_sent: self.datagrams_sent - earlier.datagrams_sent,
            datagrams_received: self.datagrams_received - earlier.datagrams_received,
            bytes_sent: self.bytes_sent - earlier.bytes_sent,
            bytes_received: self.bytes_received - earlier.bytes_received,
            receives: self.receives - earlier.receives,
            allocations: self.allocations - earlier.allocations,
            bytes_written: self.bytes_written - earlier.bytes_written,
            sirs_sent: self.sirs_sent - earlier.sirs_sent,
            sirs_answered: self.sirs_answered - earlier.sirs_answered,
            retransmissions: self.retransmissions - earlier.retransmissions,
        }
    }
}

/// The books as a report gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Units taken from orders.
    pub accepted: u64,
    /// Units delivered.
    pub delivered: u64,
    /// Units answered 202: somebody else delivers them later.
    pub stored: u64,
    /// Units failed.
    pub failed: u64,
    /// Failed units by cause.
    pub failed_by_cause: BTreeMap<String, u64>,
    /// Units whose order's deadline passed.
    pub expired: u64,
    /// Units that a drain or stop ended.
    pub cancelled: u64,
    /// Units neither settled nor lost, counted where they are.
    pub in_flight: u64,
    /// accepted - delivered - stored - failed - expired - cancelled - in_flight: 0, or a bug.
    pub residue: i64,
}

impl Balance {
    /// Balances the books against what is found in flight.
    #[must_use]
    pub fn of(ledger: &Ledger, in_flight: u64) -> Self {
        Self {
            accepted: ledger.accepted,
            delivered: ledger.delivered,
            stored: ledger.stored,
            failed: ledger.failed(),
            failed_by_cause: ledger.failed_by_cause(),
            expired: ledger.expired,
            cancelled: ledger.cancelled,
            in_flight,
            residue: ledger.residue(in_flight),
        }
    }
}

/// Latency from the due time to the end, in microseconds; SIRs that timed out are in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// SIRs in the histogram.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Longest.
    pub max: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Pairs of (upper bound in microseconds, count) of every bucket that is not empty.
    pub buckets: Vec<(u64, u64)>,
}

impl Latency {
    /// Condenses a histogram.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let recorded = histogram.iter_recorded();
        Self {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
            mean: histogram.mean(),
            buckets: recorded
                .map(|at| (at.value_iterated_to(), at.count_at_value()))
                .collect(),
        }
    }
}

/// Where a worker's wall time went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageReport {
    /// What the stamps were read from: `tsc`, `monotonic`, or `off`.
    pub clock: String,
    /// Between the last mark and unmark; all zero without them.
    pub window: StageTimes,
    /// Since the start.
    pub total: StageTimes,
}

/// What the flight recorder has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Failed transactions and sessions since the start; none while the recorder is off.
    pub seen: u64,
    /// Those of them that are kept.
    pub kept: u64,
}

/// The report of one worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineReport {
    /// Counters between the last mark and unmark; all zero without them.
    pub window: Counts,
    /// Counters since the start.
    pub total: Counts,
    /// Latency of the SIRs that were due between the last mark and unmark.
    pub latency_us: Latency,
    /// The books since the start.
    pub ledger: Balance,
    /// The books of pushes since the start.
    pub pushes: PushBalance,
    /// Counts of sessions since the start.
    pub sessions: SessionCounts,
    /// What devices returned since the start.
    pub returned: ReturnedCounts,
    /// Bytes of all that is kept for sessions.
    pub session_bytes: usize,
    /// From the due time of a SIR to the INVITE of its first wanted device, since the last mark.
    pub time_to_session_us: Latency,
    /// Replies of sessions dropped because too many waited to leave.
    pub replies_dropped: u64,
    /// Answers that closed nothing, since the start.
    pub stray: StrayAnswers,
    /// How late orders were taken against their schedules: readings of every millisecond between mark and
    /// unmark.
    pub order_lag_us: Latency,
    /// Identities that were due and not handed out at the last unmark.
    pub behind: u64,
    /// What the load at work has offered, or the last one that ended.
    pub offered: Offered,
    /// Failures that the flight recorder has seen, and those that it keeps.
    #[serde(default)]
    pub failures: Failures,
    /// Sends that the kernel refused.
    pub sends_refused: u64,
    /// Receives ended for want of buffers.
    pub enobufs: u64,
    /// Bytes of the index.
    pub index_bytes: usize,
    /// Octets of one SIR in the last train, for the ceiling of the same bytes.
    pub sir_bytes: usize,
    /// Octets of one answer in the last receive.
    pub answer_bytes: usize,
    /// SIRs in a train: count of departures by size, 0 to 128.
    pub train_sizes: Vec<u64>,
    /// Answers and requests in a received train: count of receives by size, 0 to 128, since the last mark.
    pub answer_train_sizes: Vec<u64>,
    /// Where the wall time went.
    pub stages: StageReport,
    /// Turns with work between the last mark and unmark by their length without sleep: pairs of (upper
    /// bound in nanoseconds, count).
    pub turn_ns: Vec<(u64, u64)>,
    /// The same turns by the SIRs that they sent.
    pub turn_sirs: Vec<(u64, u64)>,
}
