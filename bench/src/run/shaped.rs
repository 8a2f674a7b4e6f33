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
    let arrivals_s = shape.length_ns().unwrap_or(0) as f64 / 1e9;
    let (is_whole, mut drained) = offer(bench, stage, load)?;
    results.take(&drained);
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
    let mean = load.planned / arrivals_s.max(f64::MIN_POSITIVE);
    run.latency_us.offered_per_s = mean;
    run.load = Some(load);
    results.runs.push(run);
    Ok(drained.measured)
}

fn request(bench: &Bench<'_>, shape: &Shape, results: &Results) -> LoadRequest {
    let scenario = bench.scenario;
    LoadRequest {
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
    }
}

/// Offers a load to its end; whether all of it was taken, and the books after the drain.
fn offer(
    bench: &Bench<'_>,
    stage: &mut Stage,
    load: LoadRequest,
) -> Result<(bool, Drained), PlanError> {
    let (scenario, watch) = (bench.scenario, &mut bench.watch());
    let length_ns = load.shape.as_ref().and_then(Shape::length_ns);
    let drain = Duration::from_millis(scenario.runs.drain_ms_max);
    let limit = Duration::from_nanos(length_ns.unwrap_or(0)) + drain;
    let tell =
        |stage: &mut Stage, command: EngineCommand| stage.tell(Side::Engine, &command.line());
    let loadgen_cpu_ns = stage.cpu_ns(Side::Loadgen);
    tell(stage, EngineCommand::Load(load))?;
    stage.wait((Side::Engine, "loaded"), "making a schedule", LOADED, watch)?;
    stage.let_steer(true);
    let over = stage.wait_or_stop((Side::Engine, "over"), (limit, CHANGED_MAX), watch)?;
    stage.let_steer(false);
    let loadgen_cpu_ns = stage.cpu_ns(Side::Loadgen) - loadgen_cpu_ns;
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
    Ok((over.is_some(), drained))
}

fn read(event: Value) -> Drained {
    serde_json::from_value(event).unwrap_or_default()
}
