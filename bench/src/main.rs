//! The command `sirocco`: one binary, its roles as subcommands, so that one build serves production and
//! bench. This file picks the role and turns its outcome into an exit code; each role lives beside it.

mod ab;
mod ceiling;
mod cli;
mod compare;
mod find;
mod flight;
mod host;
mod nightly;
mod plan;
mod profile;
mod progress;
mod quantity;
mod record;
mod report;
mod role;
mod run;
mod scenario;
mod statistics;
mod table;
mod together;
mod verdict;
mod verify;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use mimalloc::MiMalloc;
use sirocco_ring::allocation::Counting;

use cli::{CeilingArgs, Cli, Role};
use role::{EXIT_INVALID, EXIT_USAGE, complain};

/// Counts the allocations of each thread, so that "no allocation in steady state" is a figure.
#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting(MiMalloc);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed terminal leaves nobody to tell.
            error.print().ok();
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            return ExitCode::from(if asked { 0 } else { EXIT_USAGE });
        }
    };
    ExitCode::from(match &cli.role {
        Role::Ab(args) => ab::start(args),
        Role::Bench(args) => run::start(args),
        Role::Ceiling(args) => measure_ceiling(args),
        Role::Compare(args) => compare::start(args),
        Role::Engine(args) => role::engine::start(args),
        Role::Loadgen(args) => role::loadgen::start(args),
        Role::Nightly(args) => nightly::start(args),
        Role::Plan(args) => plan::start(args),
        Role::Population(command) => role::population::start(command),
        Role::Profile(args) => profile::start(args),
        Role::Report(args) => report::start(args),
    })
}

/// Writes what was asked for to stdout; a closed one is no error.
fn print(text: &str) {
    std::io::stdout().lock().write_all(text.as_bytes()).ok();
}

/// `sirocco ceiling`.
fn measure_ceiling(args: &CeilingArgs) -> u8 {
    let cores = match run::launch::cores(&args.cores, false) {
        Ok(cores) => cores,
        Err(error) => {
            complain(error);
            return EXIT_USAGE;
        }
    };
    let spec = ceiling::CeilingSpec {
        cores: ceiling::Cores {
            near: cores.engine,
            far: cores.loadgen,
        },
        request_bytes: args.request_bytes,
        response_bytes: args.response_bytes,
        train: args.train,
        next_hops: args.next_hops,
        addresses: u32::from(args.addresses),
        timing: ceiling::Timing {
            warm_up: std::time::Duration::from_millis(100),
            length: args.duration,
        },
        probes: ceiling::Probes::All,
    };
    let cycle_bytes = match <[u16; ceiling::cycle::MESSAGES]>::try_from(args.cycle_bytes.clone()) {
        Ok(lengths) => Some(lengths),
        Err(none) if none.is_empty() => None,
        Err(_) => {
            complain(
                "--cycle-bytes takes nine lengths: SIR,200,INVITE,200,ACK,MESSAGE,200,BYE,200",
            );
            return EXIT_USAGE;
        }
    };
    let measured = match ceiling::measure(spec, cycle_bytes, u32::from(args.repetitions)) {
        Ok(measured) => measured,
        Err(error) => {
            complain(format!("the ceiling cannot be measured: {error}"));
            return EXIT_INVALID;
        }
    };
    if !args.quiet {
        print(&table::ceiling(&measured));
    }
    let written = match args.json.as_deref() {
        Some(path) if path == std::path::Path::new("-") => {
            print(&format!("{}\n", serde_json::json!(measured)));
            Ok(())
        }
        Some(path) => record::write_json(path, &measured),
        None => Ok(()),
    };
    match written {
        Ok(()) if measured.lost() == 0 => 0,
        Ok(()) => {
            complain("datagrams were lost, so this is no ceiling; raise net.core.rmem_max");
            EXIT_INVALID
        }
        Err(error) => {
            complain(format!("cannot write the ceilings: {error}"));
            EXIT_INVALID
        }
    }
}
