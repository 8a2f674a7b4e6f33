//! What a plan assumes: the planner's own figures, as a TOML file and as `KEY=VALUE` on the command line,
//! with their bounds. An unknown key is an error that names what is possible. Nothing measured stands
//! here. Called by `plan` and by its what-if tables.

use std::ops::RangeInclusive;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::quantity;
use crate::scenario::Mode;

/// The file that `--print-plan` prints, and the assumptions of a plan that names none.
pub const BUILT_IN: &str = include_str!("../../plan/carrier.toml");

/// Largest count: beyond it an f64 no longer holds every whole number.
const MOST: f64 = 9e15;

/// Least of what may not be 0: what is smaller is a typing error.
const LEAST: f64 = 1e-9;

const SHARE: &str = "a share from 0 to 1, such as 0.95 or 95%";
const SOME_SHARE: &str = "a share above 0 and up to 1, such as 0.6 or 60%";
const SOME: &str = "a number above 0";

/// Key, value, what is possible, and the same in words.
type Bound = (&'static str, f64, RangeInclusive<f64>, &'static str);

/// The planner's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Assumptions {
    /// Name of the plan.
    pub name: String,
    /// User identities.
    pub subscribers: f64,
    /// Devices of one, on the average.
    pub devices_per_subscriber: f64,
    /// Pushes a subscriber in the busy hour.
    pub pushes_per_busy_hour: f64,
    /// Worst second of the busy hour over its mean.
    pub peak_factor: f64,
    /// Addressing mode of every order.
    pub mode: Mode,
    /// Next hops of a worker.
    pub edges: f64,
    /// SIRs in a train to one of them.
    pub train: f64,
    /// Share of SIRs that get a final response.
    pub answer_share: f64,
    /// Mean time to it, in milliseconds.
    pub answer_ms: f64,
    /// Share of answers that lead to a session.
    pub session_share: f64,
    /// Seconds that a session is held.
    pub session_held_s: f64,
    /// Further pushes to devices that did not answer.
    pub repushes: u32,
    /// Busy share of a worker, and filled share of a link, in the worst second.
    pub busy_share_max: f64,
    /// Share of sessions that are refused for want of a place.
    pub blocking_max: f64,
    /// Share of SIRs that wait for a place in the window.
    pub waiting_max: f64,
    /// Workers of a machine.
    pub workers_per_machine: u32,
    /// Memory of a machine in GiB.
    pub memory_gib: f64,
    /// Link of a machine in Gbit/s.
    pub link_gbit: f64,
    /// Machines beyond what is needed.
    pub spare_machines: u32,
    /// 4 or 6.
    pub ip_version: u32,
    /// Least contention of workers, where it is not measured.
    pub contention_low: f64,
    /// Greatest.
    pub contention_high: f64,
    /// Tracking areas.
    pub tracking_areas: f64,
    /// Load of the busiest over the mean.
    pub busiest_area_factor: f64,
    /// Cells in one.
    pub cells_per_area: f64,
    /// Share of devices that have to be paged.
    pub idle_share: f64,
    /// Most pages a second in one; 0 where it is not known.
    pub pages_per_area_max: f64,
    /// Machines that it has to fit, spare ones included; 0 asks nothing.
    pub machines: u32,
}

/// Why there are no assumptions; the text says what to give.
#[derive(Debug, thiserror::Error)]
pub enum AssumptionError {
    /// The file cannot be read.
    #[error(
        "cannot read the plan {path}: {error}; `sirocco plan --print-plan` prints one to start from"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The text is no plan.
    #[error("the plan {path}: {error}")]
    Syntax {
        /// The file, or where the value came from.
        path: String,
        /// What is wrong.
        error: Box<toml::de::Error>,
    },
    /// An argument is no assignment.
    #[error("`{0}` is no KEY=VALUE, such as subscribers=30M or mode=targeted")]
    NoAssignment(String),
    /// No such key.
    #[error("a plan has no `{key}`: give one of {known}")]
    Unknown {
        /// What was given.
        key: String,
        /// What is possible.
        known: String,
    },
    /// A value is out of bounds.
    #[error("{key} is {value}; give {bounds}")]
    Bounds {
        /// The key.
        key: &'static str,
        /// What it is.
        value: f64,
        /// What is possible.
        bounds: &'static str,
    },
}

impl Assumptions {
    /// Reads a file, or the built-in plan without one.
    ///
    /// # Errors
    /// [`AssumptionError`] names file, key and what is possible.
    pub fn find(path: Option<&Path>) -> Result<Self, AssumptionError> {
        let Some(path) = path else {
            return Self::parse(BUILT_IN, "built in");
        };
        let shown = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &shown),
            Err(error) => Err(AssumptionError::Unreadable { path: shown, error }),
        }
    }

    /// Reads and checks the text of a plan; `path` is for its errors.
    ///
    /// # Errors
    /// As [`Assumptions::find`].
    pub fn parse(text: &str, path: &str) -> Result<Self, AssumptionError> {
        let plan: Self = toml::from_str(text).map_err(|error| AssumptionError::Syntax {
            path: path.to_owned(),
            error: Box::new(error),
        })?;
        plan.check()?;
        Ok(plan)
    }

    /// The same with `KEY=VALUE` in place of what was there.
    ///
    /// # Errors
    /// As [`Assumptions::find`].
    pub fn with(&self, assignment: &str) -> Result<Self, AssumptionError> {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(AssumptionError::NoAssignment(assignment.to_owned()));
        };
        let (key, value) = (key.trim(), value.trim());
        let mut table = self.table();
        if !table.contains_key(key) {
            let known: Vec<&str> = table.keys().map(String::as_str).collect();
            return Err(AssumptionError::Unknown {
                key: key.to_owned(),
                known: known.join(", "),
            });
        }
        table.insert(key.to_owned(), typed(value));
        let plan: Self = table.try_into().map_err(|error| AssumptionError::Syntax {
            path: format!("value of {key}"),
            error: Box::new(error),
        })?;
        plan.check()?;
        Ok(plan)
    }

    /// The plan as TOML.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }

    fn table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("plain figures and names are TOML")
    }

    fn check(&self) -> Result<(), AssumptionError> {
        let bounds = self.traffic().into_iter().chain(self.supply());
        for (key, value, range, bounds) in bounds {
            if !range.contains(&value) {
                return Err(AssumptionError::Bounds { key, value, bounds });
            }
        }
        match self.ip_version {
            4 | 6 => Ok(()),
            other => Err(AssumptionError::Bounds {
                key: "ip-version",
                value: f64::from(other),
                bounds: "4 or 6",
            }),
        }
    }

    /// Bounds of who is there and what they do.
    fn traffic(&self) -> [Bound; 11] {
        let devices = self.devices_per_subscriber;
        let answer_ms = "0 to 32000: Timer F ends it there";
        [
            ("subscribers", self.subscribers, 1.0..=MOST, "1 or more"),
            ("devices-per-subscriber", devices, 1.0..=64.0, "1 to 64"),
            (
                "pushes-per-busy-hour",
                self.pushes_per_busy_hour,
                LEAST..=1e6,
                SOME,
            ),
            ("peak-factor", self.peak_factor, 1.0..=3600.0, "1 to 3600"),
            ("edges", self.edges, 1.0..=65_535.0, "1 to 65535"),
            ("train", self.train, 1.0..=128.0, "1 to 128"),
            ("answer-share", self.answer_share, 0.0..=1.0, SHARE),
            ("answer-ms", self.answer_ms, 0.0..=3.2e4, answer_ms),
            ("session-share", self.session_share, 0.0..=1.0, SHARE),
            (
                "session-held-s",
                self.session_held_s,
                0.0..=86_400.0,
                "0 to 86400",
            ),
            (
                "repushes",
                f64::from(self.repushes),
                0.0..=100.0,
                "0 to 100",
            ),
        ]
    }

    /// Bounds of what serves them.
    fn supply(&self) -> [Bound; 13] {
        let workers = f64::from(self.workers_per_machine);
        let (low, high) = (self.contention_low, self.contention_high);
        let pages = self.pages_per_area_max;
        [
            (
                "busy-share-max",
                self.busy_share_max,
                LEAST..=1.0,
                SOME_SHARE,
            ),
            ("blocking-max", self.blocking_max, LEAST..=1.0, SOME_SHARE),
            ("waiting-max", self.waiting_max, LEAST..=1.0, SOME_SHARE),
            ("workers-per-machine", workers, 1.0..=1024.0, "1 to 1024"),
            ("memory-gib", self.memory_gib, LEAST..=1e6, SOME),
            ("link-gbit", self.link_gbit, LEAST..=1e6, SOME),
            ("contention-low", low, 0.0..=1.0, SHARE),
            ("contention-high", high, low..=1.0, "contention-low to 1"),
            (
                "tracking-areas",
                self.tracking_areas,
                1.0..=MOST,
                "1 or more",
            ),
            (
                "busiest-area-factor",
                self.busiest_area_factor,
                1.0..=MOST,
                "1 or more",
            ),
            (
                "cells-per-area",
                self.cells_per_area,
                1.0..=MOST,
                "1 or more",
            ),
            ("idle-share", self.idle_share, 0.0..=1.0, SHARE),
            ("pages-per-area-max", pages, 0.0..=MOST, "0 or more"),
        ]
    }
}

/// A value as people type it: 30M, 2.5, 95%, or a word.
fn typed(text: &str) -> toml::Value {
    if let Some(count) = quantity::count(text)
        .ok()
        .and_then(|n| i64::try_from(n).ok())
    {
        return toml::Value::Integer(count);
    }
    if let Ok(number) = text.parse::<f64>() {
        return toml::Value::Float(number);
    }
    match text.ends_with('%').then(|| quantity::share(text)) {
        Some(Ok(share)) => toml::Value::Float(share),
        _ => toml::Value::String(text.to_owned()),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The plan that is built in.
    pub fn carrier() -> Assumptions {
        Assumptions::find(None).expect("the built-in plan")
    }

    #[test]
    fn the_built_in_plan_is_read_and_survives_its_text() {
        let plan = carrier();
        assert_eq!(
            Assumptions::parse(&plan.to_toml(), "text").expect("its own text"),
            plan
        );
    }

    #[test]
    fn values_are_typed_as_people_type_them() {
        let plan = carrier();
        let with = |text: &str| plan.with(text).expect(text);
        assert_eq!(with("subscribers=2.5M").subscribers, 2.5e6);
        assert_eq!(
            with("devices-per-subscriber = 3").devices_per_subscriber,
            3.0
        );
        assert_eq!(with("answer-share=95%").answer_share, 0.95);
        assert_eq!(with("mode=prior-art").mode, Mode::PriorArt);
        assert_eq!(with("machines=4").machines, 4);
    }

    #[test]
    fn what_is_no_assumption_is_refused_with_the_remedy() {
        let plan = carrier();
        for (text, words) in [
            ("subscribers", "KEY=VALUE"),
            ("subscriber=3", "subscribers"),
            ("mode=loud", "targeted"),
            ("answer-share=1.5", "0 to 1"),
            ("answer-share=nan", "0 to 1"),
            ("subscribers=0", "1 or more"),
            ("subscribers=-1", "1 or more"),
            ("repushes=1.5", "repushes"),
            ("ip-version=5", "4 or 6"),
            ("contention-low=0.5", "contention-low to 1"),
        ] {
            let error = plan.with(text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
