//! The command `sirocco` from outside: real processes, their words, their exit codes, their signals.
//!
//! A target of the package `sirocco`, so that cargo builds the command for it. No figure of time is held
//! here: a run may be invalid on this machine, but its record must be whole and its ledger must balance.

mod ab;
mod bench;
mod compare;
mod flight;
mod generators;
mod limit;
mod load;
mod namespaces;
mod nightly;
mod plan;
mod probes;
#[path = "../src/process.rs"]
mod process;
mod profile;
mod report;
mod roles;
mod schedule;
mod sessions;
#[path = "../src/tools.rs"]
#[allow(dead_code, reason = "the tests of other packages use the other tools")]
mod tools;
mod watch;

use std::path::Path;
use std::process::Command;

/// The command, in a directory of the test.
fn sirocco(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sirocco"));
    command.current_dir(directory);
    command
}
