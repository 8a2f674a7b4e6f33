//! `sirocco compare A B`: two records, or two folders of them, held against each other figure by figure.
//! What must not be compared is refused with every difference named: unlike machines, unlike scenarios,
//! invalid runs. `metrics` says what is compared, `judge` what follows, `table` shows it.

mod judge;
mod metrics;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::cli::CompareArgs;
use crate::host::Weight;
use crate::record::{self, Record, SCHEMA};
use crate::role::{EXIT_FAILED, EXIT_INVALID, EXIT_USAGE, complain};
use judge::{Compared, Finding};

/// Version of the comparison's JSON.
const COMPARISON: &str = "sirocco.comparison/1";

/// Settings that change how long or how often is measured, and not what.
const LENGTHS: [&str; 5] = [
    "/runs/repetitions",
    "/runs/warm-up-ms",
    "/runs/measured-ms",
    "/runs/latency-ms",
    "/runs/drain-ms-max",
];

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
enum CompareError {
    /// The system's.
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// It is no record.
    #[error(
        "{}: {error}; give a file that `sirocco bench --json` wrote, or a folder of such files",
        path.display()
    )]
    Syntax {
        path: PathBuf,
        error: serde_json::Error,
    },
    /// A record of another version.
    #[error("{}: schema `{schema}`, this program reads `{SCHEMA}`", path.display())]
    Schema { path: PathBuf, schema: String },
    /// Nothing in common.
    #[error(
        "no scenario is on both sides: {a} has {a_names}, {b} has {b_names}; run `sirocco bench --scenario NAME --json FILE` for both"
    )]
    NothingShared {
        a: String,
        b: String,
        a_names: String,
        b_names: String,
    },
}

/// One scenario on both sides.
#[derive(Debug, Serialize)]
struct Pairing {
    /// Name of the scenario.
    scenario: String,
    /// Files and commits of both sides.
    a: Vec<String>,
    /// The same.
    b: Vec<String>,
    /// What forbids the comparison.
    refused: Vec<String>,
    /// What the reader has to know.
    warned: Vec<String>,
    /// Figure by figure; empty where refused.
    figures: Vec<Compared>,
}

/// The whole comparison.
#[derive(Debug, Serialize)]
struct Comparison {
    schema: &'static str,
    threshold: f64,
    confidence: f64,
    scenarios: Vec<Pairing>,
    /// Scenarios that one side lacks.
    alone: Vec<String>,
}

/// The records of one side, by scenario.
type Side = BTreeMap<String, Vec<(PathBuf, Record)>>;

/// Runs the role; returns its exit code.
pub fn start(args: &CompareArgs) -> u8 {
    let comparison = match compare(args) {
        Ok(comparison) => comparison,
        Err(error @ CompareError::NothingShared { .. }) => {
            complain(error);
            return EXIT_USAGE;
        }
        Err(error) => {
            complain(error);
            return EXIT_INVALID;
        }
    };
    if !args.quiet {
        crate::print(&table::comparison(&comparison));
    }
    if let Err(error) = publish(&comparison, args.json.as_deref()) {
        complain(format!("cannot write the comparison: {error}"));
        return EXIT_INVALID;
    }
    comparison.exit_code()
}

impl Comparison {
    /// A regression goes before what could not be compared; a comparison of no figure passes nothing.
    fn exit_code(&self) -> u8 {
        let figures = || self.scenarios.iter().flat_map(|pairing| &pairing.figures);
        if figures().any(|figure| figure.finding == Finding::Regression) {
            return EXIT_FAILED;
        }
        let refused = (self.scenarios.iter()).any(|pairing| !pairing.refused.is_empty());
        let nothing = figures().all(|figure| figure.finding == Finding::TooFewSamples);
        if refused || nothing { EXIT_INVALID } else { 0 }
    }
}

fn publish(comparison: &Comparison, path: Option<&Path>) -> io::Result<()> {
    match path {
        Some(path) if path == Path::new("-") => {
            crate::print(&format!("{}\n", serde_json::json!(comparison)));
            Ok(())
        }
        Some(path) => record::write_json(path, comparison),
        None => Ok(()),
    }
}

fn compare(args: &CompareArgs) -> Result<Comparison, CompareError> {
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    let shared: Vec<&String> = a.keys().filter(|name| b.contains_key(*name)).collect();
    if shared.is_empty() {
        let names = |side: &Side| match side.keys().cloned().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "no record".to_owned(),
            names => names,
        };
        return Err(CompareError::NothingShared {
            a: args.a.display().to_string(),
            b: args.b.display().to_string(),
            a_names: names(&a),
            b_names: names(&b),
        });
    }
    let scenarios = shared
        .into_iter()
        .map(|name| pair(name, &a[name], &b[name], args));
    let alone = a.keys().filter(|name| !b.contains_key(*name));
    let alone = alone.chain(b.keys().filter(|name| !a.contains_key(*name)));
    Ok(Comparison {
        schema: COMPARISON,
        threshold: args.threshold,
        confidence: args.confidence,
        scenarios: scenarios.collect(),
        alone: alone.cloned().collect(),
    })
}

fn pair(
    scenario: &str,
    a: &[(PathBuf, Record)],
    b: &[(PathBuf, Record)],
    args: &CompareArgs,
) -> Pairing {
    let (mut refused, mut warned) = (Vec::new(), Vec::new());
    let first = &a[0].1;
    for (path, record) in a.iter().chain(b) {
        unlike(first, record, (&mut refused, &mut warned));
        if !record.verdict.valid {
            let reasons = record.verdict.reasons.join("; ");
            refused.push(format!("{} is an invalid run: {reasons}", path.display()));
        }
    }
    for list in [&mut refused, &mut warned] {
        list.sort();
        list.dedup();
    }
    if args.force {
        warned.append(&mut refused);
    }
    let records = |side: &[(PathBuf, Record)]| -> Vec<String> {
        let named = |(path, record): &(PathBuf, Record)| {
            format!("{} (commit {})", path.display(), record.commit)
        };
        side.iter().map(named).collect()
    };
    let figures = match refused.is_empty() {
        true => {
            let of = |side: &'_ [(PathBuf, Record)]| side.iter().map(|(_, r)| r.clone()).collect();
            let (a, b): (Vec<Record>, Vec<Record>) = (of(a), of(b));
            let [a, b] = [&a, &b].map(|side| side.iter().collect::<Vec<_>>());
            judge::compare(&a, &b, args.threshold, args.confidence)
        }
        false => Vec::new(),
    };
    Pairing {
        scenario: scenario.to_owned(),
        a: records(a),
        b: records(b),
        refused,
        warned,
        figures,
    }
}

/// Names what two records differ in beside their figures.
fn unlike(a: &Record, b: &Record, (refused, warned): (&mut Vec<String>, &mut Vec<String>)) {
    for difference in a.host.differences(&b.host) {
        match difference.weight {
            Weight::Refused => refused.push(format!("unlike machines: {difference}")),
            Weight::Warned => warned.push(difference.to_string()),
        }
    }
    if a.cores != b.cores {
        warned.push(format!("cores: {:?} and {:?}", a.cores, b.cores));
    }
    let config = |record: &Record| serde_json::to_value(&record.config).unwrap_or_default();
    let mut paths = Vec::new();
    differing(&config(a), &config(b), String::new(), &mut paths);
    for (path, a, b) in paths {
        let said = format!("{path}: {a} and {b}");
        if path == "/summary" {
            continue;
        }
        if LENGTHS.contains(&path.as_str()) {
            warned.push(said);
        } else {
            refused.push(format!("unlike scenarios: {said}"));
        }
    }
}

/// Collects where two values differ: path, and both values.
fn differing(a: &Value, b: &Value, path: String, found: &mut Vec<(String, String, String)>) {
    let (Value::Object(left), Value::Object(right)) = (a, b) else {
        if a != b {
            found.push((path, a.to_string(), b.to_string()));
        }
        return;
    };
    let added = right.keys().filter(|name| !left.contains_key(*name));
    for name in left.keys().chain(added) {
        let (a, b) = (left.get(name), right.get(name));
        let (a, b) = (a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null));
        differing(a, b, format!("{path}/{name}"), found);
    }
}

/// Reads a record, or every record of a folder; files of a folder that are no records are passed over.
fn read(path: &Path) -> Result<Side, CompareError> {
    let unreadable = |error| CompareError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let mut side = Side::new();
    let mut keep = |path: PathBuf, record: Record| {
        let records = side.entry(record.scenario.clone()).or_default();
        records.push((path, record));
    };
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        keep(path.to_owned(), one(path)?);
        return Ok(side);
    }
    let entries = fs::read_dir(path).map_err(unreadable)?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|name| name == "json"))
        .collect();
    files.sort();
    for file in files {
        match one(&file) {
            Ok(record) => keep(file, record),
            Err(CompareError::Syntax { .. }) => {
                complain(format!(
                    "{} is no record and is passed over",
                    file.display()
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(side)
}

fn one(path: &Path) -> Result<Record, CompareError> {
    let text = fs::read_to_string(path).map_err(|error| CompareError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let syntax = |error| CompareError::Syntax {
        path: path.to_owned(),
        error,
    };
    let value: Value = serde_json::from_str(&text).map_err(syntax)?;
    match value.get("schema").and_then(Value::as_str) {
        Some(SCHEMA) | None => serde_json::from_value(value).map_err(syntax),
        Some(schema) => Err(CompareError::Schema {
            path: path.to_owned(),
            schema: schema.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
