//! What the runs of a bench bring, and the record made of it. Medians and shares only; nothing is
//! judged here. Filled by `plan` and by the runs of sessions beside it.

use std::collections::BTreeMap;

use serde_json::Value;
use sirocco_loadgen::LoadgenReport;

use super::figures;
use super::launch::Cores;
use super::replay::RecordedRun;
use crate::ceiling::{Ceiling, Probe};
use crate::host::{CpuTicks, Host, commit};
use crate::record::stages::StageFigures;
use crate::record::{
    FloodFigures, HoldFigures, LedgerFigures, LimitFigures, ModeFigures, OutcomeFigures, Record,
    ReplayFigures, RunFigures, SCHEMA, SessionFigures, SippFigures,
};
use crate::role::protocol::{Counters, Drained, EngineReady, LoadRequest, Loaded, Population};
use crate::scenario::{Place, Scenario};
use crate::together::figures::GeneratorFigures;
use crate::verdict::Verdict;
use crate::verify::Verification;

/// What the runs brought.
#[derive(Debug, Default)]
pub struct Results {
    /// What the engine said when it was ready.
    pub ready: EngineReady,
    /// Every measured run.
    pub runs: Vec<RunFigures>,
    /// Ceilings of the same run.
    pub ceiling: Option<Ceiling>,
    /// The last books of SIRs.
    pub ledger: LedgerFigures,
    /// The last books of sessions.
    pub sessions: Counters,
    /// The last books of pushes.
    pub pushes: Counters,
    /// The loadgens' reports, added.
    pub loadgen: LoadgenReport,
    /// Each loadgen.
    pub generators: Vec<GeneratorFigures>,
    /// The last report of each process as it came.
    pub reports: BTreeMap<String, Value>,
    /// What the processes said about limits.
    pub notices: Vec<String>,
    /// Sessions held open.
    pub hold: Option<HoldFigures>,
    /// What a flood cost.
    pub flood: Option<FloodFigures>,
    /// Addressing modes side by side.
    pub addressing: Vec<ModeFigures>,
    /// How SIRs ended.
    pub outcome: Option<OutcomeFigures>,
    /// SIPp in the same run.
    pub sipp: Option<SippFigures>,
    /// Who was there, where it was asked for.
    pub population: Population,
    /// Every load that was offered.
    pub recorded: Vec<RecordedRun>,
    /// What a replay offered.
    pub replay: Option<ReplayFigures>,
    /// The greatest rate that meets a criterion.
    pub limit: Option<LimitFigures>,
}

/// The loadgen's report without the name of its event.
#[must_use]
pub fn loadgen_report(event: &Value) -> LoadgenReport {
    serde_json::from_value(event.clone()).unwrap_or_default()
}

impl Results {
    /// Keeps the books that a drain shows.
    pub fn take(&mut self, drained: &Drained) {
        self.ledger = drained.ledger.clone();
        self.sessions = drained.sessions.clone();
        self.pushes = drained.pushes.clone();
    }

    /// Keeps who was there, as the engine says when a load is made.
    pub fn meet(&mut self, loaded: Value) {
        let loaded: Loaded = serde_json::from_value(loaded).unwrap_or_default();
        if let Some(population) = loaded.population {
            self.population = population;
        }
    }

    /// Keeps a load and what was offered of it.
    pub fn keep(&mut self, load: LoadRequest, drained: &Drained) {
        let offered = drained.measured.offered.clone();
        self.recorded.push(RecordedRun { load, offered });
    }

    /// The figures of sessions, where the scenario builds any.
    fn session_figures(&self, scenario: &Scenario, rated: &[RunFigures]) -> Option<SessionFigures> {
        if !scenario.has_sessions() {
            return None;
        }
        let mut figures = figures::combined_sessions(rated).booked(&self.sessions, &self.pushes);
        if let Some(probe) = self.cycle_probe(scenario.place) {
            let raw = probe.per_second.median.max(f64::MIN_POSITIVE);
            let cpu = figures.engine_cpu_ns_per_cycle.median;
            figures.ceiling_share = Some(figures.cycles_per_s / raw);
            figures.ceiling_cpu_share =
                Some(probe.cpu_ns_per_message.median / cpu.max(f64::MIN_POSITIVE));
        }
        let open_loop = self
            .runs
            .iter()
            .rev()
            .filter_map(|run| run.sessions.as_ref());
        figures.setup_us = open_loop
            .map(|run| run.setup_us.clone())
            .find(|setup| setup.offered_per_s > 0.0 && setup.count > 0);
        let received = self
            .reports
            .get("loadgen")
            .map(|report| &report["sessions"]);
        let count = |name: &str| received.and_then(|s| s[name].as_i64()).unwrap_or(0);
        figures.contents_received = count("contents");
        figures.contents_corrupt = count("contents_corrupt");
        Some(figures)
    }

    fn cycle_probe(&self, place: Place) -> Option<&Probe> {
        let cycle = self.ceiling.as_ref()?.cycle.as_ref()?;
        match place {
            Place::Edges => cycle.trains.as_ref(),
            Place::Direct => cycle.datagrams.as_ref(),
            Place::Nowhere => None,
        }
    }

    fn rated(&self) -> Vec<RunFigures> {
        self.runs
            .iter()
            .filter(|run| run.is_rated())
            .cloned()
            .collect()
    }
}

/// The record of a bench, without the machine, the times and the verdict.
#[must_use]
pub fn record(
    scenario: Scenario,
    cores: Cores,
    results: Results,
    verify: Option<Verification>,
) -> Record {
    let rated = results.rated();
    let (engine, rate) = figures::combined(&rated);
    let stages = StageFigures::sum(rated.iter().filter_map(|run| run.stages.as_ref()));
    let cpu_ns_per_sir = engine.cpu_ns_per_sir;
    let sessions = results.session_figures(&scenario, &rated);
    let applies = match (&results.ceiling, scenario.place) {
        // A SIR is a ninth of a cycle: its share says nothing where cycles are run.
        _ if sessions.is_some() => None,
        (Some(ceiling), Place::Edges) => ceiling.gso_gro.as_ref(),
        (Some(ceiling), Place::Direct) => ceiling.datagram.as_ref(),
        (None, _) | (_, Place::Nowhere) => None,
    };
    let ceiling_share = applies.map(|probe| rate.median * probe.ns_per_message / 1e9);
    let raw_cpu_ns = applies.map(|probe| probe.cpu_ns_per_message.median);
    // The latency comes from an open-loop run: the one made for it, or the last rated one.
    let open = results
        .runs
        .iter()
        .rev()
        .find(|run| run.latency_us.offered_per_s > 0.0 && run.purpose != "flood");
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
        sessions,
        hold: results.hold,
        flood: results.flood,
        addressing: results.addressing,
        outcome: results.outcome,
        generators: results.generators,
        sipp: results.sipp,
        replay: results.replay,
        limit: results.limit,
        stages: Some(stages),
        notices: results.notices,
        runs: results.runs,
        verdict: Verdict::default(),
        reports: results.reports,
        config: scenario,
    }
}
