//! What pairs of runs show: each metric by the ratios of its pairs, held against what the same program shows
//! against itself. The JSON of `sirocco ab`, schema "sirocco.ab/1", and its exit code. Called by `ab`.

use serde::{Deserialize, Serialize};

use super::build::Program;
use super::pairs::Pairs;
use crate::compare::finding::{Finding, Terms, Word, pairs};
use crate::compare::likeness::obstacles;
use crate::compare::metrics::{Metric, metrics};
use crate::role::{EXIT_FAILED, EXIT_INVALID};
use crate::statistics::{Interval, median, pairs_min};

/// Version of the form below.
const SCHEMA: &str = "sirocco.ab/1";

/// One metric of both builds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// What the pairs show; samples are in the order of the pairs.
    #[serde(flatten)]
    pub finding: Finding,
    /// A against itself: the ratio of its pairs.
    pub own: Option<Interval>,
    /// The noise floor: how far the interval of A against itself reaches from 1, as a share. None for counts
    /// and for too few pairs.
    pub floor: Option<f64>,
}

/// A comparison of two builds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the program that ran the pairs.
    pub version: String,
    /// Command line of the comparison.
    pub command_line: Vec<String>,
    /// The build before.
    pub a: Program,
    /// The build after.
    pub b: Program,
    /// Whether both are the same file, octet by octet.
    pub same_binary: bool,
    /// Options of every run.
    pub options: Vec<String>,
    /// How it is judged, and the seed of the order.
    pub terms: Terms,
    /// Whether B ran first, for each pair.
    pub b_first: Vec<bool>,
    /// Pairs of A against itself.
    pub own_pairs: usize,
    /// Pairs with an invalid run, which were made again.
    pub invalid_pairs: usize,
    /// Records of the runs: A and B of each pair.
    pub files: Vec<[String; 2]>,
    /// What refuses the comparison.
    pub refused: Vec<String>,
    /// What would have refused it, had it not been forced.
    pub forced: Vec<String>,
    /// What the reader has to know.
    pub warnings: Vec<String>,
    /// Every metric that all runs hold.
    pub findings: Vec<Judged>,
}

impl Outcome {
    /// Judges the pairs of A and A, and of A and B.
    #[must_use]
    pub fn judge(
        programs: [Program; 2],
        options: Vec<String>,
        (own, both): (&Pairs, &Pairs),
        (terms, force): (Terms, bool),
    ) -> Self {
        let found = obstacles(&both.a, &both.b);
        let (forced, refused) = match force {
            true => (found.refused, Vec::new()),
            false => (Vec::new(), found.refused),
        };
        let [a, b] = programs;
        let mut findings = Vec::new();
        if refused.is_empty() {
            let all = metrics(both.a.first());
            let judged = all.iter().map(|metric| judged(metric, own, both, &terms));
            findings.extend(judged.flatten());
        }
        let files = both.a.records.iter().zip(&both.b.records);
        Self {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command_line: std::env::args().collect(),
            same_binary: a.binary_hash == b.binary_hash,
            a,
            b,
            options,
            terms,
            b_first: both.second_first.clone(),
            own_pairs: own.second_first.len(),
            invalid_pairs: own.invalid + both.invalid,
            files: files
                .map(|(a, b)| [&a.0, &b.0].map(|path| path.display().to_string()))
                .collect(),
            refused,
            forced,
            warnings: found.warned,
            findings,
        }
    }

    /// 1 for a regression, 2 where nothing could be told, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.findings.iter().any(|judged| judged.finding.regression) {
            return EXIT_FAILED;
        }
        let sound = self.refused.is_empty() && self.tells();
        if sound { 0 } else { EXIT_INVALID }
    }

    /// Whether anything could be told of a time: counts alone pass nothing here, since who asks for pairs
    /// asks for times.
    #[must_use]
    pub fn tells(&self) -> bool {
        let times = self
            .findings
            .iter()
            .filter(|judged| !judged.finding.counted);
        times
            .into_iter()
            .any(|judged| judged.finding.word != Word::CannotTell)
    }
}

/// The metric in each pair that has it on both sides: the median of a record's samples.
fn samples(metric: &Metric, pairs: &Pairs) -> Vec<(f64, f64)> {
    let both = pairs.a.records.iter().zip(&pairs.b.records);
    let of = |record: &serde_json::Value| median(&metric.samples(record));
    both.filter_map(|(a, b)| Some((of(&a.1)?, of(&b.1)?)))
        .collect()
}

fn judged(metric: &Metric, own: &Pairs, both: &Pairs, terms: &Terms) -> Option<Judged> {
    let mut finding = pairs(metric, &samples(metric, both), terms)?;
    let own = pairs(metric, &samples(metric, own), terms)?;
    if finding.counted {
        if own.word != Word::Same {
            finding.word = Word::CannotTell;
            finding.regression = false;
            "A differs from itself".clone_into(&mut finding.note);
        }
        return Some(Judged {
            finding,
            own: own.ratio,
            floor: None,
        });
    }
    let enough = own.a.samples.len() >= pairs_min(terms.confidence);
    let floor = own.ratio.filter(|_| enough);
    let floor = floor.map(|own| (1.0 - own.low).abs().max((own.high - 1.0).abs()));
    finding.hold_against(floor, terms);
    Some(Judged {
        finding,
        own: own.ratio,
        floor,
    })
}

impl Finding {
    /// Takes the noise floor into account: a difference has to be larger than what a program shows against
    /// itself, a regression larger than the threshold too.
    fn hold_against(&mut self, floor: Option<f64>, terms: &Terms) {
        let Some(floor) = floor else {
            self.word = Word::CannotTell;
            self.regression = false;
            "too few pairs of A against itself".clone_into(&mut self.note);
            return;
        };
        let change = self.change().abs();
        let shown = matches!(self.word, Word::Worse | Word::Better | Word::Differs);
        if shown && change <= floor {
            self.word = Word::NoneShown;
            "within the noise floor".clone_into(&mut self.note);
        }
        self.regression = self.word == Word::Worse && change > terms.threshold;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sirocco_schedule::Draw;

    const TERMS: Terms = Terms {
        confidence: 0.95,
        threshold: 0.01,
        seed: 1,
    };

    /// Pairs whose second program takes `factor` times the CPU time; each run is off by up to `noise`, each
    /// pair by up to a fifth, as on a machine that drifts.
    fn made(count: usize, factor: f64, noise: f64, written: f64) -> Pairs {
        let mut draw = Draw::new(5);
        let sound = serde_json::to_value(crate::record::tests::sound()).unwrap();
        let mut pairs = Pairs::default();
        for _ in 0..count {
            let level = 300.0 * (1.0 + 0.2 * draw.unit());
            let mut run = |factor: f64, written: f64| {
                let mut record = sound.clone();
                let cpu = level * factor * (1.0 + noise * (draw.unit() - 0.5));
                record["runs"][0]["engine"]["cpu_ns_per_sir"] = cpu.into();
                record["runs"][0]["engine"]["bytes_written_per_sir"] = written.into();
                ("r.json".into(), record)
            };
            pairs.a.records.push(run(1.0, 233.0));
            pairs.b.records.push(run(factor, written));
            pairs.second_first.push(false);
        }
        pairs
    }

    fn judge(own: &Pairs, both: &Pairs) -> Outcome {
        let programs = [Program::default(), Program::default()];
        Outcome::judge(programs, Vec::new(), (own, both), (TERMS, false))
    }

    fn cpu(outcome: &Outcome) -> &Judged {
        let mut all = outcome.findings.iter();
        all.find(|judged| judged.finding.metric == "cpu_ns_per_sir")
            .unwrap()
    }

    #[test]
    fn a_slower_build_is_a_regression_beyond_interval_and_floor() {
        let own = made(10, 1.0, 0.01, 233.0);
        let outcome = judge(&own, &made(10, 1.05, 0.01, 233.0));
        let cpu = cpu(&outcome);
        assert!(cpu.finding.regression, "{cpu:?}");
        assert!(cpu.floor.unwrap() < 0.02, "{cpu:?}");
        assert_eq!(outcome.exit_code(), EXIT_FAILED);
        let faster = judge(&own, &made(10, 0.95, 0.01, 233.0));
        assert_eq!(
            (faster.exit_code(), self::cpu(&faster).finding.word),
            (0, Word::Better)
        );
    }

    #[test]
    fn the_same_build_shows_nothing_and_passes() {
        let outcome = judge(&made(10, 1.0, 0.01, 233.0), &made(10, 1.0, 0.01, 233.0));
        assert_eq!(outcome.exit_code(), 0);
        assert_eq!(cpu(&outcome).finding.word, Word::NoneShown);
    }

    #[test]
    fn a_difference_within_the_noise_floor_is_none() {
        // The machine favours whoever is second by 8 %: so does A against itself.
        let outcome = judge(&made(10, 1.08, 0.01, 233.0), &made(10, 1.05, 0.01, 233.0));
        let cpu = cpu(&outcome);
        assert_eq!(cpu.finding.word, Word::NoneShown);
        assert_eq!(cpu.finding.note, "within the noise floor");
        assert_eq!(outcome.exit_code(), 0);
    }

    #[test]
    fn few_pairs_pass_nothing() {
        let (few, enough) = (made(5, 1.0, 0.01, 233.0), made(10, 1.5, 0.01, 233.0));
        assert_eq!(judge(&few, &enough).exit_code(), EXIT_INVALID);
        assert_eq!(judge(&enough, &few).exit_code(), EXIT_INVALID);
    }

    #[test]
    fn a_count_needs_no_floor() {
        let own = made(6, 1.0, 0.01, 233.0);
        assert_eq!(
            judge(&own, &made(6, 1.0, 0.01, 240.0)).exit_code(),
            EXIT_FAILED
        );
        // A that differs from itself is no measure.
        let odd = made(6, 1.0, 0.01, 240.0);
        assert_eq!(judge(&odd, &odd).exit_code(), 0);
    }

    #[test]
    fn unlike_scenarios_are_refused() {
        let own = made(6, 1.0, 0.01, 233.0);
        let mut other = own.clone();
        for record in &mut other.b.records {
            record.1["config"]["next-hops"] = 17.into();
        }
        let outcome = judge(&own, &other);
        assert_eq!(
            (outcome.exit_code(), outcome.findings.len()),
            (EXIT_INVALID, 0)
        );
        assert!(
            outcome.refused[0].contains("next-hops"),
            "{:?}",
            outcome.refused
        );
        let json = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome);
    }
}
