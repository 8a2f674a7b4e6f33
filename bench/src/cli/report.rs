//! Options of `sirocco report`. Parsing only.

use std::path::PathBuf;

use clap::Args;

/// Options of `sirocco report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Records, folders of records, or quoted patterns such as 'a/*.json'.
    #[arg(value_name = "RECORD")]
    pub records: Vec<PathBuf>,
    /// Show this history of `sirocco nightly` with its changes.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Show the tables of this plan, as `sirocco plan --json` writes it.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Write the page here.
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
    /// Write each figure as an SVG file into this folder too.
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// Heading of the page.
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
}
