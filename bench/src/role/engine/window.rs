//! From the worker's report to the words of the protocol: the window between mark and unmark as sums,
//! the ledger as figures. Pure arithmetic.

use std::collections::BTreeMap;

use sirocco_dispatch::report::{Balance, EngineReport};

use crate::record::{Lag, Latency, LedgerFigures};
use crate::role::protocol::{Drained, Measured};

/// What `drained` says: `baseline` is the report at the mark, `lags_us` the readings of the order
/// source's lag in the window.
#[must_use]
pub fn drained(report: &EngineReport, baseline: &EngineReport, lags_us: &[f64]) -> Drained {
    Drained {
        measured: measured(report, baseline, lags_us),
        ledger: ledger(&report.ledger),
    }
}

fn measured(report: &EngineReport, baseline: &EngineReport, lags_us: &[f64]) -> Measured {
    let window = &report.window;
    // The sizes are counted from the mark on, the drain included, which sends nothing new.
    let trains: u64 = report.train_sizes.iter().sum();
    let sizes = report.train_sizes.iter().enumerate();
    let segments: u64 = sizes.map(|(size, count)| size as u64 * count).sum();
    let latency = &report.latency_us;
    Measured {
        wall_ns: window.wall_ns,
        cpu_ns: window.cpu_ns,
        syscalls: window.syscalls,
        allocations: window.allocations,
        bytes_written: window.bytes_written,
        sirs_sent: window.sirs_sent,
        sirs_answered: window.sirs_answered,
        sirs_failed: since(
            &report.ledger.failed_by_cause,
            &baseline.ledger.failed_by_cause,
        ),
        retransmissions: window.retransmissions,
        trains,
        segments,
        bytes_sent: segments * report.sir_bytes as u64,
        datagrams_received: window.datagrams_received,
        bytes_received: window.datagrams_received * report.answer_bytes as u64,
        latency_us: Latency {
            offered_per_s: 0.0,
            count: latency.count,
            p50: latency.p50 as f64,
            p90: latency.p90 as f64,
            p99: latency.p99 as f64,
            p999: latency.p999 as f64,
            max: latency.max as f64,
        },
        order_lag_us: lag(lags_us),
    }
}

/// Counts by cause that were added since `earlier`; causes with none are left out.
fn since(now: &BTreeMap<String, u64>, earlier: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let added = |(cause, count): (&String, &u64)| {
        let count = count.saturating_sub(earlier.get(cause).copied().unwrap_or(0));
        (count > 0).then(|| (cause.clone(), count))
    };
    now.iter().filter_map(added).collect()
}

/// Readings as percentiles; there are few, so the 99th is nearly always the greatest.
fn lag(readings: &[f64]) -> Lag {
    let mut sorted = readings.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (sorted.len() as f64 * share).ceil() as usize;
        sorted
            .get(place.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    };
    Lag {
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
    }
}

fn ledger(balance: &Balance) -> LedgerFigures {
    LedgerFigures {
        accepted: balance.accepted,
        delivered: balance.delivered,
        stored: balance.stored,
        failed: balance.failed,
        expired: balance.expired,
        cancelled: balance.cancelled,
        in_flight: balance.in_flight,
        residue: balance.residue,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trains_are_weighed_by_their_size() {
        let mut report = EngineReport {
            sir_bytes: 500,
            ..EngineReport::default()
        };
        report.train_sizes = vec![0; 129];
        (report.train_sizes[64], report.train_sizes[2]) = (3, 1);
        let measured = drained(&report, &EngineReport::default(), &[]).measured;
        assert_eq!((measured.trains, measured.segments), (4, 194));
        assert_eq!(measured.bytes_sent, 97_000);
    }

    #[test]
    fn failures_count_from_the_mark() {
        let mut report = EngineReport::default();
        report.ledger.failed_by_cause = [("486".to_owned(), 5), ("timeout".to_owned(), 2)].into();
        let mut baseline = EngineReport::default();
        baseline.ledger.failed_by_cause = [("486".to_owned(), 3), ("timeout".to_owned(), 2)].into();
        let failed = drained(&report, &baseline, &[]).measured.sirs_failed;
        assert_eq!(failed, [("486".to_owned(), 2)].into());
    }

    #[test]
    fn lag_is_taken_from_its_readings() {
        let readings: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(
            lag(&readings),
            Lag {
                p50: 100.0,
                p99: 198.0,
                max: 200.0
            }
        );
        assert_eq!(lag(&[]), Lag::default());
    }
}
