//! The history as series: one for each figure of each scenario on one kind of host with one set of
//! settings. Says which series changed, between which commits, and whether that is news. Invalid nights
//! are left out, missing ones are no gap: a series has an order and no clock. Called by `nightly`.

use std::collections::BTreeMap;

use super::change_points::{self, Change, NIGHTS_MAX, Rule, Shape};
use super::history::Line;
use crate::compare::metrics::{Better, METRICS};

/// Nights that a series needs before anything is said about it: four on either side of a step.
pub const NIGHTS_MIN: usize = 2 * change_points::SIDE_MIN;

/// Chance of any false step in all series of a suite together, in one night of equal ones. A false step
/// tonight is mostly the one of last night, so 30 nights raise far less than 30 times this.
const FALSE_SHARE_MAX: f64 = 0.01;

/// Distance in nights within which two steps are the same: a later night may move it a little.
const SAME_WITHIN: usize = 3;

/// Growth from which a change in a known place is another one: what was known was told with its size.
const SAME_GROWTH_MAX: f64 = 2.0;

/// Nights before tonight that may have known a change. A step that noise makes fades and comes back for
/// some weeks, and whoever was told once need not be told again.
const REMEMBERED: usize = 30;

/// Whether a change is told for the first time. A step that noise makes is mostly gone the next night, so
/// an alarm waits for one more: in the histories of `series/tests.rs` that halves the false ones, and costs
/// a true one a night (docs/decisions/0019-nightly.md has the figures).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// None of the [`REMEMBERED`] nights before knew it: told, and no alarm yet.
    First,
    /// One of them knew it, and tonight confirms it: what an alarm is raised for.
    Confirmed,
    /// It was confirmed before.
    Known,
}

/// Changes below this share are not told, however sure: nobody acts on them, and the next compiler or
/// kernel brings its own.
pub const EFFECT_MIN: f64 = 0.02;

/// The figures whose times are kept, by their names among the metrics of `compare`.
pub const TIMES: [&str; 6] = [
    "cpu_ns_per_sir",
    "sirs_per_s",
    "latency_p50_us",
    "latency_p99_us",
    "syscalls_per_sir",
    "segments_per_train",
];

/// Whether more of `name` is better; a figure that is no metric is taken for a cost.
#[must_use]
pub fn more_is_better(name: &str) -> bool {
    let known = METRICS.iter().find(|metric| metric.name == name);
    known.is_some_and(|metric| metric.better == Better::Higher)
}

/// One series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series<'a> {
    /// Scenario.
    pub scenario: &'a str,
    /// Name of the figure.
    pub figure: &'a str,
    /// The valid nights in their order.
    pub nights: Vec<&'a Line>,
    /// Its median in each.
    pub values: Vec<f64>,
}

/// A change in a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Scenario.
    pub scenario: String,
    /// Name of the figure.
    pub figure: String,
    /// The change, by its place in the series.
    pub change: Change,
    /// Commit of the last night before it.
    pub last_before: String,
    /// Commit of the first night after it.
    pub first_after: String,
    /// Nights since then, tonight included.
    pub nights_since: usize,
    /// Whether it is told for the first time.
    pub news: News,
    /// Whether the figure got worse.
    pub is_worse: bool,
}

impl Finding {
    /// Whether an alarm is raised for it tonight.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        self.news == News::Confirmed && self.is_worse
    }
}

/// The series that tonight's lines continue, those with values only.
#[must_use]
pub fn continued<'a>(lines: &'a [Line], night: u64) -> Vec<Series<'a>> {
    let key = |line: &'a Line| (&*line.scenario, &*line.host_key, &*line.settings);
    let mut by_key: BTreeMap<_, Vec<&Line>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.counts()) {
        by_key.entry(key(line)).or_default().push(line);
    }
    let tonight = |nights: &Vec<&Line>| nights.iter().any(|line| line.night_unix_s == night);
    let mut all = Vec::new();
    for mut nights in by_key.into_values().filter(tonight) {
        nights.sort_by_key(|line| line.night_unix_s);
        for figure in TIMES {
            let with = nights.iter().filter_map(|l| Some((*l, l.time(figure)?)));
            let (nights, values): (Vec<&Line>, Vec<f64>) = with.unzip();
            if let Some(first) = nights.first() {
                all.push(Series {
                    scenario: &first.scenario,
                    figure,
                    nights,
                    values,
                });
            }
        }
    }
    all
}

/// The changes of all `series`, clearest news first.
#[must_use]
pub fn findings(series: &[Series<'_>]) -> Vec<Finding> {
    let rule = Rule {
        p_max: FALSE_SHARE_MAX / series.len().max(1) as f64,
        effect_min: EFFECT_MIN,
    };
    let mut found: Vec<Finding> = series.iter().flat_map(|s| s.findings(&rule)).collect();
    let weight = |finding: &Finding| finding.change.share().abs();
    found.sort_by(|a, b| {
        let news = (b.is_alarm(), b.news != News::Known, b.is_worse);
        let news = news.cmp(&(a.is_alarm(), a.news != News::Known, a.is_worse));
        news.then(weight(b).total_cmp(&weight(a)))
    });
    found
}

impl Series<'_> {
    fn findings(&self, rule: &Rule) -> Vec<Finding> {
        let changes = change_points::find(&self.values, rule);
        if changes.is_empty() {
            return Vec::new();
        }
        let count = self.values.len();
        let before = count.saturating_sub(REMEMBERED).max(1)..count;
        let known = before.map(|night| change_points::find(&self.values[..night], rule));
        let known: Vec<Vec<Change>> = known.collect();
        let finding = |change: Change| {
            let commit = |at: usize| self.nights[at].commit.clone();
            Finding {
                scenario: self.scenario.to_owned(),
                figure: self.figure.to_owned(),
                change,
                last_before: commit(change.at - 1),
                first_after: commit(change.at),
                nights_since: self.values.len() - change.at,
                news: news(&known, &change),
                is_worse: (change.after > change.before) != more_is_better(self.figure),
            }
        };
        changes.into_iter().map(finding).collect()
    }

    /// The median of the nights before tonight, as many as are looked at, or since the last step;
    /// `None` on the first night.
    #[must_use]
    pub fn usual(&self, findings: &[Finding]) -> Option<f64> {
        let end = self.values.len().checked_sub(1).filter(|end| *end > 0)?;
        let own = |f: &&Finding| f.scenario == self.scenario && f.figure == self.figure;
        let steps = findings.iter().filter(own).map(|f| f.change.at);
        let begin = steps.filter(|at| *at < end).max().unwrap_or(0);
        let begin = begin.max(end.saturating_sub(NIGHTS_MAX));
        crate::statistics::median(&self.values[begin..end])
    }
}

/// Whether `change` is news, by what each of the nights before knew.
fn news(known: &[Vec<Change>], change: &Change) -> News {
    let knew = |night: &&Vec<Change>| night.iter().any(|known| is_same(known, change));
    match known.iter().filter(knew).count() {
        0 => News::First,
        1 => News::Confirmed,
        _ => News::Known,
    }
}

/// Whether a night that knew `known` has told of `change`.
fn is_same(known: &Change, change: &Change) -> bool {
    // A drift has no place: one that goes on is one.
    let place = change.shape == Shape::Drift || known.at.abs_diff(change.at) <= SAME_WITHIN;
    let growth = change.share() / known.share();
    known.shape == change.shape && place && growth > 0.0 && growth <= SAME_GROWTH_MAX
}

#[cfg(test)]
#[path = "series/tests.rs"]
mod tests;
