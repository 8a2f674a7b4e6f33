//! The part of a record that says where the worker's wall time went: by stage, and by the sizes of turns
//! and trains. Sums of what the engine reports; shares and percentiles are the reader's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sirocco_dispatch::report::EngineReport;

/// Wall time of the engine's worker by stage, and histograms of its turns and trains.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageFigures {
    /// What the stamps were read from: `tsc`, `monotonic` or `off`.
    pub clock: String,
    /// Wall nanoseconds of the measured windows by CLOCK_MONOTONIC.
    pub wall_ns: u64,
    /// Sum of all stages in nanoseconds, by the counter of the stamps.
    pub sum_ns: u64,
    /// Nanoseconds of each stage by its name (docs/explain.md); empty when the stopwatch is off.
    pub stage_ns: BTreeMap<String, u64>,
    /// Turns of the worker.
    pub turns: u64,
    /// Turns that found nothing to do; their time is `idle`.
    pub turns_idle: u64,
    /// Turns with work in which time inside laps was told apart.
    pub turns_sampled: u64,
    /// Turns with work by their length without sleep: upper bound in nanoseconds, and how many.
    pub turn_ns: Vec<(u64, u64)>,
    /// The same turns by the SIRs that they sent.
    pub turn_sirs: Vec<(u64, u64)>,
    /// SIRs in a train sent, drain included: how many trains of each size, from 0 to 128.
    pub train_lengths: Vec<u64>,
    /// Datagrams in a train received, drain included: how many of each size, from 0 to 128.
    pub answer_train_lengths: Vec<u64>,
}

impl StageFigures {
    /// What a worker reports of its last window.
    #[must_use]
    pub fn of(report: &EngineReport) -> Self {
        let window = &report.stages.window;
        Self {
            clock: report.stages.clock.clone(),
            wall_ns: window.wall_ns,
            sum_ns: window.sum_ns,
            stage_ns: window.stage_ns.clone(),
            turns: window.turns,
            turns_idle: window.turns_idle,
            turns_sampled: window.turns_sampled,
            turn_ns: report.turn_ns.clone(),
            turn_sirs: report.turn_sirs.clone(),
            train_lengths: report.train_sizes.clone(),
            answer_train_lengths: report.answer_train_sizes.clone(),
        }
    }

    /// Several windows as one.
    #[must_use]
    pub fn sum<'a>(windows: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut total = Self::default();
        for window in windows {
            total.clock.clone_from(&window.clock);
            total.wall_ns += window.wall_ns;
            total.sum_ns += window.sum_ns;
            for (stage, ns) in &window.stage_ns {
                *total.stage_ns.entry(stage.clone()).or_default() += ns;
            }
            total.turns += window.turns;
            total.turns_idle += window.turns_idle;
            total.turns_sampled += window.turns_sampled;
            total.turn_ns = merged(&total.turn_ns, &window.turn_ns);
            total.turn_sirs = merged(&total.turn_sirs, &window.turn_sirs);
            add(&mut total.train_lengths, &window.train_lengths);
            add(
                &mut total.answer_train_lengths,
                &window.answer_train_lengths,
            );
        }
        total
    }

    /// How far the stages are from the wall time, as a share of it; 0 when the stopwatch is off.
    #[must_use]
    pub fn missing_share(&self) -> f64 {
        if self.stage_ns.is_empty() || self.wall_ns == 0 {
            return 0.0;
        }
        self.sum_ns.abs_diff(self.wall_ns) as f64 / self.wall_ns as f64
    }
}

/// The upper bound below which `share` of what the buckets count lies; `None` when they are empty.
#[must_use]
pub fn percentile(buckets: &[(u64, u64)], share: f64) -> Option<u64> {
    let count: u64 = buckets.iter().map(|(_, count)| count).sum();
    let wanted = (count as f64 * share).ceil() as u64;
    let mut seen = 0;
    let found = buckets.iter().find(|(_, count)| {
        seen += count;
        seen >= wanted.max(1)
    });
    found.map(|(bound, _)| *bound)
}

/// Buckets by bound, counts added.
fn merged(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut all: BTreeMap<u64, u64> = a.iter().copied().collect();
    for (bound, count) in b {
        *all.entry(*bound).or_default() += count;
    }
    all.into_iter().collect()
}

fn add(total: &mut Vec<u64>, counts: &[u64]) {
    total.resize(total.len().max(counts.len()), 0);
    for (total, count) in total.iter_mut().zip(counts) {
        *total += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_add_up_and_what_is_missing_is_told() {
        let window = StageFigures {
            clock: "tsc".to_owned(),
            wall_ns: 100,
            sum_ns: 99,
            stage_ns: [("parse".to_owned(), 40), ("idle".to_owned(), 59)].into(),
            turn_ns: vec![(10, 1), (20, 3)],
            train_lengths: vec![0, 2],
            ..StageFigures::default()
        };
        let sum = StageFigures::sum([&window, &window]);
        assert_eq!(
            (sum.wall_ns, sum.sum_ns, sum.stage_ns["parse"]),
            (200, 198, 80)
        );
        assert_eq!(
            (sum.turn_ns.clone(), sum.train_lengths.clone()),
            (vec![(10, 2), (20, 6)], vec![0, 4])
        );
        assert_eq!(sum.missing_share(), 0.01);
        assert_eq!(StageFigures::default().missing_share(), 0.0);
    }

    #[test]
    fn percentiles_are_read_off_the_buckets() {
        let buckets = [(10, 1), (20, 8), (90, 1)];
        assert_eq!(percentile(&buckets, 0.5), Some(20));
        assert_eq!(percentile(&buckets, 0.99), Some(90));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
