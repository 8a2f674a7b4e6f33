//! The report of a finished worker: what it received, what it did, and how late it was itself.
//!
//! Data only; `worker` fills it and the bench reads it as JSON. Times are integers in nanoseconds
//! except where the name says microseconds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::packed::Packed;
use crate::session::{SessionCounts, SessionTotals};
use crate::tally::ClassCounts;

/// What one load generator did; the last event of its process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadgenReport {
    /// Distinct SIRs: first transmissions.
    pub sirs_received: u64,
    /// Later transmissions of the same SIRs.
    pub retransmissions_received: u64,
    /// Datagrams of any kind.
    pub datagrams_received: u64,
    /// Answers handed to the kernel, copies included.
    pub responses_sent: u64,
    /// Octets of answers handed to the kernel.
    pub response_bytes_sent: u64,
    /// Datagrams handed to the kernel: answers to SIRs and messages of sessions.
    #[serde(default)]
    pub messages_sent: u64,
    /// Octets of all datagrams received.
    #[serde(default)]
    pub datagram_bytes_received: u64,
    /// Octets of all datagrams sent.
    #[serde(default)]
    pub datagram_bytes_sent: u64,
    /// Distinct SIRs by the name of the class or override that treated them.
    pub by_class: BTreeMap<String, u64>,
    /// Answers by status, copies and refusals included, garbage and forged answers not.
    pub by_status: BTreeMap<u16, u64>,
    /// All counts by the name of the class or override.
    pub classes: BTreeMap<String, ClassCounts>,
    /// Datagrams that are not SIP messages.
    pub malformed: u64,
    /// Requests refused, by the status of the refusal.
    pub screen_rejects: BTreeMap<String, u64>,
    /// What was lost or left, by cause.
    pub dropped: BTreeMap<String, u64>,
    /// Datagrams that needed the parser; the others had the shape of an earlier one.
    pub parsed: u64,
    /// Datagrams per received buffer.
    pub segments_per_train_in: Spread,
    /// Answers per send.
    pub segments_per_train_out: Spread,
    /// CPU time of the worker's thread.
    pub cpu_ns: u64,
    /// Time since the start or the last reset.
    pub wall_ns: u64,
    /// System calls of the data path.
    pub syscalls: u64,
    /// From reaping a datagram to handing its answer to the kernel, in microseconds.
    pub lag_us: Lag,
    /// How long after their due time late answers left, in microseconds.
    pub lateness_us: Lag,
    /// How long late answers took from the SIR to their leaving, by class, in microseconds.
    #[serde(default)]
    pub answer_time_us: BTreeMap<String, Lag>,
    /// Late answers that still waited at the end.
    pub late_waiting: u64,
    /// Unanswered requests forgotten before their Timer F; above 0, `sirs_received` counts some of
    /// their retransmissions.
    pub forgotten: u64,
    /// What devices of all classes did with SIRs and sessions.
    #[serde(default)]
    pub sessions: SessionTotals,
    /// The same by class.
    #[serde(default)]
    pub sessions_by_class: BTreeMap<String, SessionCounts>,
    /// The record of distinct SIRs, if one was kept.
    pub record_path: Option<PathBuf>,
    /// Entries in the record; it is not cut by a reset.
    pub record_entries: u64,
    /// Entries left out of the record; above 0, the record proves nothing.
    pub record_left_out: u64,
    /// The histograms behind the delays and lengths above, by the names in `sum`: what is added where
    /// generators ran together.
    #[serde(default)]
    pub histograms: BTreeMap<String, Packed>,
    /// What the host granted less of than was asked, and what spoils the figures.
    pub notices: Vec<String>,
}

/// How many items came together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How often.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: u64,
    /// The most.
    pub max: u64,
}

/// A delay, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// How many delays.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Spread {
    /// Sums a histogram of counts up.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Spread {
        Spread {
            count: histogram.len(),
            mean: if histogram.is_empty() {
                0.0
            } else {
                histogram.mean()
            },
            p50: histogram.value_at_quantile(0.5),
            max: histogram.max(),
        }
    }
}

impl Lag {
    /// Sums a histogram of nanoseconds up.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Lag {
        let us = |ns: u64| ns as f64 / 1_000.0;
        Lag {
            count: histogram.len(),
            p50: us(histogram.value_at_quantile(0.5)),
            p99: us(histogram.value_at_quantile(0.99)),
            max: us(histogram.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_summed_up_in_their_units() {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000_000, 3).unwrap();
        assert_eq!(Spread::of(&histogram), Spread::default());
        assert_eq!(Lag::of(&histogram), Lag::default());
        histogram.record_n(2_000, 99).unwrap();
        histogram.record(500_000).unwrap();
        let lag = Lag::of(&histogram);
        assert_eq!(
            (lag.count, lag.p50.round(), lag.p99.round()),
            (100, 2.0, 2.0)
        );
        assert!((lag.max - 500.0).abs() < 1.0);
    }

    #[test]
    fn a_report_survives_json() {
        let mut report = LoadgenReport {
            sirs_received: 7,
            ..LoadgenReport::default()
        };
        report.by_status.insert(200, 7);
        report.classes.insert(
            "200".into(),
            ClassCounts {
                sirs: 7,
                ..ClassCounts::default()
            },
        );
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(
            serde_json::from_str::<LoadgenReport>(&json).unwrap(),
            report
        );
    }
}
