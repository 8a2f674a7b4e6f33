//! What several workers of one machine bring together: Gunther's universal scalability law,
//! X(n) = n X(1) / (1 + s (n - 1) + k n (n - 1)), fitted where engines were measured beside each other in
//! three numbers or more, bounded where they were in two, assumed where they were not. It always says
//! which. Called by `coefficients` and `sizing`.

use serde::{Deserialize, Serialize};

use super::cost::{CONFIDENCE, Stretch, stretch};
use super::estimate::Estimate;
use super::regression::{Fit, Point, fit};

/// How the law was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Fitted on three numbers of workers or more.
    Fitted,
    /// Contention between none and all of what two numbers of workers lose; coherence unknown, taken as 0.
    Bounded,
    /// The plan's own bounds; nothing was measured.
    Assumed,
}

/// The law with its bounds.
#[derive(Clone, Debug)]
pub struct Scaling {
    /// How it was had.
    pub basis: Basis,
    /// Contention s.
    pub contention: Estimate,
    /// Coherence k.
    pub coherence: f64,
    /// Most workers measured beside each other.
    pub measured: u32,
    fit: Option<(Fit, Terms)>,
}

/// Which terms of the law are in the fit: a negative one is no cost, so it is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Terms {
    contention: bool,
    coherence: bool,
}

impl Terms {
    fn at(self, workers: f64) -> Vec<f64> {
        let terms = [
            (true, 1.0),
            (self.contention, workers - 1.0),
            (self.coherence, workers * (workers - 1.0)),
        ];
        terms
            .into_iter()
            .filter(|(told, _)| *told)
            .map(|(_, term)| term)
            .collect()
    }
}

impl Scaling {
    /// The law from `(workers, all their SIRs a second)`, or from the plan's bounds without such points.
    #[must_use]
    pub fn of(points: &[(u32, f64)], assumed: (f64, f64)) -> Self {
        let measured = points
            .iter()
            .map(|(workers, _)| *workers)
            .max()
            .unwrap_or(1);
        fitted(points, measured)
            .or_else(|| bounded(points, measured))
            .unwrap_or_else(|| Self {
                basis: Basis::Assumed,
                contention: Estimate::between(
                    f64::midpoint(assumed.0, assumed.1),
                    assumed.0,
                    assumed.1,
                ),
                coherence: 0.0,
                measured,
                fit: None,
            })
    }

    /// How many times one worker's rate `workers` bring.
    #[must_use]
    pub fn brings(&self, workers: u32) -> Estimate {
        let n = f64::from(workers);
        if let Some((fit, terms)) = &self.fit {
            let alone = fit.predict(&terms.at(1.0), CONFIDENCE, 1.0).value;
            // n / X(n) over 1 / X(1): what each worker's SIR takes longer.
            let longer = fit
                .predict(&terms.at(n), CONFIDENCE, 1.0)
                .scaled(1.0 / alone);
            return Estimate::between(
                n / longer.value.max(1.0),
                n / longer.high.max(1.0),
                (n / longer.low.max(1.0)).min(n),
            );
        }
        let by = |contention: f64| n / (1.0 + contention * (n - 1.0));
        let Estimate { value, low, high } = self.contention;
        Estimate::between(by(value), by(high), by(low))
    }

    /// How far `workers` lie beyond what was measured.
    #[must_use]
    pub fn stretch(&self, workers: u32) -> Option<Stretch> {
        let measured = f64::from(self.measured);
        stretch(
            "workers a machine",
            f64::from(workers),
            [1.0, measured].into_iter(),
        )
    }
}

fn fitted(points: &[(u32, f64)], measured: u32) -> Option<Scaling> {
    let mut counts: Vec<u32> = points.iter().map(|(workers, _)| *workers).collect();
    counts.sort_unstable();
    counts.dedup();
    if counts.len() < 3 {
        return None;
    }
    let with = |contention, coherence| {
        let terms = Terms {
            contention,
            coherence,
        };
        let rows: Vec<Point> = points
            .iter()
            .map(|(workers, rate)| (terms.at(f64::from(*workers)), f64::from(*workers) / rate))
            .collect();
        let fit = fit(&rows)?;
        let costs = fit
            .coefficients
            .iter()
            .all(|coefficient| *coefficient >= 0.0);
        costs.then_some((fit, terms))
    };
    let tried = [(true, true), (true, false), (false, true), (false, false)];
    let (fit, terms) = tried.into_iter().find_map(|(s, k)| with(s, k))?;
    let share = |told: bool, place: usize| match told {
        true => fit.coefficients[place] / fit.coefficients[0],
        false => 0.0,
    };
    let contention = share(terms.contention, 1);
    let coherence = share(terms.coherence, 1 + usize::from(terms.contention));
    Some(Scaling {
        basis: Basis::Fitted,
        contention: Estimate::exact(contention),
        coherence,
        measured,
        fit: Some((fit, terms)),
    })
}

/// Fewest measurements of a number of workers that bound anything: one has no error of its own.
const BOUNDING_MIN: usize = 2;

/// Two numbers of workers: the best of one against the worst of the other bounds what is lost.
fn bounded(points: &[(u32, f64)], measured: u32) -> Option<Scaling> {
    let rates = |count: u32| {
        let of = points.iter().filter(move |(workers, _)| *workers == count);
        of.map(|(_, rate)| *rate).collect::<Vec<f64>>()
    };
    let (alone, together) = (rates(1), rates(measured));
    if measured < 2 || alone.len().min(together.len()) < BOUNDING_MIN {
        return None;
    }
    let n = f64::from(measured);
    let loss = |alone: f64, together: f64| ((n * alone / together - 1.0) / (n - 1.0)).max(0.0);
    let median = |rates: &[f64]| crate::statistics::median(rates).unwrap_or_default();
    let most = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    let least = |rates: &[f64]| rates.iter().copied().fold(f64::INFINITY, f64::min);
    Some(Scaling {
        basis: Basis::Bounded,
        contention: Estimate::between(
            loss(median(&alone), median(&together)),
            0.0,
            loss(most(&alone), least(&together)),
        ),
        coherence: 0.0,
        measured,
        fit: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn law(n: u32, s: f64, k: f64) -> (u32, f64) {
        let n_f = f64::from(n);
        (
            n,
            1e6 * n_f / (1.0 + s * (n_f - 1.0) + k * n_f * (n_f - 1.0)),
        )
    }

    #[test]
    fn a_law_that_holds_is_found_and_beyond_its_peak_too() {
        let points: Vec<_> = [1, 2, 4, 8, 16].map(|n| law(n, 0.03, 0.002)).into();
        let scaling = Scaling::of(&points, (0.0, 0.0));
        assert_eq!((scaling.basis, scaling.measured), (Basis::Fitted, 16));
        assert!(
            (scaling.contention.value - 0.03).abs() < 1e-9,
            "{scaling:?}"
        );
        assert!((scaling.coherence - 0.002).abs() < 1e-9, "{scaling:?}");
        let brings = scaling.brings(64).value;
        assert!(
            (brings - law(64, 0.03, 0.002).1 / 1e6).abs() < 1e-6,
            "{brings}"
        );
        assert!(scaling.stretch(16).is_none());
        assert_eq!(scaling.stretch(64).expect("beyond").times, 4.0);
    }

    #[test]
    fn no_number_of_workers_brings_more_than_itself() {
        let points = [(1, 1.0), (2, 2.2), (3, 3.1), (4, 4.4)];
        let scaling = Scaling::of(&points, (0.0, 0.0));
        assert_eq!(scaling.basis, Basis::Fitted);
        for n in [1, 2, 8] {
            assert!(scaling.brings(n).high <= f64::from(n));
        }
    }

    #[test]
    fn two_numbers_bound_the_contention_and_none_leaves_the_assumption() {
        let points = [(1, 1.0), (1, 1.1), (2, 1.6), (2, 1.8)];
        let scaling = Scaling::of(&points, (0.0, 0.3));
        assert_eq!(
            (scaling.basis, scaling.contention.low),
            (Basis::Bounded, 0.0)
        );
        assert!(
            (scaling.contention.high - 0.375).abs() < 1e-12,
            "{scaling:?}"
        );
        assert!(scaling.brings(2).covers(1.7) && scaling.brings(2).covers(2.0));
        let once = Scaling::of(&[(1, 1.0), (2, 1.6), (2, 1.8)], (0.1, 0.3));
        assert_eq!(once.basis, Basis::Assumed);
        let scaling = Scaling::of(&[(1, 1.0)], (0.1, 0.3));
        assert_eq!((scaling.basis, scaling.measured), (Basis::Assumed, 1));
        assert!((scaling.brings(2).low - 2.0 / 1.3).abs() < 1e-12);
    }
}
