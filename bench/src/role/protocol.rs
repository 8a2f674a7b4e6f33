//! Words between the bench and its engine, each defined once for both ends. The engine gets one command
//! a line: a bare word, an order or a change of the index as one JSON object, or `{"load": {..}}` for the
//! bench's own source of orders. It answers with events: `ready`, `loaded`, `progress`, `over`, `finished`,
//! `refused`, `changed`, `drained`, `cancelled` and `report`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sirocco_dispatch::load::Offered;
use sirocco_dispatch::series::SeriesReport;
use sirocco_schedule::{Arrivals, Digest, RATE_MAX, Shape, Steer, Steered};

use crate::record::stages::StageFigures;
use crate::record::{Lag, Latency, LedgerFigures};
use crate::scenario::Wanted;

/// Greatest multiple of a shape: a thousandfold is a typing error or a test of one.
const SCALE_MAX: f64 = 1000.0;

/// A command to the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum EngineCommand {
    /// Begin a measured window.
    Mark,
    /// End the measured window; `drained` says what was in it, once all its answers are there.
    Unmark,
    /// End the schedule of orders; what was accepted goes on.
    EndLoad,
    /// Wait until every order is over, or the drain time is: event `drained`.
    Drain,
    /// Say at once what `drained` would say.
    Books,
    /// Write what the flight recorder has kept: event `flight`.
    Flight,
    /// Cancel and name what is open, report and exit; a closed stdin or SIGTERM drains first.
    Stop,
    /// Offer identities of the index on a schedule.
    Load(LoadRequest),
    /// Change the schedule from now on; a rate is one of SIRs.
    Steer(Steer),
    /// An order as JSON, as it came.
    Order(String),
    /// A change of the index as JSON, as it came: `{"put": ..}` or `{"remove": ..}`.
    Change(String),
}

/// Counters by name; those of an inner object carry its name and a dot before theirs.
pub type Counters = BTreeMap<String, i64>;

/// A schedule of orders over all identities of the index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadRequest {
    /// Seed of the order of identities.
    pub seed: u64,
    /// Which devices of an identity are wanted.
    pub wanted: Wanted,
    /// Orders a second; none is as fast as the windows allow.
    pub rate: Option<f64>,
    /// Orders in all; none goes on until `end-load`.
    pub orders_max: Option<u64>,
    /// The rate at each moment, in SIRs a second, in place of `rate`; docs/load.md has its grammar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// How orders follow each other.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// SIRs that an order stands for in `shape` and in the changes below; 1 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sirs_per_order: Option<f64>,
    /// Changes known before the begin: those of a run that is replayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steers: Vec<Steered>,
    /// Record the course of the load in intervals of so many milliseconds; `drained` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series_ms: Option<u64>,
    /// Mark at its begin and unmark when all of it was taken: event `over`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marked: bool,
    /// Say in `loaded` who is in the index: a digest over everybody and their devices.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub survey: bool,
    /// Write every order with its due time here, once the drain is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders_file: Option<PathBuf>,
    /// Fields of every order but its name and recipients.
    #[serde(default)]
    pub order: serde_json::Map<String, serde_json::Value>,
}

/// Who is in an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Population {
    /// Digest over every identity and its devices, in whatever order, and how many identities.
    pub digest: Digest,
}

/// Event `loaded` of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loaded {
    /// Who is there, where it was asked for.
    pub population: Option<Population>,
}

/// Why a line is no command.
#[derive(Debug, thiserror::Error)]
#[error(
    "command not understood: {0}; give mark, unmark, end-load, drain, books, flight, stop, pause, resume, a rate or scale, a load, an order, or a change with put or remove"
)]
pub struct CommandError(String);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadLine {
    load: LoadRequest,
}

/// A change of the rate, checked.
fn steer(value: serde_json::Value) -> Result<Steer, CommandError> {
    let change = serde_json::from_value(value).map_err(|e| CommandError(e.to_string()))?;
    match change {
        Steer::Rate(rate) if !(0.0..=RATE_MAX).contains(&rate) => {
            Err(CommandError("the rate is not from 0 to 1e9".to_owned()))
        }
        Steer::Scale(scale) if !(0.0..=SCALE_MAX).contains(&scale) => {
            Err(CommandError("the scale is not from 0 to 1000".to_owned()))
        }
        change => Ok(change),
    }
}

impl EngineCommand {
    /// Reads one line.
    ///
    /// # Errors
    /// When it is neither a known word nor a JSON object; what an order says is judged elsewhere.
    pub fn read(line: &str) -> Result<Self, CommandError> {
        match line.trim() {
            "mark" => Ok(Self::Mark),
            "unmark" => Ok(Self::Unmark),
            "end-load" => Ok(Self::EndLoad),
            "drain" => Ok(Self::Drain),
            "books" => Ok(Self::Books),
            "stop" => Ok(Self::Stop),
            "flight" => Ok(Self::Flight),
            "pause" => Ok(Self::Steer(Steer::Pause(true))),
            "resume" => Ok(Self::Steer(Steer::Pause(false))),
            json if json.starts_with('{') => {
                let value: serde_json::Value =
                    serde_json::from_str(json).map_err(|error| CommandError(error.to_string()))?;
                if value.get("put").or(value.get("remove")).is_some() {
                    return Ok(Self::Change(json.to_owned()));
                }
                if value.get("rate").or(value.get("scale")).is_some() {
                    return steer(value).map(Self::Steer);
                }
                if value.get("load").is_none() {
                    return Ok(Self::Order(json.to_owned()));
                }
                let load: LoadLine =
                    serde_json::from_value(value).map_err(|e| CommandError(e.to_string()))?;
                Ok(Self::Load(load.load))
            }
            other => Err(CommandError(format!(
                "`{}`",
                other.chars().take(80).collect::<String>()
            ))),
        }
    }

    /// The line that [`EngineCommand::read`] reads.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Mark => "mark".to_owned(),
            Self::Unmark => "unmark".to_owned(),
            Self::EndLoad => "end-load".to_owned(),
            Self::Drain => "drain".to_owned(),
            Self::Books => "books".to_owned(),
            Self::Stop => "stop".to_owned(),
            Self::Flight => "flight".to_owned(),
            Self::Load(load) => serde_json::json!({ "load": load }).to_string(),
            Self::Steer(Steer::Pause(true)) => "pause".to_owned(),
            Self::Steer(Steer::Pause(false)) => "resume".to_owned(),
            Self::Steer(change) => serde_json::json!(change).to_string(),
            Self::Order(json) | Self::Change(json) => json.clone(),
        }
    }
}

/// Event `ready` of the engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineReady {
    /// Address that SIRs leave from.
    pub address: String,
    /// User identities in the index.
    pub identities: u64,
    /// Devices in the index.
    pub devices: u64,
    /// Memory of the index in bytes.
    pub index_bytes: u64,
    /// Time to generate or load the population, in milliseconds.
    pub load_ms: u64,
    /// Limits met and features missing.
    pub notices: Vec<String>,
}

/// Event `ready` of the loadgen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadgenReady {
    /// Addresses of the edges, in their order; the one wildcard address in direct mode.
    pub addresses: Vec<String>,
    /// Limits met and features missing.
    pub notices: Vec<String>,
}

/// What happened between mark and unmark.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// Wall time in nanoseconds.
    pub wall_ns: u64,
    /// CPU time of the worker's thread in nanoseconds.
    pub cpu_ns: u64,
    /// System calls of the worker.
    pub syscalls: u64,
    /// Heap allocations of the worker's thread.
    pub allocations: u64,
    /// Bytes written into send slabs.
    pub bytes_written: u64,
    /// First transmissions.
    pub sirs_sent: u64,
    /// SIRs closed by a final response.
    pub sirs_answered: u64,
    /// Targets failed from the mark to the end of the drain, by cause.
    pub sirs_failed: BTreeMap<String, u64>,
    /// Transmissions by Timer E.
    pub retransmissions: u64,
    /// Sends, trains and single datagrams alike.
    pub trains: u64,
    /// SIRs in those sends.
    pub segments: u64,
    /// Bytes in those sends.
    pub bytes_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// From the due time to the final response; `offered_per_s` is set by the bench.
    pub latency_us: Latency,
    /// The buckets behind it: upper bound in microseconds, and how many.
    pub latency_buckets: Vec<(u64, u64)>,
    /// How late orders were taken against their schedule: readings every millisecond.
    pub order_lag_us: Lag,
    /// Identities that were due and not handed out at the unmark.
    pub behind: u64,
    /// Datagrams sent, those of sessions included.
    pub datagrams_sent: u64,
    /// Octets of all datagrams and streams sent; 0 where the engine does not count them.
    pub octets_sent: u64,
    /// Octets of all datagrams and streams received.
    pub octets_received: u64,
    /// What sessions did.
    pub sessions: Counters,
    /// What became of pushes.
    pub pushes: Counters,
    /// From the due time of a SIR to its wanted session.
    pub time_to_session_us: Latency,
    /// The buckets behind it.
    pub time_to_session_buckets: Vec<(u64, u64)>,
    /// Where the worker's wall time went.
    pub stages: StageFigures,
    /// CPU time of the whole loadgen process in nanoseconds, read by the bench.
    pub loadgen_cpu_ns: u64,
    /// What the load at work has offered, or the last one that ended.
    pub offered: Offered,
}

/// Event `drained` of the engine: the books since its start, and the last window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drained {
    /// The last measured window, with the latency of every SIR that was due in it.
    pub measured: Measured,
    /// The ledger.
    pub ledger: LedgerFigures,
    /// Sessions since the engine's start.
    pub sessions: Counters,
    /// Pushes since the engine's start.
    pub pushes: Counters,
    /// Bytes of the session tables.
    pub session_bytes: u64,
    /// The course of the last load, where it was recorded.
    pub series: Option<SeriesReport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_read_as_it_is_written() {
        let load = LoadRequest {
            seed: 7,
            wanted: Wanted::OneInTurn,
            rate: Some(1e6),
            orders_max: Some(10),
            shape: Some("ramp 0..1k/1s".parse().unwrap()),
            arrivals: Arrivals::Poisson,
            steers: vec![Steered {
                at_ns: 5,
                change: Steer::Scale(2.0),
            }],
            ..LoadRequest::default()
        };
        let order = r#"{"order":"a","to":{"everybody":true}}"#.to_owned();
        let change = r#"{"remove":{"identity":"sip:a@h"}}"#.to_owned();
        for command in [
            EngineCommand::Mark,
            EngineCommand::Unmark,
            EngineCommand::EndLoad,
            EngineCommand::Drain,
            EngineCommand::Books,
            EngineCommand::Stop,
            EngineCommand::Flight,
            EngineCommand::Load(load),
            EngineCommand::Steer(Steer::Rate(250_000.0)),
            EngineCommand::Steer(Steer::Scale(1.5)),
            EngineCommand::Steer(Steer::Pause(true)),
            EngineCommand::Steer(Steer::Pause(false)),
            EngineCommand::Order(order),
            EngineCommand::Change(change),
        ] {
            assert_eq!(EngineCommand::read(&command.line()).unwrap(), command);
        }
    }

    #[test]
    fn what_is_no_command_is_refused_with_the_known_ones() {
        for line in [
            "",
            "halt",
            "{",
            r#"{"load":{"seed":1}}"#,
            "[1]",
            r#"{"rate":-1}"#,
            r#"{"rate":1,"scale":2}"#,
            r#"{"scale":1e9}"#,
        ] {
            let error = EngineCommand::read(line).expect_err(line).to_string();
            assert!(error.contains("drain"), "{error}");
        }
    }
}
