//! What a comparison finds of one metric: a verdict and what it rests on. Times are compared by the
//! bootstrap interval of the ratio and by the rank test, both of which have to show a difference; counts
//! by their ranges. Nothing is printed here. Called by `compare`.

use serde::{Deserialize, Serialize};

use super::metrics::{Better, Kind, Metric};
use crate::statistics::{
    Interval, Spread, least_rank_p, mann_whitney, median_ratio_interval, pairs_min, ratio_interval,
};

/// What is said of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// B is worse.
    Worse,
    /// B is better.
    Better,
    /// B is another, and neither way is better.
    Differs,
    /// No difference is shown; there may be one smaller than the interval.
    NoneShown,
    /// Too few samples to show any difference.
    CannotTell,
    /// The counts are the same.
    Same,
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Differs => "differs",
            Self::NoneShown => "no difference shown",
            Self::CannotTell => "cannot tell",
            Self::Same => "same",
        })
    }
}

/// How sure, how large, and where the resampling begins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Confidence of intervals and tests, such as 0.95.
    pub confidence: f64,
    /// Share by which a time has to be worse, by the whole interval, to be a regression.
    pub threshold: f64,
    /// Seed of the resampling.
    pub seed: u64,
}

/// One metric compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the metric.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Whether it is a count.
    pub counted: bool,
    /// Whether it describes the machine, not the program.
    pub control: bool,
    /// Samples of A.
    pub a: Spread,
    /// Samples of B.
    pub b: Spread,
    /// B over A with its interval; none for too few samples, and for counts of 0.
    pub ratio: Option<Interval>,
    /// Two-sided p of the rank test; none where samples are pairs.
    pub p: Option<f64>,
    /// The verdict.
    pub word: Word,
    /// Whether it is a regression beyond the threshold.
    pub regression: bool,
    /// Why it cannot be told, or what limits the verdict; empty if nothing does.
    pub note: String,
}

/// Compares two groups of samples that were not measured in pairs. `None` when a side has none.
#[must_use]
pub fn groups(metric: &Metric, a: &[f64], b: &[f64], terms: &Terms) -> Option<Finding> {
    let mut finding = begin(metric, a, b)?;
    if let Kind::Counted { slack_share, slack } = metric.kind {
        finding.count(metric.better, slack_share, slack);
        return Some(finding);
    }
    finding.ratio = median_ratio_interval(a, b, terms.confidence, terms.seed);
    if least_rank_p(a.len(), b.len()) > 1.0 - terms.confidence {
        finding.note = format!("{} and {} samples", a.len(), b.len());
        return Some(finding);
    }
    let p = mann_whitney(a, b);
    finding.p = Some(p);
    if p > 1.0 - terms.confidence {
        finding.word = Word::NoneShown;
        return Some(finding);
    }
    finding.time(metric.better, terms);
    Some(finding)
}

/// Compares samples measured in pairs `(a, b)`. `None` when there are none.
#[must_use]
pub fn pairs(metric: &Metric, samples: &[(f64, f64)], terms: &Terms) -> Option<Finding> {
    let (a, b): (Vec<f64>, Vec<f64>) = samples.iter().copied().unzip();
    let mut finding = begin(metric, &a, &b)?;
    if let Kind::Counted { slack_share, slack } = metric.kind {
        finding.count(metric.better, slack_share, slack);
        return Some(finding);
    }
    finding.ratio = ratio_interval(samples, terms.confidence, terms.seed);
    let needed = pairs_min(terms.confidence);
    if samples.len() < needed {
        finding.note = format!("{} pairs, {needed} are needed", samples.len());
        return Some(finding);
    }
    finding.time(metric.better, terms);
    Some(finding)
}

fn begin(metric: &Metric, a: &[f64], b: &[f64]) -> Option<Finding> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    Some(Finding {
        metric: metric.name.to_string(),
        unit: metric.unit.to_owned(),
        counted: !metric.is_timed(),
        control: metric.is_control(),
        a: Spread::of(a.to_vec()),
        b: Spread::of(b.to_vec()),
        ratio: None,
        p: None,
        word: Word::CannotTell,
        regression: false,
        note: String::new(),
    })
}

/// The word for B when it is more than A.
fn word_of_more(better: Better, more: bool) -> Word {
    match (better, more) {
        (Better::Neither, _) => Word::Differs,
        (Better::Higher, true) | (Better::Lower, false) => Word::Better,
        (Better::Higher, false) | (Better::Lower, true) => Word::Worse,
    }
}

impl Finding {
    /// B is another than A when their ranges lie apart by more than the slack.
    fn count(&mut self, better: Better, slack_share: f64, slack: f64) {
        let apart = |low: f64, high: f64| low - high > slack + slack_share * high.abs();
        self.word = match (apart(self.b.min, self.a.max), apart(self.a.min, self.b.max)) {
            (true, _) => word_of_more(better, true),
            (_, true) => word_of_more(better, false),
            _ => Word::Same,
        };
        self.regression = self.word == Word::Worse;
        if self.a.median > 0.0 {
            self.ratio = Some(Interval {
                estimate: self.b.median / self.a.median,
                low: self.b.min / self.a.max,
                high: self.b.max / self.a.min.max(f64::MIN_POSITIVE),
                confidence: 1.0,
            });
        }
    }

    /// The verdict of an interval over enough samples.
    fn time(&mut self, better: Better, terms: &Terms) {
        let Some(ratio) = self.ratio else {
            self.note = "a value of 0 has no ratio".to_owned();
            return;
        };
        self.word = match ratio.covers(1.0) {
            true => Word::NoneShown,
            false => word_of_more(better, ratio.low > 1.0),
        };
        let beyond = ratio.low > 1.0 + terms.threshold || ratio.high < 1.0 - terms.threshold;
        self.regression = self.word == Word::Worse && beyond;
    }

    /// Share by which B is off A; 0 without a ratio.
    #[must_use]
    pub fn change(&self) -> f64 {
        self.ratio.map_or(0.0, |ratio| ratio.estimate - 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::METRICS;
    use super::*;

    const TERMS: Terms = Terms {
        confidence: 0.95,
        threshold: 0.05,
        seed: 1,
    };

    fn metric(name: &str) -> &'static Metric {
        METRICS.iter().find(|metric| metric.name == name).unwrap()
    }

    fn around(value: f64, count: u32) -> Vec<f64> {
        let step = |i: u32| value * (1.0 + 0.001 * f64::from(i % 5) - 0.002 * f64::from(i % 3));
        (0..count).map(step).collect()
    }

    fn word(name: &str, a: &[f64], b: &[f64]) -> (Word, bool) {
        let finding = groups(metric(name), a, b, &TERMS).unwrap();
        (finding.word, finding.regression)
    }

    #[test]
    fn a_slower_build_is_worse_and_beyond_the_threshold_a_regression() {
        let (a, b) = (around(300.0, 8), around(330.0, 8));
        assert_eq!(word("cpu_ns_per_sir", &a, &b), (Word::Worse, true));
        assert_eq!(word("cpu_ns_per_sir", &b, &a), (Word::Better, false));
        assert_eq!(word("sirs_per_s", &b, &a), (Word::Worse, true));
        let slightly = around(309.0, 8);
        assert_eq!(word("cpu_ns_per_sir", &a, &slightly), (Word::Worse, false));
        assert_eq!(word("cpu_ns_per_sir", &a, &a), (Word::NoneShown, false));
    }

    #[test]
    fn few_repetitions_cannot_tell_however_far_apart() {
        for count in [1, 2, 3] {
            let (a, b) = (around(300.0, count), around(3000.0, count));
            assert_eq!(
                word("cpu_ns_per_sir", &a, &b),
                (Word::CannotTell, false),
                "{count}"
            );
        }
        let finding = groups(metric("sirs_per_s"), &[1.0], &[2.0], &TERMS).unwrap();
        assert_eq!(
            (finding.note.as_str(), finding.ratio),
            ("1 and 1 samples", None)
        );
        let five: Vec<(f64, f64)> = around(1.0, 5).into_iter().map(|a| (a, 2.0 * a)).collect();
        let finding = pairs(metric("sirs_per_s"), &five, &TERMS).unwrap();
        assert_eq!(finding.word, Word::CannotTell);
        assert!(finding.note.contains("6 are needed"), "{}", finding.note);
    }

    #[test]
    fn counts_are_compared_without_statistics() {
        let name = "bytes_written_per_sir";
        assert_eq!(word(name, &[233.0], &[233.0]), (Word::Same, false));
        assert_eq!(word(name, &[233.0], &[233.5]), (Word::Worse, true));
        assert_eq!(word(name, &[233.0], &[232.0]), (Word::Better, false));
        assert_eq!(
            word("allocations_per_sir", &[0.0; 3], &[0.0, 0.0, 2e-6]),
            (Word::Same, false)
        );
        assert_eq!(
            word("allocations_per_sir", &[0.0; 3], &[1.0, 1.0, 1.0]),
            (Word::Worse, true)
        );
        // Ranges that meet are no difference, whatever the medians.
        let calls = "syscalls_per_sir";
        assert_eq!(
            word(calls, &[0.034, 0.045], &[0.045, 0.05]),
            (Word::Same, false)
        );
        assert_eq!(
            word("request_bytes", &[584.0], &[600.0]),
            (Word::Differs, false)
        );
    }

    #[test]
    fn pairs_show_what_drift_hides_from_groups() {
        // The machine drifts by half within the night; B is 3 % slower in every pair.
        let drifting: Vec<f64> = (0..10).map(|i| 200.0 + 10.0 * f64::from(i)).collect();
        let paired: Vec<(f64, f64)> = drifting.iter().map(|&a| (a, 1.03 * a)).collect();
        let found = pairs(metric("cpu_ns_per_sir"), &paired, &TERMS).unwrap();
        assert_eq!(found.word, Word::Worse);
        let slower: Vec<f64> = paired.iter().map(|pair| pair.1).collect();
        assert_eq!(
            word("cpu_ns_per_sir", &drifting, &slower).0,
            Word::NoneShown
        );
    }

    #[test]
    fn without_samples_nothing_is_found() {
        assert_eq!(groups(metric("sirs_per_s"), &[], &[1.0], &TERMS), None);
        assert_eq!(pairs(metric("sirs_per_s"), &[], &TERMS), None);
    }
}
