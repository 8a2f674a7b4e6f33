//! The counted job: counters of a SIR's way that are the same on every machine, because time is
//! simulated and the work is fixed. `echo` answers a shard without a kernel: allocations, octets, SIRs
//! in a train. `loopback` puts the engine's real sockets below it and a peer on the same thread: system
//! calls and submissions. Called by `nightly`.

mod echo;
mod loopback;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use sirocco_dispatch::config::EngineConfig;
use sirocco_dispatch::load::{Load, Wanted};
use sirocco_dispatch::order::{Audience, Order};
use sirocco_dispatch::rehearsal;
use sirocco_dispatch::shard::Shard;
use sirocco_index::Index;
use sirocco_index::population::{DevicesEach, GenerateError, GenerateSpec, generate_into};

use super::history::Line;
use super::measured::unusable;

/// Name of its line.
const NAME: &str = "counted";

/// Identities, each with one device.
const IDENTITIES: u64 = 20_000;

/// Simulated time between two turns in nanoseconds.
const TURN_NS: u64 = 20_000;

/// SIRs offered in a second of simulated time: 20 a turn, so that a train of 64 fills in four.
const SIRS_PER_S: f64 = 1e6;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
enum CountedError {
    #[error("no index for the counted job: {0}")]
    Index(String),
    #[error("no population for the counted job: {0}")]
    Population(#[from] GenerateError),
    #[error("the shard refused the counted job's order: {0}")]
    Order(String),
    #[error("the counted job's sockets: {0}")]
    Sockets(String),
    #[error("the counted job dispatched only {0} SIRs")]
    Idle(u64),
}

/// Runs both parts and fills in the line.
#[must_use]
pub fn run(line: Line) -> Line {
    let mut line = Line {
        scenario: NAME.to_owned(),
        ..line
    };
    let counted = echo::count().and_then(|mut counters| {
        counters.extend(loopback::count()?);
        Ok(counters)
    });
    match counted {
        Ok(counters) => line.counters = counters,
        Err(error) => line.verdict = unusable(&error),
    }
    line
}

/// Counters by name.
type Counters = BTreeMap<String, f64>;

/// A shard with one order that goes on and on to a generated population behind one next hop.
fn shard(
    config: &EngineConfig,
    source: SocketAddr,
    next_hop: SocketAddr,
) -> Result<Shard, CountedError> {
    let spec = GenerateSpec {
        identities: IDENTITIES,
        devices: DevicesEach::exactly(1),
        next_hops: vec![next_hop],
        ..GenerateSpec::default()
    };
    let index = Index::new(IDENTITIES as usize);
    let mut index = index.map_err(|error| CountedError::Index(error.to_string()))?;
    generate_into(&spec, &mut index)?;
    let identities: Vec<_> = index.keys().collect();
    let load = Load::new(identities.into(), Wanted::All, Some(SIRS_PER_S), u64::MAX);
    let mut shard = rehearsal::shard(config, index, source);
    let order = Order::new("counted", Audience::Load(load));
    shard
        .accept(0, order)
        .map_err(|refusal| CountedError::Order(refusal.to_string()))?;
    Ok(shard)
}

/// Settings of both parts.
fn config() -> EngineConfig {
    EngineConfig {
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        window_total: 4_096,
        transactions: 8_192,
        ..EngineConfig::default()
    }
}

/// The counters of `sirs`, each count with its name.
fn per_sir(sirs: u64, sirs_min: u64, counts: &[(&str, u64)]) -> Result<Counters, CountedError> {
    if sirs < sirs_min {
        return Err(CountedError::Idle(sirs));
    }
    let each = |(name, count): &(&str, u64)| ((*name).to_owned(), *count as f64 / sirs as f64);
    Ok(counts.iter().map(each).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_are_the_same_each_time() {
        let (first, second) = (run(Line::default()), run(Line::default()));
        assert!(first.counts(), "{:?}", first.verdict);
        assert_eq!(first.counters["shard_allocations_per_sir"], 0.0);
        assert!(first.counters["shard_bytes_written_per_sir"] > 0.0);
        let gates = {
            let mut baseline = super::super::gate::Baseline::default();
            baseline.accept(&first);
            baseline.gates(&second)
        };
        for gate in gates {
            let same = super::super::gate::Standing::Same;
            assert_eq!(gate.standing, same, "{gate:?}");
        }
    }

    #[test]
    fn too_few_sirs_are_no_figure() {
        assert!(per_sir(0, 1, &[("x", 1)]).is_err());
        assert_eq!(per_sir(4, 1, &[("x", 1)]).unwrap()["x"], 0.25);
    }
}
