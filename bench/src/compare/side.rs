//! One side of a comparison: the records of a file, a folder or a pattern, read as JSON so that older and
//! newer builds' records are read alike. Checks form and scenario, judges nothing. Called by `compare`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::metrics::Metric;
use crate::record::SCHEMA;
use crate::statistics::{least_rank_p, median};

/// Most records of a side: far beyond what any interval gains from.
const RECORDS_MAX: usize = 1000;

/// Why a side cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SideError {
    /// Nothing is there.
    #[error("{0}: no record there; give a record, a folder of records or a quoted pattern")]
    Nothing(PathBuf),
    /// More records than are compared.
    #[error("{0}: more than {RECORDS_MAX} records; give fewer")]
    TooMany(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file holds something else.
    #[error(
        "{path} is no record of {SCHEMA}: {why}; records are written by `sirocco bench --json`"
    )]
    NoRecord {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
}

/// The records of one scenario on one side, one at least.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Side {
    /// File and content of each record, by name.
    pub records: Vec<(PathBuf, Value)>,
}

impl Side {
    /// Reads every record that `path` names, by scenario: a file, `*.json` in a folder, or a pattern whose
    /// last part has `*` or `?`. What lies beside the records in a folder is passed over and given back.
    ///
    /// # Errors
    /// [`SideError`] names the file and what to give.
    pub fn read(path: &Path) -> Result<(BTreeMap<String, Self>, Vec<SideError>), SideError> {
        let mut files = files(path)?;
        files.sort();
        if files.len() > RECORDS_MAX {
            return Err(SideError::TooMany(path.to_owned()));
        }
        let (mut sides, mut passed_over) = (BTreeMap::new(), Vec::new());
        for file in files {
            let (file, record) = match record(file) {
                Ok(read) => read,
                Err(error @ SideError::NoRecord { .. }) if !path.is_file() => {
                    passed_over.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let scenario = record["scenario"].as_str().unwrap_or_default().to_owned();
            let side: &mut Self = sides.entry(scenario).or_default();
            side.records.push((file, record));
        }
        match sides.is_empty() {
            true => Err(SideError::Nothing(path.to_owned())),
            false => Ok((sides, passed_over)),
        }
    }

    /// The first record: what all of them have in common is read there.
    #[must_use]
    pub fn first(&self) -> &Value {
        &self.records[0].1
    }

    /// The commits of its records, each once.
    #[must_use]
    pub fn commits(&self) -> String {
        let mut commits: Vec<&str> = self
            .records
            .iter()
            .filter_map(|(_, record)| record["commit"].as_str())
            .filter(|commit| !commit.is_empty())
            .collect();
        commits.sort_unstable();
        commits.dedup();
        match commits.is_empty() {
            true => "commit unknown".to_owned(),
            false => commits.join(", "),
        }
    }

    /// Samples of a metric, one group for each record that has any.
    #[must_use]
    pub fn groups(&self, metric: &Metric) -> Vec<Vec<f64>> {
        let samples = self
            .records
            .iter()
            .map(|(_, record)| metric.samples(record));
        samples.filter(|samples| !samples.is_empty()).collect()
    }
}

/// The samples that two sides are compared by. Repetitions of one record share their processes, their
/// memory layout and their hour: where there are records enough on both sides, each counts once, by its
/// median. Else all repetitions count, and the interval says nothing of what differs between starts.
#[must_use]
pub fn samples(a: &Side, b: &Side, metric: &Metric, confidence: f64) -> Samples {
    let (a, b) = (a.groups(metric), b.groups(metric));
    let by_record = metric.is_timed() && least_rank_p(a.len(), b.len()) <= 1.0 - confidence;
    let of = |groups: Vec<Vec<f64>>| match by_record {
        true => groups.iter().filter_map(|group| median(group)).collect(),
        false => groups.concat(),
    };
    Samples {
        by_record,
        a: of(a),
        b: of(b),
    }
}

/// Samples of both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Whether each is the median of a record; else each is a repetition.
    pub by_record: bool,
    /// Those of A.
    pub a: Vec<f64>,
    /// Those of B.
    pub b: Vec<f64>,
}

fn record(path: PathBuf) -> Result<(PathBuf, Value), SideError> {
    let text = fs::read_to_string(&path).map_err(|error| SideError::Unreadable {
        path: path.clone(),
        error,
    })?;
    let no_record = |why: String| SideError::NoRecord {
        path: path.clone(),
        why,
    };
    let value: Value = serde_json::from_str(&text).map_err(|error| no_record(error.to_string()))?;
    match value["schema"].as_str() {
        Some(SCHEMA) => Ok((path, value)),
        Some(other) => Err(no_record(format!("its schema is {other}"))),
        None => Err(no_record("it has no schema".to_owned())),
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, SideError> {
    let unreadable = |error| SideError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let name = path.file_name().map(|name| name.to_string_lossy());
    let (folder, pattern) = match name {
        _ if path.is_file() => return Ok(vec![path.to_owned()]),
        _ if path.is_dir() => (path.to_owned(), "*.json".to_owned()),
        Some(name) if name.contains(['*', '?']) => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or_else(|| Path::new("."));
            (folder.to_owned(), name.into_owned())
        }
        _ => return Err(SideError::Nothing(path.to_owned())),
    };
    let entries = fs::read_dir(folder).map_err(unreadable)?.flatten();
    let wanted = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        matches(pattern.as_bytes(), name.as_bytes())
    });
    let paths = wanted.map(|entry| entry.path());
    Ok(paths.filter(|path| path.is_file()).collect())
}

/// Whether `name` fits `pattern`, in which `*` is any text and `?` any one octet. Looks back to the last
/// `*` only, so that it ends after at most length times length steps.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&octet) if octet == b'?' || octet == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, taken)) = star else {
                    return false;
                };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|&octet| octet == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name, fits) in [
            ("*.json", "a.json", true),
            ("*.json", "a.json.draft", false),
            ("a?.json", "a1.json", true),
            ("a?.json", "a.json", false),
            ("*1*.json", "x1y1z.json", true),
            ("a", "ab", false),
            ("***", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                fits,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn a_side_is_a_file_a_folder_or_a_pattern() {
        let folder = std::env::temp_dir().join(format!("sirocco-side-{}", std::process::id()));
        let record = crate::record::tests::sound();
        record.write(&folder.join("a1.json")).unwrap();
        record.write(&folder.join("a2.json")).unwrap();
        let read = |path: &str| Side::read(&folder.join(path));
        let count = |path: &str| read(path).map(|(sides, _)| sides["dispatch"].records.len());
        assert_eq!(count("a1.json").unwrap(), 1);
        assert_eq!(count("").unwrap(), 2);
        assert_eq!(count("*2.json").unwrap(), 1);
        assert!(matches!(count("b*.json"), Err(SideError::Nothing(_))));
        assert!(matches!(count("b.json"), Err(SideError::Nothing(_))));
        // Strange files are an error where they are asked for, and passed over in a folder.
        fs::write(folder.join("b.json"), r#"{"schema":"sirocco.ab/1"}"#).unwrap();
        let error = count("b.json").expect_err("another schema").to_string();
        assert!(error.contains("sirocco.ab/1"), "{error}");
        assert_eq!(read("").unwrap().1.len(), 1);
        let other = crate::record::Record {
            scenario: "null".to_owned(),
            ..record
        };
        other.write(&folder.join("b.json")).unwrap();
        let (sides, passed_over) = read("").unwrap();
        assert_eq!((sides.len(), passed_over.len()), (2, 0));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn records_count_once_when_there_are_enough() {
        let run = serde_json::json!({ "purpose": "rate", "sirs_per_s": 2e6 });
        let record = serde_json::json!({ "runs": [run, run, run] });
        let side = |count: usize| Side {
            records: vec![(PathBuf::new(), record.clone()); count],
        };
        let metric = &super::super::metrics::METRICS[0];
        let few = samples(&side(3), &side(3), metric, 0.95);
        assert_eq!((few.by_record, few.a.len()), (false, 9));
        let many = samples(&side(4), &side(4), metric, 0.95);
        assert_eq!((many.by_record, many.a), (true, vec![2e6; 4]));
    }
}
