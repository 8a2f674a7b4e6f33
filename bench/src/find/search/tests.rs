//! Searches of simulated systems: a sharp knee, a noisy one, one that never fails, one that always does,
//! a neighbour, a budget that is too small.

use super::*;
use crate::find::simulated::Simulated;

fn settings(start: f64) -> Settings {
    Settings {
        start_per_s: start,
        closed_per_s: start * 4.0,
        resolution: 0.02,
        bisections: 6,
        holds: 3,
        budget_s: 300.0,
        seed: 1,
    }
}

fn run(system: &mut Simulated, settings: Settings) -> LimitFigures {
    match Search::new(system, settings).run() {
        Ok(figures) => figures,
        Err(never) => match never {},
    }
}

#[test]
fn a_sharp_knee_is_found_within_the_resolution() {
    for start in [1_000.0, 10_000.0, 99_000.0, 640_000.0] {
        let mut system = Simulated::new(1e5, 0.0, 1);
        let figures = run(&mut system, settings(start));
        let rate = figures.rate_per_s.expect("found");
        // M/M/1 has its 99th percentile at 5 ms below a load of 0.99.
        assert!((95_000.0..99_100.0).contains(&rate), "{start}: {rate}");
        assert_eq!(figures.ending, Ending::Found);
        let interval = figures.interval.expect("six bisections");
        assert!(interval.covers(99_079.0), "{start}: {interval:?}");
        assert!(interval.high / interval.low < 1.05, "{interval:?}");
        assert!((interval.confidence - 0.96875).abs() < 1e-9);
        assert_eq!(figures.holds.len(), 3);
        let rates: Vec<f64> = figures.knee.iter().map(|p| p.rate_per_s).collect();
        assert!(rates.is_sorted() && rates[0] <= rate * 0.1 + 1.0);
        assert!(*rates.last().expect("points") >= rate * 1.19);
    }
}

#[test]
fn the_interval_of_a_noisy_knee_covers_the_limit_as_often_as_it_says() {
    let mut covered = 0;
    let seeds = 200;
    for seed in 0..seeds {
        let mut system = Simulated::new(1e5, 0.10, seed);
        let figures = run(
            &mut system,
            Settings {
                seed,
                ..settings(25_000.0)
            },
        );
        let rate = figures.rate_per_s.expect("found");
        assert!((80_000.0..104_000.0).contains(&rate), "seed {seed}: {rate}");
        let interval = figures.interval.expect("six bisections");
        // The rate at which half of the probes pass.
        covered += u32::from(interval.covers(99_079.0));
    }
    // Nominal 96.9 %; steps in the search make its bisections slightly dependent.
    assert!(covered >= 186, "{covered} of {seeds}");
}

#[test]
fn a_system_that_never_fails_gives_no_number() {
    let mut system = Simulated {
        testbed: 50_000.0,
        ..Simulated::new(1e9, 0.0, 1)
    };
    let figures = run(&mut system, settings(10_000.0));
    assert_eq!(
        (figures.ending, figures.rate_per_s),
        (Ending::TestbedFirst, None)
    );
    assert!(
        figures.words.contains("the testbed gave out first at"),
        "{}",
        figures.words
    );
    assert!(!figures.meets_objective());
    let mut endless = Simulated {
        testbed: f64::MAX,
        ..Simulated::new(1e12, 0.0, 1)
    };
    let figures = run(&mut endless, settings(10.0));
    assert_eq!(
        (figures.ending, figures.rate_per_s),
        (Ending::TestbedFirst, None)
    );
}

#[test]
fn a_system_that_always_fails_is_said_to() {
    let mut system = Simulated {
        testbed: f64::MAX,
        ..Simulated::new(1e-3, 0.0, 1)
    };
    let figures = run(&mut system, settings(10_000.0));
    assert_eq!(
        (figures.ending, figures.rate_per_s),
        (Ending::NeverMet, None)
    );
    assert!(
        figures.words.contains("met the criterion"),
        "{}",
        figures.words
    );
}

#[test]
fn spoilt_probes_are_repeated_and_never_count_as_failures() {
    let mut system = Simulated {
        spoilt: 0.2,
        ..Simulated::new(1e5, 0.0, 3)
    };
    let figures = run(&mut system, settings(25_000.0));
    let rate = figures.rate_per_s.expect("found in spite of the neighbour");
    assert!((95_000.0..99_100.0).contains(&rate), "{rate}");
    assert!(
        figures
            .probes()
            .any(|p| p.judgement == Judgement::Disturbed)
    );
    let mut hopeless = Simulated {
        spoilt: 1.0,
        ..Simulated::new(1e5, 0.0, 3)
    };
    let figures = run(&mut hopeless, settings(25_000.0));
    assert_eq!(
        (figures.ending, figures.rate_per_s),
        (Ending::Disturbed, None)
    );
}

#[test]
fn a_budget_too_small_ends_without_an_answer_and_a_small_one_with_fewer_bisections() {
    let search = |budget_s: f64| {
        let mut system = Simulated::new(1e5, 0.0, 1);
        let figures = run(
            &mut system,
            Settings {
                budget_s,
                ..settings(25_000.0)
            },
        );
        assert!(
            figures.took_s < budget_s + 4.0,
            "{} of {budget_s}",
            figures.took_s
        );
        figures
    };
    assert_eq!(search(5.0).ending, Ending::OutOfBudget);
    let small = search(40.0);
    assert_eq!(small.ending, Ending::Found);
    assert!(small.bisections.len() < 6 && small.interval.is_none());
    assert!(small.interval_method.contains("3 are needed"));
}
