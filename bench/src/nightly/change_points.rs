//! Change points of a series: where its mean steps, or that it drifts. E-divisive on means (Matteson and
//! James 2014 with alpha = 2, where the divergence of two runs is that of their means): the split with the
//! greatest divergence is tested, and where it holds both sides are split again. Significance is
//! Student's t, as in Hunter (Fleming et al. 2023), corrected for the candidates of a split; no chance is
//! involved, so a history gives the same answer every time. docs/decisions/0019-nightly.md says why it is
//! written here. Called by `series`.

use super::student;
use super::sums::Sums;

/// Nights on either side of a split that is tested: the window of [`without_spikes`] keeps four in a row,
/// and a mean of fewer is at the mercy of one night.
pub const SIDE_MIN: usize = 4;

/// Nights that a step moves at most from the split that was tested to where the values divide best: a
/// clear step is seen in the tested split next to it before it has all its nights.
const MOVE_MAX: usize = 2;

/// Nights that are looked at, from the last: older ones say nothing about tonight.
pub const NIGHTS_MAX: usize = 120;

/// Nights on either side that a night is compared with to see whether it alone is off.
const SPIKE_SIDE: usize = 3;

/// Robust standard deviations beyond which a single night is off (Hampel's usual three, and a half since
/// the scale comes from seven values).
const SPIKE_DEVIATIONS: f64 = 3.5;

/// The median absolute deviation of a normal distribution, times this, is its standard deviation.
const MAD_TO_DEVIATION: f64 = 1.4826;

/// A drift is one when a line leaves at most this share of what the step leaves unexplained: noise makes
/// a line as good as a step now and then, and a step names a commit.
const DRIFT_LEAVES_MAX: f64 = 0.8;

/// When a step is believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Greatest p-value, after correction for the candidates of one split.
    pub p_max: f64,
    /// Least change of the mean, as a share of the mean before.
    pub effect_min: f64,
}

/// How a series changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// From one night to the next: one of the commits between them did it, or the machine.
    Step,
    /// Little by little: a straight line explains the values better than any step.
    Drift,
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Index of the first value after it.
    pub at: usize,
    /// How.
    pub shape: Shape,
    /// Mean before, back to the change before; the line's begin for a drift.
    pub before: f64,
    /// Mean after, up to the next change; the line's end for a drift.
    pub after: f64,
    /// Chance of a step this clear anywhere in a run of equal nights.
    pub p: f64,
}

impl Change {
    /// The change as a share of what was before: 0.05 is 5 % more.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.after / self.before - 1.0
    }
}

/// The changes of `values`, in their order. Values have to be finite.
#[must_use]
pub fn find(values: &[f64], rule: &Rule) -> Vec<Change> {
    let skipped = values.len().saturating_sub(NIGHTS_MAX);
    let values = without_spikes(&values[skipped..]);
    let series = Series {
        running: Sums::running(&values),
        values,
        rule: *rule,
    };
    let mut changes = Vec::new();
    let mut open = vec![(0, series.values.len())];
    while let Some((begin, end)) = open.pop() {
        let Some(change) = series.split(begin, end) else {
            continue;
        };
        changes.push(change);
        if change.shape == Shape::Step {
            open.extend([(begin, change.at), (change.at, end)]);
        }
    }
    changes.sort_by_key(|change| change.at);
    series.settle(&mut changes);
    for change in &mut changes {
        change.at += skipped;
    }
    changes
}

/// The values with each that is alone far from its neighbours replaced by their median.
#[must_use]
pub fn without_spikes(values: &[f64]) -> Vec<f64> {
    let around = |at: usize| {
        let end = (at + SPIKE_SIDE + 1).min(values.len());
        let window = &values[at.saturating_sub(SPIKE_SIDE)..end];
        let center = median(window.to_vec());
        let deviation = median(window.iter().map(|value| (value - center).abs()).collect());
        (center, deviation * MAD_TO_DEVIATION)
    };
    let all: Vec<_> = (0..values.len()).map(around).collect();
    // Seven nights may agree by chance: the scale is no less than what is usual in the series.
    let usual = median(all.iter().map(|(_, deviation)| *deviation).collect());
    let cleaned = values.iter().zip(all).map(|(&value, (center, deviation))| {
        let far = SPIKE_DEVIATIONS * deviation.max(usual);
        if (value - center).abs() > far && far > 0.0 {
            center
        } else {
            value
        }
    });
    cleaned.collect()
}

fn median(values: Vec<f64>) -> f64 {
    crate::statistics::Spread::of(values).median
}

/// A series with its running sums.
struct Series {
    values: Vec<f64>,
    running: Vec<Sums>,
    rule: Rule,
}

impl Series {
    fn sums(&self, begin: usize, end: usize) -> Sums {
        self.running[end] - self.running[begin]
    }

    /// The clearest split of the nights from `begin` to before `end`, if it holds.
    fn split(&self, begin: usize, end: usize) -> Option<Change> {
        let candidates = begin + SIDE_MIN..(end + 1).saturating_sub(SIDE_MIN);
        let count = candidates.len();
        let divergence = |at: &usize| {
            let (a, b) = (self.sums(begin, *at), self.sums(*at, end));
            a.count * b.count / (a.count + b.count) * (a.mean() - b.mean()).powi(2)
        };
        let best = |a: &usize, b: &usize| divergence(a).total_cmp(&divergence(b));
        let tested = candidates.max_by(best)?;
        self.step((begin, tested, end), count)?;
        let near = (tested - MOVE_MAX).max(begin + 1)..=(tested + MOVE_MAX).min(end - 1);
        let at = near.max_by(best)?;
        let step = self.step((begin, at, end), count)?;
        Some(self.drift(begin, end, &step).unwrap_or(step))
    }

    /// The step at `at` between `begin` and `end`, if it is significant and large enough.
    fn step(&self, (begin, at, end): (usize, usize, usize), candidates: usize) -> Option<Change> {
        let (a, b) = (self.sums(begin, at), self.sums(at, end));
        // Bonferroni: neighbouring candidates are nearly one, so this errs towards silence.
        let p = student::p_value(&a, &b) * candidates as f64;
        let change = Change {
            at,
            shape: Shape::Step,
            before: a.mean(),
            after: b.mean(),
            p: p.min(1.0),
        };
        let large = (b.mean() - a.mean()).abs() >= self.rule.effect_min * a.mean().abs();
        (p <= self.rule.p_max && large).then_some(change)
    }

    /// The drift from `begin` to `end`, if a line leaves clearly less unexplained than the step does.
    fn drift(&self, begin: usize, end: usize, step: &Change) -> Option<Change> {
        let values = &self.values[begin..end];
        let middle = (values.len() - 1) as f64 / 2.0;
        let mean = self.sums(begin, end).mean();
        let (mut together, mut squares) = (0.0, 0.0);
        for (index, value) in values.iter().enumerate() {
            let distance = index as f64 - middle;
            together += distance * (value - mean);
            squares += distance * distance;
        }
        let slope = together / squares;
        let whole = self.sums(begin, end).squares_about_mean();
        let by_line = whole - slope * together;
        let by_step = self.sums(begin, step.at).squares_about_mean()
            + self.sums(step.at, end).squares_about_mean();
        (by_line < DRIFT_LEAVES_MAX * by_step).then_some(Change {
            shape: Shape::Drift,
            before: mean - slope * middle,
            after: mean + slope * middle,
            ..*step
        })
    }

    /// States each step against its neighbours, and drops those that no longer hold: a split that was
    /// needed to find another need not be one itself.
    fn settle(&self, changes: &mut Vec<Change>) {
        let mut index = 0;
        while index < changes.len() {
            let begin = index.checked_sub(1).map_or(0, |before| changes[before].at);
            let end = changes.get(index + 1).map_or(self.values.len(), |c| c.at);
            let change = changes[index];
            let candidates = (end - begin).saturating_sub(2 * SIDE_MIN) + 1;
            let stated = match change.shape {
                Shape::Drift => Some(change),
                Shape::Step => self.step((begin, change.at, end), candidates),
            };
            if let Some(stated) = stated {
                changes[index] = stated;
                index += 1;
            } else {
                changes.remove(index);
                index = index.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
#[path = "change_points/tests.rs"]
mod tests;
