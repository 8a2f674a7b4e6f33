//! The part of a record that speaks of sessions: whole cycles, setup times, what is held open, what
//! became of every push, and the comparisons made with them. Ratios of what it holds, no judgement.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Latency;
use crate::role::protocol::Counters;
use crate::scenario::{Mode, Right};
use crate::statistics::Spread;

/// Sessions in the measured windows of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionRun {
    /// Whole cycles: sessions that took their content and ended by BYE.
    pub cycles: u64,
    /// Cycles a second of wall time.
    pub cycles_per_s: f64,
    /// CPU nanoseconds of the engine's worker for each cycle.
    pub engine_cpu_ns_per_cycle: f64,
    /// CPU nanoseconds of the whole loadgen process for each cycle.
    pub loadgen_cpu_ns_per_cycle: f64,
    /// Datagrams both ways for each cycle.
    pub messages_per_cycle: f64,
    /// Octets both ways for each cycle; 0 where the engine does not count them.
    pub octets_per_cycle: f64,
    /// From the due time of a SIR to its wanted session, in microseconds.
    pub setup_us: Latency,
    /// Forged INVITEs sent beside them, warm-up and drain included; 0 without a flood.
    pub forged: u64,
    /// The same a second.
    pub forged_per_s: f64,
}

/// Sessions over all repetitions, and over the engine's life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionFigures {
    /// Cycles a second: the median of the repetitions.
    pub cycles_per_s: f64,
    /// The same, with every repetition.
    pub cycles_per_s_spread: Spread,
    /// CPU nanoseconds of the engine's worker for each cycle.
    pub engine_cpu_ns_per_cycle: Spread,
    /// CPU nanoseconds of the whole loadgen process for each cycle.
    pub loadgen_cpu_ns_per_cycle: Spread,
    /// Datagrams both ways for each cycle.
    pub messages_per_cycle: f64,
    /// Octets both ways for each cycle.
    pub octets_per_cycle: f64,
    /// Cycles a second as a share of the raw cycles of the same run.
    pub ceiling_share: Option<f64>,
    /// CPU time of a raw cycle as a share of the engine's.
    pub ceiling_cpu_share: Option<f64>,
    /// From the due time of a SIR to its wanted session; none without an open-loop run.
    pub setup_us: Option<Latency>,
    /// Sessions open when the figures were taken.
    pub open: i64,
    /// Requests refused since the start, by cause.
    pub refused: BTreeMap<String, i64>,
    /// Sessions ended since the start, by cause.
    pub ended: BTreeMap<String, i64>,
    /// opened - ended - open, added up here; anything but 0 fails the run.
    pub residue: i64,
    /// What became of pushes since the start, as the engine books it.
    pub pushes: Counters,
    /// Contents that devices received, as the loadgen counts them.
    pub contents_received: i64,
    /// Contents that were not what was pushed, as the loadgen finds.
    pub contents_corrupt: i64,
}

impl SessionFigures {
    /// Reads the books of the engine's life.
    #[must_use]
    pub fn booked(mut self, sessions: &Counters, pushes: &Counters) -> Self {
        let group = |name: &str| -> BTreeMap<String, i64> {
            let of = |(key, count): (&String, &i64)| {
                let cause = key.strip_prefix(name)?.strip_prefix('.')?;
                (*count != 0).then(|| (cause.to_owned(), *count))
            };
            sessions.iter().filter_map(of).collect()
        };
        let count = |name: &str| sessions.get(name).copied().unwrap_or(0);
        (self.refused, self.ended) = (group("refused"), group("ended"));
        self.open = count("open");
        self.residue = count("opened") - self.ended.values().sum::<i64>() - self.open;
        self.pushes = pushes.clone();
        self
    }

    /// A count of the push ledger; 0 where there is none of that name.
    #[must_use]
    pub fn pushed(&self, name: &str) -> i64 {
        self.pushes.get(name).copied().unwrap_or(0)
    }
}

/// Sessions held open at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HoldFigures {
    /// Sessions asked for.
    pub wanted: u64,
    /// Sessions open at once.
    pub open: u64,
    /// Time to build them up, in milliseconds.
    pub built_ms: u64,
    /// Bytes of the engine's tables for each, as the engine counts them.
    pub table_bytes_per_session: f64,
    /// Growth of the engine's resident memory for each, tables of SIRs included, as the kernel counts it.
    pub resident_bytes_per_session: f64,
    /// Growth of the loadgen's resident memory for each.
    pub loadgen_resident_bytes_per_session: f64,
}

/// What a flood of forged INVITEs costs legitimate sessions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FloodFigures {
    /// Cycles a second without the flood.
    pub alone_per_s: Spread,
    /// Cycles a second with it.
    pub flooded_per_s: Spread,
    /// Forged INVITEs a second.
    pub forged_per_s: Spread,
    /// The share of the rate that was kept.
    pub kept_share: f64,
    /// Forged INVITEs that the engine counted as such, of all that were sent.
    pub refused_share: f64,
}

/// One addressing mode; what is counted is for each order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModeFigures {
    /// The mode.
    pub mode: Mode,
    /// Orders taken.
    pub orders: u64,
    /// SIRs sent by the engine.
    pub sirs: f64,
    /// Copies of SIRs delivered to devices.
    pub copies: f64,
    /// Messages between engine and edges, both directions.
    pub messages: f64,
    /// Their octets; 0 where the engine does not count them.
    pub octets: f64,
    /// Messages between edges and devices that the edges' forking adds: a copy and its answer each.
    pub forked_messages: f64,
    /// Sessions built.
    pub sessions: f64,
    /// Sessions that no order wanted.
    pub unwanted: f64,
    /// Pushes delivered.
    pub delivered: f64,
    /// Pushes delivered beyond the one that was wanted.
    pub duplicates: f64,
    /// CPU microseconds of the engine's worker.
    pub engine_cpu_us: f64,
    /// From the due time of an order to its first wanted session, in microseconds.
    pub first_session_us: Latency,
    /// Residue of the ledgers of SIRs, sessions and pushes together.
    pub residue: i64,
}

/// How SIRs ended, each judged by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutcomeFigures {
    /// The right end.
    pub right: Right,
    /// Longest time to it, in milliseconds.
    pub within_ms: u64,
    /// Scenario attempts: one for each order's unit.
    pub attempts: u64,
    /// Of them, ended rightly, however late.
    pub right_ends: u64,
    /// Of them, in time.
    pub in_time: u64,
    /// Further faults, each an inadequately handled attempt: unwanted sessions, duplicates, SIRs where
    /// none was needed.
    pub faults: BTreeMap<String, i64>,
    /// Share of inadequately handled attempts (%IHS as a share).
    pub ihs: f64,
}

/// SIPp on the same machine in the same run, playing the devices of the same flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SippFigures {
    /// What `sipp -v` says.
    pub version: String,
    /// Sessions of all repetitions.
    pub sessions: u64,
    /// Sessions that failed.
    pub failed: u64,
    /// Sessions a second of one SIPp against another.
    pub sessions_per_s: Spread,
    /// CPU nanoseconds of the SIPp that plays the devices, for each session.
    pub cpu_ns_per_session: Spread,
    /// CPU nanoseconds of the SIPp that plays the gateway, for each session.
    pub gateway_cpu_ns_per_session: Spread,
    /// Sessions for each CPU second of our loadgen over those of SIPp.
    pub times: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_are_added_up_again() {
        let sessions: Counters = [
            ("opened", 10),
            ("open", 1),
            ("ended.engine", 7),
            ("ended.peer", 1),
            ("ended.gone", 0),
            ("refused.token-forged", 3),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .into();
        let pushes = [("due".to_owned(), 9)].into();
        let figures = SessionFigures::default().booked(&sessions, &pushes);
        assert_eq!((figures.open, figures.residue), (1, 1));
        assert_eq!(figures.ended.len(), 2);
        assert_eq!(figures.refused["token-forged"], 3);
        assert_eq!((figures.pushed("due"), figures.pushed("built")), (9, 0));
    }
}
