//! A run of a load with a shape: measured from its first order to its last one, in intervals and segment
//! by segment, then drained. Called by `plan` in the place of a run at one rate.

use std::time::Duration;

use serde_json::Value;
use sirocco_schedule::Shape;

use super::child::Side;
use super::counted::{self, Awaited};
use super::course;
use super::figures::{self, Purpose};
use super::plan::{Bench, DRAIN_GRACE, LOADED, PlanError};
use super::results::Results;
use super::stage::Stage;
use crate::quantity::Rate;
use crate::record::LoadFigures;
use crate::role::protocol::{Drained, EngineCommand, LoadRequest, Measured};
use crate::scenario::Place;

/// Longest run once it was changed by hand: a pause may be as long.
const CHANGED_MAX: Duration = Duration::from_secs(86_400);

/// Runs the shape once and keeps its figures among the results.
///
/// # Errors
/// When a side fails or the user interrupts.
pub fn run(
    bench: &Bench<'_>,
    stage: &mut Stage,
    shape: &Shape,
    results: &mut Results,
) -> Result<Measured, PlanError> {
    let load = request(bench, shape, results);
    let offered = offer(bench, stage, load, results)?;
    Ok(keep(bench, shape, offered, results))
}

/// What became of a load.
pub struct Course {
    /// Whether all of it was taken.
    pub is_whole: bool,
    /// The books after the drain.
    pub drained: Drained,
}

/// Keeps the figures of a load with a shape among the results.
pub fn keep(bench: &Bench<'_>, shape: &Shape, course: Course, results: &mut Results) -> Measured {
    let Course {
        is_whole,
        mut drained,
    } = course;
    let length_s = shape.length_ns().unwrap_or(0) as f64 / 1e9;
    let scenario = bench.scenario;
    let measured = &drained.measured;
    let mut run = figures::run(measured, scenario.place, Rate::Max, Purpose::Rate);
    if scenario.has_sessions() {
        run.sessions = Some(figures::sessions(measured, Rate::Max, (0, 0.0)));
    }
    let report = drained.series.take().unwrap_or_default();
    let load = LoadFigures {
        is_whole,
        ..course::figures(shape, &report)
    };
    run.rate = "load".to_owned();
    let mean = load.planned / length_s.max(f64::MIN_POSITIVE);
    run.latency_us.offered_per_s = mean;
    run.load = Some(load);
    results.runs.push(run);
    drained.measured
}

fn request(bench: &Bench<'_>, shape: &Shape, results: &Results) -> LoadRequest {
    let scenario = bench.scenario;
    let mut load = LoadRequest {
        // Each run goes through the identities in another order.
        seed: scenario.seed + results.runs.len() as u64,
        wanted: scenario.wanted,
        shape: Some(shape.clone()),
        arrivals: scenario.runs.arrivals,
        sirs_per_order: Some(bench.sirs_per_order(&results.ready)),
        series_ms: Some(course::interval_ms(shape)),
        marked: true,
        order: scenario.order_fields(),
        ..LoadRequest::default()
    };
    bench.keep(&mut load, results);
    load
}

/// Offers a load to its end, which it must have, and keeps it and the books after the drain.
///
/// # Errors
/// When a side fails or the user interrupts.
pub fn offer(
    bench: &Bench<'_>,
    stage: &mut Stage,
    load: LoadRequest,
    results: &mut Results,
) -> Result<Course, PlanError> {
    let (scenario, watch) = (bench.scenario, &mut bench.watch());
    let length_ns = match &load.shape {
        Some(shape) => shape.length_ns(),
        // An end by a count takes as long as the rate says.
        None => load
            .rate
            .map(|rate| (load.orders_max.unwrap_or(0) as f64 / rate * 1e9) as u64),
    };
    let closed = load.shape.is_none() && load.rate.is_none();
    let drain = Duration::from_millis(scenario.runs.drain_ms_max);
    let limit = match closed || !load.steers.is_empty() {
        // How long windows or changes make it, nobody knows.
        true => CHANGED_MAX,
        false => Duration::from_nanos(length_ns.unwrap_or(0)) + drain,
    };
    let tell =
        |stage: &mut Stage, command: EngineCommand| stage.tell(Side::Engine, &command.line());
    let loadgen_cpu_ns = stage.generators_cpu_ns()?;
    tell(stage, EngineCommand::Load(load.clone()))?;
    let loaded = stage.wait((Side::Engine, "loaded"), "making a schedule", LOADED, watch)?;
    results.meet(loaded);
    if scenario.place != Place::Nowhere {
        // What edges do from time to time, they do by the time of the load.
        stage.tell_generators(|_| "begin".to_owned())?;
    }
    stage.let_steer(true);
    let over = stage.wait_or_stop((Side::Engine, "over"), (limit, CHANGED_MAX), watch)?;
    stage.let_steer(false);
    let loadgen_cpu_ns = stage.generators_cpu_ns()?.saturating_sub(loadgen_cpu_ns);
    if over.is_none() {
        tell(stage, EngineCommand::Unmark)?;
    }
    tell(stage, EngineCommand::EndLoad)?;
    tell(stage, EngineCommand::Drain)?;
    let limit = drain + DRAIN_GRACE;
    let drained = stage.wait((Side::Engine, "drained"), "draining", limit, watch)?;
    let mut drained = read(drained);
    if scenario.has_sessions() {
        // The last SIRs are answered, their sessions under way.
        let awaited = Awaited {
            accepted: drained.ledger.accepted,
            holds: false,
        };
        let series = drained.series.take();
        drained = counted::settle(bench, stage, awaited, limit)?;
        drained.series = series;
    }
    drained.measured.loadgen_cpu_ns = loadgen_cpu_ns;
    results.take(&drained);
    results.keep(load, &drained);
    Ok(Course {
        is_whole: over.is_some(),
        drained,
    })
}

fn read(event: Value) -> Drained {
    serde_json::from_value(event).unwrap_or_default()
}
