//! From the samples of two sides to a word for each figure. A time differs where the interval of the ratio
//! of medians leaves 1 out; a counter differs where its median changed beyond its tolerance. Pure
//! arithmetic; the intervals are those of `statistics`.

use serde::Serialize;

use super::metrics::{Better, Kind, METRICS, Metric};
use crate::record::Record;
use crate::statistics::{Interval, Spread, mann_whitney, median_ratio_interval, pairs_min};

/// Seed of the resampling: the same records give the same words.
const SEED: u64 = 1;

/// What can be said of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Worse, and beyond the threshold with all of its interval.
    Regression,
    /// Worse, by less than the threshold or perhaps less.
    Worse,
    /// Better.
    Better,
    /// The interval holds 1, or the counter is the same.
    NoDifferenceShown,
    /// Too few samples on a side for any interval.
    TooFewSamples,
}

/// One figure of both sides.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The figure.
    pub metric: &'static str,
    /// First side.
    pub a: Spread,
    /// Second side.
    pub b: Spread,
    /// b over a, with its interval where there are samples for one.
    pub ratio: Option<Interval>,
    /// The interval is made of fewer samples than cover the median with its confidence (see
    /// docs/compare.md): it is too narrow.
    pub few: bool,
    /// Two-sided p of the rank test of Mann and Whitney; none for counters and few samples.
    pub rank_p: Option<f64>,
    /// The word for it.
    pub finding: Finding,
}

/// Compares what both sides have.
#[must_use]
pub fn compare(a: &[&Record], b: &[&Record], threshold: f64, confidence: f64) -> Vec<Compared> {
    let both = METRICS.iter().filter_map(|metric| {
        let [a, b] = [a, b].map(|side| {
            let samples = side.iter().flat_map(|record| (metric.read)(record));
            samples.collect::<Vec<_>>()
        });
        let has_both = !a.is_empty() && !b.is_empty();
        has_both.then(|| one(metric, a, b, (threshold, confidence)))
    });
    both.collect()
}

fn one(metric: &Metric, a: Vec<f64>, b: Vec<f64>, (threshold, confidence): (f64, f64)) -> Compared {
    let ratio = median_ratio_interval(&a, &b, confidence, SEED);
    let few = a.len().min(b.len()) < pairs_min(confidence);
    let rank_p = (metric.kind == Kind::Time && ratio.is_some()).then(|| mann_whitney(&a, &b));
    let (a, b) = (Spread::of(a), Spread::of(b));
    let finding = match metric.kind {
        Kind::Time => by_interval(metric.better, ratio.as_ref(), threshold),
        Kind::Counter {
            tolerance,
            absolute,
        } => by_value(metric.better, (a.median, b.median), (tolerance, absolute)),
    };
    Compared {
        metric: metric.name,
        a,
        b,
        ratio,
        few,
        rank_p,
        finding,
    }
}

fn by_interval(better: Better, ratio: Option<&Interval>, threshold: f64) -> Finding {
    let Some(ratio) = ratio else {
        return Finding::TooFewSamples;
    };
    let (worse, beyond) = match better {
        Better::Lower => (ratio.low > 1.0, ratio.low > 1.0 + threshold),
        Better::Higher => (ratio.high < 1.0, ratio.high < 1.0 - threshold),
    };
    match (beyond, worse, ratio.covers(1.0)) {
        (true, ..) => Finding::Regression,
        (_, true, _) => Finding::Worse,
        (_, _, true) => Finding::NoDifferenceShown,
        _ => Finding::Better,
    }
}

fn by_value(better: Better, (a, b): (f64, f64), (tolerance, absolute): (f64, f64)) -> Finding {
    let change = b - a;
    if change.abs() <= (a.abs() * tolerance).max(absolute) {
        return Finding::NoDifferenceShown;
    }
    match (better, change > 0.0) {
        (Better::Lower, true) | (Better::Higher, false) => Finding::Regression,
        _ => Finding::Better,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sound;

    /// A record with these CPU times a SIR, one a repetition.
    fn record(cpu_ns: &[f64]) -> Record {
        let mut record = sound();
        let run = record.runs[0].clone();
        record.runs = cpu_ns
            .iter()
            .map(|cpu| {
                let mut run = run.clone();
                run.engine.cpu_ns_per_sir = *cpu;
                run.engine.bytes_written_per_sir = 233.0;
                run
            })
            .collect();
        record
    }

    fn finding(a: &Record, b: &Record, name: &str) -> Finding {
        let compared = compare(&[a], &[b], 0.05, 0.95);
        let found = compared.iter().find(|compared| compared.metric == name);
        found.expect("a figure of both").finding
    }

    const CPU: &str = "engine_cpu_ns_per_sir";

    #[test]
    fn a_clear_slow_down_is_a_regression_and_the_way_back_is_better() {
        let (fast, slow) = (
            record(&[400.0, 402.0, 398.0, 401.0, 399.0, 400.0]),
            record(&[440.0, 442.0, 441.0, 439.0, 443.0, 440.0]),
        );
        assert_eq!(finding(&fast, &slow, CPU), Finding::Regression);
        assert_eq!(finding(&slow, &fast, CPU), Finding::Better);
        assert_eq!(finding(&fast, &fast, CPU), Finding::NoDifferenceShown);
    }

    #[test]
    fn a_small_slow_down_is_worse_and_passes() {
        let (fast, slow) = (
            record(&[400.0, 401.0, 399.0, 400.0, 400.5, 399.5]),
            record(&[408.0, 409.0, 407.0, 408.0, 408.5, 407.5]),
        );
        assert_eq!(finding(&fast, &slow, CPU), Finding::Worse);
    }

    #[test]
    fn one_repetition_says_nothing_of_a_time_and_much_of_a_counter() {
        let one = record(&[400.0]);
        let mut more = record(&[800.0]);
        more.runs[0].engine.bytes_written_per_sir = 240.0;
        assert_eq!(finding(&one, &more, CPU), Finding::TooFewSamples);
        let bytes = "bytes_written_per_sir";
        assert_eq!(finding(&one, &more, bytes), Finding::Regression);
        assert_eq!(finding(&more, &one, bytes), Finding::Better);
    }

    #[test]
    fn a_figure_that_one_side_lacks_is_not_compared() {
        let compared = compare(&[&record(&[1.0])], &[&record(&[1.0])], 0.05, 0.95);
        assert!(compared.iter().all(|one| one.metric != "cycles_per_s"));
    }

    #[test]
    fn no_allocation_against_none_is_no_difference_and_against_some_a_regression() {
        let without = record(&[1.0]);
        let mut with = record(&[1.0]);
        with.runs[0].engine.allocations_per_sir = 0.07;
        let name = "allocations_per_sir";
        assert_eq!(
            finding(&without, &without, name),
            Finding::NoDifferenceShown
        );
        assert_eq!(finding(&without, &with, name), Finding::Regression);
    }
}
