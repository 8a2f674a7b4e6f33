//! What a report is made from: records, a history, a plan. Read as JSON by place, so that records of older
//! and newer builds are shown alike; whatever is missing is left out, nothing is taken on trust. Called by
//! `report`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::compare::side::{Side, SideError};

/// Most records of one report: a page of more is neither loaded nor read.
const RECORDS_MAX: usize = 64;

/// Greatest size of a file in bytes: the records of the longest scenarios have less than 1 MB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The records.
    #[error(transparent)]
    Records(#[from] SideError),
    /// More records than a page shows.
    #[error("more than {RECORDS_MAX} records; name fewer")]
    TooMany,
    /// A file that no program of ours wrote.
    #[error(
        "{0} has more than {FILE_BYTES_MAX} bytes; a report takes records, histories and plans"
    )]
    TooLong(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot {what} {path}: {error}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A plan that is none.
    #[error("{path} is no plan: {error}; `sirocco plan --json` writes one")]
    NoPlan {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// Nothing to show.
    #[error("nothing to show: name records, or give --history or --plan")]
    Nothing,
}

/// A record as found.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it was.
    pub path: PathBuf,
    /// The file as it is.
    pub text: String,
    /// The same, read.
    pub json: Value,
}

impl Source {
    /// A text at a place; empty when there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        let found = self.json.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default()
    }

    /// A finite number at a place.
    #[must_use]
    pub fn number(&self, pointer: &str) -> Option<f64> {
        number(self.json.pointer(pointer)?)
    }

    /// What it is called: its file's name without the ending, or its scenario where that says nothing.
    #[must_use]
    pub fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        match stem.is_empty() || stem == "latest" {
            true => self.text("/scenario").to_owned(),
            false => stem.into_owned(),
        }
    }

    /// The name of its file.
    #[must_use]
    pub fn file(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Why its figures may not be used, in a word; empty when they may.
    #[must_use]
    pub fn stamp(&self) -> &'static str {
        let holds = |pointer| self.json.pointer(pointer).and_then(Value::as_bool);
        match (holds("/verdict/passed"), holds("/verdict/valid")) {
            (Some(true), Some(true)) => "",
            (Some(false), _) => "FAILED",
            _ => "INVALID",
        }
    }

    /// Pairs of numbers at a place, as histograms have them.
    #[must_use]
    pub fn pairs(&self, pointer: &str) -> Vec<(f64, f64)> {
        let pair = |value: &Value| Some((number(value.get(0)?)?, number(value.get(1)?)?));
        let list = self.json.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(pair).collect()
    }

    /// Objects at a place.
    #[must_use]
    pub fn list(&self, pointer: &str) -> &[Value] {
        let list = self.json.pointer(pointer).and_then(Value::as_array);
        list.map_or(&[], Vec::as_slice)
    }
}

/// A finite number.
#[must_use]
pub fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

/// Reads every record that `paths` name, in their order; what lies beside records in a folder is told to
/// `passed_over`.
///
/// # Errors
/// [`SourceError`] says which file, and what to give.
pub fn records(
    paths: &[PathBuf],
    mut passed_over: impl FnMut(&SideError),
) -> Result<Vec<Source>, SourceError> {
    let mut records = Vec::new();
    for path in paths {
        let (sides, others) = Side::read(path)?;
        others.iter().for_each(&mut passed_over);
        for (path, json) in sides.into_values().flat_map(|side| side.records) {
            let text = read(&path)?;
            records.push(Source { path, text, json });
        }
    }
    match records.len() > RECORDS_MAX {
        true => Err(SourceError::TooMany),
        false => Ok(records),
    }
}

/// Reads a file of ours.
///
/// # Errors
/// It cannot be read, or is far too long.
pub fn read(path: &Path) -> Result<String, SourceError> {
    let unread = |error| SourceError::File {
        what: "read",
        path: path.to_owned(),
        error,
    };
    if fs::metadata(path).map_err(unread)?.len() > FILE_BYTES_MAX {
        return Err(SourceError::TooLong(path.to_owned()));
    }
    fs::read_to_string(path).map_err(unread)
}
