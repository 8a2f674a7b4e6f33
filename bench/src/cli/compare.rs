//! Options of `sirocco compare`. Parsing only.

use std::path::PathBuf;

use clap::Args;

use crate::quantity;

/// Options of `sirocco compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The records before: a file, a folder of records, or a quoted pattern such as 'a/*.json'.
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// The records after.
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// Compare unlike hosts, scenarios and invalid runs all the same, each named in the output.
    #[arg(long)]
    pub force: bool,
    /// Counts are enough: pass although there were too few samples for any time.
    #[arg(long)]
    pub counts: bool,
    /// Write the comparison as JSON here; `-` is standard output, without the table.
    #[arg(long, value_name = "PATH|-")]
    pub json: Option<PathBuf>,
    /// How the comparison is judged.
    #[command(flatten)]
    pub terms: TermsArgs,
    /// Show no table.
    #[arg(long, short)]
    pub quiet: bool,
}

/// How differences are judged.
#[derive(Clone, Debug, Args)]
pub struct TermsArgs {
    /// A time is a regression when its whole interval is worse by more than this share.
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = quantity::share)]
    pub threshold: f64,
    /// Confidence of intervals and tests.
    #[arg(long, value_name = "SHARE", default_value = "95%", value_parser = confidence)]
    pub confidence: f64,
    /// Seed of resampling and of every random order.
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
}

/// Reads a confidence: 50 % to 99.9 %, which 2,000 resamples can still tell.
pub(super) fn confidence(text: &str) -> Result<f64, String> {
    match quantity::share(text) {
        Ok(share @ 0.5..=0.999) => Ok(share),
        _ => Err("give a confidence from 50% to 99.9%".to_owned()),
    }
}
