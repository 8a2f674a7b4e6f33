//! Options of a bench whose load generators are several. Parsing only; called by `cli`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::quantity;

/// Several load generators in one run.
#[derive(Clone, Debug, Default, Args)]
pub struct TogetherArgs {
    /// Load generators: each holds edges of its own, all begin and end together, and their figures and
    /// histograms are added; see docs/generators.md.
    #[arg(long, value_name = "N", default_value = "1", value_parser = quantity::small_count)]
    pub generators: u16,
    /// Let all generators join here from other hosts, with `sirocco loadgen --join`, instead of starting
    /// them on this one.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<SocketAddr>,
    /// File with the secret of those that join; needed where --listen is no loopback address.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Address that SIRs leave from; the one of --listen if left out, else 127.0.0.1.
    #[arg(long, value_name = "IP")]
    pub engine_address: Option<IpAddr>,
    /// Time in which all have to join.
    #[arg(long, value_name = "S", default_value = "60s", value_parser = quantity::duration)]
    pub join_within: Duration,
}
