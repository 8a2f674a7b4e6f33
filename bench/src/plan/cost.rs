//! What a SIR, or a whole session, costs the worker: CPU nanoseconds as a sum of terms in train length,
//! identities and next hops, fitted on closed-loop records, with an interval that covers what was left
//! out of a fit. It never says that it knows what lies beyond the records: it says how far it is. Called
//! by `coefficients`.

use serde::{Deserialize, Serialize};
use sirocco_dispatch::config::EngineConfig;

use super::estimate::Estimate;
use super::evidence::Kept;
use super::regression::{Fit, Point, fit};
use crate::record::Record;
use crate::statistics::median;

/// Confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// Fewest values of a factor for which its term can be told from the others.
const LEVELS_MIN: usize = 2;

/// Fewest train lengths for which the curve between one and many can be told as well.
const CURVED_MIN: usize = 4;

/// Where a cost is asked for, or was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At {
    /// Mean SIRs in a train as sent.
    pub train: f64,
    /// User identities in the worker's index.
    pub identities: f64,
    /// Next hops of the worker.
    pub hops: f64,
}

/// One of its three.
type Factor = fn(&At) -> f64;

/// How far a figure lies beyond what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// What of, such as `identities a worker`.
    pub factor: String,
    /// What the plan needs.
    pub asked: f64,
    /// The nearest that was measured.
    pub measured: f64,
    /// How many times beyond it.
    pub times: f64,
}

/// Which terms the records can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Shape {
    train: bool,
    curve: bool,
    identities: bool,
    hops: bool,
}

/// A fitted cost.
#[derive(Clone, Debug)]
pub struct Cost {
    shape: Shape,
    fit: Fit,
    /// How many times the interval of the plain fit is widened, so that it covers what was left out.
    pub widened: f64,
    /// Where it was measured.
    pub points: Vec<At>,
    /// The longest train that each record allowed.
    settings: Vec<f64>,
    /// The records.
    pub records: Vec<String>,
}

impl Shape {
    fn of(points: &[At]) -> Self {
        let levels = |factor: Factor| {
            let mut values: Vec<i64> = points
                .iter()
                .map(|at| (factor(at).log2() * 2.0).round() as i64)
                .collect();
            values.sort_unstable();
            values.dedup();
            values.len()
        };
        let trains = levels(|at| at.train);
        Self {
            train: trains >= LEVELS_MIN,
            curve: trains >= CURVED_MIN,
            identities: levels(|at| at.identities) >= LEVELS_MIN,
            hops: levels(|at| at.hops) >= LEVELS_MIN,
        }
    }

    /// The terms: what every SIR costs, what a train shares, the curve between both, and misses that grow
    /// with each doubling of the index and of the next hops.
    fn terms(self, at: At) -> Vec<f64> {
        let terms = [
            (true, 1.0),
            (self.train, 1.0 / at.train),
            (self.curve, 1.0 / at.train.sqrt()),
            (self.identities, at.identities.log2()),
            (self.hops, at.hops.log2()),
        ];
        terms
            .into_iter()
            .filter(|(told, _)| *told)
            .map(|(_, term)| term)
            .collect()
    }
}

impl Cost {
    /// Fits `figure` of the records; `None` where they are too few or it is in none.
    #[must_use]
    pub fn of(kept: &[Kept], figure: impl Fn(&Record) -> Option<f64>) -> Option<Self> {
        let told = |(_, record): &&Kept| figure(record).is_some();
        let kept: Vec<&Kept> = kept.iter().filter(told).collect();
        let measured: Vec<(At, f64)> = kept
            .iter()
            .filter_map(|(_, record)| Some((at(record), figure(record)?)))
            .collect();
        let points: Vec<At> = measured.iter().map(|(at, _)| *at).collect();
        let (shape, fit) = shaped(Shape::of(&points), &measured)?;
        Some(Self {
            shape,
            fit,
            widened: widening(shape, &measured),
            points,
            settings: kept.iter().map(|(_, record)| setting(record)).collect(),
            records: kept
                .iter()
                .map(|(path, _)| path.display().to_string())
                .collect(),
        })
    }

    /// The cost at a place, with the interval for one more record made there.
    #[must_use]
    pub fn at(&self, at: At) -> Estimate {
        self.fit
            .predict(&self.shape.terms(at), CONFIDENCE, self.widened)
    }

    /// The mean train to be expected where the longest one is `setting`: as in the records with this
    /// setting at the nearest number of next hops; the setting itself where there are none.
    #[must_use]
    pub fn train(&self, setting: f64, hops: f64) -> f64 {
        let far = |at: &At| (at.hops / hops).log2().abs();
        let same = || {
            self.points
                .iter()
                .zip(&self.settings)
                .filter(|(_, own)| **own == setting)
        };
        let nearest = same().map(|(at, _)| far(at)).fold(f64::INFINITY, f64::min);
        let trains: Vec<f64> = same()
            .map(|(at, _)| at)
            .filter(|at| far(at) <= nearest)
            .map(|at| at.train)
            .collect();
        median(&trains).unwrap_or(setting)
    }

    /// Standard deviation of a record about the fit, as a share.
    #[must_use]
    pub fn scatter(&self) -> f64 {
        self.fit.scatter
    }

    /// What the fit says, in words.
    #[must_use]
    pub fn formula(&self) -> String {
        let Shape {
            train,
            curve,
            identities,
            hops,
        } = self.shape;
        let names = [
            (true, ""),
            (train, "/train"),
            (curve, "/sqrt(train)"),
            (identities, " log2(identities)"),
            (hops, " log2(next hops)"),
        ];
        let told = names
            .iter()
            .filter(|(told, _)| *told)
            .zip(&self.fit.coefficients);
        let words: Vec<String> = told
            .map(|((_, name), factor)| format!("{factor:.1}{name}"))
            .collect();
        words.join(" + ")
    }

    /// How far `at` lies beyond the records, factor by factor; empty within them.
    #[must_use]
    pub fn stretches(&self, at: At) -> Vec<Stretch> {
        let factors: [(&str, Factor); 3] = [
            ("identities a worker", |at| at.identities),
            ("SIRs a train", |at| at.train),
            ("next hops a worker", |at| at.hops),
        ];
        let of = |(name, factor): (&str, Factor)| {
            stretch(name, factor(&at), self.points.iter().map(factor))
        };
        let mut found: Vec<Stretch> = factors.into_iter().filter_map(of).collect();
        // Trains get shorter where next hops are many: a long one there may never have been seen.
        let there = self.points.iter().filter(|point| point.hops >= at.hops);
        let longest = there.map(|point| point.train).fold(0.0, f64::max);
        if found.is_empty() && longest > 0.0 && at.train > longest * NEAR {
            found.push(Stretch {
                factor: format!("SIRs a train with {} next hops", at.hops),
                asked: at.train,
                measured: longest,
                times: at.train / longest,
            });
        }
        found
    }
}

/// What lies this close to a measured value counts as measured: a train of 64 is 63.9 on the average.
const NEAR: f64 = 1.02;

/// How far `asked` lies outside of `measured`; `None` within.
pub fn stretch(factor: &str, asked: f64, measured: impl Iterator<Item = f64>) -> Option<Stretch> {
    let (low, high) = measured.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let (times, nearest) = match asked {
        asked if asked > high * NEAR => (asked / high, high),
        asked if asked * NEAR < low => (low / asked, low),
        _ => return None,
    };
    Some(Stretch {
        factor: factor.to_owned(),
        asked,
        measured: nearest,
        times,
    })
}

/// Where a record was measured.
pub fn at(record: &Record) -> At {
    At {
        train: record.engine.segments_per_train.max(1.0),
        identities: (record.identities as f64).max(1.0),
        hops: f64::from(record.config.next_hops),
    }
}

/// The longest train that a record allowed.
pub fn setting(record: &Record) -> f64 {
    let set = record
        .config
        .engine
        .get("train-segments")
        .and_then(toml::Value::as_integer);
    let usual = || EngineConfig::default().train_segments as i64;
    set.unwrap_or_else(usual) as f64
}

/// The fit of the shape, without the curve where a term of the train comes out negative: sending trains
/// costs something, and a curve that says otherwise was drawn through too few lengths.
fn shaped(shape: Shape, measured: &[(At, f64)]) -> Option<(Shape, Fit)> {
    let fit = fitted(shape, measured)?;
    if shape.curve && fit.coefficients[1..=2].iter().any(|&term| term < 0.0) {
        let straight = Shape {
            curve: false,
            ..shape
        };
        return Some((straight, fitted(straight, measured)?));
    }
    Some((shape, fit))
}

fn fitted(shape: Shape, measured: &[(At, f64)]) -> Option<Fit> {
    let points: Vec<Point> = measured
        .iter()
        .map(|(at, y)| (shape.terms(*at), *y))
        .collect();
    fit(&points)
}

/// The plain interval speaks of scatter alone and believes the terms. How wrong they may be is asked of
/// the records: the largest population, then the most next hops, are left out, the rest is fitted, and
/// the intervals are widened until they hold what was left out. At least 1.
fn widening(shape: Shape, measured: &[(At, f64)]) -> f64 {
    let factors: [Factor; 2] = [|at| at.identities, |at| at.hops];
    let mut widened = 1.0_f64;
    for factor in factors {
        let top = measured
            .iter()
            .map(|(at, _)| factor(at))
            .fold(0.0, f64::max);
        let (out, rest): (Vec<_>, Vec<_>) = measured.iter().partition(|(at, _)| factor(at) >= top);
        let left = Shape::of(&rest.iter().map(|(at, _)| *at).collect::<Vec<_>>());
        let tells = left.identities == shape.identities && left.hops == shape.hops;
        let Some(fit) = fitted(shape, &rest).filter(|_| tells) else {
            continue;
        };
        for (at, y) in out {
            let said = fit.predict(&shape.terms(at), CONFIDENCE, 1.0);
            let half = said.high - said.value;
            if half > 0.0 {
                widened = widened.max((y - said.value).abs() / half);
            }
        }
    }
    widened
}

#[cfg(test)]
mod tests {
    use super::super::evidence::tests::kept;
    use super::*;

    /// The kept records with costs that follow a law of ours.
    fn lawful(law: fn(At) -> f64) -> Cost {
        Cost::of(&kept().sirs, |record| Some(law(at(record)))).expect("a fit")
    }

    #[test]
    fn a_law_of_its_own_terms_is_found_and_needs_no_widening() {
        let law =
            |at: At| 100.0 + 2000.0 / at.train + 5.0 * at.identities.log2() + 7.0 * at.hops.log2();
        let cost = lawful(law);
        let far = At {
            train: 64.0,
            identities: 1.6e7,
            hops: 16.0,
        };
        assert!((cost.at(far).value / law(far) - 1.0).abs() < 1e-6);
        assert!(cost.scatter() < 1e-6);
    }

    #[test]
    fn a_law_that_the_terms_cannot_follow_widens_the_interval() {
        let bent = lawful(|at| 300.0 + 2000.0 / at.train + (at.identities / 1e5).powi(2));
        assert!(bent.widened > 1.0, "{}", bent.widened);
    }

    #[test]
    fn a_curve_that_would_make_trains_a_gain_is_left_out() {
        let odd = lawful(|at| 2000.0 - 900.0 / at.train + 600.0 / at.train.sqrt());
        assert!(!odd.shape.curve && odd.shape.train, "{:?}", odd.shape);
    }

    #[test]
    fn trains_to_be_expected_are_those_of_the_nearest_records() {
        let cost = lawful(|at| 300.0 + at.train);
        assert!((cost.train(64.0, 16.0) - 64.0).abs() < 1.0);
        assert!(cost.train(64.0, 1024.0) < 40.0);
        assert_eq!(cost.train(100.0, 16.0), 100.0);
    }

    #[test]
    fn a_stretch_is_told_in_times_of_the_nearest_measured() {
        let of = |asked: f64| stretch("x", asked, [10.0, 100.0].into_iter());
        assert_eq!(
            (of(10.0), of(100.0), of(101.0), of(50.0)),
            (None, None, None, None)
        );
        let above = of(400.0).expect("above");
        assert_eq!((above.measured, above.times), (100.0, 4.0));
        let below = of(5.0).expect("below");
        assert_eq!((below.measured, below.times), (10.0, 2.0));
    }
}
