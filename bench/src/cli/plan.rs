//! Options of `sirocco plan`. Parsing only; `plan` reads them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::quantity;

/// Options of `sirocco plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Assumptions in place of the file's, such as subscribers=30M mode=targeted answer-share=95%.
    #[arg(value_name = "KEY=VALUE")]
    pub assumptions: Vec<String>,
    /// Assumptions as TOML; the built-in ones if left out.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Print the assumptions in force as TOML, to change, and exit.
    #[arg(long)]
    pub print_plan: bool,
    /// Measured records, files or folders [default: target/sirocco/plan, else docs/records/plan].
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub records: Vec<PathBuf>,
    /// Vary an assumption, such as subscribers=1M,10M,100M; once or twice.
    #[arg(long, value_name = "KEY=A,B,..")]
    pub what_if: Vec<String>,
    /// Line of the plan that --what-if shows.
    #[arg(long, value_name = "LINE", default_value = "machines")]
    pub figure: String,
    /// Predict these records, made at another scale, from the others, and say whether they lie within.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub check: Vec<PathBuf>,
    /// Measure what a plan needs into this folder: records that are there already are kept.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "target/sirocco/plan")]
    pub measure: Option<PathBuf>,
    /// Begin no further measurement after so long; run again to go on.
    #[arg(long = "for", value_name = "S", value_parser = quantity::duration, requires = "measure")]
    pub measure_for: Option<Duration>,
    /// Cores of engine and loadgen for --measure, such as 0,1; the first two allowed ones if left out.
    #[arg(long, value_name = "ENGINE,LOADGEN", value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Write the plan as JSON here; `-` is standard output, without the tables.
    #[arg(long, value_name = "PATH|-")]
    pub json: Option<PathBuf>,
    /// Show no tables.
    #[arg(long, short)]
    pub quiet: bool,
}
