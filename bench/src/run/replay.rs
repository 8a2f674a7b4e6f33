//! A run on file and the same run again: the scenario, a digest of the population, and of each load its
//! seed, its changes with their times and the digest of what was offered. From these the same orders are
//! due at the same times; a file of the orders themselves is the engine's to write. Called by `plan`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sirocco_dispatch::load::Offered;
use sirocco_schedule::Digest;

use super::figures::{self, Purpose};
use super::plan::{Bench, PlanError, system};
use super::results::Results;
use super::shaped;
use crate::quantity::Rate;
use crate::record::{ReplayFigures, ReplayedRun, write_json};
use crate::role::protocol::{LoadRequest, Population};
use crate::scenario::Scenario;

/// Version of the form below; it changes when a field changes its meaning.
const SCHEMA: &str = "sirocco.run/1";

/// A recorded run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunFile {
    /// [`SCHEMA`].
    schema: String,
    /// Version of the program that wrote it.
    version: String,
    /// The scenario in force, with what the command line changed.
    pub scenario: Scenario,
    /// Who was there.
    population: Population,
    /// Every load in its order.
    pub runs: Vec<RecordedRun>,
}

/// One load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRun {
    /// As it was given to the engine.
    pub load: LoadRequest,
    /// What was offered: digest, changes.
    pub offered: Offered,
}

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("--replay {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// Somebody else is there.
    #[error(
        "--replay: the population is another one: digest {found} over {identities} identities, recorded \
         {recorded}; give the file of identities that the run was recorded with"
    )]
    Population {
        /// Digest of those here.
        found: Digest,
        /// How many they are.
        identities: u64,
        /// Digest of those recorded.
        recorded: Digest,
    },
}

impl RunFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ReplayError::Unreadable`], also when it is of another version.
    pub fn read(path: &Path) -> Result<Self, ReplayError> {
        let unreadable = |error: String| ReplayError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        if value["schema"] != SCHEMA {
            return Err(unreadable(format!(
                "it is no recorded run of schema {SCHEMA}; make one with --record-run"
            )));
        }
        let file: Self = serde_json::from_value(value).map_err(|e| unreadable(e.to_string()))?;
        // What was edited by hand is held to the rules of a scenario.
        let scenario = Scenario::parse(&file.scenario.to_toml(), &path.display().to_string());
        let scenario = scenario.map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { scenario, ..file })
    }
}

/// Keeps the loads of a bench.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, scenario: &Scenario, results: &Results) -> Result<(), PlanError> {
    let file = RunFile {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: scenario.clone(),
        population: results.population,
        runs: results.recorded.clone(),
    };
    write_json(path, &file).map_err(|error| system("writing the recorded run", error))
}

/// Offers every load of a file again, with its changes at their times.
///
/// # Errors
/// When the population is another one, a side fails, or the user interrupts.
pub fn run(bench: &Bench<'_>, file: &RunFile) -> Result<Results, PlanError> {
    let mut stage = bench.stage()?;
    let mut results = Results {
        ready: bench.launch(&mut stage)?,
        ..Results::default()
    };
    let mut replayed = Vec::new();
    for (number, recorded) in (1..).zip(&file.runs) {
        bench.phase(format!("replaying load {number} of {}", file.runs.len()));
        let mut load = LoadRequest {
            orders_max: Some(recorded.offered.digest.entries),
            steers: recorded.offered.steers.clone(),
            marked: true,
            ..recorded.load.clone()
        };
        bench.keep(&mut load, &results);
        let shape = load.shape.clone();
        let offered = shaped::offer(bench, &mut stage, load, &mut results)?;
        let known = results.population;
        if known != file.population {
            return Err(PlanError::Replay(ReplayError::Population {
                found: known.digest,
                identities: known.digest.entries,
                recorded: file.population.digest,
            }));
        }
        replayed.push(ReplayedRun {
            recorded: recorded.offered.digest,
            offered: offered.drained.measured.offered.digest,
        });
        if let Some(shape) = shape {
            shaped::keep(bench, &shape, offered, &mut results);
        } else {
            let measured = &offered.drained.measured;
            let place = bench.scenario.place;
            // It was the rate of the whole schedule, whose warm-up is measured here.
            let mut run = figures::run(measured, place, Rate::Max, Purpose::Rate);
            run.rate = "replay".to_owned();
            results.runs.push(run);
        }
    }
    results.replay = Some(ReplayFigures { runs: replayed });
    bench.finish(&mut stage, &mut results)?;
    Ok(results)
}
