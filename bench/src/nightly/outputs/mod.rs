//! What a night leaves behind, each from the same judged night: Markdown for a pull request, JUnit for a
//! CI's test view, Bencher Metric Format, OpenMetrics for a textfile collector, and a CSV of each series
//! for Apache Otava. Called by `nightly`.

mod junit;
pub mod markdown;
mod metric_format;
mod metrics;
mod otava;
pub mod time;

use std::fs;
use std::io;
use std::path::Path;

use super::history::Line;
use super::night::Night;

/// Writes every output into `folder`.
///
/// # Errors
/// The system's, when folder or a file cannot be written.
pub fn write(folder: &Path, night: &Night, history: &[Line]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("nightly.md"), markdown::write(night))?;
    fs::write(folder.join("junit.xml"), junit::write(night)?)?;
    fs::write(folder.join("bmf.json"), metric_format::write(night)?)?;
    let metrics = metrics::write(night).map_err(io::Error::other)?;
    fs::write(folder.join("metrics.txt"), metrics)?;
    for (scenario, table) in otava::write(history, night.unix_s) {
        // A scenario of the user's may be called anything.
        let plain = |c: char| if c.is_alphanumeric() { c } else { '-' };
        let name: String = scenario.chars().map(plain).collect();
        fs::write(folder.join(format!("otava-{name}.csv")), table)?;
    }
    Ok(())
}
