//! Options of `sirocco nightly`: what is run, where history and baseline lie, what counts. Parsing only;
//! `nightly` reads them.

use std::path::PathBuf;

use clap::Args;

/// Options of `sirocco nightly`.
#[derive(Clone, Debug, Args)]
pub struct NightlyArgs {
    /// Suite: quick, full, or a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "quick")]
    pub suite: String,
    /// History that is appended to, one JSON line a scenario.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/sirocco/nightly/history.jsonl"
    )]
    pub history: PathBuf,
    /// Accepted counters.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "bench/nightly/counters.json"
    )]
    pub baseline: PathBuf,
    /// Take tonight's counters as the baseline; look at the change before you commit it.
    #[arg(long)]
    pub accept_counters: bool,
    /// A missed objective of the suite fails the night; without it, it is told only.
    #[arg(long)]
    pub objectives: bool,
    /// Folder for nightly.md, junit.xml, bmf.json, metrics.txt and otava.csv.
    #[arg(long, value_name = "DIR", default_value = "target/sirocco/nightly")]
    pub out: PathBuf,
    /// Run nothing: judge the last night of the history again.
    #[arg(long)]
    pub no_run: bool,
    /// Leave the instruction counts out, where valgrind or cargo is missing.
    #[arg(long)]
    pub without_instructions: bool,
    /// Name of what is measured [default: the commit of the checkout].
    #[arg(long, value_name = "COMMIT")]
    pub commit: Option<String>,
    /// Cores of engine and loadgen, such as 0,1; the first two allowed ones if left out.
    #[arg(long, value_name = "ENGINE,LOADGEN", value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Run on one core all the same; the runs are then invalid.
    #[arg(long)]
    pub allow_shared_core: bool,
    /// Show neither progress nor report.
    #[arg(long, short)]
    pub quiet: bool,
}
