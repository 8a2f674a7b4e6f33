//! What a rate has to meet to count as carried: bounds on loss, on the share of inadequately handled
//! attempts and on percentiles of latency, as people type them. Judges one probe; searches nothing.
//! Called by the command line, the scenario file and the searches.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quantity;
use crate::record::ProbeFigures;

/// Most bounds in one criterion: each figure once.
const BOUNDS_MAX: usize = 16;

/// Time limit of an attempt where the criterion states none.
pub const WITHIN_MS: u64 = 1_000;

/// What a bound is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    /// Share of attempts that did not end rightly at all.
    Loss,
    /// Share of attempts that ended wrongly or after the time limit.
    Ihs,
    /// A percentile of the time from the due time to the right end.
    Latency(Percentile),
}

/// A percentile that every probe records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Percentile {
    P50,
    P90,
    P99,
    P999,
    Max,
}

const FIGURES: [(&str, Figure); 7] = [
    ("loss", Figure::Loss),
    ("ihs", Figure::Ihs),
    ("p50", Figure::Latency(Percentile::P50)),
    ("p90", Figure::Latency(Percentile::P90)),
    ("p99", Figure::Latency(Percentile::P99)),
    ("p99.9", Figure::Latency(Percentile::P999)),
    ("max", Figure::Latency(Percentile::Max)),
];

impl Figure {
    fn name(self) -> &'static str {
        let named = FIGURES.iter().find(|(_, figure)| *figure == self);
        named.map_or("", |(name, _)| name)
    }

    fn of(self, probe: &ProbeFigures) -> f64 {
        let latency = &probe.latency_us;
        match self {
            Figure::Loss => probe.loss_share,
            Figure::Ihs => probe.ihs_share,
            Figure::Latency(Percentile::P50) => latency.p50,
            Figure::Latency(Percentile::P90) => latency.p90,
            Figure::Latency(Percentile::P99) => latency.p99,
            Figure::Latency(Percentile::P999) => latency.p999,
            Figure::Latency(Percentile::Max) => latency.max,
        }
    }
}

/// One bound: at most so much.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bound {
    figure: Figure,
    /// A share, or microseconds.
    most: f64,
}

impl Bound {
    fn shown(&self, value: f64) -> String {
        match self.figure {
            Figure::Latency(_) => microseconds(value),
            Figure::Loss | Figure::Ihs => percent(value),
        }
    }
}

/// Bounds that all have to be met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Criterion {
    bounds: Vec<Bound>,
    within_ms: Option<u64>,
}

/// Why a text is no criterion; it says what to type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; give bounds such as \"p99<=5ms, loss<=0, ihs(1s)<=0.1%\"")]
pub struct CriterionError(String);

impl Criterion {
    /// The criterion in force where nobody states one: no more loss than the scenario allows, 0.1 % of
    /// attempts inadequately handled (ETSI TS 186 008), and 5 ms at the 99th percentile.
    #[must_use]
    pub fn standard(loss_share_max: f64) -> Self {
        Self {
            bounds: vec![
                Bound {
                    figure: Figure::Latency(Percentile::P99),
                    most: 5_000.0,
                },
                Bound {
                    figure: Figure::Loss,
                    most: loss_share_max,
                },
                Bound {
                    figure: Figure::Ihs,
                    most: loss_share_max.max(0.001),
                },
            ],
            within_ms: None,
        }
    }

    /// The one bound of a share of inadequately handled attempts, each with this time limit.
    #[must_use]
    pub fn inadequately_handled(share_max: f64, within_ms: u64) -> Self {
        let bound = Bound {
            figure: Figure::Ihs,
            most: share_max,
        };
        Self {
            bounds: vec![bound],
            within_ms: Some(within_ms),
        }
    }

    /// The time limit of an attempt in milliseconds; beyond it the right end counts as too late.
    #[must_use]
    pub fn within_ms(&self) -> u64 {
        self.within_ms.unwrap_or(WITHIN_MS)
    }

    /// The same with this time limit where it states none.
    #[must_use]
    pub fn or_within_ms(mut self, within_ms: u64) -> Self {
        self.within_ms.get_or_insert(within_ms);
        self
    }

    /// The tightest bound on a latency in microseconds; the testbed itself has to be well below it.
    #[must_use]
    pub fn latency_us_max(&self) -> Option<f64> {
        let latencies = self
            .bounds
            .iter()
            .filter(|bound| matches!(bound.figure, Figure::Latency(_)));
        latencies.map(|bound| bound.most).reduce(f64::min)
    }

    /// The bounds that a probe breaks, each as a sentence; none when it passes.
    #[must_use]
    pub fn broken_by(&self, probe: &ProbeFigures) -> Vec<String> {
        if probe.attempts == 0 {
            return vec!["nothing was attempted".to_owned()];
        }
        let broken = self.bounds.iter().filter(|bound| {
            let value = bound.figure.of(probe);
            // What is no number is no pass.
            value.is_nan() || value > bound.most
        });
        let words = broken.map(|bound| {
            let (value, most) = (bound.figure.of(probe), bound.most);
            let name = bound.figure.name();
            format!("{name} {} > {}", bound.shown(value), bound.shown(most))
        });
        words.collect()
    }
}

impl FromStr for Criterion {
    type Err = CriterionError;

    fn from_str(text: &str) -> Result<Self, CriterionError> {
        let mut criterion = Criterion {
            bounds: Vec::new(),
            within_ms: None,
        };
        for part in text.split(',').map(str::trim) {
            criterion.add(part)?;
        }
        if criterion.bounds.len() > BOUNDS_MAX {
            return Err(CriterionError(format!("more than {BOUNDS_MAX} bounds")));
        }
        Ok(criterion)
    }
}

impl Criterion {
    fn add(&mut self, part: &str) -> Result<(), CriterionError> {
        let refused = |why: &str| CriterionError(format!("`{part}` {why}"));
        let (name, most) = part.split_once("<=").ok_or_else(|| refused("has no <="))?;
        let (name, within) = match name.trim().split_once('(') {
            Some((name, limit)) => (name.trim(), Some(limit)),
            None => (name.trim(), None),
        };
        let known = FIGURES.iter().find(|(known, _)| *known == name);
        let Some((_, figure)) = known else {
            let known = FIGURES.map(|(known, _)| known).join(", ");
            return Err(refused(&format!("names no figure; there are {known}")));
        };
        if self.bounds.iter().any(|bound| bound.figure == *figure) {
            return Err(refused("bounds the same figure twice"));
        }
        if let Some(limit) = within {
            let limit = limit.strip_suffix(')').filter(|_| *figure == Figure::Ihs);
            let limit =
                limit.ok_or_else(|| refused("has a time limit, which ihs(1s) alone takes"))?;
            let limit = quantity::duration(limit).map_err(|error| refused(&error.to_string()))?;
            self.within_ms = u64::try_from(limit.as_millis()).ok();
        }
        let most = match figure {
            Figure::Latency(_) => latency_us(most.trim()),
            Figure::Loss | Figure::Ihs => {
                quantity::share(most.trim()).map_err(|error| error.to_string())
            }
        };
        let most = most.map_err(|error| refused(&format!("bounds nothing: {error}")))?;
        self.bounds.push(Bound {
            figure: *figure,
            most,
        });
        Ok(())
    }
}

/// A length in us, ms, s or m, in microseconds.
fn latency_us(text: &str) -> Result<f64, String> {
    if let Some(digits) = text.strip_suffix("us") {
        let value = digits.trim().parse::<f64>().ok();
        let value = value.filter(|value| value.is_finite() && *value > 0.0);
        return value.ok_or_else(|| format!("`{text}` is not a length such as 500us"));
    }
    if text
        .bytes()
        .last()
        .is_some_and(|byte| byte.is_ascii_digit())
    {
        return Err(format!("`{text}` has no unit: type us, ms or s"));
    }
    let length = quantity::duration(text).map_err(|error| error.to_string())?;
    Ok(length.as_secs_f64() * 1e6)
}

fn microseconds(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}s", trimmed(value / 1e6)),
        value if value >= 1e3 => format!("{}ms", trimmed(value / 1e3)),
        value => format!("{}us", trimmed(value)),
    }
}

fn percent(share: f64) -> String {
    format!("{}%", trimmed(share * 100.0))
}

/// Up to four decimal places, none that say nothing.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, bound) in self.bounds.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{}", bound.figure.name())?;
            if bound.figure == Figure::Ihs {
                let limit = Duration::from_millis(self.within_ms());
                write!(f, "({})", microseconds(limit.as_secs_f64() * 1e6))?;
            }
            write!(f, "<={}", bound.shown(bound.most))?;
        }
        Ok(())
    }
}

impl From<Criterion> for String {
    fn from(criterion: Criterion) -> Self {
        criterion.to_string()
    }
}

impl TryFrom<String> for Criterion {
    type Error = CriterionError;

    fn try_from(text: String) -> Result<Self, CriterionError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Latency;

    fn probe(p99: f64, loss: f64, ihs: f64) -> ProbeFigures {
        ProbeFigures {
            attempts: 1000,
            loss_share: loss,
            ihs_share: ihs,
            latency_us: Latency {
                p99,
                ..Latency::default()
            },
            ..ProbeFigures::default()
        }
    }

    #[test]
    fn bounds_are_read_shown_and_read_again() {
        let text = "p99<=5ms, loss<=0%, ihs(250ms)<=0.1%";
        let criterion: Criterion = text.parse().unwrap();
        assert_eq!(criterion.to_string(), text);
        assert_eq!(criterion.within_ms(), 250);
        assert_eq!(criterion.latency_us_max(), Some(5000.0));
        let json = serde_json::to_string(&criterion).unwrap();
        assert_eq!(serde_json::from_str::<Criterion>(&json).unwrap(), criterion);
        let plain: Criterion = "p99.9 <= 800us,ihs<=0.001".parse().unwrap();
        assert_eq!(plain.to_string(), "p99.9<=800us, ihs(1s)<=0.1%");
    }

    #[test]
    fn each_bound_can_fail_a_probe_and_says_so() {
        let criterion = Criterion::standard(0.0);
        assert_eq!(criterion.broken_by(&probe(5000.0, 0.0, 0.001)), [""; 0]);
        let broken = criterion.broken_by(&probe(5001.0, 1e-6, 0.0011));
        assert_eq!(
            broken,
            ["p99 5.001ms > 5ms", "loss 0.0001% > 0%", "ihs 0.11% > 0.1%"]
        );
    }

    #[test]
    fn nothing_attempted_and_what_is_no_number_never_pass() {
        let criterion = Criterion::standard(1.0);
        assert_eq!(criterion.broken_by(&ProbeFigures::default()).len(), 1);
        assert_eq!(criterion.broken_by(&probe(f64::NAN, 0.0, 0.0)).len(), 1);
    }

    #[test]
    fn what_is_no_criterion_is_refused_with_the_remedy() {
        for (text, named) in [
            ("", "no <="),
            ("p99<5ms", "no <="),
            ("p98<=5ms", "p99.9"),
            ("p99<=5", "unit"),
            ("p99<=5h", "5h"),
            ("loss<=2", "share"),
            ("p99(1s)<=5ms", "ihs(1s) alone"),
            ("ihs(1s<=1%", "ihs(1s) alone"),
            ("loss<=0,loss<=1%", "twice"),
        ] {
            let error = text.parse::<Criterion>().expect_err(text).to_string();
            assert!(error.contains(named), "{text}: {error}");
            assert!(error.contains("p99<=5ms"), "{error}");
        }
    }
}
