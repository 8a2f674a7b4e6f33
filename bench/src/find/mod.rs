//! `sirocco bench --find-max`: the greatest rate that meets a criterion. `criterion` is what a rate has
//! to meet, `probe` one rate tried on the running stage, `search` bracket, bisections, holds and knee;
//! `establishment` is RFC 7502's algorithm, `capacity` ETSI's steps. Engine and load generator are
//! started once for all probes. Called by `run::plan`.

pub mod capacity;
pub mod criterion;
pub mod establishment;
pub mod probe;
pub mod search;
#[cfg(test)]
pub mod simulated;

use std::time::{Duration, Instant};

use sirocco_schedule::Arrivals;

use crate::cli::BenchArgs;
use crate::cli::find::{FindArgs, Method};
use crate::quantity::{Rate, grouped, scaled};
use crate::record::{BaselineFigures, LimitFigures, ProbeFigures};
use crate::role::protocol::Drained;
use crate::run::plan::{Bench, Gauges, PlanError};
use crate::run::results::Results;
use crate::scenario::{Place, Right, Scenario};
use criterion::Criterion;
use probe::{Lengths, Staged};
use search::{KNEE_POINTS, Search, Settings, System};

/// Width at which a bisection ends.
const RESOLUTION: f64 = 0.02;
/// Narrowest width: below it lies the noise of any machine.
const RESOLUTION_MIN: f64 = 0.001;
/// Time for the whole search.
const BUDGET: Duration = Duration::from_secs(120);
/// Counted length of a probe.
const PROBE: Duration = Duration::from_secs(1);
/// Holds are so many probes long.
const HOLD_PROBES: u32 = 3;
/// Confirming holds at least.
const HOLDS_MIN: u32 = 3;
/// Independent bisections: the fewest whose sign test reaches 95 %.
const BISECTIONS: u32 = 6;
/// The first rate as a share of the closed loop's throughput.
const START_SHARE: f64 = 0.25;
/// Warm-up as a share of a probe; the scenario's own warm-up is the closed loop's.
const WARM_UP_SHARE: f64 = 0.25;
/// Repetitions of the baseline.
const BASELINES: u32 = 3;

/// Why a scenario has no limit to find, or not by this command line; what to do is in it.
///
/// # Errors
/// A text for people.
pub fn refuse(scenario: &Scenario, args: &BenchArgs) -> Result<(), String> {
    let find = &args.find;
    if !find.find_max {
        return Ok(());
    }
    let right = scenario.outcome.as_ref().map(|outcome| outcome.right);
    let what = match scenario {
        scenario if scenario.hold.is_some() => Some("holds sessions open"),
        scenario if scenario.addressing.is_some() => Some("compares addressing modes"),
        scenario if scenario.flood.is_some() => Some("floods"),
        _ if matches!(right, Some(Right::Timeout | Right::Direct)) => {
            Some("judges what is not answered")
        }
        _ => None,
    };
    if let Some(what) = what {
        return Err(format!(
            "--find-max needs attempts that can be offered at any rate; scenario {} {what}: take \
             dispatch, direct, sessions or one of your own",
            scenario.name
        ));
    }
    if args.verify || args.sipp {
        return Err("--find-max runs alone: leave --verify and --sipp out".to_owned());
    }
    if find.resolution.is_some_and(|share| share < RESOLUTION_MIN) {
        return Err("--resolution: give at least 0.1%; below lies the noise of any machine".into());
    }
    if find.holds.is_some_and(|holds| u32::from(holds) < HOLDS_MIN) {
        return Err(format!("--holds: give at least {HOLDS_MIN}"));
    }
    Ok(())
}

/// Runs the search on a stage of its own.
///
/// # Errors
/// When a side fails or the user interrupts.
pub fn run(bench: &Bench<'_>, args: &BenchArgs) -> Result<Results, PlanError> {
    let mut stage = bench.stage()?;
    let mut results = Results {
        ready: bench.launch(&mut stage)?,
        ..Results::default()
    };
    let (scenario, find) = (bench.scenario, &args.find);
    bench.phase("closed loop: where the search begins");
    let lengths = lengths(find);
    let length = u64::try_from(lengths.probe.as_millis()).unwrap_or(u64::MAX);
    let measured = bench.measure_once(
        &mut stage,
        (Rate::Max, crate::run::figures::Purpose::Rate),
        length,
        &mut results,
    )?;
    let closed = results.runs.last().map_or(0.0, |run| match &run.sessions {
        Some(sessions) => sessions.cycles_per_s,
        None => run.sirs_per_s,
    });
    let method = find.method.unwrap_or_default();
    let criterion = criterion_of(scenario, find);
    let settings = settings(scenario, find, closed);
    let mut gauges = Gauges::default();
    if !args.no_ceiling && scenario.place != Place::Nowhere && !bench.cores.shared() {
        for _ in 0..BASELINES {
            bench.phase("baseline of the testbed: raw messages of the same lengths, no engine");
            bench.gauge(&mut stage, &mut gauges, &measured)?;
        }
    }
    let mut staged = Staged {
        bench,
        stage,
        criterion: criterion.clone(),
        lengths,
        attempts: None,
        sirs_per_order: bench.sirs_per_order(&results.ready),
        // TS 186 008 asks for Poisson arrivals; other methods keep the scenario's.
        arrivals: match method {
            Method::Etsi => Arrivals::Poisson,
            Method::Bisect | Method::Rfc7502 => scenario.runs.arrivals,
        },
        books: Drained {
            ledger: results.ledger.clone(),
            pushes: results.pushes.clone(),
            ..Drained::default()
        },
        begin: Instant::now(),
    };
    bench.phase(estimate(&staged, settings));
    let mut limit = match method {
        Method::Bisect => Search::new(&mut staged, settings).run()?,
        Method::Rfc7502 => establishment::run(&mut staged, settings, find)?,
        Method::Etsi => capacity::run(&mut staged, settings, find)?,
    };
    limit.criterion.get_or_insert(criterion);
    limit.closed_loop_per_s = closed;
    limit.unit = unit(scenario).to_owned();
    limit.objective_per_s = objective(scenario, find);
    bench.phase("stopping");
    let Staged {
        mut stage, books, ..
    } = staged;
    results.take(&books);
    bench.finish(&mut stage, &mut results)?;
    gauges.into_results(&mut results);
    limit.baseline = Some(baseline(scenario, &results, &limit));
    results.limit = Some(limit);
    Ok(results)
}

/// What an attempt is.
fn unit(scenario: &Scenario) -> &'static str {
    if scenario.has_sessions() {
        "sessions"
    } else {
        "SIRs"
    }
}

fn criterion_of(scenario: &Scenario, find: &FindArgs) -> Criterion {
    let stated = scenario.limit.as_ref();
    let stated = stated.and_then(|limit| limit.criterion.clone());
    let loss = 1.0 - scenario.checks.delivered_share_min;
    let criterion = find.criterion.clone().or(stated);
    let criterion = criterion.unwrap_or_else(|| Criterion::standard(loss));
    match &scenario.outcome {
        Some(outcome) => criterion.or_within_ms(outcome.within_ms),
        None => criterion,
    }
}

fn objective(scenario: &Scenario, find: &FindArgs) -> Option<f64> {
    let stated = scenario.limit.as_ref();
    let stated = stated.and_then(|limit| limit.objective_per_s);
    per_second(find.objective).or(stated.map(|rate| rate as f64))
}

/// A rate as a number; `max` is none.
pub fn per_second(rate: Option<Rate>) -> Option<f64> {
    match rate {
        Some(Rate::PerSecond(rate)) => Some(rate as f64),
        _ => None,
    }
}

fn lengths(find: &FindArgs) -> Lengths {
    let probe = find.probe.unwrap_or(PROBE);
    Lengths {
        warm_up: probe.mul_f64(WARM_UP_SHARE),
        probe,
        hold: find.hold.unwrap_or(probe * HOLD_PROBES),
    }
}

fn settings(scenario: &Scenario, find: &FindArgs, closed: f64) -> Settings {
    Settings {
        start_per_s: per_second(find.start).unwrap_or((closed * START_SHARE).max(1.0)),
        closed_per_s: closed,
        resolution: find.resolution.unwrap_or(RESOLUTION),
        bisections: find.bisections.map_or(BISECTIONS, u32::from),
        holds: find.holds.map_or(HOLDS_MIN, u32::from),
        budget_s: find.budget.unwrap_or(BUDGET).as_secs_f64(),
        seed: scenario.seed,
    }
}

/// What people are told before the search begins.
fn estimate(staged: &Staged<'_, '_>, settings: Settings) -> String {
    use crate::record::Purpose;
    // A bracket of some four probes, then halvings of a factor of two; later ones are narrower.
    let halvings = (2f64.ln() / settings.resolution.ln_1p()).log2().ceil();
    let probes = 4.0 + halvings + 5.0 * f64::from(settings.bisections - 1) + f64::from(KNEE_POINTS);
    let holds = f64::from(settings.holds);
    let took_s = probes * staged.cost_s(Purpose::Knee) + holds * staged.cost_s(Purpose::Hold);
    format!(
        "searching from {}/s for {}: about {} probes and {} holds, {:.0} s; budget {:.0} s",
        scaled(settings.start_per_s),
        staged.criterion,
        grouped(probes as u64),
        settings.holds,
        took_s,
        settings.budget_s
    )
}

/// What the testbed reaches without the engine, beside the limit.
fn baseline(scenario: &Scenario, results: &Results, limit: &LimitFigures) -> BaselineFigures {
    let ceiling = results.ceiling.as_ref();
    let cycle = ceiling.and_then(|ceiling| ceiling.cycle.as_ref());
    let (what, probe) = match (scenario.place, scenario.has_sessions()) {
        (Place::Nowhere, _) => ("nothing: the scenario has no sockets", None),
        (Place::Edges, false) => (
            "raw messages in trains, answered, closed loop",
            ceiling.and_then(|ceiling| ceiling.gso_gro.as_ref()),
        ),
        (Place::Direct, false) => (
            "raw datagrams, answered, closed loop",
            ceiling.and_then(|ceiling| ceiling.datagram.as_ref()),
        ),
        (Place::Edges, true) => (
            "raw session cycles of nine messages in trains",
            cycle.and_then(|cycle| cycle.trains.as_ref()),
        ),
        (Place::Direct, true) => (
            "raw session cycles of nine datagrams",
            cycle.and_then(|cycle| cycle.datagrams.as_ref()),
        ),
    };
    let rate = probe.map_or(0.0, |probe| probe.per_second.median);
    let near = nearest(limit);
    let busy = near.map_or(0.0, |probe| probe.loadgen_busy_share);
    let divided = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
    BaselineFigures {
        what: what.to_owned(),
        rate_per_s: rate,
        share: divided(limit.rate_per_s.unwrap_or(0.0), rate),
        loadgen_busy_share: busy,
        loadgen_rate_per_s: near.map_or(0.0, |probe| divided(probe.rate_per_s, busy)),
        loadgen_lag_us: near
            .map(|probe| probe.loadgen_lag_us.clone())
            .unwrap_or_default(),
    }
}

/// The probe nearest to the limit, or the fastest where there is none.
fn nearest(limit: &LimitFigures) -> Option<&ProbeFigures> {
    let rate = limit.rate_per_s.unwrap_or(f64::MAX);
    let distance = |probe: &&ProbeFigures| (probe.rate_per_s - rate).abs();
    limit
        .holds
        .iter()
        .chain(&limit.knee)
        .min_by(|a, b| distance(a).total_cmp(&distance(b)))
}
