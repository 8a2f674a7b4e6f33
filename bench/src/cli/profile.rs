//! Options of `sirocco profile`: what is sampled, how often, and what it is held against. Parsing only;
//! `profile` reads them.

use std::path::PathBuf;

use clap::Args;

/// Options of `sirocco profile`.
#[derive(Clone, Debug, Args)]
pub struct ProfileArgs {
    /// Event of perf: cycles, cpu-clock, cache-misses, ...; cycles where the host counts them, else cpu-clock.
    #[arg(long, value_name = "EVENT")]
    pub event: Option<String>,
    /// Samples a second.
    #[arg(long, value_name = "N", default_value_t = 997, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub frequency: u32,
    /// Octets of stack copied with each sample; frames beyond them are missing.
    #[arg(long, value_name = "BYTES", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1024..=65_528))]
    pub stack_bytes: u32,
    /// Where the results go: PREFIX.svg, PREFIX.txt and PREFIX.folded.
    #[arg(long, value_name = "PREFIX", default_value = "target/sirocco/profile")]
    pub out: PathBuf,
    /// Stacks of an earlier profile, PREFIX.folded, to be held against.
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Options of the bench that is profiled.
    #[arg(last = true, value_name = "BENCH OPTIONS")]
    pub bench: Vec<String>,
}
