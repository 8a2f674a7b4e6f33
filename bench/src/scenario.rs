//! Scenarios: what is dispatched to whom, for how long, and what must hold. Many are built in as TOML
//! files that users can print and copy; a file of theirs is read by the same rules. An unknown key is
//! an error that names file and key, since a misspelt setting silently ignored makes a false figure.
//! What sessions need beside rates lies in `sessions`.

mod sessions;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sirocco_dispatch::config::EngineConfig;
use sirocco_loadgen::{Mix, MixError};
use sirocco_schedule::{Arrivals, Shape};

use crate::cli::BenchArgs;
use crate::find::criterion::Criterion;
use crate::quantity::Rate;

pub use sessions::{Addressing, Flood, Hold, Mode, Outcome, Right, order};

/// The scenarios built in, by name.
const BUILT_IN: [(&str, &str); 22] = [
    ("dispatch", include_str!("../scenarios/dispatch.toml")),
    ("direct", include_str!("../scenarios/direct.toml")),
    ("fanout", include_str!("../scenarios/fanout.toml")),
    ("null", include_str!("../scenarios/null.toml")),
    ("silent", include_str!("../scenarios/silent.toml")),
    ("overload", include_str!("../scenarios/overload.toml")),
    ("sessions", include_str!("../scenarios/sessions.toml")),
    (
        "sessions-direct",
        include_str!("../scenarios/sessions-direct.toml"),
    ),
    (
        "sessions-msrp",
        include_str!("../scenarios/sessions-msrp.toml"),
    ),
    ("hold", include_str!("../scenarios/hold.toml")),
    ("flood", include_str!("../scenarios/flood.toml")),
    ("faults", include_str!("../scenarios/faults.toml")),
    ("addressing", include_str!("../scenarios/addressing.toml")),
    ("re-push", include_str!("../scenarios/re-push.toml")),
    ("regional", include_str!("../scenarios/regional.toml")),
    ("s1", include_str!("../scenarios/s1.toml")),
    ("s2", include_str!("../scenarios/s2.toml")),
    ("s3", include_str!("../scenarios/s3.toml")),
    ("s5", include_str!("../scenarios/s5.toml")),
    ("s6", include_str!("../scenarios/s6.toml")),
    ("s7", include_str!("../scenarios/s7.toml")),
    ("s9", include_str!("../scenarios/s9.toml")),
];

/// Most devices that a generated identity can be given.
const DEVICES_MAX: u16 = 64;

/// Most repetitions of one run: beyond it medians gain nothing.
const REPETITIONS_MAX: u16 = 99;

/// Where the loadgen answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Behind next hops, in trains.
    Edges,
    /// At an address of each device's own, one datagram each.
    Direct,
    /// Nowhere: the engine renders and drops, no sockets.
    Nowhere,
}

/// Which devices of an identity an order wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// One, another in each pass over the population (mode targeted).
    #[default]
    OneInTurn,
    /// All of them (mode fan-out).
    All,
}

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Population {
    /// User identities.
    pub identities: u64,
    /// Fewest devices of an identity.
    pub devices_min: u16,
    /// Most devices of an identity; the counts between are equally frequent.
    pub devices_max: u16,
    /// Whether both sides read it from a file, so that edges know which devices share an identity. A
    /// generated one then has one device in each identity that its user prefers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// A file to load instead of generating.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// How long, how often, how fast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Runs {
    /// SIRs a second, or "max".
    pub rate: Rate,
    /// The rate at each moment in the place of `rate` and of the lengths below; docs/load.md has its grammar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Shape>,
    /// How orders follow each other where the rate is a number: at equal distances, or as a Poisson process.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Repetitions, interleaved with the ceiling.
    pub repetitions: u16,
    /// Time run and not counted before each repetition, in milliseconds.
    pub warm_up_ms: u64,
    /// Counted length of one repetition, in milliseconds.
    pub measured_ms: u64,
    /// Counted length of the open-loop run at half the median rate that gives the latency, in
    /// milliseconds; 0 leaves it out.
    pub latency_ms: u64,
    /// Longest time that a drain may take after a run, in milliseconds.
    pub drain_ms_max: u64,
}

/// Bounds beyond which a run is invalid or failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Checks {
    /// The order source and the loadgen may lag this far behind at p99, in microseconds; more voids
    /// the run, since the load was then not the one that was asked for.
    pub lag_p99_us_max: u64,
    /// The hypervisor may have stolen this share of the machine's time; more voids the run.
    pub steal_share_max: f64,
    /// A spinning worker has to have its core for this share of the measured time; less voids the run,
    /// since something else ran there.
    pub own_core_share_min: f64,
    /// At least this share of what was accepted has to end as delivered; less fails the run.
    pub delivered_share_min: f64,
    /// The offered rate has to be met to this share in an open-loop run; less voids it.
    pub offered_share_min: f64,
    /// At least this share of the pushes due has to end as delivered; less fails the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_share_min: Option<f64>,
}

/// One scenario, as its file holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// Name for the record.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Seed of population, order of devices and behaviour.
    pub seed: u64,
    /// Where the loadgen answers.
    pub place: Place,
    /// Next hops; the loadgen opens a socket for each.
    pub next_hops: u16,
    /// Which devices of an identity an order wants.
    pub wanted: Wanted,
    /// What devices do, in the short form of docs/benchmarking.md.
    pub mix: String,
    /// Who is there.
    pub population: Population,
    /// How long, how often, how fast.
    pub runs: Runs,
    /// When a run is invalid or failed.
    pub checks: Checks,
    /// Settings of the engine worker; docs/operations.md lists them.
    #[serde(default)]
    pub engine: toml::Table,
    /// Fields of every order but its name and recipients. With a content devices build sessions for it.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub order: toml::Table,
    /// Settings of the loadgen's sessions and devices.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub loadgen: toml::Table,
    /// Sessions are built up and held open instead of run through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// A second sender floods the engine with forged INVITEs in every other run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flood: Option<Flood>,
    /// The same orders are run in several addressing modes and set side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addressing: Option<Addressing>,
    /// Every SIR is judged by its outcome and the time it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What `--find-max` looks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// What a rate has to meet when the limit is looked for, and the least that has to be found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limit {
    /// Bounds, such as "p99<=5ms, loss<=0".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criterion: Option<Criterion>,
    /// Least limit; one below fails the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective_per_s: Option<u64>,
}

/// Why there is no scenario; the text names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Neither a built-in name nor a file.
    #[error("no scenario `{name}`: give one of {known}, or the path of a TOML file")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The built-in names.
        known: String,
    },
    /// The file cannot be read.
    #[error("cannot read scenario {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The text is no scenario.
    #[error("scenario {path}: {error}")]
    Syntax {
        /// The file, or the built-in name.
        path: String,
        /// What is wrong, with line and key.
        error: Box<toml::de::Error>,
    },
    /// The engine knows no such setting.
    #[error("scenario {path}: [engine]: {error}")]
    Engine {
        /// The file, or the built-in name.
        path: String,
        /// What is wrong, with the setting.
        error: String,
    },
    /// The fields of an order are not those of one.
    #[error("scenario {path}: [order]: {error}")]
    Order {
        /// The file, or the built-in name.
        path: String,
        /// What is wrong, with the field.
        error: String,
    },
    /// The loadgen knows no such setting.
    #[error("scenario {path}: [loadgen]: {error}")]
    Loadgen {
        /// The file, or the built-in name.
        path: String,
        /// What is wrong, with the setting.
        error: String,
    },
    /// The mix is not understood.
    #[error("scenario {path}: {error}")]
    Mix {
        /// The file, or the built-in name.
        path: String,
        /// What is wrong, and what is possible.
        error: MixError,
    },
    /// A value is out of bounds.
    #[error("scenario {path}: {key} is {value}; give {bounds}")]
    Bounds {
        /// The file, or the built-in name.
        path: String,
        /// The key.
        key: &'static str,
        /// What it is.
        value: String,
        /// What is possible.
        bounds: &'static str,
    },
}

/// A value out of its bounds.
struct Outside {
    key: &'static str,
    value: u64,
    bounds: &'static str,
}

impl Scenario {
    /// Finds a built-in scenario by name, or reads a file.
    ///
    /// # Errors
    /// [`ScenarioError`] names the file, the key and what is possible.
    pub fn find(name: &str) -> Result<Self, ScenarioError> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::parse(text, &format!("{name} (built in)"));
        }
        let path = Path::new(name);
        if !name.contains(['/', '.']) && !path.exists() {
            let known = BUILT_IN.map(|(known, _)| known).join(", ");
            return Err(ScenarioError::Unknown {
                name: name.to_owned(),
                known,
            });
        }
        let text = fs::read_to_string(path).map_err(|error| ScenarioError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(&text, name)
    }

    /// Reads and checks the text of a scenario file; `path` is for its errors.
    ///
    /// # Errors
    /// As [`Scenario::find`].
    pub fn parse(text: &str, path: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| ScenarioError::Syntax {
            path: path.to_owned(),
            error: Box::new(error),
        })?;
        scenario.check(path)?;
        Ok(scenario)
    }

    /// The same scenario with what the command line says in place of what the file said.
    ///
    /// # Errors
    /// When the outcome is out of bounds.
    pub fn with(mut self, args: &BenchArgs) -> Result<Self, ScenarioError> {
        let runs = &mut self.runs;
        runs.rate = args.rate.unwrap_or(runs.rate);
        if args.rate.is_some() {
            runs.load = None;
        }
        if let Some(load) = &args.load {
            // A shape has the length that it says: one run of it unless more are asked for.
            (runs.load, runs.repetitions) = (Some(load.clone()), 1);
        }
        runs.arrivals = args.arrivals.unwrap_or(runs.arrivals);
        runs.repetitions = args.repetitions.unwrap_or(runs.repetitions);
        if let Some(length) = args.duration {
            runs.measured_ms = millis(length);
            runs.latency_ms = runs.latency_ms.min(runs.measured_ms);
        }
        self.population.identities = args.identities.unwrap_or(self.population.identities);
        if args.identities.is_some() {
            self.population.file = None;
        }
        if let Some(file) = &args.population {
            self.population.file = Some(file.clone());
        }
        self.next_hops = args.next_hops.unwrap_or(self.next_hops);
        self.seed = args.seed.unwrap_or(self.seed);
        if let Some(mix) = &args.mix {
            self.mix.clone_from(mix);
        }
        if let Some(train) = args.train {
            self.engine
                .insert("train-segments".to_owned(), i64::from(train).into());
        }
        self.check("with the options given")?;
        Ok(self)
    }

    /// The scenario as TOML, to be printed and copied.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }

    fn check(&self, path: &str) -> Result<(), ScenarioError> {
        self.bounds().map_err(|Outside { key, value, bounds }| {
            let (path, value) = (path.to_owned(), value.to_string());
            ScenarioError::Bounds {
                path,
                key,
                value,
                bounds,
            }
        })?;
        self.mix.parse::<Mix>().map_err(|error| {
            let path = path.to_owned();
            ScenarioError::Mix { path, error }
        })?;
        self.engine_config().map(drop).map_err(|error| {
            let path = path.to_owned();
            ScenarioError::Engine { path, error }
        })?;
        self.loadgen_config().map(drop).map_err(|error| {
            let path = path.to_owned();
            ScenarioError::Loadgen { path, error }
        })?;
        self.order_named("check").map(drop).map_err(|error| {
            let path = path.to_owned();
            ScenarioError::Order { path, error }
        })
    }

    fn bounds(&self) -> Result<(), Outside> {
        let bound = |key, value: u64, low: u64, high: u64, bounds| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(Outside { key, value, bounds })
            }
        };
        let (population, runs) = (&self.population, &self.runs);
        let (low, high) = (
            u64::from(population.devices_min),
            u64::from(population.devices_max),
        );
        let most = u64::from(DEVICES_MAX);
        bound(
            "population.identities",
            population.identities,
            1,
            1 << 32,
            "1 to 4294967296",
        )?;
        bound("population.devices-min", low, 1, most, "1 to 64")?;
        bound(
            "population.devices-max",
            high,
            low,
            most,
            "devices-min to 64",
        )?;
        bound(
            "next-hops",
            u64::from(self.next_hops),
            1,
            65_534,
            "1 to 65534",
        )?;
        let repetitions = u64::from(runs.repetitions);
        bound(
            "runs.repetitions",
            repetitions,
            1,
            u64::from(REPETITIONS_MAX),
            "1 to 99",
        )?;
        bound(
            "runs.measured-ms",
            runs.measured_ms,
            100,
            86_400_000,
            "100 to 86400000",
        )?;
        bound(
            "runs.warm-up-ms",
            runs.warm_up_ms,
            0,
            600_000,
            "0 to 600000",
        )?;
        bound(
            "runs.drain-ms-max",
            runs.drain_ms_max,
            100,
            600_000,
            "100 to 600000",
        )?;
        self.session_bounds(bound)
    }

    /// The engine's settings, defaults filled in.
    ///
    /// # Errors
    /// The setting that is unknown or out of bounds, and what is possible.
    pub fn engine_config(&self) -> Result<EngineConfig, String> {
        let value = serde_json::to_value(&self.engine).map_err(|error| error.to_string())?;
        let config: EngineConfig =
            serde_json::from_value(value).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }
}

/// Whole milliseconds of a length that the command line has bounded.
fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_is_sound_and_named_as_it_is_found() {
        for (name, _) in BUILT_IN {
            let scenario = Scenario::find(name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(scenario.name, name);
            assert!(!scenario.summary.is_empty());
        }
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        for (name, _) in BUILT_IN {
            let scenario = Scenario::find(name).unwrap();
            assert_eq!(
                Scenario::parse(&scenario.to_toml(), name).unwrap(),
                scenario
            );
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file() {
        let text = BUILT_IN[0].1.replace("warm-up-ms", "warmup-ms");
        let error = Scenario::parse(&text, "mine.toml")
            .expect_err("unknown key")
            .to_string();
        assert!(
            error.contains("mine.toml") && error.contains("warmup-ms"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_engine_setting_is_named_with_its_file() {
        for (setting, named) in [
            ("windw-total = 3", "windw-total"),
            ("slabs = 1", "4 to 4096"),
        ] {
            let text = format!("{}{setting}\n", BUILT_IN[0].1);
            let error = Scenario::parse(&text, "mine.toml")
                .expect_err("unknown")
                .to_string();
            assert!(
                error.contains("mine.toml") && error.contains(named),
                "{error}"
            );
        }
    }

    #[test]
    fn values_out_of_bounds_are_named_with_what_is_possible() {
        let text = BUILT_IN[0]
            .1
            .replace("devices-max = 4", "devices-max = 400");
        let error = Scenario::parse(&text, "mine.toml")
            .expect_err("too many")
            .to_string();
        assert!(
            error.contains("population.devices-max") && error.contains("64"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones_and_a_missing_file_is_named() {
        let error = Scenario::find("dispach")
            .expect_err("typing error")
            .to_string();
        assert!(
            error.contains("dispatch") && error.contains("overload"),
            "{error}"
        );
        let error = Scenario::find("./nowhere.toml")
            .expect_err("no file")
            .to_string();
        assert!(error.contains("./nowhere.toml"), "{error}");
    }

    #[test]
    fn options_take_the_place_of_the_file_s_values() {
        let args = BenchArgs {
            identities: Some(5),
            rate: Some(Rate::PerSecond(9)),
            duration: Some(Duration::from_millis(250)),
            train: Some(7),
            ..BenchArgs::default()
        };
        let scenario = Scenario::find("dispatch").unwrap().with(&args).unwrap();
        assert_eq!(
            (scenario.population.identities, scenario.runs.measured_ms),
            (5, 250)
        );
        assert_eq!(scenario.runs.rate, Rate::PerSecond(9));
        assert_eq!(scenario.engine["train-segments"].as_integer(), Some(7));
        let none = BenchArgs {
            identities: Some(0),
            ..BenchArgs::default()
        };
        assert!(Scenario::find("dispatch").unwrap().with(&none).is_err());
    }
}
