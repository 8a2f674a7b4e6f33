//! The pass of `--verify`: fresh processes that keep records, one pass over everybody, and the
//! comparison with what population and mix ask for. It measures nothing, so that keeping records slows
//! no figure. Called by `plan`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::Value;
use sirocco_index::population::{GenerateError, GenerateSpec, generate};
use sirocco_loadgen::Mix;

use super::child::Side;
use super::launch::{self, Cores, Folder, Records};
use super::results::loadgen_report;
use super::stage::{Stage, StageError};
use crate::cli::PopulationShape;
use crate::progress::Progress;
use crate::role::population::spec;
use crate::role::protocol::{EngineCommand, LoadRequest};
use crate::scenario::{Place, Scenario};
use crate::together::Generators;
use crate::verify::expected::{Collector, Pass};
use crate::verify::{Verification, compare, entries};

/// Slowest pass that is waited for, in identities a second, beside the drain.
const PASS_PER_S_MIN: u64 = 20_000;

/// Time for a child to finish its record and report.
const REPORT: Duration = Duration::from_secs(30);

/// Time for the engine to shuffle the identities of a schedule.
const LOADED: Duration = Duration::from_secs(60);

/// Time that a drain may take beyond Timer F (RFC 3261 17.1.2.2: 64*T1 is 32 s).
const DRAIN: Duration = Duration::from_secs(45);

/// Why the pass proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum CheckedError {
    /// A child failed, or the user interrupted.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A record cannot be read.
    #[error(transparent)]
    Entries(#[from] entries::EntriesError),
    /// The population's text cannot be made again.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The mix is no mix.
    #[error(transparent)]
    Mix(#[from] sirocco_loadgen::MixError),
    /// The system's.
    #[error("--verify: {0}")]
    System(#[from] io::Error),
    /// There is nothing to compare with.
    #[error("--verify needs a loadgen; scenario `{0}` has none")]
    NoLoadgen(String),
}

/// Runs the pass and compares.
///
/// # Errors
/// [`CheckedError`], when the comparison could not be made at all.
pub fn run(
    scenario: &Scenario,
    setting: (Cores, &Generators),
    folder: &Folder,
    (progress, interrupted): (&RefCell<Progress>, &Arc<AtomicBool>),
) -> Result<Verification, CheckedError> {
    if scenario.place == Place::Nowhere {
        return Err(CheckedError::NoLoadgen(scenario.name.clone()));
    }
    let files = Records {
        engine: Some(folder.file("engine.sirs")),
        loadgen: Some(folder.file("loadgen.sirs")),
    };
    progress
        .borrow_mut()
        .phase("verify: one pass over everybody, SIR by SIR");
    let mut stage = Stage::new(std::env::current_exe()?, Arc::clone(interrupted));
    let watch = &mut |sides: &HashMap<Side, Value>| progress.borrow_mut().news(sides);
    let ready = launch::start(&mut stage, scenario, setting, (&files, folder), watch)?;
    let load = LoadRequest {
        seed: scenario.seed,
        wanted: scenario.wanted,
        rate: None,
        orders_max: Some(ready.identities),
        order: scenario.order_fields(),
        ..LoadRequest::default()
    };
    stage.tell(Side::Engine, &EngineCommand::Load(load).line())?;
    stage.wait((Side::Engine, "loaded"), "making a schedule", LOADED, watch)?;
    stage.tell(Side::Engine, &EngineCommand::Drain.line())?;
    let limit = DRAIN + Duration::from_secs(ready.identities / PASS_PER_S_MIN);
    stage.wait((Side::Engine, "drained"), "making the pass", limit, watch)?;
    stage.dismiss(Side::Engine, REPORT, watch)?;
    let reports = launch::dismiss_generators(&mut stage, REPORT, watch)?;
    stage.end();
    progress.borrow_mut().phase("verify: comparing");
    // Without a record of its own, a generator has left out all.
    let left_out = reports.iter().map(loadgen_report);
    let left_out =
        left_out.map(|report| report.record_left_out + u64::from(report.record_path.is_none()));
    let left_out = left_out.sum();
    let own: Vec<_> = (0..setting.1.count)
        .filter_map(|number| files.loadgen(number))
        .collect();
    against(scenario, &folder.file("engine.sirs"), &own, left_out)
}

/// Compares both records with what population and mix ask for.
fn against(
    scenario: &Scenario,
    engine: &Path,
    loadgens: &[PathBuf],
    left_out: u64,
) -> Result<Verification, CheckedError> {
    let mut expected = collect(scenario, Vec::new())?.expected();
    let mut booked = entries::booked(engine)?;
    // A SIR that two generators took would stand in two records, and count as delivered twice.
    let mut received = Vec::new();
    for loadgen in loadgens {
        received.extend(entries::received(loadgen)?);
    }
    let mut result = compare(&mut expected, &mut booked, &mut received, left_out);
    let hashes = result.example_hashes();
    if !hashes.is_empty() {
        let names = collect(scenario, hashes)?.names();
        result.name_examples(|hash| names.get(&hash).cloned());
    }
    Ok(result)
}

/// Reads or makes the population's text once more, in this process.
fn collect(scenario: &Scenario, names: Vec<u64>) -> Result<Collector, CheckedError> {
    let pass = Pass {
        wanted: scenario.wanted,
        mix: scenario.mix.parse::<Mix>()?,
        seed: scenario.seed,
        retries_max: retries_max(scenario),
    };
    let mut collector = Collector::new(pass, names);
    let any_hop = vec![([127, 0, 0, 1], 6000).into()];
    match &scenario.population.file {
        Some(path) => {
            io::copy(&mut File::open(path)?, &mut collector)?;
        }
        None => generate(&population(scenario, any_hop), &mut collector)?,
    }
    Ok(collector)
}

/// The population that a scenario generates behind these next hops; its numbers are the same whatever their
/// addresses.
pub fn population(scenario: &Scenario, next_hops: Vec<SocketAddr>) -> GenerateSpec {
    let shape = PopulationShape {
        devices_min: scenario.population.devices_min,
        devices_max: scenario.population.devices_max,
        next_hop_count: scenario.next_hops,
        direct_port: None,
        seed: scenario.seed,
    };
    spec(scenario.population.identities, &shape, next_hops)
}

/// How often the engine tries a target again after 503 with Retry-After.
fn retries_max(scenario: &Scenario) -> u32 {
    // The scenario was checked when it was read.
    scenario
        .engine_config()
        .map(|config| u32::from(config.retries_max))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sirocco_loadgen::public_hash;
    use std::io::Write;

    #[test]
    fn records_on_disk_are_held_against_the_generated_population() {
        let mut scenario = Scenario::find("dispatch").unwrap();
        scenario.population.identities = 50;
        let expected = collect(&scenario, Vec::new()).unwrap().expected();
        assert_eq!(expected.len(), 50);
        let folder = std::env::temp_dir().join(format!("sirocco-checked-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (engine, loadgen) = (folder.join("engine"), folder.join("loadgen"));
        let write = |path: &Path, list: &[(u64, u64, u64)]| {
            let mut file = File::create(path).unwrap();
            for word in list.iter().flat_map(|(a, b, c)| [a, b, c]) {
                file.write_all(&word.to_le_bytes()).unwrap();
            }
        };
        let branch = |n: usize| public_hash(&n.to_le_bytes());
        let sirs = expected
            .iter()
            .enumerate()
            .map(|(n, e)| (e.uri_hash, branch(n), 200));
        let sirs: Vec<_> = sirs.collect();
        write(&engine, &sirs);
        write(&loadgen, &sirs);
        let clean = against(&scenario, &engine, std::slice::from_ref(&loadgen), 0).unwrap();
        assert!(clean.is_clean(), "{}", clean.summary());
        write(&loadgen, &sirs[1..]);
        let faulty = against(&scenario, &engine, std::slice::from_ref(&loadgen), 0).unwrap();
        assert_eq!(faulty.summary(), "1 never-received");
        assert!(
            faulty.examples[0].uri.starts_with("sip:+86138"),
            "{:?}",
            faulty.examples
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
