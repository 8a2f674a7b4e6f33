//! The history of nights: one JSON object a line, one line a scenario, only ever appended to. A night
//! that died in the middle of a line is tolerated and repaired at the next append; what cannot be read
//! is counted and kept, never dropped, since a newer program may read it. It judges nothing.
//! Schema "sirocco.history/1"; docs/nightly.md describes each field. Called by `nightly`.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::suite::Objective;
use crate::statistics::Spread;
use crate::verdict::Verdict;

/// Version of the form below; it changes when a field changes its meaning.
pub const SCHEMA: &str = "sirocco.history/1";

/// One scenario of one night.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`SCHEMA`].
    pub schema: String,
    /// When the night began, in seconds since 1970-01-01 UTC: the same in all its lines.
    pub night_unix_s: u64,
    /// Commit that was measured.
    pub commit: String,
    /// Hash of what identifies the host, see docs/nightly.md.
    pub host_key: String,
    /// Name of the scenario, `counted` or `instructions`.
    pub scenario: String,
    /// Hash of the scenario's settings: figures of other settings are another series.
    pub settings: String,
    /// Times it was run: 2 when the first run was invalid.
    pub attempts: u32,
    /// Whether the figures count. Lines of invalid runs stay, and no comparison uses them.
    pub verdict: Verdict,
    /// Deterministic figures, by name with its unit.
    pub counters: BTreeMap<String, f64>,
    /// Figures that depend on the machine, by name with its unit: every repetition in its order.
    pub times: BTreeMap<String, Vec<f64>>,
    /// Objectives and whether they were met.
    #[serde(default)]
    pub objectives: Vec<Reached>,
}

/// An objective, and what was reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// What was wanted.
    pub objective: Objective,
    /// What was reached; `None` when the run did not give this figure.
    pub value: Option<f64>,
    /// Whether that is enough. A figure that is missing is a missed objective.
    pub met: bool,
}

impl Line {
    /// A figure of the night by its name: the counter, or the median of the times.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        let counter = self.counters.get(name).copied();
        counter.or_else(|| self.time(name))
    }

    /// The median of a time's repetitions; `None` without any.
    #[must_use]
    pub fn time(&self, name: &str) -> Option<f64> {
        let samples = self.times.get(name)?.iter().copied();
        let finite: Vec<f64> = samples.filter(|sample| sample.is_finite()).collect();
        (!finite.is_empty()).then(|| Spread::of(finite).median)
    }

    /// Whether the line may be compared with others: a sound run that measured something.
    #[must_use]
    pub fn counts(&self) -> bool {
        let times = self.times.keys().any(|name| self.time(name).is_some());
        self.verdict.valid && self.verdict.passed && (times || !self.counters.is_empty())
    }
}

/// A history as read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The lines of this schema in their order.
    pub lines: Vec<Line>,
    /// Lines of other schemas.
    pub foreign: usize,
    /// Lines that are no JSON object with a schema, or not of the form that it names.
    pub unreadable: usize,
    /// Whether the file ends in the middle of a line, which is among the unreadable.
    pub torn: bool,
}

impl History {
    /// Reads a history; one that does not exist is empty.
    ///
    /// # Errors
    /// The system's, when the file exists and cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Reads the text of a history.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        #[derive(Deserialize)]
        struct Named {
            schema: String,
        }
        let mut history = Self::default();
        for text in text.lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str::<Named>(text) {
                Ok(named) if named.schema != SCHEMA => history.foreign += 1,
                Ok(_) => match serde_json::from_str(text) {
                    Ok(line) => history.lines.push(line),
                    Err(_) => history.unreadable += 1,
                },
                Err(_) => history.unreadable += 1,
            }
        }
        let last = text.lines().last().unwrap_or_default();
        let whole = serde_json::from_str::<Named>(last).is_ok();
        history.torn = !text.is_empty() && !text.ends_with('\n') && !whole;
        history
    }

    /// What a reader of the report has to know about the file; `None` when all is well.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.torn {
            parts.push("its last line was cut off and is closed at the next append".to_owned());
        }
        if self.unreadable > 0 {
            parts.push(format!(
                "{} lines cannot be read and are left out",
                self.unreadable
            ));
        }
        if self.foreign > 0 {
            parts.push(format!(
                "{} lines of another schema are left out",
                self.foreign
            ));
        }
        (!parts.is_empty()).then(|| format!("the history: {}", parts.join("; ")))
    }
}

/// Appends a line in one write and waits until it is on the disk. A line that an earlier night left
/// without its end is closed first, so that it stays one line of its own.
///
/// # Errors
/// The system's, when folder or file cannot be written.
pub fn append(path: &Path, line: &Line) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let is_new = !path.exists();
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    let mut text = String::new();
    if is_torn(&mut file)? {
        text.push('\n');
    }
    text.push_str(&serde_json::to_string(line)?);
    text.push('\n');
    // O_APPEND and one write: two nights at a time cannot mix their lines.
    let written = file.write(text.as_bytes())?;
    if written < text.len() {
        return Err(io::Error::new(
            io::ErrorKind::WriteZero,
            "the disk took only a part of the line; free space and run the night again",
        ));
    }
    file.sync_all()?;
    match path
        .parent()
        .filter(|f| is_new && !f.as_os_str().is_empty())
    {
        // A new name is safe when its folder is.
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn is_torn(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A sound line of a night with one time.
    pub fn line(night: u64, name: &str, samples: &[f64]) -> Line {
        Line {
            schema: SCHEMA.to_owned(),
            night_unix_s: night,
            commit: format!("c{night}"),
            host_key: "host".to_owned(),
            scenario: "null".to_owned(),
            attempts: 1,
            times: BTreeMap::from([(name.to_owned(), samples.to_vec())]),
            ..Line::default()
        }
    }

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("sirocco-{name}-{}", std::process::id()));
        fs::remove_dir_all(&folder).ok();
        folder
    }

    #[test]
    fn what_is_appended_is_read_again() {
        let folder = folder("history");
        let path = folder.join("deep/history.jsonl");
        assert_eq!(History::read(&path).unwrap(), History::default());
        let nights = [line(1, "cpu_ns_per_sir", &[100.0]), line(2, "x", &[])];
        nights.iter().for_each(|line| append(&path, line).unwrap());
        let history = History::read(&path).unwrap();
        assert_eq!(history.lines, nights);
        assert_eq!(history.notice(), None);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_torn_line_is_said_and_closed_and_nothing_is_lost() {
        let folder = folder("torn");
        let path = folder.join("history.jsonl");
        append(&path, &line(1, "x", &[1.0])).unwrap();
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"schema\":\"sirocco.history/9\",\"more\":1}\n{\"schema\":\"sirocco.hist");
        fs::write(&path, &text).unwrap();
        let history = History::read(&path).unwrap();
        let counts = (history.lines.len(), history.foreign, history.unreadable);
        assert_eq!((counts, history.torn), ((1, 1, 1), true));
        assert!(history.notice().unwrap().contains("cut off"));
        append(&path, &line(2, "x", &[1.0])).unwrap();
        let after = fs::read_to_string(&path).unwrap();
        assert!(after.starts_with(&text), "what was there stays");
        let history = History::read(&path).unwrap();
        assert_eq!(history.lines.len(), 2);
        assert_eq!((history.foreign, history.unreadable), (1, 1));
        assert!(!history.torn);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_last_line_that_lacks_its_newline_only_is_whole() {
        let text = serde_json::to_string(&line(1, "x", &[1.0])).unwrap();
        let history = History::parse(&text);
        assert_eq!((history.lines.len(), history.torn), (1, false));
    }

    #[test]
    fn nothing_measured_does_not_count() {
        assert!(line(1, "x", &[1.0]).counts());
        assert!(!line(1, "x", &[]).counts());
        assert!(!line(1, "x", &[f64::NAN]).counts());
        let mut invalid = line(1, "x", &[1.0]);
        invalid.verdict.valid = false;
        assert!(!invalid.counts());
    }
}
