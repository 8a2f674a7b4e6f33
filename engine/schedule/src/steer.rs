//! Changes of a schedule while it runs: another rate, a multiple of the shape, a pause.
//!
//! Each is kept with its time, so that a schedule made with the same list from the start is the same
//! schedule. Data only; `schedule` applies them.

use serde::{Deserialize, Serialize};

/// Changes of one schedule at most: more than a person makes in a day, and a bound on what is kept.
pub const STEERS_MAX: usize = 4096;

/// What is changed from some time on; each takes the place of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Steer {
    /// So many entries a second in place of the shape, whose time goes on.
    Rate(f64),
    /// The shape, multiplied.
    Scale(f64),
    /// Nothing is due and the shape's time stands still (`true`), or it goes on as before (`false`).
    Pause(bool),
}

/// A change with its time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steered {
    /// Nanoseconds from the begin of the schedule.
    pub at_ns: u64,
    /// What was changed.
    pub change: Steer,
}

/// What is in force: how the shape's rate becomes the true one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Helm {
    /// The rate in place of the shape's.
    pub(crate) rate: Option<f64>,
    pub(crate) scale: f64,
    pub(crate) paused: bool,
}

impl Helm {
    pub(crate) const STRAIGHT: Helm = Helm {
        rate: None,
        scale: 1.0,
        paused: false,
    };

    pub(crate) fn turn(&mut self, change: Steer) {
        match change {
            Steer::Rate(rate) => self.rate = Some(rate),
            Steer::Scale(scale) => (self.rate, self.scale) = (None, scale),
            Steer::Pause(paused) => self.paused = paused,
        }
    }
}
