//! What a bench runs, in its order: population, then measurement and ceiling in turn so that both see
//! the same machine, then an open-loop run at half the median rate for the latency, then the pass of
//! `--verify` with processes of its own. Called by `run::start`.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sirocco_loadgen::LoadgenReport;

use super::checked;
use super::child::Side;
use super::figures::{self, Purpose};
use super::launch::{self, Cores, Folder, Records};
use super::stage::{Stage, StageError};
use crate::ceiling::{self, CeilingSpec, Gauge, Probes, Timing};
use crate::cli::BenchArgs;
use crate::host::{CpuTicks, Host, commit};
use crate::progress::Progress;
use crate::quantity::Rate;
use crate::record::{EngineFigures, LedgerFigures, Record, RunFigures, SCHEMA};
use crate::role::protocol::{Drained, EngineCommand, EngineReady, LoadRequest, Measured};
use crate::scenario::{Place, Scenario};
use crate::statistics::Spread;
use crate::verdict::{self, Verdict};
use crate::verify::Verification;

/// Time for a child to answer a command at once.
const PROMPT: Duration = Duration::from_secs(10);

/// Time for the engine to shuffle the identities of a schedule: tens of millions in seconds.
const LOADED: Duration = Duration::from_secs(60);

/// Time that a drain may take beyond what the scenario allows before the engine counts as dead.
const DRAIN_GRACE: Duration = Duration::from_secs(10);

/// Length of one ceiling probe: long against its variance, short against the bench.
const PROBE: Timing = Timing {
    warm_up: Duration::from_millis(100),
    length: Duration::from_millis(500),
};

/// Distinct device addresses of the datagram probe: more than a route cache or an L1 holds.
const PROBE_ADDRESSES: u32 = 4096;

/// Longest message of a ceiling probe in bytes.
const MESSAGE_BYTES_MAX: f64 = 1500.0;

/// Why a bench gives no record.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A child failed, or the user interrupted.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The system refused something the bench itself needs.
    #[error("{what}: {error}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The pass of `--verify` could not be made.
    #[error(transparent)]
    Checked(#[from] checked::CheckedError),
}

/// What the runs brought.
#[derive(Debug, Default)]
struct Results {
    ready: EngineReady,
    runs: Vec<RunFigures>,
    ceiling: Option<ceiling::Ceiling>,
    ledger: LedgerFigures,
    loadgen: LoadgenReport,
    reports: BTreeMap<String, Value>,
    notices: Vec<String>,
}

/// Runs the scenario and returns its record, with a verdict.
///
/// # Errors
/// [`PlanError`], when there is nothing to publish.
pub fn run(scenario: Scenario, args: &BenchArgs, cores: Cores) -> Result<Record, PlanError> {
    let begin = Instant::now();
    let (host, ticks) = (Host::read(), CpuTicks::read());
    let started = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let interrupted = interrupts()?;
    let folder = Folder::make().map_err(|error| system("making target/sirocco", error))?;
    let progress = RefCell::new(Progress::new(args.quiet));
    let bench = Bench {
        scenario: &scenario,
        cores,
        folder: &folder,
        progress: &progress,
    };
    let results = bench.measure(!args.no_ceiling, &interrupted)?;
    let verify = match args.verify {
        true => Some(checked::run(
            &scenario,
            cores,
            &folder,
            (&progress, &interrupted),
        )?),
        false => None,
    };
    progress.borrow().finish();
    let mut record = record(scenario, cores, results, verify);
    record.host = host;
    record.cpu_ticks = CpuTicks::read().since(&ticks);
    record.started_unix_s = started.as_secs();
    record.took_s = begin.elapsed().as_secs_f64();
    record.verdict = verdict::judge(&record, cores.shared());
    Ok(record)
}

fn system(what: &'static str, error: io::Error) -> PlanError {
    PlanError::System { what, error }
}

/// A flag that Ctrl-C and SIGTERM set; every wait looks at it.
fn interrupts() -> Result<Arc<AtomicBool>, PlanError> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&flag))
            .map_err(|error| system("listening to signals", error))?;
    }
    Ok(flag)
}

struct Bench<'a> {
    scenario: &'a Scenario,
    cores: Cores,
    folder: &'a Folder,
    progress: &'a RefCell<Progress>,
}

impl Bench<'_> {
    fn phase(&self, text: impl Into<String>) {
        self.progress.borrow_mut().phase(text);
    }

    fn watch(&self) -> impl FnMut(&HashMap<Side, Value>) {
        |sides| self.progress.borrow_mut().news(sides)
    }

    fn measure(
        &self,
        with_ceiling: bool,
        interrupted: &Arc<AtomicBool>,
    ) -> Result<Results, PlanError> {
        let mut stage = self.stage(interrupted)?;
        let mut results = Results::default();
        self.phase("starting the loadgen and loading the population");
        let files = (&Records::default(), self.folder);
        let (scenario, cores) = (self.scenario, self.cores);
        results.ready = launch::start(&mut stage, scenario, cores, files, &mut self.watch())?;
        let mut gauge = None;
        for repetition in 1..=scenario.runs.repetitions {
            let rate = scenario.runs.rate;
            self.phase(format!(
                "run {repetition} of {} at {rate}",
                scenario.runs.repetitions
            ));
            let measured =
                self.run_once(&mut stage, rate, scenario.runs.measured_ms, &mut results)?;
            results
                .runs
                .push(figures::run(&measured, scenario.place, rate, Purpose::Rate));
            if with_ceiling && scenario.place != Place::Nowhere && !cores.shared() {
                self.phase("ceiling: raw messages of the same lengths, no Sirocco code");
                self.gauge(&mut stage, &mut gauge, &results.runs[0].engine)?;
            }
        }
        results.ceiling = gauge.map(|gauge| gauge.ceiling());
        if let Some(rate) = self.latency_rate(&results.runs) {
            self.phase(format!("latency, open loop at {rate} SIRs/s"));
            let length = scenario.runs.latency_ms;
            let measured = self.run_once(&mut stage, rate, length, &mut results)?;
            results.runs.push(figures::run(
                &measured,
                scenario.place,
                rate,
                Purpose::Latency,
            ));
        }
        self.phase("stopping");
        self.finish(&mut stage, &mut results)?;
        Ok(results)
    }

    fn stage(&self, interrupted: &Arc<AtomicBool>) -> Result<Stage, PlanError> {
        let program =
            std::env::current_exe().map_err(|error| system("finding this program", error))?;
        Ok(Stage::new(program, Arc::clone(interrupted)))
    }

    /// Half the median of the runs at full speed, where the scenario wants a latency run.
    fn latency_rate(&self, runs: &[RunFigures]) -> Option<Rate> {
        if self.scenario.runs.latency_ms == 0 || self.scenario.runs.rate != Rate::Max {
            return None;
        }
        let median = Spread::of(runs.iter().map(|run| run.sirs_per_s).collect()).median;
        // An order is one SIR in turn, or as many as an identity has devices.
        let half = (median / 2.0) as u64;
        (half > 0).then_some(Rate::PerSecond(half))
    }

    /// One load: warm-up, measured window, drain.
    fn run_once(
        &self,
        stage: &mut Stage,
        rate: Rate,
        measured_ms: u64,
        results: &mut Results,
    ) -> Result<Measured, PlanError> {
        let (scenario, watch) = (self.scenario, &mut self.watch());
        let load = LoadRequest {
            // Each run goes through the identities in another order.
            seed: scenario.seed + results.runs.len() as u64,
            wanted: scenario.wanted,
            rate: self.orders_per_s(rate, &results.ready),
            orders_max: None,
        };
        let tell =
            |stage: &mut Stage, command: EngineCommand| stage.tell(Side::Engine, &command.line());
        tell(stage, EngineCommand::Load(load))?;
        stage.wait((Side::Engine, "loaded"), "making a schedule", LOADED, watch)?;
        stage.run_for(
            Duration::from_millis(scenario.runs.warm_up_ms),
            "warming up",
            watch,
        )?;
        tell(stage, EngineCommand::Mark)?;
        stage.run_for(Duration::from_millis(measured_ms), "measuring", watch)?;
        tell(stage, EngineCommand::Unmark)?;
        tell(stage, EngineCommand::EndLoad)?;
        tell(stage, EngineCommand::Drain)?;
        let limit = Duration::from_millis(scenario.runs.drain_ms_max) + DRAIN_GRACE;
        let drained = stage.wait((Side::Engine, "drained"), "draining", limit, watch)?;
        let drained: Drained = serde_json::from_value(drained).unwrap_or_default();
        results.ledger = drained.ledger;
        Ok(drained.measured)
    }

    /// A rate is one of SIRs; the schedule offers identities, each of which takes one or several.
    fn orders_per_s(&self, rate: Rate, ready: &EngineReady) -> Option<f64> {
        let Rate::PerSecond(rate) = rate else {
            return None;
        };
        let each = match self.scenario.wanted {
            crate::scenario::Wanted::OneInTurn => 1.0,
            crate::scenario::Wanted::All => {
                (ready.devices as f64 / ready.identities.max(1) as f64).max(1.0)
            }
        };
        Some(rate as f64 / each)
    }

    /// Runs the ceiling once more while both children stand still.
    fn gauge(
        &self,
        stage: &mut Stage,
        gauge: &mut Option<Gauge>,
        engine: &EngineFigures,
    ) -> Result<(), PlanError> {
        let failed = |error| system("measuring the ceiling", error);
        stage.pause();
        let gauge = match gauge {
            Some(gauge) => gauge,
            None => gauge.insert(Gauge::calibrate(self.ceiling_spec(engine)).map_err(failed)?),
        };
        let repeated = gauge.repeat().map_err(failed);
        stage.resume();
        repeated
    }

    /// The same lengths, train length and next hops as the run really had.
    fn ceiling_spec(&self, engine: &EngineFigures) -> CeilingSpec {
        let bytes = |mean: f64| mean.round().clamp(1.0, MESSAGE_BYTES_MAX) as u16;
        CeilingSpec {
            cores: ceiling::Cores {
                near: self.cores.engine,
                far: self.cores.loadgen,
            },
            request_bytes: bytes(engine.request_bytes),
            response_bytes: bytes(engine.response_bytes),
            train: engine.segments_per_train.round().clamp(1.0, 128.0) as u16,
            next_hops: self.scenario.next_hops,
            addresses: PROBE_ADDRESSES,
            timing: PROBE,
            probes: Probes::All,
        }
    }

    fn finish(&self, stage: &mut Stage, results: &mut Results) -> Result<(), PlanError> {
        let watch = &mut self.watch();
        let report = stage.dismiss(Side::Engine, PROMPT, watch)?;
        results.reports.insert("engine".to_owned(), report);
        if self.scenario.place != Place::Nowhere {
            let report = stage.dismiss(Side::Loadgen, PROMPT, watch)?;
            results.loadgen = loadgen_report(&report);
            results
                .loadgen
                .notices
                .iter()
                .for_each(|notice| stage.notice(Side::Loadgen, notice));
            results.reports.insert("loadgen".to_owned(), report);
        }
        results.notices = stage.notices().to_vec();
        stage.end();
        Ok(())
    }
}

/// The loadgen's report without the name of its event.
#[must_use]
pub fn loadgen_report(event: &Value) -> LoadgenReport {
    serde_json::from_value(event.clone()).unwrap_or_default()
}

fn record(
    scenario: Scenario,
    cores: Cores,
    results: Results,
    verify: Option<Verification>,
) -> Record {
    let rated: Vec<RunFigures> = results
        .runs
        .iter()
        .filter(|run| run.purpose == "rate")
        .cloned()
        .collect();
    let (engine, rate) = figures::combined(&rated);
    let cpu_ns_per_sir = engine.cpu_ns_per_sir;
    let applies = results
        .ceiling
        .as_ref()
        .and_then(|ceiling| match scenario.place {
            Place::Edges => ceiling.gso_gro.as_ref(),
            Place::Direct => ceiling.datagram.as_ref(),
            Place::Nowhere => None,
        });
    let ceiling_share = applies.map(|probe| rate.median * probe.ns_per_message / 1e9);
    let raw_cpu_ns = applies.map(|probe| probe.cpu_ns_per_message.median);
    // The latency comes from an open-loop run: the one made for it, or the last rated one.
    let open = results
        .runs
        .iter()
        .rev()
        .find(|run| run.latency_us.offered_per_s > 0.0);
    Record {
        schema: SCHEMA.to_owned(),
        scenario: scenario.name.clone(),
        seed: scenario.seed,
        commit: commit(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s: 0,
        took_s: 0.0,
        command_line: std::env::args().collect(),
        host: Host::default(),
        cores: [cores.engine, cores.loadgen],
        cpu_ticks: CpuTicks::default(),
        identities: results.ready.identities,
        devices: results.ready.devices,
        index_bytes: results.ready.index_bytes,
        population_ms: results.ready.load_ms,
        engine,
        sirs_per_s: rate.median,
        ceiling_share,
        ceiling_cpu_share: raw_cpu_ns.map(|ns| ns / cpu_ns_per_sir.max(f64::MIN_POSITIVE)),
        sirs_per_s_spread: rate,
        latency_us: open.map(|run| run.latency_us.clone()),
        ceiling: results.ceiling,
        loadgen: figures::loadgen(&results.loadgen),
        ledger: results.ledger.balanced(),
        verify,
        notices: results.notices,
        runs: results.runs,
        verdict: Verdict::default(),
        reports: results.reports,
        config: scenario,
    }
}
