//! Options of `sirocco ab`. Parsing only.

use std::path::PathBuf;

use clap::Args;

use super::compare::confidence;
use crate::quantity;

/// Options of `sirocco ab`.
#[derive(Debug, Args)]
pub struct AbArgs {
    /// Revisions before and after, as git names them; `.` is the working tree as it is.
    #[arg(value_name = "REV", num_args = 0..=2)]
    pub revisions: Vec<String>,
    /// A built program as A, in place of a revision.
    #[arg(long, value_name = "PATH")]
    pub bin_a: Option<PathBuf>,
    /// A built program as B, in place of a revision.
    #[arg(long, value_name = "PATH")]
    pub bin_b: Option<PathBuf>,
    /// Cargo features of A.
    #[arg(long, value_name = "LIST", conflicts_with = "bin_a")]
    pub features_a: Option<String>,
    /// Cargo features of B.
    #[arg(long, value_name = "LIST", conflicts_with = "bin_b")]
    pub features_b: Option<String>,
    /// Profile that both are built with.
    #[arg(long, value_name = "NAME", default_value = "release")]
    pub profile: String,
    /// Folder for checkouts, target folders and records [default: target/sirocco/ab].
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Build HEAD although the working tree differs from it.
    #[arg(long)]
    pub ignore_dirty: bool,
    /// Pairs of A and B.
    #[arg(long, value_name = "N", default_value = "10", value_parser = quantity::small_count)]
    pub pairs: u16,
    /// Pairs of A and A before them, for the noise floor [default: as many].
    #[arg(long, value_name = "N", value_parser = quantity::small_count)]
    pub calibration: Option<u16>,
    /// A time is a regression when it is worse by more than this share and than the noise floor.
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = quantity::share)]
    pub threshold: f64,
    /// Confidence of intervals.
    #[arg(long, value_name = "SHARE", default_value = "95%", value_parser = confidence)]
    pub confidence: f64,
    /// Seed of the order of runs and of resampling.
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
    /// Count invalid runs, and compare unlike scenarios, each named in the output.
    #[arg(long)]
    pub force: bool,
    /// Write the comparison as JSON here; `-` is standard output, without the table.
    #[arg(long, value_name = "PATH|-")]
    pub json: Option<PathBuf>,
    /// Show neither progress nor table.
    #[arg(long, short)]
    pub quiet: bool,
    /// Options of `sirocco bench` for every run; --repetitions 1 and --no-ceiling unless given.
    #[arg(last = true, value_name = "BENCH OPTIONS")]
    pub bench: Vec<String>,
}
