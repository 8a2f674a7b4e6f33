//! A run of so many orders, marked from its first SIR to its last session, so that what is counted is
//! every one of them and nothing else. Called by `hold`, `judged` and `addressing`.

use std::time::{Duration, Instant};

use super::child::Side;
use super::plan::{Bench, PlanError};
use super::stage::Stage;
use crate::quantity::Rate;
use crate::role::protocol::{Drained, EngineCommand, LoadRequest};

/// Time between two looks at what is still open.
const LOOK: Duration = Duration::from_millis(200);

/// Time for the engine to answer; a schedule of millions takes seconds to make.
const PROMPT: Duration = Duration::from_secs(60);

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    /// Orders, one identity each.
    pub orders: u64,
    /// Orders a second.
    pub rate: Rate,
    /// Longest time for all of them.
    pub limit: Duration,
    /// Whether sessions stay open when they are built.
    pub holds: bool,
}

/// Runs the orders and waits until their sessions are over, or built where they are held; what is still
/// missing when the time is over is missing in the books.
///
/// # Errors
/// When a side fails or the user interrupts.
pub fn run(bench: &Bench<'_>, stage: &mut Stage, count: Count) -> Result<Drained, PlanError> {
    let watch = &mut bench.watch();
    let load = LoadRequest {
        seed: bench.scenario.seed,
        wanted: bench.scenario.wanted,
        rate: match count.rate {
            Rate::Max => None,
            Rate::PerSecond(orders) => Some(orders as f64),
        },
        orders_max: Some(count.orders),
        order: bench.scenario.order_fields(),
        arrivals: bench.scenario.runs.arrivals,
        ..LoadRequest::default()
    };
    let tell =
        |stage: &mut Stage, command: EngineCommand| stage.tell(Side::Engine, &command.line());
    let accepted = books(bench, stage)?.ledger.accepted;
    tell(stage, EngineCommand::Mark)?;
    let loadgen_cpu_ns = stage.generators_cpu_ns()?;
    tell(stage, EngineCommand::Load(load))?;
    stage.wait((Side::Engine, "loaded"), "making a schedule", PROMPT, watch)?;
    let awaited = Awaited {
        accepted: accepted + count.orders,
        holds: count.holds,
    };
    settle(bench, stage, awaited, count.limit)?;
    let loadgen_cpu_ns = stage.generators_cpu_ns()?.saturating_sub(loadgen_cpu_ns);
    tell(stage, EngineCommand::Unmark)?;
    tell(stage, EngineCommand::EndLoad)?;
    let mut drained = books(bench, stage)?;
    drained.measured.loadgen_cpu_ns = loadgen_cpu_ns;
    Ok(drained)
}

/// What has to be there before a run counts as over.
#[derive(Clone, Copy, Debug)]
pub struct Awaited {
    /// Units taken since the engine's start.
    pub accepted: u64,
    /// Whether sessions stay open when they are built.
    pub holds: bool,
}

/// Waits until all SIRs are settled and their sessions over, at most for `limit`; the books then.
///
/// # Errors
/// When a side fails or the user interrupts.
pub fn settle(
    bench: &Bench<'_>,
    stage: &mut Stage,
    awaited: Awaited,
    limit: Duration,
) -> Result<Drained, PlanError> {
    let until = Instant::now() + limit;
    let mut before = None;
    loop {
        stage.run_for(LOOK, "working off its orders", &mut bench.watch())?;
        let books = books(bench, stage)?;
        let now = settled(&books, awaited);
        if (now.is_some() && now == before) || Instant::now() >= until {
            return Ok(books);
        }
        before = now;
    }
}

/// What the engine's books say now.
fn books(bench: &Bench<'_>, stage: &mut Stage) -> Result<Drained, PlanError> {
    stage.tell(Side::Engine, &EngineCommand::Books.line())?;
    let wait = (Side::Engine, "drained");
    let drained = stage.wait(wait, "showing its books", PROMPT, &mut bench.watch())?;
    Ok(serde_json::from_value(drained).unwrap_or_default())
}

/// How many sessions were opened, once all SIRs are settled and nothing is open or awaited; a session
/// may still be on its way, so two looks have to agree.
fn settled(books: &Drained, awaited: Awaited) -> Option<i64> {
    let (ledger, session) = (&books.ledger, |name: &str| {
        books.sessions.get(name).copied().unwrap_or(0)
    });
    let waiting = books.pushes.get("waiting").copied().unwrap_or(0);
    let quiet = waiting == 0 && (awaited.holds || session("open") == 0);
    let taken = ledger.accepted >= awaited.accepted && ledger.in_flight == 0;
    (taken && quiet).then(|| session("delivered") + session("opened"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_over_when_nothing_is_open_or_awaited() {
        let count = Awaited {
            accepted: 10,
            holds: false,
        };
        let mut books = Drained::default();
        assert_eq!(settled(&books, count), None);
        (books.ledger.accepted, books.ledger.delivered) = (10, 10);
        books.sessions.insert("opened".to_owned(), 10);
        assert_eq!(settled(&books, count), Some(10));
        books.sessions.insert("open".to_owned(), 1);
        assert_eq!(settled(&books, count), None);
        let held = Awaited {
            holds: true,
            ..count
        };
        assert_eq!(settled(&books, held), Some(10));
        books.pushes.insert("waiting".to_owned(), 1);
        assert_eq!(settled(&books, held), None);
    }
}
