//! From the worker's report to the words of the protocol: the window between mark and unmark as sums,
//! the ledger as figures. Pure arithmetic.

use std::collections::BTreeMap;

use serde_json::Value;
use sirocco_dispatch::report::{Balance, EngineReport};

use crate::record::curve::curve;
use crate::record::stages::StageFigures;
use crate::record::{Lag, Latency, LedgerFigures};
use crate::role::protocol::{Counters, Drained, Measured};

/// The reports at both ends of a window.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// At the mark.
    pub begin: EngineReport,
    /// At the unmark.
    pub end: EngineReport,
}

/// What `drained` says: `report` is the one after the drain.
#[must_use]
pub fn drained(report: &EngineReport, window: &Window) -> Drained {
    let json = |report: &EngineReport| serde_json::to_value(report).unwrap_or_default();
    let (begin, end, now) = (json(&window.begin), json(&window.end), json(report));
    let count = |name: &str| now["window"][name].as_u64().unwrap_or_default();
    let measured = Measured {
        offered: report.offered.clone(),
        stages: StageFigures::of(report),
        octets_sent: count("bytes_sent"),
        octets_received: count("bytes_received"),
        sessions: difference(&end["sessions"], &begin["sessions"]),
        pushes: difference(&end["pushes"], &begin["pushes"]),
        time_to_session_us: percentiles(&now["time_to_session_us"]),
        time_to_session_buckets: buckets(&now["time_to_session_us"]),
        ..measured(report, &window.begin)
    };
    Drained {
        measured,
        ledger: ledger(&report.ledger),
        sessions: counters(&now["sessions"]),
        pushes: counters(&now["pushes"]),
        session_bytes: now["session_bytes"].as_u64().unwrap_or_default(),
        series: None,
    }
}

/// Every number of an object and of those in it, by name.
fn counters(object: &Value) -> Counters {
    let mut found = Counters::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        match value.as_i64() {
            Some(count) => {
                found.insert(name.clone(), count);
            }
            None => found.extend(
                counters(value)
                    .into_iter()
                    .map(|(inner, count)| (format!("{name}.{inner}"), count)),
            ),
        }
    }
    found
}

/// What was counted between two readings of one object.
fn difference(now: &Value, earlier: &Value) -> Counters {
    let earlier = counters(earlier);
    let mut counted = counters(now);
    for (name, count) in &mut counted {
        *count -= earlier.get(name).copied().unwrap_or(0);
    }
    counted
}

fn percentiles(latency: &Value) -> Latency {
    let figure = |name: &str| latency[name].as_f64().unwrap_or_default();
    Latency {
        offered_per_s: 0.0,
        count: latency["count"].as_u64().unwrap_or_default(),
        p50: figure("p50"),
        p90: figure("p90"),
        p99: figure("p99"),
        p999: figure("p999"),
        max: figure("max"),
        curve: curve(&buckets(latency)),
    }
}

fn buckets(latency: &Value) -> Vec<(u64, u64)> {
    serde_json::from_value(latency["buckets"].clone()).unwrap_or_default()
}

fn measured(report: &EngineReport, baseline: &EngineReport) -> Measured {
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
            curve: curve(&latency.buckets),
        },
        latency_buckets: latency.buckets.clone(),
        order_lag_us: lag(&report.order_lag_us),
        behind: report.behind,
        datagrams_sent: window.datagrams_sent,
        ..Measured::default()
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

fn lag(readings: &sirocco_dispatch::report::Latency) -> Lag {
    Lag {
        p50: readings.p50 as f64,
        p99: readings.p99 as f64,
        max: readings.max as f64,
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
        let measured = drained(&report, &Window::default()).measured;
        assert_eq!((measured.trains, measured.segments), (4, 194));
        assert_eq!(measured.bytes_sent, 97_000);
    }

    #[test]
    fn failures_count_from_the_mark() {
        let mut report = EngineReport::default();
        report.ledger.failed_by_cause = [("486".to_owned(), 5), ("timeout".to_owned(), 2)].into();
        let mut window = Window::default();
        window.begin.ledger.failed_by_cause =
            [("486".to_owned(), 3), ("timeout".to_owned(), 2)].into();
        let failed = drained(&report, &window).measured.sirs_failed;
        assert_eq!(failed, [("486".to_owned(), 2)].into());
    }

    #[test]
    fn counters_are_named_by_their_path_and_subtracted() {
        let end = serde_json::json!({"opened": 9, "ended": {"engine": 7}, "words": "none"});
        let begin = serde_json::json!({"opened": 4, "ended": {"engine": 3}});
        let counted = difference(&end, &begin);
        assert_eq!(
            counted,
            [("opened".to_owned(), 5), ("ended.engine".to_owned(), 4)].into()
        );
        assert_eq!(difference(&Value::Null, &begin), Counters::new());
    }
}
