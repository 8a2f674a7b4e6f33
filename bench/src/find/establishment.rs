//! Session establishment rate by RFC 7502 4.10: the greatest rate at which N attempts in a row are
//! established with no failure, approached by multiplicative increase and decrease, with the report of
//! its section 5. The algorithm is the document's; what stands for a session where orders build none is
//! said in the report. Called by `find`.

use super::criterion::Criterion;
use super::probe::Staged;
use super::search::{Probes, Settings, System};
use crate::cli::find::FindArgs;
use crate::record::{Ending, Judgement, LimitFigures, Purpose};
use crate::run::plan::PlanError;

/// RFC 7502 4.10: N, attempts in one iteration.
const ATTEMPTS: u64 = 50_000;
/// RFC 7502 4.10: w, the share by which the rate grows.
const INCREASE: f64 = 0.10;
/// RFC 7502 4.10: d and w are never below this.
const WEIGHT_MIN: f64 = 0.10;
/// RFC 7502 4.10: passes at no new greatest rate after which it has converged.
const CONVERGED: u32 = 10;
/// Iterations that a spoilt one is repeated for.
const REPEATS_MAX: u32 = 2;
/// Most iterations: from the first rate a factor of a thousand up takes 73.
const ITERATIONS_MAX: usize = 200;
/// RFC 7501 3.3.2 recommends Timer B or F (RFC 3261, Table 4) as Establishment Threshold Time.
const THRESHOLD_MS: u64 = 32_000;

/// The variables of the algorithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Algorithm {
    /// r: the rate to be tried.
    pub rate: f64,
    /// `old_r`: the greatest rate that passed.
    best: f64,
    increase: f64,
    decrease: f64,
    count: u32,
}

impl Algorithm {
    /// Begins at rate `r`.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        Self {
            rate: rate.floor(),
            best: 0.0,
            increase: INCREASE,
            decrease: WEIGHT_MIN.max(INCREASE / 2.0),
            count: 0,
        }
    }

    /// Takes the outcome of one iteration; the result R once it has converged.
    pub fn take(&mut self, passed: bool) -> Option<f64> {
        if passed {
            if self.rate > self.best {
                self.best = self.rate;
            } else {
                self.count += 1;
                if self.count >= CONVERGED {
                    return Some(self.best);
                }
            }
            self.rate = (self.rate + self.increase * self.rate).floor();
        } else {
            self.rate = (self.rate - self.decrease * self.rate).floor();
            self.decrease = WEIGHT_MIN.max(self.decrease / 2.0);
            self.increase = WEIGHT_MIN.max(self.increase / 2.0);
        }
        None
    }

    /// The greatest rate that passed so far.
    #[must_use]
    pub fn best(&self) -> f64 {
        self.best
    }
}

/// Runs the algorithm on the stage and fills the report in.
///
/// # Errors
/// When a side fails or the user interrupts.
pub fn run(
    staged: &mut Staged<'_, '_>,
    settings: Settings,
    find: &FindArgs,
) -> Result<LimitFigures, PlanError> {
    // N attempts are to take an extended period: about a second at least.
    let attempts = find
        .attempts
        .unwrap_or(ATTEMPTS.max(settings.closed_per_s as u64));
    staged.attempts = Some(attempts);
    let criterion = match &find.criterion {
        Some(criterion) => criterion.clone(),
        None => Criterion::inadequately_handled(0.0, THRESHOLD_MS),
    };
    staged.criterion = criterion.clone();
    let mut limit = search(staged, settings)?;
    limit.report = report(staged, settings, attempts, &limit);
    limit.criterion = Some(criterion);
    Ok(limit)
}

/// The algorithm on any system.
///
/// # Errors
/// The system's.
pub fn search<S: System>(system: &mut S, settings: Settings) -> Result<LimitFigures, S::Error> {
    let mut algorithm = Algorithm::new(settings.start_per_s.max(10.0));
    let mut probes = Probes::new(system, settings.seed);
    let (mut ending, mut rate, mut spoilt) = (Ending::OutOfBudget, None, 0);
    while probes.count() < ITERATIONS_MAX && probes.elapsed_s() < settings.budget_s {
        let judgement = probes.make(algorithm.rate, Purpose::Iteration)?;
        if !judgement.is_of_the_engine() {
            spoilt += 1;
            if spoilt > REPEATS_MAX {
                ending = match judgement {
                    Judgement::TestbedGaveOut => Ending::TestbedFirst,
                    _ => Ending::Disturbed,
                };
                break;
            }
            continue;
        }
        spoilt = 0;
        if let Some(found) = algorithm.take(judgement == Judgement::Passed) {
            (ending, rate) = (Ending::Found, Some(found));
            break;
        }
        if algorithm.rate < 10.0 {
            ending = Ending::NeverMet;
            break;
        }
    }
    let best = algorithm.best();
    let words = match ending {
        Ending::Found => format!("R = {best:.0}/s after {} iterations", probes.count()),
        Ending::TestbedFirst => format!(
            "not found: the testbed gave out first at {:.0}/s; {best:.0}/s passed",
            algorithm.rate
        ),
        Ending::Disturbed => format!(
            "not found: at {:.0}/s somebody else used the machine; run on a quieter machine",
            algorithm.rate
        ),
        Ending::NeverMet => "not found: every rate had failures".to_owned(),
        _ => format!(
            "not found: {} iterations did not converge, {best:.0}/s passed; raise --budget, or \
             --start near the answer",
            probes.count()
        ),
    };
    Ok(LimitFigures {
        method: "rfc7502".to_owned(),
        ending,
        words,
        rate_per_s: rate,
        took_s: probes.elapsed_s(),
        knee: probes.into_holds_and_others().1,
        resolution: WEIGHT_MIN,
        budget_s: settings.budget_s,
        interval_method: "none: the document defines a point".to_owned(),
        ..LimitFigures::default()
    })
}

/// The report of RFC 7502 5.1 and 5.2, in its words and order.
fn report(
    staged: &Staged<'_, '_>,
    settings: Settings,
    attempts: u64,
    limit: &LimitFigures,
) -> Vec<[String; 2]> {
    let scenario = staged.bench.scenario;
    let sessions = scenario.has_sessions();
    let tried = attempts * limit.knee.len() as u64;
    let rate = limit
        .rate_per_s
        .map_or_else(|| limit.words.clone(), |rate| format!("{rate:.0}"));
    let session = if sessions {
        "a session attempt is a SIR; it is established when the device's INVITE with its token is \
         answered 200 and the content delivered"
    } else {
        "no sessions in this scenario: an attempt is a SIR (MESSAGE), established when its final \
         response is 2xx; RFC 7502 does not cover MESSAGE"
    };
    let threshold = staged.criterion.within_ms() as f64 / 1000.0;
    let rows = [
        ("SIP Transport Protocol", "UDP, both sides".to_owned()),
        (
            "DUT receives requests on one connection",
            "not applicable: UDP".to_owned(),
        ),
        (
            "DUT sends requests on one connection",
            "not applicable: UDP".to_owned(),
        ),
        (
            "Session Attempt Rate (initial r)",
            format!("{:.0} a second", settings.start_per_s),
        ),
        (
            "Session Duration",
            if sessions {
                "0 s: BYE follows the content at once".to_owned()
            } else {
                "not applicable".to_owned()
            },
        ),
        (
            "Total Sessions Attempted",
            format!("{tried}: N = {attempts} in {} iterations", limit.knee.len()),
        ),
        ("Media Streams per Session", "0".to_owned()),
        ("Associated Media Protocol", "none".to_owned()),
        ("Codec", "none".to_owned()),
        ("Media Packet Size (audio only)", "none".to_owned()),
        (
            "Establishment Threshold time",
            format!("{threshold} s, from the time an attempt was due"),
        ),
        ("TLS ciphersuite used", "none".to_owned()),
        ("IPsec profile used", "none".to_owned()),
        ("Session Establishment Rate, \"R\"", rate),
        ("Is DUT acting as a media relay?", "no".to_owned()),
        (
            "Notes",
            format!(
                "{session}. Attempts not taken within 1 % of an iteration after their time count as \
                 failures, since r was then not offered. w = 0.10, d = 0.10; converged after {CONVERGED} \
                 passes at no new r. Test 6.1, the baseline of the testbed, stands beside R"
            ),
        ),
    ];
    rows.map(|(name, value)| [name.to_owned(), value]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R of the document's own simulation: a DUT that carries so many sessions a second.
    fn converge(first: f64, most: f64) -> (f64, u32) {
        let mut algorithm = Algorithm::new(first);
        for iteration in 1..1000 {
            if let Some(found) = algorithm.take(algorithm.rate <= most) {
                return (found, iteration);
            }
        }
        panic!("no convergence from {first} to {most}");
    }

    #[test]
    fn the_appendix_s_example_converges_on_its_answer() {
        // RFC 7502 appendix A: find_R(100) with a DUT of 460 gives 458.
        assert_eq!(converge(100.0, 460.0).0, 458.0);
    }

    #[test]
    fn it_never_answers_with_a_rate_that_failed() {
        for most in [150.0, 997.0, 12_345.0, 2_000_000.0] {
            let (found, iterations) = converge(100.0, most);
            assert!(found <= most && found > most * 0.8, "{found} of {most}");
            assert!(iterations < 200, "{iterations}");
        }
    }
}
