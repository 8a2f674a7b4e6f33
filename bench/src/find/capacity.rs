//! Design objective capacity in the manner of ETSI TS 186 008: scenario attempts a second (SApS) raised
//! by equal steps, each judged by its share of inadequately handled attempts (%IHS), the answer being
//! the highest step within 0.1 %, then confirmed. Called by `find`.

use super::criterion::Criterion;
use super::probe::Staged;
use super::search::{Probes, Settings, System};
use crate::cli::find::FindArgs;
use crate::record::{Ending, Judgement, LimitFigures, Purpose};
use crate::run::plan::PlanError;

/// The design objective: at most this share of a step's attempts is inadequately handled.
const IHS_SHARE_MAX: f64 = 0.001;
/// An increment as a share of the closed loop's throughput, where none is given.
const STEP_SHARE: f64 = 0.05;
/// Steps above the design objective capacity that are run and reported.
const STEPS_ABOVE: u32 = 2;
/// Times that a spoilt step is repeated.
const REPEATS_MAX: u32 = 2;
/// Most steps of one test.
const STEPS_MAX: usize = 200;

/// Runs the steps on the stage and fills the report in.
///
/// # Errors
/// When a side fails or the user interrupts.
pub fn run(
    staged: &mut Staged<'_, '_>,
    settings: Settings,
    find: &FindArgs,
) -> Result<LimitFigures, PlanError> {
    let within_ms = staged.criterion.within_ms();
    let criterion = match &find.criterion {
        Some(criterion) => criterion.clone(),
        None => Criterion::inadequately_handled(IHS_SHARE_MAX, within_ms),
    };
    staged.criterion = criterion.clone();
    let step = super::per_second(find.step).unwrap_or(settings.closed_per_s * STEP_SHARE);
    let mut limit = search(staged, settings, step.max(1.0))?;
    limit.report = report(staged, settings, step, &limit);
    limit.criterion = Some(criterion);
    Ok(limit)
}

/// Steps on any system.
///
/// # Errors
/// The system's.
pub fn search<S: System>(
    system: &mut S,
    settings: Settings,
    step: f64,
) -> Result<LimitFigures, S::Error> {
    let mut made = Steps {
        probes: Probes::new(system, settings.seed),
        settings,
    };
    let (ending, capacity) = made.climb(step)?;
    let passed = capacity.map_or(0.0, |capacity| capacity);
    let words = match ending {
        Ending::Found => format!("design objective capacity {passed:.0} SApS, confirmed"),
        Ending::NeverMet => {
            "not found: the first step is above the design objective; lower --start".to_owned()
        }
        Ending::NeverHeld => {
            format!("not found: {passed:.0} SApS passed as a step and failed its confirmation")
        }
        Ending::TestbedFirst => {
            format!("not found: the testbed gave out first; {passed:.0} SApS passed")
        }
        Ending::Disturbed => {
            "not found: somebody else used the machine; run on a quieter machine".to_owned()
        }
        Ending::OutOfBudget => {
            format!("not found: {passed:.0} SApS still passed; raise --budget, --start or --step")
        }
    };
    let took_s = made.probes.elapsed_s();
    let (holds, knee) = made.probes.into_holds_and_others();
    Ok(LimitFigures {
        method: "etsi".to_owned(),
        ending,
        words,
        rate_per_s: capacity.filter(|_| ending == Ending::Found),
        holds,
        knee,
        resolution: step / passed.max(step),
        budget_s: settings.budget_s,
        took_s,
        interval_method: "none: the answer is a step; the next one failed".to_owned(),
        ..LimitFigures::default()
    })
}

/// The steps made.
struct Steps<'a, S> {
    probes: Probes<'a, S>,
    settings: Settings,
}

impl<S: System> Steps<'_, S> {
    /// One step, again while the machine spoils it.
    fn step(&mut self, rate: f64, purpose: Purpose) -> Result<Judgement, S::Error> {
        let mut judgement = Judgement::Disturbed;
        for _ in 0..=REPEATS_MAX {
            judgement = self.probes.make(rate, purpose)?;
            if judgement.is_of_the_engine() {
                break;
            }
        }
        Ok(judgement)
    }

    /// Climbs until a step fails, and two steps more; then confirms the last that passed below.
    fn climb(&mut self, step: f64) -> Result<(Ending, Option<f64>), S::Error> {
        let mut rate = self.settings.start_per_s;
        let (mut capacity, mut above, mut ending) = (None, 0, Ending::OutOfBudget);
        while self.probes.count() < STEPS_MAX && self.probes.elapsed_s() < self.settings.budget_s {
            match self.step(rate, Purpose::Step)? {
                Judgement::Passed if above == 0 => capacity = Some(rate),
                Judgement::Passed => above += 1,
                Judgement::Failed => above += 1,
                Judgement::TestbedGaveOut if above == 0 => {
                    return Ok((Ending::TestbedFirst, capacity));
                }
                Judgement::Disturbed if above == 0 => return Ok((Ending::Disturbed, capacity)),
                // What lies above the capacity is shown, not concluded from.
                Judgement::TestbedGaveOut | Judgement::Disturbed => above += 1,
            }
            if above > STEPS_ABOVE {
                ending = Ending::NeverHeld;
                break;
            }
            rate += step;
        }
        if above == 0 {
            return Ok((Ending::OutOfBudget, capacity));
        }
        let Some(passed) = capacity else {
            return Ok((Ending::NeverMet, None));
        };
        let confirmed = self.step(passed, Purpose::Hold)? == Judgement::Passed;
        if confirmed {
            ending = Ending::Found;
        }
        Ok((ending, Some(passed)))
    }
}

/// What TS 186 008-1 and -2 ask a report to hold.
fn report(
    staged: &Staged<'_, '_>,
    settings: Settings,
    step: f64,
    limit: &LimitFigures,
) -> Vec<[String; 2]> {
    let scenario = staged.bench.scenario;
    let capacity = limit
        .rate_per_s
        .map_or_else(|| limit.words.clone(), |rate| format!("{rate:.0} SApS"));
    let progress = limit.holds.last().map_or(0.0, |hold| hold.in_flight_mean);
    let rows = [
        ("Design objective capacity", capacity),
        ("Design objective", staged.criterion.to_string()),
        ("Traffic mix", format!("one scenario: {}", scenario.summary)),
        ("Behaviour of devices", scenario.mix.clone()),
        ("Initial SApS", format!("{:.0}", settings.start_per_s)),
        ("Increase of SApS", format!("{step:.0} a step")),
        (
            "Step time",
            format!("{} s counted", staged.lengths.probe.as_secs_f64()),
        ),
        (
            "Transient time",
            format!(
                "{} s before each step",
                staged.lengths.warm_up.as_secs_f64()
            ),
        ),
        ("Arrivals", staged.arrivals.to_string()),
        (
            "Scenarios in progress (SIPs)",
            format!("{progress:.0}, mean of the confirming run's readings"),
        ),
        (
            "Preamble",
            "the whole population is provisioned and registered before the first step".to_owned(),
        ),
    ];
    rows.map(|(name, value)| [name.to_owned(), value]).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find::simulated::Simulated;

    fn climb(mut system: Simulated, start: f64, step: f64) -> LimitFigures {
        system.criterion = Criterion::inadequately_handled(IHS_SHARE_MAX, 1000);
        let settings = Settings {
            start_per_s: start,
            closed_per_s: start,
            resolution: 0.02,
            bisections: 1,
            holds: 3,
            budget_s: 300.0,
            seed: 1,
        };
        match search(&mut system, settings, step) {
            Ok(figures) => figures,
            Err(never) => match never {},
        }
    }

    #[test]
    fn the_capacity_is_the_last_step_that_passes_and_two_more_are_run() {
        let limit = climb(Simulated::new(1e5, 0.0, 1), 50_000.0, 7_000.0);
        assert_eq!(
            (limit.ending, limit.rate_per_s),
            (Ending::Found, Some(99_000.0))
        );
        let failed = limit
            .knee
            .iter()
            .filter(|p| p.judgement == Judgement::Failed);
        assert_eq!((failed.count(), limit.holds.len()), (3, 1));
    }

    #[test]
    fn a_first_step_too_high_and_a_testbed_too_weak_give_no_capacity() {
        let limit = climb(Simulated::new(1e5, 0.0, 1), 200_000.0, 7_000.0);
        assert_eq!((limit.ending, limit.rate_per_s), (Ending::NeverMet, None));
        let weak = Simulated {
            testbed: 80_000.0,
            ..Simulated::new(1e9, 0.0, 1)
        };
        let limit = climb(weak, 50_000.0, 7_000.0);
        assert_eq!(
            (limit.ending, limit.rate_per_s),
            (Ending::TestbedFirst, None)
        );
    }
}
