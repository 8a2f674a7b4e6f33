//! One class of devices as a scenario file names it, and as a class of a mix is written.
//!
//! No rules: the mix and the policy have them. Read by serde, called by `config`.

use serde::{Deserialize, Serialize};

use crate::session::{Delay, SessionPolicy};

/// One class of devices in a scenario file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClassConfig {
    /// The key in the report.
    pub name: String,
    /// Its share of the devices, in units of the sum of all weights.
    pub weight: u32,
    /// What it answers SIRs with, as a behaviour of a mix is written.
    #[serde(default = "ok")]
    pub answer: String,
    /// How long its devices take to answer a SIR, whatever they decide.
    #[serde(default)]
    pub answer_time: Delay,
    /// What it does then; left out, nothing.
    #[serde(default)]
    pub session: Option<SessionPolicy>,
}

impl ClassConfig {
    /// Returns it as a class of a mix is written.
    pub(super) fn text(&self) -> String {
        let ClassConfig {
            name,
            weight,
            answer,
            answer_time,
            ..
        } = self;
        if answer_time.is_none() {
            format!("{name}={answer}:{weight}")
        } else {
            format!("{name}=late({answer_time},{answer}):{weight}")
        }
    }
}

pub(super) fn ok() -> String {
    "200".to_owned()
}
