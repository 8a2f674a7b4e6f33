//! The edges of a scenario cut into one piece for each generator, without gap or overlap: an edge is a
//! socket of exactly one generator, so that a SIR has exactly one that can answer it. Pure arithmetic;
//! called by `run::launch`.

use std::net::{IpAddr, Ipv4Addr};

use sirocco_loadgen::{Idle, LoadgenConfig, Mix, Place as Where};

use super::Generators;
use crate::run::launch::{Cores, DIRECT_PORT, Records};
use crate::scenario::{Place, Scenario};

/// Edges of one generator among all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Its first edge.
    pub first: u16,
    /// How many it has.
    pub count: u16,
}

/// Cuts `edges` into `generators` pieces that differ by one at most, the larger ones first.
#[must_use]
pub fn cut(edges: u16, generators: u16) -> Vec<Share> {
    let generators = generators.max(1);
    let (each, more) = (edges / generators, edges % generators);
    let mut first = 0;
    let share = |number| {
        let count = each + u16::from(number < more);
        let share = Share { first, count };
        first += count;
        share
    };
    (0..generators).map(share).collect()
}

/// What generator `number` is told to be. The seed is the same for all: what a device does depends on
/// its address and the seed alone, whoever plays it.
///
/// # Errors
/// A setting of the scenario that no loadgen takes, in words.
pub fn config(
    scenario: &Scenario,
    (cores, generators): (Cores, &Generators),
    records: &Records,
    number: u16,
) -> Result<LoadgenConfig, String> {
    let shares = cut(scenario.next_hops, generators.count);
    let share = shares.get(usize::from(number)).copied();
    let share = share.unwrap_or_default();
    let mix = scenario
        .mix
        .parse::<Mix>()
        .map_err(|error| error.to_string())?;
    let place = match scenario.place {
        Place::Direct => Where::Direct { port: DIRECT_PORT },
        Place::Edges | Place::Nowhere => Where::Edges {
            count: share.count,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            // A file names its next hops; `population generate` starts them here.
            port_base: match &scenario.population.file {
                Some(_) => crate::role::population::NEXT_HOP_FIRST.1 + share.first,
                None => 0,
            },
        },
    };
    let mix = match scenario.place {
        Place::Direct => mix,
        Place::Edges | Place::Nowhere => mix.of_edges(share.first, share.count),
    };
    let own = scenario.loadgen_config()?;
    // On a shared core a spinning loadgen would starve whoever shares it; one whose CPU time is compared
    // must not spend any on waiting.
    let waits = cores.shared()
        || generators.share_cores()
        || scenario.loadgen.get("idle").and_then(|idle| idle.as_str()) == Some("wait");
    Ok(LoadgenConfig {
        core: if generators.join() {
            None
        } else {
            generators.core(number)
        },
        seed: scenario.seed,
        generator: number,
        place,
        mix,
        idle: if waits { Idle::Wait } else { Idle::Spin },
        record_sirs: records.loadgen(number),
        ..own
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_has_exactly_one_generator() {
        for edges in [1, 2, 15, 16, 17, 1000, 65_534] {
            for generators in (1..=32).filter(|n| *n <= edges) {
                let shares = cut(edges, generators);
                assert_eq!(shares.len(), usize::from(generators));
                let mut next = 0;
                for share in &shares {
                    assert_eq!(share.first, next, "{edges} edges, {generators} generators");
                    assert!(share.count > 0);
                    next += share.count;
                }
                assert_eq!(next, edges);
                assert!(shares[0].count - shares[shares.len() - 1].count <= 1);
            }
        }
    }

    #[test]
    fn generators_differ_in_number_edges_and_core_alone() {
        let scenario = Scenario::find("sessions").unwrap();
        let cores = Cores {
            engine: 0,
            loadgen: 1,
        };
        let generators = Generators {
            count: 3,
            cores: vec![1, 2, 3],
            ..Generators::one(1)
        };
        let config = |number| {
            let records = Records::default();
            config(&scenario, (cores, &generators), &records, number).unwrap()
        };
        let [first, last] = [config(0), config(2)];
        first.validate().unwrap();
        assert_eq!((first.generator, last.generator), (0, 2));
        assert_eq!((first.core, last.core), (Some(1), Some(3)));
        let count = |config: &LoadgenConfig| match config.place {
            Where::Edges { count, .. } => count,
            Where::Direct { .. } => 0,
        };
        assert_eq!((count(&first), count(&last)), (6, 5));
        let alike = LoadgenConfig {
            generator: first.generator,
            core: first.core,
            place: first.place,
            ..last
        };
        assert_eq!(alike, first);
        assert!(first.session.is_some() && first.idle == Idle::Spin);
    }
}
