//! The gate: deterministic counters against an accepted baseline that lies in the repository. A counter
//! that gets worse by more than its tolerance fails the night; one that gets better is told and has to be
//! accepted, or a later loss would hide behind it. Times never come here. Called by `nightly`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::history::Line;
use super::series::more_is_better;
use crate::record::write_json;

/// Version of the form below.
const SCHEMA: &str = "sirocco.counters/1";

/// Tolerance of counts that the kernel takes part in: when a completion is seen decides whether a turn
/// more is made. Measured over 50 runs of the counted job: docs/decisions/0019-nightly.md.
const KERNEL_TOLERANCE: f64 = 0.01;

/// Tolerance of instructions: hash keys, addresses and the environment move them by a few in ten
/// thousand; docs/decisions/0019-nightly.md.
const INSTRUCTION_TOLERANCE: f64 = 0.005;

/// Accepted counters, by job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// [`SCHEMA`].
    schema: String,
    /// Counters of each job; the job of instructions is named with compiler and valgrind.
    jobs: BTreeMap<String, BTreeMap<String, f64>>,
}

/// How a counter stands against the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The same, within its tolerance.
    Same,
    /// Worse.
    Worse,
    /// Better, and not accepted yet.
    Better,
    /// Nothing was accepted to compare with.
    NoBaseline,
    /// Accepted once, and not counted tonight.
    Missing,
}

/// One counter against its baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// The job that counted.
    pub scenario: String,
    /// The counter.
    pub counter: String,
    /// Tonight's count; `None` when it is missing.
    pub tonight: Option<f64>,
    /// The accepted one; `None` when there is none.
    pub accepted: Option<f64>,
    /// The verdict.
    pub standing: Standing,
}

/// Share by which a counter may differ from its baseline.
#[must_use]
pub fn tolerance(line: &Line, counter: &str) -> f64 {
    if line.scenario == super::instructions::NAME {
        INSTRUCTION_TOLERANCE
    } else if ["port_syscalls_per_sir", "port_submissions_per_sir"].contains(&counter) {
        KERNEL_TOLERANCE
    } else {
        0.0
    }
}

fn job(line: &Line) -> String {
    format!("{} {}", line.scenario, line.settings)
        .trim()
        .to_owned()
}

impl Baseline {
    /// Reads a baseline; one that does not exist is empty.
    ///
    /// # Errors
    /// When the file cannot be read or is none.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text?,
        };
        let baseline: Self = serde_json::from_str(&text)?;
        if baseline.schema != SCHEMA {
            let what = format!("schema {} instead of {SCHEMA}", baseline.schema);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(baseline)
    }

    /// Takes the counters of a sound line in place of what was accepted for its job.
    pub fn accept(&mut self, line: &Line) {
        SCHEMA.clone_into(&mut self.schema);
        self.jobs.insert(job(line), line.counters.clone());
    }

    /// Writes it, pretty, for a diff that people read.
    ///
    /// # Errors
    /// The system's, when folder or file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_json(path, self)
    }

    /// Every counter of a sound line, and those that it lacks.
    #[must_use]
    pub fn gates(&self, line: &Line) -> Vec<Gate> {
        let none = BTreeMap::new();
        let accepted = self.jobs.get(&job(line)).unwrap_or(&none);
        let names: BTreeMap<&String, ()> = line
            .counters
            .keys()
            .chain(accepted.keys())
            .map(|name| (name, ()))
            .collect();
        let gate = |counter: &String| {
            let (tonight, accepted) = (line.counters.get(counter), accepted.get(counter));
            Gate {
                scenario: line.scenario.clone(),
                counter: counter.clone(),
                tonight: tonight.copied(),
                accepted: accepted.copied(),
                standing: standing(tonight, accepted, (counter, tolerance(line, counter))),
            }
        };
        names.into_keys().map(gate).collect()
    }
}

fn standing(
    tonight: Option<&f64>,
    accepted: Option<&f64>,
    (counter, tolerance): (&str, f64),
) -> Standing {
    let (Some(tonight), Some(accepted)) = (tonight, accepted) else {
        return if tonight.is_some() {
            Standing::NoBaseline
        } else {
            Standing::Missing
        };
    };
    if (tonight - accepted).abs() <= tolerance * accepted.abs() {
        return Standing::Same;
    }
    let plain = counter
        .strip_prefix("port_")
        .or(counter.strip_prefix("shard_"));
    // A count that is not a number is never better.
    let is_better = match more_is_better(plain.unwrap_or(counter)) {
        true => tonight > accepted,
        false => tonight < accepted,
    };
    if is_better {
        Standing::Better
    } else {
        Standing::Worse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(counters: &[(&str, f64)]) -> Line {
        Line {
            scenario: "counted".to_owned(),
            counters: counters
                .iter()
                .map(|(n, v)| ((*n).to_owned(), *v))
                .collect(),
            ..Line::default()
        }
    }

    #[test]
    fn counters_are_held_to_their_tolerance_in_both_directions() {
        let mut baseline = Baseline::default();
        let of = |baseline: &Baseline, counters: &[(&str, f64)]| {
            let gates = baseline.gates(&line(counters)).into_iter();
            gates.map(|gate| gate.standing).collect::<Vec<_>>()
        };
        let counters = [
            ("port_segments_per_train", 64.0),
            ("port_syscalls_per_sir", 0.01),
            ("shard_allocations_per_sir", 0.0),
        ];
        assert_eq!(of(&baseline, &counters), [Standing::NoBaseline; 3]);
        baseline.accept(&line(&counters));
        assert_eq!(of(&baseline, &counters), [Standing::Same; 3]);
        for (counter, value, wanted) in [
            ("port_segments_per_train", 63.9, Standing::Worse),
            ("port_segments_per_train", 65.0, Standing::Better),
            ("port_syscalls_per_sir", 0.010_05, Standing::Same),
            ("port_syscalls_per_sir", 0.010_2, Standing::Worse),
            ("port_syscalls_per_sir", 0.009, Standing::Better),
            ("shard_allocations_per_sir", 1e-6, Standing::Worse),
            ("shard_allocations_per_sir", f64::NAN, Standing::Worse),
        ] {
            let changed = counters.map(|(n, v)| (n, if n == counter { value } else { v }));
            let reached = of(&baseline, &changed);
            assert!(reached.contains(&wanted), "{counter} {value}: {reached:?}");
        }
        assert_eq!(of(&baseline, &counters[1..])[0], Standing::Missing);
    }

    #[test]
    fn instructions_of_another_compiler_have_no_baseline() {
        let mut counted = line(&[("wire/parse", 1000.0)]);
        counted.scenario = super::super::instructions::NAME.to_owned();
        counted.settings = "rustc 1".to_owned();
        let mut baseline = Baseline::default();
        baseline.accept(&counted);
        counted.counters.insert("wire/parse".to_owned(), 1004.0);
        assert_eq!(baseline.gates(&counted)[0].standing, Standing::Same);
        counted.counters.insert("wire/parse".to_owned(), 1006.0);
        assert_eq!(baseline.gates(&counted)[0].standing, Standing::Worse);
        counted.settings = "rustc 2".to_owned();
        assert_eq!(baseline.gates(&counted)[0].standing, Standing::NoBaseline);
    }
}
