//! `sirocco bench`: from a scenario to a record. `plan` says what is run in which order, `stage` holds
//! both children, `child` one of them, `figures` turns reports into figures, `results` those into the
//! record, `checked` is the pass of `--verify`. `counted` runs a given number of orders, for `hold`,
//! `judged` and `addressing`; `people` writes the population that they share; `flood` and `sipp` are what
//! runs beside. `control` is how a run is changed while it goes on,
//! `shaped` a run of a load with a shape, `course` what it brought, `replay` a run on file and again.

pub mod addressing;
pub mod checked;
pub mod child;
pub mod control;
pub mod counted;
pub mod course;
pub mod figures;
pub mod flood;
pub mod hold;
pub mod judged;
pub mod launch;
pub mod people;
pub mod plan;
pub mod replay;
pub mod results;
pub mod shaped;
pub mod sipp;
pub mod stage;

use std::path::Path;

use crate::cli::BenchArgs;
use crate::quantity::Rate;
use crate::record::Record;
use crate::role::{EXIT_INVALID, EXIT_USAGE, complain};
use crate::scenario::{Place, Scenario};
use crate::table;
use crate::together::Generators;

/// Where the last record is kept.
const LATEST: &str = "target/sirocco/latest.json";

/// Runs the role; returns its exit code.
pub fn start(args: &BenchArgs) -> u8 {
    let scenario = match scenario(args) {
        Ok(scenario) => scenario,
        Err(error) => {
            complain(error);
            return EXIT_USAGE;
        }
    };
    if args.print_scenario {
        crate::print(&scenario.to_toml());
        return 0;
    }
    if args.verify && scenario.place == Place::Nowhere {
        complain("--verify needs a loadgen: leave it out, or give a place other than nowhere");
        return EXIT_USAGE;
    }
    if let Err(error) = crate::find::refuse(&scenario, args) {
        complain(error);
        return EXIT_USAGE;
    }
    let refused = refuse_load(&scenario, args)
        .and(refuse_control(&scenario, args))
        .and(refuse_recording(&scenario, args));
    if let Err(error) = refused {
        complain(error);
        return EXIT_USAGE;
    }
    let cores = match launch::cores(&args.cores, args.allow_shared_core) {
        Ok(cores) => cores,
        Err(error) => {
            complain(error);
            return EXIT_USAGE;
        }
    };
    let generators = match generators(&scenario, args) {
        Ok(generators) => generators,
        Err(error) => {
            complain(error);
            return EXIT_USAGE;
        }
    };
    match plan::run(scenario, args, (cores, &generators)) {
        Ok(record) => publish(&record, args),
        Err(error) => {
            complain(error);
            EXIT_INVALID
        }
    }
}

/// The scenario of the command line, or of the recorded run.
fn scenario(args: &BenchArgs) -> Result<Scenario, String> {
    match &args.replay {
        Some(path) => replay::RunFile::read(path)
            .map(|file| file.scenario)
            .map_err(|error| error.to_string()),
        None => Scenario::find(&args.scenario)
            .and_then(|found| found.with(args))
            .map_err(|error| error.to_string()),
    }
}

/// Why the loads of a scenario cannot be recorded.
fn refuse_recording(scenario: &Scenario, args: &BenchArgs) -> Result<(), String> {
    if args.record_run.is_some() && (is_counted(scenario) || args.find.find_max) {
        return Err(
            "--record-run keeps runs at a rate or of a shape: leave --find-max out, and take a scenario that \
             neither counts its orders nor floods"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether a scenario sets the pace or the number of its orders itself.
fn is_counted(scenario: &Scenario) -> bool {
    scenario.addressing.is_some()
        || scenario.outcome.is_some()
        || scenario.hold.is_some()
        || scenario.flood.is_some()
}

/// Why a shape cannot be offered.
fn refuse_load(scenario: &Scenario, args: &BenchArgs) -> Result<(), String> {
    if scenario.runs.load.is_none() {
        return Ok(());
    }
    if args.find.find_max {
        return Err(
            "--find-max looks for one rate and offers its own: leave --load out, or runs.load in the \
             scenario; --rate max on the command line takes its place"
                .to_owned(),
        );
    }
    if is_counted(scenario) {
        return Err(format!(
            "scenario {} counts its orders or floods, and cannot follow a shape: leave --load out, or take \
             dispatch, direct, sessions or one of your own",
            scenario.name
        ));
    }
    Ok(())
}

/// Why the runs of a scenario cannot be changed while they go on.
fn refuse_control(scenario: &Scenario, args: &BenchArgs) -> Result<(), String> {
    if args.control.is_none() {
        return Ok(());
    }
    if is_counted(scenario) || args.find.find_max {
        return Err(
            "--control changes runs at a rate: leave --find-max out, and take a scenario that neither \
             counts its orders nor floods"
                .to_owned(),
        );
    }
    if scenario.runs.rate == Rate::Max && scenario.runs.load.is_none() {
        return Err(
            "--control: at full speed there is no schedule to change; give --rate or --load"
                .to_owned(),
        );
    }
    Ok(())
}

/// The load generators asked for.
fn generators(scenario: &Scenario, args: &BenchArgs) -> Result<Generators, String> {
    if args.together.listen.is_some() && args.verify {
        return Err("--verify reads the generators' records, and those that join keep none here: leave out \
                    --listen"
            .to_owned());
    }
    let allowed = if args.cores.is_empty() {
        sirocco_ring::affinity::cores_allowed()
            .map_err(|error| format!("cannot read the cores allowed: {error}"))?
    } else {
        args.cores.clone()
    };
    Generators::read(&args.together, scenario, &allowed).map_err(|error| error.to_string())
}

/// Writes the record and shows the table; a record that cannot be kept makes the run invalid.
fn publish(record: &Record, args: &BenchArgs) -> u8 {
    let mut code = record.verdict.exit_code();
    for path in [Some(Path::new(LATEST)), args.json.as_deref()]
        .into_iter()
        .flatten()
    {
        if let Err(error) = record.write(path) {
            complain(format!(
                "cannot write the record to {}: {error}",
                path.display()
            ));
            code = code.max(EXIT_INVALID);
        }
    }
    if args.quiet {
        record.verdict.reasons.iter().for_each(complain);
    } else {
        crate::print(&table::bench(record));
        crate::print(&format!("record: {LATEST}\n"));
    }
    code
}
