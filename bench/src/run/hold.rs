//! Sessions built up and held open: how many at once, and what each costs in memory, as the engine
//! counts its tables and as the kernel counts the process. Called by `plan`.

use std::time::{Duration, Instant};

use super::counted::{self, Count};
use super::figures;
use super::plan::{Bench, PlanError};
use super::results::Results;
use crate::record::HoldFigures;

/// Runs the scenario.
///
/// # Errors
/// When a side fails or the user interrupts.
pub fn run(bench: &Bench<'_>) -> Result<Results, PlanError> {
    let mut results = Results::default();
    let Some(hold) = &bench.scenario.hold else {
        return Ok(results);
    };
    let mut stage = bench.stage()?;
    results.ready = bench.launch(&mut stage)?;
    let before = stage.resident();
    bench.phase(format!("building {} sessions up", hold.sessions));
    let begin = Instant::now();
    let count = Count {
        orders: hold.sessions,
        rate: bench.scenario.runs.rate,
        limit: Duration::from_millis(hold.build_ms_max),
        holds: true,
    };
    let drained = counted::run(bench, &mut stage, count)?;
    let built_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    let after = stage.resident();
    let book = |name: &str| drained.sessions.get(name).copied().unwrap_or(0);
    let open = u64::try_from(book("open")).unwrap_or(0);
    let each = |bytes: u64| bytes as f64 / open.max(1) as f64;
    results.hold = Some(HoldFigures {
        wanted: hold.sessions,
        open,
        built_ms,
        table_bytes_per_session: drained.session_bytes as f64 / open.max(1) as f64,
        resident_bytes_per_session: each(after[0].saturating_sub(before[0])),
        loadgen_resident_bytes_per_session: each(after[1].saturating_sub(before[1])),
    });
    results
        .runs
        .push(figures::counted(&drained.measured, bench.scenario));
    results.take(&drained);
    bench.phase("ending all sessions");
    bench.finish(&mut stage, &mut results)?;
    Ok(results)
}
