//! The search for the greatest rate that meets a criterion: bracket by doubling, bisect several times
//! over, hold the answer for longer, draw the knee. It knows rates and judgements, no process and no
//! socket: a probe is whatever [`System`] makes of it, so that the tests search simulated systems.
//!
//! docs/decisions/0016-limit.md says why it is done so. Called by `find`.

use crate::record::{Ending, Judgement, LimitFigures, ProbeFigures, Purpose};
use crate::statistics::{Interval, median};
use sirocco_schedule::Draw;

/// Most probes of one search, however generous its budget.
pub const PROBES_MAX: usize = 400;
/// Times that a probe is repeated because of what else the machine or the testbed did.
const REPEATS_MAX: usize = 2;
/// Doublings or halvings before no bracket is found: a factor of four thousand either way.
const BRACKET_STEPS_MAX: usize = 12;
/// Rates given up for the next lower one before no rate holds.
const HOLD_STEPS_MAX: u32 = 8;
/// First step of a bisection after the first, in resolutions: wide enough that noise rarely leaves it.
const SPAN_RESOLUTIONS: f64 = 4.0;
/// Points of the knee, from this share of the limit up to the last in even steps.
const KNEE_FIRST: f64 = 0.1;
/// The last point of the knee.
const KNEE_LAST: f64 = 1.2;
/// How many points that are.
pub const KNEE_POINTS: u32 = 12;

/// One probe to be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// Attempts a second.
    pub rate_per_s: f64,
    /// What for.
    pub purpose: Purpose,
    /// Seed of the order of identities and of arrivals.
    pub seed: u64,
}

/// What is searched: it makes probes, judges them, and knows the time they take.
pub trait System {
    /// Why a probe cannot be made at all.
    type Error;

    /// Makes one probe.
    ///
    /// # Errors
    /// When there is nothing to search any more.
    fn probe(&mut self, asked: Asked) -> Result<ProbeFigures, Self::Error>;

    /// Seconds since the search began.
    fn elapsed_s(&self) -> f64;

    /// Seconds that a probe for this purpose takes, about.
    fn cost_s(&self, purpose: Purpose) -> f64;
}

/// How finely, how often, how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// First rate.
    pub start_per_s: f64,
    /// Throughput of the closed loop.
    pub closed_per_s: f64,
    /// Width at which a bisection ends, as a share.
    pub resolution: f64,
    /// Independent bisections.
    pub bisections: u32,
    /// Holds that all have to pass.
    pub holds: u32,
    /// Seconds for all of it.
    pub budget_s: f64,
    /// Seed of the probes.
    pub seed: u64,
}

/// The greatest rate that passed and the smallest above it that did not.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bracket {
    low: f64,
    high: f64,
    /// Whether the testbed, not the engine, ended it.
    by_testbed: bool,
}

/// Why there is no answer.
enum Stop<E> {
    Ended(Ending, String),
    System(E),
}

impl<E> From<E> for Stop<E> {
    fn from(error: E) -> Self {
        Stop::System(error)
    }
}

/// The probes of one search, made one after the other, each with a seed of its own.
pub struct Probes<'a, S> {
    system: &'a mut S,
    seed: u64,
    made: Vec<ProbeFigures>,
}

impl<'a, S: System> Probes<'a, S> {
    /// None so far; `seed` is that of the first.
    pub fn new(system: &'a mut S, seed: u64) -> Self {
        Self {
            system,
            seed,
            made: Vec::new(),
        }
    }

    /// Makes one, with another order of identities each time, and keeps it.
    ///
    /// # Errors
    /// The system's.
    pub fn make(&mut self, rate_per_s: f64, purpose: Purpose) -> Result<Judgement, S::Error> {
        let asked = Asked {
            rate_per_s,
            purpose,
            seed: self.seed + self.made.len() as u64,
        };
        let probe = self.system.probe(asked)?;
        let judgement = probe.judgement;
        self.made.push(probe);
        Ok(judgement)
    }

    /// How many were made.
    pub fn count(&self) -> usize {
        self.made.len()
    }

    /// Seconds since the search began.
    pub fn elapsed_s(&self) -> f64 {
        self.system.elapsed_s()
    }

    /// The holds, and all others.
    pub fn into_holds_and_others(self) -> (Vec<ProbeFigures>, Vec<ProbeFigures>) {
        let is_hold = |probe: &ProbeFigures| probe.purpose == Purpose::Hold;
        self.made.into_iter().partition(is_hold)
    }
}

/// A search and the probes it has made.
pub struct Search<'a, S> {
    probes: Probes<'a, S>,
    settings: Settings,
    draw: Draw,
}

impl<'a, S: System> Search<'a, S> {
    /// A search that has made no probe.
    pub fn new(system: &'a mut S, settings: Settings) -> Self {
        Self {
            probes: Probes::new(system, settings.seed),
            settings,
            draw: Draw::new(settings.seed),
        }
    }

    /// Searches; what was found, or why nothing was, is in the figures.
    ///
    /// # Errors
    /// The system's, when it makes no more probes.
    pub fn run(mut self) -> Result<LimitFigures, S::Error> {
        let mut figures = LimitFigures {
            method: "bisect".to_owned(),
            resolution: self.settings.resolution,
            budget_s: self.settings.budget_s,
            ..LimitFigures::default()
        };
        match self.find(&mut figures) {
            Ok(()) => {}
            Err(Stop::Ended(ending, words)) => (figures.ending, figures.words) = (ending, words),
            Err(Stop::System(error)) => return Err(error),
        }
        figures.took_s = self.probes.elapsed_s();
        (figures.holds, figures.knee) = self.probes.into_holds_and_others();
        figures
            .knee
            .sort_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
        Ok(figures)
    }

    fn find(&mut self, figures: &mut LimitFigures) -> Result<(), Stop<S::Error>> {
        let first = self.bracket(self.settings.start_per_s, 2.0)?;
        let first = self.bisect(first)?;
        let mut found = vec![first];
        self.repeat(&mut found)?;
        figures.bisections = found.iter().map(|b| [b.low, b.high]).collect();
        if 2 * found.iter().filter(|b| b.by_testbed).count() > found.len() {
            let words = format!(
                "not found: the testbed gave out first at {:.0}/s; {:.0}/s passed",
                first.high, first.low
            );
            let near = median(&figures.bisections.iter().map(|b| b[0]).collect::<Vec<_>>());
            self.knee(near.unwrap_or(first.low))?;
            return Err(Stop::Ended(Ending::TestbedFirst, words));
        }
        let lows: Vec<f64> = found.iter().map(|bracket| bracket.low).collect();
        let held = self.hold(median(&lows).unwrap_or(first.low))?;
        (figures.ending, figures.rate_per_s) = (Ending::Found, Some(held));
        (figures.interval, figures.interval_method) = interval(&figures.bisections, held);
        figures.words = format!(
            "{held:.0}/s held {} times of {} tried",
            self.settings.holds,
            self.probes
                .made
                .iter()
                .filter(|probe| probe.purpose == Purpose::Hold)
                .count()
        );
        self.knee(held)
    }

    /// Makes one probe, again while the machine or the testbed spoils it.
    fn probe(&mut self, rate: f64, purpose: Purpose) -> Result<Judgement, Stop<S::Error>> {
        let mut judgement = Judgement::Disturbed;
        for _ in 0..=REPEATS_MAX {
            if self.probes.count() >= PROBES_MAX || self.left_s() <= 0.0 {
                let words = format!(
                    "not found: {:.0} s and {} probes were not enough; raise --budget",
                    self.probes.elapsed_s(),
                    self.probes.count()
                );
                return Err(Stop::Ended(Ending::OutOfBudget, words));
            }
            judgement = self.probes.make(rate, purpose)?;
            if judgement.is_of_the_engine() {
                return Ok(judgement);
            }
        }
        if judgement == Judgement::Disturbed {
            let words = format!(
                "not found: at {rate:.0}/s somebody else used the machine, {} times in a row; \
                 run on a quieter machine",
                REPEATS_MAX + 1
            );
            return Err(Stop::Ended(Ending::Disturbed, words));
        }
        Ok(judgement)
    }

    fn left_s(&self) -> f64 {
        self.settings.budget_s - self.probes.elapsed_s()
    }

    /// Steps by `factor` until one rate passes and the next does not.
    fn bracket(&mut self, from: f64, factor: f64) -> Result<Bracket, Stop<S::Error>> {
        let mut rate = from;
        let mut judged = self.probe(rate, Purpose::Bracket)?;
        let rising = judged == Judgement::Passed;
        for _ in 0..BRACKET_STEPS_MAX {
            let (before, last) = (rate, judged);
            rate = if rising { rate * factor } else { rate / factor };
            judged = self.probe(rate, Purpose::Bracket)?;
            if (judged == Judgement::Passed) != rising {
                let (low, high) = if rising {
                    (before, rate)
                } else {
                    (rate, before)
                };
                let ended = if rising { judged } else { last };
                return Ok(Bracket {
                    low,
                    high,
                    by_testbed: ended == Judgement::TestbedGaveOut,
                });
            }
        }
        let words = match rising {
            true => format!("not found: {rate:.0}/s still passed and no higher rate is tried"),
            false if judged == Judgement::TestbedGaveOut => {
                format!("not found: the testbed gave out at every rate down to {rate:.0}/s")
            }
            false => format!("not found: no rate down to {rate:.0}/s met the criterion"),
        };
        let ending = match (rising, judged) {
            (true, _) | (_, Judgement::TestbedGaveOut) => Ending::TestbedFirst,
            _ => Ending::NeverMet,
        };
        Err(Stop::Ended(ending, words))
    }

    /// Halves the bracket, in ratio, down to the resolution.
    fn bisect(&mut self, mut bracket: Bracket) -> Result<Bracket, Stop<S::Error>> {
        while bracket.high / bracket.low > 1.0 + self.settings.resolution {
            let middle = (bracket.low * bracket.high).sqrt();
            match self.probe(middle, Purpose::Bisection)? {
                Judgement::Passed => bracket.low = middle,
                judged => {
                    bracket.high = middle;
                    bracket.by_testbed = judged == Judgement::TestbedGaveOut;
                }
            }
        }
        Ok(bracket)
    }

    /// Bisects again and again from brackets of their own, as long as holds and knee still fit in time.
    fn repeat(&mut self, found: &mut Vec<Bracket>) -> Result<(), Stop<S::Error>> {
        let first = found[0];
        let span = 1.0 + SPAN_RESOLUTIONS * self.settings.resolution;
        // A bracket of about three probes, and two halvings of it.
        let once_s = 5.0 * self.probes.system.cost_s(Purpose::Bisection);
        let later_s =
            2.0 * f64::from(self.settings.holds) * self.probes.system.cost_s(Purpose::Hold)
                + f64::from(KNEE_POINTS) * self.probes.system.cost_s(Purpose::Knee);
        while found.len() < self.settings.bisections as usize && self.left_s() > once_s + later_s {
            // A start drawn anew, so that no two bisections look at the same rates.
            let from = first.low * span.powf(self.draw.unit() * 2.0 - 1.0);
            let bracket = self.bracket(from, span)?;
            found.push(self.bisect(bracket)?);
        }
        Ok(())
    }

    /// Holds a rate several times; one failure gives it up for a lower one, by steps that double.
    fn hold(&mut self, from: f64) -> Result<f64, Stop<S::Error>> {
        let mut rate = from;
        for step in 0..HOLD_STEPS_MAX {
            if self.holds(rate)? {
                return Ok(rate);
            }
            rate /= 1.0 + self.settings.resolution * f64::from(1u32 << step);
        }
        let words = format!("not found: no rate from {from:.0}/s down to {rate:.0}/s was held");
        Err(Stop::Ended(Ending::NeverHeld, words))
    }

    fn holds(&mut self, rate: f64) -> Result<bool, Stop<S::Error>> {
        for _ in 0..self.settings.holds {
            if self.probe(rate, Purpose::Hold)? != Judgement::Passed {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Probes evenly spaced shares of the limit; the curve may end early, the answer stands.
    fn knee(&mut self, limit: f64) -> Result<(), Stop<S::Error>> {
        let step = (KNEE_LAST - KNEE_FIRST) / f64::from(KNEE_POINTS - 1);
        for point in 0..KNEE_POINTS {
            if self.left_s() < self.probes.system.cost_s(Purpose::Knee) {
                return Ok(());
            }
            let rate = limit * (KNEE_FIRST + step * f64::from(point));
            match self.probe(rate, Purpose::Knee) {
                Ok(_) | Err(Stop::Ended(Ending::Disturbed, _)) => {}
                Err(Stop::Ended(..)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The sign test's interval of the median limit: that of n independent bisections, from the smallest
/// passing rate to the greatest failing one, misses the median only when all n lie on one side of it,
/// which happens with 2 in 2^n. Where the holds had to go lower, so does the interval.
fn interval(bisections: &[[f64; 2]], held: f64) -> (Option<Interval>, String) {
    let count = i32::try_from(bisections.len()).unwrap_or(i32::MAX);
    let middles: Vec<f64> = bisections.iter().map(|[l, h]| (l * h).sqrt()).collect();
    let Some(estimate) = median(&middles).filter(|_| count >= 3) else {
        let words = format!("none: {count} bisections fitted into the budget, 3 are needed");
        return (None, words);
    };
    let low = bisections.iter().map(|b| b[0]).fold(held, f64::min);
    let high = bisections.iter().map(|b| b[1]).fold(0.0, f64::max);
    let words = format!(
        "sign test's interval of the median of {count} independent bisections, from the smallest \
         passing rate to the greatest failing one{}",
        if low < bisections.iter().map(|b| b[0]).fold(f64::MAX, f64::min) {
            ", lowered to the rate that held"
        } else {
            ""
        }
    );
    let interval = Interval {
        estimate,
        low,
        high,
        confidence: 1.0 - 2f64.powi(1 - count),
    };
    (Some(interval), words)
}

#[cfg(test)]
mod tests;
