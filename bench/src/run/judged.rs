//! A scenario in which every SIR has one right end and a time limit: each attempt that ends otherwise
//! or later is inadequately handled (ETSI TS 186 008: IHS), and their share is the figure. Called by
//! `plan`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::counted::{self, Count};
use super::figures;
use super::plan::{Bench, PlanError};
use super::results::Results;
use crate::quantity::Rate;
use crate::record::OutcomeFigures;
use crate::role::protocol::Drained;
use crate::scenario::{Outcome, Right};

/// Time for a run beyond its orders and the limit of each: Timer F, and what is behind it.
const GRACE: Duration = Duration::from_secs(45);

/// Runs the scenario.
///
/// # Errors
/// When a side fails or the user interrupts.
pub fn run(bench: &Bench<'_>) -> Result<Results, PlanError> {
    let mut results = Results::default();
    let Some(outcome) = &bench.scenario.outcome else {
        return Ok(results);
    };
    let mut stage = bench.stage()?;
    results.ready = bench.launch(&mut stage)?;
    let rate = bench.scenario.runs.rate;
    let schedule = match rate {
        Rate::PerSecond(rate) => Duration::from_secs(outcome.orders / rate.max(1) + 1),
        Rate::Max => GRACE,
    };
    let count = Count {
        orders: outcome.orders,
        rate,
        limit: schedule + Duration::from_millis(outcome.within_ms) + GRACE,
        holds: outcome.right == Right::Direct,
    };
    if outcome.right == Right::Direct {
        bench.phase("building the sessions up that pushes go into");
        let built = counted::run(bench, &mut stage, count)?;
        results
            .runs
            .push(figures::counted(&built.measured, bench.scenario));
    }
    bench.phase(format!("{} orders at {rate}, each judged", outcome.orders));
    let drained = counted::run(bench, &mut stage, count)?;
    results.outcome = Some(judge(outcome, &drained));
    results
        .runs
        .push(figures::counted(&drained.measured, bench.scenario));
    results.take(&drained);
    bench.phase("stopping");
    bench.finish(&mut stage, &mut results)?;
    Ok(results)
}

/// Judges a run by its books and its histograms.
#[must_use]
pub fn judge(outcome: &Outcome, drained: &Drained) -> OutcomeFigures {
    let positive = |count: i64| u64::try_from(count).unwrap_or(0);
    let pushed = |name: &str| drained.measured.pushes.get(name).copied().unwrap_or(0);
    let (ledger, measured) = (&drained.ledger, &drained.measured);
    let timeouts = measured.sirs_failed.get("timeout").copied().unwrap_or(0);
    let limit_us = outcome.within_ms * 1000;
    let (answered, built) = (
        &measured.latency_buckets[..],
        &measured.time_to_session_buckets[..],
    );
    let (attempts, right_ends, times) = match outcome.right {
        Right::Session => (
            outcome.orders,
            positive(pushed("delivered") - pushed("duplicates")),
            Some(built),
        ),
        Right::Delivered => (ledger.accepted, ledger.delivered, Some(answered)),
        Right::Stored => (ledger.accepted, ledger.stored, Some(answered)),
        Right::Timeout => (ledger.accepted, timeouts, Some(answered)),
        // A push into an open session leaves in the turn that takes its order.
        Right::Direct => (
            outcome.orders,
            positive(pushed("direct").min(pushed("delivered"))),
            None,
        ),
    };
    let late = times.map_or(0, |buckets| late(buckets, limit_us));
    let mut faults = BTreeMap::new();
    if matches!(outcome.right, Right::Session | Right::Direct) {
        for name in ["unwanted", "duplicates"] {
            faults.insert(name.to_owned(), pushed(name));
        }
    }
    if outcome.right == Right::Direct {
        let sirs = i64::try_from(measured.sirs_sent).unwrap_or(i64::MAX);
        faults.insert("sirs".to_owned(), sirs);
    }
    faults.retain(|_, count| *count != 0);
    let in_time = right_ends.saturating_sub(late);
    let wrong = attempts.saturating_sub(in_time) + positive(faults.values().sum());
    OutcomeFigures {
        right: outcome.right,
        within_ms: outcome.within_ms,
        attempts,
        right_ends,
        in_time,
        faults,
        ihs: if attempts == 0 {
            1.0
        } else {
            (wrong as f64 / attempts as f64).min(1.0)
        },
    }
}

/// How many took longer than the limit, to the resolution of the histogram's buckets.
#[must_use]
pub fn late(buckets: &[(u64, u64)], limit_us: u64) -> u64 {
    let beyond = buckets.iter().filter(|(upper, _)| *upper > limit_us);
    beyond.map(|(_, count)| count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(right: Right) -> Outcome {
        Outcome {
            right,
            within_ms: 10,
            orders: 100,
            ihs_max: 0.001,
        }
    }

    fn drained(pushes: &[(&str, i64)]) -> Drained {
        let mut drained = Drained::default();
        let pushes = pushes.iter().map(|(name, n)| ((*name).to_owned(), *n));
        drained.measured.pushes = pushes.collect();
        drained.measured.time_to_session_buckets = vec![(500, 90), (9_999, 8), (20_000, 2)];
        drained
    }

    #[test]
    fn a_session_too_late_or_unwanted_is_inadequately_handled() {
        let pushes = [("delivered", 100), ("unwanted", 1)];
        let judged = judge(&outcome(Right::Session), &drained(&pushes));
        assert_eq!(
            (judged.attempts, judged.right_ends, judged.in_time),
            (100, 100, 98)
        );
        assert_eq!((judged.faults["unwanted"], judged.ihs), (1, 0.03));
        let missing = judge(&outcome(Right::Session), &drained(&[("due", 100)]));
        assert_eq!(missing.ihs, 1.0);
    }

    #[test]
    fn stored_and_timed_out_ends_are_read_from_the_ledger() {
        let mut books = drained(&[]);
        books.ledger.accepted = 100;
        books.ledger.stored = 99;
        books.measured.latency_buckets = vec![(300, 99)];
        assert_eq!(judge(&outcome(Right::Stored), &books).ihs, 0.01);
        books.measured.sirs_failed = [("timeout".to_owned(), 100)].into();
        assert_eq!(judge(&outcome(Right::Timeout), &books).ihs, 0.0);
        books.measured.latency_buckets = vec![(33_000_000, 100)];
        assert_eq!(judge(&outcome(Right::Timeout), &books).ihs, 1.0);
    }

    #[test]
    fn a_sir_where_a_session_was_open_is_a_fault() {
        let mut books = drained(&[("direct", 100), ("delivered", 100)]);
        assert_eq!(judge(&outcome(Right::Direct), &books).ihs, 0.0);
        books.measured.sirs_sent = 5;
        assert_eq!(judge(&outcome(Right::Direct), &books).ihs, 0.05);
    }

    #[test]
    fn nothing_attempted_is_nothing_proved() {
        assert_eq!(judge(&outcome(Right::Session), &drained(&[])).ihs, 1.0);
    }
}
