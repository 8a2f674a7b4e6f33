//! The command line: every role and its options, each stated once with its unit and default. Parsing
//! only; nothing here opens a socket or a file. Called by `main`, which turns an error into exit code 4.

mod ab;
mod compare;
pub mod find;
mod nightly;
mod plan;
mod profile;
mod report;
mod together;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sirocco_schedule::{Arrivals, Shape};

use crate::quantity::{self, Rate};
use crate::watch::server;

pub use ab::AbArgs;
pub use compare::{CompareArgs, TermsArgs};
pub use nightly::NightlyArgs;
pub use plan::PlanArgs;
pub use profile::ProfileArgs;
pub use report::ReportArgs;
pub use together::TogetherArgs;

/// Sirocco: a SIR dispatch engine, its load generator and its bench.
#[derive(Debug, Parser)]
#[command(
    name = "sirocco",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit codes: 0 pass, 1 a check failed or a regression, 2 the run is invalid, 3 no baseline, 4 usage error."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub role: Role,
}

/// The roles of the binary.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Build two revisions, run them in pairs, and tell what differs beyond the noise.
    Ab(AbArgs),
    /// Run a scenario with engine and loadgen as two processes, and publish a record.
    Bench(Box<BenchArgs>),
    /// Measure what the kernel alone lets two cores exchange, with no Sirocco code.
    Ceiling(CeilingArgs),
    /// Compare records: what is better, what is worse, and what cannot be told.
    Compare(CompareArgs),
    /// Run the engine: orders as JSON lines on stdin, reports as JSON lines on stdout.
    Engine(EngineArgs),
    /// Run a simulated device population behind its edges.
    Loadgen(LoadgenArgs),
    /// Run a suite, keep its history, hold counters to a baseline and find changes in the times.
    Nightly(NightlyArgs),
    /// Plan capacity from measured records: subscribers in, workers, machines, memory and pages out.
    Plan(PlanArgs),
    /// Make or check a population file.
    #[command(subcommand)]
    Population(PopulationCommand),
    /// Run a bench and sample the engine's worker: flame graph, hottest functions, what changed.
    Profile(ProfileArgs),
    /// Show records as one HTML file that needs no network, and as SVG files.
    Report(ReportArgs),
}

/// Options of `sirocco bench`; what is left out comes from the scenario.
#[derive(Debug, Default, Args)]
pub struct BenchArgs {
    /// Scenario: dispatch, direct, fanout, null, silent, overload, sessions, sessions-direct,
    /// sessions-msrp, hold, flood, faults, addressing, re-push, regional, s1, s2, s3, s5, s6, s7, s9, or a
    /// TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "dispatch")]
    pub scenario: String,
    /// Print the scenario as TOML, to copy and change, and exit.
    #[arg(long)]
    pub print_scenario: bool,
    /// User identities in the population, such as 1M.
    #[arg(long, value_name = "N", value_parser = quantity::count)]
    pub identities: Option<u64>,
    /// Take the population from this file instead of generating one.
    #[arg(long, value_name = "FILE", conflicts_with = "identities")]
    pub population: Option<PathBuf>,
    /// Next hops, each a socket of the loadgen.
    #[arg(long, value_name = "N", value_parser = quantity::small_count)]
    pub next_hops: Option<u16>,
    /// Offered SIRs a second such as 500k (open loop), or max.
    #[arg(long, value_name = "R|max")]
    pub rate: Option<Rate>,
    /// The rate at each moment, such as "ramp 0..500k/10s, hold 20s, spike x4/2s, hold 20s", in the place
    /// of a rate and a length; docs/load.md has the grammar and the storms.
    #[arg(long, value_name = "SHAPE", conflicts_with_all = ["rate", "duration"])]
    pub load: Option<Shape>,
    /// How orders follow each other at a rate: constant, at equal distances, or poisson.
    #[arg(long, value_name = "KIND")]
    pub arrivals: Option<Arrivals>,
    /// Take rate R, scale X, pause, resume and stop as lines while it runs: on this Unix socket, or on
    /// stdin with `-`.
    #[arg(long, value_name = "PATH|-")]
    pub control: Option<PathBuf>,
    /// Write what the same load can be offered again from: scenario, seeds, changes, digests.
    #[arg(long, value_name = "FILE")]
    pub record_run: Option<PathBuf>,
    /// Write every order with its due time beside it, a file FILE.N.orders for each load.
    #[arg(long, requires = "record_run")]
    pub record_orders: bool,
    /// Offer the loads of a recorded run again, with its scenario and its changes at their times.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "scenario", "identities", "population", "next_hops", "rate", "load", "arrivals", "duration", "seed",
        "mix", "train", "repetitions", "verify", "sipp", "find_max", "control",
    ])]
    pub replay: Option<PathBuf>,
    /// Measured length of one repetition, such as 3s.
    #[arg(long, value_name = "S", value_parser = quantity::duration)]
    pub duration: Option<Duration>,
    /// Seed of population, order of devices and behaviour.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Behaviour mix, such as 200:90,silent:10.
    #[arg(long, value_name = "MIX")]
    pub mix: Option<String>,
    /// Most SIRs in one train, 1 to 128.
    #[arg(long, value_name = "N", value_parser = quantity::small_count)]
    pub train: Option<u16>,
    /// Repetitions of measurement and ceiling, interleaved; medians are published.
    #[arg(long, value_name = "N", value_parser = quantity::small_count)]
    pub repetitions: Option<u16>,
    /// Write the record here as well as to target/sirocco/latest.json.
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,
    /// Compare engine, loadgen and population SIR by SIR in one more pass.
    #[arg(long)]
    pub verify: bool,
    /// Run SIPp in turn with the sessions, the same flow between two of them, and compare CPU times.
    #[arg(long)]
    pub sipp: bool,
    /// Look for the limit.
    #[command(flatten)]
    pub find: find::FindArgs,
    /// Several load generators.
    #[command(flatten)]
    pub together: TogetherArgs,
    /// Leave the ceilings out; the record then has no share.
    #[arg(long)]
    pub no_ceiling: bool,
    /// Cores of engine and loadgens, such as 0,1; the allowed ones in their order if left out.
    #[arg(long, value_name = "ENGINE,LOADGEN,..", value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Run on one core all the same; the figures are then not comparable with others.
    #[arg(long)]
    pub allow_shared_core: bool,
    /// Show neither progress nor table.
    #[arg(long, short)]
    pub quiet: bool,
    /// Serve metrics as OpenMetrics at this local address such as 127.0.0.1:9464, under /metrics.
    #[arg(long, value_name = "ADDRESS", value_parser = server::local)]
    pub metrics: Option<SocketAddr>,
}

/// Options of `sirocco ceiling`.
#[derive(Debug, Args)]
pub struct CeilingArgs {
    /// Write the ceilings as JSON here; `-` is standard output.
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,
    /// Length of a request in bytes.
    #[arg(long, value_name = "BYTES", default_value = "512", value_parser = message_bytes)]
    pub request_bytes: u16,
    /// Length of a response in bytes.
    #[arg(long, value_name = "BYTES", default_value = "384", value_parser = message_bytes)]
    pub response_bytes: u16,
    /// Requests in one train, 1 to 128.
    #[arg(long, value_name = "N", default_value = "64", value_parser = quantity::small_count)]
    pub train: u16,
    /// Next hops: receiving sockets.
    #[arg(long, value_name = "N", default_value = "16", value_parser = quantity::small_count)]
    pub next_hops: u16,
    /// Distinct device addresses of the datagram probe.
    #[arg(long, value_name = "N", default_value = "4096", value_parser = quantity::small_count)]
    pub addresses: u16,
    /// Probe whole session cycles too: the lengths of their nine messages in bytes, in order.
    #[arg(long, value_name = "BYTES,..", value_delimiter = ',', value_parser = message_bytes)]
    pub cycle_bytes: Vec<u16>,
    /// Counted length of one probe run.
    #[arg(long, value_name = "S", default_value = "1s", value_parser = quantity::duration)]
    pub duration: Duration,
    /// Repetitions of each probe, interleaved.
    #[arg(long, value_name = "N", default_value = "3", value_parser = quantity::small_count)]
    pub repetitions: u16,
    /// The two cores; the first two allowed ones if left out.
    #[arg(long, value_name = "ASKING,ANSWERING", value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Show no table.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Options of `sirocco engine`.
#[derive(Debug, Args)]
pub struct EngineArgs {
    /// Settings as TOML; see docs/operations.md.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Settings as one JSON object, over those of the file.
    #[arg(long, value_name = "JSON", hide = true)]
    pub config_json: Option<String>,
    /// Print the settings in force as TOML and exit.
    #[arg(long)]
    pub print_config: bool,
    /// Core to pin the worker to.
    #[arg(long, value_name = "CORE")]
    pub core: Option<usize>,
    /// Address that SIRs leave from and answers come back to.
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<SocketAddr>,
    /// Population: a text file or a snapshot.
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    pub population: Option<PathBuf>,
    /// Generate this many identities instead of loading a file.
    #[arg(long, value_name = "N", value_parser = quantity::count)]
    pub generate: Option<u64>,
    /// What is generated.
    #[command(flatten)]
    pub population_shape: PopulationShape,
    /// Next hops, comma-separated addresses, or @FILE with one address a line.
    #[arg(long, value_name = "ADDRESSES|@FILE")]
    pub next_hops: Option<String>,
    /// Accept orders on this Unix socket as well as on stdin.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Count bad population lines instead of stopping at the first.
    #[arg(long)]
    pub skip_bad_lines: bool,
    /// Write the outcome of every SIR here.
    #[arg(long, value_name = "FILE")]
    pub record_sirs: Option<PathBuf>,
    /// Write the last failures here at the end, and on the command flight: PREFIX.txt and PREFIX.pcap.
    #[arg(long, value_name = "PREFIX")]
    pub flight: Option<PathBuf>,
    /// Started by a bench: die with it.
    #[arg(long, hide = true)]
    pub child: bool,
    /// Serve metrics as OpenMetrics at this local address such as 127.0.0.1:9464, under /metrics.
    #[arg(long, value_name = "ADDRESS", value_parser = server::local)]
    pub metrics: Option<SocketAddr>,
}

/// What `population generate` and `engine --generate` make.
#[derive(Clone, Debug, Args)]
pub struct PopulationShape {
    /// Fewest devices of an identity.
    #[arg(long, value_name = "N", default_value = "1", value_parser = quantity::small_count)]
    pub devices_min: u16,
    /// Most devices of an identity.
    #[arg(long, value_name = "N", default_value = "4", value_parser = quantity::small_count)]
    pub devices_max: u16,
    /// Next hops that the devices are spread over.
    #[arg(long, value_name = "N", default_value = "16", value_parser = quantity::small_count)]
    pub next_hop_count: u16,
    /// Give every device an address of its own in 127.0.0.0/8 with this port, and no next hop.
    #[arg(long, value_name = "PORT")]
    pub direct_port: Option<u16>,
    /// Seed.
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
}

/// Options of `sirocco loadgen`; what is given here wins over the scenario file.
#[derive(Debug, Args)]
pub struct LoadgenArgs {
    /// Scenario file: classes, sessions, sources of calls; see docs/loadgen.md.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// The same as JSON on the command line, for a bench.
    #[arg(long, value_name = "JSON", hide = true)]
    pub scenario_json: Option<String>,
    /// Server that sources of calls call.
    #[arg(long, value_name = "HOST:PORT")]
    pub target: Option<SocketAddr>,
    /// Population file: the devices of each identity.
    #[arg(long, value_name = "FILE")]
    pub population: Option<PathBuf>,
    /// Devices build the session that a SIR asks for, by the default policy.
    #[arg(long)]
    pub sessions: bool,
    /// Core to pin the worker to.
    #[arg(long, value_name = "CORE")]
    pub core: Option<usize>,
    /// Seed of the behaviour [default: 1].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Edges, each a socket that answers for the devices behind it [default: 16].
    #[arg(long, value_name = "N", value_parser = quantity::small_count)]
    pub edges: Option<u16>,
    /// Address of the edges [default: 127.0.0.1].
    #[arg(long, value_name = "IP")]
    pub bind: Option<IpAddr>,
    /// First port of the edges; 0 lets the kernel choose [default: 0].
    #[arg(long, value_name = "PORT")]
    pub port_base: Option<u16>,
    /// Answer for every address of 127.0.0.0/8 on this port, one datagram each, instead of edges.
    #[arg(long, value_name = "PORT")]
    pub direct: Option<u16>,
    /// Behaviour mix, such as 200:90,silent:10 [default: 200:1].
    #[arg(long, value_name = "MIX")]
    pub mix: Option<String>,
    /// What to do when nothing arrives [default: spin; wait with a scenario].
    #[arg(long, value_enum)]
    pub idle: Option<IdleArg>,
    /// Write every distinct SIR received here.
    #[arg(long, value_name = "FILE")]
    pub record_sirs: Option<PathBuf>,
    /// Join the bench that listens there, and be what it says; only --bind, --port-base, --core and --idle
    /// are then this side's.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["scenario", "scenario_json", "metrics", "direct", "mix", "record_sirs", "population", "target", "edges", "seed", "sessions"])]
    pub join: Option<String>,
    /// File with the secret of the bench that is joined.
    #[arg(long, value_name = "FILE", requires = "join")]
    pub secret_file: Option<PathBuf>,
    /// Wait for a begin before anything is counted: a bench begins several at once.
    #[arg(long, hide = true)]
    pub held: bool,
    /// Print the scenario in force as TOML and exit.
    #[arg(long)]
    pub print_scenario: bool,
    /// Started by a bench: die with it.
    #[arg(long, hide = true)]
    pub child: bool,
    /// Serve metrics as OpenMetrics at this local address such as 127.0.0.1:9464, under /metrics.
    #[arg(long, value_name = "ADDRESS", value_parser = server::local)]
    pub metrics: Option<SocketAddr>,
}

/// What a worker does when it has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IdleArg {
    /// Look again at once.
    Spin,
    /// Sleep in the kernel.
    Wait,
}

/// Subcommands of `sirocco population`.
#[derive(Debug, Subcommand)]
pub enum PopulationCommand {
    /// Write a population, one line a device, or a snapshot when the name ends in .snapshot.
    Generate {
        /// File to write.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// User identities, such as 1M.
        #[arg(long, value_name = "N", default_value = "1M", value_parser = quantity::count)]
        identities: u64,
        /// What is generated.
        #[command(flatten)]
        shape: PopulationShape,
    },
    /// Read a population or snapshot and report every bad line with its number and reason.
    Check {
        /// File to read.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Bad lines shown at most.
        #[arg(long, value_name = "N", default_value = "20", value_parser = quantity::count)]
        show: u64,
    },
}

/// Reads the length of one message in bytes: 1 to 1,500.
fn message_bytes(text: &str) -> Result<u16, String> {
    match quantity::count(text) {
        Ok(bytes @ 1..=1500) => Ok(bytes as u16),
        _ => Err("give a length from 1 to 1500 bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn bench(arguments: &str) -> BenchArgs {
        let words = ["sirocco", "bench"]
            .into_iter()
            .chain(arguments.split_whitespace());
        match Cli::try_parse_from(words).unwrap().role {
            Role::Bench(bench) => *bench,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bench_reads_people_s_numbers() {
        let read = bench("--identities 2.5M --next-hops 1k --rate 500k --duration 10s --cores 3,5");
        assert_eq!(
            (read.identities, read.next_hops),
            (Some(2_500_000), Some(1000))
        );
        assert_eq!(read.rate, Some(Rate::PerSecond(500_000)));
        assert_eq!(read.duration, Some(Duration::from_secs(10)));
        assert_eq!(read.cores, [3, 5]);
        assert_eq!(
            (bench("").scenario.as_str(), bench("").rate),
            ("dispatch", None)
        );
    }

    #[test]
    fn a_usage_error_says_what_to_type() {
        for (arguments, hint) in [
            ("bench --identities many", "250k"),
            ("bench --rate fast", "max"),
            ("bench --next-hops 0", "65535"),
            ("ceiling --request-bytes 9000", "1500"),
            ("population generate", "FILE"),
        ] {
            let words = ["sirocco"].into_iter().chain(arguments.split_whitespace());
            let error = Cli::try_parse_from(words).expect_err(arguments).to_string();
            assert!(error.contains(hint), "{arguments}: {error}");
        }
    }
}
