//! What a bench runs, in its order: population, then measurement and ceiling in turn so that both see
//! the same machine, then an open-loop run at half the median rate for the latency, then the pass of
//! `--verify` with processes of its own. Scenarios that hold, judge or compare run by `hold`, `judged`
//! and `addressing` instead, which use the parts here. Called by `run::start`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::Receiver;
use serde_json::Value;

use super::child::Side;
use super::control::{self, Action, Control};
use super::counted::{self, Awaited};
use super::figures::{self, Purpose};
use super::flood::Flood;
use super::launch::{self, Cores, Folder, Records};
use super::results::{Results, record};
use super::sipp::{self, Sipp};
use super::stage::{Stage, StageError};
use super::{addressing, checked, hold, judged, people, replay, shaped};
use crate::ceiling::cycle::CycleGauge;
use crate::ceiling::{self, CeilingSpec, Gauge, Probes, Timing};
use crate::cli::BenchArgs;
use crate::find;
use crate::host::{CpuTicks, Host};
use crate::progress::Progress;
use crate::quantity::Rate;
use crate::record::{Record, RunFigures};
use crate::role::protocol::{Drained, EngineCommand, EngineReady, LoadRequest, Measured};
use crate::scenario::{Place, Scenario, Wanted};
use crate::statistics::Spread;
use crate::together::{self, Generators};
use crate::verdict;
use crate::watch::server;

/// Time for a child to answer a command at once.
const PROMPT: Duration = Duration::from_secs(10);

/// Time for the engine to shuffle the identities of a schedule: tens of millions in seconds.
pub const LOADED: Duration = Duration::from_secs(60);

/// Time that a drain may take beyond what the scenario allows before the engine counts as dead.
pub const DRAIN_GRACE: Duration = Duration::from_secs(10);

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
    /// The recorded run cannot be made again.
    #[error(transparent)]
    Replay(#[from] replay::ReplayError),
    /// SIPp could not be run beside.
    #[error(transparent)]
    Sipp(#[from] sipp::SippError),
    /// The reports of generators do not add up.
    #[error("the generators' reports: {0}")]
    Sum(#[from] sirocco_loadgen::SumError),
    /// A population could not be written.
    #[error("writing a population: {0}")]
    Population(#[from] sirocco_index::population::GenerateError),
}

/// Runs the scenario and returns its record, with a verdict.
///
/// # Errors
/// [`PlanError`], when there is nothing to publish.
pub fn run(
    scenario: Scenario,
    args: &BenchArgs,
    (cores, generators): (Cores, &Generators),
) -> Result<Record, PlanError> {
    let begin = Instant::now();
    let (host, ticks) = (Host::read(), CpuTicks::read());
    let started = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let interrupted = interrupts()?;
    let folder = Folder::make().map_err(|error| system("making target/sirocco", error))?;
    let progress = RefCell::new(Progress::new(args.quiet));
    if let Some(address) = args.metrics {
        let latest = progress.borrow().latest();
        let served = server::serve(address, move || latest.read());
        server::tell(served.map_err(|error| system("opening the address of --metrics", error))?);
    }
    let (control, actions) = control::channel();
    let _socket = listen(args, &control)?;
    let mut staged = people::staged(&scenario, &folder)?;
    if args.sipp {
        // CPU times are compared: neither side may burn any by waiting.
        staged.loadgen.insert("idle".to_owned(), "wait".into());
    }
    let bench = Bench {
        scenario: &staged,
        cores,
        generators,
        folder: &folder,
        progress: &progress,
        interrupted: &interrupted,
        actions: &actions,
        record_run: args.record_run.as_deref(),
        record_orders: args.record_orders,
        surveys: args.record_run.is_some() || args.replay.is_some(),
    };
    let results = if let Some(path) = &args.replay {
        replay::run(&bench, &replay::RunFile::read(path)?)?
    } else if args.find.find_max {
        find::run(&bench, args)?
    } else if scenario.addressing.is_some() {
        addressing::run(&bench)?
    } else if scenario.outcome.is_some() {
        judged::run(&bench)?
    } else if scenario.hold.is_some() {
        hold::run(&bench)?
    } else {
        let sipp = args.sipp.then(|| Sipp::find(&folder, cores)).transpose()?;
        // What joins from elsewhere does not share a loopback with the probes.
        bench.measure(!args.no_ceiling && !generators.join(), sipp)?
    };
    if let Some(path) = &args.record_run {
        replay::write(path, &scenario, &results)?;
    }
    let verify = match args.verify {
        true => Some(checked::run(
            &scenario,
            (cores, generators),
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

/// An error of the system with what was being done.
pub fn system(what: &'static str, error: io::Error) -> PlanError {
    PlanError::System { what, error }
}

/// Opens what `--control` asks for; it is there for as long as what this returns.
fn listen(args: &BenchArgs, control: &Control) -> Result<Option<control::Socket>, PlanError> {
    let Some(path) = &args.control else {
        return Ok(None);
    };
    control::listen(path, control).map_err(|error| system("opening the socket of --control", error))
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

/// What every run needs.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// What is run.
    pub scenario: &'a Scenario,
    /// The cores of both sides.
    pub cores: Cores,
    /// The load generators.
    pub generators: &'a Generators,
    /// Where files go.
    pub folder: &'a Folder,
    /// What people see.
    pub progress: &'a RefCell<Progress>,
    /// Set by Ctrl-C.
    pub interrupted: &'a Arc<AtomicBool>,
    /// Changes while it runs, from every [`Control`].
    pub actions: &'a Receiver<Action>,
    /// Where the run is recorded.
    pub record_run: Option<&'a Path>,
    /// Whether its orders are.
    pub record_orders: bool,
    /// Whether it is told who is in the index.
    pub surveys: bool,
}

/// Both gauges of a bench, once they are calibrated.
#[derive(Default)]
pub struct Gauges {
    messages: Option<Gauge>,
    cycles: Option<CycleGauge>,
}

impl Gauges {
    /// Keeps what they measured among the results.
    pub fn into_results(self, results: &mut Results) {
        results.ceiling = self.messages.map(|gauge| gauge.ceiling());
        if let (Some(ceiling), Some(cycles)) = (&mut results.ceiling, self.cycles) {
            ceiling.cycle = Some(cycles.ceiling());
        }
    }
}

impl Bench<'_> {
    /// Adds to a load what is to be kept of it.
    pub fn keep(&self, load: &mut LoadRequest, results: &Results) {
        load.survey = self.surveys;
        let path = self.record_run.filter(|_| self.record_orders);
        load.orders_file = path.and_then(|path| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{}.orders", results.recorded.len() + 1));
            // The engine runs in the same folder; an absolute path needs none.
            std::path::absolute(name).ok()
        });
    }

    /// Tells people what begins.
    pub fn phase(&self, text: impl Into<String>) {
        self.progress.borrow_mut().phase(text);
    }

    /// What is called with news of both sides.
    pub fn watch(&self) -> impl FnMut(&HashMap<Side, Value>) {
        |sides| self.progress.borrow_mut().news(sides)
    }

    fn measure(&self, with_ceiling: bool, mut sipp: Option<Sipp>) -> Result<Results, PlanError> {
        let mut stage = self.stage()?;
        let mut results = Results {
            ready: self.launch(&mut stage)?,
            ..Results::default()
        };
        let mut gauges = Gauges::default();
        let (scenario, cores) = (self.scenario, self.cores);
        for repetition in 1..=scenario.runs.repetitions {
            if stage.is_stopped() {
                break;
            }
            let runs = &scenario.runs;
            let of = format!("run {repetition} of {}", runs.repetitions);
            let measured = if let Some(shape) = &runs.load {
                self.phase(format!("{of}: {shape}"));
                shaped::run(self, &mut stage, shape, &mut results)?
            } else {
                self.phase(format!("{of} at {}", runs.rate));
                let what = (runs.rate, Purpose::Rate);
                self.measure_once(&mut stage, what, runs.measured_ms, &mut results)?
            };
            if with_ceiling && scenario.place != Place::Nowhere && !cores.shared() {
                self.phase("ceiling: raw messages of the same lengths, no Sirocco code");
                self.gauge(&mut stage, &mut gauges, &measured)?;
            }
            if let Some(sipp) = &mut sipp {
                self.phase("SIPp: the same flow between two of them");
                stage.pause();
                let ran = sipp.repeat();
                stage.resume();
                ran?;
            }
        }
        gauges.into_results(&mut results);
        let latency_rate = self.latency_rate(&results.runs);
        if let Some(rate) = latency_rate.filter(|_| !stage.is_stopped()) {
            self.phase(format!("latency, open loop at {rate} SIRs/s"));
            let length = scenario.runs.latency_ms;
            self.measure_once(&mut stage, (rate, Purpose::Latency), length, &mut results)?;
        }
        self.phase("stopping");
        self.finish(&mut stage, &mut results)?;
        results.sipp = sipp.map(|sipp| sipp.figures(&results.runs));
        results.flood = super::flood::figures(&results.runs, &results.sessions);
        Ok(results)
    }

    /// One measured run, kept among the results; under a flood, one without it before.
    ///
    /// # Errors
    /// When a side fails or the user interrupts.
    pub fn measure_once(
        &self,
        stage: &mut Stage,
        (rate, purpose): (Rate, Purpose),
        length: u64,
        results: &mut Results,
    ) -> Result<Measured, PlanError> {
        let floods = self.scenario.flood.as_ref().map(|flood| flood.times);
        for times in std::iter::once(None).chain(floods.map(Some)) {
            let flood = match times {
                Some(times) => {
                    self.phase(format!(
                        "the same with {times} forged INVITEs for each session"
                    ));
                    Some(Flood::start(&results.ready.address, rate, times)?)
                }
                None => None,
            };
            let measured = self.run_once(stage, rate, length, results)?;
            let forged = flood.map_or((0, 0.0), Flood::stop);
            let purpose = if forged.0 > 0 {
                Purpose::Flood
            } else {
                purpose
            };
            let mut run = figures::run(&measured, self.scenario.place, rate, purpose);
            if self.scenario.has_sessions() {
                run.sessions = Some(figures::sessions(&measured, rate, forged));
            }
            results.runs.push(run);
            if times.is_some() || floods.is_none() {
                return Ok(measured);
            }
        }
        Ok(Measured::default())
    }

    /// An empty stage of this program.
    ///
    /// # Errors
    /// When the program cannot be found.
    pub fn stage(&self) -> Result<Stage, PlanError> {
        let program =
            std::env::current_exe().map_err(|error| system("finding this program", error))?;
        let mut stage = Stage::new(program, Arc::clone(self.interrupted));
        stage.listen(self.actions.clone());
        Ok(stage)
    }

    /// Starts both sides and waits until they are ready.
    ///
    /// # Errors
    /// When one is not.
    pub fn launch(&self, stage: &mut Stage) -> Result<EngineReady, PlanError> {
        self.phase(match &self.generators.gathering {
            Some(gathering) => format!(
                "waiting for {} generators to join {}",
                self.generators.count,
                gathering
                    .address()
                    .map_or(String::new(), |address| address.to_string())
            ),
            None => "starting the loadgen and loading the population".to_owned(),
        });
        let files = (&Records::default(), self.folder);
        let watch = &mut self.watch();
        Ok(launch::start(
            stage,
            self.scenario,
            (self.cores, self.generators),
            files,
            watch,
        )?)
    }

    /// Half the median of the runs at full speed, where the scenario wants a latency run.
    fn latency_rate(&self, runs: &[RunFigures]) -> Option<Rate> {
        let asked = &self.scenario.runs;
        if asked.latency_ms == 0 || asked.rate != Rate::Max || asked.load.is_some() {
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
        let mut load = LoadRequest {
            // Each run goes through the identities in another order.
            seed: scenario.seed + results.runs.len() as u64,
            wanted: scenario.wanted,
            rate: self.orders_per_s(rate, &results.ready),
            sirs_per_order: Some(self.sirs_per_order(&results.ready)),
            orders_max: None,
            order: scenario.order_fields(),
            arrivals: scenario.runs.arrivals,
            ..LoadRequest::default()
        };
        self.keep(&mut load, results);
        let tell =
            |stage: &mut Stage, command: EngineCommand| stage.tell(Side::Engine, &command.line());
        tell(stage, EngineCommand::Load(load.clone()))?;
        let loaded = stage.wait((Side::Engine, "loaded"), "making a schedule", LOADED, watch)?;
        results.meet(loaded);
        stage.let_steer(true);
        stage.run_for(
            Duration::from_millis(scenario.runs.warm_up_ms),
            "warming up",
            watch,
        )?;
        tell(stage, EngineCommand::Mark)?;
        let loadgen_cpu_ns = stage.generators_cpu_ns()?;
        stage.run_for(Duration::from_millis(measured_ms), "measuring", watch)?;
        tell(stage, EngineCommand::Unmark)?;
        let loadgen_cpu_ns = stage.generators_cpu_ns()?.saturating_sub(loadgen_cpu_ns);
        stage.let_steer(false);
        tell(stage, EngineCommand::EndLoad)?;
        tell(stage, EngineCommand::Drain)?;
        let limit = Duration::from_millis(scenario.runs.drain_ms_max) + DRAIN_GRACE;
        let drained = stage.wait((Side::Engine, "drained"), "draining", limit, watch)?;
        let mut drained: Drained = serde_json::from_value(drained).unwrap_or_default();
        if scenario.has_sessions() {
            // The last SIRs are answered, their sessions under way.
            let awaited = Awaited {
                accepted: drained.ledger.accepted,
                holds: false,
            };
            drained = counted::settle(self, stage, awaited, limit)?;
        }
        results.take(&drained);
        results.keep(load, &drained);
        Ok(Measured {
            loadgen_cpu_ns,
            ..drained.measured
        })
    }

    /// A rate is one of SIRs; the schedule offers identities, each of which takes one or several.
    fn orders_per_s(&self, rate: Rate, ready: &EngineReady) -> Option<f64> {
        let Rate::PerSecond(rate) = rate else {
            return None;
        };
        Some(rate as f64 / self.sirs_per_order(ready))
    }

    /// SIRs that an identity of a schedule stands for.
    #[must_use]
    pub fn sirs_per_order(&self, ready: &EngineReady) -> f64 {
        match self.scenario.wanted {
            Wanted::OneInTurn => 1.0,
            Wanted::All => (ready.devices as f64 / ready.identities.max(1) as f64).max(1.0),
        }
    }

    /// Runs the ceilings once more while both children stand still.
    ///
    /// # Errors
    /// The kernel's, when a probe cannot run.
    pub fn gauge(
        &self,
        stage: &mut Stage,
        gauges: &mut Gauges,
        measured: &Measured,
    ) -> Result<(), PlanError> {
        stage.pause();
        let repeated = self.repeat(gauges, measured);
        stage.resume();
        repeated.map_err(|error| system("measuring the ceiling", error))
    }

    fn repeat(&self, gauges: &mut Gauges, measured: &Measured) -> io::Result<()> {
        let spec = self.ceiling_spec(measured);
        let messages = match &mut gauges.messages {
            Some(gauge) => gauge,
            none => none.insert(Gauge::calibrate(spec)?),
        };
        messages.repeat()?;
        if self.scenario.has_sessions() {
            let cycles = match &mut gauges.cycles {
                Some(gauge) => gauge,
                none => none.insert(spec.cycles(figures::cycle_bytes(measured))?),
            };
            cycles.repeat()?;
        }
        Ok(())
    }

    /// The same lengths, train length and next hops as the run really had.
    fn ceiling_spec(&self, measured: &Measured) -> CeilingSpec {
        let engine = figures::run(measured, self.scenario.place, Rate::Max, Purpose::Rate).engine;
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

    /// Stops both sides and keeps what they say.
    ///
    /// # Errors
    /// When one says nothing.
    pub fn finish(&self, stage: &mut Stage, results: &mut Results) -> Result<(), PlanError> {
        let watch = &mut self.watch();
        let report = stage.dismiss(Side::Engine, PROMPT, watch)?;
        results.reports.insert("engine".to_owned(), report);
        let kept = self.folder.keep_flight();
        kept.map_err(|error| system("keeping the failures", error))?;
        if self.scenario.place != Place::Nowhere {
            let reports = launch::dismiss_generators(stage, PROMPT, watch)?;
            let together = together::figures::together(stage.members(), reports)?;
            results.loadgen = together.sum;
            for notice in &results.loadgen.notices {
                stage.notice(Side::Loadgen(0), notice);
            }
            results.reports.extend(together.reports);
            results.generators = together.each;
        }
        results.notices = stage.notices().to_vec();
        stage.end();
        Ok(())
    }
}
