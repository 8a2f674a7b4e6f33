//! One reading of a running engine and load generator as they publish it. By place in JSON, since a load generator may run without an engine. Numbers
//! only.

use serde::Serialize;
use serde_json::Value;
use sirocco_dispatch::live::{Details, Live, Progress};
use sirocco_dispatch::stopwatch::Stage;

/// The progress of both sides; null where there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The engine's.
    pub engine: Value,
    /// The load generator's.
    pub loadgen: Value,
}

/// The engine's progress with its details, as it is passed on.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    progress: Progress,
    cpu_ns: u64,
    delivered: u64,
    stored: u64,
    failed: u64,
    expired: u64,
    cancelled: u64,
    stage_ns: std::collections::BTreeMap<&'static str, u64>,
    latency: Vec<u64>,
}

/// Reads the engine's figures as JSON.
#[must_use]
pub fn engine(live: &Live) -> Value {
    let Details {
        cpu_ns,
        delivered,
        stored,
        failed,
        expired,
        cancelled,
        stage_ns,
        latency,
    } = live.details();
    let whole = Whole {
        progress: live.read(),
        cpu_ns,
        delivered,
        stored,
        failed,
        expired,
        cancelled,
        stage_ns: Stage::ALL
            .map(|stage| (stage.name(), stage_ns[stage as usize]))
            .into(),
        latency: latency.to_vec(),
    };
    serde_json::to_value(whole).unwrap_or_default()
}

impl Reading {
    /// A count of the engine; 0 where there is none.
    #[must_use]
    pub fn engine(&self, name: &str) -> u64 {
        self.engine[name].as_u64().unwrap_or(0)
    }

    /// A count of the load generator; 0 where there is none.
    #[must_use]
    pub fn loadgen(&self, name: &str) -> u64 {
        self.loadgen[name].as_u64().unwrap_or(0)
    }

    /// Wall time of a stage in nanoseconds.
    #[must_use]
    pub fn stage_ns(&self, stage: Stage) -> u64 {
        self.engine["stage_ns"][stage.name()].as_u64().unwrap_or(0)
    }

    /// Answers by latency: up to each bound, and beyond the last.
    #[must_use]
    pub fn latency(&self) -> Vec<u64> {
        let counts = self.engine["latency"].as_array();
        counts
            .into_iter()
            .flatten()
            .map(|count| count.as_u64().unwrap_or(0))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sirocco_dispatch::live::LATENCY_BOUNDS_US;

    #[test]
    fn the_engine_s_figures_have_their_names() {
        let live = Live::default();
        live.publish(&Progress {
            sirs_answered: 7,
            ..Progress::default()
        });
        let reading = Reading {
            engine: engine(&live),
            loadgen: Value::Null,
        };
        assert_eq!(reading.engine("sirs_answered"), 7);
        assert_eq!(reading.latency().len(), LATENCY_BOUNDS_US.len() + 1);
        assert_eq!(reading.stage_ns(Stage::Idle), 0);
    }
}
