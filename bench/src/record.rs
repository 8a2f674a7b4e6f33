//! The record of one bench: everything a reader needs to believe a figure or to doubt it, as versioned
//! JSON. Schema "sirocco.record/1"; docs/benchmarking.md describes each field. It computes nothing but
//! ratios of what it holds; the verdict is beside it. Written by the bench, read by whoever compares.

pub mod curve;
mod limit;
mod load;
mod sessions;
pub mod stages;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sirocco_dispatch::load::Offered;

use crate::ceiling::Ceiling;
use crate::host::{CpuTicks, Host};
use crate::scenario::Scenario;
use crate::statistics::Spread;
use crate::together::figures::GeneratorFigures;
use crate::verdict::Verdict;
use crate::verify::Verification;

pub use limit::{BaselineFigures, Ending, Judgement, LimitFigures, ProbeFigures, Purpose};
pub use load::{LoadFigures, LoadPoint, Recovery, ReplayFigures, ReplayedRun, SegmentFigures};
pub use sessions::{
    FloodFigures, HoldFigures, ModeFigures, OutcomeFigures, SessionFigures, SessionRun, SippFigures,
};

/// Version of the form below; it changes when a field changes its meaning.
pub const SCHEMA: &str = "sirocco.record/1";

/// One bench, from its scenario to its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Seed of population, order and behaviour.
    pub seed: u64,
    /// Commit of the checkout, `-dirty` when files differ from it; empty outside a checkout.
    pub commit: String,
    /// Version of the program.
    pub version: String,
    /// When the bench began, in seconds since 1970-01-01 UTC.
    pub started_unix_s: u64,
    /// Wall time of the whole bench in seconds.
    pub took_s: f64,
    /// The command line.
    pub command_line: Vec<String>,
    /// The machine.
    pub host: Host,
    /// Core of the engine's worker and of the loadgen's.
    pub cores: [usize; 2],
    /// CPU ticks of the machine between begin and end, and those stolen by a hypervisor.
    pub cpu_ticks: CpuTicks,
    /// The scenario in force, with all its settings.
    pub config: Scenario,
    /// User identities in the index.
    pub identities: u64,
    /// Devices in the index.
    pub devices: u64,
    /// Memory of the index in bytes.
    pub index_bytes: u64,
    /// Time to generate or load the population, in milliseconds.
    pub population_ms: u64,
    /// Figures of the engine: medians over the repetitions at the scenario's rate.
    pub engine: EngineFigures,
    /// Answered SIRs a second of wall time: the median of the repetitions.
    pub sirs_per_s: f64,
    /// The same, with every repetition.
    pub sirs_per_s_spread: Spread,
    /// Answer latency in microseconds from the due time; `None` when no open-loop run was made.
    pub latency_us: Option<Latency>,
    /// Ceilings of the same run.
    pub ceiling: Option<Ceiling>,
    /// `sirs_per_s` as a share of the ceiling that applies: trains, or single datagrams for `direct`.
    pub ceiling_share: Option<f64>,
    /// CPU time of a raw message as a share of the engine's CPU time for a SIR: the same question, less
    /// disturbed by whatever else the machine does.
    pub ceiling_cpu_share: Option<f64>,
    /// Figures of the loadgen, or of all together.
    pub loadgen: LoadgenFigures,
    /// Each loadgen by itself; none in older records.
    #[serde(default)]
    pub generators: Vec<GeneratorFigures>,
    /// The ledger over the whole life of the engine process, all runs together.
    pub ledger: LedgerFigures,
    /// Result of the pass that compares SIR by SIR, where asked for.
    pub verify: Option<Verification>,
    /// Figures of sessions, where orders bring a content.
    #[serde(default)]
    pub sessions: Option<SessionFigures>,
    /// Sessions held open, in a scenario that holds them.
    #[serde(default)]
    pub hold: Option<HoldFigures>,
    /// What a flood cost, in a scenario that has one.
    #[serde(default)]
    pub flood: Option<FloodFigures>,
    /// The addressing modes side by side, in a scenario that compares them.
    #[serde(default)]
    pub addressing: Vec<ModeFigures>,
    /// How SIRs ended, in a scenario that judges each.
    #[serde(default)]
    pub outcome: Option<OutcomeFigures>,
    /// SIPp in the same run, where asked for.
    #[serde(default)]
    pub sipp: Option<SippFigures>,
    /// What a replay offered beside what was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayFigures>,
    /// The greatest rate that meets a criterion, where it was looked for.
    #[serde(default)]
    pub limit: Option<LimitFigures>,
    /// Where the worker's wall time went in the runs at the scenario's rate; none in older records.
    #[serde(default)]
    pub stages: Option<stages::StageFigures>,
    /// What the processes said about limits met and features missing.
    pub notices: Vec<String>,
    /// Every measured run in its order.
    pub runs: Vec<RunFigures>,
    /// Whether the figures can be used, and whether all checks passed.
    pub verdict: Verdict,
    /// The last report of each process as it came.
    pub reports: BTreeMap<String, Value>,
}

/// What the engine's worker did in the measured windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineFigures {
    /// First transmissions.
    pub sirs_sent: u64,
    /// SIRs closed by a final response.
    pub sirs_answered: u64,
    /// SIRs that failed, by cause.
    pub sirs_failed: BTreeMap<String, u64>,
    /// Transmissions by Timer E.
    pub retransmissions: u64,
    /// CPU nanoseconds of the worker thread for each answered SIR (in scenario `null`: each rendered).
    pub cpu_ns_per_sir: f64,
    /// The same, with every repetition.
    pub cpu_ns_per_sir_spread: Spread,
    /// System calls for each answered SIR.
    pub syscalls_per_sir: f64,
    /// Bytes the engine wrote into send slabs for each SIR sent.
    pub bytes_written_per_sir: f64,
    /// Heap allocations of the worker thread for each SIR sent.
    pub allocations_per_sir: f64,
    /// Mean SIRs in one train sent.
    pub segments_per_train: f64,
    /// Mean length of a SIR as sent, in bytes.
    pub request_bytes: f64,
    /// Mean length of a response as received, in bytes.
    pub response_bytes: f64,
}

/// Answer latency in microseconds, from the time a SIR was due to its final response. SIRs without a
/// response count with the time that they were waited for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Offered SIRs a second in the run that gave it.
    pub offered_per_s: f64,
    /// SIRs counted.
    pub count: u64,
    /// Median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// Longest.
    pub max: f64,
    /// The whole distribution, as it is drawn: that share of the SIRs took less than this time; empty in
    /// older records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<(f64, f64)>,
}

/// Lag in microseconds: how late something was done that was due.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// Median.
    pub p50: f64,
    /// 99 %.
    pub p99: f64,
    /// Longest.
    pub max: f64,
}

/// What the loadgen saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadgenFigures {
    /// Distinct SIRs received.
    pub sirs_received: u64,
    /// Responses sent.
    pub responses_sent: u64,
    /// How late its answers left against when they were due.
    pub lag_us: Lag,
    /// CPU nanoseconds of its worker for each SIR received.
    pub cpu_ns_per_sir: f64,
    /// Datagrams it dropped, by cause.
    pub dropped: BTreeMap<String, u64>,
}

/// The ledger: accepted = delivered + stored + failed + expired + cancelled + in flight + residue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerFigures {
    /// Targets taken from orders.
    pub accepted: u64,
    /// Targets whose device took the SIR.
    pub delivered: u64,
    /// Targets answered 202.
    pub stored: u64,
    /// Targets that failed, all causes.
    pub failed: u64,
    /// Targets whose deadline passed.
    pub expired: u64,
    /// Targets that a drain or stop ended.
    pub cancelled: u64,
    /// Targets still open.
    pub in_flight: u64,
    /// What is missing; anything but 0 fails the run.
    pub residue: i64,
}

impl LedgerFigures {
    /// Recomputes the residue from the other figures, so that no process is believed on its sum.
    #[must_use]
    pub fn balanced(self) -> Self {
        let settled = self.delivered + self.stored + self.failed + self.expired + self.cancelled;
        let residue = i128::from(self.accepted) - i128::from(settled + self.in_flight);
        Self {
            residue: i64::try_from(residue).unwrap_or(i64::MAX),
            ..self
        }
    }
}

/// One measured run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunFigures {
    /// `max`, the offered rate, or `load` where it had a shape.
    pub rate: String,
    /// What it was for: `rate` or `latency`.
    pub purpose: String,
    /// Wall nanoseconds of the measured window.
    pub wall_ns: u64,
    /// CPU nanoseconds of the worker in it.
    pub cpu_ns: u64,
    /// Answered SIRs a second (scenario `null`: rendered).
    pub sirs_per_s: f64,
    /// How late the order source was against the schedule, in microseconds.
    pub order_lag_us: Lag,
    /// Latency in this run.
    pub latency_us: Latency,
    /// What the whole run offered, warm-up included: the digest of its schedule and changes made live.
    #[serde(default)]
    pub offered: Offered,
    /// The course of a load with a shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadFigures>,
    /// The engine's figures in this run.
    pub engine: EngineFigures,
    /// Where the worker's wall time went in this run.
    #[serde(default)]
    pub stages: Option<stages::StageFigures>,
    /// Sessions in this run, where orders bring a content.
    #[serde(default)]
    pub sessions: Option<SessionRun>,
}

impl RunFigures {
    /// Whether it was made at the scenario's own rate or count, for the figures of the record: neither for
    /// the latency nor under a flood.
    #[must_use]
    pub fn is_rated(&self) -> bool {
        ["rate", "counted"].contains(&self.purpose.as_str())
    }
}

impl Record {
    /// Writes the record as pretty JSON, creating the folder; a reader never sees half a file.
    ///
    /// # Errors
    /// The system's, when folder or file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_json(path, self)
    }
}

/// Writes `value` as pretty JSON beside `path` and renames it into place.
///
/// # Errors
/// The system's, when folder or file cannot be written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder)?;
    }
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A record in which everything is right.
    pub fn sound() -> Record {
        let config = Scenario::find("dispatch").unwrap();
        let ledger = LedgerFigures {
            accepted: 10,
            delivered: 10,
            ..LedgerFigures::default()
        };
        Record {
            schema: SCHEMA.to_owned(),
            scenario: config.name.clone(),
            seed: config.seed,
            commit: "0123456789ab".to_owned(),
            version: "0.1.0".to_owned(),
            started_unix_s: 1,
            took_s: 30.0,
            command_line: vec!["sirocco".to_owned(), "bench".to_owned()],
            host: Host::default(),
            cores: [0, 1],
            cpu_ticks: CpuTicks {
                steal: 0,
                total: 100,
            },
            config,
            identities: 10,
            devices: 25,
            index_bytes: 1000,
            population_ms: 1,
            engine: EngineFigures {
                sirs_sent: 10,
                sirs_answered: 10,
                segments_per_train: 60.0,
                ..EngineFigures::default()
            },
            sirs_per_s: 2e6,
            sirs_per_s_spread: Spread::of(vec![2e6, 1.9e6, 2.1e6]),
            latency_us: Some(Latency {
                offered_per_s: 1e6,
                p99: 800.0,
                ..Latency::default()
            }),
            ceiling: None,
            ceiling_share: None,
            ceiling_cpu_share: None,
            loadgen: LoadgenFigures {
                sirs_received: 10,
                ..LoadgenFigures::default()
            },
            generators: Vec::new(),
            ledger,
            verify: None,
            sessions: None,
            hold: None,
            flood: None,
            addressing: Vec::new(),
            outcome: None,
            sipp: None,
            replay: None,
            limit: None,
            stages: None,
            notices: Vec::new(),
            runs: vec![RunFigures {
                rate: "max".to_owned(),
                purpose: "rate".to_owned(),
                ..Default::default()
            }],
            verdict: Verdict::default(),
            reports: BTreeMap::new(),
        }
    }

    #[test]
    fn a_record_survives_its_file() {
        let folder = std::env::temp_dir().join(format!("sirocco-record-{}", std::process::id()));
        let path = folder.join("deep/latest.json");
        let record = sound();
        record.write(&path).unwrap();
        let read: Record = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(read, record);
        assert!(!folder.join("deep/latest.json.draft").exists());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_published_names_are_there() {
        let json = serde_json::to_value(sound()).unwrap();
        for path in [
            "/schema",
            "/scenario",
            "/seed",
            "/commit",
            "/host/cpu_model",
            "/engine/sirs_sent",
            "/engine/sirs_answered",
            "/engine/sirs_failed",
            "/engine/retransmissions",
            "/engine/cpu_ns_per_sir",
            "/engine/syscalls_per_sir",
            "/engine/bytes_written_per_sir",
            "/engine/allocations_per_sir",
            "/engine/segments_per_train",
            "/sirs_per_s",
            "/latency_us/p50",
            "/latency_us/p999",
            "/latency_us/max",
            "/ceiling",
            "/ceiling_share",
            "/loadgen/lag_us/p99",
            "/ledger/residue",
            "/verdict/valid",
            "/verdict/reasons",
        ] {
            assert!(json.pointer(path).is_some(), "{path}");
        }
    }

    #[test]
    fn the_residue_is_recomputed_and_signed() {
        let ledger = LedgerFigures {
            accepted: 10,
            delivered: 7,
            failed: 1,
            in_flight: 1,
            ..Default::default()
        };
        assert_eq!(ledger.clone().balanced().residue, 1);
        assert_eq!(
            LedgerFigures {
                stored: 3,
                ..ledger
            }
            .balanced()
            .residue,
            -2
        );
    }
}
