//! What a night runs: scenarios with their lengths and objectives, the counted jobs and the benches
//! whose instructions are counted. Two suites are built in; a file of the user's is read by the same
//! rules, and an unknown key is an error. Called by `nightly`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cli::BenchArgs;
use crate::scenario::{Scenario, ScenarioError};

/// The suites built in, by name.
const BUILT_IN: [(&str, &str); 2] = [
    ("quick", include_str!("../../nightly/quick.toml")),
    ("full", include_str!("../../nightly/full.toml")),
];

/// Most starts of a scenario in a night: beyond it medians gain nothing.
const STARTS_MAX: u16 = 99;

/// One suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Suite {
    /// Name for the report.
    pub name: String,
    /// Whether the jobs with deterministic counters are run.
    #[serde(default)]
    pub counted: bool,
    /// Benches whose instructions are counted under callgrind, as `package/bench`.
    #[serde(default)]
    pub instructions: Vec<String>,
    /// Scenarios, in their order.
    #[serde(default, rename = "scenario")]
    pub scenarios: Vec<Job>,
}

/// One scenario of a suite; what is left out comes from the scenario itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Job {
    /// A built-in scenario, or the path of a TOML file.
    pub scenario: String,
    /// User identities.
    #[serde(default)]
    pub identities: Option<u64>,
    /// Repetitions.
    #[serde(default)]
    pub repetitions: Option<u16>,
    /// Starts of engine and load generator, each with all repetitions: repetitions of one start share their
    /// memory layout, and what differs between starts is mostly the larger part [default: 1].
    #[serde(default)]
    pub starts: Option<u16>,
    /// Measured length of one, in milliseconds.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// Time run and not counted before each, in milliseconds.
    #[serde(default)]
    pub warm_up_ms: Option<u64>,
    /// What has to be reached, such as `sirs_per_s >= 1.5e6`.
    #[serde(default)]
    pub objectives: Vec<Objective>,
}

/// A bound of one figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Objective {
    /// Name of the figure.
    pub figure: String,
    /// Whether the bound is the least; otherwise it is the most.
    pub at_least: bool,
    /// The bound, in the figure's unit.
    pub bound: f64,
}

impl Objective {
    /// Whether `value` is enough; what was not measured never is.
    #[must_use]
    pub fn is_met(&self, value: Option<f64>) -> bool {
        value.is_some_and(|value| match self.at_least {
            true => value >= self.bound,
            false => value <= self.bound,
        })
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = if self.at_least { ">=" } else { "<=" };
        write!(out, "{} {relation} {}", self.figure, self.bound)
    }
}

impl From<Objective> for String {
    fn from(objective: Objective) -> Self {
        objective.to_string()
    }
}

impl TryFrom<String> for Objective {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no objective; give one such as sirs_per_s >= 1.5e6");
        let words: Vec<&str> = text.split_whitespace().collect();
        let &[figure, relation, bound] = words.as_slice() else {
            return Err(wrong());
        };
        let at_least = match relation {
            ">=" => true,
            "<=" => false,
            _ => return Err(wrong()),
        };
        let bound = bound.replace('_', "").parse::<f64>().map_err(|_| wrong())?;
        if !bound.is_finite() {
            return Err(wrong());
        }
        Ok(Self {
            figure: figure.to_owned(),
            at_least,
            bound,
        })
    }
}

/// Why there is no suite.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The file cannot be read.
    #[error("cannot read suite {path}: {error}; give quick, full or the path of a TOML file")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The text is no suite.
    #[error("suite {path}: {error}")]
    Syntax {
        /// The file, or the built-in name.
        path: String,
        /// What is wrong, with line and key.
        error: Box<toml::de::Error>,
    },
    /// There is nothing to run.
    #[error("suite {path} runs nothing: give it a [[scenario]], counted = true or instructions")]
    Empty {
        /// The file, or the built-in name.
        path: String,
    },
    /// A bench is not named as it should be.
    #[error(
        "suite {path}: `{bench}` names no bench; give package/bench, such as sirocco-wire/message"
    )]
    Bench {
        /// The file, or the built-in name.
        path: String,
        /// What was given.
        bench: String,
    },
    /// A scenario is to be started never, or too often.
    #[error("suite {path}: starts = {starts} of {scenario}; give 1 to {STARTS_MAX}")]
    Starts {
        /// The file, or the built-in name.
        path: String,
        /// The scenario.
        scenario: String,
        /// What was given.
        starts: u16,
    },
    /// A scenario is not one.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

impl Suite {
    /// Finds a built-in suite by name, or reads a file, and checks every scenario in it.
    ///
    /// # Errors
    /// [`SuiteError`] names file and key.
    pub fn find(name: &str) -> Result<Self, SuiteError> {
        let text = match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => (*text).to_owned(),
            None => std::fs::read_to_string(Path::new(name)).map_err(|error| {
                let path = name.to_owned();
                SuiteError::Unreadable { path, error }
            })?,
        };
        Self::parse(&text, name)
    }

    fn parse(text: &str, path: &str) -> Result<Self, SuiteError> {
        let path = path.to_owned();
        let suite: Self = match toml::from_str(text) {
            Ok(suite) => suite,
            Err(error) => {
                let error = Box::new(error);
                return Err(SuiteError::Syntax { path, error });
            }
        };
        if suite.scenarios.is_empty() && !suite.counted && suite.instructions.is_empty() {
            return Err(SuiteError::Empty { path });
        }
        let named = |bench: &&String| bench.split('/').filter(|part| !part.is_empty()).count() == 2;
        if let Some(bench) = suite.instructions.iter().find(|bench| !named(bench)) {
            let bench = bench.clone();
            return Err(SuiteError::Bench { path, bench });
        }
        for job in &suite.scenarios {
            if !(1..=STARTS_MAX).contains(&job.starts()) {
                let (scenario, starts) = (job.scenario.clone(), job.starts());
                return Err(SuiteError::Starts {
                    path,
                    scenario,
                    starts,
                });
            }
            job.scenario()?;
        }
        Ok(suite)
    }
}

impl Job {
    /// Starts of engine and load generator.
    #[must_use]
    pub fn starts(&self) -> u16 {
        self.starts.unwrap_or(1)
    }

    /// The scenario in force.
    ///
    /// # Errors
    /// When it does not exist or is out of bounds.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let args = BenchArgs {
            identities: self.identities,
            repetitions: self.repetitions,
            duration: self.duration_ms.map(Duration::from_millis),
            ..BenchArgs::default()
        };
        let mut scenario = Scenario::find(&self.scenario)?;
        if let Some(warm_up_ms) = self.warm_up_ms {
            scenario.runs.warm_up_ms = warm_up_ms;
        }
        scenario.with(&args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_built_in_are_sound() {
        for (name, _) in BUILT_IN {
            let suite = Suite::find(name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(suite.name, name);
            assert!(suite.counted && !suite.scenarios.is_empty());
        }
    }

    #[test]
    fn a_suite_that_runs_nothing_is_refused() {
        for (text, hint) in [
            ("name = 'x'", "runs nothing"),
            ("name = 'x'\ncounted = true\nmore = 1", "more"),
            ("name = 'x'\ninstructions = ['wire']", "package/bench"),
            ("name = 'x'\n[[scenario]]\nscenario = 'nul'", "dispatch"),
            (
                "name = 'x'\n[[scenario]]\nscenario = 'null'\nstarts = 0",
                "1 to 99",
            ),
            (
                "name = 'x'\n[[scenario]]\nscenario = 'null'\nobjectives = ['x > 3']",
                "sirs_per_s >= 1.5e6",
            ),
        ] {
            let error = Suite::parse(text, "x.toml").expect_err(text).to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn what_was_not_measured_misses_its_objective() {
        let objective: Objective = "sirs_per_s >= 1_500_000".parse().unwrap();
        assert!(objective.is_met(Some(1.5e6)) && !objective.is_met(Some(1.4e6)));
        assert!(!objective.is_met(None) && !objective.is_met(Some(f64::NAN)));
        assert_eq!(objective.to_string(), "sirs_per_s >= 1500000");
    }
}
